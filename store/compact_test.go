package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parlordb/parlor/rev"
)

func TestCompact(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx := context.Background()
	var r rev.ID
	const n = 3*stepBodies + 5
	for i := range n {
		r = put(t, db, "doc", fmt.Sprintf(`{"n":%d}`, i), r)
	}
	if got := keys(t, db, kindBody); got != n {
		t.Fatalf("%d bodies", got)
	}
	record, err := db.Record("doc")
	if err != nil {
		t.Fatal(err)
	}
	if doc, err := db.Revision(record, n-2); err != nil || string(doc.Body) != fmt.Sprintf(`{"n":%d}`, n-2) {
		t.Errorf("before compaction: %+v, %v", doc, err)
	}
	if err := db.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, db, kindBody); got != 1 {
		t.Errorf("%d bodies are left", got)
	}
	if _, err := db.Revision(record, n-2); !errors.Is(err, ErrMissing) {
		t.Errorf("after compaction: %v", err)
	}
	if info, err := db.Info(); err != nil || info.ActiveBytes != info.FileBytes || info.UpdateSeq != n {
		t.Errorf("%+v, %v", info, err)
	}
	if doc, err := db.Doc("doc"); err != nil || doc.Rev != r {
		t.Errorf("%+v, %v", doc, err)
	}
}

// TestCompactsByItself: nobody has asked for it.
func TestCompactsByItself(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	var r rev.ID
	body := `{"s":"` + strings.Repeat("x", compactFrom/4) + `"}`
	for range 16 {
		r = put(t, db, "doc", body, r)
	}
	// What has been started is joined; what has ended has left little.
	if err := db.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if db.store.commits.Load() < 18 {
		t.Errorf("%d commits: no step of a compaction is among them", db.store.commits.Load())
	}
	db.mu.Lock()
	stale := db.state.wasteful()
	db.mu.Unlock()
	if stale {
		t.Error("it is still wasteful")
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	ctx := context.Background()
	r1 := put(t, db, "doc", `{"n":1}`, rev.ID{})
	r2 := put(t, db, "doc", `{"n":2}`, r1)
	replicate(t, db, "doc", `{"n":3}`, "2-zz "+r1.String(), false)
	ids := []string{"doc", "none", "doc"}
	asked := [][]rev.ID{{r1, r2}, revs(t, "1-a"), revs(t, "9-z")}
	got, seq, err := db.Purge(ctx, ids, asked)
	if err != nil || seq != 1 || !slices.Equal(got[0], []rev.ID{r2}) || got[1] != nil || got[2] != nil {
		t.Errorf("%v, %d, %v", got, seq, err)
	}
	if doc, err := db.Doc("doc"); err != nil || doc.Rev.Hash != "zz" || doc.Seq != 4 {
		t.Errorf("%+v, %v", doc, err)
	}
	if _, _, err := db.Purge(ctx, []string{"doc"}, [][]rev.ID{revs(t, "2-zz")}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Record("doc"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the document is still there: %v", err)
	}
	if n := keys(t, db, kindBody); n != 0 {
		t.Errorf("%d bodies are left", n)
	}
	if info, err := db.Info(); err != nil || info.PurgeSeq != 2 || info.UpdateSeq != 4 || info.DocCount != 0 || info.FileBytes != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if err := db.SetPurgedLimit(ctx, 2); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r := put(t, db, "doc", `{}`, rev.ID{})
		if _, _, err := db.Purge(ctx, []string{"doc"}, [][]rev.ID{{r}}); err != nil {
			t.Fatal(err)
		}
	}
	var remembered []string
	if err := db.Purges(func(id string, purged []rev.ID) bool {
		remembered = append(remembered, fmt.Sprint(id, len(purged)))
		return true
	}); err != nil || len(remembered) != 2 || remembered[0] != "doc1" || keys(t, db, kindPurge) != 2 {
		t.Errorf("remembered are %q, %v", remembered, err)
	}
}
