package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/rev"
)

// witness is what clients know: what was acknowledged to them, and what a feed has shown.
type witness struct {
	mu     sync.Mutex
	acked  map[string]rev.ID // the newest acknowledged revision of each document
	seen   map[uint64]seenRow
	locals map[string]uint64
	names  map[string]bool // databases created, and whether they still are
	trash  map[string]bool // databases discarded, and whether their copies are still kept
	pause  *sync.RWMutex   // held while what a crash has left is looked at
}

type seenRow struct {
	id  string
	rev rev.ID
}

func (w *witness) snapshot() *witness {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &witness{acked: maps.Clone(w.acked), seen: maps.Clone(w.seen), locals: maps.Clone(w.locals), names: maps.Clone(w.names), trash: maps.Clone(w.trash)}
}

func (w *witness) note(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// work writes documents until the context ends.
func (w *witness) work(ctx context.Context, t *testing.T, s *Store, db *DB, writer int) {
	last := make(map[string]rev.ID)
	for n := 0; ctx.Err() == nil; n++ {
		w.edit(ctx, t, db, fmt.Sprintf("w%d-%d", writer, n%7), n, last)
		if n%9 == 0 {
			w.side(ctx, s, db, writer, n)
		}
	}
}

// edit writes a document, sometimes with an attachment.
func (w *witness) edit(ctx context.Context, t *testing.T, db *DB, id string, n int, last map[string]rev.ID) {
	w.pause.RLock()
	defer w.pause.RUnlock()
	edit := Write{Doc: Doc{ID: id, Body: fmt.Appendf(nil, `{"n":%d}`, n), Deleted: n%11 == 10}, Base: last[id]}
	if n%5 == 0 {
		a, upload := attach(t, db, fmt.Sprintf("attachment %d of %s", n, id))
		defer upload.Discard()
		a.Name = "a"
		edit.Doc.Attachments = []Attachment{a}
	}
	got, err := db.Put(ctx, edit, nil)
	if err != nil {
		if ctx.Err() == nil {
			t.Errorf("put %s: %v", id, err)
		}
		return
	}
	w.note(func() { w.acked[id] = got })
	if last[id] = got; edit.Doc.Deleted {
		last[id] = rev.ID{}
	}
}

// side does what is not editing documents.
func (w *witness) side(ctx context.Context, s *Store, db *DB, writer, n int) {
	local := fmt.Sprintf("l%d", writer)
	if v, err := db.PutLocal(ctx, local, w.locals0(local), []byte(`{}`)); err == nil {
		w.note(func() { w.locals[local] = v })
	}
	name := fmt.Sprintf("side%d-%d", writer, n)
	if _, err := s.Create(ctx, name, nil); err == nil {
		w.note(func() { w.names[name] = true })
		if n%2 == 0 {
			// From here on nobody knows whether it is there, until the answer is.
			w.note(func() { delete(w.names, name) })
			if s.Delete(ctx, name) == nil {
				w.note(func() { w.names[name] = false })
			}
		}
	}
	if n%27 == 0 {
		_ = db.Compact(ctx)
	}
	w.discard(ctx, s, fmt.Sprintf("kept%d-%d", writer, n), n%18 == 0)
}

// discard makes a database, discards it, and perhaps brings it back.
func (w *witness) discard(ctx context.Context, s *Store, name string, restore bool) {
	db, err := s.CreateWith(ctx, name, nil, []byte(name))
	if err != nil {
		return
	}
	if _, err := db.Put(ctx, Write{Doc: Doc{ID: "doc", Body: []byte(`{}`)}}, nil); err != nil || s.Discard(ctx, name, true) != nil {
		return
	}
	w.note(func() { w.trash[name], w.names[name] = true, false })
	if !restore {
		return
	}
	w.note(func() {
		delete(w.trash, name)
		delete(w.names, name)
	})
	if _, err := s.Restore(ctx, name, name); err == nil {
		w.note(func() { w.trash[name], w.names[name] = false, true })
	}
}

func (w *witness) locals0(id string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.locals[id]
}

// follow reads the feed as a replicator does.
func (w *witness) follow(ctx context.Context, t *testing.T, db *DB) {
	since := uint64(0)
	for {
		if err := db.WaitChange(ctx, since); err != nil {
			return
		}
		err := db.Changes(since, false, 100, func(c *Change) bool {
			since = c.Seq
			row := seenRow{c.ID, c.Leaves[0].Rev}
			w.note(func() {
				if old, ok := w.seen[c.Seq]; ok && old != row {
					t.Errorf("sequence %d was %v, is %v", c.Seq, old, row)
				}
				w.seen[c.Seq] = row
			})
			return true
		})
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// surviving opens what a crash has left and holds it against what clients know.
func (w *witness) surviving(t *testing.T, fs vfs.FS) {
	t.Helper()
	s := open(t, Options{FS: fs})
	verify(t, s)
	db, err := s.DB("db")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range w.acked {
		r, err := db.Record(id)
		if err != nil {
			t.Fatalf("%s %v was acknowledged: %v", id, want, err)
		}
		if _, ok := r.Tree.Find(want); !ok {
			t.Fatalf("%s %v was acknowledged and is lost", id, want)
		}
	}
	newest := uint64(0)
	for seq, row := range w.seen {
		newest = max(newest, seq)
		r, err := db.Record(row.id)
		if err != nil || r.Seq < seq {
			t.Fatalf("change %d of %s was seen: now %v, %v", seq, row.id, r, err)
		}
		if _, ok := r.Tree.Find(row.rev); !ok {
			t.Fatalf("change %d showed %s %v, which is lost", seq, row.id, row.rev)
		}
	}
	w.survivingRest(t, s, db)
	put(t, db, "later", `{}`, rev.ID{})
	if r, err := db.Record("later"); err != nil || r.Seq <= newest {
		t.Fatalf("sequence %d is given again after %d was seen (%v)", r.Seq, newest, err)
	}
	a, _ := attach(t, db, "later")
	a.Name = "a"
	if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "later2", Body: []byte(`{}`), Attachments: []Attachment{a}}}, nil); err != nil {
		t.Fatal(err)
	}
}

func (w *witness) survivingRest(t *testing.T, s *Store, db *DB) {
	t.Helper()
	for id, n := range w.locals {
		if l, err := db.Local(id); err != nil || l.N < n {
			t.Fatalf("_local/%s had %d, has %+v, %v", id, n, l, err)
		}
	}
	for name, there := range w.names {
		if _, err := s.DB(name); there != (err == nil) || err != nil && !errors.Is(err, ErrNoDatabase) {
			t.Fatalf("database %s: %v, want it there: %v", name, err, there)
		}
	}
	for name, kept := range w.trash {
		switch c, err := s.TrashedCopy(name); {
		case kept && (err != nil || string(c.Properties) != name || c.DocCount != 1):
			t.Fatalf("the copy of %s: %+v, %v", name, c, err)
		case !kept && !errors.Is(err, ErrNoDatabase):
			t.Fatalf("the copy of %s, which was restored: %v", name, err)
		case !kept:
			db, err := s.DB(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Doc("doc"); err != nil {
				t.Fatalf("a document of %s, which was restored: %v", name, err)
			}
		}
	}
}

func TestCrash(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	s := open(t, Options{FS: fs})
	db := create(t, s, "db")
	w := &witness{acked: make(map[string]rev.ID), seen: make(map[uint64]seenRow), locals: make(map[string]uint64), names: make(map[string]bool), trash: make(map[string]bool), pause: new(sync.RWMutex)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer func() {
		cancel()
		running.Wait()
	}()
	for i := range 4 {
		running.Go(func() { w.work(ctx, t, s, db, i) })
	}
	running.Go(func() { w.follow(ctx, t, db) })
	rnd := rand.New(rand.NewPCG(1, 2))
	for crash := range 12 {
		// Some more has happened since the last crash.
		if err := db.WaitChange(ctx, db.UpdateSeq()+uint64(rnd.IntN(40))); err != nil {
			t.Fatal(err)
		}
		known := w.snapshot()
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 25 * (crash % 5), RNG: rnd})
		w.pause.Lock()
		t.Run(fmt.Sprint(crash), func(t *testing.T) {
			known.surviving(t, clone)
			// What recovery has made must survive a crash too.
			again := clone.CrashClone(vfs.CrashCloneCfg{})
			later := &witness{acked: known.acked, seen: known.seen, locals: known.locals, names: known.names, trash: known.trash}
			reopen(t, again, later)
		})
		w.pause.Unlock()
	}
}

// reopen is surviving for a store that has been recovered before.
func reopen(t *testing.T, fs vfs.FS, w *witness) {
	t.Helper()
	s := open(t, Options{FS: fs})
	db, err := s.DB("db")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range w.acked {
		r, err := db.Record(id)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if _, ok := r.Tree.Find(want); !ok {
			t.Fatalf("%s %v is lost by the second crash", id, want)
		}
	}
	if _, err := db.Doc("later2"); err != nil {
		t.Fatal(err)
	}
}

// holdFS blocks syncs of the log while it is held, so that a batch is in Pebble but not durable.
type holdFS struct {
	vfs.FS
	mu      sync.Mutex
	held    chan struct{} // nil: let through
	waiting chan struct{} // gets a value for each sync that blocks
}

func (h *holdFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.Create(name, c)
	return h.wrap(name, f), err
}

func (h *holdFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.ReuseForWrite(old, name, c)
	return h.wrap(name, f), err
}

func (h *holdFS) wrap(name string, f vfs.File) vfs.File {
	if f == nil || len(name) < 4 || name[len(name)-4:] != ".log" {
		return f
	}
	return &holdFile{File: f, fs: h}
}

func (h *holdFS) hold() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.held = held
	return func() {
		h.mu.Lock()
		if h.held == held {
			h.held = nil // else held anew
		}
		h.mu.Unlock()
		close(held)
	}
}

type holdFile struct {
	vfs.File
	fs *holdFS
}

func (f *holdFile) wait() {
	f.fs.mu.Lock()
	held := f.fs.held
	f.fs.mu.Unlock()
	if held != nil {
		f.fs.waiting <- struct{}{}
		<-held
	}
}

func (f *holdFile) Sync() error {
	f.wait()
	return f.File.Sync()
}

func (f *holdFile) SyncData() error {
	f.wait()
	return f.File.SyncData()
}

// TestNothingIsShownBeforeItIsDurable looks at the store while a sync is under way.
func TestNothingIsShownBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	fs := &holdFS{FS: vfs.NewMem(), waiting: make(chan struct{}, 16)}
	s := open(t, Options{FS: fs})
	db := create(t, s, "db")
	before := put(t, db, "doc", `{"n":1}`, rev.ID{})
	release := fs.hold()
	done := make(chan error, 1)
	go func() {
		_, err := db.Put(context.Background(), Write{Doc: Doc{ID: "doc", Body: []byte(`{"n":2}`)}, Base: before}, nil)
		done <- err
	}()
	<-fs.waiting
	if doc, err := db.Doc("doc"); err != nil || doc.Rev != before {
		t.Errorf("the document is %+v, %v", doc, err)
	}
	if n := db.UpdateSeq(); n != 1 {
		t.Errorf("the update sequence is %d", n)
	}
	if n, err := db.ChangesAfter(1); err != nil || n != 0 {
		t.Errorf("%d changes, %v", n, err)
	}
	if err := db.Changes(1, false, 10, func(c *Change) bool { t.Errorf("change %+v", c); return true }); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := db.WaitChange(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a change: %v", err)
	}
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if doc, err := db.Doc("doc"); err != nil || string(doc.Body) != `{"n":2}` {
		t.Errorf("after the sync: %+v, %v", doc, err)
	}
}

// flight is a store with two groups on their way: the first, a document "first", waits for its sync; the second, with "second" and another edit of
// "first", is prepared.
type flight struct {
	s       *Store
	db      *DB
	fs      *holdFS
	mem     *vfs.MemFS
	release func() // lets the first group's sync pass

	first, second, refused chan error // what the callers are answered
}

func takeOff(t *testing.T) *flight {
	t.Helper()
	mem := vfs.NewCrashableMem()
	f := &flight{mem: mem, fs: &holdFS{FS: mem, waiting: make(chan struct{}, 16)}}
	f.s = open(t, Options{FS: f.fs})
	f.db = create(t, f.s, "db")
	put(t, f.db, "zero", `{}`, rev.ID{})
	f.release = f.fs.hold()
	f.first = f.put("first", `{"n":1}`, nil)
	<-f.fs.waiting
	done := make(chan struct{}, 2)
	f.second = f.put("second", `{}`, done)
	f.refused = f.put("first", `{"n":2}`, done)
	<-done
	<-done
	return f
}

// put is what DB.Put does, but that done gets a value when the committer has dealt with the edit.
func (f *flight) put(id, body string, done chan struct{}) chan error {
	answer := make(chan error, 1)
	go func() {
		var r Result
		d := &draft{Write: &Write{Doc: Doc{ID: id, Body: []byte(body)}}, result: &r}
		d.hash()
		err := f.db.do(context.Background(), len(body), func(g *group, w *work) error {
			err := g.edit(w, d)
			if done != nil {
				done <- struct{}{}
			}
			return err
		})
		answer <- errors.Join(err, r.Err)
	}()
	return answer
}

// shows fails the test unless readers see the documents ids, and nothing else.
func (f *flight) shows(t *testing.T, ids ...string) {
	t.Helper()
	var got []string
	if err := f.db.Changes(0, false, 10, func(c *Change) bool {
		got = append(got, c.ID)
		return true
	}); err != nil || !slices.Equal(got, ids) {
		t.Errorf("the changes are %q, %v, want %q", got, err, ids)
	}
	n, err := f.db.ChangesAfter(0)
	info, infoErr := f.db.Info()
	if want := uint64(len(ids)); err != nil || infoErr != nil || n != want || f.db.UpdateSeq() != want || info.UpdateSeq != want || info.DocCount != want {
		t.Errorf("%d changes, sequence %d, %+v, %v, %v, want %d", n, f.db.UpdateSeq(), info, err, infoErr, want)
	}
	for _, id := range []string{"first", "second"} {
		if _, err := f.db.Doc(id); (err == nil) != slices.Contains(ids, id) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// unanswered fails the test if one of the callers has an answer.
func unanswered(t *testing.T, callers ...chan error) {
	t.Helper()
	for _, c := range callers {
		select {
		case err := <-c:
			t.Errorf("answered before the sync: %v", err)
			c <- err
		default:
		}
	}
}

// TestNextGroupWaits: what is prepared while a sync is under way is shown to nobody and acknowledged to nobody before its own sync.
func TestNextGroupWaits(t *testing.T) {
	t.Parallel()
	f := takeOff(t)
	updates := f.s.UpdateSeq()
	f.shows(t, "zero")
	unanswered(t, f.first, f.second, f.refused)
	again := f.fs.hold()
	f.release()
	if err := <-f.first; err != nil {
		t.Fatal(err)
	}
	<-f.fs.waiting // the second group's sync
	f.shows(t, "zero", "first")
	unanswered(t, f.second, f.refused)
	if n := f.s.UpdateSeq(); n != updates+1 {
		t.Errorf("the update log is at %d, want %d", n, updates+1)
	}
	again()
	if err := <-f.second; err != nil {
		t.Fatal(err)
	}
	if err := <-f.refused; !errors.Is(err, ErrConflict) {
		t.Errorf("a second edit of a document that is on its way: %v", err)
	}
	f.shows(t, "zero", "first", "second")
}

// TestRefusalWaits: who is told of a conflict can read what was in the way.
func TestRefusalWaits(t *testing.T) {
	t.Parallel()
	fs := &holdFS{FS: vfs.NewMem(), waiting: make(chan struct{}, 16)}
	f := &flight{fs: fs, s: open(t, Options{FS: fs})}
	f.db = create(t, f.s, "db")
	release := fs.hold()
	f.first = f.put("first", `{"n":1}`, nil)
	<-fs.waiting
	done := make(chan struct{}, 1)
	f.refused = f.put("first", `{"n":2}`, done)
	<-done
	unanswered(t, f.first, f.refused)
	release()
	if err := <-f.refused; !errors.Is(err, ErrConflict) {
		t.Errorf("a second edit: %v", err)
	}
	f.shows(t, "first")
	if err := <-f.first; err != nil {
		t.Error(err)
	}
}

// TestCrashInFlight: a crash takes groups back from the end, whole, and none that was answered.
func TestCrashInFlight(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 2 {
		f := takeOff(t)
		f.crash(t, rnd, 1)
		again := f.fs.hold()
		f.release()
		if err := <-f.first; err != nil {
			t.Fatal(err)
		}
		<-f.fs.waiting
		f.crash(t, rnd, 2)
		again()
		if err := <-f.second; err != nil {
			t.Fatal(err)
		}
		<-f.refused
		f.crash(t, rnd, 3)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

// crash looks at what crashes leave, of which the documents of the groups that are durable must be part.
func (f *flight) crash(t *testing.T, rnd *rand.Rand, durable uint64) {
	t.Helper()
	order := []string{"zero", "first", "second"}
	for _, percent := range []int{0, 50, 100} {
		s := open(t, Options{FS: f.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rnd})})
		db, err := s.DB("db")
		if err != nil {
			t.Fatal(err)
		}
		left := db.UpdateSeq()
		if left < durable || left > durable+1 {
			t.Fatalf("%d groups are left of %d durable ones", left, durable)
		}
		survivor := &flight{s: s, db: db}
		survivor.shows(t, order[:left]...)
		verify(t, s)
		put(t, db, "later", `{}`, rev.ID{})
	}
}
