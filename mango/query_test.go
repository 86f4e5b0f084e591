package mango

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestRefusedQueries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, name, reason string }{
		{``, "bad_request", "invalid UTF-8 JSON"},
		{`x`, "bad_request", "invalid UTF-8 JSON"},
		{`1`, "bad_request", "Request body must be a JSON object"},
		{`{"x":1}`, "missing_required_key", "Missing required key: selector"},
		{`{"selector":{},"limit":"1"}`, "invalid_non_neg_integer", `"1" is not an integer greater than or equal to zero`},
		{`{"selector":{},"limit":1.5}`, "invalid_non_neg_integer", `1.5 is not an integer greater than or equal to zero`},
		{`{"selector":{},"skip":-1}`, "invalid_non_neg_integer", `-1 is not an integer greater than or equal to zero`},
		{`{"selector":{},"r":0}`, "invalid_pos_integer", `0 is not an integer greater than zero`},
		{`{"selector":{},"conflicts":1}`, "invalid_boolean", "Invalid boolean value: 1"},
		{`{"selector":{},"update":"true"}`, "invalid_boolean", `Invalid boolean value: "true"`},
		{`{"selector":{},"stable":null}`, "invalid_boolean", "Invalid boolean value: null"},
		{`{"selector":{},"execution_stats":0}`, "invalid_boolean", "Invalid boolean value: 0"},
		{`{"selector":{},"allow_fallback":0}`, "invalid_boolean", "Invalid boolean value: 0"},
		{`{"selector":{},"stale":"yes"}`, "invalid_ok_or_false_value", `Invalid value for stale: "yes"`},
		{`{"selector":{},"bookmark":1}`, "invalid_bookmark", "Invalid bookmark value: 1"},
		{`{"selector":{},"use_index":{}}`, "invalid_index_name", "Invalid index name: {}"},
		{`{"selector":{},"use_index":["a","b","c"]}`, "invalid_index_name", `Invalid index name: ["a","b","c"]`},
		{`{"selector":{},"use_index":[1]}`, "invalid_index_name", `Invalid index name: [1]`},
		{`{"selector":{},"fields":"a"}`, "invalid_fields", `Fields must be an array of strings, not: "a"`},
		{`{"selector":{},"fields":[1]}`, "invalid_field", `Invalid JSON for field spec: 1`},
		{`{"selector":{},"fields":["a..b"]}`, "invalid_field_name", `Invalid field name: a..b`},
		{`{"selector":{},"sort":"a"}`, "invalid_sort_json", `Sort must be an array of sort specs, not: "a"`},
		{`{"selector":{},"sort":[""]}`, "invalid_sort_field", `Invalid sort field: ""`},
		{`{"selector":{},"sort":[1]}`, "invalid_sort_field", `Invalid sort field: 1`},
		{`{"selector":{},"sort":[{"a":"up"}]}`, "invalid_sort_field", `Invalid sort field: {"a":"up"}`},
		{`{"selector":{},"sort":[{"a":"asc","b":"asc"}]}`, "invalid_sort_field", `Invalid sort field: {"a":"asc","b":"asc"}`},
		{`{"selector":{},"sort":["a",{"b":"desc"}]}`, "unsupported_mixed_sort", "Sorts currently only support a single direction for all fields."},
		{`{"selector":{},"partition":"x"}`, "bad_request", "`partition` parameter is not supported in this database."},
	} {
		_, err := ParseQuery([]byte(c.body))
		wantRefusal(t, err, c.name, c.reason)
	}
	var refusal *SelectorError
	if _, err := ParseQuery([]byte(`{"selector":{},"bookmark":"` + strings.Repeat("x", maxSelectorSize) + `"}`)); !errors.As(err, &refusal) {
		t.Errorf("a body that is too large: %v", err)
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	q, err := ParseQuery([]byte(`{"selector":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if q.Limit != 25 || q.Skip != 0 || q.R != 1 || !q.Update || !q.AllowFallback || q.Stable || q.Conflicts || q.ExecutionStats || q.Stale ||
		q.Bookmark != "" || len(q.UseIndex)+len(q.Fields)+len(q.Sort.Fields) != 0 || string(q.Source) != `{"a":1}` {
		t.Errorf("defaults: %+v", q)
	}
	q, err = ParseQuery([]byte(`{"selector":{},"limit":0,"skip":2,"r":3,"update":false,"allow_fallback":false,"stable":true,"conflicts":true,
		"execution_stats":true,"stale":"ok","bookmark":"bm","use_index":"_design/d/i","fields":["a.b"],"sort":[{"a":"desc"},{"b":"desc"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if q.Limit != 0 || q.Skip != 2 || q.R != 3 || q.Update || q.AllowFallback || !q.Stable || !q.Conflicts || !q.ExecutionStats || !q.Stale ||
		q.Bookmark != "bm" || !slices.Equal(q.UseIndex, []string{"d", "i"}) || !slices.Equal(q.Fields, []string{"a.b"}) ||
		!slices.Equal(q.Sort.Fields, []string{"a", "b"}) || !q.Sort.Descending {
		t.Errorf("all members: %+v", q)
	}
}

func TestSort(t *testing.T) {
	t.Parallel()
	docs := [][]byte{[]byte(`{"a":2,"b":"x"}`), []byte(`{"b":"x"}`), []byte(`{"a":1,"b":"y"}`), []byte(`{"a":1,"b":"X"}`)}
	for spec, want := range map[string][]int{
		`["a","b"]`: {1, 3, 2, 0}, `[{"a":"desc"},{"b":"desc"}]`: {0, 2, 3, 1}, `[]`: {0, 1, 2, 3}, `["b"]`: {0, 1, 3, 2},
	} {
		s, err := ParseSort([]byte(spec))
		if err != nil {
			t.Fatal(err)
		}
		order := []int{0, 1, 2, 3}
		slices.SortStableFunc(order, func(i, j int) int { return s.Compare(docs[i], docs[j]) })
		if !slices.Equal(order, want) {
			t.Errorf("%s: %v, want %v", spec, order, want)
		}
	}
	s, err := ParseSort([]byte(`["a","b"]`))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Covers(docs[0]) || s.Covers(docs[1]) {
		t.Error("Covers does not tell which documents have all fields")
	}
}

func TestProject(t *testing.T) {
	t.Parallel()
	const doc = `{"_id":"x","a":{"b":1,"c":[1.50,{"d":"e"}],"f":null},"g.h":"i","big":12345678901234567890}`
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{nil, doc},
		{[]string{"big", "_id"}, `{"big":12345678901234567890,"_id":"x"}`},
		{[]string{"none", "a.none", "_id.x", "a.c.7"}, `{}`},
		{[]string{"a.f", "a.b"}, `{"a":{"f":null,"b":1}}`},
		{[]string{"a.c.1.d", "a.c.0"}, `{"a":{"c":{"1":{"d":"e"},"0":1.50}}}`},
		{[]string{"a.b", "a"}, `{"a":{"b":1,"c":[1.50,{"d":"e"}],"f":null}}`},
		{[]string{"a", "a.b", "a"}, `{"a":{"b":1,"c":[1.50,{"d":"e"}],"f":null}}`},
		{[]string{`g\.h`, "g.h"}, `{"g.h":"i"}`},
	} {
		fields, err := ParseFields(c.fields)
		if got := fields.Apply([]byte(doc)); err != nil || string(got) != c.want {
			t.Errorf("%q: %s, %v, want %s", c.fields, got, err, c.want)
		}
	}
	_, err := ParseFields([]string{""})
	wantRefusal(t, err, "invalid_field_name", "Invalid field name: ")
}

func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(`{"selector":{"a":{"$gt":1}},"fields":["a.b","c"],"sort":["a"],"limit":1,"use_index":["d","i"]}`), []byte(`{"a":{"b":2},"c":[1]}`))
	f.Fuzz(func(t *testing.T, body, doc []byte) {
		q, err := ParseQuery(body)
		if err != nil || !validJSON(trim(doc)) || kindOf(trim(doc)) != kindObject {
			return
		}
		// What is projected is JSON, and projecting it again changes nothing, unless a step into an array has made members of elements.
		once := q.Projection.Apply(doc)
		if !validJSON(once) {
			t.Fatalf("%s of %s is %s", q.Fields, doc, once)
		}
		if twice := q.Projection.Apply(once); !validJSON(twice) || len(q.Fields) > 0 && string(twice) != string(once) {
			t.Fatalf("%s of %s is %s, and then %s", q.Fields, doc, once, twice)
		}
		if q.Sort.Compare(doc, doc) != 0 {
			t.Fatalf("%s is not equal to itself by %s", doc, q.Sort.Fields)
		}
	})
}
