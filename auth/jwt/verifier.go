package jwt

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// KeySource finds the keys that may have signed a token. *Keys is one (its entries' names are family and kid); auth/oidc has one that fetches.
// It is safe for concurrent use.
type KeySource interface {
	// Candidates returns the public keys (*rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey) that are fit for alg and have that kid; all that are fit
	// for alg when kid is "". No key is not an error. An error is the source's own: the token cannot be judged now.
	Candidates(ctx context.Context, alg, kid string) ([]any, error)
}

// VerifierOptions say which tokens a Verifier takes: those of one issuer.
type VerifierOptions struct {
	Keys       KeySource
	Issuer     string           // the only iss, compared exactly
	Audience   []string         // aud must hold one of them; none: no token is taken
	Algorithms []string         // nil: all but HS; HS is never taken from a KeySource
	Required   Claims           // besides iss, aud, sub and exp, which are always required
	Leeway     time.Duration    // for exp and nbf
	Now        func() time.Time // nil: time.Now
}

// Verified is a token whose signature, issuer, audience and times are right.
type Verified struct {
	Subject   string         // sub, never empty
	KeyID     string         // the header's kid, "" for none
	Algorithm string         // the header's alg
	Expires   time.Time      // exp
	Claims    jsontext.Value // the payload, one JSON object without duplicate members
}

// Verifier checks the tokens of one issuer, as strictly as Bearer does. It remembers what verified as Bearer does. It is immutable and safe for concurrent use.
type Verifier struct{}

// NewVerifier fails where options cannot be meant: no keys, no issuer, no audience, an unknown algorithm.
func NewVerifier(o VerifierOptions) (*Verifier, error) { panic("todo") }

// Verify checks a token. It fails with an *auth.Refusal (401, with RFC 6750's challenge), or with the KeySource's error.
func (v *Verifier) Verify(ctx context.Context, token string) (*Verified, error) { panic("todo") }

// Peek reads what a token says of its issuer, audience and kid. Nothing is verified: it is for choosing who verifies. ok is false for what is no JWS with a JSON payload.
func Peek(token string) (issuer string, audience []string, kid string, ok bool) { panic("todo") }
