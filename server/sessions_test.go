package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
)

// A session of a token keeps the token's roles, knows the login that it is from, and cannot be made of an access token or by a page of another site.
func TestTradedSession(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	claims := "eyJpc3MiOiJodHRwczovL3Byb3YuZXhhbXBsZSIsInN1YiI6IjciLCJzaWQiOiJsb2dpbi0xIn0" // {"iss":"https://prov.example","sub":"7","sid":"login-1"}
	if issuer, subject, sid := loginOf("x." + claims + ".y"); issuer != "https://prov.example" || subject != "7" || sid != "login-1" {
		t.Errorf("got %q, %q, %q", issuer, subject, sid)
	}
	for _, odd := range []string{"", "x", "x.y.z", "x." + claims[:len(claims)-3] + ".y", "x.WzFd.y", "..", "x.eyJzdWIiOjd9.y"} {
		if issuer, subject, sid := loginOf(odd); issuer != "" || subject != "" || sid != "" {
			t.Errorf("%q: got %q, %q, %q", odd, issuer, subject, sid)
		}
	}
	const vouched = `{"name":"eve","roles":["nurse"],"provider":"prov"}`
	quoted, err := json.Marshal(vouched)
	if err != nil {
		t.Fatal(err)
	}
	res := ts.send("ann:apple", "POST", "/_session", `{"id_token":`+string(quoted)+`,"label":"ward 3"}`)
	res.Body.Close()
	cookie, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	if _, body := ts.as("", "GET", "/_session", "", "Cookie", cookie); !strings.Contains(body, `"userCtx":{"name":"eve","roles":["nurse"]}`) {
		t.Errorf("got %s", body)
	}
	if _, body := ts.as("", "GET", "/_sessions", "", "Cookie", cookie); !strings.Contains(body, `"user":"eve","roles":["nurse"],"method":"jwt","provider":"prov"`) ||
		!strings.Contains(body, `"label":"ward 3","current":true`) {
		t.Errorf("got %s", body)
	}
	byHeader := []string{"Authorization", "Bearer " + vouched, "Content-Length", "0"}
	if status, body := ts.as("", "POST", "/_session", "", byHeader...); status != 200 || !strings.Contains(body, `"name":"eve"`) {
		t.Errorf("by header: %d %s", status, body)
	}
	for _, origin := range []string{"https://elsewhere.example", "http://localhost", "null"} {
		from := []string{"Origin", origin, "Sec-Fetch-Site", "cross-site"}
		for where, res := range map[string]*http.Response{
			"header": ts.send("", "POST", "/_session", "", append(from, byHeader...)...),
			"body":   ts.send("", "POST", "/_session", `{"id_token":`+string(quoted)+`}`, from...),
		} {
			res.Body.Close()
			if res.StatusCode != http.StatusForbidden || res.Header.Get("Set-Cookie") != "" {
				t.Errorf("in the %s, from %s: %d %q", where, origin, res.StatusCode, res.Header.Get("Set-Cookie"))
			}
		}
	}
	_, token := ts.makeToken("ann")
	for name, c := range map[string]struct {
		body   string
		header []string
	}{
		"access token":             {"", []string{"Authorization", "Bearer " + token}},
		"app password":             {"", []string{"Authorization", basicAuth("ann", token)}},
		"access token in the body": {`{"id_token":"` + token + `"}`, nil},
		"beside a password":        {`{"name":"ann","password":"apple"}`, []string{"Authorization", "Bearer " + token}},
		"for once":                 {`{"id_token":"` + token + `"}`, nil},
	} {
		res := ts.send("", "POST", "/_session", c.body, c.header...)
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %q", name, res.StatusCode, res.Header.Get("Set-Cookie"))
		}
	}
}

// Neither a label nor a user agent that is too long is kept, and what is wrong with a login is told before a session is made.
func TestSessionForm(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	for name, body := range map[string]string{
		"long label":      `{"name":"ann","password":"apple","label":"` + strings.Repeat("x", 300) + `"}`,
		"label in lines":  `{"name":"ann","password":"apple","label":"a\nb"}`,
		"two names":       `{"name":"ann","username":"bob","password":"apple"}`,
		"number":          `{"name":"ann","password":1}`,
		"nobody":          `{}`,
		"empty id_token":  `{"id_token":""}`,
		"not an object":   `[]`,
		"broken off":      `{"name":"ann"`,
		"empty code":      `{"code":""}`,
		"code, no secret": `{"code":"x"}`,
	} {
		res := ts.send("", "POST", "/_session", body)
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %q", name, res.StatusCode, res.Header.Get("Set-Cookie"))
		}
	}
	if got := ts.do("GET", "/_sessions", ""); strings.Contains(got, `"id"`) {
		t.Errorf("a session was made: %s", got)
	}
	if status, _ := ts.as("", "POST", "/_session", `{"name":"ann","password":"apple"}`, "User-Agent", strings.Repeat("long", 1000)); status != 200 {
		t.Errorf("a long user agent: %d", status)
	}
	var list struct {
		Sessions []struct {
			UserAgent string `json:"user_agent"`
		}
	}
	if err := json.Unmarshal([]byte(ts.do("GET", "/_sessions", "")), &list); err != nil || len(list.Sessions) != 1 || len(list.Sessions[0].UserAgent) != 256 {
		t.Errorf("got %+v, %v", list, err)
	}
}

// Pages of a listing hold every session once.
func TestSessionPages(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	for range 7 {
		ts.signIn("ann")
	}
	ts.signIn("bob")
	seen, after, pages := map[string]bool{}, "", 0
	for {
		var page struct {
			Sessions []struct{ ID, User string }
			Next     string
		}
		_, body := ts.as("ann:apple", "GET", "/_sessions?limit=3&after="+after, "")
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(body, err)
		}
		for _, session := range page.Sessions {
			if seen[session.ID] || session.User != "ann" {
				t.Errorf("%+v comes again, or is not ann's", session)
			}
			seen[session.ID] = true
		}
		if pages++; page.Next == "" {
			break
		}
		after = page.Next
	}
	if len(seen) != 7 || pages != 3 {
		t.Errorf("%d sessions on %d pages, want 7 on 3", len(seen), pages)
	}
}

// A session never opens what its user may not, and a provider's that is no longer in the settings is refused.
func TestSessionRights(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	_, secret, err := ts.session(auth.NewSession{Who: auth.Identity{Name: "ann", Roles: []string{"_admin"}, Method: "oidc", Provider: "gone"}, Subject: "7"})
	if err != nil {
		t.Fatal(err)
	}
	if ts.is("ann", "Cookie", "AuthSession="+secret) {
		t.Error("a provider that is not in the settings lets in")
	}
	limited := auth.Identity{Name: "ann", Method: "jwt", Scope: &auth.Scope{Databases: []string{"notes"}}, Expires: time.Now().Add(time.Hour)}
	if _, secret, err = ts.session(auth.NewSession{Who: limited}); err != nil {
		t.Fatal(err)
	}
	cookie := []string{"Cookie", "AuthSession=" + secret}
	for path, want := range map[string]int{"GET /notes": 200, "PUT /notes/x": 403, "GET /_users": 403, "GET /_sessions": 403, "POST /_tokens": 403, "POST /_session": 403} {
		method, path, _ := strings.Cut(path, " ")
		if status, body := ts.as("", method, path, "{}", cookie...); status != want {
			t.Errorf("%s %s by a session with a scope: %d %s, want %d", method, path, status, body, want)
		}
	}
}
