package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/store"
)

func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	st, err := store.Open("data", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	h := &backupHandler{store: st, data: data, log: slog.New(slog.DiscardHandler)}
	answer := func(method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		return w
	}
	if w := answer(http.MethodGet); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
	h.busy.Lock()
	if w := answer(http.MethodPost); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "Another backup is being made.") {
		t.Errorf("a second at the same time: %d %s", w.Code, w.Body)
	}
	h.busy.Unlock()
	if w := answer(http.MethodPost); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), data) {
		t.Errorf("a store that is closed: %d %s", w.Code, w.Body)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A backup that breaks off leaves no file that could be taken for one.
func TestDownloadBreaksOff(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the beginning")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, _, err = download(context.Background(), &client{base: base, http: server.Client()}, filepath.Join(dir, "copy.tar"))
	if err == nil || !strings.Contains(err.Error(), "the backup broke off") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
