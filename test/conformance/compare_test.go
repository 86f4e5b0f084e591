package conformance

import (
	"encoding/json"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var fills = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`<rev (\d+)>`), "$1-0123456789abcdef0123456789abcdef"},
	{regexp.MustCompile(`<id>`), "0123456789abcdef0123456789abcdef"},
	{regexp.MustCompile(`<hex>`), "0af"},
	{regexp.MustCompile(`<any>`), "anything\nat all"},
	{regexp.MustCompile(`<port>`), "5984"},
	{regexp.MustCompile(`<pbkdf2 (\w+) (\d+)>`), "-pbkdf2:$1-0af,0af,$2"},
}

func fill(s string) string {
	for _, f := range fills {
		s = f.re.ReplaceAllString(s, f.with)
	}
	return s
}

// asAnswered turns a recorded value into one that a server may have sent.
func asAnswered(v any) any {
	switch v := v.(type) {
	case string:
		return fill(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = asAnswered(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any)
		for k := range v {
			out[k] = asAnswered(v[k])
		}
		return out
	}
	return v
}

// spoilt returns copies of v with one leaf each changed, except leaves that may be anything.
func spoilt(v any) []any {
	if v == "<any>" {
		return nil
	}
	var out []any
	switch v := v.(type) {
	case string:
		if !strings.Contains(v, "<any>") && !strings.Contains(v, "<hex>") {
			out = append(out, asAnswered(v).(string)+"x")
		}
		out = append(out, json.Number("7"), nil)
	case json.Number:
		out = append(out, json.Number("987654321"), v.String(), true)
	case bool:
		out = append(out, !v, json.Number("1"), json.Number("0"))
	case nil:
		out = append(out, "null", false)
	case []any:
		out = append(out, append(asAnswered(v).([]any), "one more"))
		for i := range v {
			for _, s := range spoilt(v[i]) {
				c := asAnswered(v).([]any)
				c[i] = s
				out = append(out, c)
			}
		}
	case map[string]any:
		more := asAnswered(v).(map[string]any)
		more["one more"] = true
		out = append(out, more)
		for k := range v {
			less := asAnswered(v).(map[string]any)
			delete(less, k)
			out = append(out, less)
			for _, s := range spoilt(v[k]) {
				c := asAnswered(v).(map[string]any)
				c[k] = s
				out = append(out, c)
			}
		}
	}
	return out
}

// TestRecordingsCompare is the law of the comparison, over all recordings: an answer as recorded is the same, and one
// that is spoilt in any place is not.
func TestRecordingsCompare(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(recordings, "*", "*.jsonl"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			t.Parallel()
			steps, err := Load(f)
			if err != nil {
				t.Fatal(err)
			}
			for i := range steps {
				compareWithItself(t, &steps[i])
			}
		})
	}
}

func compareWithItself(t *testing.T, s *Step) {
	t.Helper()
	if s.Response.Any4xx {
		for status, ok := range map[int]bool{399: false, 400: true, 499: true, 500: false, 200: false} {
			a := Answer{Status: status, Body: map[string]any{"error": "bad_request", "reason": "It is not a number."}}
			if why := differences(s.Response, a, nil); (len(why) == 0) != ok {
				t.Errorf("%s: status %d for a 4xx: %v", s.Title, status, why)
			}
		}
		if len(differences(s.Response, Answer{Status: 400}, nil)) == 0 {
			t.Errorf("%s: a 4xx without a reason is not seen", s.Title)
		}
		return
	}
	headers := make(map[string]string)
	for k, v := range s.Response.Headers {
		headers[k] = fill(v)
	}
	good := Answer{Status: s.Response.Status, Headers: headers, Body: asAnswered(s.Response.Body)}
	if why := differences(s.Response, good, s.Unordered); len(why) > 0 {
		t.Errorf("%s: differs from itself: %v", s.Title, why)
	}
	bad := good
	bad.Status++
	if len(differences(s.Response, bad, s.Unordered)) == 0 {
		t.Errorf("%s: another status is not seen", s.Title)
	}
	for k, v := range s.Response.Headers {
		if v == "<any>" {
			continue
		}
		bad = good
		bad.Headers = maps.Clone(headers)
		delete(bad.Headers, k)
		if len(differences(s.Response, bad, s.Unordered)) == 0 {
			t.Errorf("%s: a missing header %s is not seen", s.Title, k)
		}
	}
	for _, b := range spoilt(s.Response.Body) {
		bad = good
		bad.Body = b
		if len(differences(s.Response, bad, s.Unordered)) == 0 {
			t.Errorf("%s: not seen: %s for %s", s.Title, show(b), show(s.Response.Body))
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got string
		unordered []string
		same      bool
	}{
		{`[1,2]`, `[2,1]`, nil, false},
		{`[1,2]`, `[2,1]`, []string{""}, true},
		{`[1,1,2]`, `[1,2,2]`, []string{""}, false},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, []string{"a"}, true},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, []string{""}, false},
		{`{"a":[[1,2]]}`, `{"a":[[2,1]]}`, []string{"a"}, false},
		{`1`, `1.0`, nil, true},
		{`9007199254740993`, `9007199254740992`, nil, false},
		{`0.1`, `0.10000000000000001`, nil, true},
		{`1e400`, `1e500`, nil, true}, // both are no double; the recorder could not tell them apart
		{`"1-<id>"`, `"1-<id>"`, nil, true},
		{`"<rev 2>"`, `"1-0123456789abcdef0123456789abcdef"`, nil, false},
		{`"<rev 1>"`, `"1-0123456789abcdef0123456789abcdef "`, nil, false},
		{`"a.b<any>"`, `"axb"`, nil, false},
		{`null`, `false`, nil, false},
		{`true`, `1`, nil, false},
	} {
		want, ok1 := parseJSON([]byte(c.want))
		got, ok2 := parseJSON([]byte(c.got))
		if !ok1 || !ok2 {
			t.Fatalf("%s or %s is not JSON", c.want, c.got)
		}
		if same := (comparison{unordered: c.unordered}).same(want, got, ""); same != c.same {
			t.Errorf("%s and %s with %q: %t", c.want, c.got, c.unordered, same)
		}
	}
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, ctype, body, want string }{
		{"json", "application/json", `{"a":1}` + "\n", `{"a":1}`},
		{"nothing", "application/json", "", `null`},
		{"a heartbeat", "application/json", "\n\n", `"<blank lines>"`},
		{"lines", "application/json", "\n{\"a\":1}\n\n{\"b\":2}\n", `{"<lines>":[{"a":1},{"b":2}]}`},
		{"text", "text/plain", "hello\nyou\n", `{"<text>":"hello\nyou"}`},
		{"bytes", "application/octet-stream", "\xff\x00", `{"<base64>":"/wA="}`},
		{"events", "text/event-stream", "event: heartbeat\ndata: \n\ndata: {\"a\":1}\nid: 3-x\n\n", `{"<events>":[{"data":{"a":1},"seq":{"<text>":"3-x"}}]}`},
		{"multipart", `multipart/related; boundary="b"`,
			"--b\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\r\n--b\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz\r\n--b--",
			`{"<parts>":[{"body":{"a":1},"headers":{"content-type":"application/json"}},{"body":{"<text>":"<any>"},"headers":{"content-encoding":"gzip"}}]}`},
		{"a multipart in one", `multipart/mixed; boundary="o"`,
			"--o\r\nContent-Type: multipart/related; boundary=\"i\"\r\n\r\n--i\r\n\r\n1\r\n--i--\r\n--o--",
			`{"<parts>":[{"body":{"<parts>":[{"body":1,"headers":{}}]},"headers":{"content-type":"multipart/related"}}]}`},
	} {
		if got := show(normaliseBody([]byte(c.body), c.ctype)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	exact := normalise(200, nil, []byte("{\"b\":1.10, \"a\":2}\n"), true).Body
	if got := show(exact); got != `{"<text>":"{\"b\":1.10, \"a\":2}"}` {
		t.Errorf("exact: %s", got)
	}
}

func TestNormaliseHeaders(t *testing.T) {
	t.Parallel()
	got := normaliseHeaders(http.Header{
		"Set-Cookie":                   {"AuthSession=abc; Version=1; Expires=Sat, 21 Nov 2026 00:00:00 GMT; Path=/"},
		"Content-Type":                 {"text/plain; charset=utf-8"},
		"Allow":                        {"PUT, GET,DELETE"},
		"Location":                     {"http://127.0.0.1:5984/db/id"},
		"Access-Control-Allow-Headers": {"B, a"},
		"X-Request-Id":                 {"1"},
	})
	want := map[string]string{
		"set-cookie":                   "AuthSession=<cookie>; Version=1; Expires=<date>; Path=/",
		"content-type":                 "text/plain",
		"allow":                        "DELETE,GET,PUT",
		"location":                     "/db/id",
		"access-control-allow-headers": "a, b",
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTemplates covers what needs no server.
func TestTemplates(t *testing.T) {
	t.Parallel()
	c := &Client{Addr: "127.0.0.1:5984", Now: time.Now}
	c.save(map[string]string{"second": "results.1.seq", "tag": "header etag", "object": "o", "missing": "results.9.seq"}, reply{
		header: http.Header{"Etag": {`"x"`}}, body: []byte(`{"results":[{"seq":1},{"seq":"2-b"}],"o":{"a":1}}` + "\n")})
	got, err := c.expand(t.Context(), `{{port}} {{basic a:b c}} {{saved second}} {{saved tag}} {{saved object}} {{saved missing}}`)
	if err != nil {
		t.Fatal(err)
	}
	if want := `5984 YTpiIGM= 2-b "x" {"a":1} nothing-saved`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := c.expand(t.Context(), "{{nothing}}"); err == nil {
		t.Error("an unknown template is expanded")
	}
	if got := escape("a b/ü~"); got != "a%20b%2F%C3%BC~" {
		t.Errorf("escape: %s", got)
	}
}

// TestPatience holds the rule for recorded pauses: only a reading step after a long one waits.
func TestPatience(t *testing.T) {
	t.Parallel()
	steps, err := Load(filepath.Join(recordings, "auth", "02-users-database.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var patient []string
	for _, s := range steps {
		if s.Patience > 0 {
			patient = append(patient, s.Title)
		}
	}
	if want := []string{"doc after first login (upgrade_hash_on_auth)", "old password"}; !slices.Equal(patient, want) {
		t.Errorf("patient steps: %q", patient)
	}
}
