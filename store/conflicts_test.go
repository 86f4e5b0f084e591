package store

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/parlordb/parlor/rev"
)

// TestManyConflicts: thousands of revisions of one document in one call are each judged once, and do not keep the committer to themselves.
func TestManyConflicts(t *testing.T) {
	t.Parallel()
	const n = 5000
	db := create(t, open(t, Options{}), "db")
	writes, calls := siblings("doc", 0, n), 0
	check := func(_ context.Context, old, _ *Doc) error {
		if calls++; old != nil {
			t.Errorf("%v is replaced", old.Rev)
		}
		return nil
	}
	before := db.store.commits.Load()
	results, err := db.Write(context.Background(), writes, check)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Rev != writes[i].History[0] {
			t.Fatalf("%d: %+v", i, r)
		}
	}
	if calls != n {
		t.Errorf("%d calls of check for %d revisions", calls, n)
	}
	if commits := db.store.commits.Load() - before; commits < 2 || commits > 100 {
		t.Errorf("%d batches", commits)
	}
	seq := db.UpdateSeq()
	for _, again := range []Check{nil, check} {
		if _, err := db.Write(context.Background(), writes, again); err != nil {
			t.Error(err)
		}
	}
	if db.UpdateSeq() != seq || seq != n || calls != n {
		t.Errorf("sequence %d, then %d; %d calls", seq, db.UpdateSeq(), calls)
	}
	r, err := db.Record("doc")
	if err != nil || len(r.Tree.Leaves()) != n {
		t.Errorf("%d leaves, %v", len(r.Tree.Leaves()), err)
	}
	some := make([]rev.ID, 0, n)
	for _, w := range writes[:n-1] {
		some = append(some, w.History[0])
	}
	edited := put(t, db, "doc", `{"a":1}`, r.Tree.Node(r.Tree.Winner()).ID)
	if doc, err := db.Doc("doc"); err != nil || doc.Rev != edited {
		t.Errorf("%+v, %v", doc, err)
	}
	if purged, _, err := db.Purge(context.Background(), []string{"doc"}, [][]rev.ID{some}); err != nil || len(purged[0]) < n-2 {
		t.Errorf("purged %d, %v", len(purged[0]), err)
	}
}

// TestHistoryInOneCall: each revision replaces the one before it, which comes with the same call. In the end each has been judged against that one.
func TestHistoryInOneCall(t *testing.T) {
	t.Parallel()
	const n = 200
	db := create(t, open(t, Options{}), "db")
	writes := make([]Write, n)
	path := make([]rev.ID, n) // newest first
	for i := range writes {
		id := rev.ID{Gen: i + 1, Hash: fmt.Sprint("r", i)}
		path[n-1-i] = id
		writes[i] = Write{Doc: Doc{ID: "doc", Body: []byte(id.Hash)}, History: path[n-1-i:]}
	}
	calls, seen := 0, make(map[rev.ID]string)
	results, err := db.Write(context.Background(), writes, func(_ context.Context, old, new *Doc) error {
		calls++
		if seen[new.Rev] = ""; old != nil {
			seen[new.Rev] = string(old.Body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Errorf("%d: %v", i, r.Err)
		}
	}
	for i := 1; i < n; i++ {
		if before, id := path[n-i], path[n-1-i]; seen[id] != before.Hash {
			t.Errorf("%v was judged against %q last", id, seen[id])
		}
	}
	if calls > 2*n {
		t.Errorf("%d calls of check for %d revisions", calls, n)
	}
}

// TestStubsInOneCall: of the attachments that two revisions take over from a third none is counted as stale.
func TestStubsInOneCall(t *testing.T) {
	t.Parallel()
	db := create(t, open(t, Options{}), "db")
	a, w := attach(t, db, strings.Repeat("x", 5000))
	defer w.Discard()
	a.Name = "file"
	stub := []Attachment{{Name: "file", Stub: true}}
	for _, writes := range [][]Write{
		{{Doc: Doc{ID: "doc", Body: []byte(`{}`), Attachments: []Attachment{a}}, History: revs(t, "1-a")}},
		{
			{Doc: Doc{ID: "doc", Body: []byte(`{}`), Attachments: stub}, History: revs(t, "2-b 1-a")},
			{Doc: Doc{ID: "doc", Body: []byte(`{}`), Attachments: stub}, History: revs(t, "2-c 1-a")},
			{Doc: Doc{ID: "doc", Body: []byte(`{}`)}, History: revs(t, "2-d 1-a")},
		},
	} {
		results, err := db.Write(context.Background(), writes, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
	}
	if info, err := db.Info(); err != nil || info.FileBytes-info.ActiveBytes > 100 || info.FileBytes == info.ActiveBytes {
		t.Errorf("%+v, %v", info, err)
	}
}
