package server

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/oidc"
	"github.com/parlordb/parlor/config"
)

// loginServer is a server at which users log in at a provider, "idp", that signs in the subject "1" under the name ann.
type loginServer struct {
	*testServer
	t        *testing.T
	provider *authtest.Provider
	sessions *auth.Sessions
	ahead    atomic.Int64 // of the clock, as a time.Duration
}

// newLoginServer starts one with a database db that ann and bob may enter, and their documents; ann's is linked to her. change may be nil.
func newLoginServer(t *testing.T, mapping oidc.Mapping, change func(*oidc.ProviderOptions), settings ...string) *loginServer {
	t.Helper()
	p := authtest.NewProvider(t, authtest.ProviderOptions{})
	p.SetUser(map[string]any{"sub": "1", "preferred_username": "ann"})
	ls := &loginServer{testServer: newTestServer(t), t: t, provider: p}
	ls.s.now, ls.s.asking = ls.now, auth.NewBudget(auth.BudgetOptions{Now: ls.now})
	if mapping.UsernameClaim == "" {
		mapping.UsernameClaim = "preferred_username"
	}
	ls.configure(mapping, change, settings...)
	ls.do("PUT", "/_users", "")
	ls.do("PUT", "/db", "")
	ls.do("PUT", "/db/_security", `{"members":{"names":["ann","bob"]}}`)
	ls.do("PUT", userAnn, `{"type":"user","name":"ann","roles":["staff"],"password":"pw","identities":[{"issuer":"`+p.URL+`","subject":"1"}]}`)
	ls.do("PUT", "/_users/org.couchdb.user:bob", `{"type":"user","name":"bob","roles":[],"password":"pw"}`)
	return ls
}

func (ls *loginServer) now() time.Time { return time.Now().Add(time.Duration(ls.ahead.Load())) }

// configure makes what signs on anew. Each setting is "section/key=value".
func (ls *loginServer) configure(mapping oidc.Mapping, change func(*oidc.ProviderOptions), settings ...string) {
	ls.t.Helper()
	live := ls.s.live()
	for _, setting := range settings {
		path, value, _ := strings.Cut(setting, "=")
		section, key, _ := strings.Cut(path, "/")
		if _, err := live.Set(section, key, value, false); err != nil {
			ls.t.Fatal(err)
		}
	}
	if ls.sessions = ls.s.sessions; ls.sessions == nil {
		ls.sessions = auth.NewSessions(new(auth.MemoryState), ls.s.users, ls.s.revocations)
		ls.t.Cleanup(ls.sessions.Close)
	}
	if err := ls.sessions.Configure(auth.SessionOptions{Timeout: time.Hour, Providers: []string{"idp"}, Alias: SyncGatewayCookie, Now: ls.now}); err != nil {
		ls.t.Fatal(err)
	}
	client := oidc.NewClient(oidc.ClientOptions{Insecure: true, AllowPrivate: true})
	keys, err := oidc.NewKeySet(oidc.KeySetOptions{Issuer: ls.provider.Issuer(), Client: client})
	if err != nil {
		ls.t.Fatal(err)
	}
	ls.t.Cleanup(keys.Close)
	ls.t.Cleanup(client.CloseIdleConnections)
	issuer, err := oidc.NewIssuer(oidc.IssuerOptions{
		Name: "idp", Issuer: ls.provider.Issuer(), Audience: []string{"client"}, Keys: keys, Mapping: mapping, Directory: ls.s.users,
	})
	if err != nil {
		ls.t.Fatal(err)
	}
	o := oidc.ProviderOptions{
		Name: "idp", Label: "Our provider", Order: 1, Issuer: issuer, Keys: keys, ClientID: "client", ClientSecret: "secret", Client: client,
		ReturnTo: []string{"https://app.example", "myapp:"},
	}
	if change != nil {
		change(&o)
	}
	provider, err := oidc.NewProvider(o)
	if err != nil {
		ls.t.Fatal(err)
	}
	o.Name, o.Label, o.Order = "another", "", 2
	another, err := oidc.NewProvider(o)
	if err != nil {
		ls.t.Fatal(err)
	}
	ls.s.auth.Configure([]auth.Method{issuer, ls.sessions, auth.NewBasic(ls.s.passwords)})
	if err := ls.s.Configure(live.Snapshot(), SignOn{Sessions: ls.sessions, Providers: []*oidc.Provider{another, provider}}); err != nil {
		ls.t.Fatal(err)
	}
}

// browser keeps cookies and goes nowhere by itself.
type browser struct {
	*http.Client
	ls *loginServer
}

func (ls *loginServer) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		ls.t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, Transport: ls.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, ls}
}

// page is an answer that a browser has read.
type page struct {
	status int
	http.Header
	body string
}

// visit makes a request to a path here, or an absolute URL.
func (b *browser) visit(method, to, body string, header ...string) page {
	b.ls.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = b.ls.URL + to
	}
	req, err := http.NewRequest(method, to, strings.NewReader(body))
	if err != nil {
		b.ls.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.Do(req)
	if err != nil {
		b.ls.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.ls.t.Fatal(err)
	}
	return page{res.StatusCode, res.Header, string(text)}
}

// atProvider goes from a login to the URL of the callback, without visiting it.
func (b *browser) atProvider(login string) string {
	b.ls.t.Helper()
	sent := b.visit("GET", login, "")
	if sent.status != http.StatusFound {
		b.ls.t.Fatalf("%s: %d %s", login, sent.status, sent.body)
	}
	return b.ls.provider.SignIn(b.ls.t, sent.Get("Location")).String()
}

// login goes all the way.
func (b *browser) login(path string, header ...string) page {
	b.ls.t.Helper()
	return b.visit("GET", b.atProvider(path), "", header...)
}

// secret is what the cookie of the browser's session holds.
func (b *browser) secret() string {
	b.ls.t.Helper()
	here, err := url.Parse(b.ls.URL)
	if err != nil {
		b.ls.t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(here) {
		if c.Name == auth.CookieName {
			return c.Value
		}
	}
	b.ls.t.Fatal("there is no session")
	return ""
}

// user is the name in the answer of /_session, "" for nobody.
func (b *browser) user() string {
	b.ls.t.Helper()
	var session struct{ UserCtx struct{ Name string } }
	decode(b.ls.t, b.visit("GET", "/_session", "").body, &session)
	return session.UserCtx.Name
}

func (p page) refused(t *testing.T, what string, status int) {
	t.Helper()
	if p.status != status || !strings.Contains(p.body, `"error":`) || strings.Contains(strings.Join(p.Values("Set-Cookie"), " "), auth.CookieName+"=") {
		t.Errorf("%s: %d %s %v, want %d and no session", what, p.status, p.body, p.Header, status)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	b := ls.browser()
	sent := b.visit("GET", "/_oidc/idp/login?next=%2Fdb%3Fa%3D1", "")
	if sent.status != 302 || sent.Get("Cache-Control") != "no-store" || sent.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("login: %d %v", sent.status, sent.Header)
	}
	to, err := url.Parse(sent.Get("Location"))
	if q := to.Query(); err != nil || q.Get("redirect_uri") != ls.URL+"/_oidc/idp/callback" || q.Get("state") == "" || q.Get("nonce") == "" || q.Get("code_challenge_method") != "S256" {
		t.Errorf("sent to %s, %v", to, err)
	}
	back := b.visit("GET", ls.provider.SignIn(t, sent.Get("Location")).String(), "")
	if back.status != 302 || back.Get("Location") != "/db?a=1" || back.Get("Cache-Control") != "no-store" || back.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("callback: %d %v %s", back.status, back.Header, back.body)
	}
	if name := b.user(); name != "ann" {
		t.Errorf("signed in as %q", name)
	}
	if got := b.visit("GET", "/db", ""); got.status != 200 {
		t.Errorf("the database: %d %s", got.status, got.body)
	}
	held, err := ls.sessions.List(t.Context(), "ann", "", 10)
	if err != nil || len(held) != 1 || held[0].Method != "oidc" || held[0].Provider != "idp" || held[0].Subject != "1" || held[0].SID == "" || held[0].Local {
		t.Errorf("the session is %+v, %v", held, err)
	}

	if got := ls.browser().login("/_oidc/idp/login", "Accept", "text/html,*/*;q=0.8"); got.status != 302 || got.Get("Location") != "/_utils/" {
		t.Errorf("a browser without next: %d %v", got.status, got.Header)
	}
	var told struct {
		OK                bool
		Name              string
		Roles             []string
		ID_Token, Expires string
	}
	script := ls.browser()
	got := script.login("/_oidc/idp/login")
	decode(t, got.body, &told)
	if got.status != 200 || !told.OK || told.Name != "ann" || len(told.Roles) != 1 || strings.Count(told.ID_Token, ".") != 2 || told.Expires == "" || script.user() != "ann" {
		t.Errorf("a script without next: %d %s", got.status, got.body)
	}
}

func TestProvidersAreListed(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	if status, body := ls.as("", "GET", "/_oidc", ""); status != 200 || body !=
		`[{"name":"idp","label":"Our provider","login":"/_oidc/idp/login"},{"name":"another","label":"another","login":"/_oidc/another/login"}]`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	ls.configure(oidc.Mapping{}, nil, "chttpd/require_valid_user=true")
	if status, _ := ls.as("", "GET", "/_oidc", ""); status != 200 {
		t.Errorf("where a valid user is required, nobody can log in: %d", status)
	}
	if status, _ := ls.as("", "GET", "/_session", ""); status != 401 {
		t.Errorf("/_session: %d", status)
	}
}

// TestLoginRefused: what must not begin.
func TestLoginRefused(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	challenge := "&code_challenge=" + strings.Repeat("a", 43)
	for _, c := range []struct {
		path   string
		status int
		header []string
	}{
		{path: "/_oidc/nobody/login", status: 404},
		{path: "/_oidc/nobody/callback", status: 404},
		{path: "/_oidc/nobody/logout", status: 404},
		{path: "/_oidc/idp/login?next=https://evil.example/", status: 400},
		{path: "/_oidc/idp/login?next=//evil.example/", status: 400},
		{path: "/_oidc/idp/login?next=/%5Cevil.example/", status: 400},
		{path: "/_oidc/idp/login?next=/%09/evil.example/", status: 400},
		{path: "/_oidc/idp/login?next=/%0D%0ASet-Cookie:x", status: 400},
		{path: "/_oidc/idp/login?next=evil", status: 400},
		{path: "/_oidc/idp/login?next=javascript:alert(1)", status: 400},
		{path: "/_oidc/idp/logout?next=//evil.example/", status: 400},
		{path: "/_oidc/idp/login?return_to=https://evil.example/" + challenge, status: 400},
		{path: "/_oidc/idp/login?return_to=https://app.example.evil.example/" + challenge, status: 400},
		{path: "/_oidc/idp/login?return_to=https://app.example/", status: 400},
		{path: "/_oidc/idp/login?next=/&return_to=myapp:x" + challenge, status: 400},
		{path: "/_oidc/idp/login", status: 400, header: []string{"Host", "evil.example"}},
		{path: "/_oidc/idp/login", status: 400, header: []string{"Host", "evil.example", "X-Forwarded-For", "10.0.0.1"}},
		{path: "/_oidc/idp/login", status: 400, header: []string{"X-Forwarded-For", "10.0.0.1"}},
		{path: "/_oidc/idp/login", status: 400, header: []string{"X-Forwarded-Host", "a.example, b.example"}},
		{path: "/_oidc/idp/login", status: 400, header: []string{"X-Forwarded-Host", "a.example/x"}},
		{path: "/_oidc/idp/login", status: 400, header: []string{"X-Forwarded-Host", "user@a.example"}},
	} {
		got := ls.browser().visit("GET", c.path, "", c.header...)
		got.refused(t, c.path, c.status)
		if got.Get("Cache-Control") != "no-store" || got.Get("Location") != "" {
			t.Errorf("%s: %v", c.path, got.Header)
		}
	}
	if n := ls.provider.Requests(authtest.AuthorizePath); n > 0 {
		t.Errorf("%d came to the provider", n)
	}
	for _, path := range []string{"/_oidc/idp/login", "/_oidc/idp/callback?code=1&state=2", "/_oidc/idp/logout"} {
		if got := ls.browser().visit("HEAD", path, ""); got.status != 405 || len(got.Values("Set-Cookie")) > 0 || got.Get("Location") != "" {
			t.Errorf("HEAD %s: %d %v", path, got.status, got.Header)
		}
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	callback := func(header ...string) string {
		t.Helper()
		sent := ls.browser().visit("GET", "/_oidc/idp/login", "", header...)
		to, err := url.Parse(sent.Get("Location"))
		if sent.status != 302 || err != nil {
			t.Fatalf("%d %s %v", sent.status, sent.body, err)
		}
		if secure := strings.Contains(sent.Get("Set-Cookie"), "; Secure"); secure != strings.HasPrefix(to.Query().Get("redirect_uri"), "https:") {
			t.Errorf("redirect_uri %s with %s", to.Query().Get("redirect_uri"), sent.Get("Set-Cookie"))
		}
		return to.Query().Get("redirect_uri")
	}
	if got := callback("X-Forwarded-Host", "sync.example:8443", "X-Forwarded-Proto", "https"); got != "https://sync.example:8443/_oidc/idp/callback" {
		t.Errorf("behind a proxy: %s", got)
	}
	ls.configure(oidc.Mapping{UsernameClaim: "preferred_username"}, nil, "parlor/public_url=https://sync.example/couch/")
	if got := callback("Host", "evil.example", "X-Forwarded-Host", "evil.example"); got != "https://sync.example/couch/_oidc/idp/callback" {
		t.Errorf("with public_url: %s", got)
	}
	ls.configure(oidc.Mapping{UsernameClaim: "preferred_username"}, func(o *oidc.ProviderOptions) { o.CallbackURL = "https://other.example/cb" }, "parlor/public_url=")
	if got := callback("Host", "evil.example"); got != "https://other.example/cb" {
		t.Errorf("with callback_url: %s", got)
	}
	for _, bad := range []string{"sync.example", "ftp://sync.example", "https://", "https://a b", "https://u@sync.example", "https://sync.example/?a", "https://sync.example/#a", "https://sync.example//x", "https:/\\x"} {
		snap, err := config.Open(config.Options{Overrides: "[parlor]\npublic_url = " + bad})
		if err != nil {
			continue // not even a setting
		}
		if got, err := readPublicURL(snap.Snapshot()); err == nil {
			t.Errorf("public_url %s is taken as %s", bad, got)
		}
	}
}

// TestProxyIsTrustedOnly: who is no trusted proxy cannot name the server.
func TestProxyIsTrustedOnly(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil, "parlor/trusted_proxies=192.0.2.1")
	for _, header := range [][]string{{"X-Forwarded-Host", "evil.example"}, {"X-Forwarded-Host", "localhost", "Host", "localhost"}} {
		ls.browser().visit("GET", "/_oidc/idp/login", "", header...).refused(t, header[1], 400)
	}
}

// TestCallbackRefused: what must not end in a session.
func TestCallbackRefused(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	b := ls.browser()
	back := b.atProvider("/_oidc/idp/login?next=/db")
	ls.browser().visit("GET", back, "").refused(t, "another browser (login CSRF)", 400)
	b.visit("GET", strings.Replace(back, "state=", "state=x", 1), "").refused(t, "another state", 400)
	b.visit("GET", strings.Replace(back, "/idp/", "/another/", 1), "").refused(t, "another provider's (mix-up)", 400)
	b.visit("GET", back, "", "Host", "evil.example").refused(t, "forged Host", 400)
	b.visit("GET", back, "", "X-Forwarded-Host", "evil.example").refused(t, "another address", 400)
	back = b.atProvider("/_oidc/idp/login?next=/db")
	if got := b.visit("GET", back, ""); got.status != 302 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	replay := ls.browser()
	replay.visit("GET", back, "").refused(t, "replayed elsewhere", 400)
	b.visit("GET", back, "").refused(t, "replayed", 400)
	b.visit("GET", "/_oidc/idp/callback", "").refused(t, "nothing", 400)

	fresh := ls.browser()
	back = fresh.atProvider("/_oidc/idp/login")
	code := fresh.visit("GET", strings.Replace(back, "code=", "code=x", 1), "")
	if code.status != 401 && code.status != 503 || fresh.user() != "" {
		t.Errorf("a forged code: %d %s", code.status, code.body)
	}
}

// TestStrangersStayOut: who has logged in at the provider need not be anyone here.
func TestStrangersStayOut(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	login := func(claims map[string]any) page {
		t.Helper()
		ls.provider.SetUser(claims)
		b := ls.browser()
		got := b.login("/_oidc/idp/login?next=/db")
		if name := b.user(); got.status != 302 && name != "" {
			t.Errorf("%v: signed in as %s", claims, name)
		}
		return got
	}
	login(map[string]any{"sub": "7", "preferred_username": "carl"}).refused(t, "unknown", 403)
	login(map[string]any{"sub": "2", "preferred_username": "bob"}).refused(t, "not linked", 403)
	login(map[string]any{"sub": "2", "preferred_username": "ann"}).refused(t, "linked to another", 403)
	login(map[string]any{"sub": "2", "preferred_username": "admin"}).refused(t, "a server admin's name", 403)
	login(map[string]any{"sub": "2", "preferred_username": ""}).refused(t, "an empty name", 403)
	login(map[string]any{"sub": "1"}).refused(t, "no name", 403)

	ls.configure(oidc.Mapping{UsernameClaim: "preferred_username", LinkExisting: true, Unknown: oidc.Register}, nil)
	login(map[string]any{"sub": "2", "preferred_username": "admin"}).refused(t, "a server admin's name, with link_existing and register", 403)
	login(map[string]any{"sub": "2", "preferred_username": "ann"}).refused(t, "linked to another, with link_existing", 403)
	login(map[string]any{"sub": "2", "preferred_username": "_ann"}).refused(t, "a name of the server's own", 403)
	if got := login(map[string]any{"sub": "2", "preferred_username": "bob"}); got.status != 302 {
		t.Errorf("link_existing: %d %s", got.status, got.body)
	}
	login(map[string]any{"sub": "3", "preferred_username": "bob"}).refused(t, "a second of the name", 403)
	if got := login(map[string]any{"sub": "7", "preferred_username": "carl"}); got.status != 302 {
		t.Errorf("register: %d %s", got.status, got.body)
	}
	if body := ls.do("GET", "/_users/org.couchdb.user:carl", ""); !strings.Contains(body, `"subject":"7"`) {
		t.Errorf("registered as %s", body)
	}

	var doc struct {
		Rev string `json:"_rev"`
	}
	decode(t, ls.do("GET", userAnn, ""), &doc)
	ls.do("PUT", userAnn, `{"_rev":"`+doc.Rev+`","type":"user","name":"ann","roles":[],"disabled":true,"identities":[{"issuer":"`+ls.provider.URL+`","subject":"1"}]}`)
	login(map[string]any{"sub": "1", "preferred_username": "ann"}).refused(t, "disabled", 403)
}

// TestLoginForApps: an app that lives elsewhere is sent a code, never a token, and trades it once.
func TestLoginForApps(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	verifier := strings.Repeat("v", 43)
	sum := sha256.Sum256([]byte(verifier))
	challenge := "&offline=true&code_challenge=" + base64.RawURLEncoding.EncodeToString(sum[:])
	code := func(returnTo string) string {
		t.Helper()
		b := ls.browser()
		got := b.login("/_oidc/idp/login?return_to=" + url.QueryEscape(returnTo) + challenge)
		to, err := url.Parse(got.Get("Location"))
		if err != nil || got.status != 302 || b.user() != "" || to.Query().Get("app") == "1" && !strings.HasPrefix(got.Get("Location"), returnTo) || len(to.Query()) > 2 {
			t.Fatalf("%d %v %s", got.status, got.Header, got.body)
		}
		return to.Query().Get("code")
	}
	trade := func(code, verifier string, header ...string) (page, *browser) {
		app := ls.browser()
		return app.visit("POST", "/_session", `{"code":"`+code+`","code_verifier":"`+verifier+`"}`, header...), app
	}
	first := code("https://app.example/login?app=1")
	got, app := trade(first, verifier)
	var told struct{ Name, ID_Token, Refresh_Token string }
	decode(t, got.body, &told)
	if got.status != 200 || told.Name != "ann" || told.ID_Token == "" || told.Refresh_Token == "" || app.user() != "ann" || got.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, c := range []struct {
		name, code, verifier string
		status               int
		header               []string
	}{
		{"replayed", first, verifier, 400, nil},
		{"made up", "abc", verifier, 400, nil},
		{"another's verifier", code("myapp://login"), strings.Repeat("w", 43), 400, nil},
		{"no verifier", code("myapp:login"), "", 400, nil},
		{"the challenge as its verifier", code("myapp:login"), base64.RawURLEncoding.EncodeToString(sum[:]), 400, nil},
		{"from another site's page", code("myapp:login"), verifier, 403, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}},
	} {
		got, app := trade(c.code, c.verifier, c.header...)
		got.refused(t, c.name, c.status)
		if app.user() != "" {
			t.Errorf("%s: signed in", c.name)
		}
	}
	ls.configure(oidc.Mapping{UsernameClaim: "preferred_username"}, nil, "chttpd/enable_cors=true", "cors/origins=https://app.example", "cors/credentials=true")
	got, _ = trade(code("https://app.example/"), verifier, "Origin", "https://app.example", "Sec-Fetch-Site", "cross-site")
	if got.status != 200 || got.Get("Access-Control-Allow-Origin") != "https://app.example" || got.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("from the app's page: %d %s %v", got.status, got.body, got.Header)
	}
	for _, path := range []string{"/_session", "/_oidc/idp/refresh"} {
		got := ls.browser().visit("OPTIONS", path, "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
		if got.status != 204 || got.Get("Access-Control-Allow-Origin") != "https://app.example" {
			t.Errorf("preflight of %s: %d %v", path, got.status, got.Header)
		}
	}
	wrong := code("myapp:login")
	trade(wrong, strings.Repeat("w", 43))
	got, _ = trade(wrong, verifier)
	got.refused(t, "after a wrong verifier", 400)

	late := code("myapp:login")
	ls.ahead.Store(int64(codeLifetime))
	got, _ = trade(late, verifier)
	got.refused(t, "too late", 400)
}

// TestLoginCodesEndWithTheirUser: a login that an app has not fetched yet makes no session for a user who has gone since, who is not linked any more, or whose sessions were ended.
func TestLoginCodesEndWithTheirUser(t *testing.T) {
	t.Parallel()
	verifier := strings.Repeat("v", 43)
	sum := sha256.Sum256([]byte(verifier))
	start := "/_oidc/idp/login?offline=true&return_to=myapp:login&code_challenge=" + base64.RawURLEncoding.EncodeToString(sum[:])
	for what, end := range map[string]func(ls *loginServer, rev string){
		"deleted": func(ls *loginServer, rev string) { ls.do("DELETE", userAnn+"?rev="+rev, "") },
		"unlinked": func(ls *loginServer, rev string) {
			ls.do("PUT", userAnn, `{"_rev":"`+rev+`","type":"user","name":"ann","roles":[]}`)
		},
		"disabled": func(ls *loginServer, _ string) {
			ls.do("PUT", userAnn, strings.Replace(ls.do("GET", userAnn, ""), `"type":"user"`, `"type":"user","disabled":true`, 1))
		},
		"all users": func(ls *loginServer, _ string) { ls.do("DELETE", "/_users", "") },
		"ended":     func(ls *loginServer, _ string) { ls.do("DELETE", "/_sessions?user=ann", "") },
	} {
		ls := newLoginServer(t, oidc.Mapping{}, nil)
		var told struct{ Refresh_Token string }
		decode(t, ls.browser().login("/_oidc/idp/login?offline=true").body, &told)
		back, err := url.Parse(ls.browser().login(start).Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		end(ls, ls.revOf(userAnn))
		app := ls.browser()
		app.visit("POST", "/_session", `{"code":"`+back.Query().Get("code")+`","code_verifier":"`+verifier+`"}`).refused(t, what, 400)
		if what != "ended" { // then the provider's word counts anew
			app.visit("POST", "/_oidc/idp/refresh", `{"refresh_token":"`+told.Refresh_Token+`"}`).refused(t, what+", by refresh token", 403)
		}
		if name := app.user(); name != "" {
			t.Errorf("%s: signed in as %s", what, name)
		}
	}
}

func TestLoginCodesAreBounded(t *testing.T) {
	t.Parallel()
	var codes loginCodes
	now := time.Now()
	verifier := strings.Repeat("v", 43)
	sum := sha256.Sum256([]byte(verifier))
	login := func(name string) *oidc.Outcome {
		return &oidc.Outcome{Who: auth.Identity{Name: name}, Challenge: base64.RawURLEncoding.EncodeToString(sum[:])}
	}
	var first, last string
	for i := range maxCodesPerUser + 1 {
		code, err := codes.add(nil, login("ann"), now.Add(time.Duration(i)))
		if err != nil {
			t.Fatal(err)
		}
		if last = code; first == "" {
			first = code
		}
	}
	if _, err := codes.take(first, verifier, now); err == nil || len(codes.held) != maxCodesPerUser {
		t.Errorf("the oldest of too many is still there, among %d", len(codes.held))
	}
	if _, err := codes.take(last, verifier, now); err != nil {
		t.Error(err)
	}
	for i := len(codes.held); i < maxCodes; i++ {
		if _, err := codes.add(nil, login(time.Duration(i).String()), now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := codes.add(nil, login("bob"), now); err == nil {
		t.Error("there is no bound")
	}
	if _, err := codes.add(nil, login("bob"), now.Add(codeLifetime+time.Second)); err != nil || len(codes.held) != 1 {
		t.Errorf("%v, and %d are held", err, len(codes.held))
	}
}

func TestDisableSession(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, func(o *oidc.ProviderOptions) { o.NoSession = true }, "parlor/sync_gateway_api=true")
	b := ls.browser()
	got := b.login("/_oidc/idp/login?next=/db")
	var told struct{ ID_Token, Expires string }
	decode(t, got.body, &told)
	if got.status != 200 || told.ID_Token == "" || told.Expires != "" || b.user() != "" {
		t.Fatalf("%d %s %v", got.status, got.body, got.Header)
	}
	if got := b.visit("GET", "/db", "", "Authorization", "Bearer "+told.ID_Token); got.status != 200 {
		t.Errorf("the ID token as a bearer token: %d %s", got.status, got.body)
	}
	bearer := []string{"Authorization", "Bearer " + told.ID_Token}
	for what, got := range map[string]page{
		"in the header":             ls.browser().visit("POST", "/_session", "", bearer...),
		"for one request":           ls.browser().visit("POST", "/_session?one_time=true", "", bearer...),
		"in the body":               ls.browser().visit("POST", "/_session", `{"id_token":"`+told.ID_Token+`"}`),
		"on Sync Gateway's path":    ls.browser().visit("POST", "/db/_session", "", bearer...),
		"for one request and there": ls.browser().visit("POST", "/db/_session?one_time=true", "", bearer...),
	} {
		if got.status != 403 || got.Get("Set-Cookie") != "" || strings.Contains(got.body, "one_time") {
			t.Errorf("the ID token traded %s: %d %s %v", what, got.status, got.body, got.Header)
		}
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	var told struct{ Refresh_Token, Name string }
	decode(t, ls.browser().login("/_oidc/idp/login?offline=true").body, &told)
	if told.Refresh_Token == "" {
		t.Fatal("there is no refresh token")
	}
	old := told.Refresh_Token
	app := ls.browser()
	app.visit("GET", "/_oidc/idp/refresh?refresh_token="+old, "").refused(t, "by GET", 405)
	app.visit("POST", "/_oidc/idp/refresh?refresh_token="+old, `{}`).refused(t, "in the URL", 400)
	app.visit("POST", "/_oidc/idp/refresh", `{"refresh_token":"`+old+`"}`, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").refused(t, "from another site", 403)
	app.visit("POST", "/_oidc/nobody/refresh", `{"refresh_token":"`+old+`"}`).refused(t, "unknown provider", 404)
	got := app.visit("POST", "/_oidc/idp/refresh", `{"refresh_token":"`+old+`"}`)
	decode(t, got.body, &told)
	if got.status != 200 || told.Name != "ann" || told.Refresh_Token == old || told.Refresh_Token == "" || app.user() != "ann" || got.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", got.status, got.body)
	}
	app.visit("POST", "/_oidc/idp/refresh", `{"refresh_token":"`+old+`"}`).refused(t, "used", 401)
	for range 60 {
		app.visit("POST", "/_oidc/idp/refresh", `{"refresh_token":"x"}`)
	}
	asked := ls.provider.Requests(authtest.TokenPath)
	app.visit("POST", "/_oidc/idp/refresh", `{"refresh_token":"x"}`).refused(t, "after too many", 429)
	if now := ls.provider.Requests(authtest.TokenPath); now != asked {
		t.Errorf("the provider was asked %d times more", now-asked)
	}
	ls.ahead.Store(int64(time.Minute))
	form := ls.browser()
	if got := form.visit("POST", "/_oidc/idp/refresh", "refresh_token="+told.Refresh_Token, "Content-Type", "application/x-www-form-urlencoded"); got.status != 200 || form.user() != "ann" {
		t.Errorf("as a form: %d %s", got.status, got.body)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	b := ls.browser()
	b.login("/_oidc/idp/login")
	b.visit("GET", "/_oidc/idp/logout", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "image").refused(t, "a picture in another site's page", 403)
	if b.user() != "ann" {
		t.Error("it signed out")
	}
	got := b.visit("GET", "/_oidc/idp/logout?next=/bye", "")
	to, err := url.Parse(got.Get("Location"))
	if err != nil || got.status != 302 || to.Path != authtest.EndSessionPath || to.Query().Get("post_logout_redirect_uri") != ls.URL+"/bye" || b.user() != "" {
		t.Errorf("%d %v, still %q", got.status, got.Header, b.user())
	}
	if held, err := ls.sessions.List(t.Context(), "ann", "", 10); err != nil || len(held) > 0 {
		t.Errorf("sessions left: %v %v", held, err)
	}
	ls.provider.Misbehave(authtest.Misbehaviour{Metadata: func(m map[string]any) { delete(m, "end_session_endpoint") }})
	ls.configure(oidc.Mapping{UsernameClaim: "preferred_username"}, nil)
	if got := b.visit("GET", "/_oidc/idp/logout?next=/bye", ""); got.status != 302 || got.Get("Location") != "/bye" {
		t.Errorf("where the provider knows no logout: %d %v", got.status, got.Header)
	}
}

// TestTooManyLogoutTokens: that there were too many is no fault of the token, which the provider may send again.
func TestTooManyLogoutTokens(t *testing.T) {
	t.Parallel()
	e := asError(invalidRequest(&auth.Refusal{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}}))
	if e.Status != http.StatusTooManyRequests || e.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %v", e.Status, e.Header)
	}
}

// TestBackchannelLogout: the provider ends a login, by its session or by its subject, and the feeds of its sessions with it.
func TestBackchannelLogout(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	const path = "/_oidc/idp/backchannel_logout"
	post := func(token string) page {
		t.Helper()
		return ls.browser().visit("POST", path, url.Values{"logout_token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	follow := func(b *browser) *openFeed {
		t.Helper()
		res := ls.send("", "GET", "/db/_changes?feed=continuous&heartbeat=true", "", "Cookie", auth.CookieName+"="+b.secret())
		t.Cleanup(func() { res.Body.Close() })
		if res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
		return newOpenFeed(t, res.Body)
	}
	one, two := ls.browser(), ls.browser()
	one.login("/_oidc/idp/login")
	two.login("/_oidc/idp/login")
	first, second := follow(one), follow(two)
	held, err := ls.sessions.Get(t.Context(), ls.sessions.Lookup(one.secret()))
	if err != nil {
		t.Fatal(err)
	}
	sid := held.SID
	for name, token := range map[string]string{
		"nothing": "", "garbage": "a.b.c", "an ID token": ls.provider.IDToken(t, nil),
		"nobody's":       ls.provider.LogoutToken(t, "", "", nil),
		"another's":      ls.provider.LogoutToken(t, "1", sid, func(_, claims map[string]any) { claims["iss"] = "https://evil.example" }),
		"another client": ls.provider.LogoutToken(t, "1", sid, func(_, claims map[string]any) { claims["aud"] = "another" }),
	} {
		if got := post(token); got.status != 400 || got.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", name, got.status, got.Header, got.body)
		}
	}
	if one.user() != "ann" {
		t.Fatal("a bad token signed out")
	}
	token := ls.provider.LogoutToken(t, "1", sid, nil)
	if got := post(token); got.status != 200 || got.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", got.status, got.Header, got.body)
	}
	first.mustBreak()
	if one.user() != "" || two.user() != "ann" {
		t.Errorf("signed in are %q and %q", one.user(), two.user())
	}
	if got := post(token); got.status != 400 {
		t.Errorf("replayed: %d", got.status)
	}
	if got := post(ls.provider.LogoutToken(t, "1", "", nil)); got.status != 200 {
		t.Fatalf("by subject: %d %s", got.status, got.body)
	}
	second.mustBreak()
	if two.user() != "" {
		t.Error("the subject's other session is still there")
	}
	ls.browser().visit("GET", path, "").refused(t, "by GET", 405)
}
