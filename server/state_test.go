package server

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/store"
)

// openState opens a State over a store in fs, which is closed with the test, or before by end.
func openState(t testing.TB, fs vfs.FS) (state *State, end func()) {
	t.Helper()
	st, err := store.Open("data", store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if err := FurnishState(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	closed := false
	end = func() {
		if !closed {
			closed = true
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	return NewState(st), end
}

func TestState(t *testing.T) {
	t.Parallel()
	authtest.TestState(t, func(t *testing.T) auth.State {
		state, _ := openState(t, vfs.NewMem())
		return state
	})
}

// What is kept outlives the process. A version does not: it is compared within one alone.
func TestStateReopened(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	state, end := openState(t, fs)
	version, err := state.Put(t.Context(), auth.Record{ID: "session/a", Body: []byte(`{"n":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	end()
	state, _ = openState(t, fs)
	r, err := state.Get(t.Context(), "session/a")
	if err != nil || string(r.Body) != `{"n":1}` {
		t.Fatalf("got %+v, %v", r, err)
	}
	if _, err := state.Put(t.Context(), auth.Record{ID: "session/a", Body: []byte(`{}`), Version: version}); version == r.Version || !errors.Is(err, auth.ErrRecordChanged) {
		t.Errorf("another process's version is taken: %v", err)
	}
}

// A record that was deleted and made anew counts from 1 again; the version of the one before must not be taken for its own.
func TestStateMadeAnew(t *testing.T) {
	t.Parallel()
	state, _ := openState(t, vfs.NewMem())
	ctx := context.Background()
	old, err := state.Put(ctx, auth.Record{ID: "token/x", Body: []byte(`{"user":"ann"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := state.Delete(ctx, "token/x"); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Put(ctx, auth.Record{ID: "token/x", Body: []byte(`{"user":"bob"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Put(ctx, auth.Record{ID: "token/x", Body: []byte(`{"user":"ann","n":2}`), Version: old}); !errors.Is(err, auth.ErrRecordChanged) {
		t.Errorf("got %v, want ErrRecordChanged", err)
	}
}

// The database of sign-on's records is nowhere to be seen, and no route leads into it, not even an administrator's.
func TestStateIsHidden(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for _, path := range []string{"/_all_dbs", "/_all_dbs?descending=true", "/_all_dbs?startkey=%22_parlor%22&endkey=%22_parlor%22", "/_dbs_info", "/_db_updates"} {
		if got := ts.do("GET", path, ""); strings.Contains(got, "_parlor") {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got, want := ts.do("GET", "/_all_dbs?limit=1", ""), "[\"db\"]\n"; got != want {
		t.Errorf("a limit counts what is hidden: %s", got)
	}
	if got, want := ts.do("POST", "/_dbs_info", `{"keys":["_parlor"]}`), "[{\"key\":\"_parlor\",\"error\":\"not_found\"}]\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "COPY"} {
		for _, path := range []string{"/_parlor", "/_parlor/", "/%5Fparlor", "/_parlor/_all_docs", "/_parlor/_local_docs", "/_parlor/_local/x", "/_parlor/_security", "/_parlor/_changes"} {
			if status, body := ts.as("admin:secret", method, path, "{}"); status < 400 {
				t.Errorf("%s %s: %d %s", method, path, status, body)
			}
		}
	}
}
