package server

import (
	"strings"
	"testing"
)

func TestDatabaseUpdates(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	// The first update is that of _parlor, which has no route and is not told of.
	if got, want := ts.do("GET", "/_db_updates", ""), "{\"results\":[\n\n],\n\"last_seq\":\"1-0\"}\n\n"; got != want {
		t.Errorf("empty: %q, want %q", got, want)
	}
	for _, who := range []string{"", "nobody:x"} {
		if status, body := ts.as(who, "GET", "/_db_updates", ""); status != 401 {
			t.Errorf("as %q: %d %s, want 401", who, status, body)
		}
	}
	for query, reason := range map[string]string{
		"feed=x":      "Supported `feed` types: normal, continuous, longpoll, eventsource",
		"feed=live":   "Supported `feed` types: normal, continuous, longpoll, eventsource",
		"since=x":     "Malformed sequence supplied in 'since' parameter.",
		"limit=-1":    "The limit parameter should be a non-negative integer",
		"timeout=x":   "The timeout parameter should be a non-negative integer",
		"heartbeat=0": "The heartbeat value should be a positive integer (in milliseconds).",
	} {
		if status, body := ts.as("admin:secret", "GET", "/_db_updates?"+query, ""); status != 400 || !strings.Contains(body, reason) {
			t.Errorf("%s: %d %s, want 400 %s", query, status, body, reason)
		}
	}
	ts.do("PUT", "/one", "")
	feed := ts.follow("admin:secret", "GET", "/_db_updates?feed=continuous&limit=3", "")
	if got := feed.line(); !strings.HasPrefix(got, `{"db_name":"one","type":"created","seq":"2-`) {
		t.Errorf("got %s", got)
	}
	ts.do("PUT", "/two", "")
	if got := feed.line(); !strings.HasPrefix(got, `{"db_name":"two","type":"created","seq":"3-`) {
		t.Errorf("got %s", got)
	}
	ts.do("DELETE", "/one", "")
	if got := feed.rest(); !strings.HasPrefix(got, `{"db_name":"one","type":"deleted","seq":"4-`) || !strings.Contains(got, "\n{\"last_seq\":\"4-") {
		t.Errorf("got %s", got)
	}
	if got := ts.do("GET", "/_db_updates?since=%223-0%22", ""); strings.Contains(got, "two") || !strings.Contains(got, "deleted") {
		t.Errorf("since 3: %s", got)
	}
}
