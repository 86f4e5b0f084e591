package store

import (
	"bytes"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// snapshot is the store after some synced batch. Readers never look at Pebble itself, which shows a batch before its sync has
// ended: what a crash may take back must not be seen.
type snapshot struct {
	*pebble.Snapshot
	store *Store
	refs  atomic.Int64
}

// capture takes a snapshot of what is in Pebble now. Only Open and the committer call it; what it returns is for show.
func (s *Store) capture() *snapshot {
	sn := &snapshot{Snapshot: s.pebble.NewSnapshot(), store: s}
	sn.refs.Store(1)
	s.snapshots.Add(1)
	return sn
}

// show makes next, which must be durable, the state that readers see. Only Open and the publisher call it, in the order of capture.
func (s *Store) show(next *snapshot) {
	if last := s.newest.Swap(next); last != nil {
		last.release()
	}
}

// snapshot returns the newest one. The caller must release it.
func (s *Store) snapshot() (*snapshot, error) {
	for {
		sn := s.newest.Load()
		if sn == nil {
			return nil, ErrClosed
		}
		// With no reference left it is being closed, and there is a newer one.
		if n := sn.refs.Load(); n > 0 && sn.refs.CompareAndSwap(n, n+1) {
			return sn, nil
		}
	}
}

func (sn *snapshot) release() {
	if sn.refs.Add(-1) == 0 {
		if err := sn.Close(); err != nil {
			sn.store.log.Error("closing a snapshot", "error", err)
		}
		sn.store.snapshots.Done()
	}
}

// scan calls fn for the entries that o bounds, in order, until it returns false. Key and value are valid during the call alone.
func scan(r pebble.Reader, o *pebble.IterOptions, backwards bool, fn func(key, value []byte) (bool, error)) error {
	if o.UpperBound != nil && bytes.Compare(o.LowerBound, o.UpperBound) >= 0 {
		return nil
	}
	it, err := r.NewIter(o)
	if err != nil {
		return err
	}
	first, next := it.First, it.Next
	if backwards {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		value, err := it.ValueAndErr()
		if err == nil {
			ok, err = fn(it.Key(), value)
		}
		if err != nil || !ok {
			it.Close()
			return err
		}
	}
	// Close tells an iteration's error too.
	return it.Close()
}
