package store

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/rev"
)

// fullFS is a disk in memory that can be full: free is what it says is free, and while noSpace is set writes fail as they do then.
type fullFS struct {
	vfs.FS
	free    atomic.Uint64
	noSpace atomic.Bool
	failed  atomic.Int64
}

func newFullFS() *fullFS {
	f := &fullFS{FS: vfs.NewMem()}
	f.free.Store(1 << 40)
	return f
}

func (f *fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free.Load(), TotalBytes: 1 << 41, UsedBytes: 1 << 20}, nil
}

func (f *fullFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return &fullFile{file, f}, nil
}

func (f *fullFS) Remove(name string) error {
	if strings.HasSuffix(name, ballastName) {
		// The ballast's space is free again.
		f.noSpace.Store(false)
	}
	return f.FS.Remove(name)
}

type fullFile struct {
	vfs.File
	fs *fullFS
}

func (f *fullFile) Write(p []byte) (int, error) {
	if f.fs.noSpace.Load() {
		f.fs.failed.Add(1)
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}

func TestFull(t *testing.T) {
	t.Parallel()
	fs := newFullFS()
	s := open(t, Options{FS: fs})
	db := create(t, s, "db")
	first := put(t, db, "doc", `{"n":1}`, rev.ID{})
	fs.free.Store(1 << 20)
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "other", Body: []byte(`{}`)}}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("put: %v", err)
	}
	if _, err := db.PutLocal(context.Background(), "l", 0, []byte(`{}`)); !errors.Is(err, ErrFull) {
		t.Errorf("put local: %v", err)
	}
	if _, err := s.Create(context.Background(), "new", nil); !errors.Is(err, ErrFull) {
		t.Errorf("create: %v", err)
	}
	w, err := db.NewAttachment(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, io.LimitReader(zeros{}, 2*chunkBytes)); !errors.Is(err, ErrFull) {
		t.Errorf("attachment: %v", err)
	}
	if _, err := w.Close(); !errors.Is(err, ErrFull) {
		t.Errorf("closing the attachment: %v", err)
	}
	w.Discard()
	if !s.Full() {
		t.Error("the store does not say that it is full")
	}
	if doc, err := db.Doc("doc"); err != nil || doc.Rev != first {
		t.Errorf("reading while full: %v", err)
	}
	if n := db.UpdateSeq(); n != 1 {
		t.Errorf("update sequence %d", n)
	}
	fs.free.Store(1 << 40)
	if s.Full() {
		t.Error("there is room again, and the store says it is full")
	}
	put(t, db, "other", `{}`, rev.ID{})
}

// TestFullMakesRoom: what gives space back is done out of the reserve.
func TestFullMakesRoom(t *testing.T) {
	t.Parallel()
	fs := newFullFS()
	s := open(t, Options{FS: fs})
	db := create(t, s, "db")
	base := put(t, db, "doc", `{"n":1}`, rev.ID{})
	put(t, db, "doc", `{"n":2}`, base)
	fs.free.Store(defaultReserve * 3 / 4)
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "other"}}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("put: %v", err)
	}
	if err := db.Compact(context.Background()); err != nil {
		t.Errorf("compact: %v", err)
	}
	if err := s.Delete(context.Background(), "db"); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// TestBallast: the disk fills up although it said that it had room.
func TestBallast(t *testing.T) {
	t.Parallel()
	fs := newFullFS()
	s := open(t, Options{FS: fs})
	db := create(t, s, "db")
	if _, err := fs.Stat("data/" + ballastName); err != nil {
		t.Fatal(err)
	}
	fs.noSpace.Store(true)
	put(t, db, "doc", `{}`, rev.ID{})
	if fs.failed.Load() == 0 {
		t.Fatal("no write has failed")
	}
	if _, err := db.Doc("doc"); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat("data/" + ballastName); err == nil && !s.Full() {
		// It is made again with the next write that finds room.
		put(t, db, "doc2", `{}`, rev.ID{})
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// What a deleted database took is room on the disk again, though nothing else is written.
func TestReclaim(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	db := create(t, s, "db")
	w, err := db.NewAttachment(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, rand.NewChaCha8([32]byte{}), reclaimFrom); err != nil {
		t.Fatal(err)
	}
	a, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	a.Name = "a"
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc", Body: []byte(`{}`), Attachments: []Attachment{a}}}, nil); err != nil {
		t.Fatal(err)
	}
	used := func() uint64 {
		if err := s.pebble.Flush(); err != nil {
			t.Fatal(err)
		}
		n, err := s.pebble.EstimateDiskUsage(dbKey(db.id, 0), dbKey(db.id+1, 0))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := used(); n < reclaimFrom {
		t.Fatalf("the attachment takes %d bytes", n)
	}
	if err := s.Delete(context.Background(), "db"); err != nil {
		t.Fatal(err)
	}
	s.reclaim(db)
	if n := used(); n > reclaimFrom/16 {
		t.Errorf("%d bytes are still in use", n)
	}
}
