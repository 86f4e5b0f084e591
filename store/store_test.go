package store

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/parlordb/parlor/rev"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// open returns a store in memory, which is checked and closed when the test ends.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	s, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Helper()
		verify(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// verify fails the test for each problem that Check finds.
func verify(t testing.TB, s *Store) {
	t.Helper()
	problems, err := s.Check(context.Background())
	if err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("check: %v", err)
	}
	for _, p := range problems {
		t.Errorf("check: %s", p)
	}
}

func create(t testing.TB, s *Store, name string) *DB {
	t.Helper()
	db, err := s.Create(context.Background(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// put makes an own edit and returns its revision.
func put(t testing.TB, db *DB, id, body string, base rev.ID) rev.ID {
	t.Helper()
	got, err := db.Put(context.Background(), Write{Doc: Doc{ID: id, Body: []byte(body)}, Base: base}, nil)
	if err != nil {
		t.Fatalf("put %s: %v", id, err)
	}
	return got
}

func remove(t testing.TB, db *DB, id string, base rev.ID) rev.ID {
	t.Helper()
	got, err := db.Put(context.Background(), Write{Doc: Doc{ID: id, Body: []byte(`{}`), Deleted: true}, Base: base}, nil)
	if err != nil {
		t.Fatalf("delete %s: %v", id, err)
	}
	return got
}

// replicate stores a revision with its history, such as "2-b 1-a".
func replicate(t testing.TB, db *DB, id, body, history string, deleted bool) {
	t.Helper()
	w := Write{Doc: Doc{ID: id, Body: []byte(body), Deleted: deleted}, History: revs(t, history)}
	if _, err := db.Put(context.Background(), w, nil); err != nil {
		t.Fatalf("replicate %s: %v", id, err)
	}
}
