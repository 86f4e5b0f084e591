package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/parlordb/parlor/rev"
)

// Write is one edit.
type Write struct {
	// Doc is what to store. Rev is ignored for an edit of this server's own, whose id is computed from its parent and content (the
	// same edit gives the same id on every Parlor).
	Doc Doc
	// Base is the revision that an own edit replaces, zero for none. It must be a leaf of a document that is not deleted, else ErrConflict
	// (a deleted branch beside a living one may be extended); zero is right only where the document does not exist or its winner is
	// deleted (the edit then extends the tombstone). On a document that does not exist any Base is taken, and becomes the edit's
	// ancestor, as in CouchDB.
	Base rev.ID
	// History, when set, marks a replicated edit (new_edits=false): the revision's own id, then its ancestors, newest first. It never
	// conflicts. Generations that do not fall by one each, down to 1 at the lowest, are rev.ErrFormat; so is a revision that is not Quotable, which clients
	// could not fetch. Ancestors may be called anything, and what is stored under such a name can be replaced.
	History []rev.ID
}

// Result is what became of one Write: the new revision, or why there is none: ErrConflict, *StubError, ErrNoAttachment,
// rev.ErrFormat, what check returned.
type Result struct {
	Rev rev.ID
	Err error
}

// Check judges an edit before it is stored. old is the revision that it replaces, nil for none (or for one whose body is not kept); of
// a replicated edit the newest ancestor that has a body. new has its stubs resolved; its Rev is the Base of an own edit, History[0] of a
// replicated one. Neither may be changed.
// It is called without any lock held, on the caller's goroutine, and again if what the edit replaces changes meanwhile.
// It may be called for writes that then conflict; a conflict seen beforehand is reported without calling it, and so is a replicated revision that is
// known already.
type Check func(ctx context.Context, old, new *Doc) error

// draft is a Write on its way, with what its caller has found out so that the committer has little to do.
type draft struct {
	*Write
	result  *Result
	files   []file
	content [32]byte // of the body and the attachments
	again   bool     // the committer hands it back: what was found out holds no longer

	studied bool // it rests on the document as it was at sequence seen, 0 for none
	seen    uint64
	known   bool   // the document had the revision already
	body    uint64 // of the revision that it replaces, 0 for none
	shared  int64  // bytes of attachments that it takes over from that body

	after *draft // the nearest of its ancestors that was handed back with it
}

// file is an attachment of a draft.
type file struct {
	Attachment
	fresh bool // uploaded for this revision; else it belongs to the document already
}

// Write stores edits, each for itself, in one durable batch, and answers in the same order. Of two own edits of one
// document in one call the second conflicts. The error is for the whole: ErrFull, ErrNoDatabase, ErrClosed, ErrReadOnly, ctx's.
// When ctx ends the writes may or may not be stored, as on a lost connection. A nil check allows all.
//
// A further batch takes those edits that replace another revision by then than check has seen, when they have been checked again, and what is left of a
// call that goes through so many revisions that everyone else would wait. What fails then is told in their Results.
func (db *DB) Write(ctx context.Context, writes []Write, check Check) ([]Result, error) {
	sn, err := db.reader()
	if err != nil {
		return nil, err
	}
	sn.release()
	results := make([]Result, len(writes))
	drafts := draftAll(writes, results)
	var copies []*AttachmentWriter
	defer func() {
		for _, c := range copies {
			c.Discard()
		}
	}()
	for round := 0; len(drafts) > 0; round++ {
		if round == 1 {
			await(drafts)
		}
		ready, waiting, made := db.prepare(ctx, drafts, check)
		copies = append(copies, made...)
		done, err := db.submit(ctx, ready)
		if err != nil && round == 0 && done == 0 {
			return nil, err
		}
		drafts = append(slices.DeleteFunc(ready, func(d *draft) bool { return !d.again }), waiting...)
		if err != nil {
			for _, d := range drafts {
				d.result.Err = err
			}
			break
		}
	}
	return results, nil
}

// await makes each draft wait for the nearest of its ancestors among them: as long as that one is not stored, it would be judged in vain.
func await(drafts []*draft) {
	type revision struct {
		doc string
		id  rev.ID
	}
	written := make(map[revision]*draft, len(drafts))
	for _, d := range drafts {
		if d.History != nil {
			written[revision{d.Doc.ID, d.History[0]}] = d
		}
	}
	for _, d := range drafts {
		for i := 1; i < len(d.History) && d.after == nil; i++ {
			d.after = written[revision{d.Doc.ID, d.History[i]}]
		}
	}
}

// prepare finds out what drafts need, and parts them in those that are ready to be submitted and those that wait for others; what has failed is in neither.
// The attachments that it has copied are to be discarded after the Write.
func (db *DB) prepare(ctx context.Context, drafts []*draft, check Check) (ready, waiting []*draft, copies []*AttachmentWriter) {
	ready = drafts[:0]
	var r *Record
	for _, d := range drafts {
		if d.after != nil && d.after.again {
			waiting = append(waiting, d)
			continue
		}
		if check != nil || d.needsStudy(db) {
			var err error
			if r == nil || r.ID != d.Doc.ID {
				r, err = db.Record(d.Doc.ID)
			}
			if err == nil || errors.Is(err, ErrNotFound) {
				var made []*AttachmentWriter
				made, err = db.study(ctx, d, r, check)
				copies = append(copies, made...)
			}
			if err != nil {
				d.result.Err, d.again = err, false
				continue
			}
		}
		d.hash()
		ready = append(ready, d)
	}
	return ready, waiting, copies
}

// Put is Write of one edit. Its error is the Write's, or the Result's.
func (db *DB) Put(ctx context.Context, w Write, check Check) (rev.ID, error) {
	results, err := db.Write(ctx, []Write{w}, check)
	if err != nil {
		return rev.ID{}, err
	}
	return results[0].Rev, results[0].Err
}

// draftAll makes drafts of writes, but of those that cannot succeed.
func draftAll(writes []Write, results []Result) []*draft {
	all := make([]draft, len(writes))
	drafts := make([]*draft, 0, len(writes))
	var own map[string]bool
	if len(writes) > 1 {
		own = make(map[string]bool, len(writes))
	}
	for i := range writes {
		w := &writes[i]
		switch {
		case len(w.History) > 0:
			if !consecutive(w.History) || !w.History[0].Quotable() {
				results[i].Err = fmt.Errorf("%w: the history of %q", rev.ErrFormat, w.Doc.ID)
				continue
			}
		case own[w.Doc.ID], !w.Base.IsZero() && !valid(w.Base):
			results[i].Err = conflict(w.Doc.ID)
			continue
		case own != nil:
			own[w.Doc.ID] = true
		}
		all[i] = draft{Write: w, result: &results[i]}
		drafts = append(drafts, &all[i])
	}
	return drafts
}

func consecutive(history []rev.ID) bool {
	for i, id := range history {
		if id.Gen != history[0].Gen-i || !valid(id) {
			return false
		}
	}
	return true
}

// valid tells whether a document may have the revision: what a tree cannot be read with must not get into one.
func valid(id rev.ID) bool {
	return id.Gen >= 1 && id.Gen <= rev.MaxGeneration && id.Hash != "" && len(id.Hash) <= rev.MaxHash
}

func conflict(id string) error { return fmt.Errorf("%w: %q", ErrConflict, id) }

// needsStudy tells whether the draft's attachments depend on the document as it is.
func (d *draft) needsStudy(db *DB) bool {
	d.files = d.files[:0]
	for _, a := range d.Doc.Attachments {
		size, ok := db.store.files.pending(db, a.ref)
		if a.Stub || !ok {
			return true
		}
		a.Stored = size
		d.files = append(d.files, file{a, true})
	}
	return false
}

// parent is the revision that an own edit of r extends, zero for none, or ErrConflict.
func (d *draft) parent(r *record) (rev.ID, error) {
	parent, err := d.base(r)
	if err == nil && parent.Gen == rev.MaxGeneration {
		err = conflict(d.Doc.ID) // nothing can follow
	}
	return parent, err
}

func (d *draft) base(r *record) (rev.ID, error) {
	if r == nil || r.tree.Len() == 0 {
		return d.Base, nil
	}
	winner := r.tree.Node(r.tree.Winner())
	if d.Base.IsZero() {
		if !winner.Deleted {
			return rev.ID{}, conflict(d.Doc.ID)
		}
		return winner.ID, nil
	}
	if i, ok := r.tree.Find(d.Base); !ok || !r.tree.IsLeaf(i) || winner.Deleted {
		return rev.ID{}, conflict(d.Doc.ID)
	}
	return d.Base, nil
}

// replaced finds the revision that the draft replaces: its index in r's tree, -1 for none. known tells that a replicated revision is there
// already.
func (d *draft) replaced(r *record) (at int, known bool, err error) {
	if d.History == nil {
		parent, err := d.parent(r)
		if err != nil || r == nil || parent.IsZero() {
			return -1, false, err
		}
		at, _ = r.tree.Find(parent)
		return at, false, nil
	}
	if r == nil {
		return -1, false, nil
	}
	if i, ok := r.tree.Find(d.History[0]); ok && (r.tree.Node(i).Ref != 0 || !r.tree.IsLeaf(i)) {
		return -1, true, nil
	}
	for _, id := range d.History[1:] {
		if i, ok := r.tree.Find(id); ok && r.tree.Node(i).Ref != 0 {
			return i, false, nil
		}
	}
	return -1, false, nil
}

// holds tells whether what was found out about a replicated edit is still so, though its document has changed since. A body is never changed, and its
// number never given twice: it is what check saw.
func (d *draft) holds(r *record) bool {
	if d.History == nil {
		return false
	}
	at, known, err := d.replaced(r)
	return err == nil && (known || !d.known && r.body(at) == d.body)
}

// study looks at the document r, nil for none, as it is, resolves stubs and calls check. It returns the attachments that it has copied, which are to be
// discarded after the Write.
func (db *DB) study(ctx context.Context, d *draft, r *Record, check Check) ([]*AttachmentWriter, error) {
	d.studied, d.seen, d.known, d.body = true, 0, false, 0
	d.files, d.shared = d.files[:0], 0
	var found *record
	if r != nil {
		d.seen = r.Seq
		found = &record{tree: r.Tree}
	}
	at, known, err := d.replaced(found)
	if d.known = known; err != nil || known {
		return nil, err
	}
	var old *Doc
	if at >= 0 {
		d.body = found.body(at)
		old, err = db.Revision(r, at)
		if errors.Is(err, ErrMissing) && d.History != nil {
			d.seen = 0 // compacted since r was read: the committer is to look which body it is now
		} else if err != nil && !errors.Is(err, ErrMissing) {
			return nil, err
		}
	}
	copies, err := db.resolve(ctx, d, old)
	if err != nil || check == nil {
		return copies, err
	}
	return copies, check(ctx, old, d.judged())
}

// judged is the document that a Check sees.
func (d *draft) judged() *Doc {
	doc := d.Doc
	doc.Rev = d.Base
	if d.History != nil {
		doc.Rev = d.History[0]
	}
	doc.Attachments = nil
	for _, f := range d.files {
		doc.Attachments = append(doc.Attachments, f.Attachment)
	}
	return &doc
}

// resolve finds the bytes of each attachment: those of a stub in old, and those of another document by copying them.
func (db *DB) resolve(ctx context.Context, d *draft, old *Doc) (copies []*AttachmentWriter, err error) {
	for _, a := range d.Doc.Attachments {
		f := file{Attachment: a}
		size, pending := db.store.files.pending(db, a.ref)
		switch {
		case a.Stub:
			stored, ok := attachmentNamed(old, a.Name)
			if !ok {
				return copies, &StubError{ID: d.Doc.ID, Name: a.Name}
			}
			f.Attachment = stored
			d.shared += stored.Stored
		case pending:
			f.fresh, f.Stored = true, size
		default:
			owner, err := db.owner(a)
			if err != nil {
				return copies, err
			}
			if owner == d.Doc.ID {
				d.shared += a.Stored
				break
			}
			w, err := db.copyAttachment(ctx, a)
			if err != nil {
				return copies, err
			}
			copies = append(copies, w)
			f.ref, f.fresh, f.RevPos = w.upload.ref, true, 0
		}
		d.files = append(d.files, f)
	}
	return copies, nil
}

func attachmentNamed(doc *Doc, name string) (Attachment, bool) {
	if doc != nil {
		for _, a := range doc.Attachments {
			if a.Name == name {
				return a, true
			}
		}
	}
	return Attachment{}, false
}

// hash digests what an own edit's revision id is made of, but for its parent.
func (d *draft) hash() {
	if d.History != nil {
		return
	}
	if len(d.files) == 0 {
		d.content = sha256.Sum256(d.Doc.Body)
		return
	}
	// Each text with its length: what differs must not look the same put together.
	h := sha256.New()
	for _, f := range d.files {
		h.Write(appendText(appendText([]byte{1}, f.Name), f.Type))
		h.Write(f.Digest[:])
	}
	h.Write([]byte{0})
	h.Write(d.Doc.Body)
	h.Sum(d.content[:0])
}

// revision is the id of an own edit that extends parent.
func (d *draft) revision(parent rev.ID) rev.ID {
	var buf [128]byte
	b := append(buf[:0], flag(d.Doc.Deleted), flag(len(d.files) > 0))
	b = append(b, d.content[:]...)
	b = binary.AppendUvarint(b, uint64(parent.Gen))
	b = append(b, parent.Hash...)
	sum := sha256.Sum256(b)
	return rev.ID{Gen: parent.Gen + 1, Hash: hex.EncodeToString(sum[:16])}
}

// submit hands drafts to the committer and returns how many it has done: all unless there is an error, and then the others are marked as handed back. It
// takes one operation, or several where a group is closed because of groupSteps; others get their turn in between.
func (db *DB) submit(ctx context.Context, drafts []*draft) (done int, err error) {
	for done < len(drafts) {
		todo := drafts[done:]
		n := 0
		err := db.do(ctx, draftBytes(todo), func(g *group, w *work) error {
			for n < len(todo) && (n == 0 || g.steps < groupSteps) {
				if err := g.edit(w, todo[n]); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			for _, d := range todo {
				d.again = true
			}
			return done, err
		}
		done += n
	}
	return done, nil
}

// draftBytes is roughly what drafts add to a batch.
func draftBytes(drafts []*draft) (n int) {
	for _, d := range drafts {
		n += 128 + 2*len(d.Doc.ID) + len(d.Doc.Body) + 64*len(d.History)
		for _, f := range d.files {
			n += 128 + len(f.Name) + len(f.Type)
		}
	}
	return n
}
