package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

// countedState counts what is asked of a State.
type countedState struct {
	*State
	reads, lists atomic.Int64
}

func (c *countedState) Get(ctx context.Context, id string) (auth.Record, error) {
	c.reads.Add(1)
	return c.State.Get(ctx, id)
}

func (c *countedState) List(ctx context.Context, prefix, after string, limit int) ([]auth.Record, error) {
	c.lists.Add(1)
	return c.State.List(ctx, prefix, after, limit)
}

// TestManySessions: a hundred thousand sessions cost a request what ten do, memory is bounded, and those that have expired go. It does not run beside others, because
// it weighs the heap. Under the race detector there are fewer.
func TestManySessions(t *testing.T) {
	const workers = 64
	n := 100_000
	if raceDetector {
		n = 5_000
	}
	short := n * 2 / 5
	inner, _ := openState(t, vfs.NewMem())
	state, clock := &countedState{State: inner}, authtest.NewClock()
	sessions := auth.NewSessions(state, new(auth.Memory), new(auth.Revocations))
	defer sessions.Close()
	if err := sessions.Configure(auth.SessionOptions{Timeout: time.Hour, Now: clock.Now}); err != nil {
		t.Fatal(err)
	}
	secrets := make([]string, n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				made := auth.NewSession{Who: auth.Identity{Name: fmt.Sprint("user", i/5), Roles: []string{"r"}, Method: "jwt"}}
				if i < short {
					made.TTL = time.Minute
				}
				var err error
				if secrets[i], _, err = sessions.Create(t.Context(), made); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	lookUp := func(i int) (auth.Identity, error) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", auth.CookieName+"="+secrets[i])
		return sessions.Authenticate(r)
	}

	before := heap()
	state.reads.Store(0)
	state.lists.Store(0)
	for i := range n {
		if id, err := lookUp(i); err != nil || id.Name != fmt.Sprint("user", i/5) {
			t.Fatalf("session %d: %q, %v", i, id.Name, err)
		}
	}
	if reads, lists := state.reads.Load(), state.lists.Load(); reads > int64(n) || lists != 0 {
		t.Errorf("%d sessions took %d reads and %d listings, want at most one read each", n, reads, lists)
	}
	// What is remembered is some 16 MiB; all of them would be 80.
	if grown := heap() - before; grown > 48<<20 {
		t.Errorf("looking all of them up has grown the heap by %d bytes", grown)
	}
	state.reads.Store(0)
	for range 100 {
		if _, err := lookUp(n - 1); err != nil {
			t.Fatal(err)
		}
	}
	if reads := state.reads.Load(); reads > 1 {
		t.Errorf("one session that is used again and again took %d reads", reads)
	}

	clock.Advance(5 * time.Minute)
	if removed, err := sessions.Sweep(t.Context()); err != nil || removed < short {
		t.Errorf("%d were swept, %v, want %d", removed, err, short)
	}
	if _, err := lookUp(short - 1); err != auth.ErrNoCredentials {
		t.Errorf("an expired session: %v", err)
	}
	if _, err := lookUp(short); err != nil {
		t.Errorf("a session that has not expired: %v", err)
	}
	left := 0
	for after := ""; ; {
		page, err := inner.List(t.Context(), "session/", after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if left += len(page); len(page) < 1000 {
			break
		}
		after = page[len(page)-1].ID
	}
	if left != n-short {
		t.Errorf("%d are left, want %d", left, n-short)
	}
}

// heap is how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
