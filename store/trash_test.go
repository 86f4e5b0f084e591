package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/rev"
)

// furnished makes a database with something of each kind in it.
func furnished(t *testing.T, s *Store, name string) *DB {
	t.Helper()
	ctx := context.Background()
	db, err := s.CreateWith(ctx, name, []byte(`{"members":{}}`), []byte(`{"owner":"ann"}`))
	if err != nil {
		t.Fatal(err)
	}
	base := put(t, db, "doc", `{"n":1}`, rev.ID{})
	a, _ := attach(t, db, "bytes of "+name)
	a.Name = "a"
	if _, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{"n":2}`), Attachments: []Attachment{a}}, Base: base}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := db.PutLocal(ctx, "l", 0, []byte(`{"salt":1}`)); err != nil {
		t.Fatal(err)
	}
	return db
}

// isFurnished fails the test unless db is what furnished has made under the name was.
func isFurnished(t *testing.T, db *DB, was string) {
	t.Helper()
	doc, err := db.Doc("doc")
	if err != nil || string(doc.Body) != `{"n":2}` || len(doc.Attachments) != 1 {
		t.Fatalf("%+v, %v", doc, err)
	}
	r, err := db.OpenAttachment(doc.Attachments[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "bytes of "+was {
		t.Errorf("the attachment is %q, %v", b, err)
	}
	if l, err := db.Local("l"); err != nil || l.N != 1 || string(l.Body) != `{"salt":1}` {
		t.Errorf("the _local document is %+v, %v", l, err)
	}
	if v, err := db.Security(); err != nil || string(v) != `{"members":{}}` {
		t.Errorf("_security is %s, %v", v, err)
	}
	if v, err := db.Properties(); err != nil || string(v) != `{"owner":"ann"}` {
		t.Errorf("the properties are %s, %v", v, err)
	}
	if info, err := db.Info(); err != nil || info.DocCount != 1 || info.UpdateSeq != 2 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	ctx := context.Background()
	s, err := Open("data", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	plain := create(t, s, "b")
	if v, err := plain.Properties(); v != nil || err != nil {
		t.Errorf("of a new database: %s, %v", v, err)
	}
	if err := plain.SetProperties(ctx, []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	if v, err := plain.Properties(); string(v) != `{"n":1}` || err != nil {
		t.Errorf("%s, %v", v, err)
	}
	if _, err := s.CreateWith(ctx, "a", nil, []byte(`1`)); err != nil {
		t.Fatal(err)
	}
	create(t, s, "c")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{FS: fs})
	var got []string
	if err := s.EachProperties(func(name string, v []byte) bool {
		got = append(got, name+string(v))
		return true
	}); err != nil || !slices.Equal(got, []string{"a1", `b{"n":1}`}) {
		t.Errorf("%q, %v", got, err)
	}
	// A database made later under the name has none.
	if err := s.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if v, err := create(t, s, "a").Properties(); v != nil || err != nil {
		t.Errorf("inherited: %s, %v", v, err)
	}
}

func TestDiscardAndRestore(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	ctx := context.Background()
	o := Options{FS: fs, Now: func() time.Time { return time.Unix(1000, 0) }}
	s, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(ctx, "db", true); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("discarding nothing: %v", err)
	}
	if _, err := s.Restore(ctx, "db", "db"); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("restoring nothing: %v", err)
	}
	if err := errors.Join(s.Expunge(ctx, "db"), s.AmendTrashed(ctx, "db", nil, nil)); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("expunging nothing: %v", err)
	}
	db := furnished(t, s, "db")
	seq := db.FormatSeq(2)
	waiting := make(chan error, 1)
	go func() { waiting <- db.WaitChange(ctx, 2) }()
	if err := s.Discard(ctx, "db", true); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, ErrNoDatabase) {
		t.Errorf("a feed ends with %v", err)
	}
	refuses(t, db)
	if names, err := s.Names("", false, 10); err != nil || len(names) > 0 {
		t.Errorf("databases %q, %v", names, err)
	}
	if u, err := s.Updates(0, 10); err != nil || len(u) != 1 || u[0].Type != "deleted" {
		t.Errorf("updates %+v, %v", u, err)
	}
	verify(t, s)
	// What is kept outlives the process.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	kept, err := s.TrashedCopy("db")
	if err != nil || kept.DocCount != 1 || !kept.Discarded.Equal(time.Unix(1000, 0)) || kept.Hollow || string(kept.Properties) != `{"owner":"ann"}` {
		t.Errorf("%+v, %v", kept, err)
	}
	create(t, s, "db")
	if _, err := s.Restore(ctx, "db", "db"); !errors.Is(err, ErrDatabaseExists) {
		t.Errorf("restoring over a database: %v", err)
	}
	back, err := s.Restore(ctx, "db", "other")
	if err != nil {
		t.Fatal(err)
	}
	isFurnished(t, back, "db")
	if n, ok := back.ParseSeq(seq); n != 0 || !ok {
		t.Errorf("a sequence from before is %d, %v", n, ok)
	}
	if _, err := s.TrashedCopy("db"); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("a copy that was restored: %v", err)
	}
	put(t, back, "more", `{}`, rev.ID{})
	// It is a database like any other.
	if err := s.Discard(ctx, "other", true); err != nil {
		t.Fatal(err)
	}
	if back, err = s.Restore(ctx, "other", "other"); err != nil {
		t.Fatal(err)
	}
	if err := back.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "other"); err != nil {
		t.Fatal(err)
	}
}

// TestOneCopyForEachName: the newest.
func TestOneCopyForEachName(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	ctx := context.Background()
	furnished(t, s, "a")
	if err := s.Discard(ctx, "a", true); err != nil {
		t.Fatal(err)
	}
	db := create(t, s, "a")
	put(t, db, "newer", `{}`, rev.ID{})
	if err := s.Discard(ctx, "a", true); err != nil {
		t.Fatal(err)
	}
	create(t, s, "b")
	if err := s.Discard(ctx, "b", true); err != nil {
		t.Fatal(err)
	}
	list, err := s.Trashed("", 10)
	if err != nil || len(list) != 2 || list[0].Name != "a" || list[1].Name != "b" {
		t.Fatalf("%+v, %v", list, err)
	}
	if list, err := s.Trashed("a", 10); err != nil || len(list) != 1 || list[0].Name != "b" {
		t.Errorf("after a: %+v, %v", list, err)
	}
	if list[0].Properties != nil || list[0].DocCount != 1 {
		t.Errorf("the older copy is kept: %+v", list[0])
	}
	if err := s.Expunge(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(ctx, "b", "b"); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("restoring what was expunged: %v", err)
	}
	db, err = s.Restore(ctx, "a", "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Doc("newer"); err != nil {
		t.Error(err)
	}
	if _, err := db.Doc("doc"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a document of the older copy: %v", err)
	}
}

func TestHollowCopy(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	ctx := context.Background()
	furnished(t, s, "db")
	if err := s.Discard(ctx, "db", false); err != nil {
		t.Fatal(err)
	}
	if err := s.AmendTrashed(ctx, "db", nil, []byte(`{"owner":""}`)); err != nil {
		t.Fatal(err)
	}
	kept, err := s.TrashedCopy("db")
	if err != nil || !kept.Hollow || kept.Bytes+kept.DocCount != 0 || string(kept.Security) != `{"members":{}}` || string(kept.Properties) != `{"owner":""}` {
		t.Errorf("%+v, %v", kept, err)
	}
	if _, err := s.Restore(ctx, "db", "db"); !errors.Is(err, ErrMissing) {
		t.Errorf("restoring a hollow copy: %v", err)
	}
	verify(t, s)
}

// TestShortDisk: when room becomes scarce the oldest copies go, no more than are needed, and writes are not refused.
func TestShortDisk(t *testing.T) {
	t.Parallel()
	fs := newFullFS()
	var clock atomic.Int64
	const reserve = 1 << 20
	told := make(lines, 16)
	s := open(t, Options{FS: fs, ReserveBytes: reserve, Log: slog.New(slog.NewTextHandler(told, nil)), Now: func() time.Time { return time.Unix(clock.Add(1), 0) }})
	ctx := context.Background()
	for _, name := range []string{"c", "a", "b"} {
		db := create(t, s, name)
		put(t, db, "doc", fmt.Sprintf(`{"s":"%s"}`, strings.Repeat("x", 200_000)), rev.ID{})
		if err := s.Discard(ctx, name, true); err != nil {
			t.Fatal(err)
		}
	}
	db := create(t, s, "db")
	fs.free.Store(shortReserves*reserve - 300_000) // the room of two copies
	put(t, db, "doc", fmt.Sprintf(`{"s":"%s"}`, strings.Repeat("x", 100_000)), rev.ID{})
	hollow := func() (names []string) {
		list, err := s.Trashed("", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Hollow {
				names = append(names, c.Name)
			}
		}
		return names
	}
	for range 2 {
		if line := <-told; !strings.Contains(line, "the disk is short") {
			t.Errorf("the log says %s", line)
		}
	}
	if got := hollow(); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("without documents are %q, want the oldest two", got)
	}
	if _, err := s.Restore(ctx, "b", "b"); err != nil {
		t.Error(err)
	}
}

// lines is a log, of which a test receives what it waits for.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestCheckFindsInTrash damages kept copies.
func TestCheckFindsInTrash(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]struct {
		do   func(b *pebble.Batch, id uint64)
		want string
	}{
		"a body is gone":     {func(b *pebble.Batch, id uint64) { _ = b.Delete(dbKeyN(id, kindBody, 2), nil) }, "the copy of db: body 2"},
		"a record is broken": {func(b *pebble.Batch, _ uint64) { _ = b.Set(trashKey("x"), []byte("x"), nil) }, "the record of a kept copy"},
		"the record is gone": {func(b *pebble.Batch, _ uint64) { _ = b.Delete(trashKey("db"), nil) }, "belongs to no database"},
		"it is a database's": {func(b *pebble.Batch, id uint64) { _ = b.Set(nameKey("x"), nameRecord{id: id}.append(nil), nil) }, "the same number"},
		"it has an update":   {func(b *pebble.Batch, id uint64) { _ = b.Set(dbKey(id, kindState), state{update: 7}.append(nil), nil) }, "entry 7 of the update log"},
		"no _security":       {func(b *pebble.Batch, id uint64) { _ = b.Delete(dbKey(id, kindSecurity), nil) }, "it has no _security"},
		"a number too large": {func(b *pebble.Batch, _ uint64) {
			_ = b.Set(trashKey("y"), trashRecord{nameRecord: nameRecord{id: 99}}.append(nil), nil)
		}, "the next is said"},
		"an attachment's gap": {func(b *pebble.Batch, id uint64) { _ = b.Delete(chunkKey(id, 1, 0), nil) }, "of 11 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open("data", Options{FS: vfs.NewMem()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			db := furnished(t, s, "db")
			if err := s.Discard(context.Background(), "db", true); err != nil {
				t.Fatal(err)
			}
			verify(t, s)
			b := s.pebble.NewBatch()
			damage.do(b, db.id)
			if err := b.Commit(pebble.Sync); err != nil {
				t.Fatal(err)
			}
			s.show(s.capture())
			problems, err := s.Check(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, damage.want) }) {
				t.Errorf("%q is not found: %q", damage.want, problems)
			}
		})
	}
}
