package mango

import "testing"

func TestRefusedValidators(t *testing.T) {
	t.Parallel()
	const onlyDocs = "'validate_doc_update' may only contain 'newDoc' and 'oldDoc' as top-level fields"
	for _, c := range []struct{ source, name, reason string }{
		{`"function() {}"`, "invalid_selector_json", `Selector must be a JSON object, not: "function() {}"`},
		{`{"newDoc":{"a":{"$x":1}}}`, "invalid_operator", "Invalid operator: $x"},
		{`{"userCtx":{"name":"ann"}}`, "compilation_error", onlyDocs},
		{`{"$or":[{"newDoc.a":1},{"a":1}]}`, "compilation_error", onlyDocs},
	} {
		_, err := ParseValidator([]byte(c.source))
		wantRefusal(t, err, c.name, c.reason)
	}
}

func TestValidator(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, newDoc, oldDoc string }{
		{`{"newDoc":{"type":{"$type":"string"}}}`, `{}`, ``},
		{`{"newDoc":{"type":{"$type":"string"}}}`, `{"type":1}`, `{"type":"x"}`},
		{`{"$or":[{"oldDoc":null},{"oldDoc.locked":{"$exists":false}}]}`, `{}`, `{"locked":true}`},
		{`{"newDoc":{"_deleted":{"$exists":false}}}`, `{"_deleted":true}`, `{}`},
		{`{"$and":[]}`, `{}`, `{}`},
		{`{"newDoc":{"a":{"$not":{"$regex":"^(?=a)(a+)+$"}}}}`, `{"a":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}`, ``},
	} {
		v, err := ParseValidator([]byte(c.source))
		if err != nil {
			t.Fatalf("%s: %v", c.source, err)
		}
		wantRefusal(t, v.Validate([]byte(c.newDoc), []byte(c.oldDoc)), "forbidden", "document is not valid")
	}
	for _, c := range []struct{ source, newDoc, oldDoc string }{
		{`{}`, `{}`, ``},
		{`{"newDoc":{"type":{"$type":"string"}}}`, `{"type":"x"}`, ``},
		{`{"oldDoc":null}`, `{}`, ``},
		{`{"oldDoc":null}`, `{}`, `null`},
		{`{"$or":[{"oldDoc":null},{"oldDoc.locked":{"$exists":false}}]}`, `{"locked":true}`, `{}`},
	} {
		v, err := ParseValidator([]byte(c.source))
		if err != nil {
			t.Fatalf("%s: %v", c.source, err)
		}
		if err := v.Validate([]byte(c.newDoc), []byte(c.oldDoc)); err != nil {
			t.Errorf("%s over %s: %v", c.source, c.newDoc, err)
		}
	}
}
