package server

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
)

// begin sends the head of a request, and returns when the server waits for the body: who it is from has been judged then. finish sends the body.
func (ls *loginServer) begin(method, path, body string, header ...string) (finish func() (status int, answer string)) {
	ls.t.Helper()
	address := strings.TrimPrefix(ls.URL, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		ls.t.Fatal(err)
	}
	ls.t.Cleanup(func() { conn.Close() })
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n", method, path, address, len(body))
	for i := 0; i+1 < len(header); i += 2 {
		head += header[i] + ": " + header[i+1] + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		ls.t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	if res, err := http.ReadResponse(answer, nil); err != nil || res.StatusCode != http.StatusContinue {
		ls.t.Fatalf("%s %s: %v, %v", method, path, res, err)
	}
	return func() (int, string) {
		ls.t.Helper()
		if _, err := io.WriteString(conn, body); err != nil {
			ls.t.Fatal(err)
		}
		res, err := http.ReadResponse(answer, nil)
		if err != nil {
			ls.t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			ls.t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
}

// TestBodyOutlivesItsSender: a request whose body comes late is refused when what let it in has ended meanwhile.
func TestBodyOutlivesItsSender(t *testing.T) {
	t.Parallel()
	const document, attachment = `{"name":"late"}`, "text"
	for what, c := range map[string]struct {
		method, path, body, kind string
	}{
		"document":   {"PUT", "/db/late", document, "application/json"},
		"bulk":       {"POST", "/db/_bulk_docs", `{"docs":[` + document + `]}`, "application/json"},
		"local":      {"PUT", "/db/_local/late", document, "application/json"},
		"attachment": {"PUT", "/db/late/file", attachment, "text/plain"},
		"multipart": {"PUT", "/db/late", "--x\r\nContent-Type: application/json\r\n\r\n" +
			`{"_attachments":{"a":{"follows":true,"length":4,"content_type":"text/plain"}}}` + "\r\n--x\r\n\r\ntext\r\n--x--", `multipart/related; boundary="x"`},
		"own password": {"PUT", userBob + "?new_edits=false", `{"_rev":"99-abc","type":"user","name":"bob","roles":[],"password":"mine"}`, "application/json"},
		"token":        {"POST", "/_tokens", `{}`, "application/json"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ls := newLoginServer(t, oidc.Mapping{}, nil)
			token := ls.takeTokens("bob")
			cookie := ls.browser().visit("POST", "/_session", `{"name":"bob","password":"pw"}`).cookieOf("AuthSession")
			cookie, _, _ = strings.Cut(cookie, ";")
			ways := map[string][]string{"password": basic("bob:pw"), "session": {"Cookie", cookie}}
			if strings.HasPrefix(c.path, "/db/") {
				ways["access token"] = []string{"Authorization", "Bearer " + token}
			}
			finish := map[string]func() (int, string){}
			for way, header := range ways {
				finish[way] = ls.begin(c.method, c.path, c.body, append(header, "Content-Type", c.kind)...)
			}
			ls.do("PUT", userBob, `{"_rev":"`+ls.revOf(userBob)+`","type":"user","name":"bob","roles":[],"password":"another"}`)
			ls.do("DELETE", "/_tokens?user=bob", "")
			ls.ahead.Add(int64(time.Minute))
			for way, finish := range finish {
				if status, answer := finish(); status != http.StatusUnauthorized {
					t.Errorf("by %s: %d %s", way, status, answer)
				}
			}
			if got := ls.do("GET", "/_tokens?user=bob", ""); strings.Contains(got, `"id"`) {
				t.Errorf("a token was made: %s", got)
			}
			if got := ls.do("GET", "/db/_all_docs", ""); strings.Contains(got, `"id"`) {
				t.Errorf("a document was written: %s", got)
			}
			if got := ls.browser().visit("GET", "/db", "", basic("bob:another")...); got.status != http.StatusOK {
				t.Errorf("the password that was set: %d %s", got.status, got.body)
			}
		})
	}
}

const userBob = "/_users/org.couchdb.user:bob"

// takeTokens has the server take access tokens too, and returns one of a user.
func (ls *loginServer) takeTokens(user string) (token string) {
	ls.t.Helper()
	ls.s.auth.Configure([]auth.Method{ls.s.tokens.Bearer(), ls.sessions, auth.NewBasic(ls.s.passwords)})
	_, token = ls.makeToken(user)
	return token
}

// TestBodyThatIsSlow: a body that takes long is no reason to refuse may still write.
func TestBodyThatIsSlow(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	token := ls.takeTokens("bob")
	for what, header := range map[string][]string{
		"password": basic("bob:pw"), "access token": {"Authorization", "Bearer " + token}, "server admin": basic("admin:secret"),
	} {
		finish := ls.begin("POST", "/db", `{}`, append(header, "Content-Type", "application/json")...)
		ls.ahead.Add(int64(time.Minute))
		if status, answer := finish(); status != http.StatusCreated {
			t.Errorf("%s: %d %s", what, status, answer)
		}
	}
	// Whoever loses the database meanwhile does not write to it.
	finish := ls.begin("POST", "/db", `{}`, append(basic("bob:pw"), "Content-Type", "application/json")...)
	ls.do("PUT", "/db/_security", `{"members":{"names":["ann"]}}`)
	ls.ahead.Add(int64(time.Minute))
	if status, answer := finish(); status != http.StatusForbidden {
		t.Errorf("without the database: %d %s", status, answer)
	}
}

// TestCredentialOfOneThatEnds: what is made by a request outlives it, so that it must not come from what has ended the moment before.
func TestCredentialOfOneThatEnds(t *testing.T) {
	t.Parallel()
	ls := newGateway(t, nil)
	set := func(password string) {
		t.Helper()
		ls.do("PUT", userAnn, `{"_rev":"`+ls.revOf(userAnn)+`","type":"user","name":"ann","roles":[],"password":"`+password+`"}`)
	}
	for what, c := range map[string]struct{ path, body string }{
		"token":                     {"/_tokens", `{}`},
		"device key":                {"/_tokens", `{"type":"key","algorithm":"ES256"}`},
		"session":                   {"/db/_session", `{}`},
		"session that serves once ": {"/db/_session?one_time=true", `{}`},
	} {
		set("pw")
		finish := ls.begin("POST", c.path, c.body, append(basic("ann:pw"), "Content-Type", "application/json")...)
		set("another")
		if status, answer := finish(); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", what, status, answer)
		}
		for _, list := range []string{"/_tokens?user=ann", "/_sessions?user=ann"} {
			if got := ls.do("GET", list, ""); strings.Contains(got, `"id"`) {
				t.Errorf("%s was made: %s", what, got)
			}
		}
	}
}

// TestFeedOfANameThatIsTakenLater: a feed of somebody whom a provider vouches for is cut when another gets the name here.
func TestFeedOfANameThatIsTakenLater(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	ts.do("PUT", "/notes/_security", `{"members":{"names":["eve","carl"]}}`)
	eve := ts.openBy("Authorization", `Bearer {"name":"eve","provider":"prov"}`)
	carl := ts.openBy("Authorization", `Bearer {"name":"carl"}`)
	for _, name := range []string{"eve", "carl"} {
		ts.do("PUT", "/_users/org.couchdb.user:"+name, userNamed(name, ""))
	}
	eve.mustBreak()
	// A token that is signed with a key of this server speaks of the names here.
	ts.do("PUT", "/notes/one", `{}`)
	for line := carl.line(); !strings.Contains(line, `"id":"one"`); line = carl.line() {
		if line != "" {
			t.Fatalf("got %q", line)
		}
	}
}

// TestTokenThatIsTradedLate: a session has what its token gives when the session is made, not when the request began.
func TestTokenThatIsTradedLate(t *testing.T) {
	t.Parallel()
	mapping := oidc.Mapping{RolesPath: "groups", AllowServerAdmin: true}
	ls := newLoginServer(t, mapping, nil, "parlor/sync_gateway_api=true")
	ls.provider.SetUser(map[string]any{"sub": "1", "preferred_username": "ann", "groups": []string{"_admin"}})
	header := []string{"Authorization", "Bearer " + ls.provider.IDToken(t, nil), "Content-Type", "application/json"}
	var finish []func() (int, string)
	for _, path := range []string{"/_session", "/db/_session"} {
		finish = append(finish, ls.begin("POST", path, `{}`, header...))
	}
	mapping.AllowServerAdmin, mapping.UsernameClaim = false, "preferred_username"
	ls.configure(mapping, nil)
	for _, finish := range finish {
		if status, answer := finish(); status != http.StatusOK {
			t.Errorf("%d %s", status, answer)
		}
	}
	if got := ls.do("GET", "/_sessions?user=ann", ""); strings.Contains(got, "_admin") || strings.Count(got, `"id"`) != 2 {
		t.Errorf("got %s", got)
	}
}

// TestCodeOfAnotherProvider: a code is not good for what the settings have put in the place of the provider that the login was at.
func TestCodeOfAnotherProvider(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	verifier := strings.Repeat("v", 43)
	sum := sha256.Sum256([]byte(verifier))
	got := ls.browser().login("/_oidc/idp/login?return_to=myapp:login&code_challenge=" + base64.RawURLEncoding.EncodeToString(sum[:]))
	_, code, ok := strings.Cut(got.Get("Location"), "code=")
	if !ok {
		t.Fatalf("%d %s", got.status, got.body)
	}
	ls.configure(oidc.Mapping{UsernameClaim: "preferred_username"}, nil)
	app := ls.browser()
	app.visit("POST", "/_session", `{"code":"`+code+`","code_verifier":"`+verifier+`"}`).refused(t, "afterwards", http.StatusBadRequest)
	if app.user() != "" {
		t.Error("signed in")
	}
}

// TestLoginByAnotherSite: no form of another site's page signs a browser's user in as somebody else.
func TestLoginByAnotherSite(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil, "chttpd/enable_cors=true", "cors/origins=https://app.example")
	const form = "name=ann&password=pw"
	for what, c := range map[string]struct {
		status int
		header []string
	}{
		"a browser's form there":   {403, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}},
		"one of a neighbour":       {403, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "same-site"}},
		"one of an old browser":    {403, []string{"Origin", "https://evil.example"}},
		"one without an origin":    {403, []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}},
		"a page of [cors] origins": {200, []string{"Origin", "https://app.example", "Sec-Fetch-Site", "cross-site"}},
		"a page of this server":    {200, []string{"Origin", "http://public.example", "Sec-Fetch-Site", "same-origin"}},
		"a program":                {200, nil},
	} {
		b := ls.browser()
		got := b.visit("POST", "/_session", form, append(c.header, "Content-Type", "application/x-www-form-urlencoded")...)
		if got.status != c.status || (b.user() == "ann") != (c.status == 200) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
}

// TestFeedThatClaimsOneTime: a feed ends with its session, however the session's secret is written into the query too.
func TestFeedThatClaimsOneTime(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	cookie := ts.signIn("ann")
	secret := strings.TrimPrefix(cookie, "AuthSession=")
	const path = "/notes/_changes?feed=continuous&since=now&heartbeat=10&one%5Ftime_session="
	if status, body := ts.as("", "POST", "/_session?one%5Ftime_session="+secret, `{"name":"bob","password":"apple"}`, "Cookie", cookie, "Origin", "https://evil.example"); status != 403 {
		t.Errorf("from another site: %d %s", status, body)
	}
	if status, body := ts.as("", "PUT", "/notes/one?one%5Ftime_session="+secret, `{}`, "Cookie", cookie, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("a write by another site's page: %d %s", status, body)
	}
	f := ts.followWith(path+secret, "Cookie", cookie)
	for _, session := range regexp.MustCompile(`"id":"([^"]+)"`).FindAllStringSubmatch(ts.do("GET", "/_sessions?user=ann", ""), -1) {
		ts.do("DELETE", "/_sessions/"+session[1], "")
	}
	f.mustBreak()
}

// TestEnded: what cannot be judged now has not ended, and is told so.
func TestEnded(t *testing.T) {
	t.Parallel()
	other := errors.New("the disk is gone")
	for err, want := range map[error]int{
		auth.ErrRevoked: 401, auth.ErrNoRecord: 401, auth.ErrUnknownUser: 401, &auth.Refusal{Status: 400}: 401, &auth.Refusal{Status: 403}: 401,
		&auth.Refusal{Status: 429}: 429, &auth.Refusal{Status: 503}: 503,
	} {
		if got, ok := ended(err).(*Error); !ok || got.Status != want {
			t.Errorf("%v: %v, want %d", err, got, want)
		}
	}
	if ended(other) != other {
		t.Error("an error of the server's own is a refusal")
	}
}
