package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestChangesRefusals(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_design/d", `{"filters":{"bug":"function(doc) { return doc.a.b; }","syntax":"function(","object":{}},"views":{"v":{"map":"function(doc) { throw new Error('no'); }"}}}`)
	ts.do("PUT", "/db/_design/erl", `{"language":"erlang","filters":{"f":"fun(_, _) -> true end."}}`)
	ts.do("PUT", "/db/_design/gone", `{}`)
	for _, c := range []struct {
		method, query, body string
		status              int
		reason              string // "" for any
	}{
		{"GET", "since=x", "", 400, "Malformed sequence supplied in 'since' parameter."},
		{"GET", "since=", "", 400, "Malformed sequence supplied in 'since' parameter."},
		{"GET", "since=-1", "", 400, "Malformed sequence supplied in 'since' parameter."},
		{"GET", "since=%22x%22", "", 400, "Malformed sequence supplied in 'since' parameter."},
		{"GET", "since=1-nonsense", "", 400, "Malformed sequence supplied in 'since' parameter."},
		{"GET", "since=1-aaaaaaaaaaaaaaa%22", "", 400, "Malformed sequence supplied in 'since' parameter."},
		{"GET", "Last-Event-ID=x", "", 400, "Malformed sequence supplied in 'since' parameter."},
		{"GET", "limit=x", "", 400, "The limit parameter should be a non-negative integer"},
		{"GET", "limit=-1", "", 400, "The limit parameter should be a non-negative integer"},
		{"GET", "timeout=x", "", 400, "The timeout parameter should be a non-negative integer"},
		{"GET", "timeout=-1", "", 400, "The timeout parameter should be a non-negative integer"},
		{"GET", "heartbeat=0", "", 400, "The heartbeat value should be a positive integer (in milliseconds)."},
		{"GET", "heartbeat=x", "", 400, "The heartbeat value should be a positive integer (in milliseconds)."},
		{"GET", "feed=x", "", 400, "Supported `feed` types: normal, continuous, live, longpoll, eventsource"},
		{"GET", "style=x", "", 400, "The style parameter should be main_only or all_docs"},
		{"GET", "filter=x", "", 400, "`filter` must be of the form `designname/filtername`"},
		{"GET", "filter=a/b/c", "", 400, "`filter` must be of the form `designname/filtername`"},
		{"GET", "filter=_x", "", 400, "unknown builtin filter name"},
		{"GET", "filter=none/x", "", 404, "missing"},
		{"GET", "filter=d/none", "", 404, "missing json key: none"},
		{"GET", "filter=gone/none", "", 404, "missing json key: filters"},
		{"GET", "filter=d/object", "", 400, "filters.object of _design/d must be a string."},
		{"GET", "filter=erl/f", "", 400, "The functions of _design/erl are not in JavaScript."},
		{"GET", "filter=d/bug", "", 400, ""},
		{"GET", "filter=d/syntax", "", 400, ""},
		{"GET", "filter=_view&view=d/v&feed=continuous&timeout=10", "", 400, ""},
		{"GET", "filter=_view", "", 400, "`view` filter parameter is not provided."},
		{"GET", "filter=_view&view=v", "", 400, "`view` must be of the form `designname/viewname`"},
		{"GET", "filter=_view&view=d/none", "", 404, "missing json key: none"},
		{"GET", "filter=_doc_ids", "", 400, "`doc_ids` filter parameter is not a list of doc ids."},
		{"GET", "filter=_doc_ids&doc_ids=x", "", 400, "invalid UTF-8 JSON"},
		{"GET", "filter=_doc_ids&doc_ids=%22x%22", "", 400, "`doc_ids` filter parameter is not a list of doc ids."},
		{"GET", "filter=_doc_ids&doc_ids=[1]", "", 400, "`doc_ids` filter parameter is not a list of doc ids."},
		{"GET", "filter=_selector", "", 400, "Selector must be specified in POST payload"},
		{"POST", "filter=_selector", `{}`, 400, "Selector error: expected a JSON object"},
		{"POST", "filter=_selector", `{"selector":[]}`, 400, "Selector error: expected a JSON object"},
		{"POST", "filter=_selector", `{"selector":{"$x":1}}`, 400, "Invalid operator: $x"},
		{"POST", "filter=_selector", `{"selector":{},"fields":1}`, 400, "Selector error: fields must be JSON array"},
		{"POST", "filter=_doc_ids", `{"doc_ids":"x"}`, 400, "`doc_ids` filter parameter is not a list of doc ids."},
		{"POST", "", `[]`, 400, "Request body must be a JSON object"},
		{"POST", "", `x`, 400, "invalid UTF-8 JSON"},
		{"POST", "", ``, 415, "Content-Type must be application/json"},
	} {
		status, body := ts.as("admin:secret", c.method, "/db/_changes?"+c.query, c.body)
		if status != c.status || c.reason != "" && !strings.HasSuffix(body, `,"reason":`+string(appendString(nil, c.reason))+"}\n") {
			t.Errorf("%s ?%s %s: %d %s, want %d %s", c.method, c.query, c.body, status, body, c.status, c.reason)
		}
	}
}

// changesOf is an answer of a normal feed.
type changesOf struct {
	Results []struct {
		Seq     string
		ID      string
		Changes []struct{ Rev string }
		Deleted bool
		Doc     json.RawMessage
	}
	LastSeq string `json:"last_seq"`
	Pending int
}

func (c *changesOf) ids() string {
	var ids []string
	for _, row := range c.Results {
		ids = append(ids, row.ID)
	}
	return strings.Join(ids, " ")
}

func (ts *testServer) changes(method, query, body string) *changesOf {
	ts.t.Helper()
	var got changesOf
	if err := json.Unmarshal([]byte(ts.do(method, "/db/_changes?"+query, body)), &got); err != nil {
		ts.t.Fatal(err)
	}
	return &got
}

func TestChangesText(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	db, err := ts.store.DB("db")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ts.do("GET", "/db/_changes", ""), "{\"results\":[\n\n],\n\"last_seq\":\""+db.FormatSeq(0)+"\",\"pending\":0}\n\n"; got != want {
		t.Errorf("empty: %q, want %q", got, want)
	}
	ts.do("POST", "/db/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"1-aa"},{"_id":"b","_rev":"2-bb","_deleted":true}]}`)
	one := `{"seq":"` + db.FormatSeq(1) + `","id":"a","changes":[{"rev":"1-aa"}]}`
	two := `{"seq":"` + db.FormatSeq(2) + `","id":"b","changes":[{"rev":"2-bb"}],"deleted":true}`
	end := `"last_seq":"` + db.FormatSeq(2) + `","pending":0}` + "\n\n"
	for feed, want := range map[string]string{
		"normal":      "{\"results\":[\n" + one + ",\r\n" + two + "\n],\n" + end,
		"longpoll":    "{\"results\":[\n" + one + ",\r\n" + two + "\n],\n" + end,
		"continuous":  one + "\n" + two + "\n{" + end,
		"eventsource": "data: " + one + "\nid: \"" + db.FormatSeq(1) + "\"\n\ndata: " + two + "\nid: \"" + db.FormatSeq(2) + "\"\n\n\n",
	} {
		if got := ts.do("GET", "/db/_changes?timeout=1&feed="+feed, ""); got != want {
			t.Errorf("%s: %q, want %q", feed, got, want)
		}
	}
	if got, want := ts.do("GET", "/db/_changes?since=now&timeout=1&feed=longpoll", ""), "{\"results\":[\n\n],\n"+end; got != want {
		t.Errorf("longpoll without a row: %q, want %q", got, want)
	}
	if status, body := ts.as("admin:secret", "HEAD", "/db/_changes?feed=continuous", ""); status != 200 || body != "" {
		t.Errorf("HEAD: %d %q", status, body)
	}
}

func TestChangesETag(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	tag := func(query string, header ...string) (int, string) {
		res := ts.send("admin:secret", "GET", "/db/_changes"+query, "", header...)
		res.Body.Close()
		return res.StatusCode, res.Header.Get("Etag")
	}
	_, first := tag("")
	if status, _ := tag("", "If-None-Match", first); status != 304 {
		t.Errorf("the same again: %d, want 304", status)
	}
	if status, _ := tag("?limit=1", "If-None-Match", first); status != 200 {
		t.Errorf("another query: %d, want 200", status)
	}
	var stored struct{ Rev string }
	decode(t, ts.do("PUT", "/db/a", "{}"), &stored)
	_, second := tag("", "If-None-Match", first)
	if second == first {
		t.Error("the same after a change")
	}
	ts.do("POST", "/db/_purge", `{"a":["`+stored.Rev+`"]}`)
	if status, _ := tag("", "If-None-Match", second); status != 200 {
		t.Errorf("after a purge: %d, want 200", status)
	}
}

func TestChangesSince(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for _, id := range []string{"a", "b", "c"} {
		ts.do("PUT", "/db/"+id, "{}")
	}
	all := ts.changes("GET", "", "")
	for query, want := range map[string]string{
		"since=" + all.Results[0].Seq:            "b c",
		"since=%22" + all.Results[1].Seq + "%22": "c",
		"since=1":                                "b c",
		"since=now":                              "",
		"since=%22now%22":                        "",
		"since=99":                               "", // the future is as good as now
		"SINCE=2":                                "c",
		"last-event-id=2":                        "c",
		"since=2-0123456789abcdef":               "a b c", // of another database
		"since=2-g1AAAACfeJzLYWBgYMpgTmEQ_ysksSy2": "a b c", // of a CouchDB that was here before
		"descending=true&since=2":                  "c b a",
		"limit=2":                                  "a b",
		"limit=0":                                  "",
		"filter=_doc_ids&doc_ids=[%22b%22]":        "b",
		"filter=_design":                           "",
	} {
		if got := ts.changes("GET", query, ""); got.ids() != want {
			t.Errorf("%s: %s, want %s", query, got.ids(), want)
		}
	}
	if got := ts.changes("GET", "since=99", ""); got.LastSeq != all.LastSeq {
		t.Errorf("last_seq of the future is %s, want %s", got.LastSeq, all.LastSeq)
	}
	for query, want := range map[string]int{"limit=1": 2, "limit=0": 3, "limit=2&since=1": 0, "descending=true&limit=1": 2, "descending=true": 0, "descending=true&limit=3": 0} {
		if got := ts.changes("GET", query, ""); got.Pending != want {
			t.Errorf("%s: pending %d, want %d", query, got.Pending, want)
		}
	}
}

// TestChangesPages reads feeds that need many pages, in every way in which they are read.
func TestChangesPages(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	const n = 1200
	var docs []string
	for i := range n {
		docs = append(docs, fmt.Sprintf(`{"_id":"doc-%06d","even":%v,"text":%q}`, i, i%2 == 0, strings.Repeat("x", 100)))
	}
	ts.bulk("db", strings.Join(docs, ","))
	all := strings.Fields(ts.changes("GET", "", "").ids())
	if len(all) != n {
		t.Fatalf("%d rows, want %d", len(all), n)
	}
	even := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return strings.Contains("13579", id[len(id)-1:]) })
	for _, c := range []struct {
		query, body string
		want        []string
	}{
		{"include_docs=true", `{}`, all},
		{"style=all_docs", `{}`, all},
		{"filter=_selector", `{"selector":{"even":true}}`, even},
		{"filter=_selector&include_docs=true&limit=333", `{"selector":{"even":true}}`, even[:333]},
		{"filter=_selector&limit=1", `{"selector":{"_id":"doc-001199"}}`, []string{"doc-001199"}},
	} {
		for _, down := range []string{"", "&descending=true"} {
			want := c.want
			if down != "" {
				if strings.Contains(c.query, "limit") {
					continue
				}
				want = slices.Clone(want)
				slices.Reverse(want)
			}
			got := ts.changes("POST", c.query+down, c.body)
			if !slices.Equal(strings.Fields(got.ids()), want) {
				t.Errorf("%s%s: %d rows, want %d", c.query, down, len(got.Results), len(want))
			}
			for _, row := range got.Results {
				if strings.Contains(c.query, "include_docs") != (row.Doc != nil) || row.Doc != nil && !strings.Contains(string(row.Doc), `"_id":"`+row.ID+`"`) {
					t.Fatalf("%s: document of %s: %s", c.query, row.ID, row.Doc)
				}
			}
		}
	}
	// What is read in batches is the same as what is read at once.
	var batches []string
	for since := "0"; ; {
		got := ts.changes("POST", "filter=_selector&limit=25&since="+since, `{"selector":{"even":true}}`)
		if len(got.Results) == 0 {
			break
		}
		since = got.LastSeq
		batches = append(batches, strings.Fields(got.ids())...)
	}
	if !slices.Equal(batches, even) {
		t.Errorf("in batches: %d rows, want %d", len(batches), len(even))
	}
}

// TestChangesLeaves: a filter with style=all_docs judges every leaf; the row is deleted, and its document shown, by the winner.
func TestChangesLeaves(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("POST", "/db/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"2-bb","n":1},{"_id":"a","_rev":"2-aa","n":2},{"_id":"a","_rev":"3-cc","_deleted":true,"n":2}]}`)
	got := ts.changes("POST", "style=all_docs&filter=_selector&include_docs=true", `{"selector":{"n":2},"fields":["_rev","n"]}`)
	if len(got.Results) != 1 {
		t.Fatalf("%d rows, want 1", len(got.Results))
	}
	row := got.Results[0]
	if fmt.Sprint(row.Changes) != "[{2-aa} {3-cc}]" || row.Deleted || string(row.Doc) != `{"_rev":"2-bb","n":1}` {
		t.Errorf("got %v deleted %v %s", row.Changes, row.Deleted, row.Doc)
	}
	if got = ts.changes("POST", "filter=_selector", `{"selector":{"n":2}}`); len(got.Results) != 0 {
		t.Errorf("a conflict was judged for main_only: %s", got.ids())
	}
}
