package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
)

// maxJWT bounds the tokens of a provider that are looked at, in bytes.
const maxJWT = 32 << 10

// signatures are the algorithms that an ID token or logout token may be signed with: those with a public key.
var signatures = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// algorithms are those that a provider and this package have in common.
func algorithms(meta *Metadata) []string {
	if len(meta.Algorithms) == 0 {
		return []string{"RS256"} // which every provider has (OpenID Connect Core §15.1)
	}
	return slices.DeleteFunc(slices.Clone(signatures), func(alg string) bool { return !slices.Contains(meta.Algorithms, alg) })
}

// errToken is any fault of a token itself. Its text is for the operator.
type errToken string

func (e errToken) Error() string { return string(e) }

// header reads the JOSE header of a compact JWS whose algorithm may be used, and has the keys for it fetched where they are not there. It fails with an errToken, or with
// that of the key set: the token cannot be judged now.
func (p *Provider) header(ctx context.Context, meta *Metadata, raw string) (jose.Header, error) {
	if len(raw) > maxJWT {
		return jose.Header{}, errToken("longer than 32 kB")
	}
	var allowed []jose.SignatureAlgorithm
	for _, alg := range algorithms(meta) {
		allowed = append(allowed, jose.SignatureAlgorithm(alg))
	}
	jws, err := jose.ParseSignedCompact(raw, allowed)
	if err != nil {
		return jose.Header{}, errToken(err.Error())
	}
	header := jws.Signatures[0].Header
	if _, err := p.o.Keys.Candidates(ctx, header.Algorithm, header.KeyID); err != nil {
		return jose.Header{}, err
	}
	return header, nil
}

// leeway is how far the provider's clock may be from ours.
func (p *Provider) leeway() time.Duration { return p.o.Issuer.o.Leeway }

// verifier checks signatures with our key set, iss and aud, and, unless it is told to leave that to another, exp with the leeway.
func (p *Provider) verifier(meta *Metadata, skipExpiry bool) *gooidc.IDTokenVerifier {
	return gooidc.NewVerifier(meta.Issuer, p.o.Keys, &gooidc.Config{
		ClientID: p.o.ClientID, SupportedSigningAlgs: algorithms(meta), SkipExpiryCheck: skipExpiry,
		Now: func() time.Time { return p.o.Now().Add(-p.leeway()) },
	})
}

// claims are those that this package looks at itself.
type claims struct {
	Subject string         `json:"sub"`
	Nonce   *string        `json:"nonce"`
	Party   *string        `json:"azp"`
	SID     string         `json:"sid"`
	ID      string         `json:"jti"`
	Events  jsontext.Value `json:"events"`
}

// registered are the claims whose names must not be there in another spelling: encoding/json, with which go-oidc reads, takes "AUD" for "aud".
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "nonce", "azp", "at_hash", "sid", "jti", "events"}

// readClaims reads a payload, which must be one JSON object without duplicate members. It fails with an errToken.
func readClaims(payload jsontext.Value) (*claims, error) {
	var members map[string]jsontext.Value
	var c claims
	if err := errors.Join(json.Unmarshal(payload, &members), json.Unmarshal(payload, &c)); err != nil || members == nil {
		return nil, errToken("claims that cannot be read")
	}
	for name := range members {
		for _, known := range registered {
			if name != known && strings.EqualFold(name, known) {
				return nil, errToken(fmt.Sprintf("a claim named %q", name))
			}
		}
	}
	return &c, nil
}

// verifyIDToken checks an ID token (OpenID Connect Core §3.1.3.7) that came with an access token. nonce is nil where none was sent. It fails with a refusal.
func (p *Provider) verifyIDToken(ctx context.Context, meta *Metadata, raw, accessToken string, nonce *string) (v *jwt.Verified, sid string, err error) {
	v, sid, err = p.checkIDToken(ctx, meta, raw, accessToken, nonce)
	if fault, ok := errors.AsType[errToken](err); ok {
		return nil, "", p.explain(p.refuse(http.StatusUnauthorized, "The sign-on provider's ID token is not to be trusted."), string(fault))
	}
	if err != nil {
		return nil, "", p.away(ctx, err.Error())
	}
	return v, sid, nil
}

func (p *Provider) checkIDToken(ctx context.Context, meta *Metadata, raw, accessToken string, nonce *string) (*jwt.Verified, string, error) {
	header, err := p.header(ctx, meta, raw)
	if err != nil {
		return nil, "", err
	}
	if typ, found := header.ExtraHeaders["typ"]; found && !strings.EqualFold(fmt.Sprint(typ), "JWT") {
		return nil, "", errToken("typ is another kind of token's")
	}
	// It would take the leeway that it gives exp from the five minutes that it gives nbf, and refuse what is meant to be let in.
	token, err := p.verifier(meta, true).Verify(ctx, raw)
	if err != nil {
		return nil, "", errToken(err.Error())
	}
	// The second judge is the one of bearer tokens, so that what is required of those holds here too: exp, nbf and iat with the leeway among it.
	verified, err := p.o.Issuer.verifier.Verify(ctx, raw)
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		return nil, "", errToken(refusal.Reason)
	}
	if err != nil {
		return nil, "", err
	}
	c, err := readClaims(verified.Claims)
	if err != nil {
		return nil, "", err
	}
	switch {
	case len(c.Subject) > maxSubject || len(c.SID) > maxSubject:
		return nil, "", errToken("sub or sid is too long")
	case len(token.Audience) > 1 && c.Party == nil:
		return nil, "", errToken("several audiences and no azp")
	case c.Party != nil && *c.Party != p.o.ClientID:
		return nil, "", errToken("azp is " + *c.Party)
	case nonce != nil && (c.Nonce == nil || subtle.ConstantTimeCompare([]byte(*c.Nonce), []byte(*nonce)) != 1):
		return nil, "", errToken("nonce is missing or another login's")
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(accessToken); err != nil {
			return nil, "", errToken("at_hash is another access token's")
		}
	}
	return verified, c.SID, nil
}

// maxSubject bounds sub and sid, in bytes: sessions keep them. A sub has at most 255 (OpenID Connect Core §2).
const maxSubject = 255
