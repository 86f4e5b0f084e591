package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parlordb/parlor/store"
)

// TestQuotas: an owner has no more vaults and bytes than the settings allow; deleting is always possible.
func TestQuotas(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[parlor_vaults]", "max_vaults = 2", "max_bytes = 10000")
	ts.do("PUT", "/_users", "")
	ts.addUser("ann")
	ts.addUser("bob")
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

// TestKeptCopiesAreBounded: deleting and making vaults is no way around the quotas; but of the older copies go only those for which there is no room.
func TestKeptCopiesAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		setting string
		sizes   []int // of the vaults that are deleted, the oldest first: ann-0, ann-1, …
		want    string
	}{
		{"max_bytes = 10000", []int{6000, 6000, 6000}, "ann-2, "},
		{"max_bytes = 10000", []int{2000, 7000, 5000}, "ann-0, ann-2, "},
		{"max_vaults = 2", []int{1, 1, 1}, "ann-1, ann-2, "},
	} {
		ts := newTestServer(t, "[parlor_vaults]", c.setting)
		ts.do("PUT", "/_users", "")
		ts.addUser("ann")
		for i, size := range c.sizes {
			name := fmt.Sprintf("/ann-%d", i)
			ts.steps(
				step{ann, "PUT", name, "", 201},
				step{ann, "PUT", name + "/doc", `{"data":"` + strings.Repeat("x", size) + `"}`, 201},
				step{ann, "DELETE", name, "", 200},
			)
		}
		if got := vaultList(t, ts, ann, "/_vaults?deleted=true"); got != c.want {
			t.Errorf("with %s, of vaults of %v bytes %q are kept, want %q", c.setting, c.sizes, got, c.want)
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
