package oidc

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/parlordb/parlor/auth"
)

// ProviderOptions say how users log in at a provider.
type ProviderOptions struct {
	Name         string // the section's: [oidc:NAME]
	Label        string // for a login page; "": Name
	Order        int    // on a login page
	Issuer       *Issuer
	Keys         *KeySet // with Issuer set: its metadata names the endpoints
	ClientID     string
	ClientSecret string
	PrivateKey   string   // PEM, for private_key_jwt in place of ClientSecret
	Scopes       []string // nil: openid email
	CallbackURL  string   // absolute; "": the request's public origin and /_oidc/NAME/callback
	ReturnTo     []string // exact origins and custom schemes ("myapp:") of apps that live elsewhere
	NoSession    bool     // disable_session
	Client       *http.Client
	Now          func() time.Time
}

// Provider is the login flow at one OpenID provider. It is safe for concurrent use.
type Provider struct{}

// NewProvider fails where options cannot be meant. It fetches nothing.
func NewProvider(o ProviderOptions) (*Provider, error) { panic("todo") }

// Name, Label and Order are the options'.
func (p *Provider) Name() string  { panic("todo") }
func (p *Provider) Label() string { panic("todo") }
func (p *Provider) Order() int    { panic("todo") }

// Start is the beginning of a login.
type Start struct {
	Callback  string // where the provider sends the browser back to: an absolute URL of this server, unless CallbackURL says so
	Next      string // a path on this server to go to afterwards; "" for none
	ReturnTo  string // or an app's URL, whose origin or scheme is in ReturnTo
	Challenge string // the app's code_challenge (S256), required with ReturnTo: who holds its verifier may trade the one-time code
	Offline   bool   // ask for a refresh token
	Secure    bool   // the cookie's attribute
}

// Login returns where to send the browser, and the Set-Cookie header that binds the answer to this browser. It fails with an *auth.Refusal.
func (p *Provider) Login(ctx context.Context, s Start) (redirect, cookie string, err error) {
	panic("todo")
}

// Outcome is a login that succeeded.
type Outcome struct {
	Who          auth.Identity // Method "oidc"
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

// Callback ends a login: query is what the provider sent the browser with, callback the same URL as in Start, cookies the request's. A state serves once. It fails with an *auth.Refusal.
func (p *Provider) Callback(ctx context.Context, query url.Values, callback string, cookies []*http.Cookie) (*Outcome, error) {
	panic("todo")
}

// Refresh trades a refresh token. Outcome.RefreshToken is the new one, or the old one when the provider did not rotate it. It fails with an *auth.Refusal.
func (p *Provider) Refresh(ctx context.Context, refreshToken string) (*Outcome, error) {
	panic("todo")
}

// LogoutURL is where to send a browser so that the provider forgets its session too (RP-Initiated Logout 1.0), "" when the provider has no such place. back is
// an absolute URL to come back to.
func (p *Provider) LogoutURL(ctx context.Context, back string) (string, error) { panic("todo") }

// LoggedOut is whom a provider's back-channel logout names: a session, a subject, or both.
type LoggedOut struct{ Subject, SID string }

// BackchannelLogout checks a logout token (Back-Channel Logout 1.0 §2.6); its jti serves once. It fails with an *auth.Refusal, 400.
func (p *Provider) BackchannelLogout(ctx context.Context, logoutToken string) (LoggedOut, error) {
	panic("todo")
}

// SessionAllowed reports whether a login ends in a session: disable_session is not set.
func (p *Provider) SessionAllowed() bool { panic("todo") }
