package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
)

type identityKey struct{}

// NewContext returns a context that carries id.
func NewContext(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// FromContext returns the identity that Handler, Require or NewContext put into ctx, and nobody when there is none.
func FromContext(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}

// Handler returns a handler that finds out who each request is from, puts the Identity into its context, and calls next; nobody is let
// through as nobody. Refused requests are answered as CouchDB does, and 500 when the directory fails. A cookie to renew is set
// before next runs.
func (a *Authenticator) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := a.Authenticate(r)
		if err != nil {
			refusalOf(err).ServeHTTP(w, r)
			return
		}
		if id.SetCookie != "" {
			w.Header().Add("Set-Cookie", id.SetCookie)
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), id)))
	})
}

// Require is Handler, but nobody gets 401, with a challenge when there is a Basic method to answer it.
func (a *Authenticator) Require(next http.Handler) http.Handler {
	return a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := FromContext(r.Context()); !id.Anonymous() {
			next.ServeHTTP(w, r)
			return
		}
		refusal := unauthorized("Authentication required.")
		if slices.Contains(a.Names(), "default") {
			refusal.Header = http.Header{"Www-Authenticate": {`Basic realm="server"`}}
		}
		refusal.ServeHTTP(w, r)
	}))
}

// refusalOf keeps the texts of errors that are not meant for clients from them.
func refusalOf(err error) *Refusal {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal
	}
	return &Refusal{Status: http.StatusInternalServerError, Kind: "internal_server_error", Reason: "Sign-on failed; the server's log says why."}
}
