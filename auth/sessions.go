package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

var _ Method = (*Sessions)(nil)

// OneTimeParameter is the query parameter that may hold a OneTime session's secret, for clients that cannot set headers. No other session is taken
// from it.
const OneTimeParameter = "one_time_session"

const (
	oneTimeout = 5 * time.Minute

	secretBytes  = 32 // of randomness
	secretLength = 43 // of the text that they make

	maxUserAgent    = 256
	maxSessionLabel = 256

	// noteEvery is how exactly it is known when something was last used.
	noteEvery = time.Minute
)

// SessionOptions say how Sessions works. The zero value is CouchDB's default.
type SessionOptions struct {
	Timeout     time.Duration // how long a session lives after its last use, to the second; 0: 10 minutes
	BindToToken bool          // a session made from a token ends with the token, however much it is used
	MaxPerUser  int           // a user's oldest sessions end when there are more; 0: 1000
	Providers   []string      // sessions whose Provider is neither "" nor one of these are refused

	// Stamps are of what vouches for users, by Session.Source, and say how it does. A session is refused that was made when its Source had another stamp, or
	// had one and has none now: so one that vouched for other users then, or by a key that nobody trusts any more, is not believed for longer.
	Stamps map[string]string

	NoTokens bool // sessions that were traded for a bearer token (their Method is "jwt") are refused

	Alias       string // another cookie name that is read too, such as SyncGatewaySession; "": none
	SessionOnly bool   // as in CookieOptions, like the next two
	Domain      string
	SameSite    string

	Secure func(r *http.Request) bool       // whether r came over TLS; nil: it has r.TLS
	Client func(r *http.Request) netip.Addr // who a request is from, for the record; nil: the connection's peer
	Now    func() time.Time                 // nil: time.Now
}

// Session is one that is kept. It holds no secret. The members' names are those under which a State keeps it.
type Session struct {
	ID        string     `json:"-"` // the handle: a hash of what the cookie holds, base64url; with it a session can be ended but not used
	User      string     `json:"user"`
	Roles     []string   `json:"roles,omitempty"`   // of a Local session the directory's, now; of others as they were when it was made, without lost Granted
	Granted   []string   `json:"granted,omitempty"` // those of Roles that the directory gave; the session loses them with the user
	Scope     *Scope     `json:"scope,omitempty"`
	Local     bool       `json:"local,omitzero"`     // roles come from the directory at each request, and a new password ends the session
	Method    string     `json:"method"`             // what the session was traded for: "default", "jwt", "oidc", "proxy", …
	Provider  string     `json:"provider,omitempty"` // the issuer's or provider's name in the settings, "" for none
	Source    string     `json:"source,omitempty"`   // what vouched for the user: the Provider, or the name of the key of a "jwt" without one; "" for nothing
	Issuer    string     `json:"issuer,omitempty"`   // with Subject, who it is at the Provider: the iss and sub that it signed; "" for none
	Subject   string     `json:"subject,omitempty"`
	SID       string     `json:"sid,omitempty"` // the provider's own session id (claim sid), for its logout; "" for none
	Created   time.Time  `json:"created"`
	LastUsed  time.Time  `json:"last_used"`        // to the minute
	Expires   time.Time  `json:"expires"`          // slides with use
	Limit     time.Time  `json:"limit,omitzero"`   // Expires never goes beyond; zero: nothing bounds it
	Address   netip.Addr `json:"address,omitzero"` // where it was last used from, as LastUsed; before that, where it was made
	UserAgent string     `json:"user_agent,omitempty"`
	Label     string     `json:"label,omitempty"`
	OneTime   bool       `json:"one_time,omitzero"`
}

// NewSession is what a session is made of. Who's Name, Roles, Granted, Scope, Local, Method, Provider and Expires are taken over.
type NewSession struct {
	Who          Identity
	User         *User  // of a Local session: the entry whose password was checked, so that one which changes meanwhile ends the session; nil: the present one
	Source       string // of a session that another is made of: the other's; "": Who's
	Issuer       string // with Subject, who it is at the Provider
	Subject, SID string
	Address      netip.Addr
	UserAgent    string        // cut after 256 bytes
	Label        string        // at most 256 bytes, without control characters
	OneTime      bool          // for one use within five minutes
	TTL          time.Duration // in place of the Timeout, and then it does not slide; 0: the Timeout
}

// Sessions is the Method "cookie" that keeps sessions in a State: the cookie AuthSession holds a random id of 256 bits, base64url, and everything
// else is here, so that a session can be listed and ended. Only the SHA-256 of the id is kept. It is safe for concurrent use.
//
// A cookie that is malformed, unknown, expired or of nobody counts as no credentials, so that a stale one is in nobody's way. A session that has gone
// unrenewed for a tenth of the timeout is renewed when it is used: it lives for another timeout from then, and the Identity has its cookie anew in
// SetCookie; the id stays.
//
// Local sessions are bound to the salt of the user's password: a new password ends them, an upgraded hash does not. Others keep the roles that they
// were made with, less those that the directory granted and has taken back since; where their user was in the directory when they were made, they end
// with that entry. Those of a provider end also when somebody gets the name who was not there then, or when a server admin does.
//
// A OneTime session lets one request in, by the cookie or by the query parameter [OneTimeParameter]. Of two who use it at once, one is refused.
// What is wrong with one in the parameter is refused with 401, since whoever writes it there means it. Until the request's context ends, the session is listed
// and ended like others.
type Sessions struct {
	users       Users
	revocations *Revocations
	kept        *records[storedSession]
	spent       spentSessions
	settings    atomic.Pointer[sessionSettings] // nil until Configure
	notes       *backlog
	unwatch     func()
}

// sessionSettings are immutable.
type sessionSettings struct {
	SessionOptions
	attributes cookieAttributes
	cookies    []string // the names that are read, in their order
}

// errNoSessions is for who makes a session before Configure.
var errNoSessions = errors.New("sessions are not configured")

// NewSessions returns a Sessions that takes no session until Configure. Close must be called in the end.
func NewSessions(state State, users Users, revocations *Revocations) *Sessions {
	s := &Sessions{
		users: users, revocations: revocations, notes: newBacklog(),
		kept: newRecords(state, "session", finishSession),
	}
	s.unwatch = state.Watch(s.kept.changed)
	return s
}

// Configure puts options into force. It fails, without effect, when Domain or Alias cannot stand in a header or Timeout is too short.
func (s *Sessions) Configure(o SessionOptions) error {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.Timeout < time.Second {
		return fmt.Errorf("session timeout %v is shorter than a second", o.Timeout)
	}
	if o.MaxPerUser <= 0 {
		o.MaxPerUser = 1000
	}
	if o.Secure == nil {
		o.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	if o.Client == nil {
		o.Client = Peer
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	attributes, err := newCookieAttributes(o.SessionOnly, o.Domain, o.SameSite)
	if err != nil {
		return err
	}
	c := &sessionSettings{SessionOptions: o, attributes: attributes, cookies: []string{CookieName}}
	if o.Alias != "" {
		if strings.Trim(o.Alias, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return fmt.Errorf("cookie name %q is more than letters, digits, - and _", o.Alias)
		}
		c.cookies = append(c.cookies, o.Alias)
	}
	s.settings.Store(c)
	return nil
}

// Close stops watching the State and waits for what is under way.
func (s *Sessions) Close() {
	s.unwatch()
	s.notes.close()
}

// Name implements Method.
func (s *Sessions) Name() string { return "cookie" }

// Authenticate implements Method. The Identity's Credential is "session:" and the session's ID.
func (s *Sessions) Authenticate(r *http.Request) (Identity, error) {
	c := s.settings.Load()
	if c == nil {
		return Identity{}, ErrNoCredentials
	}
	if strings.Contains(r.URL.RawQuery, OneTimeParameter) {
		if secret := r.URL.Query().Get(OneTimeParameter); secret != "" {
			id, err := s.present(r, c, "", secret)
			if err == ErrNoCredentials {
				return Identity{}, unauthorized("The one-time session is unknown, used or expired.").About(s.Name(), "", "")
			}
			return id, err
		}
	}
	for _, cookie := range c.cookies {
		secret := cookieValue(r.Header["Cookie"], cookie)
		if secret == "" {
			continue
		}
		if id, err := s.present(r, c, cookie, secret); err != ErrNoCredentials {
			return id, err
		}
	}
	return Identity{}, ErrNoCredentials
}

// present uses the session of a secret that came in a cookie, or in the query when cookie is "". It fails with ErrNoCredentials, bare, when there is
// none.
func (s *Sessions) present(r *http.Request, c *sessionSettings, cookie, secret string) (Identity, error) {
	if len(secret) != secretLength {
		return Identity{}, ErrNoCredentials
	}
	now := c.Now()
	k, err := s.kept.get(r.Context(), hashKey(secret))
	var id Identity
	if err == nil {
		id, err = s.identity(r.Context(), c, k.value, now)
	}
	if err == nil && k.value.OneTime {
		err = s.redeem(r, k)
	}
	switch {
	case errors.Is(err, ErrNoRecord):
		return Identity{}, ErrNoCredentials
	case err != nil:
		return Identity{}, err
	case k.value.OneTime:
		return id, nil
	case cookie == "":
		return Identity{}, ErrNoCredentials
	}
	s.used(r, c, k, cookie, secret, now, &id)
	return id, nil
}

// storedSession is a session as a State keeps it.
type storedSession struct {
	Session
	Renewed time.Time `json:"renewed"`         // when Expires was set
	Fixed   bool      `json:"fixed,omitzero"`  // it does not slide
	Known   bool      `json:"known,omitzero"`  // its user was in the directory
	Salt    string    `json:"salt,omitempty"`  // of a Local session: the fingerprint of the password's salt
	Stamp   string    `json:"stamp,omitempty"` // of its Source

	credential string
}

// finishSession completes a session that was read. One of nobody's is none.
func finishSession(id string, v *storedSession) error {
	if v.ID, v.credential = id, "session:"+id; v.User == "" {
		return errNobodys
	}
	return nil
}

// errNobodys is a record that has lost its user.
var errNobodys = errors.New("the record has no user")

// saltPrint is a fingerprint of a password's salt: what it was is nobody's business.
func saltPrint(salt string) string {
	sum := sha256.Sum256([]byte("parlor session\x00" + salt))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ends is when a session expires under a timeout: one that has become shorter counts at once, as for CouchDB's cookies; a longer one from the next
// renewal on.
func (v *storedSession) ends(timeout time.Duration) time.Time {
	if byTimeout := v.Renewed.Add(timeout); !v.Fixed && byTimeout.Before(v.Expires) {
		return byTimeout
	}
	return v.Expires
}

// identity is who a session is from now, or ErrNoRecord when it has ended, and the directory's own errors.
func (s *Sessions) identity(ctx context.Context, c *sessionSettings, v *storedSession, now time.Time) (Identity, error) {
	expires := v.ends(c.Timeout)
	if !now.Before(expires) || c.NoTokens && v.Method == "jwt" || v.Provider != "" && !slices.Contains(c.Providers, v.Provider) || v.Stamp != c.Stamps[v.Source] {
		return Identity{}, ErrNoRecord
	}
	u, err := s.users.User(ctx, v.User)
	switch {
	case errors.Is(err, ErrUnknownUser) && (v.Local || v.Known):
		return Identity{}, ErrNoRecord
	case err != nil && !errors.Is(err, ErrUnknownUser):
		return Identity{}, about(err, s.Name(), v.User, v.credential)
	case v.Local && saltPrint(u.Password.Salt) != v.Salt:
		return Identity{}, ErrNoRecord
	case v.Provider != "" && u != nil && (u.Admin || !v.Known):
		return Identity{}, ErrNoRecord // somebody else has the name now
	case v.Provider != "" && u != nil && v.Issuer != "" && !slices.Contains(u.Identities, ForeignIdentity{Issuer: v.Issuer, Subject: v.Subject}):
		return Identity{}, ErrNoRecord
	}
	id := Identity{Name: v.User, Roles: v.Roles, Granted: v.Granted, Method: s.Name()}
	if v.Local {
		id = u.identity(s.Name())
	} else if len(v.Granted) > 0 {
		id.Roles, id.Granted = stillGranted(v, u)
	}
	id.Provider, id.Scope = v.Provider, v.Scope
	id.Credential, id.Expires = v.credential, expires
	return id, nil
}

// stillGranted returns a session's roles without those that the directory granted to u, nil when he is not there, and has taken back.
func stillGranted(v *storedSession, u *User) (roles, granted []string) {
	var held []string
	if u != nil {
		held = u.identity("").Roles
	}
	lost := func(role string) bool { return !slices.Contains(held, role) }
	if !slices.ContainsFunc(v.Granted, lost) {
		return v.Roles, v.Granted
	}
	roles = slices.DeleteFunc(slices.Clone(v.Roles), func(role string) bool { return slices.Contains(v.Granted, role) && lost(role) })
	return roles, slices.DeleteFunc(slices.Clone(v.Granted), lost)
}

// used renews a session when it is time, or else notes that it was used.
func (s *Sessions) used(r *http.Request, c *sessionSettings, k *kept[storedSession], cookie, secret string, now time.Time, id *Identity) {
	expires := bounded(now.Add(c.Timeout), k.value.Limit)
	slides := !k.value.Fixed && expires.After(id.Expires)
	left := id.Expires.Unix() - now.Unix()
	renews := slides && left*10 < int64(c.Timeout/time.Second)*9
	if !renews && (now.Sub(k.value.LastUsed) < noteEvery || slides && c.Timeout/10 <= noteEvery) {
		return // or it will be noted by the renewal, which is near
	}
	if !k.writing.CompareAndSwap(false, true) {
		return // another request is about it
	}
	if !renews {
		s.note(k, now, c.Client(r))
		return
	}
	next := k.value.usedAt(now, c.Client(r))
	next.Renewed, next.Expires = now.UTC(), expires.UTC()
	// A session that cannot be renewed, because it has ended meanwhile or the disk is full, is good for this request as it was.
	if s.write(r.Context(), k, next) {
		id.Expires = next.Expires
		id.SetCookie = c.attributes.set(cookie, secret, expires, expires.Sub(now), c.Secure(r))
	}
}

// note writes down that a session was used, when there is time for it.
func (s *Sessions) note(k *kept[storedSession], now time.Time, client netip.Addr) {
	next := k.value.usedAt(now, client)
	if !s.notes.add(func(ctx context.Context) { s.write(ctx, k, next) }) {
		k.writing.Store(false)
	}
}

// usedAt is the successor of a session that was used.
func (v *storedSession) usedAt(now time.Time, client netip.Addr) *storedSession {
	next := *v
	next.LastUsed, next.Address = now.UTC().Truncate(time.Second), client
	return &next
}

// write stores a session's successor unless it has changed or ended.
func (s *Sessions) write(ctx context.Context, k *kept[storedSession], next *storedSession) bool {
	err := s.kept.replace(ctx, k, next)
	if err != nil {
		k.writing.Store(false)
	}
	return err == nil
}

// bounded is the earlier of a time and a limit, if there is one.
func bounded(t, limit time.Time) time.Time {
	if !limit.IsZero() && limit.Before(t) {
		return limit
	}
	return t
}

// Cookie returns the Set-Cookie header value of a session that was just made; Clear one that signs out. name is "" for AuthSession. It is "" for a
// OneTime session, which no browser is to keep.
func (s *Sessions) Cookie(name, secret string, made *Session, secure bool) string {
	c := s.settings.Load()
	if c == nil || made.OneTime {
		return ""
	}
	return c.attributes.set(cookieNamed(name), secret, made.Expires, made.Expires.Sub(made.Created), secure)
}

// Clear returns a Set-Cookie header value that makes the browser forget the cookie; name as in Cookie. It is "" before Configure.
func (s *Sessions) Clear(name string, secure bool) string {
	c := s.settings.Load()
	if c == nil {
		return ""
	}
	return c.attributes.clear(cookieNamed(name), secure)
}

func cookieNamed(name string) string {
	if name == "" {
		return CookieName
	}
	return name
}

// newSecret is a random text that nobody guesses.
func newSecret() string {
	var random [secretBytes]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}
