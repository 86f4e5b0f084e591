package server

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
)

var updateScopes = flag.Bool("update", false, "rewrite testdata/scopes.txt; read what has changed in it")

// scoped are the callers of testdata/scopes.txt: access tokens of ann, who is a member and admin of the databases one and two, and of a server admin.
var scoped = []struct {
	column   string
	database string // that the path names, in place of {db}
	who      auth.Identity
}{
	{"reads", "one", auth.Identity{Name: "ann", Roles: []string{"_metrics"}, Scope: &auth.Scope{}}},
	{"writes", "one", auth.Identity{Name: "ann", Roles: []string{"_metrics"}, Scope: &auth.Scope{Write: true}}},
	{"one", "one", auth.Identity{Name: "ann", Roles: []string{"_metrics"}, Scope: &auth.Scope{Write: true, Databases: []string{"one"}}}},
	{"other", "two", auth.Identity{Name: "ann", Roles: []string{"_metrics"}, Scope: &auth.Scope{Write: true, Databases: []string{"one"}}}},
	{"admin", "one", auth.Identity{Name: "admin", Roles: []string{"_admin"}, Scope: &auth.Scope{Write: true}}},
	{"system", "_users", auth.Identity{Name: "admin", Roles: []string{"_admin"}, Scope: &auth.Scope{Write: true}}},
}

// TestScopes compares what every route lets access tokens do with testdata/scopes.txt, so that no route is forgotten.
func TestScopes(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[chttpd]", "admin_only_all_dbs = false", "[parlor]", "sync_gateway_api = true")
	ts.do("PUT", "/_users", "")
	for _, name := range []string{"one", "two"} {
		ts.do("PUT", "/"+name, "")
		ts.do("PUT", "/"+name+"/_security", `{"admins":{"names":["ann"]},"members":{"names":["ann"]}}`)
	}
	var got bytes.Buffer
	fmt.Fprintf(&got, "%-40s", "#")
	for _, c := range scoped {
		fmt.Fprintf(&got, " %-7s", c.column)
	}
	got.WriteByte('\n')
	for _, table := range []struct {
		prefix string
		routes []endpoint
	}{{"/", serverRoutes()}, {"/{db}/", databaseRoutes()}, {"/{db}/", gatewayRoutes()}} {
		for _, e := range table.routes {
			for _, method := range slices.Sorted(maps.Keys(e.methods)) {
				path := strings.TrimSuffix(table.prefix+e.pattern, "/")
				fmt.Fprintf(&got, "%-40s", method+" "+path)
				for _, c := range scoped {
					concrete := strings.NewReplacer("{db}", c.database, "/**", "/_x", "*", "x").Replace(path)
					fmt.Fprintf(&got, " %-7s", ts.letIn(c.who, method, concrete))
				}
				got.WriteByte('\n')
			}
		}
	}
	const golden = "testdata/scopes.txt"
	text := regexp.MustCompile(` +\n`).ReplaceAllString(got.String(), "\n")
	if *updateScopes {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(want), "\n")
	for line := range strings.SplitSeq(text, "\n") {
		if i := slices.Index(lines, line); i >= 0 {
			lines = slices.Delete(lines, i, i+1)
		} else {
			t.Errorf("%s does not say: %s", golden, line)
		}
	}
	for _, line := range lines {
		t.Errorf("%s says of what is not so: %s", golden, line)
	}
}

// letIn tells what authorize answers a request with, without doing what it asks: "yes", or the status.
func (ts *testServer) letIn(who auth.Identity, method, path string) string {
	ts.t.Helper()
	r := ts.s.newRequest(httptest.NewRequest(method, cmp.Or(path, "/"), nil), ts.s.settings.Load())
	r.who = who
	if err := r.parse(); err != nil {
		ts.t.Fatal(err)
	}
	act, err := ts.s.route(r)
	if err != nil {
		ts.t.Fatalf("%s %s: %v", method, path, err)
	}
	if err := ts.s.authorize(r, act); err != nil {
		return fmt.Sprint(asError(err).Status)
	}
	return "yes"
}

// Of _local documents a reader writes replications' checkpoints, and no others.
func TestReaderCheckpoints(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/one", "")
	ts.do("PUT", "/one/_security", `{"members":{"names":["ann"]}}`)
	reader := auth.Identity{Name: "ann", Scope: &auth.Scope{}}
	for path, want := range map[string]string{
		"PUT /one/_local/abc":                               "yes",
		"PUT /one/_local%2Fabc":                             "yes",
		"PUT /one/_local/obsidian_livesync_sync_parameters": "403",
		"PUT /one/_local/obsydian_livesync_milestone":       "403",
		"PUT /one/_local%2Fobsydian_livesync_milestone":     "403",
		"PUT /one/_local/%6Fbsydian_livesync_milestone":     "403",
		"DELETE /one/_local/abc":                            "403",
		"COPY /one/_local/abc":                              "403",
		"PUT /one/_local/abc/def":                           "403",
		"PUT /one/_localabc":                                "403",
		"GET /one/_local/obsydian_livesync_milestone":       "yes",
		"POST /one/_bulk_docs":                              "403",
		"POST /one/_ensure_full_commit":                     "yes",
		"PUT /_users/_local/abc":                            "403",
		"PUT /_replicator/_local/abc":                       "403",
		"GET /_global_changes":                              "403",
		"GET //one//doc":                                    "yes",
	} {
		method, path, _ := strings.Cut(path, " ")
		got := ts.letIn(reader, method, path)
		if got != want {
			t.Errorf("%s %s: %s, want %s", method, path, got, want)
		}
	}
}
