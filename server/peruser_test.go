package server

import (
	"strings"
	"testing"
)

func TestPerUserNames(t *testing.T) {
	couch, padded := perUserSettings{prefix: "userdb-"}, perUserSettings{prefix: "u-", padded: true}
	for _, c := range []struct {
		p          perUserSettings
		user, want string
	}{
		{couch, "foo", "userdb-666f6f"},
		{couch, "a\n", "userdb-61a"}, // CouchDB's form, in which names can collide
		{padded, "a\n", "u-610a"},
		{couch, "é", "userdb-c3a9"},
	} {
		if got := c.p.database(c.user); got != c.want {
			t.Errorf("%q: got %q, want %q", c.user, got, c.want)
		}
	}
}

func TestWithName(t *testing.T) {
	const admins = `{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`
	for _, c := range []struct {
		security string
		in       bool
		want     string
	}{
		{admins, true, `{"members":{"roles":["_admin"],"names":["u"]},"admins":{"roles":["_admin"],"names":["u"]}}`},
		{admins, false, admins},
		{`{}`, true, `{"members":{"names":["u"]},"admins":{"names":["u"]}}`},
		{`{"x":[1],"members":{"names":["a"],"y":{}}}`, true, `{"x":[1],"members":{"names":["u","a"],"y":{}},"admins":{"names":["u"]}}`},
		{`{"members":{"names":["a","u","b"]},"admins":{"names":["u"]}}`, false, `{"members":{"names":["a","b"]},"admins":{"names":[]}}`},
		{`{"members":{"names":["u"]},"admins":{"names":["u"]}}`, true, `{"members":{"names":["u"]},"admins":{"names":["u"]}}`},
	} {
		got, err := withName([]byte(c.security), "u", c.in)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, %v: got %s, %v; want %s", c.security, c.in, got, err, c.want)
		}
	}
}

const withPerUser = "[chttpd_auth]\niterations = 1\n[couch_peruser]\nenable = true\ndelete_dbs = true\n"

// securityNames returns the members and the admins in a database's _security, or "none" when there is no database.
func (ts *testServer) securityNames(name string) string {
	ts.t.Helper()
	status, text := ts.as(admin, "GET", "/"+name+"/_security", "")
	if status == 404 {
		return "none"
	}
	sec, err := parseSecurity([]byte(text))
	if err != nil {
		ts.t.Fatal(err)
	}
	return strings.Join(sec.members.names, " ") + ";" + strings.Join(sec.admins.names, " ")
}

// TestPerUserAmbiguousNames: the digits of a name with bytes below 16 can be those of another, so that it has no database unless they are padded.
func TestPerUserAmbiguousNames(t *testing.T) {
	t.Parallel()
	const (
		database = "userdb-76696374696d"
		other    = "%07%06%06%09%06%03%07%04%06%09%06%0d"
	)
	const document = `{"name":"\u0007\u0006\u0006\t\u0006\u0003\u0007\u0004\u0006\t\u0006\r","type":"user","roles":[],"password":"apple"}`
	ts := newTestServer(t)
	ts.do("PUT", "/_users", "")
	on := func() {
		t.Helper()
		if err := ts.s.Configure(settingsOf(t, withPerUser), SignOn{Sessions: ts.s.sessions}); err != nil {
			t.Fatal(err)
		}
	}
	if name := (perUserSettings{prefix: "userdb-"}).database("\a\x06\x06\t\x06\x03\a\x04\x06\t\x06\r"); name != database {
		t.Fatalf("the names do not collide: %s", name)
	}

	// He was there before there were databases: the victim's is not his when it comes, nor does it go with him.
	ts.do("PUT", "/_users/org.couchdb.user:"+other, document)
	on()
	ts.addUser("victim")
	if got := ts.securityNames(database); got != "victim;victim" {
		t.Errorf("the database belongs to %q", got)
	}
	ts.dropUser(other)
	if got := ts.securityNames(database); got != "victim;victim" {
		t.Errorf("the database belongs to %q when the other has gone", got)
	}

	// He comes when the victim's is there, and when it is not.
	for range 2 {
		status, text := ts.as(admin, "PUT", "/_users/org.couchdb.user:"+other, document)
		if status != 403 || !strings.Contains(text, "control characters") {
			t.Errorf("%d %s", status, text)
		}
		row := strings.Replace(document, `{"name":"`, `{"_id":"org.couchdb.user:\u0007\u0006\u0006\t\u0006\u0003\u0007\u0004\u0006\t\u0006\r","name":"`, 1)
		if _, text := ts.as(admin, "POST", "/_users/_bulk_docs", `{"docs":[`+row+`]}`); !strings.Contains(text, "control characters") {
			t.Errorf("in a bulk: %s", text)
		}
		if status, _ := ts.as(admin, "GET", "/_users/org.couchdb.user:victim", ""); status == 200 {
			ts.dropUser("victim")
		}
		if got := ts.securityNames(database); got != "none" {
			t.Errorf("the database belongs to %q", got)
		}
	}
}

// TestPerUserLeavesVaultsAlone: a vault is not given to whoever's name leads to it, nor deleted with him.
func TestPerUserLeavesVaultsAlone(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/_users", "")
	for _, name := range []string{"userdb", "early"} {
		ts.addUser(name)
	}
	ts.steps(
		step{"userdb:apple", "PUT", "/userdb-616c696365", "", 201},
		step{"userdb:apple", "PUT", "/userdb-6561726c79", "", 201},
		step{"userdb:apple", "PUT", "/userdb-6561726c79/kept", "{}", 201},
	)
	ts.do("PUT", "/userdb-6f776e?owner=early", "")
	if err := ts.s.Configure(settingsOf(t, withPerUser), SignOn{Sessions: ts.s.sessions}); err != nil {
		t.Fatal(err)
	}
	const alice = `{"name":"alice","type":"user","roles":[],"password":"apple"}`
	if status, text := ts.as(admin, "PUT", "/_users/org.couchdb.user:alice", alice); status != 403 || !strings.Contains(text, "userdb-616c696365") {
		t.Errorf("alice was made: %d %s", status, text)
	}
	if status, _ := ts.as(admin, "GET", "/_users/org.couchdb.user:alice", ""); status != 404 {
		t.Errorf("alice is there: %d", status)
	}
	// Who was there before can be changed and deleted; the vault is not concerned.
	db, err := ts.store.DB(usersDatabase)
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.s.settleUser(t.Context(), ts.s.settings.Load(), db, "early"); err != nil {
		t.Fatal(err)
	}
	ts.dropUser("early")
	for _, name := range []string{"userdb-616c696365", "userdb-6561726c79"} {
		if got := ts.securityNames(name); got != "userdb;userdb" {
			t.Errorf("%s belongs to %q", name, got)
		}
	}
	ts.steps(step{"userdb:apple", "GET", "/userdb-6561726c79/kept", "", 200})
	// A vault of nobody is not for the taking either.
	if status, _ := ts.as(admin, "PUT", "/_users/org.couchdb.user:own", strings.ReplaceAll(alice, "alice", "own")); status != 403 {
		t.Errorf("own has a vault that was another's: %d", status)
	}
	ts.dropUser("userdb")
	if status, _ := ts.as(admin, "PUT", "/_users/org.couchdb.user:alice", alice); status != 403 {
		t.Errorf("alice has a vault that was another's: %d", status)
	}
	ts.do("DELETE", "/userdb-616c696365", "")
	ts.addUser("alice")
	if got := ts.securityNames("userdb-616c696365"); got != "alice;alice" {
		t.Errorf("alice's database belongs to %q", got)
	}
}
