package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
)

// Authenticator asks its Methods in order. It is safe for concurrent use.
type Authenticator struct {
	users Users
	chain atomic.Pointer[chain]
}

// chain is an immutable list of Methods.
type chain struct {
	methods []Method
	names   []string
}

// NewAuthenticator returns one that knows nobody until Configure. users may be nil: then nobody is disabled, and Local identities are
// taken as the Methods found them.
func NewAuthenticator(users Users) *Authenticator {
	a := &Authenticator{users: users}
	a.chain.Store(new(chain))
	return a
}

// Configure replaces the Methods, atomically; requests under way keep the list that they began with.
func (a *Authenticator) Configure(methods []Method) {
	c := &chain{methods: append([]Method(nil), methods...)}
	for _, m := range methods {
		c.names = append(c.names, m.Name())
	}
	a.chain.Store(c)
}

// Names lists the Methods' names in order. The caller must not change it.
func (a *Authenticator) Names() []string { return a.chain.Load().names }

// Authenticate returns who r is from; the zero Identity when no Method found credentials.
// A user whom the directory holds as disabled is refused, whatever Method succeeded. An error that is no *Refusal is the server's own
// (a directory that fails, a request that was given up): the request must not be served. A *Refusal names the Method that it is from, for the log.
func (a *Authenticator) Authenticate(r *http.Request) (Identity, error) {
	for _, m := range a.chain.Load().methods {
		id, err := a.ask(m, r)
		if err == ErrNoCredentials || errors.Is(err, ErrNoCredentials) {
			continue
		}
		return id, err
	}
	return Identity{}, nil
}

// AuthenticateBy is Authenticate by the Method of one name alone: ErrNoCredentials when r holds nothing for it, or there is no such Method.
func (a *Authenticator) AuthenticateBy(name string, r *http.Request) (Identity, error) {
	for _, m := range a.chain.Load().methods {
		if m.Name() == name {
			return a.ask(m, r)
		}
	}
	return Identity{}, ErrNoCredentials
}

// ask has one Method judge a request, and then the directory.
func (a *Authenticator) ask(m Method, r *http.Request) (Identity, error) {
	id, err := m.Authenticate(r)
	if err != nil {
		return Identity{}, about(err, m.Name(), "", "")
	}
	if err := a.allowed(r.Context(), &id); err != nil {
		return Identity{}, about(err, m.Name(), id.Name, id.Credential)
	}
	return id, nil
}

// allowed refuses an identity that the directory disowns.
func (a *Authenticator) allowed(ctx context.Context, id *Identity) error {
	if id.Name == "" {
		return fmt.Errorf("method %q signed in a user without a name", id.Method)
	}
	if a.users == nil {
		return nil
	}
	u, err := a.users.User(ctx, id.Name)
	switch {
	case err == nil && u.Disabled:
		return disabled()
	case err == nil:
		return nil
	case errors.Is(err, ErrUnknownUser) && !id.Local:
		return nil // a token's or proxy's user need not be in the directory
	case errors.Is(err, ErrUnknownUser):
		return incorrect() // deleted since the Method looked
	default:
		return err
	}
}

// repeatKey marks the context of requests that are judged again.
type repeatKey struct{}

// Repeat returns a context for the requests that were let in before and are judged again, because they last: what is good for one request, such as a nonce, is
// good for this one still.
func Repeat(ctx context.Context) context.Context { return context.WithValue(ctx, repeatKey{}, true) }

// Repeated reports whether ctx is from Repeat, for Methods whose credentials are good for one request.
func Repeated(ctx context.Context) bool { return ctx.Value(repeatKey{}) != nil }
