package server

import (
	"strings"
	"testing"
	"time"
)

// design is a design document with a validation function.
func design(function string) string {
	return `{"validate_doc_update":` + string(appendString(nil, function)) + `}`
}

func TestValidationRefuses(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for _, c := range []struct {
		name, design string
		status       int
		want         string
	}{
		{"forbidden", design(`function() { throw({forbidden: "no"}); }`), 403, `{"error":"forbidden","reason":"no"}`},
		{"forbidden with an object", design(`function() { throw({forbidden: {a: [1]}}); }`), 403, `{"error":"forbidden","reason":{"a":[1]}}`},
		{"unauthorized", design(`function() { throw({unauthorized: "who"}); }`), 401, `{"error":"unauthorized","reason":"who"}`},
		{"an error", design(`function(doc) { doc.a.b; }`), 403, `{"error":"TypeError","reason":"`},
		{"a text", design(`function(doc) { throw("x"); }`), 403, `{"error":"unknown_error","reason":"x"}`},
		{"an odd object", design(`function(doc) { throw({odd: ["x"], more: 1}); }`), 403, `{"error":"unknown_error","reason":["x"]}`},
		{"no function", design(`function(`), 403, `{"error":"compilation_error","reason":"`},
		{"a selector", `{"language":"query","validate_doc_update":{"newDoc":{"ok":true}}}`, 403, `{"error":"forbidden","reason":"document is not valid"}`},
		{"a bad selector", `{"language":"query","validate_doc_update":{"newDoc":{"$x":true}}}`, 403, `{"error":"compilation_error","reason":"Invalid operator: $x (validate_doc_update of _design/v)"}`},
		{"another language", `{"language":"erlang","validate_doc_update":"fun(_, _, _, _) -> ok end."}`, 403, `{"error":"unknown_query_language","reason":"`},
	} {
		var stored struct{ Rev string }
		answer := ts.do("PUT", "/db/_design/v", c.design)
		decode(t, answer, &stored)
		if status, body := ts.as("admin:secret", "PUT", "/db/doc", "{}"); status != c.status || !strings.HasPrefix(body, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.name, status, body, c.status, c.want)
		}
		if _, body := ts.as("admin:secret", "POST", "/db/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"doc","_rev":"1-aa"}]}`); !strings.Contains(body, `"error":"`) {
			t.Errorf("%s: a replicated document is let in: %s", c.name, body)
		}
		if status, body := ts.as("admin:secret", "GET", "/db/doc", ""); status != 404 {
			t.Errorf("%s: the document was stored: %s", c.name, body)
		}
		ts.do("PUT", "/db/_local/doc", "{}")
		ts.do("DELETE", "/db/_local/doc?rev=0-1", "")
		ts.do("DELETE", "/db/_design/v?rev="+stored.Rev, "")
	}
	ts.do("PUT", "/db/doc", "{}") // without a validator all is well again
}

// TestValidationFailsClosed: when the child process fails, nothing is stored, and the client may try again.
func TestValidationFailsClosed(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.s.js.SetTimeout(200 * time.Millisecond)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_design/v", design(`function(doc) { while (doc.loop); }`))
	if status, body := ts.as("admin:secret", "PUT", "/db/doc", `{"loop":true}`); status != 500 {
		t.Errorf("%d %s, want 500", status, body)
	}
	if status, _ := ts.as("admin:secret", "GET", "/db/doc", ""); status != 404 {
		t.Errorf("the document was stored: %d", status)
	}
	ts.s.js.SetTimeout(time.Minute)
	ts.do("PUT", "/db/doc", `{"loop":false}`)
	if err := ts.s.js.Close(); err != nil {
		t.Fatal(err)
	}
	if status, body := ts.as("admin:secret", "PUT", "/db/doc2", `{}`); status < 500 {
		t.Errorf("without a process: %d %s, want a 5xx", status, body)
	}
}

// TestValidationSees looks at what the function is called with.
func TestValidationSees(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_security", `{"members":{},"x":1}`)
	ts.do("PUT", "/db/_design/v", design(`function(newDoc, oldDoc, userCtx, secObj) { if (newDoc.show) throw({forbidden: JSON.stringify([newDoc, oldDoc, userCtx, secObj])}); }`))
	rest := `,{\"db\":\"db\",\"name\":\"admin\",\"roles\":[\"_admin\"]},{\"members\":{},\"x\":1}]"}` + "\n"
	var stored struct{ Rev string }
	decode(t, ts.do("PUT", "/db/doc", `{"n":1}`), &stored)
	first := stored.Rev
	decode(t, ts.do("DELETE", "/db/doc?rev="+first, ""), &stored)
	for _, c := range []struct{ name, path, body, want string }{
		{"a new document", "/db/new", `{"show":1}`, `[{\"_id\":\"new\",\"show\":1},null`},
		{"one made anew", "/db/doc", `{"show":1}`, `[{\"_id\":\"doc\",\"show\":1},null`},
	} {
		if _, body := ts.as("admin:secret", "PUT", c.path, c.body); body != `{"error":"forbidden","reason":"`+c.want+rest {
			t.Errorf("%s: %s, want %s", c.name, body, c.want+rest)
		}
	}
	decode(t, ts.do("PUT", "/db/old", `{"n":1}`), &stored)
	_, hash, _ := strings.Cut(stored.Rev, "-")
	history := `\"_revisions\":{\"start\":1,\"ids\":[\"` + hash + `\"]}`
	want := `[{\"_id\":\"old\",\"_rev\":\"` + stored.Rev + `\",\"show\":1,` + history + `},{\"_id\":\"old\",\"_rev\":\"` + stored.Rev + `\",\"n\":1,` + history + `}`
	if _, body := ts.as("admin:secret", "PUT", "/db/old?rev="+stored.Rev, `{"show":1}`); body != `{"error":"forbidden","reason":"`+want+rest {
		t.Errorf("an update: %s, want %s", body, want+rest)
	}
}

// TestValidatorsAreFresh: the functions of a database do not stay with its name, and a new one counts for the next write.
func TestValidatorsAreFresh(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	never := design(`function() { throw({forbidden: "never"}); }`)
	for range 3 {
		ts.do("PUT", "/db", "")
		ts.do("PUT", "/db/a", "{}")
		ts.do("PUT", "/db/_design/v", never)
		if status, body := ts.as("admin:secret", "PUT", "/db/b", "{}"); status != 403 {
			t.Errorf("%d %s, want 403", status, body)
		}
		ts.do("DELETE", "/db", "")
	}
}

// TestPurgedValidator: a purge leaves no change behind, but the functions that it took count no longer.
func TestPurgedValidator(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	var stored struct{ Rev string }
	decode(t, ts.do("PUT", "/db/_design/v", design(`function() { throw({forbidden: "no"}); }`)), &stored)
	if status, body := ts.as("admin:secret", "PUT", "/db/a", "{}"); status != 403 {
		t.Errorf("%d %s, want 403", status, body)
	}
	ts.do("POST", "/db/_purge", `{"_design/v":["`+stored.Rev+`"]}`)
	ts.do("PUT", "/db/a", "{}")
}

func TestValidatorSelectorLetsPass(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_design/v", `{"language":"query","validate_doc_update":{"newDoc":{"ok":true},"oldDoc":null}}`)
	var stored struct{ Rev string }
	decode(t, ts.do("PUT", "/db/a", `{"ok":true}`), &stored)
	if status, body := ts.as("admin:secret", "PUT", "/db/a?rev="+stored.Rev, `{"ok":true}`); status != 403 {
		t.Errorf("%d %s, want 403: there is an old document", status, body)
	}
}
