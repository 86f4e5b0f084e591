// Package auth answers one question: who is this HTTP request from?
//
// (The manual goes here: Authenticator, Methods in order, Users directories, refusals, cookies to renew.)
package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/parlordb/parlor/auth/password"
)

// ErrNoCredentials, wrapped or bare, is a Method's answer to a request that carries nothing for it: the next Method is asked.
var ErrNoCredentials = errors.New("no credentials for this method")

// ErrUnknownUser is a directory's answer to a name that it does not hold.
var ErrUnknownUser = errors.New("unknown user")

// Refusal is a request that was recognised and turned away. Error and Reason are for the client, in CouchDB's words.
type Refusal struct {
	Status int
	Kind   string // CouchDB's "error" member, such as "unauthorized"
	Reason string
	Header http.Header // to add to the answer, such as Retry-After; may be nil
}

func (e *Refusal) Error() string { return e.Kind + ": " + e.Reason }

// Identity is who a request is from. The zero Identity is nobody. Callers must not change Roles.
type Identity struct {
	Name       string
	Roles      []string
	Method     string    // the Method's name, "" for nobody
	Credential string    // which of the user's credentials this is: a key id, a session's handle; for logs and revocation, never a secret
	Expires    time.Time // when the credential ends; zero: it does not
	SetCookie  string    // a Set-Cookie header to send with the answer (renewal), "" for none
}

// HasRole reports whether the identity has a role.
func (id *Identity) HasRole(role string) bool { panic("todo") }

// Admin reports whether the identity is a server admin.
func (id *Identity) Admin() bool { return id.HasRole("_admin") }

// Method recognises one kind of credential. Implementations are safe for concurrent use.
type Method interface {
	// Name is what /_session shows, such as "cookie".
	Name() string
	// Authenticate returns who r is from; ErrNoCredentials (wrapped or bare) when r holds nothing of this kind; any other error, a *Refusal
	// where the client should know why, refuses the request. It may read r's headers and URL, never its body.
	Authenticate(r *http.Request) (Identity, error)
}

// User is an entry of a Users directory.
type User struct {
	Name     string
	Roles    []string
	Password password.Hash
	Admin    bool // a server admin from the configuration
	TOTP     bool // a second factor is set: Basic is refused
	Disabled bool
}

// Users is where names and password hashes are looked up.
type Users interface {
	// User returns the entry of name, which the caller must not change; ErrUnknownUser; or a *Refusal.
	User(ctx context.Context, name string) (*User, error)
}

// Authenticator asks its Methods in order. It is safe for concurrent use.
type Authenticator struct{}

// NewAuthenticator returns one that knows nobody until Configure.
func NewAuthenticator(users Users) *Authenticator { panic("todo") }

// Configure replaces the Methods, atomically; requests under way keep the list that they began with.
func (a *Authenticator) Configure(methods []Method) { panic("todo") }

// Names lists the Methods' names in order.
func (a *Authenticator) Names() []string { panic("todo") }

// Authenticate returns who r is from; the zero Identity when no Method found credentials.
// A user whom the directory holds as disabled is refused, whatever Method succeeded.
func (a *Authenticator) Authenticate(r *http.Request) (Identity, error) { panic("todo") }
