package couchjs

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Pool is a bounded set of children, started as they are needed, killed and replaced when one misbehaves. It is safe for concurrent use.
type Pool struct {
	command []string
	memory  int64
	idleFor time.Duration
	now     func() time.Time
	log     *slog.Logger
	timeout atomic.Int64

	seats chan struct{}  // one for each process that may work
	busy  sync.WaitGroup // calls and sweeps under way

	mu     sync.Mutex
	closed bool
	shares map[string]*share                    // by scope, of those that have calls
	calls  map[*request]context.CancelCauseFunc // under way
	idle   []*process                           // the one used last at the end
	sweep  *time.Timer                          // ends what has been idle for too long; nil while nothing is idle
}

// share is what a scope may occupy of the seats.
type share struct {
	seats chan struct{}
	calls int // that have a seat or wait for one; the last one takes the share with it
}

// NewPool returns a pool with no child yet.
func NewPool(o Options) *Pool {
	p := &Pool{
		command: o.Command,
		memory:  cmp.Or(o.Memory, 64<<20),
		idleFor: cmp.Or(o.Idle, time.Minute),
		now:     o.Now,
		log:     o.Log,
		seats:   make(chan struct{}, cmp.Or(o.Processes, max(2, runtime.NumCPU()))),
		shares:  map[string]*share{},
		calls:   map[*request]context.CancelCauseFunc{},
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.SetTimeout(o.Timeout)
	return p
}

// SetTimeout changes the limit of calls that begin from now on. One that is not positive means the default.
func (p *Pool) SetTimeout(d time.Duration) {
	if d <= 0 {
		d = defaultTimeout
	}
	p.timeout.Store(int64(d))
}

const defaultTimeout = 5 * time.Second

// Close kills the children, waits for them, and fails calls under way with ErrClosed. It always returns nil, also a second time.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	if p.sweep != nil && p.sweep.Stop() {
		p.sweep = nil
		p.busy.Done()
	}
	for _, cancel := range p.calls {
		cancel(ErrClosed)
	}
	p.mu.Unlock()
	for _, child := range idle {
		child.end()
	}
	p.busy.Wait()
	return nil
}

// call makes a call on some child and returns its result.
func (p *Pool) call(ctx context.Context, r request) (string, error) {
	if r.size() > maxRequest {
		return "", &Error{Name: processError, Reason: "the documents are too large for a function"}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !p.begin(&r, cancel) {
		return "", ErrClosed
	}
	defer p.finish(&r)
	leave, err := p.sit(ctx, r.scope)
	if err != nil {
		return "", err
	}
	defer leave()
	a, err := p.callChild(ctx, &r)
	if err != nil {
		return "", err
	}
	p.logLines(a.log)
	return a.result()
}

// begin notes a call that cancel ends, unless the pool is closed.
func (p *Pool) begin(r *request, cancel context.CancelCauseFunc) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.calls[r] = cancel
	p.busy.Add(1)
	return true
}

func (p *Pool) finish(r *request) {
	p.mu.Lock()
	delete(p.calls, r)
	p.mu.Unlock()
	p.busy.Done()
}

// sit waits for a seat, first for one of those that the scope may have. The caller calls leave when it is done with it.
func (p *Pool) sit(ctx context.Context, scope string) (leave func(), err error) {
	p.mu.Lock()
	mine := p.shares[scope]
	if mine == nil {
		mine = &share{seats: make(chan struct{}, max(1, cap(p.seats)/2))}
		p.shares[scope] = mine
	}
	mine.calls++
	p.mu.Unlock()
	taken := []chan struct{}{mine.seats, p.seats}
	release := func(n int) {
		for _, seats := range taken[:n] {
			<-seats
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if mine.calls--; mine.calls == 0 {
			delete(p.shares, scope)
		}
	}
	for i, seats := range taken {
		select {
		case seats <- struct{}{}:
		case <-ctx.Done():
			release(i)
			return nil, ended(ctx)
		}
	}
	return func() { release(len(taken)) }, nil
}

// ended returns why a context ended, in the words of the contract: ErrClosed or the context's own error.
func ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return ctx.Err()
}

// callChild makes a call on an idle child, or on a new one when there is none or it turns out to have died.
func (p *Pool) callChild(ctx context.Context, r *request) (answer, error) {
	limit := time.Duration(p.timeout.Load())
	for again := false; ; again = true {
		child, err := p.take(ctx, again)
		if err != nil {
			return answer{}, err
		}
		a, err := child.call(ctx, limit, r)
		if err == nil {
			p.put(child, a.retire)
			return a, nil
		}
		used := child.used
		child.end()
		switch {
		case ctx.Err() != nil:
			return answer{}, ended(ctx)
		case errors.Is(err, errLate):
			return answer{}, lateError(limit)
		case used && !again:
			// It may have died before this call came, which is no fault of the function.
			continue
		}
		p.log.Warn("a JavaScript process ended unexpectedly", "stderr", string(child.stderr.b))
		return answer{}, &Error{Name: processError, Reason: "the process ended unexpectedly or gave no proper answer"}
	}
}

// take returns an idle child, or a new one.
func (p *Pool) take(ctx context.Context, fresh bool) (*process, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 && !fresh {
		child := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return child, nil
	}
	p.mu.Unlock()
	command := p.command
	if command == nil {
		self, err := os.Executable()
		if err != nil {
			return nil, &Error{Name: processError, Reason: "the process does not start: " + err.Error()}
		}
		command = []string{self, "couchjs"}
	}
	child, err := start(ctx, command, p.memory)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		if errors.Is(err, errLate) {
			return nil, lateError(startLimit)
		}
		return nil, err
	}
	return child, nil
}

// put gives a child back after a call, or ends it.
func (p *Pool) put(child *process, retire bool) {
	p.mu.Lock()
	// A child beyond the seats is one that was started while others, thought dead, were idle.
	if retire || p.closed || len(p.idle) >= cap(p.seats) {
		p.mu.Unlock()
		child.end()
		return
	}
	child.since = p.now()
	p.idle = append(p.idle, child)
	if p.sweep == nil {
		p.busy.Add(1)
		p.sweep = time.AfterFunc(p.idleFor, p.expire)
	}
	p.mu.Unlock()
}

// expire ends the children that have been idle for too long, and comes back while some are left.
func (p *Pool) expire() {
	p.mu.Lock()
	limit := p.now().Add(-p.idleFor)
	n := 0
	for n < len(p.idle) && !p.idle[n].since.After(limit) {
		n++
	}
	old := append([]*process(nil), p.idle[:n]...)
	p.idle = append([]*process(nil), p.idle[n:]...)
	again := len(p.idle) > 0 && !p.closed
	if again {
		p.sweep = time.AfterFunc(p.idleFor, p.expire)
	} else {
		p.sweep = nil
	}
	p.mu.Unlock()
	for _, child := range old {
		child.end()
	}
	if !again {
		p.busy.Done()
	}
}

func (p *Pool) logLines(log string) {
	for line := range strings.Lines(log) {
		p.log.Info(strings.TrimSuffix(line, "\n"), "source", "javascript")
	}
}

// result turns an answer into the result of a call. The child is not trusted to have made it well.
func (a answer) result() (string, error) {
	switch a.status {
	case statusOK:
		return a.text, nil
	case statusError:
		return "", &Error{Name: a.name, Reason: a.reason}
	case statusThrown:
		kind, reason := "", []byte(nil)
		switch {
		case strings.HasPrefix(a.text, "f"):
			kind, reason = "forbidden", []byte(a.text[1:])
		case strings.HasPrefix(a.text, "u"):
			kind, reason = "unauthorized", []byte(a.text[1:])
		}
		// A lone surrogate, which JavaScript's strings can hold and JSON for others should not, becomes U+FFFD.
		value := jsontext.Value(reason)
		if kind != "" && value.Format(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) == nil {
			return "", &Thrown{Kind: kind, Reason: value}
		}
	}
	return "", &Error{Name: processError, Reason: "the process gave no proper answer"}
}
