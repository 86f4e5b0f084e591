package oidc_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
	"github.com/parlordb/parlor/auth/oidc"
)

// world is a provider, who takes its tokens, and the users here.
type world struct {
	clock *authtest.Clock
	idp   *authtest.Provider
	keys  *oidc.KeySet
	users *oidc.Memory
}

func newWorld(t testing.TB) *world {
	t.Helper()
	clock := authtest.NewClock()
	idp, keys := keysOf(t, clock)
	return &world{clock, idp, keys, new(oidc.Memory)}
}

// issuer takes the tokens of the world's provider for its client.
func (w *world) issuer(t testing.TB, change func(o *oidc.IssuerOptions)) *oidc.Issuer {
	t.Helper()
	o := oidc.IssuerOptions{Name: "corp", Issuer: w.idp.Issuer(), Audience: []string{"client"}, Keys: w.keys, Directory: w.users, Now: w.clock.Now}
	o.Mapping.Unknown = oidc.Allow
	if change != nil {
		change(&o)
	}
	i, err := oidc.NewIssuer(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (w *world) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	return w.idp.IDToken(t, func(header, c map[string]any) {
		c["sub"] = "248289761001"
		for name, value := range claims {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
	})
}

func issuers(t testing.TB, list ...*oidc.Issuer) *oidc.Issuers {
	t.Helper()
	m, err := oidc.NewIssuers(list)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func bearing(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func ask(m auth.Method, token string) (auth.Identity, error) {
	r := httptest.NewRequest("GET", "/", nil)
	bearing(token)(r)
	return m.Authenticate(r)
}

func wantStatus(t testing.TB, what string, err error, status int) *auth.Refusal {
	t.Helper()
	refusal, ok := err.(*auth.Refusal)
	if !ok || refusal.Status != status || refusal.Reason == "" {
		t.Errorf("%s: %v, want %d", what, err, status)
		return new(auth.Refusal)
	}
	return refusal
}

func TestIssuerContract(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mallory := authtest.NewSigner(t, "ES256", "key-1")
	claims := map[string]any{"iss": w.idp.Issuer(), "aud": "client", "sub": "248289761001", "exp": w.clock.Now().Unix() + 60}
	foreign := authtest.NewSigner(t, "ES256", "k").Token(t, nil, map[string]any{"iss": "https://elsewhere.example.com", "aud": "client", "sub": "anna", "exp": 4102444800})
	c := authtest.MethodCase{
		Method: w.issuer(t, nil),
		Good:   bearing(w.token(t, nil)),
		Name:   "corp.248289761001",
		Bad: map[string]func(*http.Request){
			"another's key": bearing(mallory.Token(t, nil, claims)),
			"unknown key":   bearing(mallory.Token(t, map[string]any{"kid": "x"}, claims)),
			"HS256":         bearing(authtest.NewHMACSigner(t, "HS256", "key-1", []byte(w.idp.Signer().Value)).Token(t, nil, claims)),
			"none":          bearing(mallory.Token(t, map[string]any{"alg": "none"}, claims)),
			"expired":       bearing(w.token(t, map[string]any{"exp": 1})),
			"no exp":        bearing(w.token(t, map[string]any{"exp": nil})),
			"no sub":        bearing(w.token(t, map[string]any{"sub": nil})),
		},
		Others: map[string]func(*http.Request){
			"another issuer's": bearing(foreign),
			"without issuer":   bearing(w.token(t, map[string]any{"iss": nil})),
			"iss in a list":    bearing(w.token(t, map[string]any{"iss": []string{w.idp.Issuer()}})),
			"iss twice":        bearing(w.idp.Signer().Sign(t, `{"alg":"ES256"}`, `{"iss":"x","iss":"`+w.idp.Issuer()+`","aud":"client"}`)),
			"junk":             bearing("x"),
			"access token":     bearing("parlor_abc"),
			"lower case":       func(r *http.Request) { r.Header.Set("Authorization", "bearer "+w.token(t, nil)) },
		},
	}
	t.Run("several", func(t *testing.T) {
		c := c
		c.Method = issuers(t, w.issuer(t, nil))
		authtest.TestMethod(t, c)
	})
	c.Others["another audience's"] = bearing(w.token(t, map[string]any{"aud": "another"}))
	authtest.TestMethod(t, c)
}

// TestIssuersChoose: two clients of one provider, and a token that is meant for neither.
func TestIssuersChoose(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	named := func(name string, audience ...string) *oidc.Issuer {
		return w.issuer(t, func(o *oidc.IssuerOptions) { o.Name, o.Audience = name, audience })
	}
	m := issuers(t, named("one", "a", "b"), named("two", "c"), other.issuer(t, func(o *oidc.IssuerOptions) { o.Name = "three" }))
	for _, tt := range []struct {
		aud      any
		provider string
	}{{"a", "one"}, {"b", "one"}, {"c", "two"}, {[]string{"x", "c"}, "two"}, {[]string{"c", "a"}, "one"}} {
		id, err := ask(m, w.token(t, map[string]any{"aud": tt.aud}))
		if err != nil || id.Provider != tt.provider || id.Name != tt.provider+".248289761001" || id.Credential != "issuer:"+tt.provider+":key-1" {
			t.Errorf("%v: %+v, %v", tt.aud, id, err)
		}
	}
	if id, err := ask(m, other.token(t, nil)); err != nil || id.Provider != "three" {
		t.Errorf("the other provider: %+v, %v", id, err)
	}
	// Behind it stands a Method that would take any token.
	all := auth.First("jwt", m, anyone{})
	for what, aud := range map[string]any{"another": "client", "none": nil, "empty": []string{}, "a number": 7, "letters' case": "A"} {
		_, err := ask(all, w.token(t, map[string]any{"aud": aud}))
		refusal := wantStatus(t, what, err, 401)
		if refusal.Reason != "Invalid aud claim" || !strings.HasPrefix(refusal.Header.Get("WWW-Authenticate"), `Bearer error="invalid_token"`) || refusal.Method != "jwt" {
			t.Errorf("%s: %+v", what, refusal)
		}
	}
	if id, err := ask(all, w.token(t, map[string]any{"iss": "https://unknown.example.com"})); err != nil || id.Name != "anyone" {
		t.Errorf("an issuer that is nobody's: %+v, %v", id, err)
	}
	if _, err := ask(issuers(t), w.token(t, nil)); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("without issuers: %v", err)
	}
	// Signed by the one, in the name of the other.
	_, err := ask(m, w.token(t, map[string]any{"iss": other.idp.Issuer()}))
	wantStatus(t, "mixed up", err, 401)
}

// anyone takes every bearer token.
type anyone struct{}

func (anyone) Name() string { return "jwt" }
func (anyone) Authenticate(*http.Request) (auth.Identity, error) {
	return auth.Identity{Name: "anyone", Method: "jwt"}, nil
}

func TestIssuersThatCollide(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	prefix := func(p string) *string { return &p }
	apart := func(o *oidc.IssuerOptions) { o.Name, o.Audience = "x", []string{"more"} }
	registers := func(o *oidc.IssuerOptions) { o.Mapping.Unknown = oidc.Register }
	for what, tt := range map[string]struct {
		one, two func(o *oidc.IssuerOptions)
		same, ok bool // of one provider
	}{
		"same tokens":                   {one: func(o *oidc.IssuerOptions) { o.Name = "x"; o.Audience = []string{"client", "more"} }, same: true},
		"same tokens and name":          {same: true},
		"same name":                     {},
		"other audience":                {one: func(o *oidc.IssuerOptions) { o.Audience = []string{"more"} }, same: true, ok: true},
		"other name":                    {one: func(o *oidc.IssuerOptions) { o.Name = "x" }, ok: true},
		"dot in a name":                 {one: func(o *oidc.IssuerOptions) { o.Name = "corp.x" }, ok: true},
		"no prefixes":                   {one: func(o *oidc.IssuerOptions) { o.Name = "x"; o.Mapping.UsernameClaim = "email" }, two: func(o *oidc.IssuerOptions) { o.Mapping.UsernameClaim = "email" }},
		"one prefix":                    {one: func(o *oidc.IssuerOptions) { o.Name = "x"; o.Mapping.UserPrefix = prefix("") }},
		"prefix of a prefix":            {one: func(o *oidc.IssuerOptions) { o.Name = "x"; o.Mapping.UserPrefix = prefix("cor") }},
		"other prefixes":                {one: func(o *oidc.IssuerOptions) { o.Name = "x"; o.Mapping.UserPrefix = prefix("corq") }, ok: true},
		"same name, linked users alone": {one: func(o *oidc.IssuerOptions) { o.Mapping.Unknown = oidc.Refuse }, two: func(o *oidc.IssuerOptions) { o.Mapping.Unknown = oidc.Register }},
		"one of them registers, with other names": {one: func(o *oidc.IssuerOptions) { o.Name, o.Mapping.Unknown = "x", oidc.Register }, ok: true},
		// Whoever the second allows would be put out, and succeeded, by him whom the first registers under that name.
		"one of them registers": {one: func(o *oidc.IssuerOptions) {
			o.Name, o.Mapping.UserPrefix, o.Mapping.Unknown = "x", prefix(""), oidc.Register
		}},
		"both register": {
			one: func(o *oidc.IssuerOptions) {
				o.Name, o.Mapping.UserPrefix, o.Mapping.Unknown = "x", prefix(""), oidc.Register
			},
			two: func(o *oidc.IssuerOptions) { o.Mapping.UserPrefix, o.Mapping.Unknown = prefix(""), oidc.Register }, ok: true,
		},
		"one takes linked users alone": {one: func(o *oidc.IssuerOptions) {
			o.Name, o.Mapping.UserPrefix, o.Mapping.Unknown = "x", prefix(""), oidc.Refuse
		}, ok: true},
		// A subject may call himself what another section of his issuer calls somebody else.
		"other claim": {one: func(o *oidc.IssuerOptions) { apart(o); o.Mapping.UsernameClaim = "preferred_username" }, same: true},
		"other claim, one registers": {one: func(o *oidc.IssuerOptions) {
			apart(o)
			o.Mapping.UsernameClaim, o.Mapping.Unknown = "email", oidc.Register
		}, same: true},
		"other claim, both register": {one: func(o *oidc.IssuerOptions) {
			apart(o)
			o.Mapping.UsernameClaim, o.Mapping.Unknown = "email", oidc.Register
		}, two: registers, same: true, ok: true},
		"other claim, apart": {one: func(o *oidc.IssuerOptions) {
			apart(o)
			o.Mapping.UsernameClaim, o.Mapping.UserPrefix = "email", prefix("mail.")
		}, same: true, ok: true},
		"same claim, other prefix": {one: func(o *oidc.IssuerOptions) { apart(o); o.Mapping.UserPrefix = prefix("corp.x") }, same: true},
		"same claim and prefix":    {one: func(o *oidc.IssuerOptions) { apart(o); o.Mapping.UserPrefix = prefix("corp.") }, same: true, ok: true},
		"sub by its name, same names": {one: func(o *oidc.IssuerOptions) {
			apart(o)
			o.Mapping.UsernameClaim, o.Mapping.UserPrefix = "sub", prefix("corp.")
		}, same: true, ok: true},
	} {
		second := other
		if tt.same {
			second = w
		}
		_, err := oidc.NewIssuers([]*oidc.Issuer{w.issuer(t, tt.one), second.issuer(t, tt.two)})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestIssuerOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	prefix := func(p string) *string { return &p }
	for what, change := range map[string]func(o *oidc.IssuerOptions){
		"no name":          func(o *oidc.IssuerOptions) { o.Name = "" },
		"no issuer":        func(o *oidc.IssuerOptions) { o.Issuer = "" },
		"no audience":      func(o *oidc.IssuerOptions) { o.Audience = nil },
		"no keys":          func(o *oidc.IssuerOptions) { o.Keys = nil },
		"no directory":     func(o *oidc.IssuerOptions) { o.Directory = nil },
		"HS256":            func(o *oidc.IssuerOptions) { o.Algorithms = []string{"HS256"} },
		"unknown users":    func(o *oidc.IssuerOptions) { o.Mapping.Unknown = "maybe" },
		"roles path":       func(o *oidc.IssuerOptions) { o.Mapping.RolesPath = "a..b" },
		"prefix _":         func(o *oidc.IssuerOptions) { o.Mapping.UserPrefix = prefix("_x") },
		"prefix with :":    func(o *oidc.IssuerOptions) { o.Mapping.UserPrefix = prefix("x:") },
		"prefix with LF":   func(o *oidc.IssuerOptions) { o.Mapping.UserPrefix = prefix("x\n") },
		"name begins with": func(o *oidc.IssuerOptions) { o.Name = "_corp" },
		"long name":        func(o *oidc.IssuerOptions) { o.Name = strings.Repeat("x", 239) },
	} {
		o := oidc.IssuerOptions{Name: "corp", Issuer: w.idp.Issuer(), Audience: []string{"client"}, Keys: w.keys, Directory: w.users}
		change(&o)
		if _, err := oidc.NewIssuer(o); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// TestProviderUnreachable: the client learns when to come again, and nothing else.
func TestProviderUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := issuers(t, w.issuer(t, nil))
	token := w.token(t, nil)
	w.idp.Break("", authtest.Down())
	for range 2 {
		_, err := ask(m, token)
		refusal := wantStatus(t, "down", err, 503)
		if refusal.Header.Get("Retry-After") != "2" || refusal.Kind != "service_unavailable" || strings.Contains(refusal.Reason, "127.0.0.1") {
			t.Errorf("%+v", refusal)
		}
	}
	w.idp.Break("", nil)
	w.clock.Advance(2 * time.Second)
	if id, err := ask(m, token); err != nil || id.Name != "corp.248289761001" {
		t.Errorf("back: %+v, %v", id, err)
	}
	w.idp.Break("", authtest.Down())
	w.clock.Advance(50 * time.Minute)
	if id, err := ask(m, token); err != nil || id.Name != "corp.248289761001" {
		t.Errorf("down later: %+v, %v", id, err)
	}
}

// TestRemovedKeyIsForgotten: a token that is remembered is refused when its key has gone from the set.
func TestRemovedKeyIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.issuer(t, func(o *oidc.IssuerOptions) { o.Leeway = 24 * time.Hour })
	token := w.token(t, nil)
	for range 2 {
		if _, err := ask(m, token); err != nil {
			t.Fatal(err)
		}
	}
	w.idp.SetHeader(authtest.KeysPath, "Cache-Control", "max-age=60")
	w.clock.Advance(2 * time.Hour)
	if _, err := ask(m, token); err != nil {
		t.Fatal(err)
	}
	w.idp.Rotate(t, "ES256")
	w.idp.Remove("key-1")
	w.clock.Advance(61 * time.Second) // less than tokens are remembered for
	_, err := ask(m, token)
	wantStatus(t, "the removed key's token", err, 401)
	if _, err := ask(m, w.token(t, nil)); err != nil {
		t.Errorf("the new key's token: %v", err)
	}
}

// TestTokensWithoutKid: after a rotation there is no kid to miss; bad ones have no more fetched than others do.
func TestTokensWithoutKid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := issuers(t, w.issuer(t, nil))
	nameless := func(jti any) string {
		return w.idp.IDToken(t, func(header, claims map[string]any) {
			header["kid"], claims["sub"], claims["jti"] = "", "248289761001", jti
		})
	}
	if id, err := ask(m, nameless(0)); err != nil || id.Credential != "issuer:corp:" {
		t.Fatalf("%+v, %v", id, err)
	}
	w.idp.Rotate(t, "ES256")
	w.idp.Remove("key-1")
	w.clock.Advance(30 * time.Second)
	if _, err := ask(m, nameless(1)); err != nil {
		t.Errorf("the new key: %v", err)
	}
	want(t, "requests", w.idp.Requests(authtest.KeysPath), 2)
	w.idp.SignWith(authtest.NewSigner(t, "ES256", ""))
	for _, pause := range []time.Duration{0, 29 * time.Second, time.Second} {
		w.clock.Advance(pause)
		for i := range 50 {
			_, err := ask(m, nameless(fmt.Sprint(pause, i)))
			wantStatus(t, "another's key", err, 401)
		}
	}
	want(t, "requests", w.idp.Requests(authtest.KeysPath), 3)
}

// TestThousandBadTokens: through the Method, at most one request goes out.
func TestThousandBadTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := issuers(t, w.issuer(t, nil))
	if _, err := ask(m, w.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Minute)
	before := w.idp.Requests(authtest.KeysPath) + w.idp.Requests(authtest.DiscoveryPath)
	signer := authtest.NewSigner(t, "EdDSA", "x")
	claims := map[string]any{"iss": w.idp.Issuer(), "aud": "client", "sub": "x", "exp": 4102444800}
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := range 100 {
				_, err := ask(m, signer.Token(t, map[string]any{"kid": fmt.Sprint(worker, "/", i)}, claims))
				wantStatus(t, "unknown kid", err, 401)
			}
		})
	}
	wg.Wait()
	if n := w.idp.Requests(authtest.KeysPath) + w.idp.Requests(authtest.DiscoveryPath) - before; n != 1 {
		t.Errorf("%d requests went out", n)
	}
}

// TestWrongSignaturesHaveABudget: of the client that IssuerOptions.Client finds.
func TestWrongSignaturesHaveABudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.issuer(t, func(o *oidc.IssuerOptions) { o.Budget = auth.NewBudget(auth.BudgetOptions{Failures: 2}) })
	mallory := authtest.NewSigner(t, "ES256", "key-1")
	status := func(peer, token string) int {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		bearing(token)(r)
		_, err := m.Authenticate(r)
		if refusal, ok := err.(*auth.Refusal); ok {
			return refusal.Status
		}
		return 200
	}
	for i, want := range []int{401, 401, 429} {
		bad := mallory.Token(t, nil, map[string]any{"iss": w.idp.Issuer(), "aud": "client", "sub": fmt.Sprint(i), "exp": 4102444800})
		if got := status("192.0.2.1:1", bad); got != want {
			t.Errorf("wrong token %d: %d, want %d", i, got, want)
		}
	}
	want(t, "a right one beyond the budget", status("192.0.2.1:2", w.token(t, nil)), 429)
	want(t, "another client", status("192.0.2.2:1", w.token(t, nil)), 200)
}

// TestClockOffByMinutes: the leeway counts both ways.
func TestClockOffByMinutes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		leeway, off time.Duration
		ok          bool
	}{{0, -time.Minute, false}, {5 * time.Minute, -4 * time.Minute, true}, {5 * time.Minute, -6 * time.Minute, false}, {5 * time.Minute, 64 * time.Minute, true}, {5 * time.Minute, 66 * time.Minute, false}, {0, 59 * time.Minute, true}} {
		w := newWorld(t)
		m := w.issuer(t, func(o *oidc.IssuerOptions) { o.Leeway = tt.leeway })
		token := w.token(t, map[string]any{"nbf": w.clock.Now().Unix()})
		w.clock.Advance(tt.off)
		if _, err := ask(m, token); (err == nil) != tt.ok {
			t.Errorf("leeway %v, off by %v: %v", tt.leeway, tt.off, err)
		}
	}
}

// TestLogoutTokenIsNoBearer: the provider signed it, for this client, about this user.
func TestLogoutTokenIsNoBearer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := issuers(t, w.issuer(t, nil))
	for what, edit := range map[string]func(header, claims map[string]any){
		"as it is": nil, "without typ": func(header, _ map[string]any) { delete(header, "typ") }, "typ JWT": func(header, _ map[string]any) { header["typ"] = "JWT" },
		"without events": func(_, claims map[string]any) { delete(claims, "events") },
	} {
		_, err := ask(m, w.idp.LogoutToken(t, "248289761001", "", edit))
		wantStatus(t, what, err, 401)
	}
}

// TestRequiredClaimsOfAnIssuer reach the verifier.
func TestRequiredClaimsOfAnIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.issuer(t, func(o *oidc.IssuerOptions) {
		o.Required, o.Algorithms = jwt.Claims{{Name: "hd", Values: []string{"example.com"}}}, []string{"ES256"}
	})
	_, err := ask(m, w.token(t, map[string]any{"hd": "example.org"}))
	wantStatus(t, "another domain", err, 401)
	if _, err := ask(m, w.token(t, map[string]any{"hd": "example.com"})); err != nil {
		t.Error(err)
	}
	w.idp.Rotate(t, "RS256")
	w.clock.Advance(time.Minute)
	_, err = ask(m, w.token(t, map[string]any{"hd": "example.com"}))
	wantStatus(t, "another algorithm", err, 401)
}

// BenchmarkIssuers is a request whose token has verified before, whole: choosing the issuer, the times, the key, the name and the roles.
func BenchmarkIssuers(b *testing.B) {
	w := newWorld(b)
	w.users.Put(auth.User{Name: "corp.248289761001", Roles: []string{"reader"}, Identities: []auth.ForeignIdentity{{Issuer: w.idp.Issuer(), Subject: "248289761001"}}})
	m := issuers(b, w.issuer(b, func(o *oidc.IssuerOptions) { o.Mapping.RolesPath = "groups" }))
	r := httptest.NewRequest("GET", "/", nil)
	bearing(w.token(b, map[string]any{"groups": []string{"a", "b", "c"}, "email": "anna@example.com", "email_verified": true}))(r)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}
