package server

import (
	"net/http"
	"strings"
	"testing"
)

// refusal is a request that must be answered with a status and a part of the body.
type refusal struct {
	name, method, path, body string
	status                   int
	want                     string
	header                   []string
}

// refuses makes each request as the server admin.
func (ts *testServer) refuses(t *testing.T, list []refusal) {
	t.Helper()
	for _, c := range list {
		status, text := ts.as("admin:secret", c.method, c.path, c.body, c.header...)
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.name, status, text, c.status, c.want)
		}
	}
}

// isEmpty reports an error when a database has a document.
func (ts *testServer) isEmpty(t *testing.T, db string) {
	t.Helper()
	d, err := ts.store.DB(db)
	if err != nil {
		t.Fatal(err)
	}
	info, err := d.Info()
	if err != nil || info.DocCount+info.DelCount != 0 || info.UpdateSeq != 0 || info.FileBytes != 0 {
		t.Errorf("%s holds something: %+v, %v", db, info, err)
	}
}

// stringMember takes a string member out of a JSON object.
func stringMember(t *testing.T, object, name string) string {
	t.Helper()
	s, ok := text(objectMember([]byte(strings.TrimSpace(object)), name))
	if !ok {
		t.Fatalf("%s has no %s", object, name)
	}
	return s
}

func TestDocumentRefusals(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couchdb]", "max_document_size = 100", "max_document_id_length = 20")
	ts.do("PUT", "/db", "")
	const conflict = `{"error":"conflict","reason":"Document update conflict."}`
	ts.refuses(t, []refusal{
		{"no JSON", "PUT", "/db/x", `{"a"`, 400, `"invalid UTF-8 JSON"`, nil},
		{"nothing", "PUT", "/db/x", "", 400, `"invalid UTF-8 JSON"`, nil},
		{"an array", "PUT", "/db/x", "[]", 400, `"Document must be a JSON object"`, nil},
		{"POST of an array", "POST", "/db", "[]", 400, `"Document must be a JSON object"`, nil},
		{"POST of another type", "POST", "/db", "{}", 415, `"bad_content_type"`, []string{"Content-Type", "text/plain"}},
		{"a form", "POST", "/db/x", "a=b", 415, `"bad_content_type"`, []string{"Content-Type", "multipart/form-data; boundary=x"}},
		{"an encoding that is not known", "PUT", "/db/x", "{}", 415, "br is not a supported content encoding.", []string{"Content-Encoding", "br"}},
		{"no gzip", "PUT", "/db/x", "{}", 400, "bad_request", []string{"Content-Encoding", "gzip"}},
		{"an id with an underscore", "PUT", "/db/_x", "{}", 400, "illegal_docid", nil},
		{"GET of it", "GET", "/db/_x", "", 404, "not_found", nil},
		{"an id that is not UTF-8", "PUT", "/db/%FF", "{}", 400, "must be valid UTF-8", nil},
		{"an id that is too long", "PUT", "/db/" + strings.Repeat("x", 21), "{}", 400, "Document id is too long", nil},
		{"POST of it", "POST", "/db", `{"_id":"` + strings.Repeat("x", 21) + `"}`, 400, "Document id is too long", nil},
		{"a document that is too large", "PUT", "/db/x", `{"a":"` + strings.Repeat("x", 100) + `"}`, 413, `{"error":"document_too_large","reason":""}`, nil},
		{"POST of it", "POST", "/db", `{"_id":"y","a":"` + strings.Repeat("x", 100) + `"}`, 413, `{"error":"document_too_large","reason":"y"}`, nil},
		{"rev= that is none", "PUT", "/db/x?rev=x", "{}", 400, "Invalid rev format", nil},
		{"If-Match that is none", "PUT", "/db/x", "{}", 400, "Invalid rev format", []string{"If-Match", "*"}},
		{"two revisions", "PUT", "/db/x?rev=1-a", `{"_rev":"1-b"}`, 400, "query string have different values", nil},
		{"two other revisions", "PUT", "/db/x", `{"_rev":"1-b"}`, 400, "Document rev and etag have different values", []string{"If-Match", `"1-a"`}},
		{"_revisions and rev= differ", "PUT", "/db/x?rev=1-a", `{"_revisions":{"start":1,"ids":["b"]}}`, 400, "different values", nil},
		{"the revision of a _local document", "PUT", "/db/x", `{"_rev":"0-1"}`, 400, "Invalid rev format", nil},
		{"new_edits=false without a revision", "PUT", "/db/x?new_edits=false", "{}", 400, "needs `_rev` or `_revisions`", nil},
		{"DELETE of nothing", "DELETE", "/db/x?rev=1-a", "", 404, "missing", nil},
		{"DELETE with a revision that is none", "DELETE", "/db/x?rev=a", "", 400, "Invalid rev format", nil},
		{"GET with a revision that is none", "GET", "/db/x?rev=a", "", 400, "Invalid rev format", nil},
		{"GET with atts_since that is none", "GET", "/db/x?atts_since=a", "", 400, "invalid UTF-8 JSON", nil},
		{"open_revs that is none", "GET", "/db/x?open_revs=[1]", "", 400, "Invalid rev format", nil},
		{"open_revs=all of nothing", "GET", "/db/x?open_revs=all", "", 404, "missing", nil},
	})
	ts.isEmpty(t, "db")

	first := stringMember(t, ts.do("PUT", "/db/x", `{"n":1}`), "rev")
	ts.refuses(t, []refusal{
		{"an update without a revision", "PUT", "/db/x", "{}", 409, conflict, nil},
		{"an update with another", "PUT", "/db/x", `{"_rev":"1-a"}`, 409, conflict, nil},
		{"DELETE without one", "DELETE", "/db/x", "", 409, conflict, nil},
		{"DELETE with another", "DELETE", "/db/x", "", 409, conflict, []string{"If-Match", "1-a"}},
		{"batch=ok hides no conflict", "PUT", "/db/x?batch=ok", "{}", 409, conflict, nil},
	})
	second := stringMember(t, ts.do("DELETE", "/db/x?rev="+first, ""), "rev")
	ts.refuses(t, []refusal{
		{"GET after that", "GET", "/db/x", "", 404, `"deleted"`, nil},
		{"GET with the history", "GET", "/db/x?revs=true", "", 404, `"deleted"`, nil},
		{"GET of a revision that is not known", "GET", "/db/x?rev=3-a", "", 404, `"missing"`, nil},
		{"an update of the tombstone", "PUT", "/db/x?rev=" + second, "{}", 409, conflict, nil},
		{"DELETE of the tombstone", "DELETE", "/db/x?rev=" + second, "", 404, `"deleted"`, nil},
	})
}

func TestBodyAboveTheRequestLimit(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[chttpd]", "max_http_request_size = 200")
	ts.do("PUT", "/db", "")
	long := `{"a":"` + strings.Repeat("x", 300) + `"}`
	ts.refuses(t, []refusal{{"too long", "PUT", "/db/x", long, 413, `"too_large"`, nil}})
	// Without a length the limit is met while reading.
	req, err := http.NewRequest("PUT", ts.URL+"/db/x", struct{ *strings.Reader }{strings.NewReader(long)})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = -1
	req.SetBasicAuth("admin", "secret")
	res, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("without a length: %d", res.StatusCode)
	}
	ts.isEmpty(t, "db")
}

func TestETags(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	res := ts.send("admin:secret", "PUT", "/db/a'b", `{"n":1}`)
	res.Body.Close()
	tag := res.Header.Get("Etag")
	if res.StatusCode != 201 || tag == "" || !strings.HasSuffix(res.Header.Get("Location"), "/db/a%27b") {
		t.Fatalf("%d, ETag %s, Location %s", res.StatusCode, tag, res.Header.Get("Location"))
	}
	for _, c := range []struct {
		method, match string
		status        int
	}{
		{"GET", tag, 304}, {"HEAD", tag, 304}, {"GET", `"x", ` + tag, 304}, {"GET", `"x", W/` + tag, 304}, {"GET", strings.Trim(tag, `"`), 200}, {"GET", "*", 200}, {"GET", `"1-x"`, 200},
	} {
		res := ts.send("admin:secret", c.method, "/db/a'b", "", "If-None-Match", c.match)
		res.Body.Close()
		if res.StatusCode != c.status || res.Header.Get("Etag") != tag {
			t.Errorf("%s with %s: %d, %s", c.method, c.match, res.StatusCode, res.Header.Get("Etag"))
		}
	}
	res = ts.send("admin:secret", "HEAD", "/db/a'b", "")
	res.Body.Close()
	body := ts.do("GET", "/db/a'b", "")
	if res.ContentLength != int64(len(body)) {
		t.Errorf("HEAD tells %d bytes, GET sends %d", res.ContentLength, len(body))
	}
	res = ts.send("admin:secret", "GET", "/db/a'b?revs_info=true", "", "If-None-Match", tag)
	res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Etag") != "" {
		t.Errorf("what can change under the same revision has an ETag: %d %s", res.StatusCode, res.Header.Get("Etag"))
	}
}

func TestDesignDocumentsNeedADatabaseAdmin(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_security", `{"admins":{"names":[],"roles":[]},"members":{"names":[],"roles":[]}}`)
	stored := stringMember(t, ts.do("PUT", "/db/_design/d", `{}`), "rev")
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/db/_design/x", `{}`},
		{"PUT", "/db/_design%2Fx", `{}`},
		{"PUT", "/db/_design/d?rev=" + stored, `{}`},
		{"PUT", "/db/_design/x?new_edits=false", `{"_rev":"1-a"}`},
		{"POST", "/db", `{"_id":"_design/x"}`},
		{"DELETE", "/db/_design/d?rev=" + stored, ""},
		{"PUT", "/db/_design/d/file?rev=" + stored, "x"},
		{"PUT", "/db/_design/x/file", "x"},
	} {
		if status, text := ts.as("", c.method, c.path, c.body); status != 401 || !strings.Contains(text, "You are not a db or server admin.") {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	if status, text := ts.as("", "COPY", "/db/_design/d", "", "Destination", "_design/x"); status != 401 {
		t.Errorf("COPY: %d %s", status, text)
	}
	for _, edits := range []string{"true", "false"} {
		status, text := ts.as("", "POST", "/db/_bulk_docs", `{"new_edits":`+edits+`,"docs":[{"_id":"_design/x","_rev":"1-a"},{"_id":"ok`+edits+`","_rev":"1-a"}]}`)
		if status != 201 || !strings.Contains(text, `"error":"unauthorized"`) {
			t.Errorf("_bulk_docs: %d %s", status, text)
		}
		ts.do("GET", "/db/ok"+edits, "")
	}
	if got := ts.do("GET", "/db/_design/d", ""); !strings.Contains(got, stored) {
		t.Errorf("it has changed: %s", got)
	}
	if status, _ := ts.as("", "GET", "/db/_design/x", ""); status != 404 {
		t.Errorf("it was made: %d", status)
	}
}

func TestDesignDocumentsAreChecked(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for body, want := range map[string]string{
		`{"views":[]}`:                  "`views` field must have object type",
		`{"views":{"v":1}}`:             "`views.v` field must have object type",
		`{"views":{"v":{}}}`:            "View `v` must contain map function",
		`{"views":{"v":{"map":1}}}`:     "`views.v.map` field must have string type",
		`{"filters":"x"}`:               "`filters` field must have object type",
		`{"filters":{"f":1}}`:           "`filters.f` field must have string or object type",
		`{"language":1}`:                "`language` field must have string type",
		`{"lists":1}`:                   "`lists` field must have object type",
		`{"options":{"local_seq":"x"}}`: "`options.local_seq` field must have boolean type",
		`{"rewrites":1}`:                "`rewrites` field must have array or string type",
		`{"shows":{"s":[]}}`:            "`shows.s` field must have string or object type",
		`{"updates":[]}`:                "`updates` field must have object type",
		`{"validate_doc_update":1}`:     "`validate_doc_update` field must have object or string type",
		`{"views":{"v":{"map":"function(d){}","reduce":1}}}`:           "`views.v.reduce` field must have string type",
		`{"views":{"v":{"map":"function(d){}","reduce":"_nothing"}}}`:  "`_nothing` is not a supported reduce function.",
		`{"language":"query","views":{"v":{"map":"x"}}}`:               "`views.v.map` field must have object type",
		`{"views":{"v":{"map":"function("}}}`:                          "Compilation of the map function in the 'v' view failed",
		`{"views":{"v":{"map":"function(d){}","reduce":"function("}}}`: "Compilation of the reduce function in the 'v' view failed",
	} {
		if status, text := ts.as("admin:secret", "PUT", "/db/_design/bad", body); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", body, status, text)
		}
		if text := ts.do("POST", "/db/_bulk_docs", `{"docs":[`+strings.Replace(body, "{", `{"_id":"_design/bad",`, 1)+`]}`); !strings.Contains(text, want) {
			t.Errorf("%s in _bulk_docs: %s", body, text)
		}
	}
	ts.isEmpty(t, "db")
	ts.do("PUT", "/db/_design/good", `{"views":{"lib":{"x":"no function"},"v":{"map":"function(d){emit(1)}","reduce":"_count"}},"filters":{"f":"function("},"autoupdate":"x"}`)
	ts.do("PUT", "/db/_design/query", `{"language":"query","views":{"v":{"map":{"fields":{}},"reduce":"_count"}}}`)
	ts.refuses(t, []refusal{{"a conflict is found first", "PUT", "/db/_design/good", `{"views":[]}`, 409, "conflict", nil}})
}

func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/a", `{"n":1}`)
	ts.do("PUT", "/db/b", `{"n":2}`)
	ts.refuses(t, []refusal{
		{"nowhere", "COPY", "/db/a", "", 400, "Destination header is mandatory for COPY.", nil},
		{"elsewhere", "COPY", "/db/a", "", 400, "Destination URL must be relative.", []string{"Destination", "http://x/db/c"}},
		{"onto a document", "COPY", "/db/a", "", 409, "conflict", []string{"Destination", "b"}},
		{"onto another revision", "COPY", "/db/a", "", 409, "conflict", []string{"Destination", "b?rev=1-a"}},
		{"with no revision", "COPY", "/db/a", "", 400, "Invalid rev format", []string{"Destination", "b?rev=x"}},
		{"with another parameter", "COPY", "/db/a", "", 400, "Invalid rev format", []string{"Destination", "b?x=1"}},
		{"badly escaped", "COPY", "/db/a", "", 400, "invalid_url_encoding", []string{"Destination", "%"}},
		{"to no id", "COPY", "/db/a", "", 400, "illegal_docid", []string{"Destination", "?rev=1-a"}},
		{"to an illegal id", "COPY", "/db/a", "", 400, "illegal_docid", []string{"Destination", "_x"}},
		{"of nothing", "COPY", "/db/none", "", 404, "missing", []string{"Destination", "c"}},
		{"of no revision", "COPY", "/db/a?rev=x", "", 400, "Invalid rev format", []string{"Destination", "c"}},
		{"of an unknown revision", "COPY", "/db/a?rev=1-a", "", 404, "missing", []string{"Destination", "c"}},
		{"of a missing _local document", "COPY", "/db/_local/x", "", 404, "missing", []string{"Destination", "c"}},
	})
	if status, _ := ts.as("admin:secret", "GET", "/db/c", ""); status != 404 {
		t.Errorf("something was copied: %d", status)
	}
	if got := ts.do("GET", "/db/b", ""); !strings.Contains(got, `"n":2`) {
		t.Errorf("the target has changed: %s", got)
	}
}

func TestLocalDocumentsCheckRevisions(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.refuses(t, []refusal{
		{"no id", "PUT", "/db/_local/", "{}", 400, "Invalid _local document id.", nil},
		{"GET of nothing", "GET", "/db/_local/a", "", 404, "missing", nil},
		{"DELETE of nothing", "DELETE", "/db/_local/a?rev=0-1", "", 404, "missing", nil},
		{"a revision of another kind", "PUT", "/db/_local/a", `{"_rev":"1-a"}`, 400, "Invalid rev format", nil},
		{"a revision that is no number", "PUT", "/db/_local/a", `{"_rev":"0-a"}`, 400, "Invalid rev format", nil},
		{"an attachment", "PUT", "/db/_local/a/b", "x", 400, "_local documents do not accept attachments.", nil},
		{"an attachment, with the slash escaped", "PUT", "/db/_local%2Fa/b", "x", 400, "_local documents do not accept attachments.", nil},
		{"a reserved member", "PUT", "/db/_local/a", `{"_x":1}`, 400, "doc_validation", nil},
	})
	if got := stringMember(t, ts.do("PUT", "/db/_local/a", `{"_rev":"0-7","n":1}`), "rev"); got != "0-1" {
		t.Errorf("a new document with an old revision becomes %s", got)
	}
	ts.refuses(t, []refusal{
		{"no revision", "PUT", "/db/_local/a", `{"n":2}`, 409, "conflict", nil},
		{"a wrong one", "PUT", "/db/_local/a", `{"_rev":"0-7","n":2}`, 409, "conflict", nil},
		{"POST without one", "POST", "/db", `{"_id":"_local/a","n":2}`, 409, "conflict", nil},
		{"DELETE without one", "DELETE", "/db/_local/a", "", 409, "conflict", nil},
		{"DELETE with a wrong one", "DELETE", "/db/_local/a?rev=0-2", "", 409, "conflict", nil},
		{"COPY onto it", "COPY", "/db/_local/a", "", 409, "conflict", []string{"Destination", "_local/a"}},
	})
	if got := ts.do("POST", "/db/_bulk_docs", `{"docs":[{"_id":"_local/a","n":2},{"_id":"_local/b"}]}`); got !=
		`[{"id":"_local/a","error":"conflict","reason":"Document update conflict."},{"ok":true,"id":"_local/b","rev":"0-1"}]`+"\n" {
		t.Errorf("_bulk_docs: %s", got)
	}
	if got := ts.do("GET", "/db/_local/a", ""); got != `{"_id":"_local/a","_rev":"0-1","n":1}`+"\n" {
		t.Errorf("it has changed: %s", got)
	}
	ts.do("PUT", "/db/_local/a", `{"n":3}`, "If-Match", `"0-1"`)
	ts.do("DELETE", "/db/_local/a?rev=0-2", "")
	if got := stringMember(t, ts.do("PUT", "/db/_local/a", `{"n":4}`), "rev"); got != "0-1" {
		t.Errorf("made anew, it begins at %s", got)
	}
	res := ts.send("admin:secret", "GET", "/db/_local/a", "")
	res.Body.Close()
	tag := res.Header.Get("Etag")
	if status, _ := ts.as("admin:secret", "GET", "/db/_local/a", "", "If-None-Match", tag); status != 304 {
		t.Errorf("the same again: %d", status)
	}
	ts.do("DELETE", "/db/_local/a?rev=0-1", "")
	ts.do("PUT", "/db/_local/a", `{"n":5}`)
	if status, _ := ts.as("admin:secret", "GET", "/db/_local/a", "", "If-None-Match", tag); status != 200 {
		t.Errorf("another document with the same revision: %d", status)
	}
}
