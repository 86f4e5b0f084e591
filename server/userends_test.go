package server

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
	"github.com/parlordb/parlor/store"
)

// withUsers is a server with _users, the database notes that ann and bob may read, and the two of them, with the password apple.
func withUsers(t testing.TB) *testServer {
	t.Helper()
	ts := newTestServer(t)
	ts.addUsers("ann", "bob")
	ts.do("PUT", "/notes", "")
	ts.do("PUT", "/notes/_security", `{"members":{"names":["ann","bob"]}}`)
	return ts
}

// userNamed is a user's document, with more members that begin with a comma.
func userNamed(name, more string) string {
	return `{"name":"` + name + `","password":"apple","roles":[],"type":"user"` + more + `}`
}

// signIn makes a session and returns its cookie.
func (ts *testServer) signIn(name string) string {
	ts.t.Helper()
	res := ts.send("", "POST", "/_session", `{"name":"`+name+`","password":"apple"}`)
	res.Body.Close()
	cookie, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	if res.StatusCode != http.StatusOK || len(cookie) < 40 {
		ts.t.Fatalf("%s cannot sign in: %d %q", name, res.StatusCode, cookie)
	}
	return cookie
}

// makeToken makes an access token of a user.
func (ts *testServer) makeToken(name string) (id, secret string) {
	ts.t.Helper()
	var made struct{ ID, Token string }
	if err := json.Unmarshal([]byte(ts.do("POST", "/_tokens", `{"user":"`+name+`"}`)), &made); err != nil || made.Token == "" {
		ts.t.Fatal(err)
	}
	return made.ID, made.Token
}

// revOf is the revision of a document.
func (ts *testServer) revOf(path string) string {
	ts.t.Helper()
	var doc struct {
		Rev string `json:"_rev"`
	}
	if err := json.Unmarshal([]byte(ts.do("GET", path, "")), &doc); err != nil {
		ts.t.Fatal(err)
	}
	return doc.Rev
}

// is reports whether a request with a header is from the user name.
func (ts *testServer) is(name string, header ...string) bool {
	ts.t.Helper()
	_, body := ts.as("", "GET", "/_session", "", header...)
	return strings.Contains(body, `"userCtx":{"name":"`+name+`"`)
}

// openBy opens a feed of notes for whom a header signs in.
func (ts *testServer) openBy(header ...string) *openFeed {
	ts.t.Helper()
	return ts.followWith("/notes/_changes?feed=continuous&since=now&heartbeat=10", header...)
}

// followWith opens a feed for whom a header, or the path, signs in.
func (ts *testServer) followWith(path string, header ...string) *openFeed {
	ts.t.Helper()
	res := ts.send("", "GET", path, "", header...)
	ts.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		ts.t.Fatalf("%s: %d", path, res.StatusCode)
	}
	return newOpenFeed(ts.t, res.Body)
}

func basicAuth(name, pass string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+pass))
}

// Whichever way a user goes, his sessions and tokens are gone when that is answered, his feeds are cut, and a later user of the name inherits nothing.
func TestUserGoes(t *testing.T) {
	t.Parallel()
	const ann = "/_users/org.couchdb.user:ann"
	for name, remove := range map[string]func(ts *testServer, rev string){
		"DELETE": func(ts *testServer, rev string) { ts.do("DELETE", ann+"?rev="+rev, "") },
		"PUT":    func(ts *testServer, rev string) { ts.do("PUT", ann, `{"_rev":"`+rev+`","_deleted":true}`) },
		"bulk": func(ts *testServer, rev string) {
			ts.do("POST", "/_users/_bulk_docs", `{"docs":[{"_id":"org.couchdb.user:ann","_rev":"`+rev+`","_deleted":true}]}`)
		},
		"replication": func(ts *testServer, rev string) {
			ts.do("POST", "/_users/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"org.couchdb.user:ann","_rev":"2-abc","_deleted":true,"_revisions":{"start":2,"ids":["abc","`+rev[2:]+`"]}}]}`)
		},
		"purge": func(ts *testServer, rev string) {
			ts.do("POST", "/_users/_purge", `{"org.couchdb.user:ann":["`+rev+`"],"org.couchdb.user:":["1-x"]}`)
		},
		"all users": func(ts *testServer, rev string) { ts.do("DELETE", "/_users", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := withUsers(t)
			cookie := ts.signIn("ann")
			_, token := ts.makeToken("ann")
			bobs := ts.signIn("bob")
			bySession, byToken := ts.openBy("Cookie", cookie), ts.openBy("Authorization", "Bearer "+token)
			if !ts.is("ann", "Cookie", cookie) || !ts.is("ann", "Authorization", "Bearer "+token) {
				t.Fatal("ann is not let in")
			}
			remove(ts, ts.revOf(ann))
			bySession.mustBreak()
			byToken.mustBreak()
			again := func(when string) {
				t.Helper()
				if ts.is("ann", "Cookie", cookie) || ts.is("ann", "Authorization", "Bearer "+token) {
					t.Errorf("%s a session or a token lets ann in", when)
				}
			}
			again("afterwards")
			if name == "all users" {
				ts.do("PUT", "/_users", "")
			} else if !ts.is("bob", "Cookie", bobs) {
				t.Error("another user's session has ended")
			}
			ts.do("PUT", ann, userNamed("ann", ""))
			again("for another of the name")
			for _, list := range []string{"/_sessions?user=ann", "/_tokens?user=ann"} {
				if got := ts.do("GET", list, ""); strings.Contains(got, `"id"`) {
					t.Errorf("%s: %s", list, got)
				}
			}
		})
	}
}

// What ends a session or a token cuts its feeds, and no others.
func TestFeedsEndWithCredentials(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	const ann = "/_users/org.couchdb.user:ann"
	id, token := ts.makeToken("ann")
	cookie, other := ts.signIn("ann"), ts.signIn("ann")
	mine, others, byToken := ts.openBy("Cookie", cookie), ts.openBy("Cookie", other), ts.openBy("Authorization", "Bearer "+token)

	ts.as("", "DELETE", "/_session", "", "Cookie", cookie)
	mine.mustBreak()
	others.line() // a heartbeat
	ts.do("PUT", ann, strings.Replace(userNamed("ann", `,"_rev":"`+ts.revOf(ann)+`"`), "apple", "apricot", 1))
	others.mustBreak()
	if ts.is("ann", "Cookie", other) {
		t.Error("a session outlives the password")
	}
	byToken.line() // tokens are spared
	ts.do("DELETE", "/_tokens/"+id, "")
	byToken.mustBreak()

	ts.do("PUT", ann, userNamed("ann", `,"_rev":"`+ts.revOf(ann)+`"`))
	_, token = ts.makeToken("ann")
	feeds := []*openFeed{ts.openBy("Cookie", ts.signIn("ann")), ts.openBy("Authorization", "Bearer "+token)}
	ts.do("PUT", ann, userNamed("ann", `,"disabled":true,"_rev":"`+ts.revOf(ann)+`"`))
	for _, feed := range feeds {
		feed.mustBreak()
	}
}

// A feed that a one-time session let in goes on when that has been used up, and ends with the user's other sessions.
func TestFeedByOneTimeSession(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	once := func() string {
		t.Helper()
		_, body := ts.as("", "POST", "/_session?one_time=true", `{"name":"ann","password":"apple"}`)
		var made struct {
			ID string `json:"one_time_session_id"`
		}
		if err := json.Unmarshal([]byte(body), &made); err != nil || made.ID == "" {
			t.Fatal(body, err)
		}
		return made.ID
	}
	secret := once()
	feed := ts.followWith("/notes/_changes?feed=continuous&since=now&heartbeat=10&one_time_session=" + secret)
	ts.do("PUT", "/notes/_security", `{"members":{"names":["ann"]}}`) // it is judged again
	feed.line()
	if status, body := ts.as("", "GET", "/notes?one_time_session="+secret, ""); status != 401 {
		t.Errorf("used again: %d %s", status, body)
	}
	ts.do("DELETE", "/_sessions?user=ann", "")
	feed.mustBreak()
	// From a page of another origin too: whoever has the id was meant to.
	if status, body := ts.as("", "GET", "/notes?one_time_session="+once(), "", "Origin", "https://app.example"); status != 200 {
		t.Errorf("from another origin: %d %s", status, body)
	}
	// It vouches for itself alone, not for the cookie beside it.
	cookie := ts.signIn("ann")
	if status, body := ts.as("", "GET", "/notes?one_time_session=x", "", "Origin", "https://app.example", "Cookie", cookie); status == 200 {
		t.Errorf("a wrong one beside a cookie: %d %s", status, body)
	}
	if status, body := ts.as("", "GET", "/notes?one_time_session=", "", "Origin", "https://app.example", "Cookie", cookie); status == 200 {
		t.Errorf("an empty one beside a cookie: %d %s", status, body)
	}
}

// A disabled user is refused, however he signs in, and so is one whose document says it of a foreign name.
func TestDisabled(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	_, token := ts.makeToken("ann")
	ways := map[string][]string{
		"session":      {"Cookie", ts.signIn("ann")},
		"access token": {"Authorization", "Bearer " + token},
		"app password": {"Authorization", basicAuth("ann", token)},
		"password":     {"Authorization", basicAuth("ann", "apple")},
		"provider":     {"Authorization", `Bearer {"name":"ann","provider":"prov"}`},
	}
	for way, header := range ways {
		if !ts.is("ann", header...) {
			t.Errorf("%s does not let in", way)
		}
	}
	const ann = "/_users/org.couchdb.user:ann"
	ts.do("PUT", ann, userNamed("ann", `,"disabled":true,"_rev":"`+ts.revOf(ann)+`"`))
	for way, header := range ways {
		status, body := ts.as("", "GET", "/notes", "", header...)
		if status == 200 || way != "session" && (status != 403 || !strings.Contains(body, "disabled")) {
			t.Errorf("%s: %d %s", way, status, body)
		}
	}
	if status, body := ts.as("", "POST", "/_session", `{"name":"ann","password":"apple"}`); status != 403 {
		t.Errorf("a new session: %d %s", status, body)
	}
	if status, body := ts.as("", "POST", "/_session", `{"id_token":"{\"name\":\"ann\",\"provider\":\"prov\"}"}`); status != 403 {
		t.Errorf("a session of a token: %d %s", status, body)
	}
}

// TestDisabledWritten: the member is written as true or false, so that nobody takes for disabled who is not; and of a server admin, whom [admins] makes one whatever
// a document says, it is not written at all.
func TestDisabledWritten(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	for value, want := range map[string]int{"true": 201, "false": 201, "null": 201, `"true"`: 403, `"false"`: 403, "1": 403, "0": 403, `""`: 403, "[]": 403, "{}": 403} {
		name := "user" + hex.EncodeToString([]byte(value))
		status, body := ts.as("admin:secret", "PUT", "/_users/org.couchdb.user:"+name, userNamed(name, `,"disabled":`+value))
		if status != want || want == 403 && !strings.Contains(body, "doc.disabled must be") {
			t.Errorf("%s: %d %s", value, status, body)
		}
	}
	if status, body := ts.as("admin:secret", "PUT", "/_users/org.couchdb.user:admin", userNamed("admin", `,"disabled":true`)); status != 403 || !strings.Contains(body, "[admins]") {
		t.Errorf("a server admin: %d %s", status, body)
	}
	ts.do("PUT", "/_users/org.couchdb.user:admin", userNamed("admin", `,"disabled":false`))
}

// TestDisabledStored: whatever stands in a document that came another way, it disables unless it says the contrary.
func TestDisabledStored(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"true": true, "false": false, "null": false, `"true"`: true, `"false"`: true, "1": true, "0": true, `""`: true, "[]": true, "{}": true} {
		if u, err := parseUser([]byte(`{"disabled":` + value + `}`)); err != nil || u.disabled != want {
			t.Errorf("%s: disabled is %v, %v", value, u.disabled, err)
		}
	}
}

// Who comes by way of a provider makes tokens when he is linked to a user here, and loses that session when the link goes.
func TestLinkedUser(t *testing.T) {
	t.Parallel()
	ts := withUsers(t)
	const ann = "/_users/org.couchdb.user:ann"
	prov := []string{"Authorization", `Bearer {"name":"ann","roles":["nurse"],"provider":"prov"}`}
	for _, vouched := range []string{`{"name":"ann","provider":"prov"}`, `{"name":"ann"}`, `{"name":"new","provider":"prov"}`} {
		if status, body := ts.as("", "POST", "/_tokens", `{}`, "Authorization", "Bearer "+vouched); status != 403 {
			t.Errorf("%s: %d %s, want 403", vouched, status, body)
		}
	}
	ts.do("PUT", ann, userNamed("ann", `,"identities":[{"issuer":"https://prov.example","subject":"7"}],"_rev":"`+ts.revOf(ann)+`"`))
	if status, body := ts.as("", "POST", "/_tokens", `{}`, prov...); status != 201 {
		t.Errorf("linked: %d %s", status, body)
	}
	_, secret, err := ts.session(auth.NewSession{Who: auth.Identity{Name: "ann", Roles: []string{"nurse"}, Method: "oidc", Provider: "prov"}, Issuer: "https://prov.example", Subject: "7"})
	if err != nil {
		t.Fatal(err)
	}
	cookie := []string{"Cookie", "AuthSession=" + secret}
	// Numbers that a provider gives its users are others' numbers elsewhere.
	const elsewhere = `{"issuer":"https://elsewhere.example","subject":"7"}`
	ts.do("PUT", ann, userNamed("ann", `,"identities":[{"issuer":"https://prov.example","subject":"7"},`+elsewhere+`],"_rev":"`+ts.revOf(ann)+`"`))
	if !ts.is("ann", cookie...) {
		t.Error("another link ends a session")
	}
	feed := ts.openBy(cookie...)
	if status, body := ts.as("", "POST", "/_tokens", `{}`, cookie...); status != 201 {
		t.Errorf("linked, by a session: %d %s", status, body)
	}
	ts.do("PUT", ann, userNamed("ann", `,"identities":[`+elsewhere+`],"_rev":"`+ts.revOf(ann)+`"`))
	feed.mustBreak()
	if ts.is("ann", cookie...) {
		t.Error("a session outlives the link that it is from")
	}
}

// session makes a session past HTTP.
func (ts *testServer) session(n auth.NewSession) (id, secret string, err error) {
	secret, made, err := ts.s.sessions.Create(ts.t.Context(), n)
	return made.ID, secret, err
}

// TestLinkThatGoesInACrash: when a crash comes between the loss of a link and the end of what it let in, that lets nobody in all the same, and its feeds are cut.
func TestLinkThatGoesInACrash(t *testing.T) {
	t.Parallel()
	ls := newLoginServer(t, oidc.Mapping{}, nil)
	b := ls.browser()
	cookie, _, _ := strings.Cut(b.login("/_oidc/idp/login?next=/_session").cookieOf("AuthSession"), ";")
	feed := ls.followWith("/db/_changes?feed=continuous&since=now&heartbeat=10", "Cookie", cookie)
	db, err := ls.store.DB(usersDatabase)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := db.Doc(userPrefix + "ann")
	if err != nil {
		t.Fatal(err)
	}
	body, err := withMember(doc.Body, "identities", []byte("[]"))
	if err != nil {
		t.Fatal(err)
	}
	// Past the server, which would end the session.
	if _, err := db.Put(t.Context(), store.Write{Doc: store.Doc{ID: doc.ID, Body: body}, Base: doc.Rev}, nil); err != nil {
		t.Fatal(err)
	}
	if got := b.user(); got != "" {
		t.Fatalf("signed in as %q", got)
	}
	feed.mustBreak()
}
