// Package auth answers one question: who is this HTTP request from?
//
// An [Authenticator] asks a list of [Method]s in order. The first that recognises its kind of credential decides: the request is from
// the [Identity] that it returns, or it is turned away with a [Refusal]. When none finds anything, the request is from nobody, the zero
// Identity, which is not an error: what nobody may do is for the caller to say.
//
//	users := new(auth.Memory)                                  // or your own directory: one method, User
//	passwords := auth.NewPasswords(users, auth.PasswordOptions{})
//	cookies, err := auth.NewCookies(users, auth.CookieOptions{Secrets: []auth.Secret{{Value: secret}}})
//	…
//	authenticator := auth.NewAuthenticator(users)
//	authenticator.Configure([]auth.Method{cookies, auth.NewBasic(passwords)})
//	http.ListenAndServe(addr, authenticator.Require(handler))  // handler calls auth.FromContext(r.Context())
//
// # Methods
//
// [Basic] is a name and password in each request, [Cookies] CouchDB's AuthSession cookie, [Sessions] the same cookie with the session kept on the
// server, [Proxy] the word of a server in front. [Tokens] has access tokens that users make for their apps. Package auth/jwt has signed bearer
// tokens, and a whole server that takes all of these as its example; package auth/oauth1 has signed requests. [First] makes one Method of several. A
// Method of your own implements two functions; package auth/authtest tests its contract. [ErrNoCredentials] means "not mine, ask the next"; every
// other error ends the request, so that a wrong password is never followed by a second try as someone else.
//
// Configure may be called at any time. The list is replaced atomically, there is no lock in the way of a request, and a
// request under way finishes with the list that it began with.
//
// # Directories
//
// A [Users] directory holds names, roles and password hashes. [Memory] is one; a server over a database writes its own and tests it
// with authtest.TestUsers. After any Method has succeeded, the Authenticator asks the directory whether that user is disabled. An
// Identity that is [Identity.Local] signed in with something the directory itself keeps, and must still be in it; a token's subject need
// not be.
//
// # Sessions and access tokens
//
// [Sessions] and [Tokens] keep what they make in a [State], by the hashes of secrets alone, so that it can be listed, and ended at any moment: what
// is ended is refused from the next request on, and its feeds are cut. [MemoryState] is a State; a server over a database writes its own and tests it
// with authtest.TestState.
//
//	sessions := auth.NewSessions(state, users, revocations)
//	defer sessions.Close()
//	err := sessions.Configure(auth.SessionOptions{Timeout: time.Hour})
//	…
//	secret, made, err := sessions.Create(ctx, auth.NewSession{Who: id})    // after the password was checked
//	w.Header().Set("Set-Cookie", sessions.Cookie("", secret, &made, true))
//
// A session has the rights of whoever signed in. An access token has a [Scope]: it never makes a server admin, and may be bound to some databases or
// to reading. Sweep, of both, is to be called now and then.
//
// # Passwords
//
// [Passwords] checks a name and a password, for Basic and for login forms alike. Hashing is slow on purpose, so passwords that verified are
// remembered (as a keyed digest, never in clear), under a key that holds the stored hash: a changed password is another key. How many hashes are
// computed at once is bounded, and unknown names take as long as wrong passwords. A [Lockout] refuses who guesses, a [TOTP] checks second factors for
// [Passwords.VerifyBoth], and a [Budget] bounds costly wrong tokens.
//
// # What else
//
// Requests that live long register with [Revocations] and end when what let them in does. Refusals carry CouchDB's words;
// [Refusal.ServeHTTP] answers with them. An Identity's SetCookie is to be sent with the answer, unless the answer sets that cookie itself.
//
// No error and no Identity holds a secret, so both may be logged. For the log a Refusal also has the Method, User and Credential that a request
// claimed; none of these is sent to the client, and none was proved.
package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth/password"
)

// ErrNoCredentials, wrapped or bare, is a Method's answer to a request that carries nothing for it: the next Method is asked.
var ErrNoCredentials = errors.New("no credentials for this method")

// ErrUnknownUser is a directory's answer to a name that it does not hold.
var ErrUnknownUser = errors.New("unknown user")

// Identity is who a request is from. The zero Identity is nobody. Callers must not change Roles.
type Identity struct {
	Name       string
	Roles      []string
	Method     string    // the Method's name, "" for nobody
	Credential string    // which of the user's credentials this is: a key id, a session's handle; for logs and revocation, never a secret
	Local      bool      // signed in with a password or session of the Users directory; false for a name that a token or proxy vouches for
	Provider   string    // the issuer or provider, by its name in the settings, that vouched for a name; "" for none
	Granted    []string  // those of Roles that the directory added to what a Provider said; the identity loses them with the user
	Scope      *Scope    // what the credential is good for; nil: all that the roles give
	Expires    time.Time // when the credential ends; zero: it does not
	SetCookie  string    // a Set-Cookie header to send with the answer (renewal), "" for none
}

// HasRole reports whether the identity has a role.
func (id *Identity) HasRole(role string) bool { return slices.Contains(id.Roles, role) }

// Admin reports whether the identity is a server admin. One with a Scope never is.
func (id *Identity) Admin() bool { return id.Scope == nil && id.HasRole("_admin") }

// Anonymous reports whether the identity is nobody.
func (id *Identity) Anonymous() bool { return id.Name == "" }

// Method recognises one kind of credential. Implementations are safe for concurrent use.
type Method interface {
	// Name is what /_session shows, such as "cookie".
	Name() string
	// Authenticate returns who r is from; ErrNoCredentials (wrapped or bare) when r holds nothing of this kind; any other error, a *Refusal
	// where the client should know why, refuses the request. It may read r's headers and URL, never its body. An Identity without an
	// error has a name.
	Authenticate(r *http.Request) (Identity, error)
}

// User is an entry of a Users directory.
type User struct {
	Name     string
	Roles    []string // a server admin's include "_admin"
	Password password.Hash
	Admin    bool    // a server admin from the configuration
	TOTP     bool    // a second factor is set: Basic is refused
	TOTPKey  TOTPKey // what its codes are made with; the zero TOTPKey matches none
	Disabled bool

	Identities []ForeignIdentity // at providers, linked to this user
}

// ForeignIdentity is somebody at an OpenID provider: the pair that is never given to anyone else there (OpenID Connect Core §5.7).
type ForeignIdentity struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// identity is who signs in as u by method.
func (u *User) identity(method string) Identity {
	roles := u.Roles
	if u.Admin && !slices.Contains(roles, "_admin") {
		roles = append([]string{"_admin"}, roles...)
	}
	return Identity{Name: u.Name, Roles: roles, Method: method, Local: true}
}

// Users is where names and password hashes are looked up. Implementations are safe for concurrent use, and quick: it is asked at each request.
type Users interface {
	// User returns the entry of name, which the caller must not change; ErrUnknownUser; or a *Refusal. Names are compared byte by byte.
	User(ctx context.Context, name string) (*User, error)
}

// Credentials returns what follows scheme, such as "Basic " with its blank, in the Authorization header. ok is false when
// there is no such header or it is of another scheme, including one spelled in other letters, as in CouchDB. Two headers are one value
// joined by ", ", so that no part of the way can see another credential than the one that is checked.
func Credentials(h http.Header, scheme string) (text string, ok bool) {
	values := h["Authorization"]
	switch len(values) {
	case 0:
		return "", false
	case 1:
		return strings.CutPrefix(values[0], scheme)
	default:
		return strings.CutPrefix(strings.Join(values, ", "), scheme)
	}
}
