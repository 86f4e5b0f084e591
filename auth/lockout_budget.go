package auth

import (
	"container/list"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// BudgetOptions say how often an address may fail. The zero value is 60 times a minute.
type BudgetOptions struct {
	Failures     int           // so many at once; 0: 60
	Per          time.Duration // in which so many come back, one after the other; 0: a minute
	MaxAddresses int           // how many addresses are remembered; the one that failed longest ago goes first; 0: 10,000
	Now          func() time.Time
}

// Budget bounds how often an address may present credentials that are costly to verify and wrong, such as tokens with bad signatures: a token
// bucket for each. It is safe for concurrent use, and its memory is bounded. A nil Budget bounds
// nothing.
//
//	giveBack, err := budget.Take(address)
//	if err != nil {
//		return err // 429, before any signature is computed
//	}
//	if verify() == nil {
//		giveBack()
//	}
//
// What is taken counts at once, so that many attempts at the same time cannot all pass before the first fails.
type Budget struct {
	o     BudgetOptions
	every time.Duration // one failure comes back in it

	mu      sync.Mutex
	buckets map[netip.Prefix]*list.Element // of *bucket
	byUse   list.List                      // the one that was used longest ago first
}

// bucket is a token bucket in the form of the time at which it will be full again.
type bucket struct {
	address netip.Prefix
	full    time.Time
}

// NewBudget returns a Budget that nobody has used.
func NewBudget(o BudgetOptions) *Budget {
	if o.Failures <= 0 {
		o.Failures = 60
	}
	if o.Per <= 0 {
		o.Per = time.Minute
	}
	if o.MaxAddresses <= 0 {
		o.MaxAddresses = 10_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	every := max(1, o.Per/time.Duration(o.Failures))
	return &Budget{o: o, every: every, buckets: make(map[netip.Prefix]*list.Element)}
}

// Take takes one failure from an address's budget in advance; giveBack, which may be called once, returns it when there was none. It fails with a
// *Refusal, 429 with Retry-After, when nothing is left. IPv6 addresses share the budget of their /64, unknown ones (the zero Addr) one budget.
func (b *Budget) Take(address netip.Addr) (giveBack func(), err error) {
	if b == nil {
		return func() {}, nil
	}
	key := network(address)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.o.Now()
	b.forget(now)
	e, ok := b.buckets[key]
	if !ok {
		e = b.byUse.PushBack(&bucket{address: key, full: now})
		b.buckets[key] = e
		if len(b.buckets) > b.o.MaxAddresses {
			b.remove(b.byUse.Front())
		}
	}
	u := e.Value.(*bucket)
	if u.full.Before(now) {
		u.full = now
	}
	if missing := u.full.Sub(now) + b.every - time.Duration(b.o.Failures)*b.every; missing > 0 {
		return nil, &Refusal{
			Status: http.StatusTooManyRequests, Kind: "too_many_requests", Reason: "Too many failed sign-ons. Try again later.",
			Header: retryAfter(missing),
		}
	}
	u.full = u.full.Add(b.every)
	b.byUse.MoveToBack(e)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		u.full = u.full.Add(-b.every)
	}, nil
}

// forget drops what has been full for long at the old end of the list; what is behind is dropped in its turn.
func (b *Budget) forget(now time.Time) {
	for e := b.byUse.Front(); e != nil && e.Value.(*bucket).full.Before(now); e = b.byUse.Front() {
		b.remove(e)
	}
}

func (b *Budget) remove(e *list.Element) {
	delete(b.buckets, e.Value.(*bucket).address)
	b.byUse.Remove(e)
}
