package server

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHashesEndWithTheRequest: a password of a request whose connection is closed is not hashed. One hash would take minutes here.
func TestHashesEndWithTheRequest(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[chttpd_auth]", "iterations = 1000000000")
	ts.do("PUT", "/_users", "") // from now on the administrator's password is remembered
	const user = `{"_id":"org.couchdb.user:u","name":"u","type":"user","roles":[],"password":"apple"}`
	for _, tt := range []struct{ method, path, body string }{
		{"PUT", "/_users/org.couchdb.user:u", user},
		{"POST", "/_users", user},
		{"POST", "/_users/_bulk_docs", `{"docs":[{"_id":"org.couchdb.user:v","name":"v","type":"user","roles":[]},` + user + "," + user + "]}"},
	} {
		ctx, closed := context.WithCancel(t.Context())
		closed()
		req := httptest.NewRequestWithContext(ctx, tt.method, tt.path, strings.NewReader(tt.body))
		req.SetBasicAuth("admin", "secret")
		req.Header.Set("Content-Type", "application/json")
		res := httptest.NewRecorder()
		ts.s.ServeHTTP(res, req)
		if res.Code != 499 {
			t.Errorf("%s %s: %d %s, want 499", tt.method, tt.path, res.Code, res.Body)
		}
	}
	if got := ts.do("GET", "/_users/_all_docs?startkey=%22org%22", ""); !strings.Contains(got, `"rows":[`) || strings.Contains(got, "org.couchdb") {
		t.Errorf("after them all: %s", got)
	}
}
