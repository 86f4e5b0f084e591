package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	crashRounds  = 50
	crashWriters = 8
)

// TestKill ends a server with SIGKILL in the midst of concurrent writes, again and again, and then wants to find every write that was
// acknowledged, every change that a feed had shown, under the same sequence, and nothing that 'parlor check' complains of.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it kills a server fifty times")
	}
	t.Parallel()
	dir := t.TempDir()
	const settings = "[chttpd_auth]\niterations = 10\n[admins]\nadmin = secret\n"
	if err := os.WriteFile(filepath.Join(dir, "parlor.ini"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	// Built plain, for a server under the race detector takes a second to start.
	parlor := filepath.Join(dir, "parlor")
	if out, err := exec.Command("go", "build", "-o", parlor, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	c := &crash{parlor: parlor, dir: dir, seen: map[uint64]string{}}
	for round := range crashRounds {
		c.round(t, round)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
		if round%10 == 9 {
			c.check(t)
		}
	}
	t.Logf("%d writes acknowledged, %d changes shown by feeds", c.acknowledged.Load(), len(c.seen))
}

// crash is what the outside knows of a server that is killed.
type crash struct {
	parlor, dir  string
	acknowledged atomic.Int64
	sure         sync.Map // id → revision that was acknowledged

	mu   sync.Mutex
	seen map[uint64]string // sequence → id and revision, as a feed or listing has shown it
}

// round starts the server, looks for everything known so far, then writes and kills.
func (c *crash) round(t *testing.T, round int) {
	server, err := start(c.parlor, c.dir, os.Environ(), "-data", "data", "-config", "parlor.ini", "-addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if server.url == "" {
		t.Fatalf("the server did not start: %v\n%s", <-server.done, server.log())
	}
	killed := false
	defer func() {
		if !killed {
			server.kill()
		}
	}()
	conn := &http.Transport{MaxIdleConnsPerHost: crashWriters + 1}
	defer conn.CloseIdleConnections()
	db := crashDB{base: server.url + "/db", http: &http.Client{Transport: conn, Timeout: time.Minute}}
	if round == 0 {
		if status, answer, err := db.do(t.Context(), http.MethodPut, "", nil); err != nil || status != http.StatusCreated {
			t.Fatalf("making the database: %d %s %v", status, answer, err)
		}
	}
	c.verify(t, db)
	if t.Failed() {
		return
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wait sync.WaitGroup
	wait.Go(func() { c.follow(ctx, t, db) })
	// The server is killed when so many writes have been acknowledged, with the others under way.
	enough := int64(10 + rand.IntN(60))
	done := make(chan struct{})
	var once sync.Once
	var count atomic.Int64
	for writer := range crashWriters {
		wait.Go(func() {
			for n := 0; ; n++ {
				if !c.write(ctx, t, db, fmt.Sprintf("%02d-%d-%d", round, writer, n), n%4 == 3) {
					return
				}
				if count.Add(1) >= enough {
					once.Do(func() { close(done) })
				}
			}
		})
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("the writers make no progress")
	}
	server.kill()
	killed = true
	cancel()
	wait.Wait()
}

// write stores one document, or ten with _bulk_docs, and notes what was acknowledged. It reports whether the server still lives.
func (c *crash) write(ctx context.Context, t *testing.T, db crashDB, id string, bulk bool) bool {
	const body = `{"text":"in the midst of writing"}`
	if !bulk {
		status, answer, err := db.do(ctx, http.MethodPut, "/"+id, []byte(body))
		if err != nil {
			return false
		}
		var row crashRow
		if status != http.StatusCreated || json.Unmarshal(answer, &row) != nil {
			t.Errorf("PUT %s: %d %s", id, status, answer)
			return false
		}
		c.sure.Store(row.ID, row.Rev)
		c.acknowledged.Add(1)
		return true
	}
	var docs []string
	for i := range 10 {
		docs = append(docs, fmt.Sprintf(`{"_id":"%s-%d","text":"one of ten"}`, id, i))
	}
	status, answer, err := db.do(ctx, http.MethodPost, "/_bulk_docs", []byte(`{"docs":[`+strings.Join(docs, ",")+`]}`))
	if err != nil {
		return false
	}
	var rows []crashRow
	if status != http.StatusCreated || json.Unmarshal(answer, &rows) != nil || len(rows) != 10 {
		t.Errorf("_bulk_docs: %d %s", status, answer)
		return false
	}
	for _, row := range rows {
		c.sure.Store(row.ID, row.Rev)
	}
	c.acknowledged.Add(10)
	return true
}

// follow reads a continuous feed and notes what it shows.
func (c *crash) follow(ctx context.Context, t *testing.T, db crashDB) {
	c.mu.Lock()
	since := uint64(0)
	for seq := range c.seen {
		since = max(since, seq)
	}
	c.mu.Unlock()
	req, err := db.request(ctx, http.MethodGet, fmt.Sprintf("/_changes?feed=continuous&heartbeat=60000&since=%d", since), nil)
	if err != nil {
		t.Error(err)
		return
	}
	res, err := db.http.Transport.RoundTrip(req)
	if err != nil {
		return // killed before the feed began
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		var row crashRow
		if len(lines.Bytes()) > 0 && json.Unmarshal(lines.Bytes(), &row) == nil && row.ID != "" {
			c.show(t, row)
		}
	}
}

// show notes one row of a feed; a sequence always belongs to the same revision of the same document.
func (c *crash) show(t *testing.T, row crashRow) {
	number, _, _ := strings.Cut(row.Seq, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil || len(row.Changes) != 1 {
		t.Errorf("a row that is none: %+v", row)
		return
	}
	text := row.ID + " " + row.Changes[0].Rev
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.seen[seq]; ok && before != text {
		t.Errorf("sequence %d was given to %s, then to %s", seq, before, text)
	}
	c.seen[seq] = text
}

// verify compares all that the server lists with all that is known.
func (c *crash) verify(t *testing.T, db crashDB) {
	status, answer, err := db.do(t.Context(), http.MethodGet, "/_changes", nil)
	var listing struct{ Results []crashRow }
	if err != nil || status != http.StatusOK || json.Unmarshal(answer, &listing) != nil {
		t.Errorf("_changes: %d %.200s %v", status, answer, err)
		return
	}
	revs := make(map[string]string, len(listing.Results))
	for _, row := range listing.Results {
		c.show(t, row)
		if len(row.Changes) == 1 {
			revs[row.ID] = row.Changes[0].Rev
		}
	}
	c.sure.Range(func(id, rev any) bool {
		if revs[id.(string)] != rev {
			t.Errorf("%s was acknowledged as %s and is now %q", id, rev, revs[id.(string)])
		}
		return true
	})
	for seq, text := range c.seen {
		id, rev, _ := strings.Cut(text, " ")
		if revs[id] != rev {
			t.Errorf("the feed showed %s under %d, and it is gone", text, seq)
		}
	}
}

// check runs 'parlor check'.
func (c *crash) check(t *testing.T) {
	cmd := exec.Command(c.parlor, "check", "data")
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("parlor check: %v\n%s", err, out)
	}
}

// crashRow is a row of _changes, or an answer to a write.
type crashRow struct {
	Seq     string `json:"seq"`
	ID      string `json:"id"`
	Rev     string `json:"rev"`
	Changes []struct {
		Rev string `json:"rev"`
	} `json:"changes"`
}

// crashDB is a client of one database.
type crashDB struct {
	base string
	http *http.Client
}

func (db crashDB) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, db.base+path, strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("admin", "secret")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

func (db crashDB) do(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	req, err := db.request(ctx, method, path, body)
	if err != nil {
		return 0, nil, err
	}
	res, err := db.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}
