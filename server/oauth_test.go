package server

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oauth1"
)

const signer = `"roles":[],"type":"user","oauth":{"consumer_keys":{"c1":"cs1","c2":"cs2"},"tokens":{"t1":"ts1","t2":"ts2"}}`

// lookup says whose a pair is, or what stands in the way.
func lookup(t *testing.T, tokens *UserTokens, consumer, token string) string {
	t.Helper()
	got, err := tokens.Lookup(t.Context(), consumer, token)
	refusal, refused := errors.AsType[*auth.Refusal](err)
	switch {
	case errors.Is(err, oauth1.ErrUnknownPair):
		return "unknown"
	case refused:
		return refusal.Kind
	case err != nil:
		t.Fatal(err)
	case got.ConsumerSecret != "cs"+consumer[1:] || got.TokenSecret != "ts"+token[1:] || got.RSAKey != nil:
		t.Errorf("%s/%s has %+v", consumer, token, got)
	}
	return got.User
}

func TestUserTokens(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	tokens := NewUserTokens(ts.store)
	if got := lookup(t, tokens, "c1", "t1"); got != "unknown" {
		t.Errorf("without _users: %s", got)
	}
	put := func(name, rest string) (rev string) {
		t.Helper()
		answer := ts.do("PUT", "/_users/org.couchdb.user:"+name, `{"name":"`+name+`",`+rest+`}`)
		var doc struct{ Rev string }
		if err := json.Unmarshal([]byte(answer), &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Rev
	}
	ts.do("PUT", "/_users", "")
	anna := put("anna", signer)
	put("bob", `"roles":[],"type":"user"`)
	for pair, want := range map[[2]string]string{
		{"c1", "t1"}: "anna", {"c2", "t1"}: "anna", {"c1", "t2"}: "anna",
		{"c3", "t1"}: "unknown", {"c1", "t3"}: "unknown", {"t1", "c1"}: "unknown", {"", ""}: "unknown", {"c1", ""}: "unknown",
	} {
		if got := lookup(t, tokens, pair[0], pair[1]); got != want {
			t.Errorf("%q: %s, want %s", pair, got, want)
		}
	}

	// A pair that two have is nobody's, until one gives it up.
	eve := put("eve", `"roles":[],"type":"user","oauth":{"consumer_keys":{"c1":"other"},"tokens":{"t1":"other"}}`)
	if got := lookup(t, tokens, "c1", "t1"); got != "oauth_token_consumer_key_pair" {
		t.Errorf("a pair of two users: %s", got)
	}
	if got := lookup(t, tokens, "c2", "t1"); got != "anna" {
		t.Errorf("another consumer of the one: %s", got)
	}
	ts.do("POST", "/_users/_purge", `{"org.couchdb.user:eve":["`+eve+`"]}`)
	if got := lookup(t, tokens, "c1", "t1"); got != "anna" {
		t.Errorf("after the other was purged: %s", got)
	}

	// What changes or goes is seen by the next request.
	anna = put("anna", `"_rev":"`+anna+`",`+strings.Replace(signer, `"c2":"cs2"`, `"c4":"cs4"`, 1))
	if got := lookup(t, tokens, "c2", "t1") + " " + lookup(t, tokens, "c4", "t1"); got != "unknown anna" {
		t.Errorf("after a consumer was replaced: %s", got)
	}
	ts.do("DELETE", "/_users/org.couchdb.user:anna?rev="+anna, "")
	if got := lookup(t, tokens, "c1", "t1"); got != "unknown" {
		t.Errorf("after the user was deleted: %s", got)
	}
	put("cy", signer)
	ts.do("DELETE", "/_users", "")
	ts.do("PUT", "/_users", "")
	if got := lookup(t, tokens, "c1", "t1"); got != "unknown" {
		t.Errorf("of another _users: %s", got)
	}
}

// TestSignedFeedEnds: a feed that was asked for with a signature ends when its credentials change, and not at other changes of the user's document.
func TestSignedFeedEnds(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/_users", "")
	ts.do("PUT", "/notes", "")
	ts.do("PUT", "/notes/_security", `{"members":{"roles":["reader"]},"admins":{}}`)
	rev := ""
	put := func(roles, secret, pass string) {
		t.Helper()
		body := `{` + rev + `"name":"anna","password":"` + pass + `","roles":[` + roles + `],"type":"user","oauth":{"consumer_keys":{"c":"` + secret + `"},"tokens":{"t":"x"}}}`
		var doc struct{ Rev string }
		if err := json.Unmarshal([]byte(ts.do("PUT", "/_users/org.couchdb.user:anna", body)), &doc); err != nil {
			t.Fatal(err)
		}
		rev = `"_rev":"` + doc.Rev + `",`
	}
	put(`"reader"`, "s", "apple")
	db, err := ts.store.DB("notes")
	if err != nil {
		t.Fatal(err)
	}
	r := &request{Request: httptest.NewRequest("GET", "/notes/_changes", nil), db: db,
		who: auth.Identity{Name: "anna", Roles: []string{"reader"}, Method: "oauth", Credential: "c/t", Local: true}}
	allowed := ts.s.stillAllowed(r)
	if err := allowed(t.Context()); err != nil {
		t.Errorf("at the start: %v", err)
	}
	put(`"reader"`, "s", "pear")
	if err := allowed(t.Context()); err != nil {
		t.Errorf("after a new password, which no signature was made with: %v", err)
	}
	put(``, "s", "pear")
	if err := allowed(t.Context()); !errors.Is(err, auth.ErrRevoked) {
		t.Errorf("without the role: %v", err)
	}
	put(`"reader"`, "other", "pear")
	if err := allowed(t.Context()); !errors.Is(err, auth.ErrRevoked) {
		t.Errorf("with another secret: %v", err)
	}
}

// TestParseTokens: what is not as it should be lets nobody in.
func TestParseTokens(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{}`,
		`{"type":"user"}`,
		`{"type":"user","oauth":null}`,
		`{"type":"user","oauth":[]}`,
		`{"type":"user","oauth":{}}`,
		`{"type":"user","oauth":{"consumer_keys":{"c":"s"}}}`,
		`{"type":"user","oauth":{"tokens":{"t":"s"}}}`,
		`{"type":"user","oauth":{"consumer_keys":{"c":""},"tokens":{"t":"s"}}}`,
		`{"type":"user","oauth":{"consumer_keys":{"c":"s"},"tokens":{"":"s"}}}`,
		`{"type":"user","oauth":{"consumer_keys":{"c":1},"tokens":{"t":"s"}}}`,
		`{"type":"user","oauth":{"consumer_keys":["c"],"tokens":"t"}}`,
		`{"type":"other","oauth":{"consumer_keys":{"c":"s"},"tokens":{"t":"s"}}}`,
		`{"oauth":{"consumer_keys":{"c":"s"},"tokens":{"t":"s"}}}`,
	} {
		if tokens, ok := parseTokens([]byte(body)); ok {
			t.Errorf("%s gives %v", body, tokens)
		}
	}
	tokens, ok := parseTokens([]byte(`{"type":"user","oauth":{"consumer_keys":{"c":"s"},"tokens":{"t":"s","u":7}}}`))
	if !ok || len(tokens.consumers) != 1 || len(tokens.tokens) != 1 {
		t.Errorf("got %v, %v", tokens, ok)
	}
}
