package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	kidBytes  = 16 // of randomness in the id of a device's key
	kidLength = len(KeyPrefix) + 22

	maxTokenLabel     = 256
	maxTokenDatabases = 100
	maxDatabaseName   = 256
	maxPublicKey      = 4096 // bytes of PEM
	maxSharedSecret   = 1024
)

// NewToken is what an access token or a device key is made of. User must be in the directory.
type NewToken struct {
	User    string
	Label   string    // at most 256 bytes, without control characters
	Scope   Scope     // at most 100 databases, by names of at most 256 bytes
	Expires time.Time // zero: never

	// For a device key. Exactly one of Public and Secret is set.
	Algorithm string
	Public    string // SPKI in PEM: P-256 for ES256, P-521 for ES512
	Secret    []byte // for HS256 and HS512, at least as long as the hash
}

// Create makes an access token and returns its text, which is kept nowhere. It fails with ErrUnknownUser, or with a *Refusal: 400 for what cannot be
// meant, 403 when the user has MaxPerUser already.
func (t *Tokens) Create(ctx context.Context, n NewToken) (secret string, made Token, err error) {
	if n.Algorithm != "" || n.Public != "" || n.Secret != nil {
		return "", Token{}, badRequest("An access token has no key.")
	}
	secret, id := newTokenSecret()
	v := &storedToken{Token: Token{ID: id}}
	if err := t.create(ctx, &n, v); err != nil {
		return "", Token{}, err
	}
	return secret, v.Token, nil
}

// newTokenSecret returns a token's text and its id. No id begins with a hyphen: people pass them to commands, which would take them for flags.
func newTokenSecret() (secret, id string) {
	for {
		secret = TokenPrefix + newSecret()
		if id = hashKey(secret).id(); id[0] != '-' {
			return secret, id
		}
	}
}

// AddKey keeps a device's key under a new kid. It fails as Create does.
func (t *Tokens) AddKey(ctx context.Context, n NewToken) (Token, error) {
	public, err := verifyingKey(n.Algorithm, n.Public, n.Secret)
	if err != nil {
		return Token{}, err
	}
	var random [kidBytes]byte
	rand.Read(random[:])
	v := &storedToken{Token: Token{ID: KeyPrefix + base64.RawURLEncoding.EncodeToString(random[:]), Algorithm: n.Algorithm}, Secret: n.Secret}
	if public, ok := public.(*ecdsa.PublicKey); ok {
		// As it was understood, not as it was written.
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return Token{}, badRequest("The public key cannot be used.")
		}
		v.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	if err := t.create(ctx, &n, v); err != nil {
		return Token{}, err
	}
	return v.Token, nil
}

// create completes a token and stores it.
func (t *Tokens) create(ctx context.Context, n *NewToken, v *storedToken) error {
	o := t.options.Load()
	now := o.Now().UTC()
	if err := n.check(now); err != nil {
		return err
	}
	u, err := t.users.User(ctx, n.User)
	if err != nil {
		return err
	}
	v.Admin = u.Admin || slices.Contains(u.Roles, "_admin")
	v.User, v.Label, v.Created = n.User, n.Label, now.Truncate(time.Second)
	v.Scope = Scope{Write: n.Scope.Write, Databases: slices.Clone(n.Scope.Databases)}
	if !n.Expires.IsZero() {
		v.Expires = n.Expires.UTC()
	}
	t.creating.Lock()
	defer t.creating.Unlock()
	if err := t.room(ctx, o, n.User); err != nil {
		return err
	}
	kind := t.kindOf(v.ID)
	if err := kind.create(ctx, v.ID, v.User, now, v); err != nil {
		return err
	}
	// Whoever deletes a user revokes the tokens that he finds then. He may not have found this one.
	if _, err := t.users.User(ctx, n.User); err != nil {
		return errors.Join(err, ignoreNoRecord(t.revoke(ctx, v.ID, v.User)))
	}
	return nil
}

// room refuses who has as many as he may have. Those that have expired are removed for it.
func (t *Tokens) room(ctx context.Context, o *TokenOptions, user string) error {
	count := func() (n int, err error) {
		for _, kind := range []*records[storedToken]{t.access, t.keys} {
			places, err := kind.places(ctx, user)
			if err != nil {
				return 0, err
			}
			n += len(places)
		}
		return n, nil
	}
	n, err := count()
	if err != nil || n < o.MaxPerUser {
		return err
	}
	for _, kind := range []*records[storedToken]{t.access, t.keys} {
		for k, err := range kind.each(ctx, user, "") {
			if err == nil && t.expired(&k.value.Token) {
				err = ignoreNoRecord(t.revoke(ctx, k.id, user))
			}
			if err != nil {
				return err
			}
		}
	}
	if n, err = count(); err != nil {
		return err
	}
	if n >= o.MaxPerUser {
		return forbidden(fmt.Sprintf("There are %d access tokens and device keys of this user, which is as many as there may be. Revoke one first.", n))
	}
	return nil
}

// check refuses what cannot be meant.
func (n *NewToken) check(now time.Time) error {
	switch {
	case n.User == "" || !utf8.ValidString(n.User):
		return badRequest("An access token or a device key needs a user's name, in UTF-8.")
	case !plainText(n.Label, maxTokenLabel):
		return badRequest("A label must be at most 256 bytes of text without control characters.")
	case len(n.Scope.Databases) > maxTokenDatabases:
		return badRequest("At most 100 databases can be named.")
	case !n.Expires.IsZero() && !now.Before(n.Expires):
		return badRequest("The time of expiry must be in the future.")
	case n.Expires.Year() > 9999:
		return badRequest("The time of expiry must be before the year 10000.")
	}
	for _, name := range n.Scope.Databases {
		if name == "" || !plainText(name, maxDatabaseName) {
			return badRequest("A database's name must be from 1 to 256 bytes of text without control characters.")
		}
	}
	return nil
}

// verifyingKey returns what verifies a device's signatures: an *ecdsa.PublicKey or a []byte. It fails with a *Refusal, which shows nothing of a key.
func verifyingKey(algorithm, public string, secret []byte) (any, error) {
	switch algorithm {
	case "ES256":
		return ecKey(public, secret, elliptic.P256())
	case "ES512":
		return ecKey(public, secret, elliptic.P521())
	case "HS256":
		return sharedKey(public, secret, 32)
	case "HS512":
		return sharedKey(public, secret, 64)
	}
	return nil, badRequest("The algorithm must be ES256, ES512, HS256 or HS512.")
}

func ecKey(text string, secret []byte, curve elliptic.Curve) (any, error) {
	if secret != nil {
		return nil, badRequest("This algorithm takes a public key, not a secret.")
	}
	if len(text) > maxPublicKey {
		return nil, badRequest("The public key is too long.")
	}
	if strings.Contains(text, "PRIVATE KEY-----") {
		return nil, badRequest("This is a private key: keep it secret, and give its public key here.")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return nil, badRequest("The public key must be one PEM block, -----BEGIN PUBLIC KEY-----.")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := parsed.(*ecdsa.PublicKey)
	if err != nil || !ok || public.Curve != curve {
		return nil, badRequest(fmt.Sprintf("The public key must be one of the curve %s.", curve.Params().Name))
	}
	return public, nil
}

func sharedKey(public string, secret []byte, shortest int) (any, error) {
	switch {
	case public != "":
		return nil, badRequest("This algorithm takes a secret, not a public key.")
	case len(secret) < shortest || len(secret) > maxSharedSecret:
		return nil, badRequest(fmt.Sprintf("The secret must be from %d to %d bytes.", shortest, maxSharedSecret))
	}
	return secret, nil
}

// unknownToken is the one answer to a bearer token that is not there, has expired, or is of nobody, as RFC 6750 §3.1 words it.
func unknownToken() *Refusal {
	refusal := unauthorized("The access token is unknown, revoked or expired.")
	refusal.Header = http.Header{"Www-Authenticate": {`Bearer error="invalid_token", error_description="` + refusal.Reason + `"`}}
	return refusal
}
