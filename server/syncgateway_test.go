package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/oidc"
)

func newGateway(t *testing.T, change func(*oidc.ProviderOptions)) *loginServer {
	t.Helper()
	return newLoginServer(t, oidc.Mapping{}, change, "parlor/sync_gateway_api=true")
}

// cookieOf is the Set-Cookie header of a name, "" for none.
func (p page) cookieOf(name string) string {
	for _, header := range p.Values("Set-Cookie") {
		if strings.HasPrefix(header, name+"=") {
			return header
		}
	}
	return ""
}

func (p page) is(t *testing.T, what string, status int, body string) {
	t.Helper()
	if p.status != status || strings.TrimSpace(p.body) != body {
		t.Errorf("%s: %d %s, want %d %s", what, p.status, p.body, status, body)
	}
}

const (
	gatewayAnn    = `{"ok":true,"userCtx":{"name":"ann","channels":{"!":1}},"authentication_handlers":["default","cookie"]}`
	gatewayNobody = `{"ok":true,"userCtx":{"name":null,"channels":null},"authentication_handlers":["default","cookie"]}`
)

func basic(who string) []string {
	name, pass, _ := strings.Cut(who, ":")
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(name, pass)
	return []string{"Authorization", req.Header.Get("Authorization")}
}

// TestGatewayIsOff: without the switch the paths are CouchDB's.
func TestGatewayIsOff(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	for _, path := range []string{"/db/_session", "/db/_oidc", "/db/_oidc_callback?code=1", "/db/_user/", "/db/_user/ann"} {
		if got := ls.browser().visit("GET", path, "", basic("ann:pw")...); got.status == 200 || got.status == 302 || strings.Contains(got.body, "unknown URL") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := ls.browser().visit("POST", "/db/_session", `{"name":"ann","password":"pw"}`); got.status == 200 || len(got.Values("Set-Cookie")) > 0 {
		t.Errorf("POST /db/_session: %d %s", got.status, got.body)
	}
	before := ls.do("GET", "/_users/_all_docs", "")
	for _, e := range gatewayRoutes() {
		for method := range e.methods {
			path := "/db/" + strings.ReplaceAll(e.pattern, "*", "ann")
			got := ls.browser().visit(method, path, `{"name":"ann","ttl":60,"admin_roles":["boss"]}`, basic("admin:secret")...)
			if got.status < 400 || len(got.Values("Set-Cookie")) > 0 {
				t.Errorf("%s %s by an administrator: %d %s", method, path, got.status, got.body)
			}
		}
	}
	if after := ls.do("GET", "/_users/_all_docs", ""); after != before {
		t.Errorf("the users were %s and are %s", before, after)
	}
}

func TestGatewaySession(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	b := ls.browser()
	b.visit("GET", "/db/_session", "").is(t, "nobody", 200, gatewayNobody)
	b.visit("DELETE", "/db/_session", "").is(t, "nobody's", 401, `{"error":"Unauthorized","reason":"Login required"}`)
	b.visit("GET", "/db/_session", "", basic("ann:pw")...).is(t, "Basic", 200, gatewayAnn)
	b.visit("DELETE", "/db/_session", "", basic("ann:pw")...).is(t, "Basic's", 404, `{"error":"not_found","reason":"no session"}`)
	for _, c := range []struct {
		what, body, answer string
		status             int
		header             []string
	}{
		{"no body", "", `{"error":"Bad Request","reason":"Bad JSON: the body is empty"}`, 400, nil},
		{"no JSON", "{", `{"error":"Bad Request","reason":"Bad JSON: the body cannot be read"}`, 400, nil},
		{"no object", "[]", `{"error":"Bad Request","reason":"Bad JSON: the body is no object"}`, 400, nil},
		{"no string", `{"name":1}`, `{"error":"Bad Request","reason":"Bad JSON: name is no string"}`, 400, nil},
		{"nobody", "{}", `{"error":"Unauthorized","reason":"Invalid login"}`, 401, nil},
		{"no password", `{"name":"ann"}`, `{"error":"Unauthorized","reason":"Invalid login"}`, 401, nil},
		{"wrong password", `{"name":"ann","password":"no"}`, `{"error":"Unauthorized","reason":"Invalid login"}`, 401, nil},
		{"wrong password beside Basic", `{"name":"bob","password":"no"}`, `{"error":"Unauthorized","reason":"Invalid login"}`, 401, basic("ann:pw")},
		{"a form", "name=ann&password=pw", `{"error":"Bad Request","reason":"Invalid content type application/x-www-form-urlencoded"}`, 400, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"another site's page", `{"name":"ann","password":"pw"}`, `{"error":"Bad Request","reason":"No CORS"}`, 400, []string{"Origin", "https://evil.example"}},
		{"no admin", `{"name":"bob","ttl":60}`, `{"error":"Unauthorized","reason":"Invalid login"}`, 401, basic("ann:pw")},
	} {
		got := b.visit("POST", "/db/_session", c.body, c.header...)
		got.is(t, c.what, c.status, c.answer)
		if got.cookieOf(SyncGatewayCookie) != "" || got.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %v", c.what, got.Header)
		}
	}

	got := b.visit("POST", "/db/_session", `{"name":"ann","password":"pw"}`, "X-Forwarded-Proto", "https")
	got.is(t, "login", 200, gatewayAnn)
	if cookie := got.cookieOf(SyncGatewayCookie); !strings.Contains(cookie, "; Path=/db; HttpOnly") || !strings.Contains(cookie, "; Secure") || got.cookieOf(auth.CookieName) != "" {
		t.Errorf("the cookie is %s", cookie)
	}
	b.visit("POST", "/db/_session", `{"name":"ann","password":"pw"}`)
	b.visit("GET", "/db/_session", "").is(t, "cookie", 200, gatewayAnn)
	if got := b.visit("GET", "/db", ""); got.status != 200 {
		t.Errorf("the database: %d %s", got.status, got.body)
	}
	if b.user() != "" {
		t.Error("the cookie was sent to another path")
	}
	held := ls.countSessions("ann")
	b.visit("POST", "/db/_session", "").is(t, "again", 200, gatewayAnn)
	if now := ls.countSessions("ann"); now != held {
		t.Errorf("a session made another: %d, then %d", held, now)
	}

	ls.ahead.Store(int64(30 * time.Minute))
	renewed := b.visit("GET", "/db/_session", "", "X-Forwarded-Proto", "https").cookieOf(SyncGatewayCookie)
	if !strings.Contains(renewed, "; Path=/db; HttpOnly") {
		t.Errorf("the renewed cookie is %q", renewed)
	}
	got = b.visit("DELETE", "/db/_session", "")
	got.is(t, "logout", 200, "")
	if cookie := got.cookieOf(SyncGatewayCookie); !strings.Contains(cookie, "; Path=/db;") || !strings.Contains(cookie, "Max-Age=0") {
		t.Errorf("the cookie that is forgotten is %q", cookie)
	}
	b.visit("GET", "/db/_session", "").is(t, "afterwards", 200, gatewayNobody)
	if now := ls.countSessions("ann"); now != held-1 {
		t.Errorf("%d sessions of %d are left", now, held)
	}
}

func (ls *loginServer) countSessions(user string) int {
	ls.t.Helper()
	held, err := ls.sessions.List(ls.t.Context(), user, "", 1000)
	if err != nil {
		ls.t.Fatal(err)
	}
	return len(held)
}

// TestGatewayHidesDatabases: only admins learn that a database is not there, or that administration's paths are.
func TestGatewayHidesDatabases(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	b := ls.browser()
	b.visit("GET", "/nodb/_session", "").is(t, "nobody", 401, `{"error":"Unauthorized","reason":"Login required"}`)
	b.visit("GET", "/nodb/_session", "", basic("ann:pw")...).is(t, "user", 401, `{"error":"Unauthorized","reason":"Invalid login"}`)
	b.visit("POST", "/nodb/_session", `{"name":"ann","password":"pw"}`).is(t, "login", 401, `{"error":"Unauthorized","reason":"Login required"}`)
	b.visit("GET", "/nodb/_oidc", "").is(t, "login at the provider", 401, `{"error":"Unauthorized","reason":"Login required"}`)
	b.visit("GET", "/nodb/_session", "", basic("admin:secret")...).is(t, "admin", 404, `{"error":"not_found","reason":"Database does not exist."}`)
	for _, c := range [][2]string{{"GET", "/db/_session/x"}, {"DELETE", "/db/_session/x"}, {"GET", "/db/_user/"}, {"POST", "/db/_user/"}, {"GET", "/db/_user/ann"}, {"PUT", "/db/_user/ann"},
		{"DELETE", "/db/_user/ann"}, {"DELETE", "/db/_user/ann/_session"}, {"DELETE", "/db/_user/ann/_session/x"}} {
		b.visit(c[0], c[1], "").is(t, c[0]+c[1]+" as nobody", 401, `{"error":"Unauthorized","reason":"Login required"}`)
		b.visit(c[0], c[1], "", basic("ann:pw")...).is(t, c[0]+c[1]+" as a user", 404, `{"error":"not_found","reason":"unknown URL"}`)
	}
	if status, _ := ls.as("admin:secret", "GET", "/_users/_session", ""); status == 200 {
		t.Error("a system database has a session")
	}
}

func TestGatewayOneTime(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	var told struct{ One_Time_Session_ID string }
	for what, try := range map[string]func() page{
		"password": func() page {
			return ls.browser().visit("POST", "/db/_session?one_time=true", `{"name":"ann","password":"pw"}`)
		},
		"session": func() page {
			b := ls.browser()
			b.visit("POST", "/db/_session", `{"name":"ann","password":"pw"}`)
			return b.visit("POST", "/db/_session?one_time=true", "")
		},
		"Basic": func() page {
			return ls.browser().visit("POST", "/db/_session?one_time=true", "", basic("ann:pw")...)
		},
		"bearer": func() page {
			return ls.browser().visit("POST", "/db/_session?one_time=true", "", "Authorization", "Bearer "+ls.provider.IDToken(t, nil))
		},
	} {
		got := try()
		decode(t, got.body, &told)
		if got.status != 200 || told.One_Time_Session_ID == "" || got.cookieOf(SyncGatewayCookie) != "" {
			t.Fatalf("%s: %d %s %v", what, got.status, got.body, got.Header)
		}
		cookie := []string{"Cookie", SyncGatewayCookie + "=" + told.One_Time_Session_ID}
		if what == "Basic" {
			// It does not become a session that lasts.
			ls.browser().visit("POST", "/db/_session", "", cookie...).is(t, "traded", 401, `{"error":"Unauthorized","reason":"Session Invalid"}`)
			continue
		}
		ls.browser().visit("GET", "/db/_session", "", cookie...).is(t, what+" used", 200, gatewayAnn)
		ls.browser().visit("GET", "/db/_session", "", cookie...).is(t, what+" used twice", 200, gatewayNobody)
	}
	if got := ls.browser().visit("POST", "/db/_session?one_time=1", `{"name":"ann","password":"pw"}`); got.cookieOf(SyncGatewayCookie) == "" {
		t.Errorf("one_time=1: %d %s", got.status, got.body)
	}
}

// TestGatewayProxy: what a proxy says of one request makes no session that outlives it.
func TestGatewayProxy(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	proxy, err := auth.NewProxy(auth.ProxyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ls.s.auth.Configure([]auth.Method{proxy, ls.sessions})
	from := []string{"X-Auth-CouchDB-UserName", "ann", "X-Auth-CouchDB-Roles", "staff"}
	ls.browser().visit("GET", "/db/_session", "", from...).is(t, "its word", 200, gatewayAnn)
	for _, path := range []string{"/db/_session", "/db/_session?one_time=true"} {
		ls.browser().visit("POST", path, "", from...).is(t, path, 401, `{"error":"Unauthorized","reason":"Invalid login"}`)
	}
	if n := ls.countSessions("ann"); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// TestGatewayAdminSessions: an admin's program makes sessions for users, whom it has signed in by itself.
func TestGatewayAdminSessions(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	b, admin := ls.browser(), basic("admin:secret")
	for body, c := range map[string]struct {
		status int
		reason string
	}{
		`{"name":"nobody"}`:                         {404, `No such user \"nobody\"`},
		`{"name":"GUEST"}`:                          {400, "Invalid or missing user name"},
		`{"ttl":60}`:                                {400, "Invalid or missing user name"},
		`{"name":"ann","ttl":0}`:                    {400, "Invalid or missing ttl"},
		`{"name":"ann","ttl":-1}`:                   {400, "Invalid or missing ttl"},
		`{"name":"ann","ttl":1.5}`:                  {400, "Bad JSON: ttl is no whole number"},
		`{"name":"ann","ttl":"60"}`:                 {400, "Bad JSON: ttl is no whole number"},
		`{"name":"ann","ttl":1e99}`:                 {400, "Bad JSON: ttl is no whole number"},
		`{"name":"ann","ttl":99999999999999999999}`: {400, "Bad JSON: ttl is no whole number"},
	} {
		if got := b.visit("POST", "/db/_session", body, admin...); got.status != c.status || !strings.Contains(got.body, c.reason) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	type made struct{ Session_ID, Expires, Cookie_Name string }
	makeOne := func(body string) (m made) {
		t.Helper()
		got := b.visit("POST", "/db/_session", body, admin...)
		decode(t, got.body, &m)
		if got.status != 200 || m.Session_ID == "" || m.Cookie_Name != SyncGatewayCookie || len(got.Values("Set-Cookie")) > 0 {
			t.Fatalf("%s: %d %s %v", body, got.status, got.body, got.Header)
		}
		return m
	}
	one := makeOne(`{"name":"ann","ttl":60}`)
	if expires, err := time.Parse(time.RFC3339, one.Expires); err != nil || time.Until(expires) > time.Minute || !strings.HasSuffix(one.Expires, "Z") {
		t.Errorf("it expires at %s", one.Expires)
	}
	if expires, err := time.Parse(time.RFC3339, makeOne(`{"name":"bob"}`).Expires); err != nil || time.Until(expires) < 23*time.Hour {
		t.Errorf("without ttl it expires at %s", expires)
	}
	cookie := []string{"Cookie", SyncGatewayCookie + "=" + one.Session_ID}
	b.visit("GET", "/db/_session", "", cookie...).is(t, "used", 200, gatewayAnn)
	b.visit("GET", "/db/_session/"+one.Session_ID, "", admin...).is(t, "looked up", 200, gatewayAnn)
	b.visit("GET", "/db/_session/nothing", "", admin...).is(t, "unknown", 404, `{"error":"not_found","reason":"missing"}`)
	b.visit("DELETE", "/db/_user/bob/_session/"+one.Session_ID, "", admin...).is(t, "another's", 404, `{"error":"not_found","reason":"missing"}`)
	b.visit("GET", "/db/_session", "", cookie...).is(t, "still there", 200, gatewayAnn)
	feed := ls.send("", "GET", "/db/_changes?feed=continuous&heartbeat=true", "", cookie...)
	defer feed.Body.Close()
	b.visit("DELETE", "/db/_user/ann/_session/"+one.Session_ID, "", admin...).is(t, "ended", 200, "")
	newOpenFeed(t, feed.Body).mustBreak()
	b.visit("DELETE", "/db/_session/"+one.Session_ID, "", admin...).is(t, "ended again", 404, `{"error":"not_found","reason":"missing"}`)
	b.visit("GET", "/db/_session/"+one.Session_ID, "", admin...).is(t, "gone", 404, `{"error":"not_found","reason":"missing"}`)

	two := makeOne(`{"name":"ann"}`)
	b.visit("DELETE", "/db/_session/"+two.Session_ID, "", admin...).is(t, "by its id alone", 200, "")
	makeOne(`{"name":"ann"}`)
	makeOne(`{"name":"ann"}`)
	b.visit("DELETE", "/db/_user/ann/_session", "", admin...).is(t, "all", 200, "")
	b.visit("DELETE", "/db/_user/nobody/_session", "", admin...).is(t, "nobody's", 200, "")
	if n, bobs := ls.countSessions("ann"), ls.countSessions("bob"); n != 0 || bobs != 1 {
		t.Errorf("ann has %d sessions, bob %d", n, bobs)
	}
	b.visit("PUT", "/db/_user/bob", `{"disabled":true}`, admin...)
	b.visit("POST", "/db/_session", `{"name":"bob"}`, admin...).is(t, "disabled", 400, `{"error":"Bad Request","reason":"User is disabled"}`)
	b.visit("POST", "/db/_session", `{"name":"bob","password":"pw"}`).is(t, "disabled, by password", 400, `{"error":"Bad Request","reason":"User is disabled"}`)
	if ls.countSessions("bob") != 0 {
		t.Error("a disabled user kept his session")
	}
}

func TestGatewayUsers(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	b, admin := ls.browser(), basic("admin:secret")
	for _, c := range []struct {
		method, path, body string
		status             int
		reason             string
	}{
		{"GET", "carl", "", 404, "missing"},
		{"DELETE", "carl", "", 404, "missing"},
		{"PUT", "carl", "{", 400, "Bad JSON"},
		{"PUT", "carl", "", 400, "Invalid JSON"},
		{"PUT", "carl", `{"name":"dora"}`, 400, "Name mismatch (can't change name)"},
		{"PUT", "carl", `{"password":"ab"}`, 400, "Error creating user: Passwords must be at least three 3 characters"},
		{"PUT", "carl", `{"password":""}`, 400, "Error creating user: Passwords must be at least three 3 characters"},
		{"PUT", "ann", `{"password":""}`, 400, "Error updating user/role: Passwords must be at least three 3 characters"},
		{"PUT", "carl", `{"password":1}`, 400, "Invalid JSON"},
		{"PUT", "carl", `{"disabled":"yes"}`, 400, "Invalid JSON"},
		{"PUT", "carl", `{"admin_roles":"staff"}`, 400, "Invalid JSON"},
		{"PUT", "carl", `{"admin_roles":["x/y"]}`, 400, `Invalid role name \"x/y\"`},
		{"PUT", "carl", `{"admin_roles":["_admin"]}`, 400, `Invalid role name \"_admin\"`},
		{"PUT", "carl", `{"admin_channels":["a"]}`, 400, "This server has no channels"},
		{"PUT", "carl", `{"collection_access":{"s":{"c":{}}}}`, 400, "This server has no channels"},
		{"PUT", "carl", `{"all_channels":[]}`, 400, "all_channels is read-only"},
		{"PUT", "carl", `{"roles":["staff"]}`, 400, "roles is read-only"},
		{"PUT", "carl", `{"jwt_issuer":"x"}`, 400, "Can't change read-only properties"},
		{"PUT", "carl", `{"email":"nobody"}`, 400, "Invalid email address"},
		{"PUT", "GUEST", `{"disabled":false}`, 405, "no GUEST"},
		{"DELETE", "GUEST", "", 405, "The GUEST user cannot be deleted. Only disabled via an update."},
		{"PUT", "a%2Fb", `{}`, 400, "invalid name: cannot contain"},
		{"PUT", "a:b", `{}`, 400, "invalid name: cannot contain"},
		{"PUT", "--", `{}`, 400, "invalid name: must contain alphanumeric"},
		{"PUT", "_a", `{}`, 400, "invalid name: cannot begin with _"},
		{"PUT", strings.Repeat("a", 240), `{}`, 400, "invalid name: length exceeds 239"},
		{"POST", "", `{}`, 400, "Missing name property"},
		{"POST", "", `{"name":"ann"}`, 409, "Already exists"},
		{"GET", "?limit=1", "", 400, "Use of limit only supported when name_only=false"},
		{"GET", "?name_only=false&limit=0", "", 400, "limit must be a number above 0"},
	} {
		if got := b.visit(c.method, "/db/_user/"+c.path, c.body, admin...); got.status != c.status || !strings.Contains(got.body, c.reason) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, got.status, got.body, c.status, c.reason)
		}
	}
	b.visit("GET", "/db/_user/", "", admin...).is(t, "as before", 200, `["ann","bob"]`)

	b.visit("PUT", "/db/_user/carl", `{"password":"letmein","email":"c@example.org","admin_roles":["staff","nurse","staff"],"admin_channels":[],"unknown":1}`, admin...).is(t, "made", 201, "")
	const carl = `{"name":"carl","email":"c@example.org","disabled":false,"admin_roles":["nurse","staff"]}`
	b.visit("GET", "/db/_user/carl", "", admin...).is(t, "shown", 200, carl)
	b.visit("PUT", "/db/_user/carl", carl, admin...).is(t, "sent back", 200, "")
	b.visit("PUT", "/db/_user/carl", `{"email":null,"admin_roles":null,"disabled":true}`, admin...).is(t, "changed in part", 200, "")
	b.visit("GET", "/db/_user/carl", "", admin...).is(t, "kept", 200, strings.Replace(carl, "false", "true", 1))
	b.visit("PUT", "/db/_user/carl", `{"disabled":false}`, admin...).is(t, "enabled", 200, "")
	b.visit("GET", "/db/_session", "", basic("carl:letmein")...).is(t, "the password", 200, strings.Replace(gatewayAnn, "ann", "carl", 1))
	if doc := ls.do("GET", "/_users/org.couchdb.user:carl", ""); strings.Contains(doc, "letmein") || strings.Contains(doc, "unknown") {
		t.Errorf("stored is %s", doc)
	}
	b.visit("POST", "/db/_user/", `{"name":"dora"}`, admin...).is(t, "posted", 201, "")
	b.visit("GET", "/db/_user/", "", admin...).is(t, "names", 200, `["ann","bob","carl","dora"]`)
	b.visit("GET", "/db/_user/?name_only=false&limit=1", "", admin...).is(t, "one", 200, `[{"name":"ann","disabled":false,"admin_roles":["staff"]}]`)
	if got := b.visit("HEAD", "/db/_user/carl", "", admin...); got.status != 200 {
		t.Errorf("HEAD: %d", got.status)
	}
	b.visit("DELETE", "/db/_user/carl", "", admin...).is(t, "deleted", 200, "")
	b.visit("GET", "/db/_user/carl", "", admin...).is(t, "gone", 404, `{"error":"not_found","reason":"missing"}`)
	b.visit("PUT", "/db/_user/carl", `{}`, admin...).is(t, "made again", 201, "")
	b.visit("GET", "/db/_user/carl", "", admin...).is(t, "made again", 200, `{"name":"carl","disabled":false,"admin_roles":[]}`)
	// A change keeps what Sync Gateway's clients do not know of.
	if doc := ls.do("GET", userAnn, ""); !strings.Contains(doc, `"subject":"1"`) {
		t.Errorf("ann is %s", doc)
	}
	b.visit("PUT", "/db/_user/ann", `{"email":"ann@example.org"}`, admin...).is(t, "changed", 200, "")
	if doc := ls.do("GET", userAnn, ""); !strings.Contains(doc, `"subject":"1"`) || !strings.Contains(doc, "derived_key") {
		t.Errorf("ann is %s", doc)
	}
}

func TestGatewayLogin(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	b := ls.browser()
	b.visit("GET", "/db/_oidc?provider=nobody", "").is(t, "unknown provider", 400, `{"error":"Bad Request","reason":"OpenID Connect not configured for database db"}`)
	for _, path := range []string{"_oidc", "_oidc_challenge", "_oidc_callback"} {
		for _, method := range []string{"HEAD", "POST"} {
			if got := b.visit(method, "/db/"+path, ""); got.status != 405 || got.Get("Allow") != "GET" || len(got.Values("Set-Cookie")) > 0 {
				t.Errorf("%s %s: %d %v", method, path, got.status, got.Header)
			}
		}
	}
	for query, want := range map[string]struct {
		status int
		reason string
	}{
		"error=access_denied&error_description=No": {401, "oidc callback received an error: No"},
		"state=1":                {400, "Code must be present on oidc callback"},
		"code=1&provider=nobody": {400, "Unable to identify provider for callback request"},
		"code=1&state=1":         {400, "OIDC Auth Failure: No state cookie found, client needs to support cookies when OIDC callback state is enabled"},
	} {
		if got := b.visit("GET", "/db/_oidc_callback?"+query, ""); got.status != want.status || !strings.Contains(got.body, want.reason) {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	b.visit("GET", "/db/_oidc_refresh", "").is(t, "no token", 400, `{"error":"Bad Request","reason":"Refresh token must be present for oidc refresh"}`)
	b.visit("GET", "/db/_oidc_refresh?refresh_token=x&provider=nobody", "").is(t, "unknown provider", 400, `{"error":"Bad Request","reason":"Unable to identify provider for callback request"}`)
	b.visit("GET", "/db/_oidc", "", "Host", "evil.example").refused(t, "forged Host", 400)
	back := b.atProvider("/db/_oidc")
	if got := b.visit("GET", strings.Replace(back, "state=", "state=x", 1), ""); got.status != 400 || !strings.Contains(got.body, "OIDC Auth Failure: State mismatch") {
		t.Errorf("another state: %d %s", got.status, got.body)
	}
	if got := b.visit("GET", strings.Replace(back, "code=", "code=x", 1), ""); got.status != 500 || !strings.Contains(got.body, "Failed to exchange token") {
		t.Errorf("a forged code: %d %s", got.status, got.body)
	}

	got := b.login("/db/_oidc?offline=true")
	var told struct{ ID_Token, Refresh_Token, Session_ID, Name string }
	decode(t, got.body, &told)
	if got.status != 200 || told.ID_Token == "" || told.Refresh_Token == "" || told.Name != "ann" || !strings.HasPrefix(got.cookieOf(SyncGatewayCookie), SyncGatewayCookie+"="+told.Session_ID+";") ||
		!strings.Contains(got.cookieOf(SyncGatewayCookie), "; Path=/db;") || got.Get("Cache-Control") != "no-store" || strings.Contains(got.body, "access_token") {
		t.Fatalf("%d %s %v", got.status, got.body, got.Header)
	}
	b.visit("GET", "/db/_session", "").is(t, "the session", 200, gatewayAnn)

	// Of a refresh token that has been replaced, the new one is in the answer.
	old := told.Refresh_Token
	got = ls.browser().visit("GET", "/db/_oidc_refresh?refresh_token="+url.QueryEscape(old), "")
	decode(t, got.body, &told)
	if got.status != 200 || told.Refresh_Token == old || told.Refresh_Token == "" || told.Session_ID == "" {
		t.Errorf("refresh: %d %s", got.status, got.body)
	}
	ls.browser().visit("GET", "/db/_oidc_refresh?refresh_token="+old, "").is(t, "a used one", 500, `{"error":"Internal Server Error","reason":"Unable to refresh token."}`)
	ls.browser().visit("GET", "/db/_oidc_refresh?refresh_token="+told.Refresh_Token, "", "Sec-Fetch-Site", "cross-site").is(t, "another site's link", 400, `{"error":"Bad Request","reason":"No CORS"}`)
	if got := ls.browser().visit("POST", "/db/_oidc_refresh", `{"refresh_token":"`+told.Refresh_Token+`"}`); got.status != 200 {
		t.Errorf("refresh by POST: %d %s", got.status, got.body)
	}

	challenged := ls.browser()
	got = challenged.visit("GET", "/db/_oidc_challenge", "")
	to, ok := strings.CutPrefix(got.Get("WWW-Authenticate"), `OIDC login="`)
	if got.status != 401 || !ok || !strings.Contains(got.body, `"reason":"Login required"`) {
		t.Fatalf("challenge: %d %v %s", got.status, got.Header, got.body)
	}
	if got := challenged.visit("GET", ls.provider.SignIn(t, strings.TrimSuffix(to, `"`)).String(), ""); got.status != 200 {
		t.Errorf("after the challenge: %d %s", got.status, got.body)
	}

	other := ls.browser()
	back = other.atProvider("/db/_oidc?provider=another")
	if !strings.Contains(back, "provider=another") {
		t.Errorf("the callback of a provider that is not the first is %s", back)
	}
	elsewhere := ls.browser()
	back = elsewhere.atProvider("/_oidc/idp/login?next=/")
	elsewhere.visit("GET", strings.Replace(back, "/_oidc/idp/callback", "/db/_oidc_callback", 1), "").refused(t, "a login that began elsewhere", 400)
}

func TestGatewayLoginRefused(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	ls.provider.SetUser(map[string]any{"sub": "9", "preferred_username": "carl"})
	ls.browser().login("/db/_oidc").is(t, "unknown user", 401, `{"error":"Unauthorized","reason":"Invalid login"}`)
	ls.provider.SetUser(map[string]any{"sub": "9", "preferred_username": "admin"})
	ls.browser().login("/db/_oidc").is(t, "a server admin's name", 401, `{"error":"Unauthorized","reason":"Invalid login"}`)
	ls.provider.SetUser(map[string]any{"sub": "1", "preferred_username": "ann"})
	ls.browser().visit("PUT", "/db/_user/ann", `{"disabled":true}`, basic("admin:secret")...)
	ls.browser().login("/db/_oidc").is(t, "disabled", 400, `{"error":"Bad Request","reason":"User is disabled"}`)
	ls.provider.Break("", authtest.Down())
	ls.configure(oidc.Mapping{UsernameClaim: "preferred_username"}, nil)
	ls.browser().visit("GET", "/db/_oidc", "").is(t, "the provider is down", 500, `{"error":"Internal Server Error","reason":"Unable to obtain client for provider: idp"}`)
}

func TestGatewayDisableSession(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, func(o *oidc.ProviderOptions) { o.NoSession = true })
	got := ls.browser().login("/db/_oidc")
	if got.status != 200 || got.cookieOf(SyncGatewayCookie) != "" || strings.Contains(got.body, "session_id") || !strings.Contains(got.body, `"name":"ann"`) {
		t.Errorf("%d %s %v", got.status, got.body, got.Header)
	}
}

// logged gathers what a server logs.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

// TestLoginsLogNoSecrets: no code, state, token or session turns up in the log, with everything in it that there is.
func TestLoginsLogNoSecrets(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	var log logged
	ls.s.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b := ls.browser()
	back := b.atProvider("/db/_oidc?offline=true")
	query, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ ID_Token, Refresh_Token, Session_ID string }
	decode(t, b.visit("GET", back, "").body, &told)
	b.visit("GET", back, "")
	wrong := b.atProvider("/_oidc/idp/login?next=/")
	b.visit("GET", wrong+"x", "")
	b.visit("GET", "/db/_oidc_refresh?refresh_token="+told.Refresh_Token, "")
	b.visit("GET", "/db/_oidc_refresh?refresh_token="+told.Refresh_Token, "")
	b.visit("GET", "/db/_session/"+told.Session_ID, "", basic("admin:secret")...)
	b.visit("GET", "/db/_session/"+told.Session_ID, "")
	b.visit("DELETE", "/db/_user/ann/_session/"+told.Session_ID, "", basic("admin:secret")...)
	b.visit("POST", "/_oidc/idp/backchannel_logout", "logout_token="+told.ID_Token, "Content-Type", "application/x-www-form-urlencoded")
	log.mu.Lock()
	defer log.mu.Unlock()
	text := log.String()
	if !strings.Contains(text, "session began") || !strings.Contains(text, "/db/_session/…") {
		t.Fatalf("the log is not the server's: %s", text)
	}
	for what, secret := range map[string]string{"code": query.Query().Get("code"), "state": query.Query().Get("state"), "ID token": told.ID_Token,
		"refresh token": told.Refresh_Token, "session": told.Session_ID} {
		if secret == "" || strings.Contains(text, secret) {
			t.Errorf("the %s %q is in the log", what, secret)
		}
	}
}
