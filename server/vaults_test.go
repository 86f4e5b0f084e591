package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/livesync"
)

// addUser makes a user whose password is "apple".
func (ts *testServer) addUser(name string) {
	ts.t.Helper()
	ts.do("PUT", "/_users/org.couchdb.user:"+name, fmt.Sprintf(`{"name":%q,"type":"user","roles":[],"password":"apple"}`, name))
}

// addUsers makes the database of users, and users in it.
func (ts *testServer) addUsers(names ...string) {
	ts.t.Helper()
	ts.do("PUT", "/_users", "")
	for _, name := range names {
		ts.addUser(name)
	}
}

// dropUser deletes a user.
func (ts *testServer) dropUser(name string) {
	ts.t.Helper()
	res := ts.send("admin:secret", "HEAD", "/_users/org.couchdb.user:"+name, "")
	res.Body.Close()
	ts.do("DELETE", "/_users/org.couchdb.user:"+name+"?rev="+strings.Trim(res.Header.Get("Etag"), `"`), "")
}

// step is a request and the status of its answer.
type step struct {
	who, method, path, body string
	want                    int
}

// steps makes requests one after the other.
func (ts *testServer) steps(list ...step) {
	ts.t.Helper()
	for _, s := range list {
		if status, text := ts.as(s.who, s.method, s.path, s.body); status != s.want {
			ts.t.Errorf("%s: %s %s %s: %d %s, want %d", s.who, s.method, s.path, s.body, status, text, s.want)
		}
	}
}

const (
	admin = "admin:secret"
	ann   = "ann:apple"
	bob   = "bob:apple"
)

func TestVaultNames(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"*", "{user}*", "{user}a-*", "*{user}", "*-{user}", "{user}-{user}", "{user}-*-*", "{user}-*x*", "A{user}", "-{user}", "{User}-*", "{user}-%"} {
		if _, err := newVaultSettings(settingsOf(t, "pattern = "+bad)); err == nil {
			t.Errorf("pattern %s is taken", bad)
		}
	}
	if set, err := newVaultSettings(settingsOf(t, "")); err != nil || set.undelete != 7*24*time.Hour || set.maxVaults != 0 || set.maxBytes != 0 || !set.of("ann", "ann-notes") {
		t.Errorf("without settings they are %+v, %v", set, err)
	}
	for _, bad := range []string{"undelete_days = -1", "undelete_days = 999999999999", "max_vaults = -1", "max_bytes = -1"} {
		if _, err := newVaultSettings(settingsOf(t, bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	for _, c := range []struct {
		pattern, user, name string
		want                bool
	}{
		{"{user}-*", "ann", "ann-notes", true},
		{"{user}-*", "ann", "ann-", false},
		{"{user}-*", "ann", "ann", false},
		{"{user}-*", "ann", "anna-notes", false},
		{"{user}-*", "", "-notes", false},
		{"{user}-*", "", "ann-notes", false},
		{"{user}-*", "a-b", "a-b-notes", false},
		{"{user}-*", "a-b", "a_2db-notes", true},
		{"{user}-*", "a", "a-b-notes", true},
		{"{user}-*", "Ann", "u__41nn-notes", true},
		{"{user}", "ann", "ann", true},
		{"{user}", "ann", "ann-notes", false},
		{"vault/{user}/*", "ann", "vault/ann/notes", true},
		{"vault/{user}/*", "ann", "vault/ann-notes", false},
		{"{user}-*-v", "ann", "ann-notes-v", true},
		{"{user}-*-v", "ann", "ann--v", false},
		{"none", "ann", "ann-notes", false},
	} {
		set, err := newVaultSettings(settingsOf(t, "pattern = "+c.pattern))
		if err != nil {
			t.Errorf("pattern %s: %v", c.pattern, err)
			continue
		}
		if got := set.of(c.user, c.name); got != c.want {
			t.Errorf("under %q %q owns %s: %v", c.pattern, c.user, c.name, got)
		}
	}
}

func settingsOf(t *testing.T, lines string) *config.Snapshot {
	t.Helper()
	s, err := config.Open(config.Options{Overrides: "[parlor_vaults]\n" + lines + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	return s.Snapshot()
}

// TestVaultsAreTheirOwners: what an owner may do without being a server admin, and nobody else.
func TestVaultsAreTheirOwners(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[jwt_keys]")
	ts.addUsers("ann", "bob")
	ts.do("PUT", "/plain", "")
	ts.do("PUT", "/plain/_security", `{}`)
	ts.steps(
		step{"", "PUT", "/ann-notes", "", 401},
		step{bob, "PUT", "/ann-notes", "", 401},
		step{ann, "PUT", "/notes", "", 401},
		step{ann, "PUT", "/ann-notes?owner=bob", "", 403},
		step{admin, "PUT", "/somewhere?owner=nobody", "", 400},
		step{admin, "PUT", "/somewhere?owner=", "", 400},
		step{ann, "GET", "/ann-notes/", "", 404},
		step{ann, "DELETE", "/ann-notes/", "", 404},
		step{bob, "DELETE", "/ann-notes/", "", 401},
		step{ann, "PUT", "/ann-notes", "", 201},
		step{ann, "PUT", "/ann-notes", "", 412},
		step{bob, "PUT", "/ann-notes", "", 401},
		step{admin, "PUT", "/ann-notes", "", 412},
	)
	if _, text := ts.as(ann, "GET", "/ann-notes/_security", ""); strings.TrimSpace(text) != `{"admins":{"names":["ann"],"roles":[]},"members":{"names":["ann"],"roles":[]}}` {
		t.Errorf("_security is %s", text)
	}
	for _, who := range []string{"", bob} {
		refused := 403
		if who == "" {
			refused = 401
		}
		ts.steps(
			step{who, "GET", "/ann-notes/", "", refused},
			step{who, "GET", "/ann-notes/_changes", "", refused},
			step{who, "PUT", "/ann-notes/doc", `{}`, refused},
			step{who, "GET", "/ann-notes/_security", "", refused},
			step{who, "DELETE", "/ann-notes/", "", 401},
			step{who, "POST", "/ann-notes/_purge", `{}`, 401},
			step{who, "GET", "/ann-notes/_vault", "", 401},
			step{who, "PUT", "/ann-notes/_vault", `{}`, 401},
		)
	}
	_, text := ts.as(ann, "PUT", "/ann-notes/doc", `{}`)
	_, rev, _ := strings.Cut(text, `"rev":"`)
	rev, _, _ = strings.Cut(rev, `"`)
	ts.steps(
		step{ann, "PUT", "/ann-notes/_design/d", `{}`, 201},
		step{ann, "PUT", "/ann-notes/_revs_limit", `10`, 200},
		step{ann, "POST", "/ann-notes/_compact", `{}`, 202},
		step{ann, "POST", "/ann-notes/_view_cleanup", `{}`, 202},
		step{ann, "POST", "/ann-notes/_purge", `{"doc":["` + rev + `"]}`, 201},
		// An owner cannot lock himself out, nor let anonymous users in.
		step{ann, "PUT", "/ann-notes/_security", `{"admins":{"names":["bob"]},"members":{"names":[]}}`, 200},
		step{ann, "GET", "/ann-notes/", "", 200},
		step{bob, "GET", "/ann-notes/", "", 200},
		step{"", "GET", "/ann-notes/", "", 401},
		step{ann, "PUT", "/ann-notes/_security", `{}`, 200},
		step{bob, "GET", "/ann-notes/", "", 403},
		step{"", "GET", "/ann-notes/", "", 401},
		// What is a server admin's stays so.
		step{ann, "GET", "/_all_dbs", "", 401},
		step{ann, "GET", "/_users/_all_docs", "", 401},
		step{ann, "GET", "/_node/_local/_config/chttpd", "", 401},
		step{ann, "DELETE", "/plain", "", 401},
		step{ann, "PUT", "/ann-notes/_purged_infos_limit", `10`, 401},
		step{ann, "DELETE", "/ann-notes/", "", 200},
		step{ann, "GET", "/ann-notes/", "", 404},
	)
}

// TestForeignNamesOwnNothing: a name that no directory holds makes no vault.
func TestForeignNamesOwnNothing(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couch_peruser]", "enable = true")
	ts.addUsers("userdb")
	ts.steps(
		// What CouchDB would give to another user later is not to be had before.
		step{"userdb:apple", "PUT", "/userdb-616e6e", "", 401},
		step{"userdb:apple", "PUT", "/userdb", "", 401},
	)
	r := &request{Request: &http.Request{}, set: ts.s.settings.Load()}
	r.who.Name = "stranger"
	if may, err := ts.s.mayMake(r, "stranger-notes"); may || err != nil {
		t.Errorf("a stranger may make a vault: %v, %v", may, err)
	}
}

// TestShares: with whom a vault is shared reads, or writes too, and nothing more.
func TestShares(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.addUsers("ann", "bob")
	ts.steps(
		step{ann, "PUT", "/ann-notes", "", 201},
		step{ann, "PUT", "/ann-notes/_vault", `{"shares":{"bob":"admin"}}`, 400},
		step{ann, "PUT", "/ann-notes/_vault", `{"shares":{"ann":"read"}}`, 400},
		step{ann, "PUT", "/ann-notes/_vault", `{"shares":{"":"read"}}`, 400},
		step{ann, "PUT", "/ann-notes/_vault", `{"shares":{"_x":"read"}}`, 400},
		step{ann, "PUT", "/ann-notes/_vault", `{"shares":[]}`, 400},
		step{ann, "PUT", "/ann-notes/_vault", `{"share":{}}`, 400},
		step{ann, "PUT", "/ann-notes/_vault", `{"owner":"bob"}`, 403},
		step{ann, "PUT", "/ann-notes/_vault", `{"shares":{"bob":"read"}}`, 200},
		step{ann, "PUT", "/ann-notes/doc", `{}`, 201},

		step{bob, "GET", "/ann-notes/doc", "", 200},
		step{bob, "POST", "/ann-notes/_all_docs", `{}`, 200},
		step{bob, "POST", "/ann-notes/_find", `{"selector":{}}`, 200},
		step{bob, "PUT", "/ann-notes/other", `{}`, 403},
		step{bob, "POST", "/ann-notes/", `{}`, 403},
		step{bob, "DELETE", "/ann-notes/doc?rev=1-x", "", 403},
		step{bob, "POST", "/ann-notes/_bulk_docs", `{"docs":[{"_id":"_local/c"}]}`, 403},
		step{bob, "PUT", "/ann-notes/_local/checkpoint", `{}`, 201},
		step{bob, "PUT", "/ann-notes/_local/obsydian_livesync_milestone", `{}`, 403},
		step{bob, "PUT", "/ann-notes/_local/obsidian_livesync_sync_parameters", `{}`, 403},
		step{bob, "PUT", "/ann-notes/_local%2Fobsidian_livesync_sync_parameters", `{}`, 403},
		step{bob, "DELETE", "/ann-notes/_local/checkpoint?rev=0-1", "", 403},
		step{bob, "GET", "/ann-notes/_vault", "", 401},

		step{ann, "PUT", "/ann-notes/_vault", `{"shares":{"bob":"write"}}`, 200},
		step{bob, "PUT", "/ann-notes/other", `{}`, 201},
		step{bob, "PUT", "/ann-notes/_local/obsydian_livesync_milestone", `{}`, 201},
		step{bob, "PUT", "/ann-notes/_design/d", `{}`, 403},
		step{bob, "PUT", "/ann-notes/_security", `{}`, 403},
		step{bob, "POST", "/ann-notes/_compact", `{}`, 401},
		step{bob, "POST", "/ann-notes/_purge", `{}`, 401},
		step{bob, "DELETE", "/ann-notes/", "", 401},
		step{bob, "PUT", "/ann-notes/_vault", `{}`, 401},
		step{ann, "PUT", "/ann-notes/_vault", `{"shares":{}}`, 200},
		step{bob, "GET", "/ann-notes/doc", "", 403},

		// One by one.
		step{bob, "PUT", "/ann-notes/_vault/shares/bob", `{"access":"write"}`, 401},
		step{ann, "PUT", "/ann-notes/_vault/shares/bob", `{"access":"admin"}`, 400},
		step{ann, "PUT", "/ann-notes/_vault/shares/bob", `{"access":""}`, 400},
		step{ann, "PUT", "/ann-notes/_vault/shares/bob", `{"acces":"read"}`, 400},
		step{ann, "PUT", "/ann-notes/_vault/shares/ann", `{"access":"read"}`, 400},
		step{ann, "PUT", "/ann-notes/_vault/shares/_x", `{"access":"read"}`, 400},
		step{ann, "DELETE", "/ann-notes/_vault/shares/bob", "", 404},
		step{ann, "PUT", "/ann-notes/_vault/shares/bob", `{"access":"write"}`, 200},
		step{bob, "PUT", "/ann-notes/third", `{}`, 201},
		step{ann, "PUT", "/ann-notes/_vault/shares/bob", `{"access":"read"}`, 200},
		step{bob, "PUT", "/ann-notes/fourth", `{}`, 403},
		step{bob, "DELETE", "/ann-notes/_vault/shares/bob", "", 401},
		step{ann, "DELETE", "/ann-notes/_vault/shares/bob", "", 200},
		step{bob, "GET", "/ann-notes/doc", "", 403},
		step{admin, "PUT", "/plain", "", 201},
		step{admin, "PUT", "/plain/_vault/shares/bob", `{"access":"read"}`, 404},
	)
}

// TestSharesAtOnce: of shares that are given and ended at the same moment none is lost.
func TestSharesAtOnce(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.addUsers("ann")
	ts.steps(step{ann, "PUT", "/ann-notes", "", 201}, step{ann, "PUT", "/ann-notes/_vault", `{"shares":{"gone0":"read","gone1":"read"}}`, 200})
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			<-start
			ts.steps(step{ann, "PUT", fmt.Sprintf("/ann-notes/_vault/shares/user%d", i), `{"access":"write"}`, 200})
			if i < 2 {
				ts.steps(step{ann, "DELETE", fmt.Sprintf("/ann-notes/_vault/shares/gone%d", i), "", 200})
			}
		})
	}
	close(start)
	group.Wait()
	_, text := ts.as(ann, "GET", "/ann-notes/_vault", "")
	if strings.Count(text, `:"write"`) != 8 || strings.Contains(text, "gone") {
		t.Errorf("the vault is %s", text)
	}
}

// TestRebuild is LiveSync's "overwrite server data": the rights are the same afterwards, the documents are gone, and can be brought back.
func TestRebuild(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.addUsers("ann", "bob")
	ts.do("PUT", "/given?owner=ann", "") // a name that ann could not make
	for _, name := range []string{"/ann-notes", "/given"} {
		if name == "/ann-notes" {
			ts.steps(step{ann, "PUT", name, "", 201})
		}
		ts.steps(
			step{ann, "PUT", name + "/_vault", `{"shares":{"bob":"write"}}`, 200},
			step{ann, "PUT", name + "/_security", `{"members":{"names":["ann","carl"]}}`, 200},
			step{bob, "PUT", name + "/doc", `{}`, 201},
			step{bob, "PUT", name, "", 401},
			step{ann, "DELETE", name + "/", "", 200},
			step{ann, "GET", name + "/", "", 404},
			step{bob, "PUT", name, "", 401},
			step{ann, "PUT", name, "", 201},
			step{bob, "GET", name + "/doc", "", 404},
			step{bob, "PUT", name + "/newer", `{}`, 201},
		)
		if _, text := ts.as(ann, "GET", name+"/_security", ""); strings.TrimSpace(text) != `{"members":{"names":["ann","carl"]}}` {
			t.Errorf("_security after the rebuild: %s", text)
		}
	}
	// Twice in a row, the first time unfinished: the good copy stays.
	ts.steps(
		step{ann, "DELETE", "/ann-notes/", "", 200},
		step{ann, "PUT", "/ann-notes/", "", 201},
		step{ann, "DELETE", "/ann-notes/", "", 200}, // empty: it does not take the place of the copy with "newer"
		step{ann, "PUT", "/ann-notes/", "", 201},
		step{bob, "POST", "/_vaults/ann-notes", `{"action":"undelete","as":"bob-stolen"}`, 404},
		step{"", "POST", "/_vaults/ann-notes", `{"action":"undelete"}`, 401},
		step{ann, "POST", "/_vaults/ann-notes", `{"action":"undelete"}`, 412},
		step{ann, "POST", "/_vaults/ann-notes", `{"action":"undelete","as":"mine"}`, 403},
		step{ann, "POST", "/_vaults/ann-notes", `{"action":"undelete","as":"_users"}`, 400},
		step{ann, "POST", "/_vaults/ann-notes", `{"action":"revive"}`, 400},
		step{ann, "POST", "/_vaults/ann-notes", `{"action":"undelete","as":"ann-old"}`, 201},
		step{bob, "GET", "/ann-old/newer", "", 200},
		step{ann, "GET", "/ann-old/doc", "", 404},
		step{ann, "POST", "/_vaults/ann-notes", `{"action":"undelete","as":"ann-old2"}`, 404},
		step{ann, "DELETE", "/ann-old", "", 200},
		step{bob, "DELETE", "/_vaults/ann-old", "", 404},
		step{ann, "DELETE", "/_vaults/ann-old", "", 200},
		step{ann, "DELETE", "/_vaults/ann-old", "", 404},
		// A server admin deletes it no more for good than the owner does, and an ordinary database for good.
		step{admin, "DELETE", "/ann-notes", "", 200},
		step{admin, "POST", "/_vaults/ann-notes", `{"action":"undelete"}`, 201},
		step{bob, "GET", "/ann-notes/", "", 200},
	)
	ts.do("PUT", "/plain", "")
	ts.do("DELETE", "/plain", "")
	if list := ts.do("GET", "/_vaults?deleted=true", ""); strings.Contains(list, "plain") || !strings.Contains(list, `"name":"given"`) {
		t.Errorf("kept are %s", list)
	}
}

// TestRebuildThatFailed: what a rebuild has written before it failed does not take the place of the copy that is to be brought back, but what was in use
// since does, and what is larger.
func TestRebuildThatFailed(t *testing.T) {
	t.Parallel()
	fill := func(ts *testServer, docs ...string) {
		for _, id := range docs {
			ts.steps(step{ann, "PUT", "/ann-notes/" + id, `{}`, 201})
		}
	}
	for _, c := range []struct {
		name  string
		after []string // the documents of the second vault
		age   time.Duration
		older bool // whether the first vault's copy is the one that is kept
	}{
		{"empty", nil, 48 * time.Hour, true},
		{"young and smaller", []string{"obsydian_livesync_version"}, 23 * time.Hour, true},
		{"made in the future", []string{"obsydian_livesync_version"}, -time.Hour, true},
		{"young and as large", []string{"a", "b", "c"}, 0, false},
		{"young and larger", []string{"a", "b", "c", "d"}, 0, false},
		{"a day old and smaller", []string{"a", "b"}, 25 * time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ts := newTestServer(t)
			var passed atomic.Int64
			ts.s.now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
			ts.addUsers("ann", "bob")
			ts.steps(step{ann, "PUT", "/ann-notes", "", 201})
			fill(ts, "note1", "note2", "note3")
			ts.steps(step{ann, "DELETE", "/ann-notes", "", 200}, step{ann, "PUT", "/ann-notes", "", 201})
			fill(ts, c.after...)
			passed.Store(int64(c.age))
			first, second := 200, 404
			if !c.older {
				first, second = 404, 200
			}
			ts.steps(
				step{ann, "PUT", "/ann-notes/_vault", `{"shares":{"bob":"write"}}`, 200},
				step{ann, "PUT", "/ann-notes/_security", `{"members":{"names":["ann","carl"]}}`, 200},
				step{ann, "DELETE", "/ann-notes", "", 200},
				// The rights are those of the vault that was deleted last, whichever is kept.
				step{bob, "PUT", "/ann-notes", "", 401},
				step{ann, "POST", "/_vaults/ann-notes", `{"action":"undelete"}`, 201},
				step{bob, "GET", "/ann-notes/note1", "", first},
			)
			if _, text := ts.as(ann, "GET", "/ann-notes/_security", ""); strings.TrimSpace(text) != `{"members":{"names":["ann","carl"]}}` {
				t.Errorf("_security of what came back: %s", text)
			}
			for _, id := range c.after {
				ts.steps(step{bob, "GET", "/ann-notes/" + id, "", second})
			}
		})
	}
}

// TestReadersWriteCheckpointsOnly: what somebody who only reads leaves in a vault has bounds that no replication comes near.
func TestReadersWriteCheckpointsOnly(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.addUsers("ann", "bob")
	// An entry as CouchDB's replicator writes it, with sequences longer than they are here.
	entry := fmt.Sprintf(`{"session_id":"5a4c1e0f6d2b4a7c8e9f0a1b2c3d4e5f","start_time":"Sun, 22 Nov 2026 02:30:30 GMT","end_time":"Sun, 22 Nov 2026 02:30:31 GMT",`+
		`"start_last_seq":%q,"end_last_seq":%[1]q,"recorded_seq":%[1]q,"missing_checked":123456,"missing_found":123456,"docs_read":123456,"docs_written":123456,`+
		`"doc_write_failures":0,"bulk_get_docs":123456,"bulk_get_attempts":123456}`, strings.Repeat("q", 200))
	history := `{"history":[` + entry + strings.Repeat(","+entry, 49) + `],"replication_id_version":4,"version":1}`
	large := `{"data":"` + strings.Repeat("x", checkpointBytes) + `"}`
	ts.steps(
		step{ann, "PUT", "/ann-a", "", 201},
		step{ann, "PUT", "/ann-a/_vault", `{"shares":{"bob":"read"}}`, 200},
		step{bob, "PUT", "/ann-a/_local/checkpoint", history, 201},
		step{bob, "PUT", "/ann-a/_local/large", large, 413},
		step{bob, "PUT", "/ann-a/_local/" + strings.Repeat("x", 6000), large[:checkpointBytes-5000] + `"}`, 413},
		step{ann, "PUT", "/ann-a/_local/large", large, 201},
		step{bob, "PUT", "/ann-a/_local/large", `{"_rev":"0-1",` + large[1:], 413},
	)
	status, answer := ts.as(ann, "POST", "/_tokens", `{"scopes":["read"]}`)
	value, err := checkJSON([]byte(answer))
	if status != http.StatusCreated || err != nil {
		t.Fatalf("%d %s", status, answer)
	}
	secret, _ := text(objectMember(value, "token"))
	reader := "ann:" + secret
	ts.steps(step{reader, "PUT", "/ann-a/_local/token", history, 201}, step{reader, "PUT", "/ann-a/_local/token2", large, 413})

	db, err := ts.store.DB("ann-a")
	if err != nil {
		t.Fatal(err)
	}
	for i := 3; i < checkpointCount; i++ {
		if _, err := db.PutLocal(t.Context(), fmt.Sprint("c", i), 0, []byte(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	ts.steps(
		step{bob, "PUT", "/ann-a/_local/new", `{}`, 413},
		step{bob, "PUT", "/ann-a/_local/checkpoint", `{"_rev":"0-1"}`, 201},
		step{ann, "PUT", "/ann-a/_local/new", `{}`, 201},
	)
}

func TestListOfVaults(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.addUsers("ann", "bob")
	for _, name := range []string{"ann-a", "ann-b"} {
		ts.steps(step{ann, "PUT", "/" + name, "", 201})
	}
	ts.steps(
		step{bob, "PUT", "/bob-x", "", 201},
		step{ann, "PUT", "/ann-b/_vault", `{"shares":{"bob":"read"}}`, 200},
		step{"", "GET", "/_vaults", "", 401},
		step{ann, "GET", "/_vaults?user=bob", "", 403},
		step{ann, "GET", "/_vaults?limit=0", "", 400},
		step{ann, "GET", "/ann-a/_vault", "", 200},
		step{admin, "PUT", "/plain", "", 201},
		step{admin, "GET", "/plain/_vault", "", 404},
		step{admin, "PUT", "/plain/_vault", `{"shares":{}}`, 404},
		step{admin, "PUT", "/plain/_vault", `{"owner":"nobody"}`, 400},
		step{admin, "PUT", "/_users/_vault", `{"owner":"ann"}`, 404},
	)
	for _, c := range []struct{ who, path, want string }{
		{ann, "/_vaults", "ann-a,owner ann-b,owner "},
		{bob, "/_vaults", "ann-b,read bob-x,owner "},
		{admin, "/_vaults", "ann-a, ann-b, bob-x, "},
		{admin, "/_vaults?user=bob", "ann-b,read bob-x,owner "},
		{admin, "/_vaults?limit=2", "ann-a, ann-b, next=ann-b"},
		{admin, "/_vaults?limit=2&after=ann-b", "bob-x, "},
		{admin, "/_vaults?after=ann-aa", "ann-b, bob-x, "},
		{ann, "/_vaults?deleted=true", ""},
	} {
		if got := vaultList(t, ts, c.who, c.path); got != c.want {
			t.Errorf("%s sees in %s: %q, want %q", c.who, c.path, got, c.want)
		}
	}
	if _, text := ts.as(bob, "GET", "/_vaults", ""); strings.Contains(text, `"shares":{"bob"`) {
		t.Errorf("bob sees with whom ann's vault is shared: %s", text)
	}
	// An admin gives a vault to another, who has all of it then.
	ts.steps(
		step{admin, "PUT", "/ann-b/_vault", `{"owner":"bob"}`, 200},
		step{ann, "GET", "/ann-b/", "", 403},
		step{bob, "PUT", "/ann-b/doc", `{}`, 201},
		step{bob, "DELETE", "/ann-b/", "", 200},
		step{bob, "GET", "/_vaults?deleted=true", "", 200},
	)
	if got := vaultList(t, ts, bob, "/_vaults?deleted=true"); got != "ann-b, " {
		t.Errorf("bob's deleted vaults are %q", got)
	}
	if got := vaultList(t, ts, ann, "/_vaults?deleted=true") + vaultList(t, ts, ann, "/_vaults"); got != "ann-a,owner " {
		t.Errorf("ann has %q", got)
	}
}

// TestUserWhoGoes: a later user of the same name inherits nothing.
func TestUserWhoGoes(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(ts *testServer){
		"deleted": func(ts *testServer) { ts.dropUser("ann") },
		"purged": func(ts *testServer) {
			res := ts.send(admin, "HEAD", "/_users/org.couchdb.user:ann", "")
			res.Body.Close()
			ts.do("POST", "/_users/_purge", `{"org.couchdb.user:ann":[`+res.Header.Get("Etag")+`]}`)
		},
		"replicated": func(ts *testServer) {
			ts.do("POST", "/_users/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"org.couchdb.user:ann","_rev":"9-x","_deleted":true},
				{"_id":"org.couchdb.user:ann","_revisions":{"start":2,"ids":["y","`+leafHash(ts)+`"]},"_deleted":true}]}`)
		},
		"with all users": func(ts *testServer) {
			ts.do("DELETE", "/_users", "")
			ts.addUsers("bob")
			ts.steps(step{bob, "GET", "/bob-notes/", "", 403}, step{bob, "GET", "/kept/", "", 403})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := newTestServer(t)
			ts.addUsers("ann", "bob")
			ts.steps(
				step{ann, "PUT", "/ann-notes", "", 201},
				step{ann, "PUT", "/ann-gone", "", 201},
				step{ann, "PUT", "/ann-gone/doc", `{}`, 201},
				step{ann, "DELETE", "/ann-gone", "", 200},
				step{bob, "PUT", "/bob-notes", "", 201},
				step{bob, "PUT", "/bob-notes/_vault", `{"shares":{"ann":"write"}}`, 200},
				step{admin, "PUT", "/kept?owner=admin", "", 201},
				step{admin, "PUT", "/kept/_vault", `{"shares":{"bob":"write"}}`, 200},
				step{ann, "PUT", "/bob-notes/doc", `{}`, 201},
			)
			leave(ts)
			ts.addUser("ann")
			ts.steps(
				step{ann, "GET", "/ann-notes/", "", 403},
				step{ann, "DELETE", "/ann-notes/", "", 401},
				step{ann, "GET", "/ann-notes/_vault", "", 401},
				step{ann, "POST", "/_vaults/ann-gone", `{"action":"undelete"}`, 404},
				step{ann, "GET", "/bob-notes/", "", 403},
				step{"", "GET", "/ann-notes/", "", 401},
				// Nor does a rebuild of her own bring anything back.
				step{ann, "PUT", "/ann-gone", "", 201},
				step{ann, "GET", "/ann-gone/doc", "", 404},
			)
			if got := vaultList(t, ts, ann, "/_vaults"); got != "ann-gone,owner " {
				t.Errorf("the new ann has %q", got)
			}
			// An administrator sees what nobody owns, and gives it to somebody.
			if got := vaultList(t, ts, admin, "/_vaults"); !strings.Contains(got, "ann-notes, ") {
				t.Errorf("all vaults: %q", got)
			}
			ts.steps(
				step{admin, "PUT", "/ann-notes/_vault", `{"owner":"bob"}`, 200},
				step{bob, "GET", "/ann-notes/", "", 200},
			)
		})
	}
}

// leafHash is the hash of the revision of ann's document.
func leafHash(ts *testServer) string {
	res := ts.send(admin, "HEAD", "/_users/org.couchdb.user:ann", "")
	res.Body.Close()
	_, hash, _ := strings.Cut(strings.Trim(res.Header.Get("Etag"), `"`), "-")
	return hash
}

// TestCrashBetweenDeletionAndVaults: what a crash has left undone is done at the next start.
func TestCrashBetweenDeletionAndVaults(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.addUsers("bob")
	for name, properties := range map[string]string{"a": `{"owner":"ann","shares":{"bob":"read"}}`, "b": `{"owner":"bob","shares":{"jim":"read"}}`, "c": `{"owner":"admin"}`} {
		if _, err := ts.store.CreateWith(context.Background(), name, newVaultSecurity("ann"), []byte(properties)); err != nil {
			t.Fatal(err)
		}
	}
	set := ts.s.settings.Load()
	if err := ts.s.configureVaults(set, nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": `{"owner":"","shares":{"bob":"read"}}`, "b": `{"owner":"bob","shares":{"jim":"read"}}`, "c": `{"owner":"admin"}`} {
		db, err := ts.store.DB(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := db.Properties(); err != nil || string(got) != want {
			t.Errorf("%s has %s, %v, want %s", name, got, err, want)
		}
	}
}

// vaultList is what a listing of vaults shows: names and access, and where it goes on.
func vaultList(t *testing.T, ts *testServer, who, path string) string {
	t.Helper()
	status, answer := ts.as(who, "GET", path, "")
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, answer)
	}
	value, err := checkJSON([]byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := elements(objectMember(value, "vaults"), func(v jsontext.Value) error {
		name, _ := text(objectMember(v, "name"))
		given, _ := text(objectMember(v, "access"))
		out.WriteString(name + "," + given + " ")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if next, more := text(objectMember(value, "next")); more {
		out.WriteString("next=" + next)
	}
	return out.String()
}

// TestCopiesExpire: after undelete_days, or at once with none; but _security and shares outlive a rebuild even then.
func TestCopiesExpire(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1e9)
	ts := newTestServer(t, "[parlor_vaults]", "undelete_days = 2")
	ts.s.now = func() time.Time { return time.Now().Add(time.Duration(now.Load()) - 1e9) }
	ts.addUsers("ann", "bob")
	ts.steps(
		step{ann, "PUT", "/ann-a", "", 201},
		step{ann, "PUT", "/ann-a/_vault", `{"shares":{"bob":"write"}}`, 200},
		step{ann, "DELETE", "/ann-a", "", 200},
	)
	set := ts.s.settings.Load()
	now.Add(int64(47 * time.Hour))
	if err := ts.s.expireVaults(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if got := vaultList(t, ts, ann, "/_vaults?deleted=true"); got != "ann-a, " {
		t.Errorf("before its time is over there is %q", got)
	}
	now.Add(int64(2 * time.Hour))
	// It is gone before anybody has looked after it.
	ts.steps(step{ann, "POST", "/_vaults/ann-a", `{"action":"undelete"}`, 404})
	if err := ts.s.expireVaults(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if kept, err := ts.store.Trashed("", 10); err != nil || len(kept) > 0 {
		t.Errorf("%+v, %v", kept, err)
	}
	at := *set
	at.vaults.undelete = 0
	ts.s.settings.Store(&at)
	now.Store(1e9)
	ts.steps(
		step{ann, "PUT", "/ann-a", "", 201},
		step{ann, "PUT", "/ann-a/_vault", `{"shares":{"bob":"write"}}`, 200},
		step{ann, "PUT", "/ann-a/doc", `{}`, 201},
		step{ann, "DELETE", "/ann-a", "", 200},
		step{ann, "POST", "/_vaults/ann-a", `{"action":"undelete"}`, 410},
		step{ann, "PUT", "/ann-a", "", 201},
		step{bob, "PUT", "/ann-a/doc", `{}`, 201},
		step{ann, "DELETE", "/ann-a", "", 200},
	)
	if got := vaultList(t, ts, ann, "/_vaults?deleted=true"); got != "" {
		t.Errorf("without undelete_days there is %q", got)
	}
	now.Add(int64(rightsKept))
	if err := ts.s.expireVaults(t.Context(), &at); err != nil {
		t.Fatal(err)
	}
	if kept, err := ts.store.Trashed("", 10); err != nil || len(kept) > 0 {
		t.Errorf("%+v, %v", kept, err)
	}
}

// TestVaultsTakeLargeDocuments, as LiveSync's checker has it.
func TestVaultsTakeLargeDocuments(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couchdb]", "max_document_size = 1000")
	ts.addUsers("ann")
	ts.do("PUT", "/plain", "")
	body := `{"data":"` + strings.Repeat("x", 10_000) + `"}`
	ts.steps(
		step{ann, "PUT", "/ann-a", "", 201},
		step{ann, "PUT", "/ann-a/doc", body, 201},
		step{ann, "POST", "/ann-a/_bulk_docs", `{"docs":[` + body + `]}`, 201},
		step{admin, "PUT", "/plain/doc", body, 413},
	)
	r := &request{set: ts.s.settings.Load(), sec: &securityObject{vault: new(vault)}}
	if n := r.maxDocumentSize(); n != livesync.MaxDocumentSize {
		t.Errorf("a vault takes documents of %d bytes", n)
	}
	at := *r.set
	at.maxDocumentSize = 1 << 40
	r.set = &at
	if n := r.maxDocumentSize(); n != 1<<40 {
		t.Errorf("where the setting allows more, a vault takes %d bytes", n)
	}
}

// TestSaltIsSafe: the document with a vault's salt is not replaced by anything that does not name its revision, in any way in.
func TestSaltIsSafe(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.addUsers("ann", "bob")
	const salt, empty = "/ann-a/_local/obsidian_livesync_sync_parameters", `{"type":"sync-parameters","protocolVersion":2,"pbkdf2salt":""}`
	with := func(rev, value string) string { return `{` + rev + `"pbkdf2salt":"` + value + `"}` }
	bulk := func(edits, doc string) string {
		return `{"new_edits":` + edits + `,"docs":[{"_id":"_local/obsidian_livesync_sync_parameters",` + doc[1:] + `]}`
	}
	ts.steps(
		step{ann, "PUT", "/ann-a", "", 201},
		step{ann, "PUT", "/ann-a/_vault", `{"shares":{"bob":"write"}}`, 200},
		step{ann, "PUT", salt, empty, 201},
		step{bob, "PUT", salt, empty, 409},
		step{bob, "PUT", salt, with(`"_rev":"0-1",`, "first"), 201},
		step{ann, "PUT", salt, with(`"_rev":"0-1",`, "second"), 409},
		step{ann, "PUT", salt, with("", "second"), 409},
		step{ann, "PUT", salt, empty, 409},
		step{ann, "PUT", salt, with(`"_rev":"0-9",`, "second"), 409},
		step{ann, "DELETE", salt, "", 409},
		step{ann, "DELETE", salt + "?rev=0-1", "", 409},
		step{bob, "DELETE", salt + "?rev=0-2", "", 403},
		step{bob, "PUT", salt, with(`"_rev":"0-2","_deleted":true,`, ""), 403},
		step{bob, "PUT", "/ann-a/other", `{}`, 201},
		step{bob, "PUT", "/ann-a/_local/other", `{}`, 201},
	)
	for _, b := range []string{bulk("true", with("", "second")), bulk("false", with(`"_rev":"0-1",`, "second")), bulk("true", with(`"_rev":"0-2","_deleted":true,`, ""))} {
		if status, text := ts.as(bob, "POST", "/ann-a/_bulk_docs", b); status != 201 || !strings.Contains(text, `"error":`) {
			t.Errorf("%s: %d %s", b, status, text)
		}
	}
	for _, from := range []string{"/ann-a/other", "/ann-a/_local/other"} {
		if status, text := ts.as(bob, "COPY", from, "", "Destination", "_local/obsidian_livesync_sync_parameters"); status != 409 {
			t.Errorf("COPY from %s: %d %s", from, status, text)
		}
	}
	if _, text := ts.as(bob, "GET", salt, ""); !strings.Contains(text, `"pbkdf2salt":"first"`) || !strings.Contains(text, `"_rev":"0-2"`) {
		t.Errorf("the document is %s", text)
	}
	ts.steps(
		step{bob, "PUT", salt, with(`"_rev":"0-2",`, "second"), 201}, // the revision says so
		step{ann, "DELETE", salt + "?rev=0-3", "", 200},
	)
}

// TestDevicesOfAnOwner: an access token gives its user's rights over his vaults, as far as its scope goes.
func TestDevicesOfAnOwner(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.addUsers("ann")
	token := func(body string) string {
		status, answer := ts.as(ann, "POST", "/_tokens", body)
		value, err := checkJSON([]byte(answer))
		if status != http.StatusCreated || err != nil {
			t.Fatalf("%d %s", status, answer)
		}
		secret, _ := text(objectMember(value, "token"))
		return "ann:" + secret
	}
	device, other := token(`{"label":"phone","databases":["ann-notes"]}`), token(`{"databases":["ann-other"]}`)
	reader := token(`{"scopes":["read"]}`)
	ts.steps(
		step{reader, "PUT", "/ann-notes", "", 403},
		step{other, "PUT", "/ann-notes", "", 403},
		step{device, "PUT", "/ann-other", "", 403},
		step{device, "PUT", "/notes", "", 403},
		step{device, "GET", "/ann-notes/", "", 404},
		step{device, "PUT", "/ann-notes/", "", 201},
		step{device, "PUT", "/ann-notes/doc", `{}`, 201},
		// A device that is lost lets nobody in who stays.
		step{device, "PUT", "/ann-notes/_vault", `{"shares":{"bob":"write"}}`, 403},
		step{device, "PUT", "/ann-notes/_vault/shares/bob", `{"access":"write"}`, 403},
		step{device, "DELETE", "/ann-notes/_vault/shares/bob", "", 403},
		step{device, "PUT", "/ann-notes/_security", `{"members":{"names":["bob"]}}`, 403},
		step{device, "GET", "/ann-notes/_security", "", 200},
		step{device, "PUT", "/ann-notes/_revs_limit", `10`, 200},
		step{device, "POST", "/ann-notes/_compact", `{}`, 202},
		step{device, "POST", "/ann-notes/_purge", `{}`, 201},
		step{reader, "GET", "/ann-notes/doc", "", 200},
		step{reader, "GET", "/ann-notes/_vault", "", 200},
		step{reader, "PUT", "/ann-notes/_vault", `{}`, 403},
		step{reader, "POST", "/ann-notes/_compact", `{}`, 403},
		step{reader, "POST", "/ann-notes/_purge", `{}`, 403},
		step{reader, "DELETE", "/ann-notes/", "", 403},
		step{other, "DELETE", "/ann-notes/", "", 403},
		step{device, "DELETE", "/ann-notes/", "", 200},
		step{device, "GET", "/ann-notes/", "", 404},
		step{device, "PUT", "/ann-notes/", "", 201},
		// What was deleted is for the user himself to bring back.
		step{device, "GET", "/_vaults", "", 403},
		step{device, "POST", "/_vaults/ann-notes", `{"action":"undelete"}`, 403},
		step{device, "DELETE", "/_vaults/ann-notes", "", 403},
	)
}
