package authtest

import (
	"sync"
	"time"
)

// Clock is a clock that stands still until it is advanced. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows 2026-11-21 17:00:00 UTC.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 21, 17, 0, 0, 0, time.UTC)} }

// Now is the time that the clock shows. The method value is what Options fields named Now want.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock; a negative d moves it back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
