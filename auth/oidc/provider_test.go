package oidc

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

const (
	callbackURL  = "https://db.example.com/_oidc/corp/callback"
	clientSecret = "s3cr=t% of the client"
)

// at is a Provider, the provider that it speaks to, and one browser.
type at struct {
	*Provider
	idp     *authtest.Provider
	clock   *authtest.Clock
	users   *Memory
	browser []*http.Cookie
}

// newAt starts a provider at which anna is signed in, who needs no entry in the directory.
func newAt(t *testing.T, idp authtest.ProviderOptions, change func(o *ProviderOptions)) *at {
	t.Helper()
	clock := authtest.NewClock()
	idp.Now, idp.ClientSecret = clock.Now, clientSecret
	a := &at{idp: authtest.NewProvider(t, idp), clock: clock, users: new(Memory)}
	a.idp.SetUser(map[string]any{"sub": "anna", "email": "anna@example.com"})
	a.Provider = a.provider(t, change)
	return a
}

// provider makes a Provider as a start of the program does.
func (a *at) provider(t *testing.T, change func(o *ProviderOptions)) *Provider {
	t.Helper()
	client := NewClient(ClientOptions{Insecure: true, AllowPrivate: true})
	keys, err := NewKeySet(KeySetOptions{Issuer: a.idp.Issuer(), Client: client, Now: a.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	issuer, err := NewIssuer(IssuerOptions{
		Name: "corp", Issuer: a.idp.Issuer(), Audience: []string{"client"}, Keys: keys, Directory: a.users, Now: a.clock.Now,
		Mapping: Mapping{Unknown: Allow},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := ProviderOptions{
		Name: "corp", Issuer: issuer, Keys: keys, ClientID: "client", ClientSecret: clientSecret, Client: client, Now: a.clock.Now,
		ReturnTo: []string{"https://app.example.com", "http://localhost:5173", "myapp:"},
	}
	if change != nil {
		change(&o)
	}
	p, err := NewProvider(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// begin starts a login in the browser.
func (a *at) begin(t *testing.T, s Start) (redirect string) {
	t.Helper()
	if s.Callback == "" {
		s.Callback = callbackURL
	}
	s.Secure, s.Cookies = true, a.browser
	redirect, setCookie, err := a.Login(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	a.keep(t, setCookie)
	return redirect
}

// keep does what a browser does with a Set-Cookie header.
func (a *at) keep(t *testing.T, setCookie string) {
	t.Helper()
	c, err := http.ParseSetCookie(setCookie)
	if err != nil {
		t.Fatalf("Set-Cookie %q: %v", setCookie, err)
	}
	a.browser = slices.DeleteFunc(a.browser, func(held *http.Cookie) bool { return held.Name == c.Name })
	if c.MaxAge > 0 {
		a.browser = append(a.browser, c)
	}
}

// answer is what the provider sends the browser back with.
func (a *at) answer(t *testing.T, redirect string) url.Values {
	t.Helper()
	back := a.idp.SignIn(t, redirect)
	if !strings.HasPrefix(back.String(), callbackURL+"?") {
		t.Fatalf("the provider sends the browser to %s", back)
	}
	return back.Query()
}

// end is the callback.
func (a *at) end(t *testing.T, query url.Values) (*Outcome, error) {
	t.Helper()
	return a.Callback(t.Context(), query, callbackURL, a.browser)
}

// refused checks that err is a refusal of that status, and that neither its reason nor the operator's text hold a secret.
func refused(t *testing.T, what string, err error, status int) *auth.Refusal {
	t.Helper()
	refusal, ok := errors.AsType[*auth.Refusal](err)
	if !ok {
		t.Errorf("%s: %v, want a refusal with %d", what, err, status)
		return new(auth.Refusal)
	}
	if refusal.Status != status || refusal.Kind == "" || refusal.Reason == "" {
		t.Errorf("%s: %d %q %q, want %d", what, refusal.Status, refusal.Kind, refusal.Reason, status)
	}
	if strings.Contains(err.Error(), "s3cr") || len(err.Error()) > 1200 {
		t.Errorf("%s: the error shows too much: %v", what, err)
	}
	return refusal
}

func TestLogin(t *testing.T) {
	t.Parallel()
	for name, idp := range map[string]authtest.ProviderOptions{
		"client_secret_basic": {},
		"client_secret_post":  {ClientAuth: "client_secret_post"},
		"EdDSA":               {Algorithm: "EdDSA"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAt(t, idp, nil)
			redirect := a.begin(t, Start{Next: "/_utils/#login"})
			if a.idp.Requests(authtest.TokenPath) != 0 {
				t.Error("the token endpoint was asked before anyone signed in")
			}
			out, err := a.end(t, a.answer(t, redirect))
			if err != nil {
				t.Fatal(err)
			}
			who := out.Who
			if who.Name != "corp.anna" || who.Method != "oidc" || who.Provider != "corp" || !who.Expires.Equal(a.clock.Now().Add(time.Hour)) || who.Local {
				t.Errorf("signed in as %+v", who)
			}
			if out.Subject != "anna" || out.SID == "" || out.IDToken == "" || out.AccessToken == "" || out.RefreshToken != "" || out.ExpiresIn != time.Hour {
				t.Errorf("outcome %+v", out)
			}
			if out.Next != "/_utils/#login" || out.ReturnTo != "" || out.TokenType != "Bearer" {
				t.Errorf("outcome %+v", out)
			}
			a.keep(t, out.SetCookie)
			if len(a.browser) != 0 {
				t.Errorf("the browser still has %v", a.browser)
			}
			if form := a.idp.Last(authtest.AuthorizePath).Form; form.Get("code_challenge_method") != "S256" || form.Get("scope") != "openid email" || form.Get("nonce") == "" {
				t.Errorf("authorization request %v", form)
			}
		})
	}
}

func TestLoginReturnsToAnApp(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	challenge := strings.Repeat("a", 43)
	out, err := a.end(t, a.answer(t, a.begin(t, Start{ReturnTo: "myapp:/signed-in", Challenge: challenge})))
	if err != nil {
		t.Fatal(err)
	}
	if out.ReturnTo != "myapp:/signed-in" || out.Challenge != challenge || out.Next != "" {
		t.Errorf("outcome %+v", out)
	}
}

func TestCookieOfALogin(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	for _, c := range []struct {
		callback, path string
		secure         bool
		prefix         string
	}{
		{callbackURL, "/_oidc/corp/", true, "__Secure-parlor_oidc_corp_"},
		{"http://localhost:5984/_oidc/corp/callback", "/_oidc/corp/", false, "parlor_oidc_corp_"},
		{"https://example.com/couch/_oidc/corp/callback?x=/y/z", "/couch/_oidc/corp/", true, "__Secure-parlor_oidc_corp_"},
		{"https://example.com/db/_oidc_callback", "/db/", true, "__Secure-parlor_oidc_corp_"},
		{"https://example.com/callback", "/", true, "__Secure-parlor_oidc_corp_"},
		{"https://example.com", "/", true, "__Secure-parlor_oidc_corp_"},
	} {
		_, header, err := a.Login(t.Context(), Start{Callback: c.callback, Secure: c.secure})
		if err != nil {
			t.Errorf("%s: %v", c.callback, err)
			continue
		}
		cookie, err := http.ParseSetCookie(header)
		if err != nil {
			t.Fatal(err)
		}
		if cookie.Path != c.path || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.MaxAge != 600 || cookie.Secure != c.secure ||
			!strings.HasPrefix(cookie.Name, c.prefix) {
			t.Errorf("%s: %s", c.callback, header)
		}
	}
}

// TestTabs signs in in four tabs at once; a fifth takes the place of the oldest, so that cookies do not pile up.
func TestTabs(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	var answers []url.Values
	for range slots + 1 {
		answers = append(answers, a.answer(t, a.begin(t, Start{})))
		a.clock.Advance(time.Second)
	}
	if len(a.browser) != slots {
		t.Errorf("the browser has %d cookies, want %d", len(a.browser), slots)
	}
	_, err := a.end(t, answers[0])
	refused(t, "the oldest tab", err, 400)
	for i, answer := range answers[1:] {
		out, err := a.end(t, answer)
		if err != nil {
			t.Errorf("tab %d: %v", i+1, err)
			continue
		}
		a.keep(t, out.SetCookie)
	}
	if len(a.browser) != 0 {
		t.Errorf("the browser still has %v", a.browser)
	}
}

func TestPendingLogin(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	if a.Pending(nil) || a.Pending([]*http.Cookie{{Name: "__Secure-parlor_oidc_corp_0", Value: "x"}}) {
		t.Error("a browser without a login has one")
	}
	a.begin(t, Start{})
	if !a.Pending(a.browser) {
		t.Error("a browser with a login has none")
	}
}

// TestWhatALoginPageShows are the options as they come out.
func TestWhatALoginPageShows(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	if a.Name() != "corp" || a.Label() != "corp" || a.Order() != 0 || !a.SessionAllowed() || a.CallbackURL() != "" {
		t.Errorf("usually: %q %q %d %v %q", a.Name(), a.Label(), a.Order(), a.SessionAllowed(), a.CallbackURL())
	}
	p := a.provider(t, func(o *ProviderOptions) {
		o.Label, o.Order, o.NoSession, o.CallbackURL = "Corporation", 2, true, callbackURL
	})
	if p.Label() != "Corporation" || p.Order() != 2 || p.SessionAllowed() || p.CallbackURL() != callbackURL {
		t.Errorf("as set: %q %d %v %q", p.Label(), p.Order(), p.SessionAllowed(), p.CallbackURL())
	}
}

func TestOptionsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	good := a.o
	for name, change := range map[string]func(o *ProviderOptions){
		"no name":               func(o *ProviderOptions) { o.Name = "" },
		"a name with a slash":   func(o *ProviderOptions) { o.Name = "a/b" },
		"a name with a blank":   func(o *ProviderOptions) { o.Name = "a b" },
		"no issuer":             func(o *ProviderOptions) { o.Issuer = nil },
		"no keys":               func(o *ProviderOptions) { o.Keys = nil },
		"no client":             func(o *ProviderOptions) { o.ClientID = "" },
		"another's client":      func(o *ProviderOptions) { o.ClientID = "other" },
		"two secrets":           func(o *ProviderOptions) { o.PrivateKey = "x" },
		"no private key":        func(o *ProviderOptions) { o.ClientSecret, o.PrivateKey = "", "x" },
		"scope without openid":  func(o *ProviderOptions) { o.Scopes = []string{"email"} },
		"relative callback":     func(o *ProviderOptions) { o.CallbackURL = "/_oidc/corp/callback" },
		"callback as script":    func(o *ProviderOptions) { o.CallbackURL = "javascript:alert(1)" },
		"callback, fragment":    func(o *ProviderOptions) { o.CallbackURL = "https://example.com/#x" },
		"callback, credentials": func(o *ProviderOptions) { o.CallbackURL = "https://a:b@example.com/" },
	} {
		o := good
		change(&o)
		if _, err := NewProvider(o); err == nil {
			t.Errorf("%s: a Provider was made", name)
		}
	}
	for _, place := range []string{
		"", ":", "*", "javascript:", "JavaScript:", "data:", "vbscript:", "file:", "blob:", "intent:", "http:", "https:", "https://", "https://*", "https://*.example.com",
		"https://app.example.com/", "https://app.example.com/x", "https://app.example.com?x", "https://app.example.com#x", "https://u@app.example.com",
		"https://App.example.com", "HTTPS://app.example.com", "//app.example.com", "app.example.com", "myapp", "myapp://", "myapp://x", "my app:", " https://app.example.com",
		"https://app.example.com\n", "ftp://example.com", "null", "https://ex\\ample.com",
	} {
		o := good
		o.ReturnTo = []string{place}
		if _, err := NewProvider(o); err == nil {
			t.Errorf("return_to %q was taken", place)
		}
	}
}
