package auth

import (
	"context"
	"net/http"
	"sync"
)

// redeem takes a OneTime session out of the State by using it: of several at once, one deletes it, and the others fail with ErrNoRecord. Until the request that it
// let in is over, it is among the spent. It is there before it is gone from the State, so that whoever looks in the State first always finds it.
func (s *Sessions) redeem(r *http.Request, k *kept[storedSession]) error {
	s.spent.hold(k.value)
	if err := s.kept.remove(r.Context(), k.id); err != nil {
		s.spent.release(k.id)
		return err
	}
	context.AfterFunc(r.Context(), func() { s.spent.release(k.id) })
	// Left undone, it is a matter for Sweep.
	s.notes.add(func(ctx context.Context) { _ = s.kept.forget(ctx, k.id, k.value.User) })
	return nil
}

// endSpent ends a OneTime session that has been used, and cuts its feed: ErrNoRecord when its request is over.
func (s *Sessions) endSpent(id string) error {
	if !s.spent.end(id) {
		return ErrNoRecord
	}
	s.revocations.End(Match{Credential: "session:" + id})
	return nil
}

// findSpent is who a OneTime session is from, as identity says, while the request that it let in is under way. It does not age any more.
func (s *Sessions) findSpent(ctx context.Context, c *sessionSettings, id string) (*storedSession, Identity, error) {
	v := s.spent.get(id)
	if v == nil {
		return nil, Identity{}, ErrNoRecord
	}
	who, err := s.identity(ctx, c, v, v.Created)
	return v, who, err
}

// spentSessions are the OneTime sessions of requests that are under way. The zero spentSessions is ready for use.
type spentSessions struct {
	mu   sync.Mutex
	held map[string]*spentSession // by ID
}

// spentSession is one of them. One that has ended stays until its request is over, so that nobody who tries to use it meanwhile brings it back.
type spentSession struct {
	*storedSession
	requests int // one, and those that find out that they come too late
	ended    bool
}

func (u *spentSessions) hold(v *storedSession) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held == nil {
		u.held = make(map[string]*spentSession)
	}
	if u.held[v.ID] == nil {
		u.held[v.ID] = &spentSession{storedSession: v}
	}
	u.held[v.ID].requests++
}

// release takes back one hold.
func (u *spentSessions) release(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if used := u.held[id]; used.requests > 1 {
		used.requests--
	} else {
		delete(u.held, id)
	}
}

// end ends a session, if it is there and has not ended.
func (u *spentSessions) end(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	used := u.held[id]
	if used == nil || used.ended {
		return false
	}
	used.ended = true
	return true
}

// get returns a session that has not ended, or nil.
func (u *spentSessions) get(id string) *storedSession {
	u.mu.Lock()
	defer u.mu.Unlock()
	if used := u.held[id]; used != nil && !used.ended {
		return used.storedSession
	}
	return nil
}

// of returns the sessions of a user, or of all for "", that have not ended.
func (u *spentSessions) of(user string) []*storedSession {
	u.mu.Lock()
	defer u.mu.Unlock()
	var found []*storedSession
	for _, used := range u.held {
		if !used.ended && (user == "" || used.User == user) {
			found = append(found, used.storedSession)
		}
	}
	return found
}
