package oidc

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// How long a document is kept: what HTTP says, within bounds.
	minLifetime   = time.Minute
	maxLifetime   = 24 * time.Hour
	usualLifetime = time.Hour

	// refetchEvery is how often a document may be asked for because it lacks something.
	refetchEvery = 30 * time.Second
	// maxBackoff is how long a provider that fails is left alone at most.
	maxBackoff = 30 * time.Second
	// maxFetch bounds a fetch, whatever the client's own limit is.
	maxFetch = 20 * time.Second
)

// remote is a document of a provider, fetched when it is first needed and kept as long as HTTP says. From three quarters of that time on it is fetched again while
// requests go on with the present one. Callers share one fetch. While the provider fails, the old document stays, and it is asked again after
// pauses that double. It is safe for concurrent use.
type remote[T comparable] struct {
	what  string // for the log
	fetch func(ctx context.Context) (T, time.Duration, error)
	now   func() time.Time
	log   *slog.Logger

	present atomic.Pointer[held[T]] // nil before the first fetch that succeeded

	mu       sync.Mutex
	running  *attempt // nil when none is
	began    time.Time
	failures int       // in a row
	pause    time.Time // until when no attempt is made after a failure
	err      error     // of the last attempt
	closed   bool
	fetches  sync.WaitGroup
}

// held is a document as it was fetched.
type held[T any] struct {
	value            T
	refresh, expires time.Time
}

// attempt is a fetch under way.
type attempt struct {
	done   chan struct{}
	cancel context.CancelFunc
}

// unavailableError is what a document that was never fetched fails with.
type unavailableError struct {
	what  string
	after time.Duration // when to ask again
	err   error
}

func (e *unavailableError) Error() string {
	return fmt.Sprintf("%s cannot be fetched: %v", e.what, e.err)
}
func (e *unavailableError) Unwrap() error { return e.err }

// get returns the document. It waits for a fetch only where there is none yet, or where it is past its time while the provider is not known to fail.
func (r *remote[T]) get(ctx context.Context) (T, error) {
	h, now := r.present.Load(), r.now()
	if h != nil && now.Before(h.refresh) {
		return h.value, nil
	}
	a, failing := r.start(now, 0)
	if h != nil && (a == nil || failing || now.Before(h.expires)) {
		return h.value, nil
	}
	if a != nil {
		select {
		case <-a.done:
		case <-ctx.Done():
		}
		h = r.present.Load()
	}
	if h != nil {
		return h.value, nil
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	return none, r.unavailable(now)
}

// again returns the document after another fetch, if it is still the one that was seen to lack something and no fetch has begun in the last 30 seconds.
func (r *remote[T]) again(ctx context.Context, seen T) T {
	if h := r.present.Load(); h.value != seen {
		return h.value
	}
	if a, _ := r.start(r.now(), refetchEvery); a != nil {
		select {
		case <-a.done:
		case <-ctx.Done():
		}
	}
	return r.present.Load().value
}

// start begins a fetch, or returns the one under way; nil while it is too early for one. failing reports whether the last one failed.
func (r *remote[T]) start(now time.Time, every time.Duration) (a *attempt, failing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	failing = r.failures > 0
	if r.running != nil {
		return r.running, failing
	}
	// A clock that was set back must not end the fetches.
	if since := now.Sub(r.began); r.closed || (since >= 0 && since < every) || (failing && since >= 0 && now.Before(r.pause)) {
		return nil, failing
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxFetch)
	a = &attempt{make(chan struct{}), cancel}
	r.running, r.began = a, now
	r.fetches.Go(func() {
		defer close(a.done)
		defer cancel()
		value, lifetime, err := r.fetch(ctx)
		r.ended(value, lifetime, err)
	})
	return a, failing
}

func (r *remote[T]) ended(value T, lifetime time.Duration, err error) {
	now := r.now()
	r.mu.Lock()
	r.running, r.err = nil, err
	failed, closed := r.failures, r.closed
	if err == nil {
		r.failures = 0
		r.present.Store(&held[T]{value: value, refresh: now.Add(lifetime * 3 / 4), expires: now.Add(lifetime)})
	} else {
		r.failures++
		r.pause = now.Add(min(maxBackoff, time.Second<<min(r.failures, 10)))
	}
	r.mu.Unlock()
	switch {
	case err != nil && !closed:
		r.log.Warn("provider's document not fetched", "what", r.what, "err", err, "failures", failed+1, "kept", r.present.Load() != nil)
	case err == nil && failed > 0:
		r.log.Info("provider's document fetched again", "what", r.what, "failures", failed)
	}
}

func (r *remote[T]) unavailable(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	if err == nil {
		err = context.Canceled // closed before anything was fetched
	}
	return &unavailableError{r.what, max(time.Second, r.pause.Sub(now)), err}
}

// stale has the document fetched again when it is next asked for, as one that is past its time.
func (r *remote[T]) stale() {
	if h := r.present.Load(); h != nil {
		r.present.CompareAndSwap(h, &held[T]{value: h.value})
	}
}

// close ends the fetch under way and waits for it. Nothing is fetched afterwards.
func (r *remote[T]) close() {
	r.mu.Lock()
	r.closed = true
	if r.running != nil {
		r.running.cancel()
	}
	r.mu.Unlock()
	r.fetches.Wait()
}

// lifetime is how long an answer may be kept (RFC 9111 §4.2), within bounds. What must not be kept is kept for the least time.
func lifetime(h http.Header, now time.Time) time.Duration {
	life := usualLifetime
	if expires, err := http.ParseTime(h.Get("Expires")); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		life = expires.Sub(now)
	} else if h.Get("Expires") != "" {
		life = 0 // §5.3: what cannot be read is past
	}
	seconds := func(text string) time.Duration {
		n, err := strconv.ParseUint(strings.Trim(text, `" `), 10, 63)
		if err != nil {
			return 0
		}
		return time.Duration(min(n, math.MaxInt32)) * time.Second
	}
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "max-age":
			life = seconds(value) - seconds(h.Get("Age"))
		case "no-store", "no-cache":
			return minLifetime
		}
	}
	return min(max(life, minLifetime), maxLifetime)
}
