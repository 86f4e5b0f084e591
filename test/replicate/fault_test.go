package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/replicate"
)

// through puts a proxy before a peer. When bad answers the request itself it returns true.
func (b bench) through(peer *replicate.Peer, bad func(w http.ResponseWriter, r *http.Request) bool) {
	b.t.Helper()
	to, err := url.Parse(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0) // connections are cut on purpose
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !bad(w, r) {
			// A server may answer while the proxy still reads the request.
			_ = http.NewResponseController(w).EnableFullDuplex()
			proxy.ServeHTTP(w, r)
		}
	}))
	b.t.Cleanup(front.Close)
	peer.URL = strings.Replace(peer.URL, b.url, front.URL, 1)
}

func answer(w http.ResponseWriter, status int, kind string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, `{"error":"`+kind+`","reason":"so the test wants it"}`)
	return true
}

// withoutBulkGet is CouchDB 1.
func withoutBulkGet(t *testing.T, b bench) {
	n := b.fill(60)
	o := b.options()
	b.through(&o.Source, func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/_bulk_get") && answer(w, 405, "method_not_allowed")
	})
	if got := b.replicate(o); got.Written != int64(n) || got.Conflicts != 1 {
		t.Errorf("%d revisions: %+v", n, got)
	}
	b.same()
}

// withoutMultipart is PouchDB Server as a source.
func withoutMultipart(t *testing.T, b bench) {
	n := b.fill(60)
	o := b.options()
	b.through(&o.Source, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.Header.Get("Accept"), "multipart/mixed") {
			r.Header.Set("Accept", "application/json")
		}
		return false
	})
	if got := b.replicate(o); got.Written != int64(n) || got.Attachments != 6*3+1 {
		t.Errorf("%d revisions: %+v", n, got)
	}
	b.same()
}

// targetWithoutMultipart takes attachments within the JSON alone.
func targetWithoutMultipart(t *testing.T, b bench) {
	n := b.fill(60)
	o := b.options()
	b.through(&o.Target, func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") && answer(w, 415, "bad_content_type")
	})
	if got := b.replicate(o); got.Written != int64(n) || got.Attachments != 6*3+1 || got.Refused != 0 {
		t.Errorf("%d revisions: %+v", n, got)
	}
	b.same()
}

// cutter ends the connection in the middle of an answer.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(data []byte) (int, error) {
	if len(data) > c.left {
		_, _ = c.ResponseWriter.Write(data[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(data)
	return c.ResponseWriter.Write(data)
}

// faults: both servers fail in many ways, and time and again. The target also does what it is asked and loses the answer.
func faults(t *testing.T, b bench) {
	n := b.fill(200)
	b.want(201, "PUT", b.source+salt, obj{"pbkdf2salt": "c2FsdA=="})
	to, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	o := b.options()
	o.LocalAll, o.Checkpoint = true, time.Nanosecond
	fault := func(w http.ResponseWriter, r *http.Request) bool {
		switch asked.Add(1) % 29 {
		case 1:
			return answer(w, 500, "internal_server_error")
		case 3:
			return answer(w, 429, "too_many_requests")
		case 5:
			panic(http.ErrAbortHandler)
		case 7, 9:
			proxy := httputil.NewSingleHostReverseProxy(to)
			proxy.ErrorLog = log.New(io.Discard, "", 0)
			proxy.ServeHTTP(&cutter{w, 30}, r)
			return true
		case 11:
			w.WriteHeader(503)
			io.WriteString(w, "<html>a proxy's page</html>")
			return true
		}
		return false
	}
	b.through(&o.Source, fault)
	b.through(&o.Target, fault)
	var retries int
	o.OnRetry = func(error, time.Duration) { retries++ }
	got := b.replicate(o)
	if retries == 0 || got.Refused != 0 || got.Local != 1 || len(got.LocalKept) != 0 || got.Written > int64(n) {
		t.Errorf("%d revisions, %d retries: %+v", n, retries, got)
	}
	b.same()
	if again := b.replicate(b.options()); !again.Resumed || again.Checked != 0 {
		t.Errorf("the run after: %+v", again)
	}

	// Who does not try again fails.
	o = b.options()
	o.Retries = -1
	b.through(&o.Source, func(w http.ResponseWriter, r *http.Request) bool { return answer(w, 503, "busy") })
	var refusal *replicate.AnswerError
	if _, err := replicate.Replicate(t.Context(), o); !errors.As(err, &refusal) || refusal.Status != 503 {
		t.Errorf("%v", err)
	}
}

// interrupted runs are ended again and again, and go on each time.
func interrupted(t *testing.T, b bench) {
	n := b.fill(300)
	var written int64
	runs := 0
	for {
		ctx, cancel := context.WithCancel(t.Context())
		o := b.options()
		pages := 0
		o.Concurrency = 1
		o.OnProgress = func(p replicate.Progress) {
			if p.Checked >= 40 && p.Checked < p.Total {
				pages++
				cancel()
			}
		}
		got, err := replicate.Replicate(ctx, o)
		cancel()
		written += got.Written
		if runs++; err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || runs > n {
			t.Fatalf("run %d: %v", runs, err)
		}
		if runs > 1 && !got.Resumed {
			t.Fatalf("run %d did not go on: %+v", runs, got)
		}
	}
	if written != int64(n) || runs < 3 {
		t.Errorf("%d runs wrote %d revisions of %d", runs, written, n)
	}
	b.same()
}

// restored is a target that was put back to a state before the last run: what came since is copied again.
func restored(t *testing.T, b bench) {
	b.fill(30)
	b.replicate(b.options())
	b.want(200, "DELETE", b.target, nil)
	if got := b.replicate(b.options()); got.Resumed || got.Written == 0 {
		t.Errorf("into a new database: %+v", got)
	}
	b.same()
}

func readOnlySource(t *testing.T, b bench) {
	b.fill(30)
	o := b.options()
	b.through(&o.Source, func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == "PUT" && answer(w, 403, "forbidden")
	})
	if got := b.replicate(o); !got.ReadOnly || got.Written == 0 {
		t.Errorf("%+v", got)
	}
	if got := b.replicate(o); got.Resumed || got.Written != 0 || got.Checked == 0 {
		t.Errorf("again: %+v", got)
	}
	b.same()
}

// refused are documents that the target's validation does not want.
func refused(t *testing.T, b bench) {
	n := b.fill(100)
	b.want(201, "PUT", b.target, nil)
	b.want(201, "PUT", b.target+"/_design/v", obj{"validate_doc_update": `function(d) { if (d.n > 40 && d.n % 10 === 3 || d._id === "with2/é") throw({forbidden: "no threes"}); }`})
	o := b.options()
	var list []replicate.Refusal
	o.OnRefused = func(r replicate.Refusal) { list = append(list, r) }
	got := b.replicate(o)
	if got.Refused != 7 || len(list) != 7 || got.Written != int64(n)-7 {
		t.Fatalf("%+v, %v", got, list)
	}
	for _, r := range list {
		if r.Kind != "forbidden" || r.Reason != "no threes" || r.Rev == "" || !strings.HasSuffix(r.ID, "3") && r.ID != "with2/é" {
			t.Errorf("%+v", r)
		}
	}
	// A repeat goes on before the first of them, tells of them anew, and copies nothing twice.
	if again := b.replicate(o); again.Refused != 7 || again.Written != 0 || !again.Resumed || again.Checked != got.Checked-40 {
		t.Errorf("again: %+v", again)
	}
	// Once the target takes them they arrive.
	b.remove(b.target + "/_design/v")
	if last := b.replicate(o); last.Refused != 0 || last.Written != 7 {
		t.Errorf("when they are wanted: %+v", last)
	}
	b.want(200, "GET", b.target+"/doc0043", nil)
	if got := b.replicate(o); got.Checked != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}

// refusedInFeed is a document that a continuous run was refused, which went on: the next run, whatever its kind, tries it again.
func refusedInFeed(t *testing.T, b bench) {
	b.want(201, "PUT", b.source+"/first", obj{})
	b.want(201, "PUT", b.target, nil)
	b.want(201, "PUT", b.target+"/_design/v", obj{"validate_doc_update": `function(d) { if (d._id === "first") throw({forbidden: "no"}); }`})
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		o := b.options()
		o.Continuous, o.Checkpoint = true, time.Nanosecond
		o.OnProgress = func(p replicate.Progress) {
			if p.Written == 1 && p.Checked == p.Total {
				cancel()
			}
		}
		b.want(201, "POST", b.source, obj{})
		if got, err := replicate.Replicate(ctx, o); !errors.Is(err, context.Canceled) || got.Refused != 1 {
			t.Errorf("%v: %+v", err, got)
		}
		cancel()
	}
	b.remove(b.target + "/_design/v")
	if got := b.replicate(b.options()); got.Written != 1 || got.Refused != 0 {
		t.Errorf("once, afterwards: %+v", got)
	}
	b.want(200, "GET", b.target+"/first", nil)
}

// remove deletes a document.
func (b bench) remove(path string) {
	b.t.Helper()
	var doc struct {
		Rev string `json:"_rev"`
	}
	if err := json.Unmarshal(b.want(200, "GET", path, nil), &doc); err != nil {
		b.t.Fatal(err)
	}
	b.want(200, "DELETE", path+"?rev="+doc.Rev, nil)
}

// tooLarge are requests that the target refuses for their size: the largest document alone is left out.
func tooLarge(t *testing.T, b bench) {
	n := b.fill(100)
	b.want(201, "PUT", b.source+"/large", obj{"text": strings.Repeat("x", 50_000)})
	o := b.options()
	b.through(&o.Target, func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/_bulk_docs") && r.ContentLength > 5_000 && answer(w, 413, "too_large")
	})
	if got := b.replicate(o); got.Refused != 1 || got.Written != int64(n) {
		t.Errorf("%d revisions: %+v", n, got)
	}
}

// revoked: a credential that ends during the run ends the run. It is not taken for documents that are refused.
func revoked(t *testing.T, b bench) {
	b.fill(10)
	o := b.options()
	var ended atomic.Bool
	b.through(&o.Target, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
			ended.Store(true)
		}
		return ended.Load() && answer(w, 401, "unauthorized")
	})
	got, err := replicate.Replicate(t.Context(), o)
	var refusal *replicate.AnswerError
	if !errors.As(err, &refusal) || refusal.Status != 401 || got.Refused != 0 {
		t.Errorf("%v, %+v", err, got)
	}
	if got := b.replicate(b.options()); got.Resumed {
		t.Errorf("documents were passed over: %+v", got)
	}
	b.same()
}

// largeAttachment passes through without being held.
func largeAttachment(t *testing.T, b bench) {
	const size, most = 64 << 20, 40 << 20
	r, err := http.NewRequestWithContext(t.Context(), "PUT", b.url+b.source+"/doc/file", io.LimitReader(rand.NewChaCha8([32]byte{}), size))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	var held atomic.Uint64
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			held.Store(max(held.Load(), m.HeapInuse))
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	got := b.replicate(b.options())
	close(done)
	<-watched
	if got.Attachments != 1 || got.AttachmentBytes != size || held.Load() > most {
		t.Errorf("held %d MiB: %+v", held.Load()>>20, got)
	}
	for _, db := range []string{b.source, b.target} {
		var doc struct {
			Attachments map[string]struct {
				Digest string
				Length int64
			} `json:"_attachments"`
		}
		if err := json.Unmarshal(b.want(200, "GET", db+"/doc", nil), &doc); err != nil {
			t.Fatal(err)
		}
		if a := doc.Attachments["file"]; a.Length != size || a.Digest == "" {
			t.Errorf("%s: %+v", db, a)
		}
	}
}
