// Package livesync sends the program what Obsidian Self-hosted LiveSync sends, request by request, as an ordinary
// member of the database. The forms of the requests were traced from the real client.
package livesync

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/test/program"
)

const (
	adminPassword  = "admin's secret"
	memberPassword = "a member's secret"
	tokenSecret    = "a secret that only this test and its server know"
	maxDocument    = 200_000
)

// settings hold nothing that LiveSync's own check of a server asks for: a vault is as it wants, though other databases take small documents only.
var settings = fmt.Sprintf(`[couchdb]
single_node = true
max_document_size = %d

[admins]
admin = %s

[jwt_keys]
hmac:device = %s
`, maxDocument, adminPassword, base64.StdEncoding.EncodeToString([]byte(tokenSecret)))

// serve starts the program with a user named member, and returns its address.
func serve(t *testing.T) string {
	t.Helper()
	bin, err := program.Build(t.Context(), t.TempDir(), program.Race)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ini := filepath.Join(dir, "parlor.ini")
	if err := os.WriteFile(ini, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	srv, err := program.Start(context.Background(), program.Options{
		Binary: bin, Data: filepath.Join(dir, "data"), Config: []string{ini}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
	})
	admin := device{t, srv.URL, basic("admin", adminPassword)}
	admin.want(201, "PUT", "/_users/org.couchdb.user:member", obj{
		"name": "member", "password": memberPassword, "roles": []string{}, "type": "user"})
	return srv.URL
}

type obj = map[string]any

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// bearer is a token as LiveSync mints it on the device, with the claims that it always makes.
func bearer(sub string, expires time.Time) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // constant shapes only
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(obj{"alg": "HS256", "typ": "JWT", "kid": "device"}) + "." + part(obj{
		"exp": expires.Unix(), "iat": time.Now().Unix(), "sub": sub, "_couchdb.roles": []string{}})
	mac := hmac.New(sha256.New, []byte(tokenSecret))
	mac.Write([]byte(text))
	return "Bearer " + text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// device is one client. A refusal that was not expected ends its test.
type device struct {
	t    *testing.T
	url  string
	auth string
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// value returns what is at a path of the answer's body, such as "rows", 0, "doc"; nil when there is nothing.
func (a answer) value(t *testing.T, path ...any) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(obj)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// text is value for a string.
func (a answer) text(t *testing.T, path ...any) string {
	t.Helper()
	s, ok := a.value(t, path...).(string)
	if !ok {
		t.Fatalf("%v is no string in %d %s", path, a.status, a.body)
	}
	return s
}

// request is one as PouchDB makes it. body may be nil, a string as it is, or a value to encode.
func (d device) request(method, path string, body any) *http.Request {
	d.t.Helper()
	var in io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(body)
	default:
		b, err := json.Marshal(body)
		if err != nil {
			d.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, in)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	if d.auth != "" {
		r.Header.Set("Authorization", d.auth)
	}
	return r
}

// try sends a request; unlike send it may be called from any goroutine.
func try(r *http.Request) (answer, error) {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w after %q", r.Method, r.URL.Path, err, b)
	}
	return answer{res.StatusCode, res.Header, b}, nil
}

func (d device) send(r *http.Request) answer {
	d.t.Helper()
	a, err := try(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d device) do(method, path string, body any) answer {
	d.t.Helper()
	return d.send(d.request(method, path, body))
}

// want sends a request that must be answered with this status, in JSON.
func (d device) want(status int, method, path string, body any) answer {
	d.t.Helper()
	a := d.do(method, path, body)
	if a.status != status {
		d.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.status, status, a.body)
	}
	if !json.Valid(a.body) {
		d.t.Fatalf("%s %s: not JSON: %q", method, path, a.body)
	}
	if status >= 400 {
		a.text(d.t, "reason") // which CouchDB leaves empty for a document that is too large
		if a.text(d.t, "error") == "" {
			d.t.Fatalf("%s %s: an error without a name: %s", method, path, a.body)
		}
	}
	return a
}

// vault makes a database with member as its only member.
func vault(t *testing.T, url, name string) {
	t.Helper()
	admin := device{t, url, basic("admin", adminPassword)}
	admin.want(201, "PUT", "/"+name+"/", nil)
	allow(t, url, name)
}

func allow(t *testing.T, url, name string) {
	t.Helper()
	admin := device{t, url, basic("admin", adminPassword)}
	admin.want(200, "PUT", "/"+name+"/_security", obj{
		"admins": obj{"names": []string{}, "roles": []string{"_admin"}}, "members": obj{"names": []string{"member"}, "roles": []string{}}})
}

// seqNumber is what the client takes of a sequence for its progress display.
func seqNumber(t *testing.T, seq any) int {
	t.Helper()
	head, _, _ := strings.Cut(fmt.Sprint(seq), "-")
	var n int
	if _, err := fmt.Sscanf(head, "%d", &n); err != nil || fmt.Sprint(n) != head {
		t.Fatalf("the sequence %v does not begin with a decimal integer", seq)
	}
	return n
}
