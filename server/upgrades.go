package server

import (
	"slices"
	"sync"

	"github.com/parlordb/parlor/auth"
)

// maxUpgrades bounds the upgrades that wait, and with them the passwords that are kept for it.
const maxUpgrades = 100

// upgrade is a password that has just verified against the hash that user has.
type upgrade struct {
	user     *auth.User
	password string
}

// upgrades has password hashes made anew one after the other, so that many who sign in for the first time under another policy leave the processors to those who
// sign in now. It is safe for concurrent use.
type upgrades struct {
	run func(upgrade)

	mu     sync.Mutex
	queue  []upgrade // the first is under way
	closed bool
	worker sync.WaitGroup
}

// add has one run soon. It is dropped when its user has one already, when too many wait, and after close.
func (q *upgrades) add(next upgrade) {
	q.mu.Lock()
	defer q.mu.Unlock()
	sameUser := func(other upgrade) bool { return other.user.Name == next.user.Name }
	if q.closed || len(q.queue) > maxUpgrades || slices.ContainsFunc(q.queue, sameUser) {
		return
	}
	q.queue = append(q.queue, next)
	if len(q.queue) == 1 {
		q.worker.Go(q.work)
	}
}

// work runs what is in the queue, until nothing is.
func (q *upgrades) work() {
	for {
		q.mu.Lock()
		first := q.queue[0]
		q.mu.Unlock()

		q.run(first)

		q.mu.Lock()
		q.queue = slices.Delete(q.queue, 0, 1) // clears what it leaves, so that no password stays behind
		done := len(q.queue) == 0
		q.mu.Unlock()
		if done {
			return
		}
	}
}

// close drops what waits, and waits for the one under way.
func (q *upgrades) close() {
	q.mu.Lock()
	q.closed = true
	if len(q.queue) > 1 {
		q.queue = slices.Delete(q.queue, 1, len(q.queue))
	}
	q.mu.Unlock()
	q.worker.Wait()
}
