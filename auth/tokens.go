package auth

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

// TokenPrefix begins every access token, so that it is known as one wherever it turns up.
const TokenPrefix = "parlor_"

// KeyPrefix begins the id (kid) of every device's key.
const KeyPrefix = "dev_"

// Token is an access token, or a device's key that the device signs tokens with. It holds no secret.
type Token struct {
	ID        string // the handle by which it is listed and revoked; a device key's is its kid
	User      string
	Label     string
	Scope     Scope
	Created   time.Time
	Expires   time.Time  // zero: never
	LastUsed  time.Time  // to the minute; zero: never
	LastFrom  netip.Addr // where it was last used from
	Algorithm string     // of a device key: ES256, ES512, HS256 or HS512; "" for an access token
	PublicKey string     // of a device key that has one: SPKI in PEM
}

// NewToken is what an access token or a device key is made of. User must be in the directory.
type NewToken struct {
	User    string
	Label   string // at most 256 bytes
	Scope   Scope
	Expires time.Time // zero: never

	// For a device key. Exactly one of Public and Secret is set.
	Algorithm string
	Public    string // SPKI in PEM: P-256 for ES256, P-521 for ES512
	Secret    []byte // for HS256 and HS512, at least as long as the hash
}

// Tokens keeps the access tokens and device keys of the directory's users in a State. A user who is gone or disabled has none; a new password spares them.
type Tokens struct{}

// TokenOptions say how Tokens works.
type TokenOptions struct {
	MaxPerUser int                              // 0: 200
	Client     func(r *http.Request) netip.Addr // who a request is from, for the record; nil: the connection's peer
	Budget     *Budget                          // of wrong secrets; nil: nothing is bounded
	Now        func() time.Time                 // nil: time.Now
}

// NewTokens returns a Tokens over a State. Close must be called in the end.
func NewTokens(state State, users Users, revocations *Revocations, o TokenOptions) *Tokens {
	panic("todo")
}

// Configure replaces the options.
func (t *Tokens) Configure(o TokenOptions) { panic("todo") }

// Close stops watching the State and waits for what is under way.
func (t *Tokens) Close() { panic("todo") }

// Create makes an access token and returns its text, which is kept nowhere. It fails with ErrUnknownUser, or with a *Refusal for what cannot be meant or is too much.
func (t *Tokens) Create(ctx context.Context, n NewToken) (secret string, made Token, err error) {
	panic("todo")
}

// AddKey keeps a device's key under a new kid. It fails as Create does.
func (t *Tokens) AddKey(ctx context.Context, n NewToken) (Token, error) { panic("todo") }

// Bearer is the Method "jwt" for access tokens as bearer tokens; other bearer tokens are not its own.
func (t *Tokens) Bearer() Method { panic("todo") }

// Basic is the Method "default" for access tokens in place of passwords ("app passwords"). The name must be the token's user's.
func (t *Tokens) Basic() Method { panic("todo") }

// DeviceKey returns a device's key with what verifies its signatures: an *ecdsa.PublicKey or a []byte; ErrNoRecord when there is none, it has
// expired, or its user is gone. A disabled user is the Authenticator's business.
func (t *Tokens) DeviceKey(ctx context.Context, kid string) (Token, any, error) { panic("todo") }

// Used notes that a token was used by a request, at most once a minute and without waiting.
func (t *Tokens) Used(r *http.Request, id string) { panic("todo") }

// Identity is who a request with that token is from: the user with the roles of the directory, and the token's Scope. method is the Method's name.
// It fails with ErrUnknownUser.
func (t *Tokens) Identity(ctx context.Context, token *Token, method string) (Identity, error) {
	panic("todo")
}

// Get returns one that has not expired, or ErrNoRecord.
func (t *Tokens) Get(ctx context.Context, id string) (Token, error) { panic("todo") }

// List returns at most limit of a user's, or of everyone's for "", after an ID ("" for the first).
func (t *Tokens) List(ctx context.Context, user, after string, limit int) ([]Token, error) {
	panic("todo")
}

// Revoke removes one and cuts its feeds: ErrNoRecord when there is none.
func (t *Tokens) Revoke(ctx context.Context, id string) error { panic("todo") }

// RevokeAll removes all of a user's.
func (t *Tokens) RevokeAll(ctx context.Context, user string) error { panic("todo") }

// Sweep removes those that have expired and those of users who are gone.
func (t *Tokens) Sweep(ctx context.Context) (removed int, err error) { panic("todo") }
