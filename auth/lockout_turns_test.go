package auth

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
)

func TestTurnsAreFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newTurns(1, 100, 50)
		flood, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		release, err := q.take(t.Context(), flood)
		if err != nil {
			t.Fatal(err)
		}
		var order []netip.Addr
		wait := func(a netip.Addr) {
			go func() {
				release, err := q.take(t.Context(), a)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, a) // the slot is one, so this is never done by two
				release()
			}()
			synctest.Wait()
		}
		for range 20 {
			wait(flood)
		}
		wait(other)
		wait(other)
		release()
		synctest.Wait()
		if len(order) != 22 || slices.Index(order, other) != 1 || order[3] != other {
			t.Errorf("%v", order)
		}
		if q.free != 1 || q.waiting != 0 || len(q.queues) != 0 || len(q.order) != 0 {
			t.Errorf("left behind: %+v", q)
		}
	})
}

func TestTurnsRefuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newTurns(1, 3, 2)
		a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
		release, err := q.take(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		for _, address := range []netip.Addr{a, a, b} {
			go func() {
				_, err := q.take(ctx, address)
				left <- err
			}()
		}
		synctest.Wait()
		for _, address := range []netip.Addr{a, b, c} { // a has too many waiting, the others find too many in all
			_, err := q.take(t.Context(), address)
			if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Status != 503 || refusal.Header.Get("Retry-After") == "" {
				t.Errorf("%v: %v", address, err)
			}
		}
		cancel()
		for range 3 {
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		}
		if q.waiting != 0 || len(q.queues) != 0 || len(q.order) != 0 {
			t.Errorf("left behind: %+v", q)
		}
		release()
		if _, err := q.take(ctx, a); !errors.Is(err, context.Canceled) || q.free != 1 {
			t.Errorf("for one who is gone: %v, %d free", err, q.free)
		}
		if release, err = q.take(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		release()
	})
}

// TestTurnsLoseNoSlot has those who wait give up at the moment when a slot comes.
func TestTurnsLoseNoSlot(t *testing.T) {
	t.Parallel()
	q := newTurns(1, 10, 10)
	for range 500 {
		release, err := q.take(context.Background(), netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if release, err := q.take(ctx, netip.Addr{}); err == nil {
				release()
			}
		}()
		go cancel()
		release()
		<-done
		cancel()
	}
	if q.free != 1 || q.waiting != 0 {
		t.Errorf("%d free, %d waiting", q.free, q.waiting)
	}
}
