package oidc

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// KeySetOptions say where a key set comes from. Exactly one of Issuer, URL and JWKS is used: JWKS, else URL, else the jwks_uri of Issuer's discovery document.
type KeySetOptions struct {
	Issuer string // OpenID Connect Discovery 1.0 §4
	URL    string // jwks_uri
	JWKS   []byte // an inline set, or the content of a file: nothing is fetched

	Client *http.Client // from NewClient
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now
}

// KeySet is a provider's key set (RFC 7517 §5), fetched when it is first needed, kept as long as HTTP says, refreshed ahead of its expiry, and at most every 30 seconds when
// a token names a key that is not there. While the provider is down the old keys stay. It implements jwt.KeySource, and go-oidc's KeySet with VerifySignature.
type KeySet struct{}

// ClientOptions say to where requests may go out.
type ClientOptions struct {
	Insecure     bool          // http too
	AllowPrivate bool          // loopback, private and link-local addresses too
	Timeout      time.Duration // of a whole request; 0: 10 seconds
}

// NewClient returns a client for requests to providers: https alone, no private addresses (checked after the name is resolved), no redirects to other hosts,
// bounded time and size.
func NewClient(o ClientOptions) *http.Client { panic("todo") }

// NewKeySet returns a KeySet that has fetched nothing yet. It fails for a JWKS without a usable key and for a URL that may not be fetched.
func NewKeySet(o KeySetOptions) (*KeySet, error) { panic("todo") }

// Close ends what is being fetched, and waits for it.
func (k *KeySet) Close() { panic("todo") }

// Candidates implements jwt.KeySource.
func (k *KeySet) Candidates(ctx context.Context, alg, kid string) ([]any, error) { panic("todo") }

// VerifySignature implements go-oidc's KeySet: it returns the payload of a signed token.
func (k *KeySet) VerifySignature(ctx context.Context, token string) ([]byte, error) { panic("todo") }

// Metadata is a provider's discovery document, as far as Parlor uses it.
type Metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	Scopes                []string `json:"scopes_supported"`
	ResponseIss           bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
}

// Metadata returns the discovery document of Issuer, cached and refreshed as the keys are. It fails without Issuer.
func (k *KeySet) Metadata(ctx context.Context) (*Metadata, error) { panic("todo") }
