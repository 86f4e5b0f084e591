package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/config"
)

// running is a server as 'parlor serve' wires it, over HTTP, with the store in memory and a clock of the test's own.
type running struct {
	*wiring
	t        *testing.T
	url      string
	provider *authtest.Provider // of openWays
}

// run starts one with an administrator admin, whose password is secret. now may be nil.
func run(t *testing.T, now func() time.Time, text string) *running {
	t.Helper()
	s := &running{wiring: wire(t), t: t}
	if now != nil {
		s.now = now
	}
	var err error
	s.settings, err = config.Open(config.Options{
		Defaults: defaults, Overrides: text, Files: []string{filepath.Join(t.TempDir(), "parlor.ini")}, Prepare: prepare, Apply: s.apply,
	})
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(s.server)
	t.Cleanup(hs.Close)
	s.url = hs.URL
	return s
}

// runSettings are what run needs: an administrator, whose password is secret, and hashes that are quickly made.
func runSettings(t *testing.T) string {
	t.Helper()
	hash, err := prepare(snapshot(t, "[chttpd_auth]\niterations = 10\n"), "admins", "admin", "secret", false)
	if err != nil {
		t.Fatal(err)
	}
	return "[admins]\nadmin = " + hash + "\n[chttpd_auth]\nsecret = the_secret\niterations = 10\n"
}

// send sends a request that sign signs, if it is not nil. The answer's body is the caller's to close.
func (s *running) send(ctx context.Context, sign func(*http.Request), method, path, body string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if sign != nil {
		sign(r)
	}
	res, err := (&http.Client{CheckRedirect: noRedirect}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

// as is send, with the answer read.
func (s *running) as(sign func(*http.Request), method, path, body string) (status int, answer string) {
	s.t.Helper()
	res := s.send(s.t.Context(), sign, method, path, body)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// admin is as for the administrator, whose request must succeed.
func (s *running) admin(method, path, body string) string {
	s.t.Helper()
	status, answer := s.as(basic("admin", "secret"), method, path, body)
	if status/100 != 2 {
		s.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// set changes a setting over HTTP.
func (s *running) set(section, key, value string) {
	s.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	s.admin("PUT", "/_node/_local/_config/"+section+"/"+key, string(text))
}

// user is the name in the answer of /_session; a refusal is its status.
func (s *running) user(sign func(*http.Request)) string {
	s.t.Helper()
	status, answer := s.as(sign, "GET", "/_session", "")
	if status != http.StatusOK {
		return http.StatusText(status)
	}
	return s.member(answer, "userCtx", "name")
}

// member is a string within an answer.
func (s *running) member(answer string, path ...string) string {
	s.t.Helper()
	var value any
	if err := json.Unmarshal([]byte(answer), &value); err != nil {
		s.t.Fatalf("%s: %v", answer, err)
	}
	for _, name := range path {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	text, _ := value.(string)
	return text
}

func basic(name, pass string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, pass) }
}

func with(header, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(header, value) }
}

func bearing(token string) func(*http.Request) { return with("Authorization", "Bearer "+token) }

// signIn makes a session and returns what sends its cookie.
func (s *running) signIn(sign func(*http.Request), body string) func(*http.Request) {
	s.t.Helper()
	res := s.send(s.t.Context(), sign, "POST", "/_session", body)
	res.Body.Close()
	cookie, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	if res.StatusCode != http.StatusOK || len(cookie) < 40 {
		s.t.Fatalf("no session: %s", res.Status)
	}
	return with("Cookie", cookie)
}

// once makes some ids that serve once, and returns what sends another at each call.
func (s *running) once(sign func(*http.Request), path, body string) func(*http.Request) {
	s.t.Helper()
	ids := make(chan string, 5)
	for range cap(ids) {
		_, made := s.as(sign, "POST", path+"?one_time=true", body)
		id := s.member(made, "one_time_session_id")
		if id == "" {
			s.t.Fatalf("no one-time session: %s", made)
		}
		ids <- id
	}
	return func(r *http.Request) { r.URL.RawQuery += "&one_time_session=" + <-ids }
}

// login goes through a login at a provider, and returns what sends the session's cookie.
func (s *running) login(p *authtest.Provider, path string) func(*http.Request) {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: noRedirect}
	visit := func(to string) *http.Response {
		res, err := browser.Get(to)
		if err != nil {
			s.t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	visit(p.SignIn(s.t, visit(s.url+path).Header.Get("Location")).String())
	home, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range jar.Cookies(home) {
		if c.Name == auth.CookieName {
			return with("Cookie", c.Name+"="+c.Value)
		}
	}
	s.t.Fatal("the login gives no session")
	return nil
}

// logOut is the provider's word that its user 1 has logged out there.
func (s *running) logOut() {
	s.t.Helper()
	status, answer := s.as(nil, "POST", "/_oidc/corp/backchannel_logout", `{"logout_token":"`+s.provider.LogoutToken(s.t, "1", "", nil)+`"}`)
	if status != http.StatusOK {
		s.t.Errorf("logging out at the provider: %d %s", status, answer)
	}
}

// feed is a feed of changes of the database notes.
type feed struct {
	ctx  context.Context
	name string
	body io.ReadCloser
}

func (s *running) follow(name, kind string, sign func(*http.Request)) *feed {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	s.t.Cleanup(cancel)
	res := s.send(ctx, sign, "GET", "/notes/_changes?since=now&heartbeat=1000&feed="+kind, "")
	s.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: the %s feed is answered %s", name, kind, res.Status)
	}
	return &feed{ctx, name + "'s " + kind + " feed", res.Body}
}

// begun is a feed that is asked for with a body which has not come yet.
type begun struct {
	ctx    context.Context
	name   string
	body   *io.PipeWriter
	answer chan *http.Response // nil for none
}

// begin asks for a feed, and returns when the server waits for the body: who asks has been judged then.
func (s *running) begin(name string, sign func(*http.Request)) *begun {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	s.t.Cleanup(cancel)
	waits := make(chan struct{})
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: func() { close(waits) }})
	read, body := io.Pipe()
	r, err := http.NewRequestWithContext(traced, "POST", s.url+"/notes/_changes?since=now&heartbeat=1000&feed=continuous", read)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Expect", "100-continue")
	sign(r)
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	b := &begun{ctx, name + "'s feed that was begun before", body, make(chan *http.Response, 1)}
	go func() {
		res, _ := transport.RoundTrip(r)
		b.answer <- res
	}()
	s.t.Cleanup(func() {
		cancel()
		body.Close()
		if res := <-b.answer; res != nil {
			res.Body.Close()
		}
		transport.CloseIdleConnections()
	})
	select {
	case <-waits:
	case res := <-b.answer:
		b.answer <- res
		s.t.Fatalf("%s is answered before its body: %v", b.name, res)
	}
	return b
}

// finish sends the body. It returns the feed, or nil when it is refused.
func (b *begun) finish(t *testing.T) *feed {
	t.Helper()
	if _, err := b.body.Write([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	b.body.Close()
	res := <-b.answer
	b.answer <- res
	switch {
	case res == nil && b.ctx.Err() != nil:
		t.Fatalf("%s is not answered", b.name)
	case res == nil || res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return nil
	case res.StatusCode != http.StatusOK:
		t.Fatalf("%s is answered %s", b.name, res.Status)
	}
	return &feed{b.ctx, b.name, res.Body}
}

// expectCut reads until the connection breaks.
func (f *feed) expectCut(t *testing.T) {
	t.Helper()
	if text, err := io.ReadAll(f.body); err == nil || f.ctx.Err() != nil || strings.Contains(string(text), `"id"`) {
		t.Errorf("%s is not cut: %q, %v", f.name, text, err)
	}
}

// expectChange reads until the change of a document comes.
func (f *feed) expectChange(t *testing.T, id string) {
	t.Helper()
	for lines := bufio.NewScanner(f.body); ; {
		if !lines.Scan() {
			t.Errorf("%s has ended: %v", f.name, lines.Err())
			return
		}
		if strings.Contains(lines.Text(), `"id":"`+id+`"`) {
			return
		}
	}
}

const annPath = "/_users/org.couchdb.user:ann"

// edit changes ann's user document as it is stored.
func (s *running) edit(change func(doc map[string]any)) {
	s.t.Helper()
	doc := map[string]any{}
	if err := json.Unmarshal([]byte(s.admin("GET", annPath, "")), &doc); err != nil {
		s.t.Fatal(err)
	}
	change(doc)
	text, err := json.Marshal(doc)
	if err != nil {
		s.t.Fatal(err)
	}
	s.admin("PUT", annPath, string(text))
}

// ways are all by which ann can sign in, each with what signs a request.
type ways map[string]func(*http.Request)

const allHandlers = "{chttpd_auth, jwt_authentication_handler}, {chttpd_auth, cookie_authentication_handler}, {chttpd_auth, proxy_authentication_handler}, " +
	"{couch_httpd_oauth, oauth_authentication_handler}, {chttpd_auth, default_authentication_handler}"

// openWays starts a server, a provider, and ann with everything that lets her in.
func openWays(t *testing.T) (*running, ways) {
	t.Helper()
	p := authtest.NewProvider(t, authtest.ProviderOptions{})
	p.SetUser(map[string]any{"sub": "1", "preferred_username": "ann"})
	key := authtest.NewSigner(t, "HS256", "app")
	outside := "issuer = " + p.URL + "\nusername_claim = preferred_username\ninsecure = true\nallow_private = true\n"
	s := run(t, nil, runSettings(t)+
		"[chttpd]\nauthentication_handlers = "+allHandlers+"\n"+
		"[parlor]\nsync_gateway_api = true\n[jwt_keys]\nhmac:app = "+key.Value+"\n[jwt_issuer:kc]\naudience = api\n"+outside+"[oidc:corp]\nclient_id = client\nclient_secret = secret\n"+outside+
		"[oauth_consumer_secrets]\nc = cs\n[oauth_token_secrets]\nt = ts\n[oauth_token_users]\nt = ann\n")
	s.provider = p
	s.admin("PUT", annPath, `{"name":"ann","type":"user","roles":[],"password":"apple","identities":[{"issuer":"`+p.URL+`","subject":"1"}]}`)
	s.admin("PUT", "/notes", "")
	s.admin("PUT", "/notes/_security", `{"members":{"names":["ann"]}}`)

	const password, later = `{"name":"ann","password":"apple"}`, 4102444800
	token := s.member(s.admin("POST", "/_tokens", `{"user":"ann"}`), "token")
	device := s.admin("POST", "/_tokens", `{"user":"ann","type":"key","algorithm":"HS256"}`)
	secret, err := base64.StdEncoding.DecodeString(s.member(device, "private_key"))
	if err != nil {
		t.Fatal(err)
	}
	byKey := bearing(key.Token(t, nil, map[string]any{"sub": "ann", "exp": later, "_couchdb.roles": []string{"nurse"}}))
	byIssuer := bearing(p.IDToken(t, func(_, claims map[string]any) { claims["aud"] = "api" }))
	byClient := bearing(p.IDToken(t, func(_, claims map[string]any) { claims["aud"] = "client" }))
	atProvider := s.login(p, "/_oidc/corp/login?next=/")
	return s, ways{
		"password":             basic("ann", "apple"),
		"session":              s.signIn(nil, password),
		"one-time":             s.once(nil, "/_session", password),
		"provider":             atProvider,
		"one-time of provider": s.once(atProvider, "/notes/_session", ""),
		"ID token":             byIssuer,
		"ID token's session":   s.signIn(byIssuer, ""),
		"one-time of ID token": s.once(byIssuer, "/_session", ""),
		"client's session":     s.signIn(byClient, ""),
		"key":                  byKey,
		"traded session":       s.signIn(byKey, ""),
		"one-time of key":      s.once(byKey, "/_session", ""),
		"access token":         bearing(token),
		"app password":         basic("ann", token),
		"device key":           bearing(authtest.NewHMACSigner(t, "HS256", s.member(device, "kid"), secret).Token(t, nil, map[string]any{"sub": "ann", "exp": later})),
		"proxy":                with("X-Auth-CouchDB-UserName", "ann"),
		"signature": func(r *http.Request) {
			r.Header.Set("X-Forwarded-Ssl", "on")
			// Before the server's start no time is taken.
			once := fmt.Sprintf(`oauth_timestamp="%d", oauth_nonce="%s"`, time.Now().Add(time.Minute).Unix(), rand.Text())
			r.Header.Set("Authorization", `OAuth oauth_consumer_key="c", oauth_token="t", oauth_signature_method="PLAINTEXT", oauth_signature="cs%26ts", `+once)
		},
	}
}

// TestEndsOfEachWay: what ends a way of signing in has its next request refused and cuts the feeds that it has open, and those that are asked for already; it ends
// no other way.
func TestEndsOfEachWay(t *testing.T) {
	t.Parallel()
	fromLogin, fromIssuer := []string{"provider", "one-time of provider", "client's session"}, []string{"ID token's session", "one-time of ID token"}
	fromKey := []string{"traded session", "one-time of key"}
	sessions := slices.Concat([]string{"session", "one-time"}, fromLogin, fromIssuer, fromKey)
	all := slices.Concat([]string{"password", "ID token", "key", "access token", "app password", "device key", "proxy", "signature"}, sessions)
	for name, c := range map[string]struct {
		end  func(s *running, w ways)
		ends []string
	}{
		"disabled": {func(s *running, _ ways) { s.edit(func(doc map[string]any) { doc["disabled"] = true }) }, all},
		"deleted": {func(s *running, _ ways) { s.edit(func(doc map[string]any) { doc["_deleted"] = true }) },
			slices.DeleteFunc(slices.Clone(all), func(way string) bool { return way == "key" || way == "proxy" })},
		"new password":   {func(s *running, _ ways) { s.edit(func(doc map[string]any) { doc["password"] = "apricot" }) }, []string{"password", "session", "one-time"}},
		"sessions ended": {func(s *running, _ ways) { s.admin("DELETE", "/_sessions?user=ann", "") }, sessions},
		"each session ended": {func(s *running, _ ways) {
			var list struct{ Sessions []struct{ ID string } }
			if err := json.Unmarshal([]byte(s.admin("GET", "/_sessions?user=ann", "")), &list); err != nil {
				s.t.Error(err)
			}
			for _, session := range list.Sessions {
				// That of a request which is over in this moment is gone by itself.
				if status, answer := s.as(basic("admin", "secret"), "DELETE", "/_sessions/"+session.ID, ""); status != http.StatusOK && status != http.StatusNotFound {
					s.t.Errorf("%d %s", status, answer)
				}
			}
		}, sessions},
		"signed out": {func(s *running, w ways) {
			if status, answer := s.as(w["session"], "DELETE", "/_session", ""); status != http.StatusOK {
				s.t.Errorf("signing out: %d %s", status, answer)
			}
		}, []string{"session"}},
		"tokens revoked": {func(s *running, _ ways) { s.admin("DELETE", "/_tokens?user=ann", "") }, []string{"access token", "app password", "device key"}},
		"link removed": {func(s *running, _ ways) { s.edit(func(doc map[string]any) { delete(doc, "identities") }) },
			slices.Concat([]string{"ID token"}, fromLogin, fromIssuer)},
		"provider removed":     {func(s *running, _ ways) { s.admin("DELETE", "/_node/_local/_config/oidc:corp/issuer", "") }, fromLogin},
		"logged out there":     {func(s *running, _ ways) { s.logOut() }, fromLogin},
		"issuer removed":       {func(s *running, _ ways) { s.admin("DELETE", "/_node/_local/_config/jwt_issuer:kc/issuer", "") }, slices.Concat([]string{"ID token"}, fromIssuer)},
		"key removed":          {func(s *running, _ ways) { s.admin("DELETE", "/_node/_local/_config/jwt_keys/hmac:app", "") }, slices.Concat([]string{"key"}, fromKey)},
		"more claims required": {func(s *running, _ ways) { s.set("jwt_auth", "required_claims", "exp,nbf") }, slices.Concat([]string{"key"}, fromKey)},
		"tokens not taken": {func(s *running, _ ways) {
			s.set("chttpd", "authentication_handlers", strings.Replace(allHandlers, "{chttpd_auth, jwt_authentication_handler}, ", "", 1))
		}, slices.Concat([]string{"ID token", "key", "access token", "device key", "client's session"}, fromIssuer, fromKey)},
		"consumer removed":    {func(s *running, _ ways) { s.admin("DELETE", "/_node/_local/_config/oauth_consumer_secrets/c", "") }, []string{"signature"}},
		"passwords not taken": {func(s *running, _ ways) { s.set("parlor", "password_login", "admins") }, []string{"password"}},
		"second factor": {func(s *running, _ ways) {
			s.edit(func(doc map[string]any) { doc["totp"] = map[string]any{"key": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"} })
		}, []string{"password"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testEnd(t, all, c.end, c.ends)
		})
	}
}

// testEnd opens feeds by all ways and does what ends some of them.
func testEnd(t *testing.T, all []string, end func(s *running, w ways), ends []string) {
	s, w := openWays(t)
	feeds, slow := map[string][]*feed{}, map[string]*begun{}
	for way, sign := range w {
		if got := s.user(sign); got != "ann" {
			t.Errorf("%s signs %q in", way, got)
		}
		feeds[way] = []*feed{s.follow(way, "continuous", sign), s.follow(way, "longpoll", sign)}
		slow[way] = s.begin(way, sign)
	}
	if len(w) != len(all) || t.Failed() {
		t.FailNow()
	}
	end(s, w)
	for _, way := range ends {
		if status, answer := s.as(w[way], "GET", "/notes", ""); status < 400 || status > 403 {
			t.Errorf("%s is answered %d %s", way, status, answer)
		}
		for _, f := range append(feeds[way], slow[way].finish(t)) {
			if f != nil {
				f.expectCut(t)
			}
		}
	}
	for _, way := range all {
		if slices.Contains(ends, way) {
			continue
		}
		if got := s.user(w[way]); got != "ann" {
			t.Errorf("%s does not sign in any more: %s", way, got)
		}
		if f := slow[way].finish(t); f != nil {
			feeds[way] = append(feeds[way], f)
		} else {
			t.Errorf("%s opens no feed any more", way)
		}
	}
	s.admin("PUT", "/notes/news", "{}")
	for _, way := range all {
		if slices.Contains(ends, way) {
			continue
		}
		for _, f := range feeds[way] {
			f.expectChange(t, "news")
		}
	}
}

// TestStatelessCookieEnds: where a session is its cookie alone, the next request is refused all the same, and open feeds are cut.
func TestStatelessCookieEnds(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(doc map[string]any){
		"disabled":     func(doc map[string]any) { doc["disabled"] = true },
		"deleted":      func(doc map[string]any) { doc["_deleted"] = true },
		"new password": func(doc map[string]any) { doc["password"] = "apricot" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := run(t, nil, runSettings(t)+"[parlor_session]\nstore = cookie\n")
			s.admin("PUT", annPath, `{"name":"ann","type":"user","roles":[],"password":"apple"}`)
			s.admin("PUT", "/notes", "")
			s.admin("PUT", "/notes/_security", `{"members":{"names":["ann"]}}`)
			cookie := s.signIn(nil, `{"name":"ann","password":"apple"}`)
			feeds := []*feed{s.follow(name, "continuous", cookie), s.follow(name, "longpoll", cookie)}
			s.edit(change)
			for _, f := range feeds {
				f.expectCut(t)
			}
			if status, answer := s.as(cookie, "GET", "/notes", ""); status != http.StatusUnauthorized && status != http.StatusForbidden {
				t.Errorf("the cookie is answered %d %s", status, answer)
			}
		})
	}
}

// TestSessionsDoNotGrow: what was made from a token, or from a provider's word, has the roles of that moment. Of those that the directory gave it loses what is taken back.
func TestSessionsDoNotGrow(t *testing.T) {
	t.Parallel()
	s, w := openWays(t)
	roles := func(sign func(*http.Request)) string {
		t.Helper()
		_, answer := s.as(sign, "GET", "/_session", "")
		_, rest, _ := strings.Cut(answer, `"roles":`)
		text, _, _ := strings.Cut(rest, "}")
		return text
	}
	expect := func(what string, want map[string]string) {
		t.Helper()
		for way, want := range want {
			if got := roles(w[way]); got != want {
				t.Errorf("%s: %s has %s, want %s", what, way, got, want)
			}
		}
	}
	has := func(list ...string) func(doc map[string]any) {
		return func(doc map[string]any) { doc["roles"] = list }
	}
	s.edit(has("staff"))
	w["bearer's session"] = s.signIn(w["ID token"], "")
	expect("at first", map[string]string{
		"session": `["staff"]`, "traded session": `["nurse"]`, "key": `["nurse"]`, "provider": `[]`, "ID token": `["staff"]`, "bearer's session": `["staff"]`, "access token": `["staff"]`,
	})
	s.edit(has("staff", "boss"))
	expect("with another role", map[string]string{
		"session": `["staff","boss"]`, "traded session": `["nurse"]`, "key": `["nurse"]`, "provider": `[]`, "ID token": `["staff","boss"]`, "bearer's session": `["staff"]`, "access token": `["staff","boss"]`,
	})
	s.edit(has("boss"))
	expect("with a role less", map[string]string{"session": `["boss"]`, "traded session": `["nurse"]`, "bearer's session": `[]`, "access token": `["boss"]`})
	s.set("admins", "ann", "apple")
	if got := s.user(w["ID token"]); got != "Forbidden" {
		t.Errorf("the issuer speaks for a server admin: %s", got)
	}
	for _, way := range []string{"traded session", "provider", "bearer's session", "key", "proxy"} {
		if status, answer := s.as(w[way], "GET", "/_node/_local/_config", ""); status == http.StatusOK {
			t.Errorf("%s is a server admin now: %s", way, answer)
		}
	}
}

// TestScopedCredentials: access tokens and keys of devices, of a server admin too, make no credentials and see none, and do nothing that takes a server admin.
func TestScopedCredentials(t *testing.T) {
	t.Parallel()
	s := run(t, nil, runSettings(t))
	s.admin("PUT", "/notes", "")
	token := s.member(s.admin("POST", "/_tokens", `{}`), "token")
	device := s.admin("POST", "/_tokens", `{"type":"key","algorithm":"HS512"}`)
	secret, err := base64.StdEncoding.DecodeString(s.member(device, "private_key"))
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{"sub": "admin", "exp": 4102444800, "_couchdb.roles": []string{"_admin"}}
	signed := authtest.NewHMACSigner(t, "HS512", s.member(device, "kid"), secret).Token(t, nil, claims)
	id := s.member(device, "id")
	for way, sign := range map[string]func(*http.Request){"access token": bearing(token), "app password": basic("admin", token), "device key": bearing(signed)} {
		if status, answer := s.as(sign, "GET", "/notes", ""); status != http.StatusOK {
			t.Errorf("%s does not open a database: %d %s", way, status, answer)
		}
		for _, c := range [][2]string{
			{"POST /_session", ""}, {"POST /_session", `{"name":"admin","password":"secret"}`}, {"POST /_session?one_time=true", ""},
			{"GET /_sessions", ""}, {"DELETE /_sessions?user=admin", ""}, {"DELETE /_sessions/x", ""},
			{"POST /_tokens", `{}`}, {"GET /_tokens", ""}, {"GET /_tokens/" + id, ""}, {"DELETE /_tokens/" + id, ""}, {"DELETE /_tokens?user=admin", ""},
			{"GET /_node/_local/_config", ""}, {"PUT /_node/_local/_config/log/level", `"debug"`}, {"GET /_node/_local/_stats", ""},
			{"PUT /other", ""}, {"DELETE /notes", ""}, {"GET /_all_dbs", ""}, {"GET /_db_updates", ""}, {"GET /_users/_all_docs", ""}, {"PUT /_users/org.couchdb.user:x", "{}"}, {"GET /_replicator", ""},
		} {
			method, path, _ := strings.Cut(c[0], " ")
			res := s.send(t.Context(), sign, method, path, c[1])
			res.Body.Close()
			if res.StatusCode != http.StatusForbidden || res.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s %s by %s: %s, want 403 and no cookie", method, path, way, res.Status)
			}
		}
	}
	for _, text := range []string{token, signed} {
		if status, answer := s.as(nil, "POST", "/_session", `{"id_token":"`+text+`"}`); status != http.StatusForbidden {
			t.Errorf("as an ID token: %d %s", status, answer)
		}
	}
}
