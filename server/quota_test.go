package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// TestQuotas: an owner has no more vaults and bytes than the settings allow; deleting is always possible.
func TestQuotas(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[parlor_vaults]", "max_vaults = 2", "max_bytes = 10000")
	ts.addUsers("ann", "bob")
	large := `{"data":"` + strings.Repeat("x", 6000) + `"}`
	ts.steps(
		step{ann, "PUT", "/ann-a", "", 201},
		step{ann, "PUT", "/ann-b", "", 201},
		step{ann, "PUT", "/ann-c", "", 413},
		step{admin, "PUT", "/ann-c?owner=ann", "", 201},
		step{admin, "DELETE", "/ann-c", "", 200},
		step{ann, "POST", "/_vaults/ann-c", `{"action":"undelete"}`, 413},
		// A rebuild is not one more.
		step{ann, "DELETE", "/ann-b", "", 200},
		step{ann, "PUT", "/ann-b", "", 201},
		step{ann, "PUT", "/ann-a/_vault", `{"shares":{"bob":"write"}}`, 200},
		step{bob, "PUT", "/ann-a/doc", large, 201},
		step{bob, "PUT", "/ann-a/doc2", large, 507},
		step{ann, "PUT", "/ann-b/doc", large, 507},
		step{ann, "POST", "/ann-b/_bulk_docs", `{"docs":[` + large + `]}`, 507},
		step{ann, "PUT", "/ann-b/_local/large", `{"data":"` + strings.Repeat("x", checkpointBytes) + `"}`, 507},
		step{ann, "PUT", "/ann-b/_local/small", large, 201},
		step{ann, "PUT", "/ann-b/_local/small2", large, 201}, // there is no room for it, but replication must go on
		step{ann, "COPY", "/ann-a/doc", "", 400},
		step{bob, "PUT", "/bob-a", "", 201},
		step{bob, "PUT", "/bob-a/doc", large, 201}, // what is shared with bob is not his
	)
	if status, text := ts.as(ann, "PUT", "/ann-b/doc/file", large, "Content-Type", "image/png"); status != 507 {
		t.Errorf("an attachment: %d %s", status, text)
	}
	if _, text := ts.as(ann, "PUT", "/ann-b/doc", large); !strings.Contains(text, `"error":"insufficient_storage"`) {
		t.Errorf("the answer is %s", text)
	}
	full := ts.send(ann, "PUT", "/ann-b/doc", large, "Origin", "capacitor://localhost")
	full.Body.Close()
	if got := full.Header.Get("Access-Control-Allow-Origin"); full.StatusCode != 507 || got != "capacitor://localhost" {
		t.Errorf("%s, for the origin %q: Obsidian would show \"Failed to fetch\"", full.Status, got)
	}
	res := ts.send(ann, "HEAD", "/ann-a/doc", "")
	res.Body.Close()
	rev := strings.Trim(res.Header.Get("Etag"), `"`)
	ts.steps(
		step{ann, "DELETE", "/ann-a/doc?rev=" + rev, "", 200},
		step{ann, "POST", "/ann-a/_compact", `{}`, 202},
		step{ann, "DELETE", "/ann-b", "", 200}, // with it go its _local documents
		step{ann, "PUT", "/ann-a/doc3", large, 201},
	)
}

// TestQuotaCountsAllThatGrows: what is not in a document's body counts as well, and still does when it is counted anew.
func TestQuotaCountsAllThatGrows(t *testing.T) {
	t.Parallel()
	long := func(i int) string { return fmt.Sprintf("%05d", i) + strings.Repeat("x", 4995) }
	for name, write := range map[string]func(i int) string{
		"ids": func(i int) string { return `{"docs":[{"_id":"` + long(i) + `"}]}` },
		"histories": func(i int) string {
			return fmt.Sprintf(`{"new_edits":false,"docs":[{"_id":"%d","_revisions":{"start":20,"ids":["%s"]}}]}`, i, longHashes(i, 20, `","`))
		},
		"tombstones of what never was": func(i int) string {
			return fmt.Sprintf(`{"new_edits":false,"docs":[{"_id":"%d","_rev":"1-a","_deleted":true,"data":"%s"}]}`, i, long(i)[:900])
		},
		"tombstones that are conflicts": func(i int) string {
			return fmt.Sprintf(`{"new_edits":false,"docs":[{"_id":"doc","_rev":"1-%05d","_deleted":true,"data":"%s"}]}`, i, long(i)[:900])
		},
		"tombstones of one revision": func(i int) string {
			one := `{"_id":"doc","_revisions":{"start":2,"ids":["%d","a"]},"_deleted":true,"data":"` + long(i)[:900] + `"}`
			return fmt.Sprintf(`{"new_edits":false,"docs":[`+one+`,`+one+`,`+one+`,`+one+`]}`, 4*i, 4*i+1, 4*i+2, 4*i+3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := newTestServer(t, "[parlor_vaults]", "max_bytes = 20000")
			var passed atomic.Int64
			ts.s.now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
			ts.addUsers("ann")
			ts.steps(step{ann, "PUT", "/ann-a", "", 201}, step{ann, "POST", "/ann-a/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"doc","_rev":"1-a"}]}`, 201})
			sent, last := 0, 0
			for i := range 50 {
				body := write(i)
				if last, _ = ts.as(ann, "POST", "/ann-a/_bulk_docs", body); last == 201 {
					sent += len(body)
				}
				passed.Add(int64(time.Minute))
			}
			if last != 507 || sent < 10000 || sent > 22000 {
				t.Errorf("%d bytes were taken, and the last answer is %d", sent, last)
			}
		})
	}
}

// longHashes are n hashes that nobody else has, with a separator between.
func longHashes(i, n int, separator string) string {
	hashes := make([]string, n)
	for j := range hashes {
		hashes[j] = fmt.Sprintf("%05d-%03d-", i, j) + strings.Repeat("x", 240)
	}
	return strings.Join(hashes, separator)
}

// TestQuotaCountsCheckpoints: _local documents count with their ids. They are written without room as well, but not without number.
func TestQuotaCountsCheckpoints(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[parlor_vaults]", "max_bytes = 20000")
	ts.addUsers("ann")
	ts.steps(step{ann, "PUT", "/ann-a", "", 201})
	for i := range 4 {
		ts.steps(step{ann, "PUT", fmt.Sprintf("/ann-a/_local/%d%s", i, strings.Repeat("x", 4900)), `{}`, 201})
	}
	ts.steps(step{ann, "PUT", "/ann-a/doc", `{"data":"` + strings.Repeat("x", 1000) + `"}`, 507})
	db, err := ts.store.DB("ann-a")
	if err != nil {
		t.Fatal(err)
	}
	for i := 4; i < checkpointCount; i++ {
		if _, err := db.PutLocal(t.Context(), fmt.Sprint("c", i), 0, []byte(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	large := `{"data":"` + strings.Repeat("x", 6000) + `"}`
	ts.steps(
		step{ann, "PUT", "/ann-a/_local/new", large, 507},
		step{ann, "PUT", "/ann-a/_local/c4", `{"_rev":"0-1","data":"` + large[9:], 201},
		step{ann, "DELETE", "/ann-a/_local/c5?rev=0-1", "", 200},
		step{ann, "PUT", "/ann-a/_local/new", large, 201},
		step{ann, "PUT", "/ann-a/_local/" + strings.Repeat("x", 6000), `{"data":"` + strings.Repeat("x", checkpointBytes-6000) + `"}`, 507},
	)
}

// TestDeletingWithoutRoom: whatever is deleted, and however, there is room for its tombstone.
func TestDeletingWithoutRoom(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[parlor_vaults]", "max_bytes = 20000")
	ts.addUsers("ann")
	ts.steps(step{ann, "PUT", "/ann-a", "", 201})
	db, err := ts.store.DB("ann-a")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // more than there is room for, as when the quota was lowered
		w := store.Write{Doc: store.Doc{ID: fmt.Sprint(i), Body: []byte(`{"data":"` + strings.Repeat("x", 1000) + `"}`)}, History: []rev.ID{{Gen: 1, Hash: "a"}}}
		if _, err := db.Write(t.Context(), []store.Write{w}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const replicated = `{"new_edits":false,"docs":[`
	ts.steps(
		step{ann, "PUT", "/ann-a/doc", `{}`, 507},
		step{ann, "DELETE", "/ann-a/0?rev=1-a", "", 200},
		step{ann, "PUT", "/ann-a/1?rev=1-a", `{"_deleted":true,"data":"` + strings.Repeat("x", 900) + `"}`, 200},
		step{ann, "PUT", "/ann-a/2?rev=1-a", `{"_deleted":true,"data":"` + strings.Repeat("x", 1100) + `"}`, 507},
		step{ann, "POST", "/ann-a/_bulk_docs", `{"docs":[{"_id":"3","_rev":"1-a","_deleted":true},{"_id":"4","_rev":"1-a","_deleted":true}]}`, 201},
		step{ann, "POST", "/ann-a/_bulk_docs", replicated + `{"_id":"5","_revisions":{"start":3,"ids":["c","b","a"]},"_deleted":true}]}`, 201},
		step{ann, "POST", "/ann-a/_bulk_docs", replicated + `{"_id":"6","_revisions":{"start":21,"ids":["` + longHashes(6, 20, `","`) + `","a"]},"_deleted":true}]}`, 507},
		step{ann, "POST", "/ann-a/_bulk_docs", `{"docs":[{"_id":"7","_rev":"1-a","_deleted":true},{"_id":"new"}]}`, 507},
		step{ann, "GET", "/ann-a/7", "", 200},
	)
}

// TestKeptCopiesAreBounded: deleting and making vaults is no way around the quotas; but of the older copies go only those for which there is no room.
func TestKeptCopiesAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		setting string
		path    string // of the document in each
		sizes   []int  // of the vaults that are deleted, the oldest first: ann-0, ann-1, …
		want    string
	}{
		{"max_bytes = 10000", "/doc", []int{6000, 6000, 6000}, "ann-2, "},
		{"max_bytes = 10000", "/doc", []int{2000, 7000, 5000}, "ann-0, ann-2, "},
		{"max_bytes = 10000", "/_local/doc", []int{6000, 6000, 6000}, "ann-2, "},
		{"max_vaults = 2", "/doc", []int{1, 1, 1}, "ann-1, ann-2, "},
	} {
		ts := newTestServer(t, "[parlor_vaults]", c.setting)
		ts.addUsers("ann")
		for i, size := range c.sizes {
			name := fmt.Sprintf("/ann-%d", i)
			ts.steps(
				step{ann, "PUT", name, "", 201},
				step{ann, "PUT", name + c.path, `{"data":"` + strings.Repeat("x", size) + `"}`, 201},
				step{ann, "DELETE", name, "", 200},
			)
		}
		if got := vaultList(t, ts, ann, "/_vaults?deleted=true"); got != c.want {
			t.Errorf("with %s, of vaults with %v bytes in %s %q are kept, want %q", c.setting, c.sizes, c.path, got, c.want)
		}
	}
}

// TestQuotaIsNoFaultOfTheServer: that an owner has no room left is in the log once, and is no error there. That the disk has none is.
func TestQuotaIsNoFaultOfTheServer(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"quota": {overQuota(11, 10), []string{"level=INFO msg=request"}},
		"disk":  {store.ErrFull, []string{"level=ERROR msg=failed", "level=ERROR msg=request"}},
	} {
		var log bytes.Buffer
		ts.s.log = slog.New(slog.NewTextHandler(&log, nil))
		r := ts.s.newRequest(httptest.NewRequest("PUT", "/ann-a/doc", nil), ts.s.settings.Load())
		r.w = response{ResponseWriter: httptest.NewRecorder()}
		ts.s.refuse(r, c.err)
		ts.s.finish(r, ts.s.now(), nil)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		ok := r.w.status == 507 && len(lines) == len(c.want)
		for i := range lines {
			ok = ok && strings.Contains(lines[i], c.want[i]+" ")
		}
		if !ok {
			t.Errorf("%s: status %d, and the log\n%s", name, r.w.status, &log)
		}
	}
}
