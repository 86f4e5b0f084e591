package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/parlordb/parlor/auth/oidc"
)

// loginCodes keeps logins for apps that live elsewhere, until they fetch them with a code. A code serves once, for a minute, and only for who
// made its code_challenge (RFC 7636, S256). It is kept in memory alone, as a hash. The zero loginCodes is ready for use, and safe for concurrent use.
type loginCodes struct {
	mu   sync.Mutex
	held map[[sha256.Size]byte]heldLogin
}

// heldLogin is a login that waits to be fetched.
type heldLogin struct {
	provider *oidc.Provider
	outcome  *oidc.Outcome
	expires  time.Time
}

const (
	codeLifetime    = time.Minute
	maxCodes        = 1000
	maxCodesPerUser = 10
)

var errBadCode = badRequest("The code is wrong, has been used, or has expired.")

// add keeps a login and returns its code. A user's oldest login gives way to a new one when he has too many.
func (c *loginCodes) add(provider *oidc.Provider, out *oidc.Outcome, now time.Time) (code string, err error) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	code = base64.RawURLEncoding.EncodeToString(secret[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.held, func(_ [sha256.Size]byte, h heldLogin) bool { return !now.Before(h.expires) })
	own, oldest := 0, [sha256.Size]byte{}
	for hash, h := range c.held {
		if h.outcome.Who.Name != out.Who.Name {
			continue
		}
		if own++; own == 1 || h.expires.Before(c.held[oldest].expires) {
			oldest = hash
		}
	}
	if own >= maxCodesPerUser {
		delete(c.held, oldest)
	}
	if len(c.held) >= maxCodes {
		return "", &Error{Status: http.StatusServiceUnavailable, Kind: "service_unavailable", Reason: "Too many people are logging in; try again."}
	}
	if c.held == nil {
		c.held = map[[sha256.Size]byte]heldLogin{}
	}
	c.held[sha256.Sum256([]byte(code))] = heldLogin{provider, out, now.Add(codeLifetime)}
	return code, nil
}

// take returns the login of a code, which is used up, be the verifier right or not: errBadCode.
func (c *loginCodes) take(code, verifier string, now time.Time) (heldLogin, error) {
	hash := sha256.Sum256([]byte(code))
	c.mu.Lock()
	h, ok := c.held[hash]
	delete(c.held, hash)
	c.mu.Unlock()
	challenge := sha256.Sum256([]byte(verifier))
	proved := base64.RawURLEncoding.EncodeToString(challenge[:])
	if !ok || !now.Before(h.expires) || h.outcome.Challenge == "" || subtle.ConstantTimeCompare([]byte(proved), []byte(h.outcome.Challenge)) != 1 {
		return heldLogin{}, errBadCode
	}
	return h, nil
}

// drop forgets the logins for which gone is true.
func (c *loginCodes) drop(gone func(provider *oidc.Provider, out *oidc.Outcome) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.held, func(_ [sha256.Size]byte, h heldLogin) bool { return gone(h.provider, h.outcome) })
}

// dropOf forgets the logins of a user.
func (c *loginCodes) dropOf(user string) {
	c.drop(func(_ *oidc.Provider, out *oidc.Outcome) bool { return out.Who.Name == user })
}
