package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
)

const userAnn = "/_users/org.couchdb.user:ann"

// TestOwnersDoNotLink: whoever may write a user document, but is no server admin, can neither link nor unlink it, by whatever way it is written.
func TestOwnersDoNotLink(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couchdb]", "users_db_security_editable = true")
	ts.do("PUT", "/_users", "")
	ts.do("PUT", "/_users/_security", `{"members":{"names":["ann","bob"]}}`)
	const mine = `"identities":[{"issuer":"https://idp.example","subject":"1"}]`
	const evil = `"identities":[{"issuer":"https://idp.example","subject":"666"}]`
	document := func(name, more string) string {
		return `{"_id":"org.couchdb.user:` + name + `","type":"user","name":"` + name + `","roles":[],"password":"pw"` + more + `}`
	}
	var stored struct{ Rev string }
	decode(t, ts.do("PUT", userAnn, document("ann", ","+mine)), &stored)
	decode(t, ts.do("PUT", "/_users/org.couchdb.user:bob", document("bob", "")), new(struct{ Rev string }))
	withRev := func(more string) string { return document("ann", `,"_rev":"`+stored.Rev+`"`+more) }
	fork := strings.Repeat("f", 32)
	for _, c := range []struct{ name, who, method, path, body string }{
		{"PUT changes", "ann:pw", "PUT", userAnn, withRev("," + evil)},
		{"PUT removes", "ann:pw", "PUT", userAnn, withRev("")},
		{"PUT reorders", "ann:pw", "PUT", userAnn, withRev(`,"identities":[{"subject":"1","issuer":"https://idp.example"}]`)},
		{"bulk changes", "ann:pw", "POST", "/_users/_bulk_docs", `{"docs":[` + withRev(","+evil) + `]}`},
		{"bulk removes", "ann:pw", "POST", "/_users/_bulk_docs", `{"docs":[` + withRev("") + `]}`},
		{"bulk twice the member", "ann:pw", "POST", "/_users/_bulk_docs", `{"docs":[` + withRev(","+mine+","+evil) + `]}`},
		{"replication changes", "ann:pw", "POST", "/_users/_bulk_docs",
			`{"new_edits":false,"docs":[` + document("ann", `,"_rev":"2-`+fork+`","_revisions":{"start":2,"ids":["`+fork+`","`+stored.Rev[2:]+`"]},`+evil) + `]}`},
		{"replication beside the history", "ann:pw", "POST", "/_users/_bulk_docs", `{"new_edits":false,"docs":[` + document("ann", `,"_rev":"9-`+fork+`",`+evil) + `]}`},
		{"replication removes beside the history", "ann:pw", "POST", "/_users/_bulk_docs", `{"new_edits":false,"docs":[` + document("ann", `,"_rev":"9-`+fork+`"`) + `]}`},
		{"PUT beside the history", "ann:pw", "PUT", userAnn + "?new_edits=false", document("ann", `,"_rev":"9-`+fork+`"`)},
		{"another's", "bob:pw", "PUT", userAnn + "?new_edits=false", document("ann", `,"_rev":"9-`+fork+`",`+evil)},
		{"one's first", "bob:pw", "PUT", "/_users/org.couchdb.user:carl", document("carl", ","+evil)},
	} {
		if status, body := ts.as(c.who, c.method, c.path, c.body); status != 403 && status != 404 && !strings.Contains(body, `"error":"forbidden"`) {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
		user, err := ts.s.users.User(context.Background(), "ann")
		if err != nil || len(user.Identities) != 1 || user.Identities[0].Subject != "1" {
			t.Fatalf("%s: linked to %v, %v", c.name, user, err)
		}
	}
	if body := ts.do("GET", userAnn+"?conflicts=true", ""); !strings.Contains(body, mine) || strings.Contains(body, "_conflicts") {
		t.Errorf("the document is %s", body)
	}
}

// TestMalformedIdentities: a member that is not wholly as it should be links nobody, and is not written over.
func TestMalformedIdentities(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/_users", "")
	id := auth.ForeignIdentity{Issuer: "https://idp.example", Subject: "1"}
	const good = `{"issuer":"https://idp.example","subject":"1"}`
	for i, value := range []string{`null`, `{}`, good, `"x"`, `[` + good + `,1]`, `[` + good + `,{"issuer":"https://idp.example"}]`,
		`[{"issuer":"https://idp.example","subject":1}]`, `[{"issuer":"","subject":"1"}]`, `[{"issuer":"https://idp.example","subject":""}]`} {
		name := fmt.Sprintf("u%d", i)
		ts.do("PUT", "/_users/org.couchdb.user:"+name, `{"type":"user","name":"`+name+`","roles":[],"identities":`+value+`}`)
		user, err := ts.s.users.User(t.Context(), name)
		if err != nil || len(user.Identities) != 0 {
			t.Errorf("%s: linked to %v, %v", value, user, err)
		}
		var refusal *auth.Refusal
		if err := ts.s.users.Link(t.Context(), name, id); !errors.As(err, &refusal) || refusal.Status != http.StatusForbidden {
			t.Errorf("%s: Link gave %v", value, err)
		}
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	id := auth.ForeignIdentity{Issuer: "https://idp.example", Subject: "1"}
	if err := ts.s.users.Link(t.Context(), "ann", id); !errors.Is(err, auth.ErrUnknownUser) {
		t.Errorf("without _users: %v", err)
	}
	ts.do("PUT", "/_users", "")
	if err := ts.s.users.Link(t.Context(), "ann", id); !errors.Is(err, auth.ErrUnknownUser) {
		t.Errorf("an unknown user: %v", err)
	}
	ts.do("PUT", "/_users/org.couchdb.user:admin", `{"type":"user","name":"admin","roles":[]}`)
	var refusal *auth.Refusal
	if err := ts.s.users.Link(t.Context(), "admin", id); !errors.As(err, &refusal) || !ts.s.users.ServerAdmin("admin") || ts.s.users.ServerAdmin("ann") {
		t.Errorf("a server admin: %v", err)
	}
	ts.do("PUT", userAnn, `{"type":"user","name":"ann","roles":["staff"],"nickname":"Annie"}`)

	// Links that race lose nothing.
	var racing sync.WaitGroup
	for i := range 8 {
		racing.Go(func() {
			if err := ts.s.users.Link(t.Context(), "ann", auth.ForeignIdentity{Issuer: fmt.Sprintf("https://idp%d.example", i%4), Subject: "1"}); err != nil {
				t.Error(err)
			}
		})
	}
	racing.Wait()
	before := ts.do("GET", userAnn, "")
	if user, err := ts.s.users.User(t.Context(), "ann"); err != nil || len(user.Identities) != 4 || user.Roles[0] != "staff" || !strings.Contains(before, "Annie") {
		t.Errorf("%v %v: %s", user, err, before)
	}
	if err := ts.s.users.Link(t.Context(), "ann", auth.ForeignIdentity{Issuer: "https://idp0.example", Subject: "1"}); err != nil {
		t.Error(err)
	}
	if after := ts.do("GET", userAnn, ""); after != before {
		t.Errorf("linking again wrote %s over %s", after, before)
	}
	if err := ts.s.users.Link(t.Context(), "ann", auth.ForeignIdentity{Issuer: "https://idp0.example", Subject: "2"}); !errors.As(err, &refusal) {
		t.Errorf("somebody else of the provider: %v", err)
	}
	for i := 4; i < maxIdentities; i++ {
		if err := ts.s.users.Link(t.Context(), "ann", auth.ForeignIdentity{Issuer: fmt.Sprintf("https://idp%d.example", i), Subject: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ts.s.users.Link(t.Context(), "ann", auth.ForeignIdentity{Issuer: "https://one-more.example", Subject: "1"}); !errors.As(err, &refusal) {
		t.Errorf("one too many: %v", err)
	}
}

// TestLinksOfOneName: of two people at a provider who come with one name at once, one becomes the user.
func TestLinksOfOneName(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/_users", "")
	ts.do("PUT", userAnn, `{"type":"user","name":"ann","roles":[]}`)
	results := make([]error, 8)
	var racing sync.WaitGroup
	for i := range results {
		racing.Go(func() {
			results[i] = ts.s.users.Link(t.Context(), "ann", auth.ForeignIdentity{Issuer: "https://idp.example", Subject: fmt.Sprint(i)})
		})
	}
	racing.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		}
	}
	if user, err := ts.s.users.User(t.Context(), "ann"); err != nil || won != 1 || len(user.Identities) != 1 {
		t.Errorf("%d are linked: %+v, %v", won, user, err)
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couch_peruser]", "enable = true")
	ts.do("PUT", "/_users", "")
	id := auth.ForeignIdentity{Issuer: "https://idp.example", Subject: "1"}
	for _, name := range []string{"", "admin", "_x", "a:b", "a\nb", "\xff", strings.Repeat("a", maxForeignName+1)} {
		var refusal *auth.Refusal
		if err := ts.s.users.Register(t.Context(), name, id); !errors.As(err, &refusal) || refusal.Status != http.StatusForbidden {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	var refusal *auth.Refusal
	if err := ts.s.users.Register(t.Context(), "ann", auth.ForeignIdentity{Issuer: id.Issuer}); !errors.As(err, &refusal) {
		t.Errorf("nobody in particular: %v", err)
	}

	results := make([]error, 8)
	var racing sync.WaitGroup
	for i := range results {
		racing.Go(func() { results[i] = ts.s.users.Register(t.Context(), "keycloak.1", id) })
	}
	racing.Wait()
	made := 0
	for _, err := range results {
		switch {
		case err == nil:
			made++
		case !errors.Is(err, oidc.ErrUserExists):
			t.Error(err)
		}
	}
	user, err := ts.s.users.User(t.Context(), "keycloak.1")
	if made != 1 || err != nil || len(user.Identities) != 1 || user.Identities[0] != id || user.Password.Key != "" || len(user.Roles) != 0 {
		t.Errorf("made %d times: %+v, %v", made, user, err)
	}
	if body := ts.do("GET", "/_users/org.couchdb.user:keycloak.1", ""); strings.Contains(body, "password") || strings.Contains(body, "salt") {
		t.Errorf("the document is %s", body)
	}
	if body := ts.do("GET", "/userdb-6b6579636c6f616b2e31/_security", ""); !strings.Contains(body, "keycloak.1") {
		t.Errorf("his database's _security is %s", body)
	}
	if status, body := ts.as("keycloak.1:", "GET", "/_session?basic=true", ""); status != http.StatusUnauthorized {
		t.Errorf("signed in without a password: %d %s", status, body)
	}
}
