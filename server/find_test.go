package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestFindRefusals(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for body, want := range map[string]string{
		`{}`:                                     `{"error":"missing_required_key","reason":"Missing required key: selector"}`,
		`[]`:                                     `{"error":"bad_request","reason":"Request body must be a JSON object"}`,
		`x`:                                      `{"error":"bad_request","reason":"invalid UTF-8 JSON"}`,
		`{"selector":{"$x":1}}`:                  `{"error":"invalid_operator","reason":"Invalid operator: $x"}`,
		`{"selector":{},"limit":-1}`:             `{"error":"invalid_non_neg_integer","reason":"-1 is not an integer greater than or equal to zero"}`,
		`{"selector":{},"x":1}`:                  `{"error":"invalid_key","reason":"Invalid key x for this request."}`,
		`{"selector":{},"sort":["a"]}`:           `{"error":"no_usable_index","reason":"No index exists for this sort, try indexing by the sort fields."}`,
		`{"selector":{},"sort":["_id","a"]}`:     `{"error":"no_usable_index","reason":"No index exists for this sort, try indexing by the sort fields."}`,
		`{"selector":{},"bookmark":"x"}`:         `{"error":"invalid_bookmark","reason":"Invalid bookmark value: \"x\""}`,
		`{"selector":{},"bookmark":"eHg"}`:       `{"error":"invalid_bookmark","reason":"Invalid bookmark value: \"eHg\""}`,
		`{"selector":{},"allow_fallback":false}`: `{"error":"invalid_index","reason":"You must specify an index with the ` + "`use_index`" + ` parameter."}`,
	} {
		if status, got := ts.as("admin:secret", "POST", "/db/_find", body); status != 400 || got != want+"\n" {
			t.Errorf("%s: %d %s, want 400 %s", body, status, got, want)
		}
	}
	if status, _ := ts.as("admin:secret", "POST", "/db/_find", `{"selector":{}}`, "Content-Type", "text/plain"); status != 415 {
		t.Errorf("text/plain: %d, want 415", status)
	}
}

func TestFindPages(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	var docs, odd []string
	for i := range 500 {
		id := fmt.Sprintf("d%04d", i)
		docs = append(docs, fmt.Sprintf(`{"_id":%q,"odd":%v}`, id, i%2 == 1))
		if i%2 == 1 {
			odd = append(odd, id)
		}
	}
	ts.bulk("db", strings.Join(docs, ","))
	ts.do("PUT", "/db/_design/d", `{"odd":true}`)
	for _, order := range []string{"asc", "desc"} {
		var found []string
		for mark := "nil"; ; {
			var page struct {
				Docs []struct {
					ID string `json:"_id"`
				}
				Bookmark string
				Warning  string
			}
			decode(t, ts.do("POST", "/db/_find", `{"selector":{"odd":true},"fields":["_id"],"limit":70,"sort":[{"_id":"`+order+`"}],"bookmark":"`+mark+`"}`), &page)
			if !strings.HasPrefix(page.Warning, "No matching index found") {
				t.Errorf("warning %q", page.Warning)
			}
			if len(page.Docs) == 0 {
				break
			}
			mark = page.Bookmark
			for _, doc := range page.Docs {
				found = append(found, doc.ID)
			}
		}
		if order == "desc" {
			slices.Reverse(found)
		}
		if !slices.Equal(found, odd) {
			t.Errorf("%s: %d documents, want %d", order, len(found), len(odd))
		}
	}
	if got, want := ts.do("POST", "/db/_find", `{"selector":{"$or":[ ]}}`), "{\"docs\":[\r\n]}\n"; got != want {
		t.Errorf("$or of nothing: %q, want %q", got, want)
	}
	if got := ts.do("POST", "/db/_find", `{"selector":{"_id":"d0499"},"execution_stats":true}`); !strings.Contains(got, `"total_docs_examined":500,`) || !strings.Contains(got, `"results_returned":1,`) || !strings.Contains(got, "in proportion") {
		t.Errorf("statistics: %s", got)
	}
}

// FuzzBookmark asserts that a bookmark gives back the id that it was made from, and that nothing else passes for one.
func FuzzBookmark(f *testing.F) {
	for _, s := range []string{"", "a", "id:", "aWQ6", "nil", "é\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := parseBookmark(bookmark(s)); !ok || id != s {
			t.Errorf("%q came back as %q", s, id)
		}
		if id, ok := parseBookmark(s); ok && bookmark(id) != s {
			t.Errorf("%q passes for the bookmark of %q", s, id)
		}
	})
}
