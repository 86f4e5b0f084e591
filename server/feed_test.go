package server

import (
	"bufio"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
)

// openFeed opens a feed that sends its header and then waits.
type openFeed struct {
	*bufio.Reader
	body io.Closer
	t    testing.TB
}

func (ts *testServer) follow(who, method, path, body string) *openFeed {
	ts.t.Helper()
	res := ts.send(who, method, path, body)
	ts.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		ts.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	return newOpenFeed(ts.t, res.Body)
}

func newOpenFeed(t testing.TB, body io.ReadCloser) *openFeed {
	return &openFeed{bufio.NewReader(body), body, t}
}

// line reads a line without its end.
func (f *openFeed) line() string {
	f.t.Helper()
	line, err := f.ReadString('\n')
	if err != nil {
		f.t.Fatalf("%q, then %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// rest reads to the end, which must be a proper one.
func (f *openFeed) rest() string {
	f.t.Helper()
	text, err := io.ReadAll(f)
	if err != nil {
		f.t.Fatalf("%q, then %v: not a proper end", text, err)
	}
	return string(text)
}

// mustBreak reads until the connection breaks.
func (f *openFeed) mustBreak() {
	f.t.Helper()
	if text, err := io.ReadAll(f); err == nil || strings.Contains(string(text), "last_seq") {
		f.t.Fatalf("the feed ended with %q, %v: it must be cut", text, err)
	}
}

func TestLongpollWaits(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/old", "{}")
	// The header has come when follow returns, so that the feed has looked and found nothing.
	feed := ts.follow("admin:secret", "POST", "/db/_changes?feed=longpoll&since=now&filter=_selector", `{"selector":{"show":true}}`)
	ts.do("PUT", "/db/hidden", `{"show":false}`)
	ts.do("PUT", "/db/shown", `{"show":true}`)
	if got := feed.rest(); !strings.Contains(got, `"id":"shown"`) || strings.Contains(got, "hidden") || !strings.HasSuffix(got, "\"pending\":0}\n\n") {
		t.Errorf("got %q", got)
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for _, path := range []string{"/db/_changes?since=now&heartbeat=1&feed=", "/_db_updates?since=now&heartbeat=1&feed="} {
		for feed, want := range map[string][]string{"longpoll": {`{"results":[`, "", ""}, "continuous": {"", ""}, "eventsource": {"event: heartbeat", "data: ", "", "event: heartbeat"}} {
			f := ts.follow("admin:secret", "GET", path+feed, "")
			for _, line := range want {
				if got := f.line(); got != line {
					t.Errorf("%s%s: line %q, want %q", path, feed, got, line)
				}
			}
			f.body.Close()
		}
	}
}

// TestSilence: a proxy in between must not take a feed for dead, whatever its client asked for.
func TestSilence(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[chttpd]", "feed_heartbeat = 1")
	ts.do("PUT", "/db", "")
	if unset := newTestServer(t).s.settings.Load().feedSilence; unset != 30*time.Second {
		t.Errorf("without a setting a feed is silent for %v", unset)
	}
	for _, asked := range []string{"", "&heartbeat=3600000", "&timeout=3600000"} {
		f := ts.follow("admin:secret", "GET", "/db/_changes?since=now&feed=longpoll"+asked, "")
		for _, want := range []string{`{"results":[`, "", "", ""} {
			if got := f.line(); got != want {
				t.Errorf("%q: line %q, want %q", asked, got, want)
			}
		}
		f.body.Close()
	}
	// It does not keep a feed alive that has its end.
	if got := ts.do("GET", "/db/_changes?since=now&feed=continuous&timeout=5", ""); !strings.Contains(got, `{"last_seq":"0-`) {
		t.Errorf("%q", got)
	}
	quiet := newTestServer(t, "[chttpd]", "feed_heartbeat = 0")
	quiet.do("PUT", "/db", "")
	if got := quiet.do("GET", "/db/_changes?since=now&feed=longpoll&timeout=5", ""); !strings.HasPrefix(got, "{\"results\":[\n\n]") {
		t.Errorf("a feed without signs of life: %q", got)
	}
}

func TestContinuous(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/a", "{}")
	f := ts.follow("admin:secret", "GET", "/db/_changes?feed=continuous&limit=4&include_docs=true&descending=true", "")
	for _, id := range []string{"a", "b", "c", "d"} {
		if id != "a" {
			ts.do("PUT", "/db/"+id, "{}")
		}
		if got := f.line(); !strings.Contains(got, `"doc":{"_id":"`+id+`"`) {
			t.Errorf("%s: %s", id, got)
		}
	}
	if got := f.rest(); !strings.HasPrefix(got, `{"last_seq":"4-`) {
		t.Errorf("the end is %q", got)
	}
}

func TestFeedsEndWell(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/gone", "")
	gone := ts.follow("admin:secret", "GET", "/gone/_changes?feed=continuous&heartbeat=true", "")
	ts.do("DELETE", "/gone", "")
	if got := gone.rest(); !strings.Contains(got, `"pending":0}`) {
		t.Errorf("after the database was deleted: %q", got)
	}
	var feeds []*openFeed
	for _, path := range []string{"/db/_changes?feed=longpoll", "/db/_changes?feed=continuous&heartbeat=true", "/_db_updates?since=now&feed=continuous"} {
		feeds = append(feeds, ts.follow("admin:secret", "GET", path, ""))
	}
	ts.s.Close()
	for _, feed := range feeds {
		if got := feed.rest(); !strings.Contains(got, `"last_seq":`) {
			t.Errorf("after the server closed: %q", got)
		}
	}
}

func TestFeedsAreCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, method, path, body string }{
		{"deleted", "DELETE", "/_users/org.couchdb.user:ann?rev=", ""},
		{"disabled", "PUT", "/_users/org.couchdb.user:ann?rev=", `{"name":"ann","password":"pw","roles":["staff"],"type":"user","disabled":true}`},
		{"new password", "PUT", "/_users/org.couchdb.user:ann?rev=", `{"name":"ann","password":"pw2","roles":["staff"],"type":"user"}`},
		{"new roles", "PUT", "/_users/org.couchdb.user:ann?rev=", `{"name":"ann","password":"pw","roles":[],"type":"user"}`},
		{"new _security", "PUT", "/db/_security", `{"members":{"names":["bob"]}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ts := newTestServer(t)
			ts.do("PUT", "/_users", "")
			ts.do("PUT", "/db", "")
			ts.do("PUT", "/db/_security", `{"members":{"roles":["staff"]}}`)
			var stored struct{ Rev string }
			decode(t, ts.do("PUT", "/_users/org.couchdb.user:ann", `{"name":"ann","password":"pw","roles":["staff"],"type":"user"}`), &stored)
			mine := ts.follow("ann:pw", "GET", "/db/_changes?feed=continuous&heartbeat=true", "")
			poll := ts.follow("ann:pw", "GET", "/db/_changes?feed=longpoll&heartbeat=true", "")
			other := ts.follow("admin:secret", "GET", "/db/_changes?feed=continuous&limit=1", "")
			if strings.HasSuffix(c.path, "=") {
				c.path += stored.Rev
			}
			ts.do(c.method, c.path, c.body)
			mine.mustBreak()
			poll.mustBreak()
			ts.do("PUT", "/db/a", "{}")
			if got := other.rest(); !strings.Contains(got, "last_seq") {
				t.Errorf("another user's feed: %q", got)
			}
		})
	}
}

// TestPurgedUserIsGone: a purge leaves no change behind, but whom it took can neither sign in nor read on.
func TestPurgedUserIsGone(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/_users", "")
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_security", `{"members":{"names":["ann"]}}`)
	var stored struct{ Rev string }
	decode(t, ts.do("PUT", "/_users/org.couchdb.user:ann", `{"name":"ann","password":"pw","roles":[],"type":"user"}`), &stored)
	feed := ts.follow("ann:pw", "GET", "/db/_changes?feed=continuous&heartbeat=true", "")
	ts.do("POST", "/_users/_purge", `{"org.couchdb.user:ann":["`+stored.Rev+`"]}`)
	feed.mustBreak()
	if status, body := ts.as("ann:pw", "GET", "/_session", ""); status != 401 {
		t.Errorf("%d %s, want 401", status, body)
	}
}

// TestFeedOfAdminIsCut: feeds of all databases and of _users do not outlive the admin's role.
func TestFeedOfAdminIsCut(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/_users", "")
	all := ts.follow("admin:secret", "GET", "/_db_updates?since=now&feed=continuous&heartbeat=true", "")
	users := ts.follow("admin:secret", "GET", "/_users/_changes?since=now&feed=continuous&heartbeat=true", "")
	live := ts.s.live()
	if _, err := live.Delete("admins", "admin", false); err != nil {
		t.Fatal(err)
	}
	ts.s.users.Configure(live.Snapshot())
	ts.s.revocations.Recheck(auth.Match{})
	all.mustBreak()
	users.mustBreak()
}

// TestCutWhileWriting: a client that does not read cannot keep a feed alive that is revoked.
func TestCutWhileWriting(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	big := strings.Repeat("x", 2<<20)
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		ts.do("PUT", "/db/"+id, `{"big":"`+big+`"}`)
	}
	feed := ts.follow("admin:secret", "GET", "/db/_changes?feed=continuous&include_docs=true&heartbeat=true", "")
	ts.s.revocations.End(auth.Match{})
	// It is registered until its handler returns.
	for ts.s.revocations.End(auth.Match{}) > 0 {
		runtime.Gosched()
	}
	feed.mustBreak()
}

func TestEventSourceResumes(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/a", "{}")
	ts.do("PUT", "/db/b", "{}")
	seq := ts.changes("GET", "limit=1", "").LastSeq
	res := ts.send("admin:secret", "GET", "/db/_changes?feed=eventsource&since=0&timeout=1", "", "Last-Event-ID", `"`+seq+`"`)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || strings.Contains(string(text), `"id":"a"`) || !strings.Contains(string(text), `"id":"b"`) {
		t.Errorf("got %s %v, want b alone", text, err)
	}
	if kind, cache := res.Header.Get("Content-Type"), res.Header.Get("Cache-Control"); kind != "text/event-stream" || cache != "no-cache" {
		t.Errorf("Content-Type %s, Cache-Control %s", kind, cache)
	}
}
