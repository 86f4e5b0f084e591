package authtest

import (
	"crypto"
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// The paths of a Provider.
const (
	DiscoveryPath  = "/.well-known/openid-configuration"
	KeysPath       = "/keys"
	AuthorizePath  = "/authorize"
	TokenPath      = "/token"
	EndSessionPath = "/end_session"
)

// ProviderOptions say how a Provider works. The zero value has one client, "client" with the secret "secret", and signs with ES256.
type ProviderOptions struct {
	TLS    bool   // with a certificate that Provider.Client trusts
	Issuer string // "": the URL. Two Providers may have one issuer

	Algorithm    string           // of the first key, as in NewSigner; "": ES256
	ClientID     string           // "": client
	ClientSecret string           // "": secret
	ClientAuth   string           // the one way that the token endpoint takes: client_secret_basic (""), client_secret_post, private_key_jwt or none
	ClientKey    crypto.PublicKey // what private_key_jwt is checked with
	RedirectURIs []string         // none: every one

	KeepRefreshTokens bool             // a refresh token serves more than once, and is not replaced
	Lifetime          time.Duration    // of ID and access tokens; 0: an hour
	Now               func() time.Time // nil: time.Now
}

// Misbehaviour is what a Provider does otherwise than it should. Each function may change what it is given before it goes out; nil ones change nothing. They are
// called from several goroutines, one at a time.
type Misbehaviour struct {
	Metadata func(document map[string]any)           // the discovery document
	Keys     func(keys []any) []any                  // the members of the key set, each as it goes into JSON
	Redirect func(query url.Values)                  // what the browser is sent back with: code, state, iss; or error
	IDToken  func(header, claims map[string]any)     // before it is signed
	Answer   func(status *int, body *map[string]any) // of the token endpoint
}

// Request is one that a Provider has been sent.
type Request struct {
	Method string
	Header http.Header
	Form   url.Values // query and body
}

// Provider is an OpenID provider that signs in one configured user at once, without asking: discovery, keys, the code flow with PKCE, refresh tokens, and logout. It
// is strict with its client (codes and refresh tokens serve once, redirect_uri and code_verifier must fit), and it misbehaves on demand:
//
//	p := authtest.NewProvider(t, authtest.ProviderOptions{})
//	p.SetUser(map[string]any{"sub": "248289761001", "email": "anna@example.com"})
//	p.Misbehave(authtest.Misbehaviour{IDToken: func(_, claims map[string]any) { claims["nonce"] = "another" }})
//	p.Break(authtest.KeysPath, authtest.Garbage(50<<20))
//	callback := p.SignIn(t, redirect)   // what the browser would be sent back with
//
// It is safe for concurrent use.
type Provider struct {
	URL string // https://127.0.0.1:port, without a slash

	o       ProviderOptions
	server  *httptest.Server
	closing chan struct{} // closed when the provider ends

	mu        sync.Mutex
	user      map[string]any // claims; nil: nobody is signed in
	signer    *Signer        // signs ID tokens
	published []*Signer
	wrong     Misbehaviour
	broken    map[string]http.Handler      // by path, "" for all
	headers   map[string]map[string]string // by path
	requests  map[string]int
	last      map[string]Request
	codes     map[string]*grant
	refresh   map[string]*grant
	jtis      map[string]bool // of client assertions
	serial    int
}

// grant is what a code or a refresh token stands for.
type grant struct {
	redirectURI string
	challenge   string
	nonce       string
	sid         string
	user        map[string]any
	offline     bool
	expires     time.Time
}

// NewProvider starts a Provider that nobody is signed in at. It ends with the test.
func NewProvider(t testing.TB, o ProviderOptions) *Provider {
	t.Helper()
	for _, field := range []struct {
		option  *string
		usually string
	}{
		{&o.Algorithm, "ES256"}, {&o.ClientID, "client"}, {&o.ClientSecret, "secret"}, {&o.ClientAuth, "client_secret_basic"},
	} {
		if *field.option == "" {
			*field.option = field.usually
		}
	}
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Provider{
		o: o, closing: make(chan struct{}),
		broken: make(map[string]http.Handler), headers: make(map[string]map[string]string),
		requests: make(map[string]int), last: make(map[string]Request),
		codes: make(map[string]*grant), refresh: make(map[string]*grant), jtis: make(map[string]bool),
	}
	p.Rotate(t, o.Algorithm)
	if o.TLS {
		p.server = httptest.NewTLSServer(p)
	} else {
		p.server = httptest.NewServer(p)
	}
	p.URL = p.server.URL
	t.Cleanup(func() {
		close(p.closing) // those that hang are let go, for Close waits for them
		p.server.Close()
	})
	return p
}

// Client returns a client that trusts the Provider's certificate and follows redirects anywhere.
func (p *Provider) Client() *http.Client { return p.server.Client() }

// Issuer is the iss of its tokens.
func (p *Provider) Issuer() string {
	if p.o.Issuer != "" {
		return p.o.Issuer
	}
	return p.URL
}

// SetUser signs a user in, or nobody for nil: their claims, sub among them, are in each ID token from the next login on.
func (p *Provider) SetUser(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.user = maps.Clone(claims)
}

// Misbehave replaces what the Provider does wrong; the zero Misbehaviour ends it.
func (p *Provider) Misbehave(wrong Misbehaviour) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = wrong
}

// Break has requests to a path ("" for every path) answered by h, such as Garbage or Down; nil mends it. They are counted all the same.
func (p *Provider) Break(path string, h http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h == nil {
		delete(p.broken, path)
		return
	}
	p.broken[path] = h
}

// SetHeader adds a header to the answers of a path, such as Cache-Control to KeysPath; value "" takes it away.
func (p *Provider) SetHeader(path, name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.headers[path] == nil {
		p.headers[path] = make(map[string]string)
	}
	p.headers[path][name] = value
}

// Requests is how many requests a path has had, broken or not.
func (p *Provider) Requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// Last is the last request that a path has had and was not broken for.
func (p *Provider) Last(path string) Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[path]
}

// Rotate publishes a new key and signs with it from now on. Older keys stay published until Remove.
func (p *Provider) Rotate(t testing.TB, alg string) *Signer {
	t.Helper()
	p.mu.Lock()
	p.serial++
	kid := "key-" + strconv.Itoa(p.serial)
	p.mu.Unlock()
	s := NewSigner(t, alg, kid)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published = append(p.published, s)
	p.signer = s
	return s
}

// Remove takes a key out of the key set. Tokens may still be signed with it.
func (p *Provider) Remove(kid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published = slices.DeleteFunc(slices.Clone(p.published), func(s *Signer) bool { return s.Kid == kid })
}

// SignWith signs with a key from now on that need not be published.
func (p *Provider) SignWith(s *Signer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signer = s
}

// Signer is what signs now.
func (p *Provider) Signer() *Signer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signer
}

// IDToken mints an ID token for the client and the user who is signed in, as one that came out of a login without a nonce. edit may change it, or be nil.
func (p *Provider) IDToken(t testing.TB, edit func(header, claims map[string]any)) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mint(t, p.claims(&grant{user: p.user}), nil, edit)
}

// LogoutToken mints a logout token (Back-Channel Logout 1.0 §2.4) for the client and for one session, or all of a subject's when sid is "". edit may change it, or be nil.
func (p *Provider) LogoutToken(t testing.TB, subject, sid string, edit func(header, claims map[string]any)) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Now()
	claims := map[string]any{
		"iss": p.Issuer(), "aud": p.o.ClientID, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	for name, value := range map[string]string{"sub": subject, "sid": sid} {
		if value != "" {
			claims[name] = value
		}
	}
	return p.mint(t, claims, map[string]any{"typ": "logout+jwt"}, edit)
}

func (p *Provider) mint(t testing.TB, claims, header map[string]any, edit func(header, claims map[string]any)) string {
	t.Helper()
	if header == nil {
		header = make(map[string]any)
	}
	if edit != nil {
		edit(header, claims)
	}
	return p.signer.Token(t, header, claims)
}

// SignIn does what a browser does with the URL that a login sends it to, and returns the URL that the Provider sends it back to, without going there.
func (p *Provider) SignIn(t testing.TB, authorize string) *url.URL {
	t.Helper()
	client := *p.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Get(authorize)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	back, err := response.Location()
	if err != nil {
		t.Fatalf("the authorization endpoint answers %s and sends nobody back: %v", response.Status, err)
	}
	return back
}
