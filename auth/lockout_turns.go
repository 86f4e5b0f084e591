package auth

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// turns hands out a number of slots, such as one for each CPU, fairly: addresses that wait take turns, whatever the number of requests that
// each has waiting. A flood from one address thus delays another's request by one slot, not by the whole flood. It is safe for concurrent use.
type turns struct {
	maxWaiting, maxEach int // how many may wait, in all and from one address

	mu      sync.Mutex
	free    int
	waiting int
	queues  map[netip.Prefix][]*turn
	order   []netip.Prefix // addresses that have someone waiting; the first is next
}

// turn is one who waits; ready is closed when a slot is theirs.
type turn struct{ ready chan struct{} }

func newTurns(slots, maxWaiting, maxEach int) *turns {
	return &turns{free: slots, maxWaiting: maxWaiting, maxEach: maxEach, queues: make(map[netip.Prefix][]*turn)}
}

// take waits for a slot; release must be called when it is done with. It fails with a 503 *Refusal when too many wait already, and with ctx's error
// when ctx has ended, be there a free slot or not.
func (t *turns) take(ctx context.Context, address netip.Addr) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key := network(address)
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return t.release, nil
	}
	queue := t.queues[key]
	if t.waiting >= t.maxWaiting || len(queue) >= t.maxEach {
		t.mu.Unlock()
		return nil, &Refusal{
			Status: http.StatusServiceUnavailable, Kind: "service_unavailable", Reason: "Too many passwords are being hashed. Try again.",
			Header: retryAfter(5 * time.Second),
		}
	}
	mine := &turn{ready: make(chan struct{})}
	if len(queue) == 0 {
		t.order = append(t.order, key)
	}
	t.queues[key] = append(queue, mine)
	t.waiting++
	t.mu.Unlock()

	select {
	case <-mine.ready:
		return t.release, nil
	case <-ctx.Done():
		if !t.leave(key, mine) {
			t.release() // the slot came at the same moment
		}
		return nil, ctx.Err()
	}
}

// release gives a slot to the next address, or back.
func (t *turns) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == 0 {
		t.free++
		return
	}
	key := t.order[0]
	t.order = t.order[1:]
	queue := t.queues[key]
	next := queue[0]
	if len(queue) > 1 {
		t.queues[key] = queue[1:]
		t.order = append(t.order, key)
	} else {
		delete(t.queues, key)
	}
	t.waiting--
	close(next.ready)
}

// leave takes one who waits out of the queue, and reports whether they still were in it.
func (t *turns) leave(key netip.Prefix, mine *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.queues[key], mine)
	if i < 0 {
		return false
	}
	t.queues[key] = slices.Delete(t.queues[key], i, i+1)
	t.waiting--
	if len(t.queues[key]) == 0 {
		delete(t.queues, key)
		t.order = slices.DeleteFunc(t.order, func(k netip.Prefix) bool { return k == key })
	}
	return true
}
