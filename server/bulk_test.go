package server

import (
	"strings"
	"testing"
)

func TestBulkDocsRefuses(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couchdb]", "max_document_size = 100", "max_document_id_length = 40", "max_bulk_docs_count = 3")
	ts.do("PUT", "/db", "")
	bulk := func(name, body string, status int, want string) refusal {
		return refusal{name, "POST", "/db/_bulk_docs", body, status, want, nil}
	}
	ts.refuses(t, []refusal{
		bulk("text", "x", 400, "invalid UTF-8 JSON"),
		bulk("an array", "[]", 400, "Request body must be a JSON object"),
		bulk("no docs", "{}", 400, "POST body must include `docs` parameter."),
		bulk("docs a string", `{"docs":"x"}`, 400, "`docs` parameter must be an array."),
		bulk("a document that is none", `{"docs":[{"_id":"ok"},[]]}`, 400, "Document must be a JSON object"),
		bulk("an illegal id", `{"docs":[{"_id":"ok"},{"_id":"_x"}]}`, 400, "illegal_docid"),
		bulk("an id that is too long", `{"docs":[{"_id":"ok"},{"_id":"`+strings.Repeat("x", 41)+`"}]}`, 400, "Document id is too long"),
		bulk("an id that is null", `{"docs":[{"_id":"ok"},{"_id":null}]}`, 400, "Document id must be a string"),
		bulk("a bad revision", `{"docs":[{"_id":"ok"},{"_id":"x","_rev":"x"}]}`, 400, "Invalid rev format"),
		bulk("a revision of a _local document", `{"docs":[{"_id":"ok"},{"_id":"x","_rev":"0-1"}]}`, 400, "Invalid rev format"),
		bulk("an unknown member", `{"docs":[{"_id":"ok"},{"_id":"x","_x":1}]}`, 400, "doc_validation"),
		bulk("too large", `{"docs":[{"_id":"ok"},{"_id":"x","a":"`+strings.Repeat("x", 100)+`"}]}`, 413, `{"error":"document_too_large","reason":"x"}`),
		bulk("too many", `{"docs":[{},{},{},{}]}`, 413, `{"error":"max_bulk_docs_count_exceeded","reason":"3"}`),
		bulk("replicated without a revision", `{"new_edits":false,"docs":[{"_id":"x","_rev":"1-a"},{"_id":"y"}]}`, 400, "needs `_rev` or `_revisions`"),
		bulk("an attachment that follows", `{"docs":[{"_id":"ok"},{"_attachments":{"f":{"follows":true}}}]}`, 400, "does not follow"),
		{"another type", "POST", "/db/_bulk_docs", `{"docs":[]}`, 415, "bad_content_type", []string{"Content-Type", "text/plain"}},
	})
	ts.isEmpty(t, "db")
}

// One row's failure leaves the others alone.
func TestBulkDocsRows(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/old", `{"n":1}`)
	got := ts.do("POST", "/db/_bulk_docs", `{"docs":[{"_id":"a"},{"_id":"old","n":2},{"_id":"s","_attachments":{"f":{"stub":true}}},{"_id":"a","n":2},{"_id":"_design/d","views":1},{"_id":"b"}]}`)
	for _, want := range []string{
		`[{"ok":true,"id":"a","rev":"1-`,
		`{"id":"old","error":"conflict","reason":"Document update conflict."}`,
		`{"id":"s","error":"missing_stub","reason":"Invalid attachment stub in s for f"}`,
		`{"id":"a","error":"conflict","reason":"Document update conflict."}`,
		`{"id":"_design/d","error":"invalid_design_doc"`,
		`{"ok":true,"id":"b","rev":"1-`,
	} {
		at := strings.Index(got, want)
		if at < 0 {
			t.Fatalf("no %s in order in %s", want, got)
		}
		got = got[at+len(want):]
	}
	got = ts.do("POST", "/db/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"5-x"},{"_id":"t","_rev":"2-x","_attachments":{"f":{"stub":true}}}]}`)
	if got != `[{"id":"t","rev":"2-x","error":"missing_stub","reason":"Invalid attachment stub in t for f"}]`+"\n" {
		t.Errorf("replicated: %s", got)
	}
	if got := ts.do("GET", "/db/a?conflicts=true", ""); !strings.Contains(got, `"_rev":"5-x"`) || !strings.Contains(got, `"_conflicts":["1-`) {
		t.Errorf("the replicated one: %s", got)
	}
}

// A validation function sees every row; where there is one, a revision of a document that does not exist is a conflict, as in CouchDB.
func TestBulkDocsAreJudged(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/new", `{"_rev":"1-a"}`)
	ts.do("PUT", "/db/_design/v", `{"validate_doc_update":"function(n) { if (n.no) throw({forbidden: n.no}); }"}`)
	got := ts.do("POST", "/db/_bulk_docs", `{"docs":[{"_id":"a","no":"never"},{"_id":"b"},{"_id":"c","_rev":"1-a"},{"_id":"_local/l","no":"x"}]}`)
	if !strings.HasPrefix(got, `[{"id":"a","error":"forbidden","reason":"never"},{"ok":true,"id":"b","rev":"1-`) ||
		!strings.HasSuffix(got, `{"id":"c","error":"conflict","reason":"Document update conflict."},{"ok":true,"id":"_local/l","rev":"0-1"}]`+"\n") {
		t.Errorf("got %s", got)
	}
	ts.refuses(t, []refusal{
		{"PUT", "PUT", "/db/x", `{"no":"never"}`, 403, `{"error":"forbidden","reason":"never"}`, nil},
		{"PUT with a revision", "PUT", "/db/x", `{"_rev":"1-a"}`, 409, "conflict", nil},
		{"an attachment", "PUT", "/db/x?new_edits=false", `{"_rev":"1-a","no":"never","_attachments":{"f":{"data":"AAEC"}}}`, 403, "never", nil},
		{"GET", "GET", "/db/x", "", 404, "missing", nil},
	})
}

func TestBulkGetRefuses(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couchdb]", "max_bulk_get_count = 2")
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/x?new_edits=false", `{"_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]}}`)
	get := func(name, body string, status int, want string) refusal {
		return refusal{name, "POST", "/db/_bulk_get", body, status, want, nil}
	}
	ts.refuses(t, []refusal{
		get("text", "x", 400, "invalid UTF-8 JSON"),
		get("an array", "[]", 400, "Request body must be a JSON object"),
		get("no docs", "{}", 400, "Missing JSON list of 'docs'."),
		get("docs a string", `{"docs":"x"}`, 400, "'docs' must be a JSON list."),
		get("an id that is a number", `{"docs":[{"id":1}]}`, 400, "Document id must be a string"),
		get("too many", `{"docs":[{},{},{}]}`, 413, "max_bulk_get_count_exceeded"),
		{"another type", "POST", "/db/_bulk_get", `{"docs":[]}`, 415, "bad_content_type", []string{"Content-Type", "text/plain"}},
	})
	for item, want := range map[string]string{
		`"x"`:                           `{"id":null,"docs":[{"error":{"rev":null,"reason":"document must be a JSON object","id":null,"error":"bad_request"}}]}`,
		`{"rev":"1-a"}`:                 `{"id":null,"docs":[{"error":{"rev":null,"reason":"document id missed","id":null,"error":"bad_request"}}]}`,
		`{"id":"_x","rev":"1-a"}`:       `{"id":"_x","docs":[{"error":{"rev":null,"reason":"Only reserved document ids may start with underscore.","id":"_x","error":"illegal_docid"}}]}`,
		`{"id":"x","rev":"x"}`:          `{"id":"x","docs":[{"error":{"rev":"x","reason":"Invalid rev format","id":"x","error":"bad_request"}}]}`,
		`{"id":"x","rev":7}`:            `{"id":"x","docs":[{"error":{"rev":7,"reason":"Invalid rev format","id":"x","error":"bad_request"}}]}`,
		`{"id":"x","rev":"1-a"}`:        `{"id":"x","docs":[{"error":{"rev":"1-a","reason":"missing","id":"x","error":"not_found"}}]}`,
		`{"id":"x","rev":"3-\u00e9"}`:   `{"id":"x","docs":[{"error":{"rev":"3-é","reason":"missing","id":"x","error":"not_found"}}]}`,
		`{"id":"y"}`:                    `{"id":"y","docs":[{"error":{"rev":"undefined","reason":"missing","id":"y","error":"not_found"}}]}`,
		`{"id":"x","atts_since":"x"}`:   `{"id":"x","docs":[{"error":{"rev":"undefined","reason":"Invalid list of revisions","id":"x","error":"bad_request"}}]}`,
		`{"id":"x","atts_since":["x"]}`: `{"id":"x","docs":[{"error":{"rev":"undefined","reason":"Invalid rev format","id":"x","error":"bad_request"}}]}`,
		`{"id":"x","rev":"2-b"}`:        `{"id":"x","docs":[{"ok":{"_id":"x","_rev":"2-b"}}]}`,
		`{"id":"x"},{"id":"y"}`:         `{"id":"x","docs":[{"ok":{"_id":"x","_rev":"2-b"}}]},{"id":"y","docs":[{"error":{"rev":"undefined","reason":"missing","id":"y","error":"not_found"}}]}`,
	} {
		if got := ts.do("POST", "/db/_bulk_get", `{"docs":[`+item+`]}`); got != `{"results":[`+want+"]}\n" {
			t.Errorf("%s: %s", item, got)
		}
	}
}

func TestRevsDiffAndPurgeRefuse(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/x", `{}`)
	for path, notList := range map[string]string{
		"/db/_revs_diff": "Invalid revisions, must be a list", "/db/_missing_revs": "Invalid revisions, must be a list", "/db/_purge": "Invalid list of revisions",
	} {
		ts.refuses(t, []refusal{
			{path + " text", "POST", path, "x", 400, "invalid UTF-8 JSON", nil},
			{path + " an array", "POST", path, "[]", 400, "Request body must be a JSON object", nil},
			{path + " a string", "POST", path, `{"x":"1-a"}`, 400, notList, nil},
			{path + " a number", "POST", path, `{"x":[1]}`, 400, "Invalid rev format", nil},
			{path + " no revision", "POST", path, `{"y":["1-a"],"x":["1"]}`, 400, "Invalid rev format", nil},
			{path + " another type", "POST", path, "{}", 415, "bad_content_type", []string{"Content-Type", "text/plain"}},
			{path + " GET", "GET", path, "", 405, "Only POST allowed", nil},
		})
	}
	if status, _ := ts.as("", "POST", "/db/_purge", "{}"); status != 401 {
		t.Errorf("_purge by nobody: %d", status)
	}
	ts.do("GET", "/db/x", "")
}

func TestRevsDiff(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("POST", "/db/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"x","_revisions":{"start":3,"ids":["c","b","a"]}},{"_id":"x","_revisions":{"start":2,"ids":["z","a"]}}]}`)
	for ask, want := range map[string]string{
		`{}`:                        `{}`,
		`{"x":[]}`:                  `{}`,
		`{"x":["1-a","2-b","3-c"]}`: `{}`,
		`{"x":["4-d","3-c"]}`:       `{"x":{"missing":["4-d"],"possible_ancestors":["3-c","2-z"]}}`,
		`{"x":["1-d","3-d"]}`:       `{"x":{"missing":["1-d","3-d"],"possible_ancestors":["2-z"]}}`,
		`{"y":["1-a"],"x":["2-x"]}`: `{"y":{"missing":["1-a"]},"x":{"missing":["2-x"]}}`,
		`{"x":["9-a"],"x":["3-c"]}`: `{}`,
		`{"_x":["1-\"quoted\""]}`:   `{"_x":{"missing":["1-\"quoted\""]}}`,
	} {
		if got := ts.do("POST", "/db/_revs_diff", ask); got != want+"\n" {
			t.Errorf("%s: %s", ask, got)
		}
	}
}

// open_revs shows each leaf once, whatever is asked for.
func TestOpenRevs(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("POST", "/db/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"x","_revisions":{"start":3,"ids":["c","b","a"]}},{"_id":"x","_deleted":true,"_revisions":{"start":2,"ids":["z","a"]}}]}`)
	const c, z = `{"ok":{"_id":"x","_rev":"3-c"}}`, `{"ok":{"_id":"x","_rev":"2-z","_deleted":true}}`
	for query, want := range map[string]string{
		`open_revs=all`: "[" + c + "," + z + "]",
		`open_revs=[%222-z%22,%229-x%22,%222-z%22]`:             "[" + z + `,{"missing":"9-x"}]`,
		`open_revs=[%221-a%22,%223-c%22]&latest=true`:           "[" + c + "," + z + "]",
		`open_revs=[%222-b%22]&latest=true`:                     "[" + c + "]",
		`open_revs=[%222-b%22]`:                                 `[{"missing":"2-b"}]`,
		`open_revs=all&conflicts=true&revs_info=true&meta=true`: "[" + c + "," + z + "]",
		`open_revs=[]`:        `{"_id":"x","_rev":"3-c"}`,
		`rev=2-z&latest=true`: `{"_id":"x","_rev":"3-c"}`,
	} {
		if got := ts.do("GET", "/db/x?"+query, "", "Accept", "application/json"); got != want+"\n" {
			t.Errorf("%s: %s", query, got)
		}
	}
	res := ts.send("admin:secret", "GET", "/db/x?open_revs=all", "")
	res.Body.Close()
	if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "multipart/mixed; boundary=") {
		t.Errorf("without Accept: %s", kind)
	}
}

// In _users nobody reads another's document, whichever way.
func TestUsersAreNotShownToOthers(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	if _, err := ts.store.Create(t.Context(), "_users", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		ts.do("PUT", "/_users/org.couchdb.user:"+name, `{"name":"`+name+`","type":"user","roles":[],"password":"pw","city":"`+name+`town"}`)
	}
	const bob = "/_users/org.couchdb.user:bob"
	for _, c := range []struct{ method, path, body string }{
		{"GET", bob, ""},
		{"GET", bob + "?open_revs=all", ""},
		{"GET", bob + "/file", ""},
		{"POST", "/_users/_bulk_get", `{"docs":[{"id":"org.couchdb.user:bob"}]}`},
		{"PUT", bob, `{}`},
		{"PUT", bob + "/file", "x"},
		{"DELETE", bob, ""},
	} {
		_, got := ts.as("ann:pw", c.method, c.path, c.body)
		if strings.Contains(got, "bobtown") || strings.Contains(got, "derived_key") || strings.Contains(got, `"ok"`) {
			t.Errorf("%s %s: %s", c.method, c.path, got)
		}
	}
	if status, got := ts.as("ann:pw", "COPY", bob, "", "Destination", "org.couchdb.user:ann"); status/100 != 4 {
		t.Errorf("COPY: %d %s", status, got)
	}
	if status, got := ts.as("bob:pw", "GET", bob, ""); status != 200 || !strings.Contains(got, "bobtown") {
		t.Errorf("his own: %d %s", status, got)
	}
}
