package oidc

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

func TestForgedIDToken(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	now := a.clock.Now().Unix()
	set := func(name string, value any) func(_, claims map[string]any) {
		return func(_, claims map[string]any) { claims[name] = value }
	}
	for name, edit := range map[string]func(header, claims map[string]any){
		"another login's nonce":    set("nonce", "another"),
		"no nonce":                 func(_, claims map[string]any) { delete(claims, "nonce") },
		"an empty nonce":           set("nonce", ""),
		"a nonce that is no text":  set("nonce", 1),
		"aud of another client":    set("aud", "other"),
		"no aud":                   func(_, claims map[string]any) { delete(claims, "aud") },
		"two auds without azp":     set("aud", []string{"client", "other"}),
		"azp of another client":    func(_, claims map[string]any) { claims["aud"], claims["azp"] = []string{"client", "other"}, "other" },
		"azp of another, one aud":  set("azp", "other"),
		"azp that is no text":      set("azp", []string{"client"}),
		"iss of another provider":  set("iss", "https://evil.example"),
		"iss with a slash more":    func(_, claims map[string]any) { claims["iss"] = claims["iss"].(string) + "/" },
		"no iss":                   func(_, claims map[string]any) { delete(claims, "iss") },
		"expired":                  set("exp", now-1),
		"no exp":                   func(_, claims map[string]any) { delete(claims, "exp") },
		"of tomorrow":              set("nbf", now+86_400),
		"no sub":                   func(_, claims map[string]any) { delete(claims, "sub") },
		"an empty sub":             set("sub", ""),
		"a long sub":               set("sub", strings.Repeat("x", maxSubject+1)),
		"a long sid":               set("sid", strings.Repeat("x", maxSubject+1)),
		"another access token's":   set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"AUD beside aud":           func(_, claims map[string]any) { claims["aud"], claims["AUD"] = "other", "client" },
		"EXP beside exp":           set("EXP", now+3600),
		"\u017fub beside sub":      set("\u017fub", "admin"), // a long s, which encoding/json takes for s
		"alg none":                 func(header, _ map[string]any) { header["alg"] = "none" },
		"alg HS256":                func(header, _ map[string]any) { header["alg"] = "HS256" },
		"alg of no key":            func(header, _ map[string]any) { header["alg"] = "RS256" },
		"unknown kid":              func(header, _ map[string]any) { header["kid"] = "other" },
		"a critical header":        func(header, _ map[string]any) { header["crit"] = []string{"x"}; header["x"] = 1 },
		"the type of logout":       func(header, _ map[string]any) { header["typ"] = "logout+jwt" },
		"the type of access token": func(header, _ map[string]any) { header["typ"] = "at+jwt" },
		"too long":                 set("x", strings.Repeat("x", maxJWT)),
	} {
		a.idp.Misbehave(authtest.Misbehaviour{IDToken: edit})
		out, err := a.end(t, a.answer(t, a.begin(t, Start{})))
		refused(t, name, err, 401)
		if out != nil {
			t.Errorf("%s: an outcome beside the refusal", name)
		}
	}

	for name, edit := range map[string]func(status *int, body *map[string]any){
		"no ID token":                   func(_ *int, body *map[string]any) { delete(*body, "id_token") },
		"an empty ID token":             func(_ *int, body *map[string]any) { (*body)["id_token"] = "" },
		"an ID token that is no text":   func(_ *int, body *map[string]any) { (*body)["id_token"] = map[string]any{} },
		"an ID token that is no JWT":    func(_ *int, body *map[string]any) { (*body)["id_token"] = "a.b.c" },
		"an ID token in JSON":           func(_ *int, body *map[string]any) { (*body)["id_token"] = `{"payload":"","signatures":[]}` },
		"an ID token without signature": func(_ *int, body *map[string]any) { (*body)["id_token"] = unsigned((*body)["id_token"].(string)) },
	} {
		a.idp.Misbehave(authtest.Misbehaviour{Answer: edit})
		_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
		refused(t, name, err, 401)
	}

	a.idp.Misbehave(authtest.Misbehaviour{})
	a.idp.SignWith(authtest.NewSigner(t, "ES256", a.idp.Signer().Kid))
	_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
	refused(t, "signed by somebody else", err, 401)
}

func unsigned(token string) string { return token[:strings.LastIndex(token, ".")+1] }

func TestIDTokenThatIsGood(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	for name, edit := range map[string]func(header, claims map[string]any){
		"an array of one aud": func(_, claims map[string]any) { claims["aud"] = []string{"client"} },
		"two auds and azp":    func(_, claims map[string]any) { claims["aud"], claims["azp"] = []string{"client", "other"}, "client" },
		"no kid":              func(header, _ map[string]any) { delete(header, "kid"); header["typ"] = "JWT" },
		"no sid":              func(_, claims map[string]any) { delete(claims, "sid") },
	} {
		a.idp.Misbehave(authtest.Misbehaviour{IDToken: edit})
		if _, err := a.end(t, a.answer(t, a.begin(t, Start{}))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClocksDiffer sets the provider's clock behind ours and ahead of it, within the leeway and beyond.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	issuer := *a.o.Issuer
	issuer.o.Leeway = 2 * time.Minute
	lenient, err := NewIssuer(issuer.o)
	if err != nil {
		t.Fatal(err)
	}
	strict := a.Provider
	claim := func(name string, ahead time.Duration) {
		a.idp.Misbehave(authtest.Misbehaviour{IDToken: func(_, claims map[string]any) { claims[name] = a.clock.Now().Add(ahead).Unix() }})
	}
	for _, c := range []struct {
		name   string
		leeway bool
		claim  string
		ahead  time.Duration
		good   bool
	}{
		{"ended a minute ago, no leeway", false, "exp", -time.Minute, false},
		{"ended a minute ago, two of leeway", true, "exp", -time.Minute, true},
		{"ended three minutes ago, two of leeway", true, "exp", -3 * time.Minute, false},
		{"begins now, no leeway", false, "nbf", 0, true},
		{"begins in a minute, no leeway", false, "nbf", time.Minute, false},
		{"begins in two minutes, two of leeway", true, "nbf", 2 * time.Minute, true},
		{"begins in three minutes, two of leeway", true, "nbf", 3 * time.Minute, false},
	} {
		a.Provider = strict
		if c.leeway {
			a.Provider = a.provider(t, func(o *ProviderOptions) { o.Issuer = lenient })
		}
		claim(c.claim, c.ahead)
		answer := a.answer(t, a.begin(t, Start{}))
		switch _, err := a.end(t, answer); {
		case c.good && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case !c.good:
			refused(t, c.name, err, 401)
		}
	}
}

// TestRequiredClaims: what bearer tokens must say, ID tokens must say too.
func TestRequiredClaims(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	o := a.o.Issuer.o
	o.Required = jwt.Claims{{Name: "hd", Values: []string{"example.com"}}}
	issuer, err := NewIssuer(o)
	if err != nil {
		t.Fatal(err)
	}
	a.Provider = a.provider(t, func(o *ProviderOptions) { o.Issuer = issuer })
	_, err = a.end(t, a.answer(t, a.begin(t, Start{})))
	refused(t, "without hd", err, 401)
	a.idp.SetUser(map[string]any{"sub": "anna", "hd": "example.com"})
	if _, err := a.end(t, a.answer(t, a.begin(t, Start{}))); err != nil {
		t.Errorf("with hd: %v", err)
	}
}

// TestNobodyHere signs in somebody whom the mapping refuses.
func TestNobodyHere(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	o := a.o.Issuer.o
	o.Mapping = Mapping{}
	issuer, err := NewIssuer(o)
	if err != nil {
		t.Fatal(err)
	}
	a.Provider = a.provider(t, func(o *ProviderOptions) { o.Issuer = issuer })
	out, err := a.end(t, a.answer(t, a.begin(t, Start{})))
	refused(t, "an unknown user", err, 403)
	if out != nil {
		t.Errorf("an outcome beside the refusal: %+v", out)
	}
}

// TestRotationDuringALogin: a key that came after the key set was fetched is fetched when it is needed, and one that is gone is trusted no more.
func TestRotationDuringALogin(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	if _, err := a.end(t, a.answer(t, a.begin(t, Start{}))); err != nil {
		t.Fatal(err)
	}
	old := a.idp.Signer()
	a.clock.Advance(time.Minute)
	a.idp.Rotate(t, "ES256")
	a.idp.Remove(old.Kid)
	if _, err := a.end(t, a.answer(t, a.begin(t, Start{}))); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	a.idp.SignWith(old)
	_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
	refused(t, "with the old key", err, 401)
}

func TestKeysAreAway(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	for name, h := range map[string]http.Handler{
		"down": authtest.Down(), "garbage": authtest.Garbage(1000), "50 MB": authtest.Garbage(50 << 20), "an error": authtest.Answer(500, `{}`),
		"another host": authtest.RedirectTo("https://evil.example/keys"),
	} {
		a.idp.Break(authtest.KeysPath, h)
		a.clock.Advance(time.Minute)
		_, err := a.end(t, a.answer(t, a.begin(t, Start{})))
		refused(t, name, err, 503)
	}
}

// FuzzReadClaims asserts that go-oidc, which reads with encoding/json, and this package read the same claims out of what is taken.
func FuzzReadClaims(f *testing.F) {
	f.Add([]byte(`{"sub":"anna","nonce":"n","sid":"s","jti":"j","azp":"client"}`))
	f.Add([]byte(`{"sub":"anna","SUB":"root"}`))
	f.Add([]byte(`{"sub":"anna","\u017fub":"root"}`))
	f.Add([]byte(`{"sub":"anna","sub":"root"}`))
	f.Add([]byte(`{"sub":"\ud800"}`))
	f.Add([]byte("{\"sub\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		ours, err := readClaims(payload)
		if err != nil {
			return
		}
		var theirs struct {
			Subject string  `json:"sub"`
			Nonce   *string `json:"nonce"`
			Party   *string `json:"azp"`
			SID     string  `json:"sid"`
			ID      string  `json:"jti"`
		}
		if err := json.Unmarshal(payload, &theirs); err != nil {
			t.Fatalf("%s: taken here alone: %v", payload, err)
		}
		text := func(p *string) string {
			if p == nil {
				return "<nil>"
			}
			return *p
		}
		if ours.Subject != theirs.Subject || ours.SID != theirs.SID || ours.ID != theirs.ID || text(ours.Nonce) != text(theirs.Nonce) || text(ours.Party) != text(theirs.Party) {
			t.Errorf("%s: %+v here, %+v there", payload, ours, theirs)
		}
	})
}
