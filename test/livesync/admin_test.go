package livesync

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// rebuild is "Overwrite server data". Deleting and making the database is done by an admin.
func rebuild(t *testing.T, db string, d device) {
	admin := device{t, d.url, basic("admin", adminPassword)}
	if _, err := d.salt(db); err != nil {
		t.Fatal(err)
	}
	d.want(201, "PUT", db+"/old", obj{})
	d.want(201, "PUT", db+milestone, obj{"locked": true, "accepted_nodes": []string{"me"}})
	if a := d.do("DELETE", db+"/", nil); a.status != 401 && a.status != 403 {
		t.Fatalf("a member deletes the database: %d %s", a.status, a.body)
	}
	admin.want(200, "DELETE", db+"/", nil)
	admin.want(404, "GET", db+"/", nil)
	admin.want(201, "PUT", db+"/", nil)
	if a := d.do("GET", db+"/", nil); a.status != 401 && a.status != 403 {
		t.Errorf("the new database is open before its _security is set: %d %s", a.status, a.body)
	}
	allow(t, d.url, db[1:])
	for _, gone := range []string{parameters, milestone, "/old"} {
		d.want(404, "GET", db+gone, nil)
	}
	if seq := seqNumber(t, d.want(200, "GET", db+"/", nil).value(t, "update_seq")); seq != 0 {
		t.Errorf("the new database begins at %d", seq)
	}
	if _, err := d.salt(db); err != nil {
		t.Fatal(err)
	}
	d.want(201, "PUT", db+milestone, obj{"locked": false})
}

// maintenance: locking, garbage collection, the migration check, resending of chunks.
func maintenance(t *testing.T, db string, d device) {
	maintain(t, db, d, device{t, d.url, basic("admin", adminPassword)})
}

// maintain is maintenance by a device, in which compacter compacts.
func maintain(t *testing.T, db string, d, compacter device) {
	d.want(201, "PUT", db+version, obj{"version": 12, "type": "versioninfo"})
	d.want(200, "GET", db+version, nil)
	rev := d.want(201, "PUT", db+milestone, obj{"locked": true}).text(t, "rev")
	d.want(201, "PUT", db+milestone, obj{"locked": false, "_rev": rev})

	chunk := d.want(201, "PUT", db+"/h%3Aone", obj{"type": "leaf", "data": "x"}).text(t, "rev")
	d.want(201, "PUT", db+"/a-leaf-outside", obj{"type": "leaf"})
	for selector, want := range map[string]int{
		`{"selector":{"_id":{"$lt":"h:"},"type":"leaf"}}`: 1,
		`{"selector":{"_id":{"$gt":"h;"},"type":"leaf"}}`: 0,
	} {
		a := d.want(200, "POST", db+"/_find", selector)
		if docs, ok := a.value(t, "docs").([]any); !ok || len(docs) != want {
			t.Errorf("_find %s: %s", selector, a.body)
		}
	}

	d.want(200, "DELETE", db+"/h%3Aone?rev="+chunk, nil)
	if a := d.do("POST", db+"/_compact", nil); compacter.auth != d.auth && a.status != 401 && a.status != 403 {
		t.Errorf("a member compacts: %d %s", a.status, a.body)
	}
	compacter.want(202, "POST", db+"/_compact", nil)
	for end := time.Now().Add(time.Minute); d.want(200, "GET", db+"/", nil).value(t, "compact_running") != false; {
		if time.Now().After(end) {
			t.Fatal("compaction does not end within a minute")
		}
	}
	a := d.want(200, "POST", db+"/_all_docs", obj{"keys": []string{"h:one", "h:two"}})
	if a.value(t, "rows", 0, "value", "deleted") != true || a.value(t, "rows", 1, "error") != "not_found" {
		t.Errorf("chunks after compaction: %s", a.body)
	}
	two := obj{"_id": "h:two", "_rev": "1-0123456789abcdef0123456789abcdef", "type": "leaf", "data": "x"}
	if a := d.want(201, "POST", db+"/_bulk_docs", obj{"docs": []obj{two}, "new_edits": false}); strings.TrimSpace(string(a.body)) != "[]" {
		t.Errorf("resending a chunk: %s", a.body)
	}
	d.want(200, "GET", db+"/h:two", nil)
}

// tooLarge: a chunk above max_document_size is refused with 413 alone; one below is not.
func tooLarge(t *testing.T, db string, d device) {
	d.want(413, "PUT", db+"/h%3Alarge", obj{"type": "leaf", "data": strings.Repeat("x", maxDocument)})
	d.want(404, "GET", db+"/h%3Alarge", nil)
	d.want(201, "PUT", db+"/h%3Asmall", obj{"type": "leaf", "data": strings.Repeat("x", maxDocument/2)})
	a := d.do("POST", db+"/_bulk_docs", obj{"new_edits": false, "docs": []obj{
		{"_id": "h:large", "_rev": "1-0123456789abcdef0123456789abcdef", "data": strings.Repeat("x", maxDocument)}}})
	if a.status != 413 && !strings.Contains(string(a.body), "too_large") {
		t.Errorf("_bulk_docs with one that is too large: %d %s", a.status, a.body)
	}
	d.want(404, "GET", db+"/h:large", nil)
}

// crossOrigin: Obsidian's three origins are allowed, with credentials, on errors too.
func crossOrigin(t *testing.T, db string, d device) {
	stranger := device{t, d.url, bearer("stranger", time.Now().Add(time.Minute))}
	nobody := device{t, d.url, ""}
	for _, origin := range []string{"app://obsidian.md", "capacitor://localhost", "http://localhost"} {
		for _, c := range []struct {
			d            device
			status       int
			method, path string
			body         any
		}{
			{d, 200, "GET", "/", nil},
			{d, 200, "GET", db + "/", nil},
			{d, 200, "POST", db + "/_changes?since=0&filter=_selector", noLeaves},
			{d, 200, "GET", db + "/_changes?feed=continuous&timeout=1", nil},
			{nobody, 401, "GET", db + "/", nil},
			{device{t, d.url, basic("member", "wrong")}, 401, "GET", db + "/", nil},
			{device{t, d.url, bearer("member", time.Now().Add(-time.Hour))}, 401, "GET", db + "/", nil},
			{stranger, 403, "GET", db + "/", nil},
			{d, 404, "GET", db + "/missing", nil},
			{d, 404, "GET", "/no-such-vault/", nil},
			{d, 405, "PATCH", db + "/", nil},
			{d, 413, "PUT", db + "/h%3Alarge", obj{"data": strings.Repeat("x", maxDocument)}},
		} {
			r := c.d.request(c.method, c.path, c.body)
			r.Header.Set("Origin", origin)
			a := c.d.send(r)
			what := fmt.Sprintf("%s from %s: %s %s", http.StatusText(c.status), origin, c.method, c.path)
			if a.status != c.status {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
			allowed(t, what, origin, a.header)
		}
		preflight(t, db, d, origin)
	}
	foreign := d.request("GET", db+"/", nil)
	foreign.Header.Set("Origin", "https://elsewhere.example")
	if a := d.send(foreign); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("any origin is allowed: %v", a.header)
	}
}

var couchdb = regexp.MustCompile(`CouchDB(/\d+(\.\d+)*)?`)

// allowed checks the headers without which a browser shows "Failed to fetch" instead of the answer.
func allowed(t *testing.T, what, origin string, h http.Header) {
	t.Helper()
	if got := h.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != origin {
		t.Errorf("%s: Access-Control-Allow-Origin %q", what, got)
	}
	if got := h.Get("Access-Control-Allow-Credentials"); got != "true" {
		t.Errorf("%s: Access-Control-Allow-Credentials %q", what, got)
	}
	if got := strings.Join(h.Values("Vary"), ","); !strings.Contains(strings.ToLower(got), "origin") {
		t.Errorf("%s: Vary %q", what, got)
	}
	if m := couchdb.FindStringSubmatch(h.Get("Server")); m == nil || !strings.HasPrefix(m[1], "/3.") {
		t.Errorf("%s: the client cannot read the version from the header Server %q", what, h.Get("Server"))
	}
}

// preflight comes without credentials before every request, since all carry a Content-Type.
func preflight(t *testing.T, db string, d device, origin string) {
	t.Helper()
	nobody := device{t, d.url, ""}
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		r := nobody.request("OPTIONS", db+"/x", nil)
		r.Header.Del("Content-Type")
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", method)
		r.Header.Set("Access-Control-Request-Headers", "authorization,content-type,if-match")
		a := nobody.send(r)
		what := "preflight for " + method + " from " + origin
		if a.status != 200 && a.status != 204 {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		allowed(t, what, origin, a.header)
		if got := a.header.Get("Access-Control-Allow-Methods"); !strings.Contains(got, method) {
			t.Errorf("%s: Access-Control-Allow-Methods %q", what, got)
		}
		headers := strings.ToLower(a.header.Get("Access-Control-Allow-Headers"))
		for _, want := range []string{"authorization", "content-type", "if-match"} {
			if !strings.Contains(headers, want) {
				t.Errorf("%s: Access-Control-Allow-Headers %q lacks %s", what, headers, want)
			}
		}
	}
}
