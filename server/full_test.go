package server

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// shortFS is a disk in memory that says that so many bytes are free.
type shortFS struct {
	vfs.FS
	free atomic.Uint64
}

func (f *shortFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free.Load(), TotalBytes: 1 << 41, UsedBytes: 1 << 20}, nil
}

// TestFullDisk: every kind of write is refused and leaves nothing behind, reads go on, and so do writes when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	fs := &shortFS{FS: vfs.NewMem()}
	fs.free.Store(1 << 40)
	ts := newTestServerOn(t, fs)
	ts.do("PUT", "/db", "")
	stored := ts.do("PUT", "/db/doc", `{"n":1,"_attachments":{"a":{"content_type":"a/b","data":"AAAA"}}}`)
	before := ts.do("GET", "/db/_all_docs?include_docs=true", "")
	fs.free.Store(1 << 20)
	full := func(method, path, body string, headers ...string) {
		t.Helper()
		if status, text := ts.as("admin:secret", method, path, body, headers...); status != 507 || !strings.Contains(text, `"error":"insufficient_storage"`) {
			t.Errorf("%s %s: %d %s", method, path, status, text)
		}
	}
	full("PUT", "/other", "")
	full("PUT", "/db/new", `{}`)
	full("POST", "/db", `{}`)
	full("POST", "/db/_bulk_docs", `{"docs":[{"_id":"new"},{"_id":"newer"}]}`)
	full("POST", "/db/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"new","_rev":"1-a"}]}`)
	full("PUT", "/db/_local/new", `{}`)
	full("PUT", "/db/new/a", strings.Repeat("x", 1<<20), "Content-Type", "application/octet-stream")
	full("PUT", "/db/_security", `{}`)
	if got := ts.do("GET", "/_up", ""); !strings.Contains(got, `"status":"disk_full"`) {
		t.Errorf("/_up: %s", got)
	}
	if got := ts.do("GET", "/db/_all_docs?include_docs=true", ""); got != before {
		t.Errorf("documents: %s, before %s", got, before)
	}
	if got := ts.do("GET", "/db/doc/a", ""); got != "\x00\x00\x00" {
		t.Errorf("the attachment: %q", got)
	}
	fs.free.Store(1 << 40)
	ts.do("PUT", "/db/doc?rev="+stringMember(t, stored, "rev"), `{"n":2}`)
	if got := ts.do("GET", "/_up", ""); !strings.Contains(got, `"status":"ok"`) {
		t.Errorf("/_up, with room again: %s", got)
	}
}
