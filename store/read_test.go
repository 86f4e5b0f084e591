package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/parlordb/parlor/rev"
)

func TestDocs(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	for _, id := range []string{"a", "b", "bb", "c", "\xf0\x9f\x98\x80"} {
		put(t, db, id, `{}`, rev.ID{})
	}
	remove(t, db, "dead", rev.ID{})
	for _, c := range []struct {
		name string
		r    Range
		want string
	}{
		{"all", Range{}, "a b bb c 😀"},
		{"deleted too", Range{Deleted: true}, "a b bb c dead 😀"},
		{"backwards", Range{Descending: true}, "😀 c bb b a"},
		{"from", Range{From: "b"}, "b bb c 😀"},
		{"behind", Range{From: "b", ExclusiveFrom: true}, "bb c 😀"},
		{"up to", Range{To: "bb", HasTo: true}, "a b bb"},
		{"up to, exclusive", Range{To: "bb", HasTo: true, ExclusiveTo: true}, "a b"},
		{"one", Range{From: "b", To: "b", HasTo: true}, "b"},
		{"empty", Range{From: "b", To: "b", HasTo: true, ExclusiveTo: true}, ""},
		{"turned round", Range{From: "c", To: "a", HasTo: true}, ""},
		{"up to the empty id", Range{To: "", HasTo: true}, ""},
	} {
		var got []string
		err := db.Docs(c.r, func(r *Row) bool {
			got = append(got, r.ID)
			if doc, err := db.LeafDoc(r.ID, r.Seq, r.Leaf); err != nil || doc.Rev != r.Leaf.Rev {
				t.Errorf("%s: %+v, %v", r.ID, doc, err)
			}
			return true
		})
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	for _, c := range []struct {
		id   string
		desc bool
		max  int
		n    int
		ok   bool
	}{
		{"a", false, 10, 0, true}, {"c", false, 10, 3, true}, {"c", false, 2, 0, false}, {"c", true, 10, 1, true}, {"zz", false, 10, 4, true},
	} {
		if n, ok, err := db.CountBefore(c.id, c.desc, c.max); n != c.n || ok != c.ok || err != nil {
			t.Errorf("CountBefore %+v: %d, %v, %v", c, n, ok, err)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	a := put(t, db, "a", `{}`, rev.ID{})
	put(t, db, "b", `{}`, rev.ID{})
	put(t, db, "c", `{}`, rev.ID{})
	remove(t, db, "a", a)
	for _, c := range []struct {
		since uint64
		desc  bool
		limit int
		want  string
	}{
		{0, false, 10, "2b 3c 4a"}, {2, false, 10, "3c 4a"}, {0, false, 1, "2b"}, {4, false, 10, ""}, {0, false, 0, ""},
		{99, false, 10, ""}, {math.MaxUint64, false, 10, ""}, {0, true, 10, "4a 3c 2b"}, {0, true, 2, "4a 3c"},
		{4, true, 10, "3c 2b"}, {4, true, 1, "3c"}, {3, true, 10, "2b"}, {2, true, 10, ""}, {1, true, 10, ""}, {4, true, 0, ""},
		{99, true, 10, "4a 3c 2b"}, {math.MaxUint64, true, 10, "4a 3c 2b"},
	} {
		var got []string
		err := db.Changes(c.since, c.desc, c.limit, func(c *Change) bool {
			got = append(got, fmt.Sprint(c.Seq, c.ID))
			return true
		})
		if err != nil || strings.ReplaceAll(strings.Join(got, " "), " ", "") != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

// TestChangesAfter counts across pages, and while the first count is being made.
func TestChangesAfter(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	var writers sync.WaitGroup
	for k := range 4 {
		writers.Go(func() {
			for n := range 12 {
				writes := make([]Write, 128)
				for i := range writes {
					// Half of them replace an older row.
					writes[i] = Write{Doc: Doc{ID: fmt.Sprint(k, "-", (n/2)*128+i), Body: []byte(`{}`)}, History: []rev.ID{{Gen: 1, Hash: fmt.Sprint(n)}}}
				}
				if _, err := db.Write(context.Background(), writes, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for since := uint64(1); since < 2000; since += 200 {
		if err := db.WaitChange(context.Background(), since); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ChangesAfter(since); err != nil {
			t.Fatal(err)
		}
	}
	writers.Wait()
	var rows []uint64
	if err := db.Changes(0, true, math.MaxInt, func(c *Change) bool { rows = append(rows, c.Seq); return true }); err != nil {
		t.Fatal(err)
	}
	for n, seq := range rows {
		if got, err := db.ChangesAfter(seq); err != nil || got != uint64(n) {
			t.Fatalf("after %d there are %d rows, counted %d (%v)", seq, n, got, err)
		}
	}
}

// TestReadErrors: a disk that cannot be read fails what reads it, and nothing else.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	onlyTables := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && strings.HasSuffix(op.Path, ".sst") && op.Kind.ReadOrWrite() == errorfs.OpIsRead {
			return errorfs.ErrInjected
		}
		return nil
	})
	mem := vfs.NewMem()
	s, err := Open("data", Options{FS: errorfs.Wrap(mem, onlyTables), CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	db := create(t, s, "db")
	base := put(t, db, "doc", `{"n":1}`, rev.ID{})
	if err := s.pebble.Flush(); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if _, err := db.Doc("doc"); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("reading: %v", err)
	}
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc", Body: []byte(`{}`)}, Base: base}, nil); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("writing: %v", err)
	}
	broken.Store(false)
	if doc, err := db.Doc("doc"); err != nil || doc.Rev != base {
		t.Errorf("after: %+v, %v", doc, err)
	}
	put(t, db, "doc", `{}`, base)
	verify(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestCorruptRecord(t *testing.T) {
	t.Parallel()
	s, err := Open("data", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db := create(t, s, "db")
	put(t, db, "doc", `{}`, rev.ID{})
	if err := s.pebble.Set(dbKeyText(db.id, kindDoc, "doc"), []byte("nonsense that is long enough for a header"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	s.show(s.capture())
	if _, err := db.Doc("doc"); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrMissing) {
		t.Errorf("Doc: %v", err)
	}
	if _, err := db.Record("doc"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Record: %v", err)
	}
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc"}}, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Put: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(appendFiles(nil, []Attachment{{Name: "a", Type: "b", Length: 3, Stored: 4, ref: 5}}))
	f.Add(header{seq: 1, rev: rev.ID{Gen: 1, Hash: "a"}}.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if files, json, err := decodeBody(b); err == nil {
			again, _, err := decodeBody(append(appendFiles(nil, files), json...))
			if err != nil || fmt.Sprint(again) != fmt.Sprint(files) {
				t.Fatalf("%v became %v, %v", files, again, err)
			}
		}
		var c Change
		if err := decodeRow(&c, b); err == nil && len(c.Leaves) == 0 {
			t.Fatal("a row without leaves")
		}
		if r, err := decodeRecord("x", b); err == nil {
			again, err := decodeRecord("x", r.append(nil, r.was))
			if err != nil || again.was != r.was || again.tree.Len() != r.tree.Len() {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
	})
}

func (h header) bytes() []byte { return h.append(nil) }
