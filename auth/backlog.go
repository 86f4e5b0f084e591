package auth

import (
	"context"
	"sync"
)

// maxBacklog bounds what waits to be done.
const maxBacklog = 1000

// backlog does small things that no request should wait for, one after the other.
type backlog struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	work   chan func(ctx context.Context)
	closed bool
}

func newBacklog() *backlog {
	ctx, cancel := context.WithCancel(context.Background())
	b := &backlog{cancel: cancel, done: make(chan struct{}), work: make(chan func(context.Context), maxBacklog)}
	go func() {
		defer close(b.done)
		for f := range b.work {
			f(ctx)
		}
	}()
	return b
}

// add has f done soon. It returns false, and f is not called, when too much waits or the backlog is closed.
func (b *backlog) add(f func(ctx context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	select {
	case b.work <- f:
		return true
	default:
		return false
	}
}

// close ends the context of what is still to be done, and waits for it.
func (b *backlog) close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.work)
	}
	b.mu.Unlock()
	b.cancel()
	<-b.done
}
