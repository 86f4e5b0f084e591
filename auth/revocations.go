package auth

import (
	"context"
	"errors"
	"sync"
)

// ErrRevoked is the cause (context.Cause) of a registered context that ended because what let its request in has ended.
var ErrRevoked = errors.New("the credential or permission of this request has ended")

// Revocations knows the requests that live long, such as feeds of changes, and ends them when what let them in does.
// The zero Revocations is ready for use, and safe for concurrent use.
//
// Register gives a request a context that ends with its credential; the request must watch it, and cut its connection rather than
// end the answer well when context.Cause is ErrRevoked. Whoever changes something calls End or Recheck after the change is in
// force and before telling that it is done:
//
//	user deleted or disabled     End(Match{User: name})
//	password changed             End(Match{User: name, Local: true})    spares tokens that others vouch for
//	signing key removed          End(Match{Method: "jwt", Credential: "rsa:kid"})
//	roles changed                Recheck(Match{User: name})
//	_security changed            Recheck(Match{Database: db})
//
// A hash that is upgraded, or a token that has aged since the request began, ends nothing.
type Revocations struct {
	mu       sync.Mutex
	requests map[*longRequest]struct{}
}

type longRequest struct {
	id        Identity
	database  string
	authorize func() error // nil: it cannot be authorized anew
	cancel    context.CancelCauseFunc
}

// Match says which requests are meant: those that agree with every field that is not zero. The zero Match means all.
type Match struct {
	User       string
	Method     string
	Credential string
	Database   string
	Provider   string
	Local      bool // only identities that are Local
}

func (m *Match) matches(q *longRequest) bool {
	return (m.User == "" || m.User == q.id.Name) &&
		(m.Method == "" || m.Method == q.id.Method) &&
		(m.Credential == "" || m.Credential == q.id.Credential) &&
		(m.Database == "" || m.Database == q.database) &&
		(m.Provider == "" || m.Provider == q.id.Provider) &&
		(!m.Local || q.id.Local)
}

// Register returns a context derived from ctx that ends when the request of id on that database is revoked, and a function
// that must be called when the request is over. A request on no database has "".
//
// authorize says whether the request may go on: it looks up the user's roles and the database's rules as they are now, and returns an error
// when they no longer let the request in. It is called once before Register returns, so that no change between the request's own check and
// its registration is missed, and then by Recheck, on the goroutine of Recheck's caller. With a nil authorize, Recheck ends the
// request, and the client is checked when it comes again.
func (v *Revocations) Register(ctx context.Context, id Identity, database string, authorize func(context.Context) error) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	q := &longRequest{id: id, database: database, cancel: cancel}
	if authorize != nil {
		q.authorize = func() error { return authorize(ctx) }
	}
	v.mu.Lock()
	if v.requests == nil {
		v.requests = make(map[*longRequest]struct{})
	}
	v.requests[q] = struct{}{}
	v.mu.Unlock()
	if q.authorize != nil && q.authorize() != nil {
		cancel(ErrRevoked)
	}
	return ctx, func() {
		v.mu.Lock()
		delete(v.requests, q)
		v.mu.Unlock()
		cancel(nil)
	}
}

// End ends the matching requests and returns how many they are. When it returns, their contexts have ended.
func (v *Revocations) End(m Match) int {
	found := v.find(m)
	for _, q := range found {
		q.cancel(ErrRevoked)
	}
	return len(found)
}

// Recheck has the matching requests authorized anew, and ends those that are not. It returns how many it ended.
// When it returns, their contexts have ended.
func (v *Revocations) Recheck(m Match) int {
	ended := 0
	for _, q := range v.find(m) {
		if q.authorize == nil || q.authorize() != nil {
			q.cancel(ErrRevoked)
			ended++
		}
	}
	return ended
}

// credentials are those of the requests that go on.
func (v *Revocations) credentials() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	found := make(map[string]bool)
	for q := range v.requests {
		found[q.id.Credential] = true
	}
	return found
}

// find copies the matching requests, so that nothing foreign runs under the lock.
func (v *Revocations) find(m Match) []*longRequest {
	v.mu.Lock()
	defer v.mu.Unlock()
	var found []*longRequest
	for q := range v.requests {
		if m.matches(q) {
			found = append(found, q)
		}
	}
	return found
}
