package oidc

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/crypto/chacha20poly1305"
)

// pendingLife is how long a login may take.
const pendingLife = 10 * time.Minute

// slots is how many logins one browser may have under way at one provider: tabs, or tries.
const slots = 4

// maxSealed bounds the cookie of a login; browsers keep no longer ones.
const maxSealed = 4096

// Logins is what Providers must remember of logins that are under way, and of those that ended: the key that their cookies are sealed with, and what serves only once.
// It is made anew with each start of the program. When Providers are made anew, because settings have changed, they are given the same Logins, so that
// nobody's login is lost and nothing serves again. Several Providers may share one. It is safe for concurrent use, and bounded.
type Logins struct {
	seal    cipher.AEAD
	states  singleUse
	logouts singleUse
}

// NewLogins returns a Logins with a random key.
func NewLogins() *Logins {
	key := make([]byte, chacha20poly1305.KeySize)
	rand.Read(key)
	seal, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic(err) // the key has the size that it must have
	}
	return &Logins{seal: seal}
}

// pending is a login under way, as its cookie holds it.
type pending struct {
	State     string `json:"s"`
	Nonce     string `json:"n"`
	Verifier  string `json:"v"` // PKCE's
	Callback  string `json:"c"`
	Next      string `json:"p,omitzero"`
	ReturnTo  string `json:"r,omitzero"`
	Challenge string `json:"h,omitzero"`
	Started   int64  `json:"t"` // Unix milliseconds
}

func (l *pending) started() time.Time { return time.UnixMilli(l.Started) }

// cookieName is the name of a slot. A browser takes names that begin with __Secure- only over TLS (RFC 6265bis §4.1.3.1), so that no
// one on the way can put a login of theirs into it.
func (p *Provider) cookieName(slot int, secure bool) string {
	name := "parlor_oidc_" + p.o.Name + "_" + strconv.Itoa(slot)
	if secure {
		return "__Secure-" + name
	}
	return name
}

// cookie is one that only the callback's neighbourhood sees: the login that makes it and the callback that takes it back.
func cookie(name, value, callback string, maxAge time.Duration) string {
	_, rest, _ := strings.Cut(callback, "://")
	at := strings.IndexAny(rest, "/?")
	dir := "/"
	if at >= 0 && rest[at] == '/' {
		rest, _, _ = strings.Cut(rest[at:], "?")
		dir = path.Dir(rest)
	}
	if dir != "/" {
		dir += "/"
	}
	c := http.Cookie{
		Name: name, Value: value, Path: dir, MaxAge: int(maxAge / time.Second), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(name, "__Secure-"),
	}
	if maxAge == 0 {
		c.MaxAge = -1
	}
	return c.String()
}

// bound is what a sealed login cannot be taken out of: the provider, the client and the cookie.
func (p *Provider) bound(name string) []byte {
	return []byte(strconv.Quote(p.o.Name) + strconv.Quote(p.o.ClientID) + strconv.Quote(name))
}

// sealLogin writes a login for the cookie of that name.
func (p *Provider) sealLogin(l *pending, name string) (string, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, p.o.Logins.seal.NonceSize(), p.o.Logins.seal.NonceSize()+len(text)+p.o.Logins.seal.Overhead())
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(p.o.Logins.seal.Seal(nonce, nonce, text, p.bound(name))), nil
}

// openLogin reads what sealLogin wrote.
func (p *Provider) openLogin(c *http.Cookie) (l pending, ok bool) {
	if len(c.Value) > maxSealed {
		return pending{}, false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(c.Value)
	size := p.o.Logins.seal.NonceSize()
	if err != nil || len(sealed) < size {
		return pending{}, false
	}
	text, err := p.o.Logins.seal.Open(nil, sealed[:size], sealed[size:], p.bound(c.Name))
	if err != nil || json.Unmarshal(text, &l) != nil {
		return pending{}, false
	}
	return l, true
}

// each calls f with the logins that a browser has under way here, until it returns false.
func (p *Provider) each(cookies []*http.Cookie, f func(name string, l *pending) (more bool)) {
	tries := 4 * slots // a browser that is full of cookies of these names was filled by someone
	for _, c := range cookies {
		if !p.isCookie(c.Name) {
			continue
		}
		if tries--; tries < 0 {
			return
		}
		if l, ok := p.openLogin(c); ok && !f(c.Name, &l) {
			return
		}
	}
}

func (p *Provider) isCookie(name string) bool {
	for slot := range slots {
		if name == p.cookieName(slot, true) || name == p.cookieName(slot, false) {
			return true
		}
	}
	return false
}

// freeSlot is the name of the cookie for a new login: one that the browser does not have, or the one of its oldest login.
func (p *Provider) freeSlot(cookies []*http.Cookie, secure bool) string {
	started := make(map[string]int64) // by name
	p.each(cookies, func(name string, l *pending) bool {
		started[name] = max(started[name], l.Started)
		return true
	})
	free := p.cookieName(0, secure)
	for slot := range slots {
		if name := p.cookieName(slot, secure); started[name] < started[free] {
			free = name
		}
	}
	return free
}

// Pending reports whether a browser has a login under way at the provider. One that keeps no cookies never has.
func (p *Provider) Pending(cookies []*http.Cookie) bool {
	found := false
	p.each(cookies, func(string, *pending) bool {
		found = true
		return false
	})
	return found
}

// find returns the login whose state a callback names, and its cookie's name.
func (p *Provider) find(cookies []*http.Cookie, state string) (found *pending, name string) {
	p.each(cookies, func(held string, l *pending) bool {
		if subtle.ConstantTimeCompare([]byte(l.State), []byte(state)) != 1 {
			return true
		}
		found, name = l, held
		return false
	})
	return found, name
}
