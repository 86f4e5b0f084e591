package livesync

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	parameters = "/_local/obsidian_livesync_sync_parameters"
	milestone  = "/_local/obsydian_livesync_milestone"
	version    = "/obsydian_livesync_version"

	noLeaves = `{"selector":{"type":{"$ne":"leaf"}}}`
)

// TestLiveSync runs the flows of the client on one server, each in a database of its own.
func TestLiveSync(t *testing.T) {
	t.Parallel()
	url := serve(t)
	member := basic("member", memberPassword)
	for _, flow := range []struct {
		name, auth string
		run        func(*testing.T, string, device)
	}{
		{"sync-basic", member, oneSync},
		{"sync-jwt", bearer("member", time.Now().Add(5*time.Minute)), oneSync},
		{"stale-local", member, staleLocal},
		{"three-at-once", member, threeAtOnce},
		{"live", member, live},
		{"fast-fetch", member, fastFetch},
		{"rebuild", member, rebuild},
		{"maintenance", member, maintenance},
		{"too-large", member, tooLarge},
		{"cors", member, crossOrigin},
	} {
		t.Run(flow.name, func(t *testing.T) {
			t.Parallel()
			vault(t, url, flow.name)
			flow.run(t, "/"+flow.name, device{t, url, flow.auth})
		})
	}
}

// errConflict is the answer to the slower of two devices. The client's next attempt heals it.
var errConflict = errors.New("another device was faster")

// salt brings the "Security Seed" into being if it is not there, as each device does first, and returns it. It may be
// called from any goroutine.
func (d device) salt(db string) (string, error) {
	type params struct {
		ID       string `json:"_id"`
		Rev      string `json:"_rev,omitempty"`
		Type     string `json:"type"`
		Protocol int    `json:"protocolVersion"`
		Salt     string `json:"pbkdf2salt"`
	}
	p := params{ID: parameters[1:], Type: "sync-parameters", Protocol: 2}
	ask := func(method string, body any, statuses ...int) (answer, error) {
		a, err := try(d.request(method, db+parameters, body))
		switch {
		case err != nil:
			return a, err
		case a.status == http.StatusConflict:
			return a, errConflict
		case !slices.Contains(statuses, a.status):
			return a, fmt.Errorf("%s: %d %s", method, a.status, a.body)
		}
		return a, nil
	}
	a, err := ask("GET", nil, 200, 404)
	if err != nil {
		return "", err
	}
	if a.status == 404 {
		if _, err := ask("PUT", p, 201); err != nil {
			return "", err
		}
		if a, err = ask("GET", nil, 200); err != nil {
			return "", err
		}
	}
	if err := json.Unmarshal(a.body, &p); err != nil || p.Salt != "" {
		return p.Salt, err
	}
	p.Salt = rand.Text()
	if _, err := ask("PUT", p, 201); err != nil {
		return "", err
	}
	if a, err = ask("GET", nil, 200); err != nil {
		return "", err
	}
	err = json.Unmarshal(a.body, &p)
	return p.Salt, err
}

// oneSync is the first sync of a device, in the order of the trace.
func oneSync(t *testing.T, db string, d device) {
	d.want(404, "GET", db+parameters, nil)
	if _, err := d.salt(db); err != nil {
		t.Fatal(err)
	}
	info := d.want(200, "GET", db+"/", nil)
	if info.text(t, "db_name") != db[1:] || seqNumber(t, info.value(t, "update_seq")) != 0 {
		t.Errorf("info of an empty database: %s", info.body)
	}
	d.want(404, "GET", db+version, nil)
	d.want(201, "PUT", db+version, obj{"_id": version[1:], "version": 12, "type": "versioninfo"})
	d.want(404, "GET", db+milestone, nil)
	d.want(201, "PUT", db+milestone, obj{"_id": milestone[1:], "type": "milestoneinfo", "created": 1795281956249, "locked": false,
		"accepted_nodes": []string{"pt2w7lea19"}, "node_chunk_info": obj{"pt2w7lea19": obj{"min": 0, "max": 2400, "current": 2}}})
	a := d.want(200, "GET", "/", nil)
	if b := d.want(200, "GET", "/", nil); a.text(t, "uuid") != b.text(t, "uuid") {
		t.Error("the uuid of the server is not stable: every checkpoint would be lost")
	}
	pull(t, db, d)
	push(t, db, d)
}

// pull reads the changes without chunks, then the bodies, and keeps a checkpoint.
func pull(t *testing.T, db string, d device) {
	checkpoint := db + "/_local/" + url.PathEscape("wVtwYL7cCDwpdIi9KqPaVw==")
	d.want(404, "GET", checkpoint, nil)
	a := d.want(200, "POST", db+"/_changes?style=all_docs&filter=_selector&since=0&limit=25", noLeaves)
	if a.text(t, "results", 0, "id") != version[1:] || a.value(t, "results", 1) != nil || a.value(t, "pending") != 0.0 {
		t.Fatalf("changes: %s", a.body)
	}
	rev := a.text(t, "results", 0, "changes", 0, "rev")
	last := a.text(t, "last_seq")
	got := d.want(200, "POST", db+"/_bulk_get?revs=true&latest=true", obj{"docs": []obj{{"id": version[1:], "rev": rev}, {"id": "none", "rev": "1-a"}}})
	if got.value(t, "results", 0, "docs", 0, "ok", "version") != 12.0 || got.value(t, "results", 0, "docs", 0, "ok", "_revisions", "start") != 1.0 {
		t.Errorf("_bulk_get: %s", got.body)
	}
	if got.value(t, "results", 1, "docs", 0, "error") == nil {
		t.Errorf("_bulk_get of a missing document: %s", got.body)
	}
	kept := obj{"_id": "_local/wVtwYL7cCDwpdIi9KqPaVw==", "session_id": "s", "replicator": "pouchdb", "version": 1, "last_seq": last,
		"history": []obj{{"last_seq": last, "session_id": "s"}}}
	d.want(201, "PUT", checkpoint, kept)
	if d.want(200, "GET", checkpoint, nil).text(t, "last_seq") != last {
		t.Error("the checkpoint does not come back")
	}
	a = d.want(200, "POST", db+"/_changes?style=all_docs&filter=_selector&limit=25&since="+url.QueryEscape(last), noLeaves)
	if a.value(t, "results", 0) != nil {
		t.Errorf("changes after the checkpoint: %s", a.body)
	}
}

// push writes a note and its chunks with the revisions that the device made, and fetches the chunks as another device would.
func push(t *testing.T, db string, d device) {
	const note, chunk = "f:cf3726a20f324da71a8bd4bb767284be2e8378da2385e1640c8c39e1edaed19e", "h:+ekkx24cm39m4"
	const noteRev, chunkRev = "e478e717b7fe86f5ceb1a81e1556ba1b", "2a1ea36099525a712cc6c31c0bd6f678"
	a := d.want(200, "POST", db+"/_revs_diff", obj{note: []string{"1-" + noteRev}, chunk: []string{"1-" + chunkRev}})
	if a.text(t, note, "missing", 0) != "1-"+noteRev || a.text(t, chunk, "missing", 0) != "1-"+chunkRev {
		t.Fatalf("_revs_diff: %s", a.body)
	}
	docs := []obj{
		{"_id": note, "_rev": "1-" + noteRev, "_revisions": obj{"start": 1, "ids": []string{noteRev}}, "path": "/\\:%=Ucn5", "type": "plain", "children": []string{chunk}, "eden": obj{}},
		{"_id": chunk, "_rev": "1-" + chunkRev, "_revisions": obj{"start": 1, "ids": []string{chunkRev}}, "type": "leaf", "data": "%=Xscpg1AZJgb"},
	}
	if a := d.want(201, "POST", db+"/_bulk_docs", obj{"docs": docs, "new_edits": false}); strings.TrimSpace(string(a.body)) != "[]" {
		t.Errorf("_bulk_docs: %s", a.body)
	}
	if a := d.want(200, "POST", db+"/_revs_diff", obj{note: []string{"1-" + noteRev}}); strings.TrimSpace(string(a.body)) != "{}" {
		t.Errorf("_revs_diff afterwards: %s", a.body)
	}
	a = d.want(200, "POST", db+"/_changes?style=all_docs&filter=_selector&since=0&limit=25", noLeaves)
	if a.value(t, "results", 1, "id") != note || a.value(t, "results", 2) != nil {
		t.Errorf("the selector lets a chunk through, or the note not: %s", a.body)
	}
	a = d.want(200, "POST", db+"/_all_docs?include_docs=true", obj{"keys": []string{chunk, "h:missing"}})
	if a.value(t, "rows", 0, "doc", "data") != "%=Xscpg1AZJgb" || a.value(t, "rows", 1, "error") != "not_found" {
		t.Errorf("the chunks: %s", a.body)
	}
	info := d.want(200, "GET", db+"/", nil)
	if seqNumber(t, info.value(t, "update_seq")) != 3 || info.value(t, "doc_count") != 3.0 {
		t.Errorf("info: %s", info.body)
	}
	if _, ok := info.value(t, "sizes", "file").(float64); !ok {
		t.Errorf("sizes.file is no number: %s", info.body)
	}
}

// staleLocal: a _local document that exists is not overwritten by a device that has not read it.
func staleLocal(t *testing.T, db string, d device) {
	d.want(201, "PUT", db+milestone, obj{"n": 1})
	first := d.want(200, "GET", db+milestone, nil).text(t, "_rev")
	d.want(409, "PUT", db+milestone, obj{"n": 2})
	d.want(409, "PUT", db+milestone, obj{"n": 2, "_rev": "0-77"})
	d.want(201, "PUT", db+milestone, obj{"n": 2, "_rev": first})
	d.want(409, "PUT", db+milestone, obj{"n": 3, "_rev": first})
	if a := d.want(200, "GET", db+milestone, nil); a.value(t, "n") != 2.0 {
		t.Errorf("a refused write was kept: %s", a.body)
	}
	d.want(409, "DELETE", db+milestone, nil)
	d.want(200, "GET", db+milestone, nil)
	d.want(404, "GET", "/no-such-vault"+milestone, nil)
}

// threeAtOnce: devices that make first contact at the same moment end with one salt.
func threeAtOnce(t *testing.T, db string, d device) {
	for round := range 8 {
		name := fmt.Sprintf("%s-%d", db, round)
		vault(t, d.url, name[1:])
		var salts [3]string
		var errs [3]error
		var devices sync.WaitGroup
		for i := range salts {
			devices.Go(func() {
				for range 10 {
					if salts[i], errs[i] = d.salt(name); !errors.Is(errs[i], errConflict) {
						return
					}
				}
			})
		}
		devices.Wait()
		want := d.want(200, "GET", name+parameters, nil).text(t, "pbkdf2salt")
		for i := range salts {
			if errs[i] != nil || salts[i] == "" || salts[i] != want {
				t.Errorf("round %d: device %d has the salt %q, the server %q, %v", round, i, salts[i], want, errs[i])
			}
		}
	}
}

// live is LiveSync mode: a long poll that beats while it waits and wakes when another device writes.
func live(t *testing.T, db string, d device) {
	d.want(201, "PUT", db+"/before", obj{"type": "plain"})
	since := d.want(200, "GET", db+"/", nil).text(t, "update_seq")
	r := d.request("POST", db+"/_changes?style=all_docs&feed=longpoll&heartbeat=100&filter=_selector&limit=25&since="+url.QueryEscape(since), noLeaves)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	seen := ""
	for strings.Count(seen, "\n") < 3 { // it waits, and beats
		line, err := in.ReadString('\n')
		if seen += line; err != nil || strings.Contains(line, "last_seq") {
			t.Fatalf("the poll ended before anything was written: %q, %v", seen, err)
		}
	}
	d.want(201, "PUT", db+"/h:chunk", obj{"type": "leaf"}) // the selector leaves this out
	d.want(201, "PUT", db+"/after", obj{"type": "plain"})
	var rest strings.Builder
	rest.WriteString(seen)
	if _, err := in.WriteTo(&rest); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results []struct{ ID string }
		LastSeq string `json:"last_seq"`
	}
	if err := json.Unmarshal([]byte(rest.String()), &got); err != nil {
		t.Fatalf("%q: %v", rest.String(), err)
	}
	if len(got.Results) != 1 || got.Results[0].ID != "after" || seqNumber(t, got.LastSeq) != 3 {
		t.Errorf("the poll brought %s", rest.String())
	}
}

// fastFetch streams a whole vault in pages.
func fastFetch(t *testing.T, db string, d device) {
	const count = 60
	docs := make([]obj, count)
	for i := range docs {
		docs[i] = obj{"_id": fmt.Sprintf("h:%03d", i), "type": "leaf", "data": "x"}
	}
	d.want(201, "POST", db+"/_bulk_docs", obj{"docs": docs})
	a := d.want(200, "GET", db+"/_changes?feed=normal&since=now&limit=1&include_docs=false&style=all_docs&conflicts=true&revs=true", nil)
	if seqNumber(t, a.value(t, "last_seq")) != count {
		t.Errorf("since=now: %s", a.body)
	}
	since, got := "0", 0
	for {
		probe := d.want(200, "GET", db+"/_changes?feed=normal&limit=1&include_docs=false&style=all_docs&conflicts=true&revs=true&since="+url.QueryEscape(since), nil)
		rows, ok1 := probe.value(t, "results").([]any)
		pending, ok2 := probe.value(t, "pending").(float64)
		if !ok1 || !ok2 || pending < 0 || pending != float64(int(pending)) {
			t.Fatalf("the probe: %s", probe.body)
		}
		left := len(rows) + int(pending)
		if left != count-got {
			t.Fatalf("%d are left after %d of %d", left, got, count)
		}
		if left == 0 {
			return
		}
		n, last := page(t, db, d, since, min(25, left))
		got, since = got+n, last
	}
}

// page reads one page of Fast Fetch: rows, then a line with last_seq and without seq.
func page(t *testing.T, db string, d device, since string, limit int) (rows int, last string) {
	t.Helper()
	a := d.do("GET", fmt.Sprintf("%s/_changes?feed=continuous&include_docs=true&style=all_docs&conflicts=true&revs=true&since=%s&limit=%d&timeout=1000",
		db, url.QueryEscape(since), limit), nil)
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for line := range strings.Lines(string(a.body)) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var row struct {
			Seq     *string
			LastSeq *string `json:"last_seq"`
			Doc     *struct {
				ID string `json:"_id"`
			}
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		switch {
		case last != "":
			t.Fatalf("a line after last_seq: %q", line)
		case row.Seq != nil && row.Doc != nil && row.Doc.ID != "":
			rows++
		case row.LastSeq != nil && row.Seq == nil:
			last = *row.LastSeq
		default:
			t.Fatalf("a line that is neither a row nor the end: %q", line)
		}
	}
	if rows != limit || last == "" {
		t.Fatalf("%d rows and the end %q, want %d rows", rows, last, limit)
	}
	return rows, last
}
