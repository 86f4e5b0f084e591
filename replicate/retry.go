package replicate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"
)

// firstRetries is how often a server is asked again that has never answered: its name may be mistyped.
const firstRetries = 2

// retry does op, which may be done any number of times, until it succeeds, fails for good or was tried often enough.
func (r *run) retry(ctx context.Context, op func() error) error {
	limit := r.o.Retries
	if r.o.Continuous && limit > 0 {
		limit = math.MaxInt
	}
	return r.retryUpTo(ctx, limit, op)
}

func (r *run) retryUpTo(ctx context.Context, limit int, op func() error) error {
	for attempt := 1; ; attempt++ {
		err := op()
		if err == nil || ctx.Err() != nil || attempt > limit || !passing(err) {
			return err
		}
		pause := r.o.Backoff(attempt)
		var answer *AnswerError
		if errors.As(err, &answer) {
			pause = max(pause, answer.retryAfter)
		}
		r.mu.Lock()
		if r.o.OnRetry != nil {
			r.o.OnRetry(err, pause)
		}
		r.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// backoff is 250 ms, 500 ms, … up to 30 s, each between three quarters and all of it, so that clients of a server that comes back do not come at once.
func backoff(attempt int) time.Duration {
	pause := 30 * time.Second
	if attempt < 8 {
		pause = 250 * time.Millisecond << (attempt - 1)
	}
	return pause - rand.N(pause/4)
}
