package store

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// chunkBytes is what an attachment is cut into, and what a writer or reader of one holds in memory.
const chunkBytes = 256 << 10

// Attachment is a file beside a document's body.
type Attachment struct {
	Name string
	Type string // MIME type
	// RevPos is the generation in which it was added. Of a new attachment Write sets it; of a replicated one it is kept if it can be true.
	RevPos   int
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

// files is what happens to attachments' bytes outside of batches: uploads, and readers that compaction must wait for.
type files struct {
	mu       sync.Mutex
	next     uint64             // number of the next attachment; no two in a store share one
	reserved uint64             // numbers below this may be used
	uploads  map[uint64]*upload // those that no revision has taken yet
	readers  map[uint64]int
	removing map[uint64]bool   // in the batch under way: no reader may start
	deferred map[uint64]uint64 // to be removed, from this database, when the last reader closes
}

// upload is an attachment that no revision refers to yet.
type upload struct {
	db      *DB
	ref     uint64
	size    int64
	closed  bool // all bytes are there
	claimed bool // by a batch that is being made
}

// fileID is an attachment of some database. waits: its chunks stay until the last reader closes.
type fileID struct {
	db, ref uint64
	waits   bool
}

const reserveStep = 1024

func (f *files) init() {
	f.uploads = make(map[uint64]*upload)
	f.readers = make(map[uint64]int)
	f.removing = make(map[uint64]bool)
	f.deferred = make(map[uint64]uint64)
}

// pending reports whether ref is an upload that a Write to db can take, and its size.
func (f *files) pending(db *DB, ref uint64) (size int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	up := f.uploads[ref]
	if up == nil || !up.takable(db) {
		return 0, false
	}
	return up.size, true
}

// takable tells whether a revision in db may refer to the upload. The caller holds files.mu.
func (up *upload) takable(db *DB) bool { return up.db == db && up.closed && !up.claimed }

// claim sets an upload to db aside for a batch, nil when there is none to be had.
func (f *files) claim(db *DB, ref uint64) *upload {
	f.mu.Lock()
	defer f.mu.Unlock()
	up := f.uploads[ref]
	if up == nil || !up.takable(db) {
		return nil
	}
	up.claimed = true
	return up
}

// settle ends claims: the batch that made them is durable, or has failed.
func (f *files) settle(claimed []*upload, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, up := range claimed {
		up.claimed = false
		if done {
			delete(f.uploads, up.ref)
		}
	}
}

// newUpload gives out a number. Numbers are reserved ahead in the same log as the chunks, so that a chunk that survives a crash is below the
// reservation that does.
func (s *Store) newUpload(db *DB) (*upload, error) {
	s.writing.RLock()
	defer s.writing.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	f := &s.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next >= f.reserved {
		reserve := binary.BigEndian.AppendUint64(nil, f.next+reserveStep)
		if err := s.pebble.Set([]byte{keyReserve}, reserve, pebble.NoSync); err != nil {
			return nil, err
		}
		f.reserved = f.next + reserveStep
	}
	up := &upload{db: db, ref: f.next}
	f.next++
	f.uploads[up.ref] = up
	return up, nil
}

// direct writes outside of the committer, without a sync.
func (s *Store) direct(fill func(b *pebble.Batch) error) error {
	s.writing.RLock()
	defer s.writing.RUnlock()
	if s.closed {
		return ErrClosed
	}
	b := s.pebble.NewBatch()
	defer b.Close()
	if err := fill(b); err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}

// sweepUploads removes the chunks of attachments that no revision has taken before the store was closed, or crashed.
func (s *Store) sweepUploads() error {
	v, err := read(s.pebble, []byte{keyReserve})
	if err != nil {
		return err
	}
	s.files.next = 1
	if len(v) == 8 {
		s.files.next = binary.BigEndian.Uint64(v)
	}
	s.files.reserved = s.files.next
	b := s.pebble.NewBatch()
	defer b.Close()
	err = scan(s.pebble, within([]byte{keyPending}), false, func(key, _ []byte) (bool, error) {
		if len(key) != 17 {
			return false, damaged("the mark of an upload")
		}
		return true, dropChunks(b, binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint64(key[9:]))
	})
	if err != nil || b.Empty() {
		return err
	}
	return b.Commit(pebble.Sync)
}

// dropChunks removes an attachment's bytes, and the mark that says they are nobody's.
func dropChunks(b *pebble.Batch, db, ref uint64) error {
	if err := b.DeleteRange(chunkKey(db, ref, 0), dbKeyN(db, kindChunk, ref+1), nil); err != nil {
		return err
	}
	return b.Delete(pendingKey(db, ref), nil)
}

// NewAttachment begins an attachment. What is written is kept as it comes (encode before). Memory is bounded by a chunk. Nothing of it is
// visible until a Write refers to it. It fails with ErrNoDatabase, ErrReadOnly or ErrClosed.
func (db *DB) NewAttachment(ctx context.Context) (*AttachmentWriter, error) {
	if db.store.readOnly {
		return nil, ErrReadOnly
	}
	sn, err := db.reader()
	if err != nil {
		return nil, err
	}
	sn.release()
	up, err := db.store.newUpload(db)
	if err != nil {
		return nil, err
	}
	return &AttachmentWriter{upload: up, stopped: ctx.Err, hash: md5.New()}, nil
}

// AttachmentWriter takes the bytes of one attachment. It is for one goroutine.
type AttachmentWriter struct {
	upload  *upload
	stopped func() error // the error of the context that the attachment was begun with
	hash    hash.Hash
	buf     []byte // of the chunk that is being filled
	chunk   uint32
	marked  bool
	err     error
}

// Write appends bytes. It fails with ErrFull, ErrNoDatabase, ErrClosed or the context's error.
func (w *AttachmentWriter) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) && w.err == nil {
		k := min(len(p)-n, chunkBytes-len(w.buf))
		w.buf = append(w.buf, p[n:n+k]...)
		n += k
		if len(w.buf) == chunkBytes {
			w.flush()
		}
	}
	w.hash.Write(p[:n])
	w.upload.size += int64(n)
	return n, w.err
}

// flush writes the chunk in buf.
func (w *AttachmentWriter) flush() {
	db := w.upload.db
	s := db.store
	if w.err = w.stopped(); w.err != nil {
		return
	}
	if db.deleted.Load() {
		w.err = db.noDatabase()
		return
	}
	if w.err = s.disk.check(len(w.buf), false); w.err != nil {
		return
	}
	w.err = s.direct(func(b *pebble.Batch) error {
		if !w.marked {
			if err := b.Set(pendingKey(db.id, w.upload.ref), nil, nil); err != nil {
				return err
			}
		}
		return b.Set(chunkKey(db.id, w.upload.ref, w.chunk), w.buf, nil)
	})
	w.marked = true
	w.chunk++
	w.buf = w.buf[:0]
}

// Close ends the attachment. The result has Digest and Stored set, and Length equal to Stored; the caller fills in the rest and hands it to
// Write, once, in this database. An attachment that is never handed over must be discarded. Close fails as Write does.
func (w *AttachmentWriter) Close() (Attachment, error) {
	if w.err == nil && len(w.buf) > 0 {
		w.flush()
	}
	if w.err != nil {
		return Attachment{}, w.err
	}
	w.buf = nil
	f := &w.upload.db.store.files
	f.mu.Lock()
	w.upload.closed = true
	f.mu.Unlock()
	a := Attachment{Length: w.upload.size, Stored: w.upload.size, ref: w.upload.ref}
	w.hash.Sum(a.Digest[:0])
	return a, nil
}

// Discard gives up what was written, before or after Close, unless a Write has taken it: then it does nothing.
func (w *AttachmentWriter) Discard() {
	up, s := w.upload, w.upload.db.store
	s.files.mu.Lock()
	mine := s.files.uploads[up.ref] == up && !up.claimed
	if mine {
		delete(s.files.uploads, up.ref)
	}
	s.files.mu.Unlock()
	if !mine || !w.marked {
		return
	}
	s.drop(up.db.id, up.ref)
}

// drop removes chunks that nobody refers to. What fails here is done by the next Open.
func (s *Store) drop(db, ref uint64) {
	err := s.direct(func(b *pebble.Batch) error { return dropChunks(b, db, ref) })
	if err != nil && err != ErrClosed {
		s.log.Warn("removing an attachment", "error", err)
	}
}

// fileOwner returns the document that an attachment belongs to and how many bytes are stored, or ErrNoAttachment.
func (s *Store) fileOwner(r pebble.Reader, db, ref uint64) (string, uint64, error) {
	v, err := read(r, dbKeyN(db, kindAttachment, ref))
	if err != nil {
		return "", 0, err
	}
	if v == nil {
		return "", 0, ErrNoAttachment
	}
	return decodeOwner(v)
}

// owner returns the id of the document that a belongs to, or ErrNoAttachment.
func (db *DB) owner(a Attachment) (string, error) {
	sn, err := db.reader()
	if err != nil {
		return "", err
	}
	defer sn.release()
	id, _, err := db.store.fileOwner(sn, db.id, a.ref)
	if err != nil {
		return "", fmt.Errorf("%w: %q", err, a.Name)
	}
	return id, nil
}

// copyAttachment uploads the bytes of a again.
func (db *DB) copyAttachment(ctx context.Context, a Attachment) (*AttachmentWriter, error) {
	from, err := db.OpenAttachment(a, 0)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	w, err := db.NewAttachment(ctx)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(w, from); err == nil {
		_, err = w.Close()
	}
	if err != nil {
		w.Discard()
		return nil, err
	}
	return w, nil
}

// OpenAttachment reads the stored bytes of an attachment that a read returned, from offset. No snapshot is held, and compaction waits with
// the removal until the reader is closed. It fails with ErrNoAttachment; reading fails with ErrNoDatabase when the database is deleted meanwhile.
func (db *DB) OpenAttachment(a Attachment, offset int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, fmt.Errorf("attachment %q: offset %d is negative", a.Name, offset)
	}
	// The reader is counted before the attachment is looked for: what is then found cannot be removed unseen.
	f := &db.store.files
	f.mu.Lock()
	if f.removing[a.ref] {
		f.mu.Unlock()
		return nil, fmt.Errorf("%w: %q", ErrNoAttachment, a.Name)
	}
	f.readers[a.ref]++
	f.mu.Unlock()
	r := &attachmentReader{db: db, ref: a.ref, name: a.Name, at: offset, size: a.Stored}
	if _, err := db.owner(a); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// attachmentReader holds one chunk at a time.
type attachmentReader struct {
	db       *DB
	ref      uint64
	name     string
	at, size int64
	chunk    []byte
	rest     []byte // of chunk
	closed   bool
}

func (r *attachmentReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, io.ErrClosedPipe
	}
	if len(r.rest) == 0 {
		if r.at >= r.size {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.at += int64(n)
	return n, nil
}

// fill reads the chunk that holds the byte at r.at.
func (r *attachmentReader) fill() error {
	sn, err := r.db.reader()
	if err != nil {
		return err
	}
	defer sn.release()
	number, skip := r.at/chunkBytes, r.at%chunkBytes
	v, closer, err := sn.Get(chunkKey(r.db.id, r.ref, uint32(number)))
	if err == nil {
		r.chunk = append(r.chunk[:0], v...)
		err = closer.Close()
	}
	if err == nil && int64(len(r.chunk)) != min(chunkBytes, r.size-number*chunkBytes) || err == pebble.ErrNotFound {
		err = damaged("chunk %d of attachment %q in %s", number, r.name, r.db.name)
	}
	if err != nil {
		return err
	}
	r.rest = r.chunk[skip:]
	return nil
}

// Close lets compaction remove the attachment. It never fails.
func (r *attachmentReader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	s := r.db.store
	f := &s.files
	f.mu.Lock()
	db, remove := uint64(0), false
	if f.readers[r.ref]--; f.readers[r.ref] == 0 {
		delete(f.readers, r.ref)
		db, remove = f.deferred[r.ref]
		delete(f.deferred, r.ref)
	}
	f.mu.Unlock()
	if remove {
		s.drop(db, r.ref)
	}
	return nil
}

// removeFile removes an attachment that nothing refers to any longer. Its chunks stay while they are being read.
func (g *group) removeFile(w *work, ref uint64) error {
	_, stored, err := g.store.fileOwner(g.store.pebble, w.db.id, ref)
	if err == ErrNoAttachment {
		return nil // removed with another revision
	}
	if err != nil {
		return g.fail(err)
	}
	g.delete(dbKeyN(w.db.id, kindAttachment, ref))
	subtract(&w.state.total, stored)
	w.dirty = true
	f := &g.store.files
	f.mu.Lock()
	defer f.mu.Unlock()
	waits := f.readers[ref] > 0
	if waits {
		g.set(pendingKey(w.db.id, ref), nil)
	} else {
		f.removing[ref] = true
		g.deleteRange(chunkKey(w.db.id, ref, 0), dbKeyN(w.db.id, kindChunk, ref+1))
	}
	g.removed = append(g.removed, fileID{w.db.id, ref, waits})
	return nil
}

// finishRemoval is called when the batch that removed files is published, or has failed.
func (s *Store) finishRemoval(removed []fileID, done bool) {
	for _, id := range removed {
		s.files.mu.Lock()
		delete(s.files.removing, id.ref)
		now := done && id.waits && s.files.readers[id.ref] == 0
		if done && id.waits && !now {
			s.files.deferred[id.ref] = id.db
		}
		s.files.mu.Unlock()
		if now {
			s.drop(id.db, id.ref)
		}
	}
}
