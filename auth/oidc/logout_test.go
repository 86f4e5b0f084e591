package oidc

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

func TestForgedLogoutToken(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	now := a.clock.Now().Unix()
	set := func(name string, value any) func(_, claims map[string]any) {
		return func(_, claims map[string]any) { claims[name] = value }
	}
	drop := func(name string) func(_, claims map[string]any) {
		return func(_, claims map[string]any) { delete(claims, name) }
	}
	for name, edit := range map[string]func(header, claims map[string]any){
		"a nonce":                 set("nonce", "x"),
		"an empty nonce":          set("nonce", ""),
		"no events":               drop("events"),
		"other events":            set("events", map[string]any{"http://schemas.example/other": map[string]any{}}),
		"an event that is a text": set("events", map[string]any{logoutEvent: "x"}),
		"events as an array":      set("events", []string{logoutEvent}),
		"iss of another":          set("iss", "https://evil.example"),
		"no iss":                  drop("iss"),
		"aud of another client":   set("aud", "other"),
		"no aud":                  drop("aud"),
		"expired":                 set("exp", now-1),
		"no exp":                  drop("exp"),
		"no iat":                  drop("iat"),
		"an old iat":              set("iat", now-3600),
		"an iat to come":          set("iat", now+3600),
		"no jti":                  drop("jti"),
		"neither sub nor sid":     func(_, claims map[string]any) { delete(claims, "sub"); delete(claims, "sid") },
		"a long sid":              set("sid", strings.Repeat("x", maxSubject+1)),
		"Sub beside sub":          set("Sub", "root"),
		"an ID token's claims":    func(_, claims map[string]any) { delete(claims, "events"); claims["nonce"] = "x" },
		"typ of an access token":  func(header, _ map[string]any) { header["typ"] = "at+jwt" },
		"typ that is no text":     func(header, _ map[string]any) { header["typ"] = 1 },
		"alg none":                func(header, _ map[string]any) { header["alg"] = "none" },
		"alg HS256":               func(header, _ map[string]any) { header["alg"] = "HS256" },
		"unknown kid":             func(header, _ map[string]any) { header["kid"] = "other" },
	} {
		who, err := a.BackchannelLogout(t.Context(), a.idp.LogoutToken(t, "anna", "s1", edit))
		refused(t, name, err, 400)
		if who != (LoggedOut{}) {
			t.Errorf("%s: %+v beside the refusal", name, who)
		}
	}
	good := a.idp.LogoutToken(t, "anna", "s1", nil)
	for name, token := range map[string]string{
		"nothing": "", "dots": "..", "no JWT": "a.b.c", "no signature": unsigned(good), "an ID token": a.idp.IDToken(t, nil), "too long": strings.Repeat("x", maxJWT+1),
		"JSON": `{"payload":"","signatures":[]}`,
	} {
		_, err := a.BackchannelLogout(t.Context(), token)
		refused(t, name, err, 400)
	}
	stranger := authtest.NewProvider(t, authtest.ProviderOptions{Issuer: a.idp.URL, Now: a.clock.Now})
	_, err := a.BackchannelLogout(t.Context(), stranger.LogoutToken(t, "anna", "s1", nil))
	refused(t, "signed by a stranger", err, 400)
	if n := len(a.o.Logins.logouts.young.used); n != 0 {
		t.Errorf("%d forged tokens are remembered", n)
	}
	// None of these has used up what is good.
	if _, err := a.BackchannelLogout(t.Context(), good); err != nil {
		t.Error(err)
	}
}

func TestLogoutTokenServesOnce(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	token := a.idp.LogoutToken(t, "anna", "s1", func(_, claims map[string]any) { claims["exp"] = a.clock.Now().Add(24 * time.Hour).Unix() })
	who, err := a.BackchannelLogout(t.Context(), token)
	if err != nil || who != (LoggedOut{Subject: "anna", SID: "s1"}) {
		t.Fatalf("%+v, %v", who, err)
	}
	_, err = a.BackchannelLogout(t.Context(), token)
	refused(t, "at once", err, 400)
	a.Provider = a.provider(t, func(o *ProviderOptions) { o.Logins = a.o.Logins })
	for range 6 {
		a.clock.Advance(5 * time.Minute)
		_, err = a.BackchannelLogout(t.Context(), token)
		refused(t, "later", err, 400)
		// Another goes on being taken, so that what is remembered turns over.
		if _, err := a.BackchannelLogout(t.Context(), a.idp.LogoutToken(t, "anna", "", nil)); err != nil {
			t.Error(err)
		}
	}
}

// TestForgedLogoutTokensCost: an address has so many wrong signatures computed and no more, whatever else it sends; right ones cost it nothing.
func TestForgedLogoutTokensCost(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	a.o.Issuer.o.Budget = auth.NewBudget(auth.BudgetOptions{Failures: 3, Now: a.clock.Now})
	from := func(address string) context.Context {
		return auth.WithClient(t.Context(), netip.MustParseAddr(address))
	}
	stranger := authtest.NewProvider(t, authtest.ProviderOptions{Issuer: a.idp.URL, Now: a.clock.Now})
	for range 10 {
		if _, err := a.BackchannelLogout(from("192.0.2.1"), a.idp.LogoutToken(t, "anna", "", nil)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		_, err := a.BackchannelLogout(from("192.0.2.1"), stranger.LogoutToken(t, "anna", "", nil))
		refused(t, "forged", err, 400)
	}
	good := a.idp.LogoutToken(t, "anna", "", nil)
	_, err := a.BackchannelLogout(from("192.0.2.1"), good)
	if refusal := refused(t, "one too many", err, 429); refusal.Header.Get("Retry-After") == "" {
		t.Error("without Retry-After")
	}
	if _, err := a.BackchannelLogout(from("192.0.2.2"), good); err != nil {
		t.Errorf("from another address: %v", err)
	}
	a.clock.Advance(time.Minute)
	if _, err := a.BackchannelLogout(from("192.0.2.1"), a.idp.LogoutToken(t, "anna", "", nil)); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func TestLogoutTokensThatAreGood(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	for _, c := range []struct {
		name, subject, sid string
		edit               func(header, claims map[string]any)
	}{
		{"a subject", "anna", "", nil},
		{"a session", "", "s1", nil},
		{"typ JWT", "anna", "", func(header, _ map[string]any) { header["typ"] = "JWT" }},
		{"the whole type", "anna", "", func(header, _ map[string]any) { header["typ"] = "application/logout+jwt" }},
		{"several auds", "anna", "", func(_, claims map[string]any) { claims["aud"] = []string{"other", "client"} }},
		{"a clock ahead", "anna", "", func(_, claims map[string]any) { claims["iat"] = a.clock.Now().Add(30 * time.Second).Unix() }},
	} {
		who, err := a.BackchannelLogout(t.Context(), a.idp.LogoutToken(t, c.subject, c.sid, c.edit))
		if err != nil || who != (LoggedOut{Subject: c.subject, SID: c.sid}) {
			t.Errorf("%s: %+v, %v", c.name, who, err)
		}
	}
	a = newAt(t, authtest.ProviderOptions{}, nil)
	a.idp.Break(authtest.KeysPath, authtest.Down())
	_, err := a.BackchannelLogout(t.Context(), a.idp.LogoutToken(t, "anna", "", nil))
	refused(t, "while the keys are away", err, 503)
}

func TestLogoutURL(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	text, err := a.LogoutURL(t.Context(), "https://db.example.com/_utils/?a=b&c")
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(text)
	if err != nil || !strings.HasPrefix(text, a.idp.URL+authtest.EndSessionPath+"?") || to.Query().Get("client_id") != "client" ||
		to.Query().Get("post_logout_redirect_uri") != "https://db.example.com/_utils/?a=b&c" {
		t.Errorf("%s, %v", text, err)
	}
	if back := a.idp.SignIn(t, text); back.String() != "https://db.example.com/_utils/?a=b&c" {
		t.Errorf("the provider sends the browser to %s", back)
	}

	a = newAt(t, authtest.ProviderOptions{}, nil)
	a.idp.Misbehave(authtest.Misbehaviour{Metadata: func(document map[string]any) { delete(document, "end_session_endpoint") }})
	if text, err := a.LogoutURL(t.Context(), "https://db.example.com/"); err != nil || text != "" {
		t.Errorf("a provider without logout: %q, %v", text, err)
	}

	a = newAt(t, authtest.ProviderOptions{}, nil)
	a.idp.Misbehave(authtest.Misbehaviour{Metadata: func(document map[string]any) { document["end_session_endpoint"] = "https://idp.example/#x" }})
	_, err = a.LogoutURL(t.Context(), "")
	refused(t, "an endpoint with a fragment", err, 503)

	a = newAt(t, authtest.ProviderOptions{}, nil)
	a.idp.Break("", authtest.Down())
	_, err = a.LogoutURL(t.Context(), "")
	refused(t, "provider down", err, 503)
}
