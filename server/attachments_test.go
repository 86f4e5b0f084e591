package server

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// packed is data as gzip.
func packed(t *testing.T, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAttachmentRefusals(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[couchdb]", "max_attachment_size = 1000")
	ts.do("PUT", "/db", "")
	bomb := packed(t, make([]byte, 100_000))
	if len(bomb) > 1000 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	large := strings.Repeat("x", 1001)
	ts.refuses(t, []refusal{
		{"base64 with other letters", "PUT", "/db/x", `{"_attachments":{"f":{"data":"***"}}}`, 400, `"Invalid attachment data for f"`, nil},
		{"base64 without padding", "PUT", "/db/x", `{"_attachments":{"f":{"data":"AAE"}}}`, 400, `"Invalid attachment data for f"`, nil},
		{"base64 of the URL kind", "PUT", "/db/x", `{"_attachments":{"f":{"data":"__79"}}}`, 400, `"Invalid attachment data for f"`, nil},
		{"base64 that goes on after its padding", "PUT", "/db/x", `{"_attachments":{"f":{"data":"AA==AAEC"}}}`, 400, `"Invalid attachment data for f"`, nil},
		{"the second is wrong", "PUT", "/db/x", `{"_attachments":{"ok":{"data":"AAEC"},"f":{"data":"?"}}}`, 400, `"Invalid attachment data for f"`, nil},
		{"the second document is wrong", "POST", "/db/_bulk_docs", `{"docs":[{"_id":"x","_attachments":{"ok":{"data":"AAEC"}}},{"_attachments":{"f":{"data":"?"}}}]}`, 400, `"Invalid attachment data for f"`, nil},
		{"a stub of nothing", "PUT", "/db/x", `{"_attachments":{"ok":{"data":"AAEC"},"f":{"stub":true}}}`, 412, `{"error":"missing_stub","reason":"Invalid attachment stub in x for f"}`, nil},
		{"it follows, but nothing does", "PUT", "/db/x", `{"_attachments":{"f":{"follows":true,"length":1}}}`, 400, "does not follow", nil},
		{"inline, too large", "PUT", "/db/x", `{"_attachments":{"f":{"data":"` + base64.StdEncoding.EncodeToString([]byte(large)) + `"}}}`, 413, `{"error":"attachment_too_large","reason":"f"}`, nil},
		{"too large", "PUT", "/db/x/f", large, 413, `{"error":"attachment_too_large","reason":"f"}`, nil},
		{"too large when unpacked", "PUT", "/db/x/f", bomb, 413, `{"error":"attachment_too_large","reason":"f"}`, []string{"Content-Encoding", "gzip"}},
		{"not gzip", "PUT", "/db/x/f", "gzip it is not", 400, "is not encoded with gzip", []string{"Content-Encoding", "gzip"}},
		{"gzip that ends early", "PUT", "/db/x/f", packed(t, []byte("abc"))[:20], 400, "is not encoded with gzip", []string{"Content-Encoding", "gzip", "Content-Type", "a/b"}},
		{"gzip and something after", "PUT", "/db/x/f", packed(t, []byte("x")) + "tail", 400, "is not encoded with gzip", []string{"Content-Encoding", "gzip"}},
		{"another encoding", "PUT", "/db/x/f", "x", 415, "Only gzip and identity content-encodings are supported", []string{"Content-Encoding", "br"}},
		{"a reserved name", "PUT", "/db/x/_f", "x", 400, "starts with prohibited character '_'", nil},
		{"a name that is not UTF-8", "PUT", "/db/x/%FF", "x", 400, "Attachment name is not UTF-8 encoded", nil},
		{"of an illegal id", "PUT", "/db/_x/f", "x", 400, "illegal_docid", nil},
		{"of a missing document, with a revision", "PUT", "/db/x/f?rev=1-a", "x", 409, `{"error":"not_found","reason":"missing_rev"}`, nil},
		{"with no revision", "PUT", "/db/x/f?rev=x", "x", 400, "Invalid rev format", nil},
		{"two revisions", "PUT", "/db/x/f?rev=1-a", "x", 400, "different values", []string{"If-Match", "1-b"}},
		{"GET of a missing document", "GET", "/db/x/f", "", 404, "missing", nil},
		{"DELETE of a missing document", "DELETE", "/db/x/f", "", 404, "missing attachment", nil},
	})
	ts.isEmpty(t, "db")

	first := stringMember(t, ts.do("PUT", "/db/x/f", "abc", "Content-Type", "a/b"), "rev")
	ts.refuses(t, []refusal{
		{"without a revision", "PUT", "/db/x/f", "x", 409, "Document update conflict.", nil},
		{"with another", "PUT", "/db/x/f?rev=1-a", "x", 409, "missing_rev", nil},
		{"DELETE without one", "DELETE", "/db/x/f", "", 409, "Document update conflict.", nil},
		{"DELETE with another", "DELETE", "/db/x/f?rev=1-a", "", 409, "missing_rev", nil},
		{"DELETE of another", "DELETE", "/db/x/g?rev=" + first, "", 404, "Document is missing attachment", nil},
		{"GET of another", "GET", "/db/x/g", "", 404, "Document is missing attachment", nil},
		{"GET with a revision that is none", "GET", "/db/x/f?rev=x", "", 400, "Invalid rev format", nil},
		{"a stub with another revpos", "PUT", "/db/x?rev=" + first, `{"_attachments":{"f":{"stub":true,"revpos":2}}}`, 412, "missing_stub", nil},
		{"a stub of another name", "PUT", "/db/x?rev=" + first, `{"_attachments":{"g":{"stub":true}}}`, 412, "missing_stub", nil},
	})
	second := stringMember(t, ts.do("PUT", "/db/x/g?rev="+first, "de", "Content-Type", "a/b"), "rev")
	ts.refuses(t, []refusal{{"an old revision", "PUT", "/db/x/h?rev=" + first, "x", 409, "Document update conflict.", nil}})
	if got, want := ts.do("GET", "/db/x", ""), `{"_id":"x","_rev":"`+second+`","_attachments":{`+
		`"g":{"content_type":"a/b","revpos":2,"digest":"md5-XwLwiJMB/XvhrJcsEb8+fQ==","length":2,"stub":true},`+
		`"f":{"content_type":"a/b","revpos":1,"digest":"md5-kAFQmDzST7DWlj99KOF/cg==","length":3,"stub":true}}}`+"\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func TestAttachmentRanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header string
		ranges []byteRange
		ok     bool
	}{
		{"", nil, true},
		{"bytes=0-1", []byteRange{{0, 1}}, true},
		{"bytes=9-", []byteRange{{9, 9}}, true},
		{"bytes=-3", []byteRange{{7, 9}}, true},
		{"bytes=-99", []byteRange{{0, 9}}, true},
		{"bytes=0-99", []byteRange{{0, 9}}, true},
		{"bytes=0-0, 2-3,20-30", []byteRange{{0, 0}, {2, 3}}, true},
		{"bytes=10-", nil, false},
		{"bytes=-0", nil, false},
		{"bytes=3-2", nil, true},
		{"bytes=x", nil, true},
		{"bytes=-", nil, true},
		{"bytes=1-x", nil, true},
		{"bytes=-1-2", nil, true},
		{"bytes=99999999999999999999-", nil, true},
		{"items=0-1", nil, true},
		{"bytes=" + strings.Repeat("0-0,", maxRanges) + "0-0", nil, true},
	} {
		ranges, ok := parseRanges(c.header, 10)
		if ok != c.ok || len(ranges) != len(c.ranges) {
			t.Errorf("%q: %v, %v", c.header, ranges, ok)
			continue
		}
		for i := range ranges {
			if ranges[i] != c.ranges[i] {
				t.Errorf("%q: %v", c.header, ranges)
			}
		}
	}
	if ranges, ok := parseRanges("bytes=-5", 0); ok || ranges != nil {
		t.Errorf("of nothing: %v, %v", ranges, ok)
	}
}

func TestGetAttachment(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	plain, long := "0123456789", strings.Repeat("hello ", 1000)
	rev := stringMember(t, ts.do("PUT", "/db/x/a/b.bin", plain, "Content-Type", "image/png"), "rev")
	rev = stringMember(t, ts.do("PUT", "/db/x/t?rev="+rev, long, "Content-Type", "text/plain"), "rev")
	ts.do("PUT", "/db/x/z?rev="+rev, packed(t, []byte(long)), "Content-Type", "image/png", "Content-Encoding", "gzip")
	get := func(path string, header ...string) (*http.Response, string) {
		res := ts.send("admin:secret", "GET", path, "", header...)
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(data)
	}
	res, body := get("/db/x/a/b.bin", "Range", "bytes=2-4")
	tag := res.Header.Get("Etag")
	if res.StatusCode != 206 || body != "234" || res.Header.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("a range: %d %q %v", res.StatusCode, body, res.Header)
	}
	for name, want := range map[string]string{"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes", "Content-Type": "image/png"} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	sum := md5.Sum([]byte(plain))
	if tag != `"`+base64.StdEncoding.EncodeToString(sum[:])+`"` {
		t.Errorf("ETag %s", tag)
	}
	if res, body = get("/db/x/a/b.bin", "Range", "bytes=10-"); res.StatusCode != 416 || !strings.Contains(body, "requested_range_not_satisfiable") || res.Header.Get("Content-Range") != "bytes */10" {
		t.Errorf("beyond the end: %d %s", res.StatusCode, body)
	}
	if res, body = get("/db/x/a/b.bin", "Range", "bytes=2-4", "If-Range", `"other"`); res.StatusCode != 200 || body != plain {
		t.Errorf("If-Range of another: %d %s", res.StatusCode, body)
	}
	if res, body = get("/db/x/a/b.bin", "Range", "bytes=0-0,8-"); res.StatusCode != 206 || !strings.Contains(body, "bytes 8-9/10\r\n\r\n89\r\n--") || res.ContentLength != int64(len(body)) {
		t.Errorf("two ranges: %d %q", res.StatusCode, body)
	}
	if res, _ = get("/db/x/a/b.bin", "If-None-Match", tag); res.StatusCode != 304 {
		t.Errorf("the same again: %d", res.StatusCode)
	}
	for _, path := range []string{"/db/x/t", "/db/x/z"} {
		// Go's client would ask for gzip and unpack it by itself.
		if res, body = get(path, "Accept-Encoding", "identity", "Range", "bytes=0-1"); res.StatusCode != 200 || body != long || res.Header.Get("Content-Encoding") != "" || res.ContentLength != int64(len(long)) {
			t.Errorf("%s unpacked: %d, %d bytes, %v", path, res.StatusCode, len(body), res.Header)
		}
		if res, body = get(path, "Accept-Encoding", "gzip"); body == long || res.Header.Get("Content-Encoding") != "gzip" || res.ContentLength != int64(len(body)) {
			t.Errorf("%s packed: %d bytes, %v", path, len(body), res.Header)
		}
		if z, err := gzip.NewReader(strings.NewReader(body)); err != nil {
			t.Error(err)
		} else if got, err := io.ReadAll(z); err != nil || string(got) != long {
			t.Errorf("%s: %v", path, err)
		}
		if got := ts.do("GET", "/db/x?attachments=true", "", "Accept", "application/json"); strings.Count(got, base64.StdEncoding.EncodeToString([]byte(long))) != 2 {
			t.Errorf("inline it is not what was sent")
		}
	}
	res = ts.send("admin:secret", "HEAD", "/db/x/t", "", "Accept-Encoding", "identity")
	res.Body.Close()
	if res.ContentLength != int64(len(long)) {
		t.Errorf("HEAD tells %d bytes", res.ContentLength)
	}
}

// A large attachment comes back as it went in, along every way, and by stub into the next revision.
func TestLargeAttachment(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	data := make([]byte, 3<<20+17)
	random := rand.NewChaCha8([32]byte{1})
	if _, err := random.Read(data); err != nil {
		t.Fatal(err)
	}
	rev := stringMember(t, ts.do("PUT", "/db/x/big", string(data), "Content-Type", "a/b"), "rev")
	ts.do("PUT", "/db/x?rev="+rev, `{"n":2,"_attachments":{"big":{"stub":true,"revpos":1,"digest":"md5-1111111111111111111111==","length":1}}}`)
	ts.do("COPY", "/db/x", "", "Destination", "y")
	for _, path := range []string{"/db/x/big", "/db/y/big"} {
		if got := ts.do("GET", path, ""); got != string(data) {
			t.Errorf("%s: %d bytes, not what was sent", path, len(got))
		}
	}
	const from = 1<<20 - 3
	if got := ts.do("GET", "/db/y/big", "", "Range", "bytes="+strconv.Itoa(from)+"-"); got != string(data[from:]) {
		t.Errorf("a range: %d bytes", len(got))
	}
	coded := base64.StdEncoding.EncodeToString(data)
	got := ts.do("GET", "/db/x?attachments=true", "", "Accept", "application/json")
	if !strings.Contains(got, `"data":"`+coded+`"}}}`) {
		t.Errorf("inline: %d bytes", len(got))
	}
	ts.do("PUT", "/db/z", `{"_attachments":{"big":{"data":"`+coded+`"}}}`)
	if got := ts.do("GET", "/db/z/big", ""); got != string(data) {
		t.Errorf("sent inline: %d bytes", len(got))
	}
	if got := ts.do("POST", "/db/_bulk_get?attachments=true", `{"docs":[{"id":"z"},{"id":"x"}]}`); strings.Count(got, coded) != 2 {
		t.Errorf("_bulk_get: %d bytes", len(got))
	}
}

func TestCompressibleTypes(t *testing.T) {
	t.Parallel()
	set := &settings{compressible: []string{"text/*", "application/json"}, compressionLevel: 1}
	for kind, want := range map[string]bool{
		"text/plain": true, "TEXT/HTML; charset=utf-8": true, "application/json": true, "application/json;x": true,
		"application/jsonp": false, "image/png": false, "": false, "texty/plain": false,
	} {
		if got := set.compresses(kind); got != want {
			t.Errorf("%q: %v", kind, got)
		}
	}
	set.compressionLevel = 0
	if set.compresses("text/plain") {
		t.Error("level 0 compresses")
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"": true, "*/*": true, "multipart/*": true, "multipart/mixed": true, "application/json, multipart/mixed;q=0.5": true, "application/json,*/*;q=0.1": true,
		"application/json": false, "multipart/related": false, "multipart/mixed;q=0": false, "*/*, multipart/mixed; q=0": false, "text/*": false,
	} {
		if got := acceptsType(header, "multipart/mixed"); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
	for header, want := range map[string]bool{
		"": false, "identity": false, "gzip": true, "deflate, GZIP;q=0.1": true, "gzip;q=0": false, "gzip;q=0, *": false, "*": true, "*;q=0": false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("%q: gzip %v", header, got)
		}
	}
}

// When requests hold all the memory that they may, one that needs more is told to come again; what needs none goes on.
func TestPackingWhenBusy(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	others := []party{{user: "one"}, {user: "two"}}
	for _, by := range others {
		if !ts.s.bodies.take(by, bufferedBodies/2) {
			t.Fatal("something is held")
		}
	}
	ts.refuses(t, []refusal{{"packed", "PUT", "/db/x/f", "text", 503, "service_unavailable", []string{"Content-Type", "text/plain"}}})
	ts.isEmpty(t, "db")
	ts.do("PUT", "/db/y/f", "plain", "Content-Type", "image/png")
	for _, by := range others {
		ts.s.bodies.give(by, bufferedBodies/2)
	}
	ts.do("PUT", "/db/x/f", "text", "Content-Type", "text/plain")
	if ts.s.bodies.left != bufferedBodies || len(ts.s.bodies.held) > 0 {
		t.Error("something is still held")
	}
}
