package server

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// relatedBodyOf is a multipart/related body with the boundary b.
func relatedBodyOf(json string, parts ...string) string {
	body := "--b\r\nContent-Type: application/json\r\n\r\n" + json
	for _, part := range parts {
		body += "\r\n--b\r\n\r\n" + part
	}
	return body + "\r\n--b--"
}

func TestRelatedRefusals(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couchdb]", "max_attachment_size = 1000")
	ts.do("PUT", "/db", "")
	const two = `{"_attachments":{"one":{"follows":true,"length":3},"two":{"follows":true,"length":2}}}`
	kind := []string{"Content-Type", `multipart/related; boundary="b"`}
	whole := relatedBodyOf(two, "abc", "de")
	ts.refuses(t, []refusal{
		{"no boundary", "PUT", "/db/x", whole, 400, "has no boundary", []string{"Content-Type", "multipart/related"}},
		{"another boundary", "PUT", "/db/x", whole, 400, "malformed or ended early", []string{"Content-Type", "multipart/related; boundary=c"}},
		{"nothing", "PUT", "/db/x", "--b--", 400, "malformed or ended early", kind},
		{"no JSON", "PUT", "/db/x", relatedBodyOf("x"), 400, "invalid UTF-8 JSON", kind},
		{"no object", "PUT", "/db/x", relatedBodyOf("[]"), 400, "Document must be a JSON object", kind},
		{"a part is missing", "PUT", "/db/x", relatedBodyOf(two, "abc"), 400, "fewer parts", kind},
		{"a part too many", "PUT", "/db/x", relatedBodyOf(two, "abc", "de", "f"), 400, "more parts", kind},
		{"a part of a document without any", "PUT", "/db/x", relatedBodyOf(`{"n":1}`, "f"), 400, "more parts", kind},
		{"in another order", "PUT", "/db/x", relatedBodyOf(two, "de", "abc"), 400, "The attachment one has another length than was said.", kind},
		{"too short", "PUT", "/db/x", relatedBodyOf(two, "abc", "d"), 400, "The attachment two has another length than was said.", kind},
		{"another digest", "PUT", "/db/x", relatedBodyOf(`{"_attachments":{"one":{"follows":true,"digest":"md5-1111111111111111111111=="}}}`, "abc"), 400, "another digest", kind},
		{"another digest of what is packed here", "PUT", "/db/x", relatedBodyOf(`{"_attachments":{"one":{"follows":true,"content_type":"text/plain","digest":"md5-1111111111111111111111=="}}}`, "abc"), 400, "another digest", kind},
		{"not packed", "PUT", "/db/x", relatedBodyOf(`{"_attachments":{"one":{"follows":true,"encoding":"gzip"}}}`, "abc"), 400, "is not encoded with gzip", kind},
		{"another length when packed", "PUT", "/db/x", relatedBodyOf(`{"_attachments":{"one":{"follows":true,"encoding":"gzip","length":3,"encoded_length":3}}}`, packed(t, []byte("abc"))), 400, "another encoded_length", kind},
		{"another length when unpacked", "PUT", "/db/x", relatedBodyOf(`{"_attachments":{"one":{"follows":true,"encoding":"gzip","length":4}}}`, packed(t, []byte("abc"))), 400, "another length", kind},
		{"too large", "PUT", "/db/x", relatedBodyOf(`{"_attachments":{"one":{"follows":true}}}`, strings.Repeat("x", 1001)), 413, "attachment_too_large", kind},
		{"a reserved member", "PUT", "/db/x", relatedBodyOf(`{"_x":1}`), 400, "doc_validation", kind},
	})
	for n := range len(whole) - 2 {
		if status, text := ts.as("admin:secret", "PUT", "/db/x", whole[:n], kind...); status != 400 {
			t.Errorf("%d bytes of %d: %d %s", n, len(whole), status, text)
		}
	}
	ts.isEmpty(t, "db")
	ts.do("PUT", "/db/x", whole, kind...)
	if got := ts.do("GET", "/db/x/one", "") + ts.do("GET", "/db/x/two", ""); got != "abcde" {
		t.Errorf("got %q", got)
	}
}

// TestDigestOfPacked: what is packed here may be announced by the digest of what is sent, or by the one that is told of it afterwards.
func TestDigestOfPacked(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	put := func(id, digest string) string {
		t.Helper()
		doc := fmt.Sprintf(`{"_attachments":{"one":{"follows":true,"content_type":"text/plain","digest":%q}}}`, digest)
		if status, text := ts.as("admin:secret", "PUT", "/db/"+id, relatedBodyOf(doc, "abc"), "Content-Type", `multipart/related; boundary="b"`); status != 201 {
			t.Fatalf("%s: %d %s", digest, status, text)
		}
		_, told, _ := strings.Cut(ts.do("GET", "/db/"+id, ""), `"digest":"`)
		told, _, _ = strings.Cut(told, `"`)
		return told
	}
	sent := "md5-kAFQmDzST7DWlj99KOF/cg=="
	told := put("x", sent)
	if told == sent {
		t.Fatal("nothing was packed")
	}
	if again := put("y", told); again != told {
		t.Errorf("%s, then %s", told, again)
	}
}

func TestRelatedAboveTheRequestLimit(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[chttpd]", "max_http_request_size = 300")
	ts.do("PUT", "/db", "")
	body := relatedBodyOf(`{"_attachments":{"one":{"follows":true}}}`, strings.Repeat("x", 400))
	req, err := http.NewRequest("PUT", ts.URL+"/db/x", struct{ io.Reader }{strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", "secret")
	req.Header.Set("Content-Type", "multipart/related; boundary=b")
	res, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("%d", res.StatusCode)
	}
	ts.isEmpty(t, "db")
}

// What a server sends as multipart, another takes.
func TestRelatedRoundTrip(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	text := strings.Repeat("hello ", 100)
	rev := stringMember(t, ts.do("PUT", "/db/x/t.txt", text, "Content-Type", "text/plain"), "rev")
	rev = stringMember(t, ts.do("PUT", "/db/x/quo%22te%0D%0Ad?rev="+rev, "\r\n--b--\r\n", "Content-Type", "a/b"), "rev")
	res := ts.send("admin:secret", "GET", "/db/x?attachments=true&revs=true", "", "Accept", "multipart/related")
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.ContentLength != int64(len(body)) || res.Header.Get("Cache-Control") != "" {
		t.Fatalf("%v, %d of %d bytes, %v", err, len(body), res.ContentLength, res.Header)
	}
	ts.do("PUT", "/db/y?new_edits=false", string(body), "Content-Type", res.Header.Get("Content-Type"))
	if got := ts.do("GET", "/db/y/t.txt", ""); got != text {
		t.Errorf("text: %q", got)
	}
	if got := ts.do("GET", "/db/y/quo%22te%0D%0Ad", ""); got != "\r\n--b--\r\n" {
		t.Errorf("the other: %q", got)
	}
	stubs := func(id string) string {
		return strings.Replace(ts.do("GET", "/db/"+id+"?revs=true&att_encoding_info=true", ""), `"_id":"`+id, `"_id":"`, 1)
	}
	if stubs("x") != stubs("y") || !strings.Contains(stubs("y"), rev) {
		t.Errorf("they differ:\n%s%s", stubs("x"), stubs("y"))
	}
	since := ts.do("GET", "/db/x?atts_since=[%221-"+strings.Repeat("a", 32)+"%22,%22"+rev+"%22]", "", "Accept", "multipart/related")
	if !strings.Contains(since, `"stub":true`) || strings.Contains(since, `"follows":true`) || strings.Contains(since, "Content-Disposition") {
		t.Errorf("atts_since the newest: %s", since)
	}
}

// The law: whatever the body, the server answers, it keeps all of what it takes and nothing of what it refuses.
func FuzzMultipart(f *testing.F) {
	for _, s := range []string{
		relatedBodyOf(`{"_attachments":{"one":{"follows":true,"length":3},"two":{"follows":true}}}`, "abc", "de"),
		relatedBodyOf(`{"a":1}`), relatedBodyOf(`{"_attachments":{"one":{"follows":true}}}`, "\r\n--b"), "--b\n\n{}\n--b--", "--b\r\n", "",
		"--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{\"_attachments\":{\"one\":{\"follows\":true}}}\r\n--b\r\n\r\n=41\r\n--b--",
	} {
		f.Add([]byte(s))
	}
	shared := newTestServer(f)
	shared.do("PUT", "/db", "")
	id := 0
	f.Fuzz(func(t *testing.T, body []byte) {
		id++
		ts := *shared
		ts.t = t
		path := "/db/doc" + strconv.Itoa(id)
		status, answer := ts.as("admin:secret", "PUT", path, string(body), "Content-Type", "multipart/related; boundary=b")
		doc, got := ts.as("admin:secret", "GET", path+"?attachments=true", "", "Accept", "application/json")
		switch {
		case status/100 == 4 && doc == http.StatusNotFound:
			return
		case status/100 != 2:
			t.Fatalf("%q: %d %s, and then %d %s", body, status, answer, doc, got)
		case bytes.Contains(body, []byte("data")) || bytes.Contains(body, []byte("gzip")) || bytes.Contains(body, []byte("deleted")):
			return // these come back in another form
		}
		err := members(objectMember([]byte(strings.TrimSpace(got)), "_attachments"), func(name string, a jsontext.Value) error {
			coded, _ := text(objectMember(a, "data"))
			data, err := base64.StdEncoding.DecodeString(coded)
			if !bytes.Contains(body, data) {
				t.Errorf("%q: %s is %q", body, name, data)
			}
			return err
		})
		if err != nil && bytes.Contains([]byte(got), []byte("_attachments")) {
			t.Errorf("%q: %s: %v", body, got, err)
		}
	})
}
