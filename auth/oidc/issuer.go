package oidc

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
)

// IssuerOptions say which tokens an Issuer takes and who their subjects are.
type IssuerOptions struct {
	Name       string // the section's name: [jwt_issuer:NAME] or [oidc:NAME]
	Issuer     string
	Audience   []string // mandatory
	Keys       *KeySet
	Algorithms []string
	Required   jwt.Claims
	Leeway     time.Duration
	Mapping    Mapping
	Directory  Directory
	Budget     *auth.Budget                     // of tokens with wrong signatures, as in jwt.Options
	Client     func(r *http.Request) netip.Addr // as in jwt.Options
	Now        func() time.Time
}

// Issuer is the Method "jwt" for the bearer tokens of one issuer and audience. Tokens of others are not its own. It is immutable and safe for concurrent use.
type Issuer struct{}

// NewIssuer fails where options cannot be meant.
func NewIssuer(o IssuerOptions) (*Issuer, error) { panic("todo") }

// Name implements auth.Method: "jwt".
func (i *Issuer) Name() string { return "jwt" }

// Authenticate implements auth.Method.
func (i *Issuer) Authenticate(r *http.Request) (auth.Identity, error) { panic("todo") }

// Identify returns who a token that verified speaks of: Name, Roles, Granted, Provider, Expires; Credential is "issuer:NAME:kid". It links and registers as the
// Mapping says, and fails with an *auth.Refusal.
func (i *Issuer) Identify(ctx context.Context, token *jwt.Verified) (auth.Identity, error) {
	panic("todo")
}
