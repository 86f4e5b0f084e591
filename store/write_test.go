package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/parlordb/parlor/rev"
)

func revs(t testing.TB, text string) []rev.ID {
	t.Helper()
	var ids []rev.ID
	for _, s := range strings.Fields(text) {
		id, err := rev.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	r1 := put(t, db, "live", `{"n":1}`, rev.ID{})
	r2 := put(t, db, "live", `{"n":2}`, r1)
	d1 := put(t, db, "dead", `{}`, rev.ID{})
	d2 := remove(t, db, "dead", d1)
	for _, c := range []struct {
		name, id string
		base     rev.ID
	}{
		{"no base on a live document", "live", rev.ID{}},
		{"a base that was replaced", "live", r1},
		{"a base that nobody knows", "live", rev.ID{Gen: 2, Hash: "x"}},
		{"a tombstone as base", "dead", d2},
		{"the revision under a tombstone", "dead", d1},
	} {
		got, err := db.Put(context.Background(), Write{Doc: Doc{ID: c.id, Body: []byte(`{}`)}, Base: c.base}, nil)
		if !errors.Is(err, ErrConflict) || !got.IsZero() {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	if got, err := db.Doc("live"); err != nil || got.Rev != r2 || string(got.Body) != `{"n":2}` {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := db.Doc("dead"); !errors.Is(err, ErrDeleted) {
		t.Error(err)
	}
	if r3 := put(t, db, "dead", `{}`, rev.ID{}); r3.Gen != 3 {
		t.Errorf("a document made anew has %v, it does not go on from its tombstone", r3)
	}
	if r := put(t, db, "new", `{}`, rev.ID{Gen: 4, Hash: "x"}); r.Gen != 5 {
		t.Errorf("a base without a document: %v", r)
	}
}

func TestSecondEditInOneCallConflicts(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	dead := Doc{ID: "doc", Body: []byte(`{}`), Deleted: true}
	for _, check := range []Check{nil, allow} {
		got, err := db.Write(context.Background(), []Write{{Doc: dead}, {Doc: dead}, {Doc: Doc{ID: "other", Body: []byte(`{}`)}, Base: rev.ID{}}}, check)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Err != nil || !errors.Is(got[1].Err, ErrConflict) {
			t.Errorf("%+v", got)
		}
	}
}

func TestBadHistories(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	for _, h := range []string{"3-c 1-a", "2-b 2-a", "1-a 0-x", "1-a 2-b", "0-a"} {
		_, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc"}, History: revs(t, h)}, nil)
		if !errors.Is(err, rev.ErrFormat) {
			t.Errorf("%s: %v", h, err)
		}
	}
	for _, hash := range []string{"a b", "a\r\nX: y", "\x01", `"`} {
		_, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc"}, History: []rev.ID{{Gen: 1, Hash: hash}}}, nil)
		if !errors.Is(err, rev.ErrFormat) {
			t.Errorf("%q: %v", hash, err)
		}
	}
	for _, base := range []rev.ID{{Gen: 0, Hash: "x"}, {Gen: -1, Hash: "x"}, {Gen: 1}, {Gen: rev.MaxGeneration, Hash: "x"}, {Gen: 1, Hash: strings.Repeat("x", rev.MaxHash+1)}} {
		_, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc"}, Base: base}, nil)
		if !errors.Is(err, ErrConflict) {
			t.Errorf("base %v: %v", base, err)
		}
	}
	if _, err := db.Record("doc"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	last := rev.ID{Gen: rev.MaxGeneration, Hash: "last"}
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "last"}, History: []rev.ID{last}}, nil); err != nil {
		t.Error(err)
	}
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "last"}, Base: last}, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("after the last generation: %v", err)
	}
}

// TestUnquotableOfOld: what stores took before they judged the names of revisions is read, replaced and told of as an ancestor.
func TestUnquotableOfOld(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx := context.Background()
	odd := rev.ID{Gen: 1, Hash: "a\x01\r\nX: y"}
	w := Write{Doc: Doc{ID: "doc", Body: []byte(`{}`)}, History: []rev.ID{odd}}
	if _, err := db.submit(ctx, []*draft{{Write: &w, result: new(Result)}}); err != nil {
		t.Fatal(err)
	}
	if doc, err := db.Doc("doc"); err != nil || doc.Rev != odd {
		t.Errorf("%+v, %v", doc, err)
	}
	next := put(t, db, "doc", `{}`, odd)
	w = Write{Doc: Doc{ID: "copy", Body: []byte(`{}`)}, History: []rev.ID{next, odd}}
	if got, err := db.Put(ctx, w, nil); err != nil || got != next {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReplicated(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	replicate(t, db, "doc", `{"n":3}`, "3-c 2-b 1-a", false)
	for _, h := range []string{"3-c 2-b 1-a", "3-c", "2-b 1-a"} { // known already
		replicate(t, db, "doc", `{"n":99}`, h, false)
	}
	if n := db.UpdateSeq(); n != 1 {
		t.Errorf("a known revision made sequence %d", n)
	}
	r, err := db.Record("doc")
	if err != nil {
		t.Fatal(err)
	}
	if i, _ := r.Tree.Find(revs(t, "2-b")[0]); r.Tree.Node(i).Ref != 0 {
		t.Error("an ancestor got a body")
	}
	replicate(t, db, "doc", `{"n":4}`, "3-d 2-b 1-a", false)
	replicate(t, db, "doc", `{}`, "4-e 3-d", true)
	if doc, err := db.Doc("doc"); err != nil || doc.Rev.Hash != "c" || string(doc.Body) != `{"n":3}` {
		t.Errorf("%+v, %v", doc, err)
	}
	var leaves []string
	err = db.Changes(0, false, 10, func(c *Change) bool {
		for _, l := range c.Leaves {
			leaves = append(leaves, l.Rev.String())
			if doc, err := db.LeafDoc(c.ID, c.Seq, l); err != nil || doc.Deleted != l.Deleted {
				t.Errorf("%v: %+v, %v", l, doc, err)
			}
		}
		return true
	})
	if err != nil || strings.Join(leaves, " ") != "3-c 4-e" {
		t.Errorf("leaves %v, %v", leaves, err)
	}
}

func TestRevisionIsDeterministic(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	one, two := create(t, s, "one"), create(t, s, "two")
	a, b := put(t, one, "x", `{"n":1}`, rev.ID{}), put(t, two, "x", `{"n":1}`, rev.ID{})
	if a != b || a.Gen != 1 || len(a.Hash) != 32 {
		t.Errorf("%v, %v", a, b)
	}
	other := map[rev.ID]string{a: "the first"}
	for _, body := range []string{`{"n":2}`, `{"n": 1}`} {
		r := put(t, one, body, body, rev.ID{})
		if other[r] != "" {
			t.Errorf("%s has the revision of %s", body, other[r])
		}
		other[r] = body
	}
	if d := remove(t, one, "d", rev.ID{}); other[d] != "" {
		t.Error("a tombstone has the revision of a document")
	}
}

func TestCheckDecides(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx := context.Background()
	forbidden := errors.New("forbidden")
	r1 := put(t, db, "doc", `{"n":1}`, rev.ID{})
	_, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{"n":2}`)}, Base: r1}, func(_ context.Context, old, new *Doc) error {
		if string(old.Body) != `{"n":1}` || old.Rev != r1 || new.Rev != r1 || string(new.Body) != `{"n":2}` {
			t.Errorf("old %+v, new %+v", old, new)
		}
		return forbidden
	})
	if !errors.Is(err, forbidden) {
		t.Error(err)
	}
	if doc, err := db.Doc("doc"); err != nil || doc.Rev != r1 {
		t.Errorf("a forbidden edit was stored: %+v, %v", doc, err)
	}
	never := func(context.Context, *Doc, *Doc) error { t.Error("check was called"); return nil }
	if _, err := db.Put(ctx, Write{Doc: Doc{ID: "doc"}}, never); !errors.Is(err, ErrConflict) {
		t.Errorf("conflict: %v", err)
	}
	if _, err := db.Put(ctx, Write{Doc: Doc{ID: "doc"}, History: []rev.ID{r1}}, never); err != nil {
		t.Errorf("known revision: %v", err)
	}
	results, err := db.Write(ctx, []Write{{Doc: Doc{ID: "a", Body: []byte(`{}`)}}, {Doc: Doc{ID: "b", Body: []byte(`{}`)}}}, func(_ context.Context, old, new *Doc) error {
		if old != nil {
			t.Errorf("old %+v", old)
		}
		if new.ID == "a" {
			return forbidden
		}
		return nil
	})
	if err != nil || !errors.Is(results[0].Err, forbidden) || results[1].Err != nil {
		t.Errorf("%+v, %v", results, err)
	}
}

// TestCheckSeesWhatIsReplaced: an edit that comes between check and commit makes check run again on what is there now.
func TestCheckSeesWhatIsReplaced(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx := context.Background()
	replicate(t, db, "doc", `{"n":1}`, "1-a", false)
	calls := 0
	_, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{"n":3}`)}, History: revs(t, "3-c 2-b 1-a")}, func(_ context.Context, old, new *Doc) error {
		if calls++; calls == 1 {
			replicate(t, db, "doc", `{"n":2}`, "2-b 1-a", false)
			return nil
		}
		if string(old.Body) != `{"n":2}` {
			t.Errorf("the second time it sees %s", old.Body)
		}
		return nil
	})
	if err != nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
	base, err := db.Doc("doc")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{"n":4}`)}, Base: base.Rev}, func(context.Context, *Doc, *Doc) error {
		put(t, db, "doc", `{"n":5}`, base.Rev)
		return nil
	})
	if !errors.Is(err, ErrConflict) {
		t.Errorf("an own edit overtaken by another: %v", err)
	}
}

func TestWriteCancelled(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.Put(ctx, Write{Doc: Doc{ID: "doc"}}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := db.UpdateSeq(); n != 0 {
		t.Errorf("sequence %d", n)
	}
}

func TestLocalConflicts(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx := context.Background()
	for _, c := range []struct {
		name string
		base uint64
		body string
		n    uint64
		err  error
	}{
		{"deleting nothing", 0, "", 0, ErrNotFound},
		{"a base of nothing", 1, "{}", 0, ErrConflict},
		{"made", 0, "{}", 1, nil},
		{"made again", 0, "{}", 0, ErrConflict},
		{"changed", 1, "{}", 2, nil},
		{"changed from the same base", 1, "{}", 0, ErrConflict},
		{"deleted from an old base", 1, "", 0, ErrConflict},
		{"deleted", 2, "", 0, nil},
		{"made anew", 0, "{}", 1, nil},
	} {
		var body []byte
		if c.body != "" {
			body = []byte(c.body)
		}
		if n, err := db.PutLocal(ctx, "l", c.base, body); n != c.n || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %v", c.name, n, err)
		}
	}
}

// TestDeletedBranch: beside a living one it may be extended; when all are deleted, only the document as a whole may.
func TestDeletedBranch(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	replicate(t, db, "doc", `{}`, "2-a 1-x", false)
	replicate(t, db, "doc", `{}`, "2-b 1-x", true)
	if r := put(t, db, "doc", `{"n":3}`, rev.ID{Gen: 2, Hash: "b"}); r.Gen != 3 {
		t.Errorf("the branch goes on with %v", r)
	}
	replicate(t, db, "dead", `{}`, "2-a 1-x", true)
	replicate(t, db, "dead", `{}`, "2-b 1-x", true)
	for _, base := range revs(t, "2-a 2-b") {
		if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "dead"}, Base: base}, nil); !errors.Is(err, ErrConflict) {
			t.Errorf("on %v: %v", base, err)
		}
	}
}
