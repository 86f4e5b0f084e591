package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/rev"
)

func TestCreateAndDelete(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Now: func() time.Time { return time.Unix(1000, 5) }})
	ctx := context.Background()
	if _, err := s.DB("db"); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("before: %v", err)
	}
	if err := s.Delete(ctx, "db"); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("deleting nothing: %v", err)
	}
	db, err := s.Create(ctx, "db", []byte(`{"admins":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(ctx, "db", nil); !errors.Is(err, ErrDatabaseExists) {
		t.Errorf("created twice: %v", err)
	}
	if sec, err := db.Security(); err != nil || string(sec) != `{"admins":{}}` {
		t.Errorf("%s, %v", sec, err)
	}
	if info, err := db.Info(); err != nil || !info.Created.Equal(time.Unix(1000, 5)) || info.RevsLimit != 1000 {
		t.Errorf("%+v, %v", info, err)
	}
	put(t, db, "doc", `{}`, rev.ID{})
	seq := db.FormatSeq(1)
	if err := s.Delete(ctx, "db"); err != nil {
		t.Fatal(err)
	}
	refuses(t, db)
	again := create(t, s, "db")
	if n, ok := again.ParseSeq(seq); n != 0 || !ok {
		t.Errorf("a sequence of the deleted database is %d, %v", n, ok)
	}
	if _, err := again.Doc("doc"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a document of the deleted database: %v", err)
	}
	refuses(t, db)
}

// refuses tries every method of a deleted database.
func refuses(t *testing.T, db *DB) {
	t.Helper()
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"Info":           func() error { _, err := db.Info(); return err },
		"Doc":            func() error { _, err := db.Doc("doc"); return err },
		"Record":         func() error { _, err := db.Record("doc"); return err },
		"Write":          func() error { _, err := db.Write(ctx, []Write{{Doc: Doc{ID: "x"}}}, nil); return err },
		"Write of none":  func() error { _, err := db.Write(ctx, nil, nil); return err },
		"Changes":        func() error { return db.Changes(0, false, 1, nil) },
		"ChangesAfter":   func() error { _, err := db.ChangesAfter(0); return err },
		"WaitChange":     func() error { return db.WaitChange(ctx, 100) },
		"Docs":           func() error { return db.Docs(Range{}, nil) },
		"CountBefore":    func() error { _, _, err := db.CountBefore("x", false, 1); return err },
		"Local":          func() error { _, err := db.Local("x"); return err },
		"PutLocal":       func() error { _, err := db.PutLocal(ctx, "x", 0, []byte("{}")); return err },
		"Locals":         func() error { return db.Locals(Range{}, nil) },
		"Security":       func() error { _, err := db.Security(); return err },
		"SetSecurity":    func() error { return db.SetSecurity(ctx, nil) },
		"SetRevsLimit":   func() error { return db.SetRevsLimit(ctx, 1) },
		"SetPurgedLimit": func() error { return db.SetPurgedLimit(ctx, 1) },
		"Purge":          func() error { _, _, err := db.Purge(ctx, nil, nil); return err },
		"Compact":        func() error { return db.Compact(ctx) },
		"NewAttachment":  func() error { _, err := db.NewAttachment(ctx); return err },
		"OpenAttachment": func() error { _, err := db.OpenAttachment(Attachment{}, 0); return err },
	} {
		if err := call(); !errors.Is(err, ErrNoDatabase) {
			t.Errorf("%s of a deleted database: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	for _, name := range []string{"b", "a/x", "c", "\xff"} {
		create(t, s, name)
	}
	for _, c := range []struct {
		from  string
		after bool
		limit int
		want  string
	}{
		{"", false, 10, "a/x b c \xff"},
		{"", false, 0, ""},
		{"b", false, 10, "b c \xff"},
		{"b", true, 1, "c"},
		{"bb", true, 1, "c"},
		{"\xff", true, 10, ""},
	} {
		got, err := s.Names(c.from, c.after, c.limit)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("names from %q: %q, %v", c.from, got, err)
		}
	}
}

func TestSeq(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	db, other := create(t, s, "db"), create(t, s, "other")
	for _, bad := range []string{"", "-", "x", "12-", "-12", "+1", "1.5", "99999999999999999999-0"} {
		if n, ok := db.ParseSeq(bad); ok {
			t.Errorf("ParseSeq(%q) = %d", bad, n)
		}
	}
	for in, want := range map[string]uint64{
		"0": 0, "17": 17, db.FormatSeq(17): 17, other.FormatSeq(17): 0, "17-g1AAAAFTeJzLY": 0, strings.ToUpper(db.FormatSeq(17)) + "0": 0,
	} {
		if n, ok := db.ParseSeq(in); n != want || !ok {
			t.Errorf("ParseSeq(%q) = %d, %v", in, n, ok)
		}
	}
	old := db.FormatSeq(3)
	if err := s.Renew(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n, ok := db.ParseSeq(old); n != 0 || !ok {
		t.Errorf("after Renew %q is %d, %v", old, n, ok)
	}
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s, err := Open("data", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	a := create(t, s, "a")
	create(t, s, "b")
	put(t, a, "doc", `{}`, rev.ID{})
	if _, err := a.PutLocal(ctx, "l", 0, []byte(`{}`)); err != nil { // is no update
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	logged(t, s, 0, "3 a updated, 4 b deleted")
	create(t, s, "b")
	logged(t, s, 3, "5 b created")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{FS: fs})
	logged(t, s, 0, "3 a updated, 5 b created")
	woken := make(chan error)
	go func() { woken <- s.WaitUpdate(ctx, 5) }()
	create(t, s, "c")
	if err := <-woken; err != nil {
		t.Error(err)
	}
	if n := s.UpdateSeq(); n != 6 {
		t.Errorf("update sequence %d", n)
	}
}

func logged(t *testing.T, s *Store, since uint64, want string) {
	t.Helper()
	list, err := s.Updates(since, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range list {
		got = append(got, fmt.Sprint(u.Seq, " ", u.Name, " ", u.Type))
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("updates %v, want %s", got, want)
	}
}

// TestManyDatabases: databases that nobody uses are not held in memory.
func TestManyDatabases(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	const n = 10_000
	var makers sync.WaitGroup
	for k := range 16 {
		makers.Go(func() {
			for i := k; i < n; i += 16 {
				if _, err := s.Create(context.Background(), fmt.Sprintf("db%05d", i), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	makers.Wait()
	runtime.GC()
	if open := s.databases.count(); open > 2*len(s.databases.recent) {
		t.Errorf("%d databases are in memory", open)
	}
	names, err := s.Names("", false, 2*n)
	if err != nil || len(names) != n || !slices.IsSorted(names) {
		t.Errorf("%d names, %v", len(names), err)
	}
	db, err := s.DB("db05000")
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "doc", `{}`, rev.ID{})
	db = nil
	for i := range 2 * len(s.databases.recent) { // push it out
		if _, err := s.DB(names[i]); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	if db, err = s.DB("db05000"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Doc("doc"); err != nil || db.UpdateSeq() != 1 {
		t.Errorf("%v, sequence %d", err, db.UpdateSeq())
	}
}

func TestWaitChange(t *testing.T) {
	t.Parallel()
	s, err := Open("data", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	changed, deleted, kept := create(t, s, "changed"), create(t, s, "deleted"), create(t, s, "kept")
	wait := func(ctx context.Context, db *DB) chan error {
		done := make(chan error, 1)
		go func() { done <- db.WaitChange(ctx, 0) }()
		return done
	}
	c, d, k, x := wait(ctx, changed), wait(ctx, deleted), wait(ctx, kept), wait(ctx, kept)
	_ = x
	put(t, changed, "doc", `{}`, rev.ID{})
	if err := <-c; err != nil {
		t.Errorf("changed: %v", err)
	}
	if err := s.Delete(ctx, "deleted"); err != nil {
		t.Fatal(err)
	}
	if err := <-d; !errors.Is(err, ErrNoDatabase) {
		t.Errorf("deleted: %v", err)
	}
	cancel()
	if err := <-k; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	closed := wait(context.Background(), kept)
	updates := make(chan error, 1)
	go func() { updates <- s.WaitUpdate(context.Background(), 1000) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := <-updates; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestClose closes the store while it is being written to and read.
func TestClose(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s, err := Open("data", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	db := create(t, s, "db")
	var mu sync.Mutex
	var acked []string
	var users sync.WaitGroup
	for k := range 8 {
		users.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", k, i)
				_, err := db.Put(context.Background(), Write{Doc: Doc{ID: id, Body: []byte(`{}`)}}, allow)
				if err == nil {
					err = db.Changes(0, false, 5, func(*Change) bool { return true })
					mu.Lock()
					acked = append(acked, id)
					mu.Unlock()
				}
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if err := db.WaitChange(context.Background(), 50); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	users.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := s.Create(context.Background(), "x", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("create: %v", err)
	}
	s = open(t, Options{FS: fs})
	if db, err = s.DB("db"); err != nil {
		t.Fatal(err)
	}
	for _, id := range acked {
		if _, err := db.Doc(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	if _, err := Open("data", Options{FS: fs, ReadOnly: true}); err == nil {
		t.Error("opened what is not there")
	}
	s, err := Open("data", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	put(t, create(t, s, "db"), "doc", `{}`, rev.ID{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := fs.String()
	s = open(t, Options{FS: fs, ReadOnly: true})
	db, err := s.DB("db")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Doc("doc"); err != nil {
		t.Error(err)
	}
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"Create":        func() error { _, err := s.Create(ctx, "x", nil); return err },
		"Delete":        func() error { return s.Delete(ctx, "db") },
		"Put":           func() error { _, err := db.Put(ctx, Write{Doc: Doc{ID: "x"}}, nil); return err },
		"Compact":       func() error { return db.Compact(ctx) },
		"NewAttachment": func() error { _, err := db.NewAttachment(ctx); return err },
		"Backup":        func() error { return s.Backup(ctx, "copy") },
	} {
		if err := call(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := fs.String(); after != before {
		t.Errorf("files were\n%s\nare\n%s", before, after)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := open(t, Options{FS: fs})
	db := create(t, s, "db")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			a, w := attach(t, db, "attached")
			a.Name = "a"
			_, _ = db.Put(ctx, Write{Doc: Doc{ID: fmt.Sprint(i), Body: []byte(`{}`), Attachments: []Attachment{a}}}, nil)
			w.Discard()
		}
	})
	for n := range 3 {
		if err := db.WaitChange(ctx, uint64(n+1)*20); err != nil {
			t.Fatal(err)
		}
		verify(t, s) // beside the writer
		before := db.UpdateSeq()
		dir := fmt.Sprintf("backup%d", n)
		if err := s.Backup(ctx, dir); err != nil {
			t.Fatal(err)
		}
		if err := s.Backup(ctx, dir); err == nil {
			t.Error("a backup over another")
		}
		copied, err := Open(dir, Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		verify(t, copied)
		there, err := copied.DB("db")
		if err != nil {
			t.Fatal(err)
		}
		if seq := there.UpdateSeq(); seq < before {
			t.Errorf("the backup ends at %d, %d was durable", seq, before)
		}
		if err := copied.Close(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	writer.Wait()
}

// TestCreateDeleteRace makes and deletes one name from many sides; each answer must fit.
func TestCreateDeleteRace(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	ctx := context.Background()
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 50 {
				db, err := s.Create(ctx, "db", nil)
				if errors.Is(err, ErrDatabaseExists) {
					db, err = s.DB("db")
				}
				if err == nil {
					_, err = db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{}`)}}, nil)
				}
				if err == nil || errors.Is(err, ErrConflict) {
					err = s.Delete(ctx, "db")
				}
				if err != nil && !errors.Is(err, ErrNoDatabase) {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
}
