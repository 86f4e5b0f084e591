package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/parlordb/parlor/store"
)

// backupRoute is where a server hands out a backup, below /_node/{node}/.
const backupRoute = "_parlor/backup"

// scratchPattern names the directories in which a server prepares backups.
const scratchPattern = "backup-*"

// backupHandler answers an administrator's POST with a backup (see archive.go). The store goes on serving meanwhile; the copy is made of
// hard links where the file system has them, so it costs little room. One is made at a time.
type backupHandler struct {
	store *store.Store
	data  string   // the data directory
	files []string // the settings files, changes going to the last
	log   *slog.Logger
	now   func() time.Time

	busy sync.Mutex
}

func (b *backupHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "Only POST allowed")
		return
	}
	if !b.busy.TryLock() {
		refuse(w, http.StatusConflict, "busy", "Another backup is being made. Try again when it is done.")
		return
	}
	defer b.busy.Unlock()
	scratch, err := os.MkdirTemp(b.data, scratchPattern)
	if err == nil {
		defer os.RemoveAll(scratch)
		err = b.store.Backup(r.Context(), filepath.Join(scratch, storeDir))
	}
	if err != nil {
		b.log.Error("backup", "error", err)
		refuse(w, http.StatusInternalServerError, "backup_failed", "The store could not be copied; the server's log says why.")
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := b.write(w, filepath.Join(scratch, storeDir)); err != nil {
		b.log.Error("backup", "error", err)
		panic(http.ErrAbortHandler) // the client must see that the file did not end
	}
}

func (b *backupHandler) write(w io.Writer, copied string) error {
	a := newArchiveWriter(w, b.now())
	if err := a.addDir(storeDir, copied); err != nil {
		return err
	}
	last := len(b.files) - 1
	for i, file := range b.files {
		name := settingsFile
		if i < last {
			name = fmt.Sprintf("config/%02d-%s", i, filepath.Base(file))
		}
		if err := a.addFile(name, file); err != nil && !(i == last && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return a.close()
}

// refuse answers in the form of CouchDB's errors. kind and reason need no quoting.
func refuse(w http.ResponseWriter, status int, kind, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"error\":%q,\"reason\":%q}\n", kind, reason)
}

func (p *program) backup(ctx context.Context, args []string) error {
	f := newFlags("backup", "FILE|DIR", `Copies all data of a running server, and its settings file, into a new file, or into a file named after the present time in a
directory. The server goes on serving. The file is then read again, unpacked beside itself, and checked as 'parlor check' does; it appears
under its name only when nothing is wrong with it. It holds everything, so keep it as safe as the server.`)
	at := f.server()
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	target, err := backupTarget(args[0], time.Now())
	if err != nil {
		return err
	}
	c, err := p.client(at)
	if err != nil {
		return err
	}
	part, size, err := download(ctx, c, target)
	if err != nil {
		return err
	}
	defer os.Remove(part)
	if err := verifyBackup(ctx, part); err != nil {
		return err
	}
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has come into being meanwhile; nothing is written over it", target)
	}
	if err := os.Rename(part, target); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(target)); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%d bytes written and verified\n", size)
	_, err = fmt.Fprintln(p.stdout, target)
	return err
}

// backupTarget is the file to write, which does not exist.
func backupTarget(name string, now time.Time) (string, error) {
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		name = filepath.Join(name, "parlor-"+now.UTC().Format("20060102-150405")+".tar")
		_, err = os.Stat(name)
	}
	switch {
	case err == nil:
		return "", fmt.Errorf("%s exists; name a new file, or a directory", name)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return name, nil
}

// download writes a server's backup into a file beside target, which the caller removes.
func download(ctx context.Context, c *client, target string) (part string, size int64, err error) {
	res, err := c.do(ctx, http.MethodPost, "/_node/_local/"+backupRoute, "")
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	file, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*")
	if err != nil {
		return "", 0, err
	}
	size, err = io.Copy(file, res.Body)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		os.Remove(file.Name())
		return "", 0, fmt.Errorf("the backup broke off: %w", err)
	}
	return file.Name(), size, nil
}

// verifyBackup reads a backup from disk, compares the sums, and checks the store in it.
func verifyBackup(ctx context.Context, file string) error {
	scratch, err := os.MkdirTemp(filepath.Dir(file), ".verify-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if _, err := unpack(file, scratch); err != nil {
		return err
	}
	problems, err := checkStore(ctx, scratch)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return fmt.Errorf("the backup is not kept, for the data in it is damaged: %s (one of %d problems); stop the server and run 'parlor check'", problems[0], len(problems))
	}
	return nil
}

// unpack extracts the backup file into the directory dir.
func unpack(file, dir string) ([]string, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return extract(in, info.Size(), root)
}
