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
