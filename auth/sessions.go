package auth

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

var _ Method = (*Sessions)(nil)

// SessionOptions say how Sessions works. The zero value is CouchDB's default.
type SessionOptions struct {
	Timeout     time.Duration // how long a session lives after its last use, to the second; 0: 10 minutes
	BindToToken bool          // a session made from a token ends with the token, however much it is used
	MaxPerUser  int           // a user's oldest sessions end when there are more; 0: 1000
	Providers   []string      // sessions whose Provider is neither "" nor one of these are refused

	Alias       string // another cookie name that is read too, such as SyncGatewaySession; "": none
	SessionOnly bool   // as in CookieOptions, like the next two
	Domain      string
	SameSite    string

	Secure func(r *http.Request) bool       // whether r came over TLS; nil: it has r.TLS
	Client func(r *http.Request) netip.Addr // who a request is from, for the record; nil: the connection's peer
	Now    func() time.Time                 // nil: time.Now
}

// Session is one that is kept. It holds no secret.
type Session struct {
	ID        string // the handle: a hash of what the cookie holds, base64url; with it a session can be ended but not used
	User      string
	Roles     []string // of a session that is not Local: as they were when it was made
	Granted   []string // those of Roles that the directory gave; the session loses them with the user
	Scope     *Scope
	Local     bool   // roles come from the directory at each request, and a new password ends the session
	Method    string // what the session was traded for: "default", "jwt", "oidc", "proxy", …
	Provider  string // the issuer's or provider's name in the settings, "" for none
	Subject   string // the provider's sub, for its logout; "" for none
	SID       string // the provider's own session id (claim sid), for its logout; "" for none
	Created   time.Time
	LastUsed  time.Time // to the minute
	Expires   time.Time // slides with use
	Limit     time.Time // Expires never goes beyond; zero: nothing bounds it
	Address   netip.Addr
	UserAgent string // at most 256 bytes
	Label     string
	OneTime   bool
}

// NewSession is what a session is made of. Who's Name, Roles, Granted, Scope, Local, Method, Provider and Expires are taken over.
type NewSession struct {
	Who          Identity
	Subject, SID string
	Address      netip.Addr
	UserAgent    string
	Label        string
	OneTime      bool          // for one use within five minutes
	TTL          time.Duration // in place of the Timeout, and then it does not slide; 0: the Timeout
}

// Sessions is the Method "cookie" that keeps sessions in a State: the cookie AuthSession holds a random id of 256 bits, base64url, and everything else is
// here, so that a session can be listed and ended.
type Sessions struct{}

// NewSessions returns a Sessions that takes no session until Configure. Close must be called in the end.
func NewSessions(state State, users Users, revocations *Revocations) *Sessions { panic("todo") }

// Configure puts options into force. It fails, without effect, when Domain cannot stand in a header or Timeout is too short.
func (s *Sessions) Configure(o SessionOptions) error { panic("todo") }

// Close stops watching the State and waits for what is under way.
func (s *Sessions) Close() { panic("todo") }

// Name implements Method.
func (s *Sessions) Name() string { return "cookie" }

// Authenticate implements Method. The Identity's Credential is "session:" and the session's ID.
func (s *Sessions) Authenticate(r *http.Request) (Identity, error) { panic("todo") }

// Create makes a session and returns what its cookie holds.
func (s *Sessions) Create(ctx context.Context, n NewSession) (secret string, made Session, err error) {
	panic("todo")
}

// Cookie returns the Set-Cookie header value of a session that was just made; Clear one that signs out. name is "" for AuthSession.
func (s *Sessions) Cookie(name, secret string, made *Session, secure bool) string { panic("todo") }

// Clear returns a Set-Cookie header value that makes the browser forget the cookie; name as in Cookie.
func (s *Sessions) Clear(name string, secure bool) string { panic("todo") }

// Check returns who a session is from now, by its ID, without using it: ErrNoRecord when it has ended.
func (s *Sessions) Check(ctx context.Context, id string) (Identity, error) { panic("todo") }

// Get returns a session that has not ended, or ErrNoRecord.
func (s *Sessions) Get(ctx context.Context, id string) (Session, error) { panic("todo") }

// Lookup is the ID of the session whose cookie holds secret. The session need not exist.
func (s *Sessions) Lookup(secret string) (id string) { panic("todo") }

// List returns at most limit sessions that have not ended, of one user, or of all for "", after a Session.ID ("" for the first).
func (s *Sessions) List(ctx context.Context, user, after string, limit int) ([]Session, error) {
	panic("todo")
}

// End ends a session and cuts its feeds: ErrNoRecord when there is none.
func (s *Sessions) End(ctx context.Context, id string) error { panic("todo") }

// EndWhere ends the sessions of a user for which which is true (nil: all), and returns how many; user "" means everyone's.
func (s *Sessions) EndWhere(ctx context.Context, user string, which func(*Session) bool) (int, error) {
	panic("todo")
}

// Sweep removes sessions that have ended, and those of users who are gone. Call it now and then; every ten minutes is often enough.
func (s *Sessions) Sweep(ctx context.Context) (removed int, err error) { panic("todo") }
