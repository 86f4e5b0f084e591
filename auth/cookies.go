package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
)

var _ Method = (*Cookies)(nil)

// CookieName is the name of CouchDB's session cookie.
const CookieName = "AuthSession"

// maxCookie bounds the value that is decoded; browsers keep no longer ones.
const maxCookie = 4096

// Secret is what cookies are signed with.
type Secret struct {
	Value string
	Until time.Time // cookies signed with it are refused from then on; zero: never. For a secret that has been replaced: the time of that plus Timeout
}

// CookieOptions say how Cookies works. The zero value is CouchDB's default, without a secret.
type CookieOptions struct {
	Secrets     []Secret      // the first signs new cookies, all verify; none: every cookie is ignored and none is issued
	Timeout     time.Duration // how long a cookie is good for, to the second; 0: 10 minutes
	Algorithms  []string      // hash_algorithms: the first one known signs, all verify; none: sha256, sha
	SessionOnly bool          // allow_persistent_cookies = false: no Expires and Max-Age, the browser forgets the cookie when it ends
	Domain      string        // "": the host that set it
	SameSite    string        // none, lax or strict in any case; anything else: no such attribute

	Secure func(r *http.Request) bool // whether r came over TLS, for the cookie that renews; nil: it has r.TLS
	Now    func() time.Time           // nil: time.Now
}

// Cookies is the Method "cookie": CouchDB's AuthSession cookies (spec §3), to the byte. A cookie says who and since when, signed with a secret and
// the salt of the user's password hash: a new password makes old cookies worthless, and so does a deleted user. No session is kept
// on the server; but a cookie that verified is remembered, as a digest, so that the next request with it costs no HMAC. What is remembered is
// still held against the user's present salt and the time.
//
// A cookie that cannot be read is refused with 400. One that has expired, is forged, or is of nobody counts as no credentials. One that is older
// than a tenth of the timeout is renewed: the Identity carries a new one in SetCookie.
//
// Cookies is immutable and safe for concurrent use. When settings change, make a new one; to replace a secret without signing everyone
// out, keep the old one in Secrets with Until.
type Cookies struct {
	users   Users
	o       CookieOptions
	digests []digest

	attributes cookieAttributes
	verified   *otter.Cache[cookieHash, *verifiedCookie]
}

// maxCookies bounds how many cookies are remembered.
const maxCookies = 10_000

type cookieHash [sha256.Size]byte

// verifiedCookie is what a cookie said whose signature was right.
type verifiedCookie struct {
	name, salt string    // the user's, when it was verified
	expires    time.Time // of the cookie
	until      time.Time // when its secret is no longer taken; zero: never
}

// NewCookies returns a Cookies over a directory. It fails when Domain cannot stand in a header or Timeout is negative.
func NewCookies(users Users, o CookieOptions) (*Cookies, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.Timeout < time.Second {
		return nil, fmt.Errorf("cookie timeout %v is shorter than a second", o.Timeout)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Secure == nil {
		o.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	if o.Algorithms == nil {
		o.Algorithms = []string{"sha256", "sha"}
	}
	attributes, err := newCookieAttributes(o.SessionOnly, o.Domain, o.SameSite)
	if err != nil {
		return nil, err
	}
	c := &Cookies{
		users: users, digests: digestsNamed(o.Algorithms), attributes: attributes,
		verified: otter.Must(&otter.Options[cookieHash, *verifiedCookie]{MaximumSize: maxCookies, Executor: func(f func()) { f() }}),
	}
	for _, s := range o.Secrets {
		if s.Value != "" { // an empty secret is none: anyone knows it
			c.o.Secrets = append(c.o.Secrets, s)
		}
	}
	o.Secrets, c.o = c.o.Secrets, o
	return c, nil
}

// Name implements Method.
func (c *Cookies) Name() string { return "cookie" }

// Authenticate implements Method.
func (c *Cookies) Authenticate(r *http.Request) (Identity, error) {
	text := cookieValue(r.Header["Cookie"], CookieName)
	if text == "" {
		return Identity{}, ErrNoCredentials
	}
	if len(text) > maxCookie {
		return Identity{}, c.malformed()
	}
	var stack [512]byte
	hash := cookieHash(sha256.Sum256(append(stack[:0], text...)))
	now := c.o.Now()
	if v, ok := c.verified.GetIfPresent(hash); ok && now.Before(v.expires) && (v.until.IsZero() || now.Before(v.until)) {
		u, err := c.user(r, v.name)
		if err != nil {
			return Identity{}, err
		}
		if u.Password.Salt == v.salt {
			return c.identity(r, u, v.expires, now), nil
		}
	}
	token, ok := parseCookie(text)
	if !ok {
		return Identity{}, c.malformed()
	}
	if len(c.o.Secrets) == 0 || token.name == "" {
		return Identity{}, ErrNoCredentials
	}
	u, err := c.user(r, token.name)
	if err != nil {
		return Identity{}, err
	}
	expires, ok := c.expiry(token.time)
	if !ok || !now.Before(expires) {
		return Identity{}, ErrNoCredentials
	}
	secret, ok := c.signed(&token, u.Password.Salt, now)
	if !ok {
		return Identity{}, ErrNoCredentials
	}
	c.verified.Set(hash, &verifiedCookie{name: u.Name, salt: u.Password.Salt, expires: expires, until: secret.Until})
	return c.identity(r, u, expires, now), nil
}

// user looks up whom a cookie names. A name that nobody has counts as no credentials.
func (c *Cookies) user(r *http.Request, name string) (*User, error) {
	u, err := c.users.User(r.Context(), name)
	if errors.Is(err, ErrUnknownUser) {
		return nil, ErrNoCredentials
	}
	return u, about(err, c.Name(), name, "")
}

// identity is u, who came with a cookie that is good until expires.
func (c *Cookies) identity(r *http.Request, u *User, expires, now time.Time) Identity {
	id := u.identity(c.Name())
	id.Expires = expires
	if left := expires.Unix() - now.Unix(); left*10 < int64(c.o.Timeout/time.Second)*9 {
		id.SetCookie = c.Issue(u, c.o.Secure(r))
	}
	return id
}

func (c *Cookies) malformed() error {
	return about(badRequest("Malformed AuthSession cookie. Please clear your cookies."), c.Name(), "", "")
}

// Issue returns a Set-Cookie header value that signs u in from now on. secure says whether the answer goes over TLS, the last
// hop before it included. It is "" when no cookie could be taken back: without a secret, for a user without a salt, and for a name that holds a colon.
func (c *Cookies) Issue(u *User, secure bool) string {
	if len(c.o.Secrets) == 0 || u.Name == "" || u.Password.Salt == "" || strings.Contains(u.Name, ":") {
		return ""
	}
	now := c.o.Now()
	var stack [256]byte
	value := append(stack[:0], u.Name...)
	value = append(value, ':')
	value = append(value, strings.ToUpper(strconv.FormatInt(now.Unix(), 16))...)
	mac := sign(c.digests[0], c.o.Secrets[0].Value, u.Password.Salt, value)
	value = append(append(value, ':'), mac...)
	return c.attributes.set(CookieName, base64.RawURLEncoding.EncodeToString(value), now.Add(c.o.Timeout), c.o.Timeout, secure)
}

// Clear returns a Set-Cookie header value that signs out. Unlike CouchDB's it makes the browser forget the cookie at once.
func (c *Cookies) Clear(secure bool) string {
	return c.attributes.clear(CookieName, secure)
}

// cookieToken is the content of a cookie.
type cookieToken struct {
	name   string
	time   []byte // Unix seconds in hex
	signed []byte // name ":" time
	mac    []byte
}

// parseCookie takes the value of a cookie apart (spec §3.1). The MAC may hold colons.
func parseCookie(text string) (t cookieToken, ok bool) {
	if len(text) > maxCookie || strings.ContainsAny(text, "\r\n") { // Go's decoder would skip line ends
		return t, false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return t, false
	}
	colon := bytes.IndexByte(decoded, ':')
	second := bytes.IndexByte(decoded[colon+1:], ':')
	if colon < 0 || second < 0 {
		return t, false
	}
	second += colon + 1
	return cookieToken{name: string(decoded[:colon]), time: decoded[colon+1 : second], signed: decoded[:second], mac: decoded[second+1:]}, true
}

// expiry is when a cookie of that time ends; ok is false when the text is no time.
func (c *Cookies) expiry(hexTime []byte) (expires time.Time, ok bool) {
	const farFuture = 1 << 40 // no overflow beyond; CouchDB accepts times to come, and so do we
	seconds, err := strconv.ParseInt(string(hexTime), 16, 64)
	if err != nil || seconds < -farFuture || seconds > farFuture {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0).Add(c.o.Timeout), true
}

// signed returns the secret under which a cookie's MAC is right, with any digest in force.
func (c *Cookies) signed(t *cookieToken, salt string, now time.Time) (by Secret, ok bool) {
	if salt == "" {
		return Secret{}, false // without a salt the secret alone would sign for every such user
	}
	for _, s := range c.o.Secrets {
		if !s.Until.IsZero() && !now.Before(s.Until) {
			continue
		}
		for _, d := range c.digests {
			if d.size == len(t.mac) && hmac.Equal(sign(d, s.Value, salt, t.signed), t.mac) {
				return s, true
			}
		}
	}
	return Secret{}, false
}

// sign computes the HMAC of message under secret ‖ salt.
func sign(d digest, secret, salt string, message []byte) []byte {
	// Key and sum share one piece of memory, for this runs at each request.
	key := append(append(make([]byte, 0, len(secret)+len(salt)+d.size), secret...), salt...)
	mac := hmac.New(d.new, key)
	mac.Write(message)
	return mac.Sum(key)[len(key):]
}
