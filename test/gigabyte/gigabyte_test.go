// Package gigabyte sends an attachment of a gigabyte through the program, whose memory must not grow with it.
package gigabyte

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/parlordb/parlor/test/program"
)

const (
	size     = 1 << 30
	mostHeld = 400 << 20 // bytes of memory: caches and tables being written, far less than the attachment
)

func TestGigabyte(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a gigabyte, which -short leaves out")
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells the most memory that a process has held")
	}
	ctx, dir := t.Context(), t.TempDir()
	bin, err := program.Build(ctx, dir, false) // the race detector's own memory would count
	if err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(dir, "parlor.ini")
	if err := os.WriteFile(settings, []byte("[couchdb]\ndefault_security = everyone\n[admins]\nadmin = secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv, err := program.Start(context.WithoutCancel(ctx), program.Options{Binary: bin, Data: filepath.Join(dir, "data"), Config: []string{settings}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
	}()
	db := srv.URL + "/db"
	send(t, "PUT", db, nil, io.Discard)
	sum := md5.New()
	put := send(t, "PUT", db+"/doc/file", io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{}), size), sum), io.Discard)
	if put.StatusCode != http.StatusCreated {
		t.Fatalf("PUT: %s", put.Status)
	}
	want := digest(sum)
	back := md5.New()
	got := send(t, "GET", db+"/doc/file", nil, back)
	if got.StatusCode != http.StatusOK || got.ContentLength != size || got.Header.Get("ETag") != `"`+want+`"` || digest(back) != want {
		t.Errorf("GET: %s, %d bytes, digest %s, ETag %s, want %s", got.Status, got.ContentLength, digest(back), got.Header.Get("ETag"), want)
	}
	// A device that fetches the document with its attachments gets it as one part of several.
	var passed counter
	if related := send(t, "GET", db+"/doc?attachments=true", nil, &passed); related.StatusCode != http.StatusOK || passed < size {
		t.Errorf("GET with attachments: %s, %d bytes", related.Status, passed)
	}
	held, err := srv.Memory("VmHWM")
	if err != nil {
		t.Fatal(err)
	}
	if held > mostHeld {
		t.Errorf("the program held %d MiB", held>>20)
	}
	t.Logf("the program held %d MiB at most", held>>20)
}

// counter counts what passes, and keeps nothing of it.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func digest(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

// send makes a request as the admin and copies the answer's body to where it should go.
func send(t *testing.T, method, url string, body io.Reader, to io.Writer) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", "secret")
	r.Header.Set("Content-Type", "application/octet-stream")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(to, res.Body)
	if err != nil {
		t.Fatal(fmt.Errorf("%s %s: after %d bytes: %w", method, url, n, err))
	}
	return res
}
