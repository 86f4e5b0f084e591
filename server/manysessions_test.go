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

// manySessions are sessions of five for each user, of which the first short end after a minute.
type manySessions struct {
	*auth.Sessions
	state   *countedState
	clock   *authtest.Clock
	secrets []string
	short   int
}

func newManySessions(t *testing.T, n int) *manySessions {
	t.Helper()
	inner, _ := openState(t, vfs.NewMem())
	m := &manySessions{state: &countedState{State: inner}, clock: authtest.NewClock(), secrets: make([]string, n), short: n * 2 / 5}
	m.Sessions = auth.NewSessions(m.state, new(auth.Memory), new(auth.Revocations))
	t.Cleanup(m.Close)
	if err := m.Configure(auth.SessionOptions{Timeout: time.Hour, Now: m.clock.Now}); err != nil {
		t.Fatal(err)
	}
	const workers = 64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				made := auth.NewSession{Who: auth.Identity{Name: fmt.Sprint("user", i/5), Roles: []string{"r"}, Method: "jwt"}}
				if i < m.short {
					made.TTL = time.Minute
				}
				var err error
				if m.secrets[i], _, err = m.Create(t.Context(), made); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if wg.Wait(); t.Failed() {
		t.FailNow()
	}
	return m
}

// lookUp signs a request in with one of them.
func (m *manySessions) lookUp(i int) (auth.Identity, error) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", auth.CookieName+"="+m.secrets[i])
	return m.Authenticate(r)
}

// kept counts the records of sessions.
func (m *manySessions) kept(t *testing.T) (n int) {
	t.Helper()
	for after := ""; ; {
		page, err := m.state.List(t.Context(), "session/", after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if n += len(page); len(page) < 1000 {
			return n
		}
		after = page[len(page)-1].ID
	}
}

// TestManySessions: a hundred thousand sessions cost a request what ten do, memory is bounded, and those that have expired go. It does not run beside others, because
// it weighs the heap. Under the race detector there are fewer.
func TestManySessions(t *testing.T) {
	n := 100_000
	if raceDetector {
		n = 5_000
	}
	m := newManySessions(t, n)
	before := heap()
	m.state.reads.Store(0)
	m.state.lists.Store(0)
	for i := range n {
		if id, err := m.lookUp(i); err != nil || id.Name != fmt.Sprint("user", i/5) {
			t.Fatalf("session %d: %q, %v", i, id.Name, err)
		}
	}
	if reads, lists := m.state.reads.Load(), m.state.lists.Load(); reads > int64(n) || lists != 0 {
		t.Errorf("%d sessions took %d reads and %d listings, want at most one read each", n, reads, lists)
	}
	// What is remembered is some 16 MiB; all of them would be 80.
	if grown := heap() - before; grown > 48<<20 {
		t.Errorf("looking all of them up has grown the heap by %d bytes", grown)
	}
	m.state.reads.Store(0)
	for range 100 {
		if _, err := m.lookUp(n - 1); err != nil {
			t.Fatal(err)
		}
	}
	if reads := m.state.reads.Load(); reads > 1 {
		t.Errorf("one session that is used again and again took %d reads", reads)
	}

	m.clock.Advance(5 * time.Minute)
	if removed, err := m.Sweep(t.Context()); err != nil || removed < m.short {
		t.Errorf("%d were swept, %v, want %d", removed, err, m.short)
	}
	if _, err := m.lookUp(m.short - 1); err != auth.ErrNoCredentials {
		t.Errorf("an expired session: %v", err)
	}
	if _, err := m.lookUp(m.short); err != nil {
		t.Errorf("a session that has not expired: %v", err)
	}
	if left := m.kept(t); left != n-m.short {
		t.Errorf("%d are left, want %d", left, n-m.short)
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
