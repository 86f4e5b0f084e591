package oidc

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth/authtest"
)

// TestLoginCSRF brings a browser the answer to a login that it did not begin: an attacker's, who wants the victim to work under his name.
func TestLoginCSRF(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	attackers := a.answer(t, a.begin(t, Start{}))
	attackersCookie := *a.browser[0]

	a.browser = nil
	_, err := a.end(t, attackers)
	refused(t, "no cookie", err, 400)

	victims := a.answer(t, a.begin(t, Start{}))
	_, err = a.end(t, attackers)
	refused(t, "the cookie of another login", err, 400)

	mixed := url.Values{"state": victims["state"], "code": attackers["code"], "iss": attackers["iss"]}
	if _, err := a.end(t, mixed); err == nil {
		t.Error("the attacker's code was taken with the victim's state") // PKCE and the nonce bind the code
	} else {
		refused(t, "the attacker's code with the victim's state", err, 401)
	}

	for name, change := range map[string]func(c *http.Cookie){
		"under another name":    func(c *http.Cookie) { c.Name = "__Secure-parlor_oidc_corp_1" },
		"without __Secure-":     func(c *http.Cookie) { c.Name = strings.TrimPrefix(c.Name, "__Secure-") },
		"as another provider's": func(c *http.Cookie) { c.Name = "__Secure-parlor_oidc_other_0" },
		"cut":                   func(c *http.Cookie) { c.Value = c.Value[:len(c.Value)-4] },
		"with a bit turned":     func(c *http.Cookie) { c.Value = turnBit(t, c.Value) },
		"empty":                 func(c *http.Cookie) { c.Value = "" },
		"too short to open":     func(c *http.Cookie) { c.Value = "AAAA" },
		"too long":              func(c *http.Cookie) { c.Value = strings.Repeat("A", maxSealed+4) },
		"behind many others":    func(c *http.Cookie) { c.Name = "" },
	} {
		c := attackersCookie
		change(&c)
		cookies := []*http.Cookie{&c}
		if c.Name == "" {
			c = attackersCookie
			junk := c
			junk.Value = "x"
			cookies = append(slices.Repeat([]*http.Cookie{&junk}, 1000), &c)
		}
		_, err := a.Callback(t.Context(), attackers, callbackURL, cookies)
		refused(t, "a cookie "+name, err, 400)
	}
}

func turnBit(t *testing.T, text string) string {
	t.Helper()
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	sealed[len(sealed)/2] ^= 1
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// TestCookieIsBoundToItsProvider: providers may share what they remember, but not each other's logins.
func TestCookieIsBoundToItsProvider(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	answer := a.answer(t, a.begin(t, Start{}))
	other := a.provider(t, func(o *ProviderOptions) { o.Name, o.Logins = "other", a.o.Logins })
	a.browser[0].Name = strings.Replace(a.browser[0].Name, "corp", "other", 1)
	_, err := other.Callback(t.Context(), answer, callbackURL, a.browser)
	refused(t, "at another provider", err, 400)
}

// TestMixUp is the attack of RFC 9207: the browser comes back from another provider than the one that it was sent to.
func TestMixUp(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(query url.Values){
		"iss of another provider": func(q url.Values) { q.Set("iss", "https://evil.example") },
		"no iss, though promised": func(q url.Values) { q.Del("iss") },
		"an empty iss":            func(q url.Values) { q.Set("iss", "") },
		"two":                     func(q url.Values) { q.Add("iss", "https://evil.example") },
		"an error of another": func(q url.Values) {
			q.Set("iss", "https://evil.example")
			q.Set("error", "access_denied")
			q.Del("code")
		},
	} {
		a := newAt(t, authtest.ProviderOptions{}, nil)
		a.idp.Misbehave(authtest.Misbehaviour{Redirect: change})
		_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
		status := 401
		if name == "two" {
			status = 400
		}
		refused(t, name, err, status)
		if n := a.idp.Requests(authtest.TokenPath); n != 0 {
			t.Errorf("%s: the code was given away in %d requests", name, n)
		}
	}

	honest, evil := newAt(t, authtest.ProviderOptions{}, nil), newAt(t, authtest.ProviderOptions{}, nil)
	stolen := honest.answer(t, honest.begin(t, Start{})).Get("code")
	evil.idp.Misbehave(authtest.Misbehaviour{Redirect: func(q url.Values) { q.Set("code", stolen) }})
	_, err := evil.end(t, evil.answer(t, evil.begin(t, Start{})))
	refused(t, "another provider's code", err, 401)
}

func TestProviderWithoutIssInItsAnswer(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	a.idp.Misbehave(authtest.Misbehaviour{
		Metadata: func(document map[string]any) { delete(document, "authorization_response_iss_parameter_supported") },
		Redirect: func(q url.Values) { q.Del("iss") },
	})
	if _, err := a.end(t, a.answer(t, a.begin(t, Start{}))); err != nil {
		t.Errorf("a provider that does not promise it: %v", err)
	}
	a.idp.Misbehave(authtest.Misbehaviour{
		Metadata: func(document map[string]any) { delete(document, "authorization_response_iss_parameter_supported") },
		Redirect: func(q url.Values) { q.Set("iss", "https://evil.example") },
	})
	_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
	refused(t, "another's iss that was not promised", err, 401)
}

func TestReplay(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	answer := a.answer(t, a.begin(t, Start{}))
	if _, err := a.end(t, answer); err != nil {
		t.Fatal(err)
	}
	asked := a.idp.Requests(authtest.TokenPath)
	_, err := a.end(t, answer)
	refused(t, "the state again, with the cookie kept", err, 400)
	if n := a.idp.Requests(authtest.TokenPath); n != asked {
		t.Error("a used state reached the token endpoint")
	}

	again := a.answer(t, a.begin(t, Start{}))
	again.Set("code", answer.Get("code"))
	_, err = a.end(t, again)
	refused(t, "a used code in a new login", err, 401)

	failed := a.answer(t, a.begin(t, Start{}))
	a.idp.Break(authtest.TokenPath, authtest.Down())
	_, err = a.end(t, failed)
	refused(t, "a login while the provider is down", err, 503)
	a.idp.Break(authtest.TokenPath, nil)
	_, err = a.end(t, failed)
	refused(t, "its state again", err, 400)
}

// TestReplayAcrossSettings makes the Provider anew, as a change of the settings does, with what the old one remembers.
func TestReplayAcrossSettings(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	begun, used := a.answer(t, a.begin(t, Start{})), a.answer(t, a.begin(t, Start{}))
	if _, err := a.end(t, used); err != nil {
		t.Fatal(err)
	}
	a.Provider = a.provider(t, func(o *ProviderOptions) { o.Logins = a.o.Logins })
	if _, err := a.end(t, begun); err != nil {
		t.Errorf("a login that was under way: %v", err)
	}
	_, err := a.end(t, used)
	refused(t, "a state that the old Provider took", err, 400)
	a.Provider = a.provider(t, nil)
	_, err = a.end(t, begun)
	refused(t, "after a start of the program", err, 400)
}

func TestLoginTakesTooLong(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	answer := a.answer(t, a.begin(t, Start{}))
	a.clock.Advance(pendingLife)
	_, err := a.end(t, answer)
	refused(t, "after ten minutes", err, 400)
	answer = a.answer(t, a.begin(t, Start{}))
	a.clock.Advance(-time.Second)
	_, err = a.end(t, answer)
	refused(t, "before it began", err, 400)
	a.clock.Advance(50 * time.Second)
	if _, err = a.end(t, answer); err != nil {
		t.Errorf("in time: %v", err)
	}
}

func TestCallbackThatIsNone(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	for name, c := range map[string]struct {
		change func(q url.Values)
		status int
	}{
		"no state":        {func(q url.Values) { q.Del("state") }, 400},
		"two states":      {func(q url.Values) { q.Add("state", q.Get("state")) }, 400},
		"a long state":    {func(q url.Values) { q.Set("state", strings.Repeat("x", maxParameter+1)) }, 400},
		"another state":   {func(q url.Values) { q.Set("state", "x") }, 400},
		"no code":         {func(q url.Values) { q.Del("code") }, 400},
		"an empty code":   {func(q url.Values) { q.Set("code", "") }, 400},
		"two codes":       {func(q url.Values) { q.Add("code", "x") }, 400},
		"a long code":     {func(q url.Values) { q.Set("code", strings.Repeat("x", maxParameter+1)) }, 400},
		"a code of bytes": {func(q url.Values) { q.Set("code", "\x00\r\nx: y") }, 401},
		"an unknown code": {func(q url.Values) { q.Set("code", "x") }, 401},
	} {
		answer := a.answer(t, a.begin(t, Start{}))
		c.change(answer)
		_, err := a.end(t, answer)
		refused(t, name, err, c.status)
	}
	answer := a.answer(t, a.begin(t, Start{}))
	_, err := a.Callback(t.Context(), answer, "https://evil.example/_oidc/corp/callback", a.browser)
	refused(t, "at another host", err, 400)
}

func TestProviderAnswersWithAnError(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	for code, status := range map[string]int{
		"access_denied": 403, "login_required": 401, "server_error": 503, "temporarily_unavailable": 503,
		"": 401, "<script>": 401, strings.Repeat("x", 1000): 401,
	} {
		a.idp.Misbehave(authtest.Misbehaviour{Redirect: func(q url.Values) {
			q.Del("code")
			q.Set("error", code)
			q.Set("error_description", strings.Repeat("of no concern\n", 1000))
		}})
		_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
		refusal := refused(t, code, err, status)
		if len(refusal.Reason) > 150 || strings.ContainsAny(refusal.Reason, "<\n") || strings.Contains(refusal.Reason, "concern") {
			t.Errorf("%s: the client is told %q", code, refusal.Reason)
		}
	}
}

func TestPKCEDowngraded(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	redirect, err := url.Parse(a.begin(t, Start{}))
	if err != nil {
		t.Fatal(err)
	}
	query := redirect.Query()
	query.Del("code_challenge")
	query.Del("code_challenge_method")
	redirect.RawQuery = query.Encode()
	_, err = a.end(t, a.answer(t, redirect.String()))
	refused(t, "without code_challenge", err, 401)
	if form := a.idp.Last(authtest.TokenPath).Form; len(form.Get("code_verifier")) != 43 {
		t.Errorf("the code was traded with the verifier %q", form.Get("code_verifier"))
	}
}

// TestCallbackURL sends the browser back by way of another host, whatever the request says.
func TestCallbackURL(t *testing.T) {
	t.Parallel()
	const elsewhere = "https://login.example.com/back/corp"
	a := newAt(t, authtest.ProviderOptions{RedirectURIs: []string{elsewhere}}, func(o *ProviderOptions) { o.CallbackURL = elsewhere })
	back := a.idp.SignIn(t, a.begin(t, Start{}))
	if !strings.HasPrefix(back.String(), elsewhere+"?") || a.browser[0].Path != "/back/" {
		t.Errorf("back to %s with a cookie for %s", back, a.browser[0].Path)
	}
	if _, err := a.end(t, back.Query()); err != nil {
		t.Error(err)
	}
}

// TestStrangerStartsLogins: what 1,000 logins of a stranger leave behind is nothing, and what 1,000 callbacks leave is bounded.
func TestStrangerStartsLogins(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	answers := make([]url.Values, 1000)
	cookies := make([][]*http.Cookie, len(answers))
	for i := range answers {
		redirect, header, err := a.Login(t.Context(), Start{Callback: callbackURL, Secure: true, Next: "/" + strings.Repeat("x", maxPlace-1)})
		if err != nil {
			t.Fatal(err)
		}
		to, err := url.Parse(redirect)
		if err != nil {
			t.Fatal(err)
		}
		cookie, err := http.ParseSetCookie(header)
		if err != nil || len(header) > maxSealed {
			t.Fatalf("a cookie of %d bytes: %v", len(header), err)
		}
		answers[i], cookies[i] = url.Values{"state": {to.Query().Get("state")}, "error": {"access_denied"}, "iss": {a.idp.URL}}, []*http.Cookie{cookie}
	}
	if n := len(a.o.Logins.states.young.used) + len(a.o.Logins.states.older.used); n != 0 {
		t.Errorf("%d logins are remembered that nobody ended", n)
	}
	for i := range answers {
		_, err := a.Callback(t.Context(), answers[i], callbackURL, cookies[i])
		refused(t, "declined", err, 403)
	}
	if n := len(a.o.Logins.states.young.used); n != len(answers) {
		t.Errorf("%d states are remembered, want %d", n, len(answers))
	}
	for path, want := range map[string]int{authtest.DiscoveryPath: 1, authtest.TokenPath: 0, authtest.KeysPath: 0} {
		if n := a.idp.Requests(path); n != want {
			t.Errorf("%d requests to %s, want %d", n, path, want)
		}
	}
	a.clock.Advance(2*pendingLife + time.Second)
	for range 2 {
		_, _ = a.end(t, a.answer(t, a.begin(t, Start{})))
		a.clock.Advance(pendingLife + time.Second)
	}
	if n := len(a.o.Logins.states.young.used) + len(a.o.Logins.states.older.used); n > 2 {
		t.Errorf("%d states are remembered long after", n)
	}
}
