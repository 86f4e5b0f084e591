package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAtIntervals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		every, done := make(chan time.Duration), 0
		go atIntervals(ctx, every, func() { done++ })
		for _, c := range []struct {
			say   time.Duration
			after time.Duration
			want  int
		}{
			{0, time.Hour, 0},
			{10 * time.Second, 25 * time.Second, 2},
			{10 * time.Second, 6 * time.Second, 3}, // 31 seconds after it was said first
			{time.Second, 3500 * time.Millisecond, 6},
			{0, time.Hour, 6},
			{time.Second, 1500 * time.Millisecond, 7},
		} {
			every <- c.say
			time.Sleep(c.after)
			if synctest.Wait(); done != c.want {
				t.Errorf("every %v, after %v: done %d times, want %d", c.say, c.after, done, c.want)
			}
		}
		cancel()
	})
}
