package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

func TestTokenEndpointFails(t *testing.T) {
	t.Parallel()
	var led atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led.Add(1) }))
	t.Cleanup(elsewhere.Close)
	a := newAt(t, authtest.ProviderOptions{}, func(o *ProviderOptions) {
		o.Client = NewClient(ClientOptions{Insecure: true, AllowPrivate: true, Timeout: 5 * time.Second})
	})
	t.Cleanup(a.o.Client.CloseIdleConnections)
	for name, c := range map[string]struct {
		h      http.Handler
		status int
	}{
		"down":                  {authtest.Down(), 503},
		"slow":                  {a.idp.Hang(), 503},
		"garbage":               {authtest.Garbage(100), 503},
		"50 MB":                 {authtest.Garbage(50 << 20), 503},
		"nothing":               {authtest.Answer(200, ``), 503},
		"an array":              {authtest.Answer(200, `[]`), 503},
		"no access token":       {authtest.Answer(200, `{"id_token":"a.b.c"}`), 503},
		"an error with 200":     {authtest.Answer(200, `{"error":"server_error"}`), 503},
		"an error":              {authtest.Answer(500, `{"password":"of the provider"}`), 503},
		"the code is not taken": {authtest.Answer(400, `{"error":"invalid_grant","error_description":"`+strings.Repeat("x", 10_000)+`"}`), 401},
		"we are not taken":      {authtest.Answer(401, `{"error":"invalid_client"}`), 503},
		"a redirect":            {authtest.RedirectTo(elsewhere.URL), 503},
		"a redirect at home":    {http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect), 503},
		"a redirect with body":  {http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect), 503},
	} {
		answer := a.answer(t, a.begin(t, Start{}))
		a.idp.Break(authtest.TokenPath, c.h)
		_, err := a.end(t, answer)
		refusal := refused(t, name, err, c.status)
		if strings.Contains(err.Error(), "of the provider") || strings.Contains(err.Error(), answer.Get("code")) || len(refusal.Reason) > 100 {
			t.Errorf("%s: told too much: %v", name, err)
		}
	}
	if led.Load() != 0 || a.idp.Requests("/elsewhere") != 0 {
		t.Error("a redirect of the token endpoint was followed")
	}
	a.idp.Break(authtest.TokenPath, nil)
	if _, err := a.end(t, a.answer(t, a.begin(t, Start{}))); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestProviderIsAwayAtLogin(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.Handler{
		"down": authtest.Down(), "garbage": authtest.Garbage(100), "50 MB": authtest.Garbage(50 << 20), "another's": authtest.Answer(200, `{"issuer":"https://evil.example"}`),
	} {
		a := newAt(t, authtest.ProviderOptions{}, nil)
		a.idp.Break(authtest.DiscoveryPath, h)
		_, _, err := a.Login(t.Context(), Start{Callback: callbackURL})
		if refused(t, name, err, 503).Header.Get("Retry-After") == "" {
			t.Errorf("%s: the client is not told when to come again", name)
		}
		a.idp.Break(authtest.DiscoveryPath, nil)
		a.clock.Advance(time.Minute)
		if _, _, err := a.Login(t.Context(), Start{Callback: callbackURL}); err != nil {
			t.Errorf("%s, and back: %v", name, err)
		}
	}
}

// TestEndpointsOfTheMetadata: a document that was tampered with sends nobody to a script, nor secrets over plain HTTP.
func TestEndpointsOfTheMetadata(t *testing.T) {
	t.Parallel()
	secure, plain := &Metadata{Issuer: "https://idp.example"}, &Metadata{Issuer: "http://localhost:9000"}
	for _, c := range []struct {
		meta     *Metadata
		endpoint string
		good     bool
	}{
		{secure, "https://idp.example/authorize", true}, {secure, "https://idp.example/authorize?tenant=x", true}, {plain, "http://localhost:9000/authorize", true},
		{secure, "", false}, {secure, "http://idp.example/authorize", false}, {secure, "javascript:alert(1)", false}, {secure, "/authorize", false},
		{secure, "https://idp.example/#x", false}, {secure, `https://idp.example\@evil.example`, false}, {secure, "//idp.example", false},
	} {
		if got := safeEndpoint(c.meta, c.endpoint); got != c.good {
			t.Errorf("%q of %s: %v", c.endpoint, c.meta.Issuer, got)
		}
	}
	a := newAt(t, authtest.ProviderOptions{}, nil)
	a.idp.Misbehave(authtest.Misbehaviour{Metadata: func(document map[string]any) {
		delete(document, "authorization_endpoint")
		delete(document, "token_endpoint")
	}})
	_, _, err := a.Login(t.Context(), Start{Callback: callbackURL})
	refused(t, "no authorization_endpoint", err, 503)
	_, err = a.Refresh(t.Context(), "x")
	refused(t, "no token_endpoint", err, 503)
}

// TestCallerGoesAway: that is nobody's refusal.
func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	answer := a.answer(t, a.begin(t, Start{}))
	ctx, cancel := context.WithCancel(t.Context())
	hang := a.idp.Hang()
	a.idp.Break(authtest.TokenPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		hang.ServeHTTP(w, r)
	}))
	_, err := a.Callback(ctx, answer, callbackURL, a.browser)
	if _, ok := errors.AsType[*auth.Refusal](err); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}

// TestRequestsAreBounded has more callers than there are places; each gets its turn.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	var now, most atomic.Int64
	arrived, release := make(chan struct{}, 2*maxAsking), make(chan struct{})
	a.idp.Break(authtest.TokenPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		arrived <- struct{}{}
		<-release
		authtest.Answer(400, `{"error":"invalid_grant"}`).ServeHTTP(w, r)
	}))
	var callers sync.WaitGroup
	for range 2 * maxAsking {
		callers.Go(func() {
			if _, err := a.Refresh(t.Context(), "guess"); err == nil {
				t.Error("a guessed refresh token was taken")
			}
		})
	}
	for range maxAsking {
		<-arrived
	}
	close(release)
	callers.Wait()
	if n := most.Load(); n > maxAsking {
		t.Errorf("%d requests at once, want %d at most", n, maxAsking)
	}
}

func TestExpiresInAsText(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	for value, want := range map[any]time.Duration{"60": time.Minute, 60: time.Minute, nil: 0, "": 0, -1: 0} {
		a.idp.Misbehave(authtest.Misbehaviour{Answer: func(_ *int, body *map[string]any) {
			(*body)["expires_in"] = value
		}})
		out, err := a.end(t, a.answer(t, a.begin(t, Start{})))
		if value == "" {
			refused(t, "no number", err, 503)
			continue
		}
		if err != nil || out.ExpiresIn != want {
			t.Errorf("%v: %v, %v", value, out, err)
		}
	}
}

func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		key, text := privateKey(t, alg)
		idp := authtest.ProviderOptions{ClientAuth: "private_key_jwt", ClientKey: key.Public()}
		a := newAt(t, idp, func(o *ProviderOptions) { o.ClientSecret, o.PrivateKey = "", text })
		for range 2 {
			out, err := a.end(t, a.answer(t, a.begin(t, Start{Offline: true})))
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			if _, err := a.Refresh(t.Context(), out.RefreshToken); err != nil {
				t.Errorf("%s, refresh: %v", alg, err)
			}
		}
		if form := a.idp.Last(authtest.TokenPath).Form; form.Has("client_secret") {
			t.Errorf("%s: a secret beside the assertion: %v", alg, form)
		}
		another, _ := privateKey(t, alg)
		idp.ClientKey = another.Public()
		a = newAt(t, idp, func(o *ProviderOptions) { o.ClientSecret, o.PrivateKey = "", text })
		_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
		refused(t, alg+" with another's key", err, 503)
	}
}

func TestPublicClient(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{ClientAuth: "none"}, func(o *ProviderOptions) { o.ClientSecret = "" })
	if _, err := a.end(t, a.answer(t, a.begin(t, Start{}))); err != nil {
		t.Error(err)
	}
}

func TestWrongClientSecret(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, func(o *ProviderOptions) { o.ClientSecret = "guess" })
	_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
	refused(t, "another secret", err, 503)
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	login := func() *Outcome {
		t.Helper()
		out, err := a.end(t, a.answer(t, a.begin(t, Start{Offline: true})))
		if err != nil || out.RefreshToken == "" {
			t.Fatalf("%+v, %v", out, err)
		}
		return out
	}
	first := login()
	if form := a.idp.Last(authtest.AuthorizePath).Form; form.Get("scope") != "openid email offline_access" || form.Get("prompt") != "consent" {
		t.Errorf("authorization request %v", form)
	}
	a.clock.Advance(30 * time.Minute)
	out, err := a.Refresh(t.Context(), first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if out.RefreshToken == first.RefreshToken || out.RefreshToken == "" || out.Who.Name != "corp.anna" || !out.Who.Expires.Equal(a.clock.Now().Add(time.Hour)) || out.SID != first.SID {
		t.Errorf("refreshed: %+v", out)
	}
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"used": {first.RefreshToken, 401}, "unknown": {"guess", 401}, "empty": {"", 400}, "too long": {strings.Repeat("x", maxRefreshToken+1), 400},
	} {
		_, err := a.Refresh(t.Context(), c.token)
		refused(t, "a refresh token that is "+name, err, c.status)
	}
	form := a.idp.Last(authtest.TokenPath).Form
	if form.Has("code") || form.Has("redirect_uri") || form.Has("scope") {
		t.Errorf("refresh request %v", form)
	}

	for name, wrong := range map[string]authtest.Misbehaviour{
		"no ID token":        {Answer: func(_ *int, body *map[string]any) { delete(*body, "id_token") }},
		"expired":            {IDToken: func(_, claims map[string]any) { claims["exp"] = 1 }},
		"of another client":  {IDToken: func(_, claims map[string]any) { claims["aud"] = "other" }},
		"of another issuer":  {IDToken: func(_, claims map[string]any) { claims["iss"] = "https://evil.example" }},
		"azp is another's":   {IDToken: func(_, claims map[string]any) { claims["azp"] = "other" }},
		"it is a logout one": {IDToken: func(header, _ map[string]any) { header["typ"] = "logout+jwt" }},
	} {
		a.idp.Misbehave(authtest.Misbehaviour{})
		token := login().RefreshToken
		a.idp.Misbehave(wrong)
		_, err := a.Refresh(t.Context(), token)
		refused(t, name, err, 401)
	}
}

func TestRefreshTokenThatStays(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{KeepRefreshTokens: true}, nil)
	out, err := a.end(t, a.answer(t, a.begin(t, Start{Offline: true})))
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.Refresh(t.Context(), out.RefreshToken)
	if err != nil || again.RefreshToken != out.RefreshToken {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestOfflineAsGoogleWantsIt: a provider whose metadata does not know the scope would refuse it.
func TestOfflineAsGoogleWantsIt(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	a.idp.Misbehave(authtest.Misbehaviour{Metadata: func(document map[string]any) { document["scopes_supported"] = []string{"openid", "email"} }})
	to, err := url.Parse(a.begin(t, Start{Offline: true}))
	if err != nil {
		t.Fatal(err)
	}
	if q := to.Query(); q.Get("access_type") != "offline" || q.Get("prompt") != "consent" || q.Get("scope") != "openid email" {
		t.Errorf("authorization request %v", q)
	}
}
