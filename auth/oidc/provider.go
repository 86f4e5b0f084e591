package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/parlordb/parlor/auth"
)

// ProviderOptions say how users log in at a provider.
type ProviderOptions struct {
	Name         string  // the section's: [oidc:NAME]
	Label        string  // for a login page; "": Name
	Order        int     // on a login page
	Issuer       *Issuer // says who somebody is; with the ClientID in its Audience. Its Leeway, Algorithms and Required hold for ID tokens
	Keys         *KeySet // with Issuer set: its metadata names the endpoints
	ClientID     string
	ClientSecret string       // sent as the metadata wants it: in the Authorization header, or in the body
	PrivateKey   string       // PEM, for private_key_jwt in place of ClientSecret: RSA, P-256 or Ed25519. With neither the client is a public one
	Scopes       []string     // nil: openid email
	CallbackURL  string       // absolute; "": the request's public origin and /_oidc/NAME/callback
	ReturnTo     []string     // exact origins and custom schemes ("myapp:") of apps that live elsewhere
	NoSession    bool         // disable_session
	Client       *http.Client // nil: NewClient's
	Logins       *Logins      // what is under way, for Providers that replace one another; nil: its own
	Now          func() time.Time
}

// Provider is the login flow at one OpenID provider: the authorization code flow (OpenID Connect Core §3.1) with PKCE, state and nonce. It is safe for concurrent use.
//
// A login under way is kept by the browser, in a cookie that only this server can read, so that a stranger who starts logins uses no memory here. Requests to the provider
// are bounded in number, time and size.
type Provider struct {
	o          ProviderOptions
	assertions *assertions   // nil: there is a secret, or nothing
	asking     chan struct{} // a place for each request to the token endpoint that is under way
}

// maxAsking bounds the requests to a token endpoint at once. More wait for their turn.
const maxAsking = 16

// providerName is what can stand in a path, in a cookie's name and in a section's.
var providerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// NewProvider fails where options cannot be meant. It fetches nothing.
func NewProvider(o ProviderOptions) (*Provider, error) {
	switch {
	case !providerName.MatchString(o.Name):
		return nil, fmt.Errorf("provider name %.70q: letters, digits, '_', '.' and '-' alone, at most 64", o.Name)
	case o.Issuer == nil || o.Keys == nil:
		return nil, errors.New("a provider needs an Issuer and its Keys")
	case o.ClientID == "":
		return nil, errors.New("client_id is empty")
	case o.ClientSecret != "" && o.PrivateKey != "":
		return nil, errors.New("client_secret and private_key_jwt exclude each other")
	case !o.Issuer.meant([]string{o.ClientID}):
		return nil, fmt.Errorf("the issuer's audience does not hold the client_id %.200q: every ID token would be refused", o.ClientID)
	}
	if o.CallbackURL != "" && !isCallback(o.CallbackURL) {
		return nil, fmt.Errorf("callback_url %.200q is no absolute http or https URL without a fragment", o.CallbackURL)
	}
	for _, place := range o.ReturnTo {
		if err := checkReturnPlace(place); err != nil {
			return nil, err
		}
	}
	if o.Scopes == nil {
		o.Scopes = []string{"openid", "email"}
	}
	if !slices.Contains(o.Scopes, "openid") {
		return nil, errors.New("scope must hold openid: without it there is no ID token")
	}
	if o.Label == "" {
		o.Label = o.Name
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logins == nil {
		o.Logins = NewLogins()
	}
	if o.Client == nil {
		o.Client = NewClient(ClientOptions{})
	}
	// A token endpoint that redirects would have us give the client's secret and a code to somebody else.
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	p := &Provider{o: o, asking: make(chan struct{}, maxAsking)}
	if o.PrivateKey != "" {
		var err error
		if p.assertions, err = newAssertions(o.PrivateKey); err != nil {
			return nil, fmt.Errorf("private_key_jwt: %w", err)
		}
	}
	return p, nil
}

// Name is the options'.
func (p *Provider) Name() string { return p.o.Name }

// Label is the options', or the Name.
func (p *Provider) Label() string { return p.o.Label }

// Order is the options'.
func (p *Provider) Order() int { return p.o.Order }

// CallbackURL is the options', "" where each Start has its own.
func (p *Provider) CallbackURL() string { return p.o.CallbackURL }

// SessionAllowed reports whether a login ends in a session, and a token may be traded for one: disable_session is not set.
func (p *Provider) SessionAllowed() bool { return !p.o.NoSession }

// Outcome is a login that succeeded.
type Outcome struct {
	Who          auth.Identity // Method "oidc"
	Issuer       string        // iss
	Subject, SID string
	IDToken      string
	AccessToken  string
	RefreshToken string // "" when the provider gave none
	TokenType    string
	ExpiresIn    time.Duration // of the access token; 0: not said

	Next      string // as in Start
	ReturnTo  string
	Challenge string
	SetCookie string // forgets the cookie of Login
}

// metadata fails with a refusal that says that the provider is away.
func (p *Provider) metadata(ctx context.Context) (*Metadata, error) {
	meta, err := p.o.Keys.Metadata(ctx)
	if err != nil {
		return nil, p.away(ctx, err.Error())
	}
	return meta, nil
}

// config is how a provider is asked, without what differs between one request and the next.
func (p *Provider) config(meta *Metadata) *oauth2.Config {
	c := &oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret, Scopes: p.o.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: meta.AuthorizationEndpoint, TokenURL: meta.TokenEndpoint, AuthStyle: oauth2.AuthStyleInHeader},
	}
	// OpenID Connect Discovery §3: without the member, the header is what is taken.
	inBody := !slices.Contains(meta.TokenAuthMethods, "client_secret_basic") && slices.Contains(meta.TokenAuthMethods, "client_secret_post")
	if p.o.ClientSecret == "" || inBody {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return c
}

// safeEndpoint reports whether an endpoint of the metadata may be used: https, unless the whole provider is without.
func safeEndpoint(meta *Metadata, endpoint string) bool {
	if endpoint == "" || strings.ContainsAny(endpoint, "# \\") {
		return false
	}
	return strings.HasPrefix(endpoint, "https://") || strings.HasPrefix(endpoint, "http://") && strings.HasPrefix(meta.Issuer, "http://")
}
