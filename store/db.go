package store

import (
	"context"
	"io"
	"time"

	"github.com/parlordb/parlor/rev"
)

// DB is one database. It is safe for concurrent use.
//
// Reads see what is durable, and nothing else.
type DB struct{}

// Name is the database's name.
func (db *DB) Name() string { panic("todo") }

// Info is what GET /{db} tells.
type Info struct {
	Name        string
	DocCount    uint64 // documents whose winner is not deleted, design documents included
	DelCount    uint64
	UpdateSeq   uint64
	PurgeSeq    uint64
	Created     time.Time
	ActiveBytes uint64 // bodies and attachments of leaves
	FileBytes   uint64 // what is kept in all
	Compacting  bool
	RevsLimit   int
	PurgedLimit int
}

func (db *DB) Info() (Info, error) { panic("todo") }

// UpdateSeq is the sequence of the newest durable change: an atomic load, for caches to compare.
func (db *DB) UpdateSeq() uint64 { panic("todo") }

// FormatSeq writes a sequence as clients see it: "N-instance". The instance differs between databases, and between a
// database and one made later under its name.
func (db *DB) FormatSeq(seq uint64) string { panic("todo") }

// AppendSeq appends what FormatSeq returns.
func (db *DB) AppendSeq(dst []byte, seq uint64) []byte { panic("todo") }

// ParseSeq reads what FormatSeq wrote, and bare decimal integers. A sequence of another instance gives 0: its
// holder must start anew. ok is false for anything else.
func (db *DB) ParseSeq(s string) (seq uint64, ok bool) { panic("todo") }

// Doc is one revision of a document.
type Doc struct {
	ID      string
	Rev     rev.ID
	Deleted bool
	// Body is a JSON object, byte for byte as sent, less the members whose names begin with an underscore. Callers must not change it.
	Body        []byte
	Attachments []Attachment // in the order sent
	Seq         uint64       // the document's update sequence, set by reads
}

// Attachment is a file beside a document's body.
type Attachment struct {
	Name     string
	Type     string   // MIME type
	RevPos   int      // generation in which it was added
	Digest   [16]byte // MD5 of the bytes as stored
	Length   int64    // bytes before any encoding
	Encoding string   // "" or "gzip": how the stored bytes are encoded
	Stored   int64    // bytes as stored

	// Stub asks Write to take the attachment of this name from the revision that is being replaced (or, of a replicated revision,
	// from the newest ancestor that has a body). Reads never set it.
	Stub bool

	ref uint64 // where the bytes are; set by AttachmentWriter.Close and by reads
}

// StubError is a stub that names no attachment of the revision before: CouchDB's 412 missing_stub.
type StubError struct{ ID, Name string }

func (e *StubError) Error() string { return "Invalid attachment stub in " + e.ID + " for " + e.Name }

// Record is all that is known of one document but its bodies.
type Record struct {
	ID   string
	Seq  uint64
	Tree rev.Tree
}

// Doc returns the winning revision of id. It fails with ErrNotFound, or with ErrDeleted when the winner is a tombstone.
func (db *DB) Doc(id string) (*Doc, error) { panic("todo") }

// Record returns the history of id, or ErrNotFound.
func (db *DB) Record(id string) (*Record, error) { panic("todo") }

// Revision returns the revision at index i of r.Tree, or ErrMissing when its body is not kept.
func (db *DB) Revision(r *Record, i int) (*Doc, error) { panic("todo") }

// Write is one edit.
type Write struct {
	// Doc is what to store. Rev is ignored for an edit of this server's own, whose id is computed from its parent and content (the
	// same edit gives the same id on every Parlor).
	Doc Doc
	// Base is the revision that an own edit replaces, zero for none. It must be a leaf that is not deleted, else ErrConflict; zero is
	// right only where the document does not exist or its winner is deleted (the edit then extends the tombstone). On a
	// document that does not exist any Base is taken, and becomes the edit's ancestor, as in CouchDB.
	Base rev.ID
	// History, when set, marks a replicated edit (new_edits=false): the revision's own id, then its ancestors, newest first. It never conflicts.
	History []rev.ID
}

// Result is what became of one Write: the new revision, or why there is none (ErrConflict, *StubError, what check returned).
type Result struct {
	Rev rev.ID
	Err error
}

// Check judges an edit before it is stored. old is the revision that it replaces, nil for none (or for one whose body is not kept).
// It is called without any lock held, on the caller's goroutine, and again if the document changes meanwhile.
// It may be called for writes that then conflict; a conflict seen beforehand is reported without calling it.
type Check func(ctx context.Context, old, new *Doc) error

// Write stores edits, each for itself, in one durable batch, and answers in the same order. Of two own edits of one
// document in one call the second conflicts. The error is for the whole: ErrFull, ErrNoDatabase, ErrClosed, ctx's.
// When ctx ends the writes may or may not be stored, as on a lost connection. A nil check allows all.
func (db *DB) Write(ctx context.Context, writes []Write, check Check) ([]Result, error) {
	panic("todo")
}

// Put is Write of one edit.
func (db *DB) Put(ctx context.Context, w Write, check Check) (rev.ID, error) { panic("todo") }

// Change is one row of the changes feed: the document whose newest change has this sequence.
type Change struct {
	Seq    uint64
	ID     string
	Leaves []Leaf // winner first, then in the order of preference
}

// Leaf is a leaf revision of a Change.
type Leaf struct {
	Rev     rev.ID
	Deleted bool
	ref     uint64
}

// Changes calls fn for changes with since < Seq (or, descending, all from the newest on: since is then ignored), at most limit, until fn
// returns false. It reads from one snapshot that is released on return, so fn must only copy. The Change and what it
// holds are valid during the call alone.
func (db *DB) Changes(since uint64, descending bool, limit int, fn func(*Change) bool) error {
	panic("todo")
}

// ChangesAfter counts the rows with Seq > since. It is cheap enough to be asked for with every page (the "pending" member).
func (db *DB) ChangesAfter(since uint64) (uint64, error) { panic("todo") }

// LeafDoc returns the revision of a leaf seen in Changes or Docs, though the document may have changed since; ErrMissing if compaction took it.
func (db *DB) LeafDoc(id string, seq uint64, l Leaf) (*Doc, error) { panic("todo") }

// WaitChange returns when UpdateSeq exceeds since, or with ctx's error, or ErrNoDatabase when the database is deleted, or ErrClosed.
func (db *DB) WaitChange(ctx context.Context, since uint64) error { panic("todo") }

// Range selects ids, bytewise.
type Range struct {
	From, To      string // From <= id <= To whichever way the listing runs; To "" with !HasTo: no end
	HasTo         bool
	ExclusiveTo   bool // id < To
	ExclusiveFrom bool // From < id
	Descending    bool
	Deleted       bool // deleted documents too
}

// Row is a document in a listing: its winner.
type Row struct {
	ID   string
	Seq  uint64
	Leaf Leaf
}

// Docs calls fn for the documents in r, under the same rules as Changes.
func (db *DB) Docs(r Range, fn func(*Row) bool) error { panic("todo") }

// CountBefore counts the documents that are not deleted and precede id in a listing (follow it, when descending): "offset". It gives up beyond max.
func (db *DB) CountBefore(id string, descending bool, max int) (n int, ok bool, err error) {
	panic("todo")
}

// Local is a _local document: unversioned but for a counter, never replicated.
type Local struct {
	ID   string // without "_local/"
	N    uint64 // its _rev is "0-N"
	Body []byte // as Doc.Body
}

// Local returns the _local document id, or ErrNotFound.
func (db *DB) Local(id string) (*Local, error) { panic("todo") }

// PutLocal stores body, or deletes for a nil body. base is the N that it replaces, 0 for none; anything else than the present N is
// ErrConflict. It returns the new N. A document deleted and made anew starts from 1.
func (db *DB) PutLocal(ctx context.Context, id string, base uint64, body []byte) (uint64, error) {
	panic("todo")
}

// Locals calls fn for _local documents in r, under the same rules as Changes.
func (db *DB) Locals(r Range, fn func(*Local) bool) error { panic("todo") }

// Security returns the _security object as stored. The slice must not be changed.
func (db *DB) Security() ([]byte, error) { panic("todo") }

// SetSecurity stores the _security object, durable on return.
func (db *DB) SetSecurity(ctx context.Context, body []byte) error { panic("todo") }

// SetRevsLimit sets how many generations of ancestors a document keeps, n >= 1.
func (db *DB) SetRevsLimit(ctx context.Context, n int) error { panic("todo") }

// SetPurgedLimit sets how many purges are remembered, n >= 1.
func (db *DB) SetPurgedLimit(ctx context.Context, n int) error { panic("todo") }

// Purge removes leaf revisions for good, as CouchDB's _purge: of each document those ids that are leaves. It returns what was purged, in the order
// asked, and the new purge sequence.
func (db *DB) Purge(ctx context.Context, ids []string, revs [][]rev.ID) (purged [][]rev.ID, seq uint64, err error) {
	panic("todo")
}

// Compact removes the bodies of revisions that are no leaves, and attachments that nothing refers to any longer. It
// returns when done; a second call at the same time joins the first.
func (db *DB) Compact(ctx context.Context) error { panic("todo") }

// NewAttachment begins an attachment. What is written is kept as it comes (encode before). Memory is bounded by a chunk. Nothing of it is
// visible until a Write refers to it.
func (db *DB) NewAttachment(ctx context.Context) (*AttachmentWriter, error) { panic("todo") }

// AttachmentWriter takes the bytes of one attachment.
type AttachmentWriter struct{}

// Write appends bytes. It fails with ErrFull, ErrNoDatabase, ErrClosed or the context's error.
func (w *AttachmentWriter) Write(p []byte) (int, error) { panic("todo") }

// Close ends the attachment. The result has Digest and Stored set, and Length equal to Stored; the caller fills in the rest and hands it to
// Write, once, in this database. An attachment that is never handed over must be discarded.
func (w *AttachmentWriter) Close() (Attachment, error) { panic("todo") }

// Discard gives up what was written, before or after Close, unless a Write has taken it: then it does nothing.
func (w *AttachmentWriter) Discard() { panic("todo") }

// OpenAttachment reads the stored bytes of an attachment that a read returned, from offset. No snapshot is held, and compaction waits with
// the removal until the reader is closed.
func (db *DB) OpenAttachment(a Attachment, offset int64) (io.ReadCloser, error) { panic("todo") }
