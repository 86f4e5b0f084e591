// Package replicate copies databases between servers with package replicate: from the program to the program, straight and through proxies
// that lack abilities, as older servers do, or that fail.
package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/replicate"
	"github.com/parlordb/parlor/test/program"
)

const (
	user     = "admin"
	password = "the admin's secret"
	salt     = "/_local/obsidian_livesync_sync_parameters"
	mile     = "/_local/obsydian_livesync_milestone"
)

type obj = map[string]any

// TestReplicate runs the cases on one server, each with databases of its own.
func TestReplicate(t *testing.T) {
	t.Parallel()
	s := server{t, serve(t)}
	begin := func(t *testing.T, name string) bench {
		t.Helper()
		s := server{t, s.url}
		s.want(201, "PUT", "/"+name+"-source", nil)
		return bench{s, "/" + name + "-source", "/" + name + "-target"}
	}
	// The others, side by side, would count as memory that it holds.
	t.Run("large-attachment", func(t *testing.T) { largeAttachment(t, begin(t, "large-attachment")) })
	for _, c := range []struct {
		name string
		run  func(*testing.T, bench)
	}{
		{"whole", whole}, {"source-without-bulk-get", withoutBulkGet}, {"source-without-multipart", withoutMultipart},
		{"target-without-multipart", targetWithoutMultipart}, {"faults", faults}, {"interrupted", interrupted}, {"restored", restored},
		{"read-only-source", readOnlySource}, {"refused", refused}, {"refused-in-feed", refusedInFeed}, {"too-large", tooLarge}, {"revoked", revoked}, {"selected", selected},
		{"locals", locals}, {"salts", salts}, {"security", security}, {"continuous", continuous},
		{"wrong-password", wrongPassword}, {"no-target", noTarget}, {"owner", owner},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, begin(t, c.name))
		})
	}
}

func serve(t *testing.T) string {
	t.Helper()
	bin, err := program.Build(t.Context(), t.TempDir(), program.Race)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ini := filepath.Join(dir, "parlor.ini")
	if err := os.WriteFile(ini, []byte("[chttpd_auth]\niterations = 10\n[admins]\n"+user+" = "+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv, err := program.Start(context.WithoutCancel(t.Context()), program.Options{Binary: bin, Data: filepath.Join(dir, "data"), Config: []string{ini}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
	})
	return srv.URL
}

// server is the program, asked as its admin.
type server struct {
	t   *testing.T
	url string
}

func (s server) want(status int, method, path string, body any) []byte {
	s.t.Helper()
	got, text := s.send(method, path, body)
	if got != status {
		s.t.Fatalf("%s %s: %d, want %d: %s", method, path, got, status, text)
	}
	return text
}

func (s server) send(method, path string, body any) (int, []byte) {
	s.t.Helper()
	var data io.Reader
	if text, ok := body.(string); ok {
		data = strings.NewReader(text)
	} else if body != nil {
		coded, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		data = bytes.NewReader(coded)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, data)
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, text
}

// bench is a source and the name of a target.
type bench struct {
	server
	source, target string
}

// options replicate from source to target, without pauses.
func (b bench) options() replicate.Options {
	return replicate.Options{
		Source:       replicate.Peer{URL: b.url + b.source, User: user, Password: password},
		Target:       replicate.Peer{URL: b.url + b.target, User: user, Password: password},
		CreateTarget: true,
		BatchSize:    40,
		Retries:      1000,
		Backoff:      func(int) time.Duration { return 0 },
	}
}

func (b bench) replicate(o replicate.Options) replicate.Result {
	b.t.Helper()
	result, err := replicate.Replicate(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// odd are ids that paths must be made of with care.
var odd = []string{"a/b", "ü ö+%41&?#", "..", ".", "_design/d/e", "a\"b\\c", "h:+x"}

// fill writes n ordinary documents, some deletions, a conflict, odd ids, and documents with attachments. It returns the number of leaf revisions.
func (b bench) fill(n int) (revisions int) {
	b.t.Helper()
	var docs []obj
	for i := range n {
		docs = append(docs, obj{"_id": fmt.Sprintf("doc%04d", i), "n": i, "text": strings.Repeat("x", i)})
	}
	for _, id := range odd {
		docs = append(docs, obj{"_id": id, "big": json.Number("12345678901234567890123")})
	}
	for i := range 5 {
		docs = append(docs, obj{"_id": fmt.Sprintf("gone%d", i), "_deleted": true, "why": "kept"})
	}
	noise := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	for i := range 6 {
		docs = append(docs, obj{"_id": fmt.Sprintf("with%d/é", i), "_attachments": obj{
			"text é\"/1.txt": obj{"content_type": "text/plain", "data": bytes.Repeat([]byte("long text "), 2000)},
			"noise":          obj{"content_type": "image/png", "data": noise},
			"empty":          obj{"content_type": "application/octet-stream", "data": ""},
		}})
	}
	b.want(201, "POST", b.source+"/_bulk_docs", obj{"docs": docs})
	b.want(201, "POST", b.source+"/_bulk_docs", obj{"new_edits": false, "docs": []obj{
		{"_id": "torn", "_rev": "2-bb", "_revisions": obj{"start": 2, "ids": []string{"bb", "aa"}}, "side": "b"},
		{"_id": "torn", "_rev": "2-cc", "_revisions": obj{"start": 2, "ids": []string{"cc", "aa"}}, "side": "c", "_attachments": obj{"small": obj{"content_type": "text/plain", "data": "c21hbGw="}}},
		{"_id": "torn", "_rev": "3-dd", "_revisions": obj{"start": 3, "ids": []string{"dd", "ee", "aa"}}, "_deleted": true},
	}})
	return len(docs) + 3
}

// same compares every leaf of every document, with attachments and history.
func (b bench) same() {
	b.t.Helper()
	type changes struct {
		Results []struct {
			ID      string
			Changes []struct{ Rev string }
		}
	}
	leaves := func(db string) map[string]string {
		var page changes
		if err := json.Unmarshal(b.want(200, "GET", db+"/_changes?style=all_docs", nil), &page); err != nil {
			b.t.Fatal(err)
		}
		found := map[string]string{}
		for _, row := range page.Results {
			path := url.PathEscape(row.ID)
			if row.ID == "." || row.ID == ".." {
				path = strings.ReplaceAll(row.ID, ".", "%2E")
			}
			path = strings.ReplaceAll(path, "+", "%2B")
			var list []json.RawMessage
			text := b.want(200, "GET", db+"/"+path+"?open_revs=all&revs=true&attachments=true", nil)
			if err := json.Unmarshal(text, &list); err != nil {
				b.t.Fatal(err)
			}
			slices.SortFunc(list, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
			found[row.ID] = string(bytes.Join(rawBytes(list), []byte("\n")))
		}
		return found
	}
	from, to := leaves(b.source), leaves(b.target)
	for id, text := range from {
		if got := to[id]; got != text {
			b.t.Errorf("%s is not the same:\n%.600s\n%.600s", id, text, got)
		}
	}
	if len(to) != len(from) {
		b.t.Errorf("the target has %d documents, the source %d", len(to), len(from))
	}
}

func rawBytes(list []json.RawMessage) (out [][]byte) {
	for _, v := range list {
		out = append(out, v)
	}
	return out
}

func whole(t *testing.T, b bench) {
	n := b.fill(120)
	var last replicate.Progress
	o := b.options()
	o.OnProgress = func(p replicate.Progress) { last = p }
	got := b.replicate(o)
	if got.Written != int64(n) || got.Deletions != 6 || got.Conflicts != 1 || got.Attachments != 6*3+1 || got.Refused != 0 || !got.Created || got.Resumed {
		t.Errorf("%d revisions: %+v", n, got)
	}
	if last != got.Progress || last.Checked != last.Total {
		t.Errorf("the last progress is %+v, the result %+v", last, got.Progress)
	}
	b.same()

	// A second run finds the checkpoint, by another name of the server too, and has nothing to do.
	o.Source.URL = "http://" + user + ":" + url.PathEscape(password) + "@" + strings.TrimPrefix(b.url, "http://") + b.source + "/"
	o.Source.User, o.Source.Password = "", ""
	again := b.replicate(o)
	if !again.Resumed || again.Checked != 0 || again.Written != 0 || again.Created || again.LastSeq != got.LastSeq {
		t.Errorf("the second run: %+v", again)
	}

	// An edit that keeps an attachment does not send it again.
	b.want(200, "GET", b.source+"/with0%2F%C3%A9", nil)
	var doc obj
	if err := json.Unmarshal(b.want(200, "GET", b.source+"/with0%2F%C3%A9", nil), &doc); err != nil {
		t.Fatal(err)
	}
	doc["edited"] = true
	b.want(201, "PUT", b.source+"/with0%2F%C3%A9", doc)
	third := b.replicate(o)
	if third.Checked != 1 || third.Written != 1 || third.Attachments != 0 {
		t.Errorf("the third run: %+v", third)
	}
	b.same()
}

func wrongPassword(t *testing.T, b bench) {
	o := b.options()
	o.Source.Password = "wrong-and-secret"
	_, err := replicate.Replicate(t.Context(), o)
	var answer *replicate.AnswerError
	if !errors.As(err, &answer) || answer.Status != 401 || answer.Side != "source" || strings.Contains(err.Error(), "wrong-and-secret") {
		t.Errorf("%v", err)
	}
	b.want(404, "GET", b.target, nil)
}

func noTarget(t *testing.T, b bench) {
	o := b.options()
	o.CreateTarget = false
	if _, err := replicate.Replicate(t.Context(), o); !errors.Is(err, replicate.ErrNoTarget) {
		t.Errorf("%v", err)
	}
	o = b.options()
	o.Source.URL = b.url + "/no-such-database"
	var answer *replicate.AnswerError
	if _, err := replicate.Replicate(t.Context(), o); !errors.As(err, &answer) || answer.Status != 404 || answer.Side != "source" {
		t.Errorf("%v", err)
	}
	b.want(404, "GET", b.target, nil)
}

// owner: the target is a vault from the start, and takes what other databases do not.
func owner(t *testing.T, b bench) {
	b.want(201, "PUT", "/_users/org.couchdb.user:ann", obj{"name": "ann", "type": "user", "roles": []string{}})
	plain := b.source
	b.source += "-vault"
	b.want(201, "PUT", b.source+"?owner=ann", nil)
	b.want(201, "PUT", b.source+"/large", obj{"text": strings.Repeat("x", 9_000_000)})
	o := b.options()
	o.Owner = "nobody"
	var refusal *replicate.AnswerError
	if _, err := replicate.Replicate(t.Context(), o); !errors.As(err, &refusal) || refusal.Status != 400 || !strings.Contains(err.Error(), `There is no user "nobody"`) {
		t.Errorf("an owner who is none: %v", err)
	}
	o.Owner = "ann"
	couch := o
	b.through(&couch.Target, func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Path == "/_vaults" && answer(w, 400, "illegal_database_name")
	})
	if _, err := replicate.Replicate(t.Context(), couch); !errors.Is(err, replicate.ErrNoOwners) {
		t.Errorf("a server without owners: %v", err)
	}
	b.want(404, "GET", b.target, nil)
	for _, want := range []int64{1, 0} {
		if got := b.replicate(o); got.Written != want || got.Refused != 0 || got.Created != (want == 1) {
			t.Errorf("%+v", got)
		}
	}
	if got := b.want(200, "GET", b.target+"/_vault", nil); !bytes.Contains(got, []byte(`"owner":"ann"`)) {
		t.Errorf("%s", got)
	}
	b.same()
	o.Owner = user
	if _, err := replicate.Replicate(t.Context(), o); !errors.Is(err, replicate.ErrOwner) {
		t.Errorf("another's: %v", err)
	}
	o.Owner = "ann"
	o.Target.URL = b.url + plain
	if _, err := replicate.Replicate(t.Context(), o); !errors.Is(err, replicate.ErrOwner) {
		t.Errorf("no vault: %v", err)
	}
}

func selected(t *testing.T, b bench) {
	b.fill(10)
	o := b.options()
	o.Selector = []byte(`{"n":{"$gte":5}}`)
	if got := b.replicate(o); got.Written != 5 {
		t.Errorf("the selector: %+v", got)
	}
	// Another selection has a checkpoint of its own.
	o.Selector, o.DocIDs = nil, []string{"doc0001", "doc0007", "a/b"}
	if got := b.replicate(o); got.Written != 2 || got.Resumed {
		t.Errorf("the ids: %+v", got)
	}
	if got := b.replicate(o); got.Checked != 0 || !got.Resumed {
		t.Errorf("the ids again: %+v", got)
	}
	o.Selector = []byte(`{}`)
	if _, err := replicate.Replicate(t.Context(), o); err == nil {
		t.Error("a selector and ids are taken together")
	}
}

func security(t *testing.T, b bench) {
	const members = `{"admins":{"names":["ann"],"roles":[]},"members":{"names":["bob"],"roles":["team"]}}`
	b.want(200, "PUT", b.source+"/_security", members)
	before := b.want(200, "GET", "/security-source/_security", nil)
	o := b.options()
	b.replicate(o)
	if got := b.want(200, "GET", b.target+"/_security", nil); bytes.Equal(got, before) {
		t.Errorf("_security was copied unasked: %s", got)
	}
	o.Security = true
	b.replicate(o)
	if got := b.want(200, "GET", b.target+"/_security", nil); !bytes.Equal(got, before) {
		t.Errorf("_security is %s, want %s", got, before)
	}
}

func continuous(t *testing.T, b bench) {
	n := b.fill(50)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := b.options()
	o.Continuous = true
	caughtUp := make(chan struct{}, 1)
	o.OnProgress = func(p replicate.Progress) {
		switch {
		case p.Written == int64(n) && p.Checked == p.Total:
			select {
			case caughtUp <- struct{}{}:
			default:
			}
		case p.Written > int64(n) && p.Checked == p.Total:
			cancel()
		}
	}
	var got replicate.Result
	ended := make(chan error, 1)
	go func() {
		var err error
		got, err = replicate.Replicate(ctx, o)
		ended <- err
	}()
	<-caughtUp
	b.want(201, "PUT", b.source+"/later", obj{"n": 1})
	if err := <-ended; !errors.Is(err, context.Canceled) || got.Written != int64(n)+1 {
		t.Fatalf("%v, %+v", err, got)
	}
	b.same()
	o = b.options()
	if got := b.replicate(o); !got.Resumed || got.Written != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}
