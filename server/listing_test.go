package server

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/parlordb/parlor/store"
)

func TestListingRefusals(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for _, c := range []struct{ query, kind, reason string }{
		{"limit=-1", "query_parse_error", `Invalid value for positive integer: \"-1\"`},
		{"limit=-99999999999999999999", "query_parse_error", `Invalid value for positive integer: \"-99999999999999999999\"`},
		{"skip=-1", "query_parse_error", `Invalid value for positive integer: \"-1\"`},
		{"skip=x", "query_parse_error", `Invalid value for integer: \"x\"`},
		{"skip=", "query_parse_error", `Invalid value for integer: \"\"`},
		{"limit=1.5", "query_parse_error", `Invalid value for integer: \"1.5\"`},
		{"key=a", "bad_request", "invalid UTF-8 JSON"},
		{"startkey=", "bad_request", "invalid UTF-8 JSON"},
		{"endkey=%22a", "bad_request", "invalid UTF-8 JSON"},
		{"keys=%22a%22", "bad_request", "`keys` parameter must be an array."},
		{"keys=[%22a%22]&key=%22a%22", "query_parse_error", "`keys` is incompatible with `key`, `start_key` and `end_key`"},
		{"keys=[]&end_key=%22a%22", "query_parse_error", "`keys` is incompatible with `key`, `start_key` and `end_key`"},
		{"descending=1", "query_parse_error", `Invalid boolean parameter: \"1\"`},
		{"include_docs=x", "query_parse_error", `Invalid boolean parameter: \"x\"`},
		{"conflicts=", "query_parse_error", `Invalid boolean parameter: \"\"`},
		{"attachments=x", "query_parse_error", `Invalid boolean parameter: \"x\"`},
		{"att_encoding_info=x", "query_parse_error", `Invalid boolean parameter: \"x\"`},
		{"inclusive_end=x", "query_parse_error", `Invalid boolean parameter: \"x\"`},
		{"update_seq=x", "query_parse_error", `Invalid boolean parameter: \"x\"`},
		{"sorted=x", "query_parse_error", `Invalid boolean parameter: \"x\"`},
		{"reduce=true", "query_parse_error", "Reduce is invalid for map-only views."},
		{"group=true", "query_parse_error", "Invalid use of grouping on a map view."},
		{"group_level=1", "query_parse_error", "Invalid use of grouping on a map view."},
		{"stable=x", "query_parse_error", "Invalid value for `stable`."},
		{"update=x", "query_parse_error", "Invalid value for `update`."},
		{"stale=x", "query_parse_error", "Invalid value for `stale`."},
	} {
		want := `{"error":"` + c.kind + `","reason":"` + c.reason + "\"}\n"
		for _, path := range []string{"/db/_all_docs?", "/db/_design_docs?", "/db/_local_docs?"} {
			if status, body := ts.as("admin:secret", "GET", path+c.query, ""); status != 400 || body != want {
				t.Errorf("%s%s: %d %s, want 400 %s", path, c.query, status, body, want)
			}
		}
	}
}

func TestListingBodyRefusals(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for _, c := range []struct{ path, body, reason string }{
		{"", `[]`, "Request body must be a JSON object"},
		{"", `x`, "invalid UTF-8 JSON"},
		{"", `{"keys":"x"}`, "`keys` body member must be an array."},
		{"", `{"limit":"x"}`, `Invalid value for integer: \"x\"`},
		{"", `{"limit":-1}`, "Invalid value for positive integer: -1"},
		{"", `{"include_docs":1}`, "Invalid boolean parameter: 1"},
		{"", `{"keys":[],"startkey":"a"}`, "`keys` is incompatible with `key`, `start_key` and `end_key`"},
		{"/queries", `{}`, "POST body must include `queries` parameter."},
		{"/queries", `{"queries":"x"}`, "`queries` member must be an array."},
		{"/queries", `{"queries":[1]}`, "`queries` member must be an array of objects."},
		{"/queries", `{"queries":[{},{"skip":true}]}`, "Invalid value for integer: true"},
	} {
		for _, list := range []string{"_all_docs", "_design_docs", "_local_docs"} {
			status, body := ts.as("admin:secret", "POST", "/db/"+list+c.path, c.body)
			if status != 400 || !strings.HasSuffix(body, `,"reason":"`+c.reason+"\"}\n") {
				t.Errorf("%s%s %s: %d %s, want 400 %s", list, c.path, c.body, status, body, c.reason)
			}
		}
	}
	if status, _ := ts.as("admin:secret", "POST", "/db/_all_docs", `{}`, "Content-Type", "text/plain"); status != 415 {
		t.Errorf("text/plain: %d, want 415", status)
	}
}

func TestSpan(t *testing.T) {
	id := func(s string) bound { return bound{set: true, id: s} }
	low := bound{set: true, low: true}
	for _, c := range []struct {
		name string
		l    listing
		want store.Range
		none bool
	}{
		{"everything", listing{}, store.Range{}, false},
		{"from", listing{start: id("b")}, store.Range{From: "b"}, false},
		{"from a number on", listing{start: low}, store.Range{}, false},
		{"to a number", listing{end: low}, store.Range{}, true},
		{"crossed", listing{start: id("b"), end: id("a")}, store.Range{}, true},
		{"open", listing{start: id("a"), end: id("b"), openEnd: true}, store.Range{From: "a", To: "b", HasTo: true, ExclusiveTo: true}, false},
		{"down", listing{start: id("b"), end: id("a"), descending: true, openEnd: true}, store.Range{From: "a", To: "b", HasTo: true, ExclusiveFrom: true, Descending: true}, false},
		{"down from a number", listing{start: low, descending: true}, store.Range{}, true},
		{"down to a number", listing{end: low, descending: true}, store.Range{Descending: true}, false},
	} {
		got, ok := c.l.span()
		if ok == c.none || ok && got != c.want {
			t.Errorf("%s: %+v %v, want %+v %v", c.name, got, ok, c.want, !c.none)
		}
	}
}

// FuzzListing asserts that no parameter breaks the parser, and that what it takes stays within bounds.
func FuzzListing(f *testing.F) {
	for _, name := range []string{"key", "keys", "limit", "skip", "descending", "inclusive_end", "group_level", "stale", "unknown"} {
		for _, value := range []string{`"a"`, `["a",1]`, "10", "-1", "+5", "99999999999999999999", "true", "ok", "", "{", "\xff"} {
			f.Add(name, value)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		fromQuery := listing{limit: -1}
		err := fromQuery.set(name, paramValue{text: value})
		if err == nil && (fromQuery.limit < -1 || fromQuery.skip < 0) {
			t.Errorf("%s=%s: limit %d, skip %d", name, value, fromQuery.limit, fromQuery.skip)
		}
		if err == nil && !fromQuery.hasKeys && fromQuery.keys != nil {
			t.Errorf("%s=%s: keys without hasKeys", name, value)
		}
		json, jsonErr := checkJSON([]byte(value))
		if jsonErr != nil {
			return
		}
		// A key means the same in the query and in a body.
		fromBody := listing{limit: -1}
		if strings.HasSuffix(name, "key") && (fromBody.set(name, paramValue{json: bytes.Clone(json)}) != nil || fromBody.start != fromQuery.start || fromBody.end != fromQuery.end) {
			t.Errorf("%s=%s: %+v in the query, %+v in the body", name, value, fromQuery, fromBody)
		}
	})
}

func TestNatural(t *testing.T) {
	if n, err := (paramValue{text: "99999999999999999999"}).natural(); err != nil || n != math.MaxInt {
		t.Errorf("a huge limit: %d %v, want no bound", n, err)
	}
}
