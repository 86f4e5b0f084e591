package couchjs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

const spin = `function(n) { if (n.spin) for (;;); }`

func TestLoopIsKilled(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	if err := validate(p, spin, "{}"); err != nil {
		t.Fatal(err)
	}
	p.SetTimeout(200 * time.Millisecond)
	wantError(t, validate(p, spin, `{"spin":1}`), "os_process_error", "200ms")
	wantError(t, validate(p, `function(n) { new Array(5e7).join() }`, `{}`), "os_process_error", "")
	wantError(t, validate(p, `for (;;);`, `{}`), "os_process_error", "200ms")
	p.SetTimeout(time.Minute)
	if err := validate(p, spin, "{}"); err != nil {
		t.Errorf("after the loops: %v", err)
	}
}

func TestMemoryBombs(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1, Memory: 4 << 20})
	for _, body := range []string{
		`"x".repeat(Math.pow(2, 28))`,
		`var a = []; for (;;) a.push("abcdefgh".repeat(1000) + a.length)`,
		`var a = []; for (var i = 0; i < 1e8; i++) a.push(i); a.sort()`,
		`new Uint8Array(1e9)`,
		`var s = "x"; for (;;) s = [s, s]; `,
		`globalThis.a = []; try { for (;;) a.push("abcdefgh".repeat(1000) + a.length) } catch (e) {} for (;;) a.push(1)`,
		`JSON.parse("[".repeat(1e6))`,
	} {
		if err := validate(p, "function(n) { "+body+" }", "{}"); err == nil {
			t.Errorf("%s was allowed", body)
		}
		if err := validate(p, "function(n) { }", "{}"); err != nil {
			t.Errorf("after %s: %v", body, err)
		}
	}
	wantError(t, validate(p, `function(n) { "x".repeat(Math.pow(2, 28)) }`, "{}"), "InternalError", "out of memory")
}

func TestEndlessRecursion(t *testing.T) {
	t.Parallel()
	if raceMemory > 0 {
		t.Skip("a deep stack takes the race detector seconds")
	}
	p := newPool(t, Options{Processes: 1})
	for _, body := range []string{
		`(function f() { f() })()`,
		`(function f() { [1].map(f) })()`,
		`(function f() { "x".replace(/x/, f) })()`,
		`function f(a) { return Reflect.apply(f, null, [new Proxy(a, {})]) }; f({})`,
		`JSON.stringify({toJSON: function f() { return JSON.stringify({toJSON: f}) }})`,
	} {
		wantError(t, validate(p, "function(n) { "+body+" }", "{}"), "InternalError", "stack overflow")
	}
	wantError(t, validate(p, `function(n) { JSON.parse("[".repeat(1e5)) }`, "{}"), "SyntaxError", "stack overflow")
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Validate(gone, spin, nil, []byte("{}"), []byte("null"), []byte("{}"), []byte("{}")); !errors.Is(err, context.Canceled) {
		t.Errorf("a call with a context that has ended: %v", err)
	}
	// The first call holds the only seat until its context ends; the second waits for the seat until its own does.
	first, cancelFirst := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Validate(first, spin, nil, []byte(`{"spin":1}`), []byte("null"), []byte("{}"), []byte("{}")); !errors.Is(err, context.Canceled) {
			t.Errorf("the call under way: %v", err)
		}
	})
	waitUntilBusy(t, p)
	second, cancelSecond := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancelSecond()
	if err := p.Validate(second, spin, nil, []byte("{}"), []byte("null"), []byte("{}"), []byte("{}")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call that waits: %v", err)
	}
	cancelFirst()
	wg.Wait()
	if err := validate(p, spin, "{}"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestScopesShareSeats: as many endless calls of one scope as there may be hold up no other scope.
func TestScopesShareSeats(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 4})
	gone, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_ = p.In("a").Validate(gone, spin, nil, []byte(`{"spin":1}`), []byte("null"), []byte("{}"), []byte("{}"))
		})
	}
	waitUntilBusy(t, p)
	for range 10 {
		if err := p.In("b").Validate(context.Background(), spin, nil, []byte("{}"), []byte("null"), []byte("{}"), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.seats); n > 2 {
		t.Errorf("one scope has %d of 4 seats", n)
	}
	cancel()
	wg.Wait()
	if len(p.shares) != 0 || len(p.seats) != 0 {
		t.Errorf("%d shares and %d seats are left", len(p.shares), len(p.seats))
	}
}

// waitUntilBusy returns when a call has taken a seat.
func waitUntilBusy(t *testing.T, p *Pool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); len(p.seats) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("no call began")
		}
		runtime.Gosched()
	}
}

func TestClosedPool(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := validate(p, spin, "{}"); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 2})
	var wg sync.WaitGroup
	for range 5 { // some of them wait for a seat
		wg.Go(func() {
			if err := validate(p, spin, `{"spin":1}`); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	waitUntilBusy(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// idlePIDs returns the processes that are idle.
func idlePIDs(p *Pool) (pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, child := range p.idle {
		pids = append(pids, child.cmd.Process.Pid)
	}
	return pids
}

func alive(pid int) bool {
	process, err := os.FindProcess(pid)
	return err == nil && process.Signal(syscall.Signal(0)) == nil
}

func TestNoProcessIsLeft(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 2})
	if err := validate(p, spin, "{}"); err != nil {
		t.Fatal(err)
	}
	pids := idlePIDs(p)
	if len(pids) != 1 || !alive(pids[0]) {
		t.Fatalf("processes %v", pids)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if alive(pids[0]) {
		t.Errorf("process %d is left", pids[0])
	}
}

func TestKilledChildIsReplaced(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	if err := validate(p, spin, "{}"); err != nil {
		t.Fatal(err)
	}
	before := idlePIDs(p)
	if err := p.idle[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := validate(p, spin, "{}"); err != nil {
		t.Errorf("after the child was killed: %v", err)
	}
	if after := idlePIDs(p); len(after) != 1 || after[0] == before[0] {
		t.Errorf("processes %v, before %v", after, before)
	}
}

func TestIdleChildrenEnd(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Unix(0, 0)
	p := newPool(t, Options{Processes: 1, Idle: time.Hour, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	if err := validate(p, spin, "{}"); err != nil {
		t.Fatal(err)
	}
	pids := idlePIDs(p)
	sweep := func(after time.Duration) {
		mu.Lock()
		now = now.Add(after)
		mu.Unlock()
		p.mu.Lock()
		stopped := p.sweep.Stop()
		p.mu.Unlock()
		if !stopped {
			t.Fatal("there was no sweep to come")
		}
		p.expire()
	}
	sweep(59 * time.Minute)
	if !alive(pids[0]) {
		t.Fatal("the process ended before its time")
	}
	sweep(time.Minute)
	if alive(pids[0]) || len(idlePIDs(p)) != 0 || p.sweep != nil {
		t.Error("the process did not end")
	}
	if err := validate(p, spin, "{}"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestChildrenThatMisbehave(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"garbage", "huge", "babble"} {
		p := newPool(t, Options{Processes: 1, Command: []string{self, kind}})
		wantError(t, validate(p, spin, "{}"), "os_process_error", "does not start")
	}
	p := newPool(t, Options{Processes: 1, Command: []string{"/does/not/exist"}})
	wantError(t, validate(p, spin, "{}"), "os_process_error", "does not start")

	p = newPool(t, Options{Processes: 1, Command: []string{self, "liar"}})
	for range 2 {
		wantError(t, validate(p, spin, "{}"), "os_process_error", "no proper answer")
	}
	_, err = p.Filter(context.Background(), "function() {}", nil, [][]byte{[]byte("{}")}, []byte("{}"))
	wantError(t, err, "os_process_error", "wrong length")
}

func TestChildNeverAnswersMoreThanAsked(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	// A long error message is cut by the child before it comes here.
	err := validate(p, `function(n) { throw new Error("x".repeat(1e6)) }`, "{}")
	var e *Error
	if !errors.As(err, &e) || len(e.Reason) != 65536 {
		t.Errorf("got %.100v", err)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	// The same document many times takes no memory here, and is refused before anything is copied.
	docs := slices.Repeat([][]byte{make([]byte, 1<<20)}, maxRequest>>20+1)
	_, err := p.call(context.Background(), newRequest(opEmits, "", "function() {}", nil, docs...))
	wantError(t, err, "os_process_error", "too large")
}

func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 2})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			err := validate(p, fmt.Sprintf(`function(n) { throw({forbidden: n.i + %d}) }`, i%3), fmt.Sprintf(`{"i":%d}`, i))
			wantThrown(t, err, "forbidden", fmt.Sprint(i+i%3))
		})
	}
	wg.Wait()
	if n := len(idlePIDs(p)); n > 2 {
		t.Errorf("%d processes", n)
	}
}
