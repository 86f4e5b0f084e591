package server

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// TestFilterRequest looks at the request object through a filter that throws it.
func TestFilterRequest(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/a", "{}")
	ts.do("PUT", "/db/_design/f", `{"filters":{"show":"function(doc, req) { throw(new Error(JSON.stringify(req))); }"}}`)
	status, body := ts.as("admin:secret", "GET", "/db/_changes?filter=f/show&x=1&key=%5B2%5D", "", "X-Mine", "yes", "Cookie", "AuthSession=cookie-secret", "X-Auth-CouchDB-Token", "token-secret")
	var refused struct{ Error, Reason string }
	decode(t, body, &refused)
	if status != 400 || refused.Error != "Error" {
		t.Fatalf("%d %s, want 400", status, body)
	}
	_, text, _ := strings.Cut(refused.Reason, "{")
	text = text[:strings.LastIndex(text, "}")+1]
	var req struct {
		Info struct {
			DBName string `json:"db_name"`
		}
		UUID       string
		ID         any
		Method     string
		Path       []string
		RawPath    string `json:"raw_path"`
		Query      map[string]any
		Headers    map[string]string
		Body, Peer string
		Form       map[string]any
		Cookie     map[string]any
		UserCtx    struct {
			DB, Name string
			Roles    []string
		}
		SecObj map[string]any
	}
	decode(t, "{"+text, &req)
	if req.Info.DBName != "db" || len(req.UUID) != 32 || req.ID != nil || req.Method != "GET" || strings.Join(req.Path, " ") != "db _changes" ||
		!strings.HasPrefix(req.RawPath, "/db/_changes?") || req.Query["x"] != "1" || req.Headers["X-Mine"] != "yes" || req.Body != "undefined" || req.Peer != "127.0.0.1" ||
		req.UserCtx.DB != "db" || req.UserCtx.Name != "admin" || strings.Join(req.UserCtx.Roles, " ") != "_admin" || req.SecObj == nil || req.Form == nil {
		t.Errorf("got %+v", req)
	}
	if key, ok := req.Query["key"].([]any); !ok || len(key) != 1 {
		t.Errorf("key is %v, want [2]", req.Query["key"])
	}
	for _, secret := range []string{"cookie-secret", "token-secret", "Basic "} {
		if strings.Contains(body, secret) {
			t.Errorf("the function sees a credential: %s", body)
		}
	}
}

// TestFilterTooSlow: a function that does not end is the server's failure, not an empty feed.
func TestFilterTooSlow(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.s.js.SetTimeout(200 * time.Millisecond)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_design/f", `{"filters":{"loop":"function() { for (;;); }","all":"function() { return true; }"}}`)
	for _, feed := range []string{"normal", "longpoll", "continuous"} {
		if status, body := ts.as("admin:secret", "GET", "/db/_changes?filter=f/loop&feed="+feed, ""); status != 500 || !strings.Contains(body, "os_process_error") {
			t.Errorf("%s: %d %s, want 500", feed, status, body)
		}
	}
	ts.s.js.SetTimeout(time.Minute)
	if got := ts.changes("GET", "filter=f/all", "").ids(); got != "_design/f" {
		t.Errorf("the next filter passes %q", got)
	}
}

// TestFilterFailsLater: when a feed has begun, a filter that fails cuts it.
func TestFilterFailsLater(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_design/f", `{"filters":{"bug":"function(doc) { return doc.a.b; }"}}`)
	feed := ts.follow("admin:secret", "GET", "/db/_changes?filter=f/bug&feed=continuous&since=now", "")
	ts.do("PUT", "/db/ok", `{"a":{"b":true}}`)
	if got := feed.line(); !strings.Contains(got, `"id":"ok"`) {
		t.Errorf("got %s", got)
	}
	ts.do("PUT", "/db/bad", `{}`)
	feed.mustBreak()
}
