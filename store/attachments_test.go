package store

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/rev"
)

// keys counts the keys of a kind.
func keys(t *testing.T, db *DB, kind byte) (n int) {
	t.Helper()
	o := &pebble.IterOptions{LowerBound: dbKey(db.id, kind), UpperBound: dbKey(db.id, kind+1)}
	err := scan(db.store.pebble, o, false, func(_, _ []byte) (bool, error) {
		n++
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAttachmentRefusals(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	db := create(t, s, "db")
	other := create(t, s, "other")
	foreign, w := attach(t, other, "of another database")
	defer w.Discard()
	given, gone := attach(t, db, "given up")
	gone.Discard()
	unfinished, err := db.NewAttachment(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer unfinished.Discard()
	for name, a := range map[string]Attachment{
		"neither stub nor bytes":           {Name: "a"},
		"an upload that was given up":      given,
		"an upload to another database":    foreign,
		"an upload that has not ended yet": {Name: "a", ref: unfinished.upload.ref},
	} {
		a.Name = "a"
		_, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc", Attachments: []Attachment{a}}}, nil)
		if !errors.Is(err, ErrNoAttachment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var stub *StubError
	_, err = db.Put(context.Background(), Write{Doc: Doc{ID: "doc", Attachments: []Attachment{{Name: "a", Stub: true}}}}, nil)
	if !errors.As(err, &stub) || *stub != (StubError{"doc", "a"}) {
		t.Errorf("a stub of nothing: %v", err)
	}
	if _, err := db.OpenAttachment(Attachment{Name: "a", ref: 99}, 0); !errors.Is(err, ErrNoAttachment) {
		t.Errorf("opening nothing: %v", err)
	}
	if n := db.UpdateSeq(); n != 0 {
		t.Errorf("update sequence %d", n)
	}
}

func TestStubs(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	a, _ := attach(t, db, "bytes")
	a.Name, a.Type = "a", "text/plain"
	ctx := context.Background()
	r1, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{}`), Attachments: []Attachment{a}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	stub := []Attachment{{Name: "a", Type: "is not believed", Stub: true}}
	r2, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{"n":2}`), Attachments: stub}, Base: r1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A replicated revision takes from the newest ancestor with a body, across one without.
	far := []rev.ID{{Gen: 4, Hash: "d"}, {Gen: 3, Hash: "c"}, r2, r1}
	if _, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{}`), Attachments: stub}, History: far}, nil); err != nil {
		t.Fatal(err)
	}
	// Sent again, the stub is not looked at: it could not be found in a stemmed history.
	if _, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Attachments: []Attachment{{Name: "zz", Stub: true}}}, History: far}, nil); err != nil {
		t.Errorf("a known revision: %v", err)
	}
	doc, err := db.Doc("doc")
	if err != nil || len(doc.Attachments) != 1 {
		t.Fatalf("%+v, %v", doc, err)
	}
	if got := doc.Attachments[0]; got.RevPos != 1 || got.Type != "text/plain" || got.Stub || got.Digest != md5.Sum([]byte("bytes")) {
		t.Errorf("%+v", got)
	}
	if n := keys(t, db, kindChunk); n != 1 {
		t.Errorf("%d chunks for one attachment of four revisions", n)
	}
	_, err = db.Put(ctx, Write{Doc: Doc{ID: "doc", Attachments: []Attachment{{Name: "b", Stub: true}}}, Base: doc.Rev}, nil)
	if stub := new(StubError); !errors.As(err, &stub) {
		t.Errorf("a stub of a name that is not there: %v", err)
	}
}

// TestCopy: an attachment read from one document and written to another is that one's own.
func TestCopy(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx := context.Background()
	a, _ := attach(t, db, "bytes")
	a.Name = "a"
	base, err := db.Put(ctx, Write{Doc: Doc{ID: "from", Body: []byte(`{}`), Attachments: []Attachment{a}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	from, err := db.Doc("from")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Put(ctx, Write{Doc: Doc{ID: "to", Body: from.Body, Attachments: from.Attachments}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Purge(ctx, []string{"from"}, [][]rev.ID{{base}}); err != nil {
		t.Fatal(err)
	}
	to, err := db.Doc("to")
	if err != nil {
		t.Fatal(err)
	}
	r, err := db.OpenAttachment(to.Attachments[0], 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "tes" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestReaderHoldsAttachment: compaction removes an attachment that is being read when the reader closes, not before.
func TestReaderHoldsAttachment(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx := context.Background()
	text := bytes.Repeat([]byte("0123456789abcdef"), 3*chunkBytes/16)
	a, _ := attach(t, db, string(text))
	a.Name = "a"
	base, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{}`), Attachments: []Attachment{a}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := db.Doc("doc")
	if err != nil {
		t.Fatal(err)
	}
	r, err := db.OpenAttachment(doc.Attachments[0], chunkBytes/2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	put(t, db, "doc", `{}`, base)
	if err := db.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	verify(t, db.store)
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(rest, text[chunkBytes/2+10:]) {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	if _, err := db.OpenAttachment(doc.Attachments[0], 0); !errors.Is(err, ErrNoAttachment) {
		t.Errorf("opened again: %v", err)
	}
	r.Close()
	if n := keys(t, db, kindChunk); n != 0 {
		t.Errorf("%d chunks are left", n)
	}
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("a closed reader reads")
	}
}

// TestOrphansAreSwept: uploads that nobody took do not survive the next start.
func TestOrphansAreSwept(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s, err := Open("data", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	db := create(t, s, "db")
	a, _ := attach(t, db, "forgotten")
	if n := keys(t, db, kindChunk); n != 1 {
		t.Fatalf("%d chunks", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{FS: fs})
	if db, err = s.DB("db"); err != nil {
		t.Fatal(err)
	}
	if n := keys(t, db, kindChunk); n != 0 {
		t.Errorf("%d chunks are left", n)
	}
	if b, _ := attach(t, db, "new"); b.ref <= a.ref {
		t.Errorf("number %d after %d", b.ref, a.ref)
	}
}

// TestLargeAttachment moves 64 MiB in and out with the memory of some chunks.
func TestLargeAttachment(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes 64 MiB")
	}
	s, err := Open(t.TempDir(), Options{CacheBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db := create(t, s, "db")
	const size = 64 << 20
	before := heap(t, s)
	w, err := db.NewAttachment(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, io.LimitReader(rand.NewChaCha8([32]byte{1}), size)); err != nil {
		t.Fatal(err)
	}
	a, err := w.Close()
	if err != nil || a.Stored != size {
		t.Fatalf("%+v, %v", a, err)
	}
	if grown := heap(t, s) - before; grown > 48<<20 {
		t.Errorf("writing took %d MiB of heap", grown>>20)
	}
	a.Name = "large"
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc", Body: []byte(`{}`), Attachments: []Attachment{a}}}, nil); err != nil {
		t.Fatal(err)
	}
	doc, err := db.Doc("doc")
	if err != nil {
		t.Fatal(err)
	}
	r, err := db.OpenAttachment(doc.Attachments[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.New()
	n, err := io.Copy(sum, r)
	if err != nil || n != size || [16]byte(sum.Sum(nil)) != a.Digest {
		t.Errorf("%d bytes, %v", n, err)
	}
	if grown := heap(t, s) - before; grown > 48<<20 {
		t.Errorf("reading took %d MiB of heap", grown>>20)
	}
	r.Close()
	verify(t, s)
}

// heap is the bytes of live objects, less Pebble's memtables and cache: they are bounded by the options, and lie in Go's heap or beside it.
// Memtables are flushed first: one that went away between the two readings would be counted in the first alone.
func heap(t *testing.T, s *Store) int64 {
	t.Helper()
	if err := s.pebble.Flush(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) - int64(s.Metrics().MemoryBytes)
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	a, w := attach(t, db, "bytes")
	a.Name = "a"
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc", Attachments: []Attachment{a}}}, nil); err != nil {
		t.Fatal(err)
	}
	w.Discard() // it is taken
	if n := keys(t, db, kindChunk); n != 1 {
		t.Errorf("%d chunks of the document's attachment", n)
	}
	_, w = attach(t, db, "more bytes")
	w.Discard()
	w.Discard()
	if n := keys(t, db, kindChunk); n != 1 {
		t.Errorf("%d chunks after a discard", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w, err := db.NewAttachment(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Write(make([]byte, chunkBytes)); !errors.Is(err, context.Canceled) {
		t.Errorf("writing after the context's end: %v", err)
	}
	w.Discard()
}
