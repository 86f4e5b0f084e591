package server

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/rev"
)

// mustCheck returns a text that is JSON as parseDoc gets it.
func mustCheck(t *testing.T, text string) jsontext.Value {
	t.Helper()
	value, err := checkJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

func TestParseDocRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`[]`:                                    "bad_request: Document must be a JSON object",
		`"x"`:                                   "bad_request: Document must be a JSON object",
		`{"_id":1}`:                             "illegal_docid: Document id must be a string",
		`{"_id":""}`:                            "illegal_docid: Document id must not be empty",
		`{"_id":"_x"}`:                          "illegal_docid: Only reserved document ids may start with underscore.",
		`{"_id":"_design/"}`:                    "illegal_docid: Illegal document id `_design/`",
		`{"_id":"_local/"}`:                     "illegal_docid: Illegal document id `_local/`",
		`{"_rev":1}`:                            "bad_request: Invalid rev format",
		`{"_rev":"x"}`:                          "Invalid rev format",
		`{"_deleted":"true"}`:                   "doc_validation: Bad special document member: _deleted",
		`{"_deleted":null}`:                     "doc_validation: Bad special document member: _deleted",
		`{"_x":1}`:                              "doc_validation: Bad special document member: _x",
		`{"\u005fx":1}`:                         "doc_validation: Bad special document member: _x",
		`{"_":1}`:                               "doc_validation: Bad special document member: _",
		`{"_revisions":1}`:                      "doc_validation: Bad special document member: _revisions",
		`{"_attachments":[]}`:                   "doc_validation: Bad special document member: _attachments",
		`{"_revisions":{}}`:                     "doc_validation: _revisions.start isn't an integer.",
		`{"_local_seqs":1}`:                     "doc_validation: Bad special document member: _local_seqs",
		`{"_replication_x":1}`:                  "doc_validation: Bad special document member: _replication_x",
		`{"_revisions":{"start":1.5,"ids":[]}}`: "doc_validation: _revisions.start isn't an integer.",
		`{"_revisions":{"start":-1,"ids":[]}}`:  "doc_validation: _revisions.start isn't an integer.",
		`{"_revisions":{"start":99999999999999999999,"ids":[]}}`:                "doc_validation: _revisions.start isn't an integer.",
		`{"_revisions":{"start":1}}`:                                            "doc_validation: _revisions.ids isn't a array.",
		`{"_revisions":{"start":1,"ids":[1]}}`:                                  "doc_validation: RevId isn't a string",
		`{"_revisions":{"start":1,"ids":["a","b"]}}`:                            "doc_validation: _revisions.start is lower than the number of _revisions.ids.",
		`{"_revisions":{"start":1,"ids":[""]}}`:                                 "Invalid rev format",
		`{"_attachments":{"_a":{"data":""}}}`:                                   "bad_request: Attachment name '_a' starts with prohibited character '_'",
		`{"_attachments":{"a":{}}}`:                                             "bad_request: Invalid attachment data for a",
		`{"_attachments":{"a":{"data":1}}}`:                                     "bad_request: Invalid attachment data for a",
		`{"_attachments":{"a":{"data":"","content_type":1}}}`:                   "bad_request: Invalid content_type of attachment a",
		`{"_attachments":{"a":{"data":"","encoding":"br"}}}`:                    "bad_request: Invalid encoding of attachment a",
		`{"_attachments":{"a":{"follows":true,"length":-1}}}`:                   "bad_request: Invalid length of attachment a",
		`{"_attachments":{"a":{"follows":true,"length":"3"}}}`:                  "bad_request: Invalid length of attachment a",
		`{"_attachments":{"a":{"follows":true,"digest":"md5-x"}}}`:              "bad_request: Invalid digest of attachment a",
		`{"_attachments":{"a":{"follows":true,"digest":1}}}`:                    "bad_request: Invalid digest of attachment a",
		`{"_attachments":{"a":{"stub":true,"revpos":-1}}}`:                      "bad_request: Invalid revpos of attachment a",
		`{"_attachments":{"a":{"stub":true,"revpos":4503599627370496}}}`:        "bad_request: Invalid revpos of attachment a",
		`{"_attachments":{"a":{"follows":true,"encoded_length":1e3}}}`:          "bad_request: Invalid encoded_length of attachment a",
		`{"_id":"ok","_id":"_x"}`:                                               "illegal_docid: Only reserved document ids may start with underscore.",
		`{"_rev":"1-a","a":{"_x":1},"_rev":"1"}`:                                "Invalid rev format",
		`{"_revisions":{"start":1,"ids":["` + strings.Repeat("a", 256) + `"]}}`: "Invalid rev format",
	} {
		doc, err := parseDoc(mustCheck(t, text))
		if err == nil {
			t.Errorf("%s is taken: %+v", text, doc)
		} else if err.Error() != want {
			t.Errorf("%s: %q, want %q", text, err, want)
		}
	}
}

func TestCheckJSONRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "{", "}", `{"a":1}}`, `{"a":1,}`, `{'a':1}`, `{"a":01}`, `{"a":+1}`, `{"a":NaN}`, `[1 2]`, `{"a"}`, `tru`, "1e", `"\ud800"`, `"\udc00"`,
		"\"\xff\"", "\"\xed\xa0\x80\"", "\"\t\"", "\xef\xbb\xbf{}", `1e400`, `{"a":[-1E400]}`, `{"e1":1e999}`,
	} {
		if value, err := checkJSON([]byte(text)); !errors.Is(err, errBadJSON) {
			t.Errorf("%q: %q, %v", text, value, err)
		}
	}
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	if _, err := checkJSON([]byte(deep)); err == nil || errors.Is(err, errBadJSON) {
		t.Errorf("nested too deeply: %v", err)
	}
	if _, err := checkJSON([]byte(deep[1 : len(deep)-1])); err != nil {
		t.Errorf("nested as deeply as may be: %v", err)
	}
	for _, text := range []string{`1.7976931348623157e308`, `"1e400"`, `{"1e400":"e1e999\"e9"}`, `1e-400`, `123456789012345678901234567890`, `[true,false,"2e999"]`} {
		if _, err := checkJSON([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseDoc(t *testing.T) {
	t.Parallel()
	for text, body := range map[string]string{
		`{}`:                                    `{}`,
		"{ \n}":                                 `{}`,
		`{"b":1,"a":2}`:                         `{"b":1,"a":2}`,
		`{ "a" : [ 1 , 2 ] }`:                   `{ "a" : [ 1 , 2 ] }`,
		`{"_id":"x" , "b" : 1.0, "a":"\"}"}`:    `{"b" : 1.0,"a":"\"}"}`,
		`{"a":1,"b":2,"a":3}`:                   `{"b":2,"a":3}`,
		`{"a":1,"\u0061":3}`:                    `{"\u0061":3}`,
		`{"a\\":1,"a\\\"":{"]":"["},"_id":"x"}`: `{"a\\":1,"a\\\"":{"]":"["}}`,
		`{"_access":[1],"_revs_info":[],"_conflicts":1,"_deleted_conflicts":1,"_local_seq":1,"_replication_id":"r","z":0}`: `{"_access":[1],"_replication_id":"r","z":0}`,
		`{"_deleted":false,"big":123456789012345678901234567890}`:                                                          `{"big":123456789012345678901234567890}`,
	} {
		doc, err := parseDoc(mustCheck(t, text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if string(doc.Body) != body {
			t.Errorf("%s: body %s, want %s", text, doc.Body, body)
		}
	}
}

func TestParseDocSpecials(t *testing.T) {
	t.Parallel()
	doc, err := parseDoc(mustCheck(t, `{"_id":"a","_id":"b\/c","_rev":"3-x","_deleted":true,"_revisions":{"ids":["x","y"],"start":3},
		"_attachments":{"f":{"data":"AAEC"},"s":{"stub":true,"data":"!","revpos":2},"no":"object","m":{"follows":true,"length":7,"encoding":"gzip","encoded_length":5,
		"digest":"md5-uV9n9h67A2GWIteY9F/C0w==","content_type":"a/b"},"f":{"data":"AA==","content_type":"c/d"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if !doc.HasID || doc.ID != "b/c" || !doc.Deleted || doc.Rev != (rev.ID{Gen: 3, Hash: "x"}) {
		t.Errorf("%+v", doc)
	}
	if len(doc.Revisions) != 2 || doc.Revisions[1] != (rev.ID{Gen: 2, Hash: "y"}) {
		t.Errorf("revisions %v", doc.Revisions)
	}
	if len(doc.Attachments) != 3 {
		t.Fatalf("attachments %+v", doc.Attachments)
	}
	stub, follows, inline := doc.Attachments[0], doc.Attachments[1], doc.Attachments[2]
	if stub.Name != "s" || !stub.Stub || stub.Data != nil || stub.RevPos != 2 {
		t.Errorf("stub %+v", stub)
	}
	if follows.Name != "m" || !follows.Follows || follows.Length != 7 || follows.Stored != 5 || follows.Encoding != "gzip" || follows.Type != "a/b" || follows.Digest[0] != 0xb9 {
		t.Errorf("follows %+v", follows)
	}
	if inline.Name != "f" || string(inline.Data) != `"AA=="` || inline.Type != "c/d" || inline.Length != -1 {
		t.Errorf("inline %+v", inline)
	}
}

// Many members are told apart by a table instead of each with each; both must drop the same ones.
func TestManyDuplicates(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{`)
	for i := range 5 * fewMembers {
		b.WriteString(`"k` + string(rune('a'+i%3)) + `":` + string(rune('0'+i%10)) + `,`)
	}
	b.WriteString(`"_id":"x"}`)
	doc, err := parseDoc(mustCheck(t, b.String()))
	if err != nil || string(doc.Body) != `{"ka":7,"kb":8,"kc":9}` {
		t.Errorf("%s, %v", doc.Body, err)
	}
}

// The law: parseDoc panics for nothing that checkJSON passes; the body is JSON that has the document's members, each byte for byte, and
// nothing changes when it is parsed again.
func FuzzParseDoc(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1}`, `{"_id":"x","_rev":"1-a","b":[{"c":"}"}],"b":2}`, `{ "a\\" : "\"" , "_deleted":true }`, `[]`, `{"_attachments":{"a":{"data":"AA=="}}}`,
		`{"_revisions":{"start":2,"ids":["a","b"]}}`, `{"\u005fid":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		value, err := checkJSON(data)
		if err != nil {
			return
		}
		doc, err := parseDoc(value)
		if err != nil {
			return
		}
		var want [][]byte
		last := map[string]int{}
		err = members(value, func(name string, v jsontext.Value) error {
			if i, ok := last[name]; ok {
				want[i] = nil
			}
			last[name] = len(want)
			if strings.HasPrefix(name, "_") && name != "_access" && !strings.HasPrefix(name, "_replication_") {
				v = nil
			}
			want = append(want, v)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		body, err := checkJSON(doc.Body)
		if err != nil {
			t.Fatalf("the body %s is no JSON", doc.Body)
		}
		for _, m := range cutMembers(nil, body) {
			for len(want) > 0 && want[0] == nil {
				want = want[1:]
			}
			if len(want) == 0 || !bytes.Equal(want[0], m.value) {
				t.Fatalf("%s: member %s of %s", data, m.name, doc.Body)
			}
			want = want[1:]
		}
		for _, v := range want {
			if v != nil {
				t.Fatalf("%s: %s is lost from %s", data, v, doc.Body)
			}
		}
		again, err := parseDoc(body)
		if err != nil || !bytes.Equal(again.Body, doc.Body) {
			t.Fatalf("%s, parsed again: %s, %v", doc.Body, again.Body, err)
		}
	})
}

func BenchmarkParseDoc(b *testing.B) {
	text := []byte(`{"_id":"d0000000001","_rev":"1-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","type":"note","n":12,"tags":["a","b"],"text":"` + strings.Repeat("x", 200) + `"}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseDoc(text); err != nil {
			b.Fatal(err)
		}
	}
}
