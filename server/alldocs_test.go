package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// bulk stores documents, given as the members of the array.
func (ts *testServer) bulk(db, docs string) {
	ts.t.Helper()
	if answer := ts.do("POST", "/"+db+"/_bulk_docs", `{"docs":[`+docs+`]}`); strings.Contains(answer, `"error"`) {
		ts.t.Fatal(answer)
	}
}

func TestAllDocsText(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	if got, want := ts.do("GET", "/db/_all_docs", ""), "{\"total_rows\":0,\"offset\":0,\"rows\":[\r\n\r\n]}\n"; got != want {
		t.Errorf("empty: %q, want %q", got, want)
	}
	ts.do("POST", "/db/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"1-aa","x":1},{"_id":"b","_rev":"1-bb","_deleted":true},{"_id":"q\"","_rev":"1-q\\"}]}`)
	want := "{\"total_rows\":2,\"offset\":0,\"rows\":[\r\n" +
		`{"id":"a","key":"a","value":{"rev":"1-aa"},"doc":{"_id":"a","_rev":"1-aa","x":1}}` + ",\r\n" +
		`{"id":"q\"","key":"q\"","value":{"rev":"1-q\\"},"doc":{"_id":"q\"","_rev":"1-q\\"}}` + "\r\n]}\n"
	if got := ts.do("GET", "/db/_all_docs?include_docs=true", ""); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want = "{\"total_rows\":2,\"offset\":null,\"rows\":[\r\n" + `{"id":"b","key":"b","value":{"rev":"1-bb","deleted":true},"doc":null}` + ",\r\n" +
		`{"key":"none","error":"not_found"}` + ",\r\n" + `{"key":{"a":1},"error":"not_found"}` + "\r\n]}\n"
	if got := ts.do("POST", "/db/_all_docs?include_docs=true", `{"keys":["b","none",{"a":1}]}`); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want = "{\"results\":[\r\n{\"total_rows\":2,\"offset\":0,\"rows\":[\r\n\r\n]},\r\n{\"total_rows\":2,\"offset\":1,\"rows\":[\r\n\r\n]}\r\n]}\n"
	if got := ts.do("POST", "/db/_all_docs/queries?limit=0", `{"queries":[{},{"startkey":"b"}]}`); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if status, body := ts.as("admin:secret", "HEAD", "/db/_all_docs", ""); status != 200 || body != "" {
		t.Errorf("HEAD: %d %q", status, body)
	}
}

// listed are the ids of a listing, in order.
func listed(t *testing.T, answer string) []string {
	t.Helper()
	var list struct{ Rows []struct{ ID string } }
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, row := range list.Rows {
		ids = append(ids, row.ID)
	}
	return ids
}

// TestAllDocsPages reads listings that need many pages, in both directions, with and without documents.
func TestAllDocsPages(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	const n = 1500
	var docs strings.Builder
	var ids []string
	for i := range n {
		if i > 0 {
			docs.WriteByte(',')
		}
		id := fmt.Sprintf("doc-%06d", i)
		ids = append(ids, id)
		fmt.Fprintf(&docs, `{"_id":%q,"text":%q}`, id, strings.Repeat("x", 100))
	}
	ts.bulk("db", docs.String())
	for _, with := range []string{"include_docs=false", "include_docs=true"} {
		got := listed(t, ts.do("GET", "/db/_all_docs?"+with, ""))
		if !slices.Equal(got, ids) {
			t.Errorf("%s: %d rows, want all %d in order", with, len(got), n)
		}
		down := listed(t, ts.do("GET", "/db/_all_docs?descending=true&skip=300&limit=1000&"+with, ""))
		if len(down) != 1000 || down[0] != ids[n-301] || down[999] != ids[n-1300] {
			t.Errorf("%s descending: %d rows from %s", with, len(down), down[0])
		}
	}
}

// TestListingsOfUsers: whoever is no admin sees of _users what single documents would show.
func TestListingsOfUsers(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couchdb]", "users_db_security_editable = true")
	ts.do("PUT", "/_users", "")
	ts.do("PUT", "/_users/_security", `{"admins":{"roles":["_admin"]},"members":{"names":[],"roles":[]}}`)
	for _, name := range []string{"ann", "bob"} {
		ts.do("PUT", "/_users/org.couchdb.user:"+name, `{"name":"`+name+`","password":"pw","roles":[],"type":"user"}`)
	}
	if status, body := ts.as("bob:pw", "GET", "/_users/_all_docs", ""); status != 401 {
		t.Errorf("_all_docs: %d %s, want 401", status, body)
	}
	if status, body := ts.as("bob:pw", "GET", "/_users/_changes", ""); status != 401 {
		t.Errorf("_changes: %d %s, want 401", status, body)
	}
	status, body := ts.as("bob:pw", "GET", "/_users/_design_docs?include_docs=true", "")
	if status != 200 || strings.Contains(body, "validate_doc_update") {
		t.Errorf("_design_docs: %d %s, want no document", status, body)
	}
	for _, selector := range []string{`{"name":"ann"}`, `{"salt":{"$exists":true}}`, `{"$not":{"name":"bob"}}`} {
		status, body = ts.as("bob:pw", "POST", "/_users/_find", `{"selector":`+selector+`}`)
		if status != 200 || strings.Contains(body, "ann") {
			t.Errorf("_find %s: %d %s, want nothing of ann", selector, status, body)
		}
	}
}
