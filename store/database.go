package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/cockroachdb/pebble/v2"
)

const (
	defaultRevsLimit   = 1000
	defaultPurgedLimit = 1000
)

// DB is one database. It is safe for concurrent use.
//
// Reads see what is durable, and nothing else.
type DB struct {
	store    *Store
	name     string
	id       uint64
	created  int64
	instance atomic.Uint64
	deleted  atomic.Bool
	seq      atomic.Uint64 // the newest durable update sequence

	// What stands beside the documents: nil until somebody asks; set from nil by readers, replaced by the publisher alone.
	security, properties atomic.Pointer[[]byte]

	// What the next group builds upon: the committer's alone, once the DB is made.
	head state
	gone bool // deleted

	// mu guards what follows.
	mu         sync.Mutex
	state      state         // what is durable: the publisher alone changes it
	changed    chan struct{} // closed at the next change; nil when nobody waits
	rows       *rowSet       // nil until ChangesAfter asks for it
	building   *rowLog       // what has changed since the scan that makes rows began
	compaction *compaction   // the one that runs
}

// databases is the DBs in memory, by name. One that nobody uses any more is collected as garbage, and made anew from the disk when it is
// asked for again: a hundred thousand databases take no memory while they are idle.
type databases struct {
	mu     sync.Mutex
	open   map[string]weak.Pointer[DB]
	sweep  int      // the size of open at which entries of collected DBs are removed
	recent [256]*DB // keeps the last ones that were opened
	next   int
}

// keep enters db. The caller holds mu.
func (d *databases) keep(db *DB) {
	if len(d.open) >= d.sweep {
		for name, p := range d.open {
			if p.Value() == nil {
				delete(d.open, name)
			}
		}
		d.sweep = max(1024, 2*len(d.open))
	}
	d.open[db.name] = weak.Make(db)
	d.recent[d.next] = db
	d.next = (d.next + 1) % len(d.recent)
}

// forget removes the database name. The caller holds mu.
func (d *databases) forget(name string) {
	db := d.open[name].Value()
	delete(d.open, name)
	for i := range d.recent {
		if db != nil && d.recent[i] == db {
			d.recent[i] = nil
		}
	}
}

func (d *databases) count() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.open {
		if p.Value() != nil {
			n++
		}
	}
	return n
}

// DB returns the database name, or ErrNoDatabase. A DB stays usable after its deletion: every call then answers ErrNoDatabase.
func (s *Store) DB(name string) (*DB, error) {
	// Throughout: between looking at the snapshot and entering the DB nothing may be deleted.
	s.databases.mu.Lock()
	defer s.databases.mu.Unlock()
	db := s.databases.open[name].Value()
	// After looking for the DB: a group that works on one keeps it in memory until it is shown, so what is loaded here is where the committer stands.
	sn, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	if db != nil {
		return db, nil
	}
	db, err = s.loadDB(sn, name)
	if err != nil {
		return nil, err
	}
	s.databases.keep(db)
	return db, nil
}

func (s *Store) loadDB(r pebble.Reader, name string) (*DB, error) {
	v, err := read(r, nameKey(name))
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoDatabase, name)
	}
	n, err := decodeName(v)
	if err != nil {
		return nil, err
	}
	if v, err = read(r, dbKey(n.id, kindState)); err != nil {
		return nil, err
	}
	st, err := decodeState(v)
	if err != nil {
		return nil, err
	}
	return s.newDB(name, n, st), nil
}

func (s *Store) newDB(name string, n nameRecord, st state) *DB {
	db := &DB{store: s, name: name, id: n.id, created: n.created, head: st, state: st}
	db.instance.Store(n.instance)
	db.seq.Store(st.seq)
	return db
}

// lookup returns the record of a name as the group sees it, nil when there is none.
func (g *group) lookup(name string) (*nameRecord, error) {
	if db, ok := g.names[name]; ok {
		if db == nil {
			return nil, nil
		}
		return &nameRecord{id: db.id, instance: db.instance.Load(), created: db.created}, nil
	}
	v, err := read(g.store.pebble, nameKey(name))
	if err != nil || v == nil {
		return nil, err
	}
	n, err := decodeName(v)
	return &n, err
}

// newInstance draws what tells a database's sequences from all others.
func newInstance() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return binary.BigEndian.Uint64(b[:])
}

// Create makes the database name with the given _security object (JSON, kept as it is; nil means "{}"), durable when it returns.
// The name is not judged here. It fails with ErrDatabaseExists.
func (s *Store) Create(ctx context.Context, name string, security []byte) (*DB, error) {
	return s.CreateWith(ctx, name, security, nil)
}

// CreateWith is Create of a database that has properties from the start, unless they are nil.
func (s *Store) CreateWith(ctx context.Context, name string, security, properties []byte) (*DB, error) {
	if security == nil {
		security = []byte("{}")
	}
	var db *DB
	err := s.do(ctx, &op{bytes: 512 + len(security) + len(properties), run: func(g *group) error {
		n, err := g.lookup(name)
		if err != nil {
			return g.fail(err)
		}
		if n != nil {
			return fmt.Errorf("%w: %s", ErrDatabaseExists, name)
		}
		db, err = g.create(name, security, properties)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return db, nil
}

func (g *group) create(name string, security, properties []byte) (*DB, error) {
	s := g.store
	n := nameRecord{id: s.head.nextID, instance: newInstance(), created: s.now().UnixNano()}
	s.head.nextID++
	g.set([]byte{keyNextID}, binary.BigEndian.AppendUint64(nil, s.head.nextID))
	g.set(dbKey(n.id, kindSecurity), security)
	if properties != nil {
		g.set(dbKey(n.id, kindProperties), properties)
	}
	return g.enter(name, n, state{revsLimit: defaultRevsLimit, purgedLimit: defaultPurgedLimit})
}

// enter makes the database n, whose state is st, the one that a free name means.
func (g *group) enter(name string, n nameRecord, st state) (*DB, error) {
	s := g.store
	last, wasBuried := g.buried[name]
	if !wasBuried {
		v, err := read(s.pebble, deletedKey(name))
		if err != nil {
			return nil, g.fail(err)
		}
		if len(v) == 8 {
			last = binary.BigEndian.Uint64(v)
		}
	}
	if last != 0 {
		g.delete(deletedKey(name))
	}
	db := s.newDB(name, n, st)
	g.set(nameKey(name), n.append(nil))
	g.rename(name, db)
	w, err := g.on(db)
	if err != nil {
		return nil, err
	}
	w.dirty = true
	w.state.update = g.logUpdate(updateCreated, name, last)
	return db, nil
}

// rename notes what a name means from now on, nil for nothing.
func (g *group) rename(name string, db *DB) {
	if g.names == nil {
		g.names = make(map[string]*DB)
		g.buried = make(map[string]uint64)
	}
	g.names[name] = db
	delete(g.buried, name)
}

// Delete removes the database name and everything in it, durable when it returns, or fails with ErrNoDatabase.
func (s *Store) Delete(ctx context.Context, name string) error {
	db, err := s.DB(name)
	if err != nil {
		return err
	}
	var size uint64
	err = s.do(ctx, &op{bytes: 512, frees: true, run: func(g *group) error {
		w, err := g.on(db)
		if err != nil {
			return err
		}
		size = w.state.total
		g.deleteRange(dbKey(db.id, 0), dbKey(db.id+1, 0))
		g.leave(w)
		return nil
	}})
	if err == nil && (size >= reclaimFrom || s.disk.full.Load()) {
		s.compactor.want(db)
	}
	return err
}

// leave takes a database out of the name space. What it holds is for the caller to remove or to keep.
func (g *group) leave(w *work) {
	name := w.db.name
	w.gone = true
	g.delete(nameKey(name))
	last := g.logUpdate(updateDeleted, name, w.state.update)
	g.set(deletedKey(name), binary.BigEndian.AppendUint64(nil, last))
	g.rename(name, nil)
	g.buried[name] = last
}

// Names returns at most limit names of databases n with from <= n (from < n when after is set), in bytewise order.
func (s *Store) Names(from string, after bool, limit int) ([]string, error) {
	sn, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	if limit <= 0 {
		return nil, nil
	}
	lower := nameKey(from)
	if after {
		lower = append(lower, 0)
	}
	var names []string
	o := &pebble.IterOptions{LowerBound: lower, UpperBound: []byte{keyName + 1}}
	err = scan(sn, o, false, func(key, _ []byte) (bool, error) {
		names = append(names, string(key[1:]))
		return len(names) < limit, nil
	})
	return names, err
}

// Renew gives every database a new instance, so that sequences handed out before are answered from the start: for a
// data directory that was restored from a backup.
func (s *Store) Renew(ctx context.Context) error {
	const step = 1000
	for from := ""; ; {
		names, err := s.Names(from, from != "", step)
		if err != nil || len(names) == 0 {
			return err
		}
		err = s.do(ctx, &op{bytes: 64 * len(names), run: func(g *group) error { return g.renew(names) }})
		if err != nil {
			return err
		}
		from = names[len(names)-1]
	}
}

func (g *group) renew(names []string) error {
	if g.renewed == nil {
		g.renewed = make(map[string]uint64, len(names))
	}
	for _, name := range names {
		n, err := g.lookup(name)
		if err != nil {
			return g.fail(err)
		}
		if n == nil {
			continue
		}
		n.instance = newInstance()
		g.set(nameKey(name), n.append(nil))
		g.renewed[name] = n.instance
	}
	return nil
}

// reader returns a snapshot to read the database from.
func (db *DB) reader() (*snapshot, error) {
	sn, err := db.store.snapshot()
	if err != nil {
		return nil, err
	}
	if db.deleted.Load() {
		sn.release()
		return nil, db.noDatabase()
	}
	return sn, nil
}

func (db *DB) noDatabase() error { return fmt.Errorf("%w: %s", ErrNoDatabase, db.name) }

// do is Store.do for an operation on this database.
func (db *DB) do(ctx context.Context, bytes int, run func(g *group, w *work) error) error {
	return db.store.do(ctx, &op{bytes: 256 + bytes, run: func(g *group) error {
		w, err := g.on(db)
		if err != nil {
			return err
		}
		return run(g, w)
	}})
}

// publish makes the outcome of a group's work the state of db, and wakes who waits.
func (db *DB) publish(w *work) {
	db.mu.Lock()
	moved := w.state.seq != db.state.seq
	db.state = w.state
	for _, r := range w.rows {
		db.rows.apply(r)
		db.building.note(w.state.version, r)
	}
	db.seq.Store(w.state.seq)
	if w.security != nil {
		db.security.Store(&w.security)
	}
	if w.properties != nil {
		db.properties.Store(&w.properties)
	}
	if db.changed != nil && (moved || w.gone) {
		close(db.changed)
		db.changed = nil
	}
	stale := !w.gone && w.state.wasteful()
	db.mu.Unlock()
	if stale {
		db.store.compactor.want(db)
	}
}

// Name is the database's name.
func (db *DB) Name() string { return db.name }

// Info is what GET /{db} tells.
type Info struct {
	Name        string
	DocCount    uint64 // documents whose winner is not deleted, design documents included
	DelCount    uint64
	UpdateSeq   uint64
	PurgeSeq    uint64
	Created     time.Time
	ActiveBytes uint64 // bodies and attachments of leaves; what compaction could free is estimated
	FileBytes   uint64 // bodies and attachments in all
	Compacting  bool
	RevsLimit   int
	PurgedLimit int
}

// Info fails with ErrNoDatabase or ErrClosed.
func (db *DB) Info() (Info, error) {
	sn, err := db.reader()
	if err != nil {
		return Info{}, err
	}
	sn.release()
	db.mu.Lock()
	defer db.mu.Unlock()
	st := db.state
	active := st.total
	subtract(&active, st.stale)
	return Info{
		Name:        db.name,
		DocCount:    st.docs,
		DelCount:    st.dels,
		UpdateSeq:   st.seq,
		PurgeSeq:    st.purges,
		Created:     time.Unix(0, db.created),
		ActiveBytes: active,
		FileBytes:   st.total,
		Compacting:  db.compaction != nil,
		RevsLimit:   int(st.revsLimit),
		PurgedLimit: int(st.purgedLimit),
	}, nil
}

// UpdateSeq is the sequence of the newest durable change: an atomic load, for caches to compare.
func (db *DB) UpdateSeq() uint64 { return db.seq.Load() }

// FormatSeq writes a sequence as clients see it: "N-instance". The instance differs between databases, and between a
// database and one made later under its name.
func (db *DB) FormatSeq(seq uint64) string {
	return string(db.AppendSeq(make([]byte, 0, 32), seq))
}

// AppendSeq appends what FormatSeq returns.
func (db *DB) AppendSeq(dst []byte, seq uint64) []byte {
	dst = append(strconv.AppendUint(dst, seq, 10), '-')
	instance := db.instance.Load()
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[instance>>shift&15])
	}
	return dst
}

// ParseSeq reads what FormatSeq wrote, and bare decimal integers. A sequence of another instance gives 0: its
// holder must start anew. ok is false for anything else.
func (db *DB) ParseSeq(s string) (seq uint64, ok bool) {
	digits := 0
	for digits < len(s) && '0' <= s[digits] && s[digits] <= '9' {
		digits++
	}
	seq, err := strconv.ParseUint(s[:digits], 10, 64)
	switch {
	case err != nil:
		return 0, false
	case digits == len(s):
		return seq, true
	case s[digits] != '-' || digits+1 == len(s):
		return 0, false
	case s != db.FormatSeq(seq):
		return 0, true
	}
	return seq, true
}

// WaitChange returns when UpdateSeq exceeds since, or with ctx's error, or ErrNoDatabase when the database is deleted, or ErrClosed.
func (db *DB) WaitChange(ctx context.Context, since uint64) error {
	for {
		db.mu.Lock()
		if db.deleted.Load() {
			db.mu.Unlock()
			return db.noDatabase()
		}
		if db.state.seq > since {
			db.mu.Unlock()
			return nil
		}
		if db.changed == nil {
			db.changed = make(chan struct{})
		}
		changed := db.changed
		db.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-db.store.closing:
			return ErrClosed
		}
	}
}

// Security returns the _security object as stored. The slice must not be changed.
func (db *DB) Security() ([]byte, error) {
	v, err := db.object(kindSecurity, &db.security)
	if err == nil && v == nil {
		err = damaged("%s has no _security", db.name)
	}
	return v, err
}

// Properties returns what SetProperties, or CreateWith, has stored; nil for nothing. The slice must not be changed.
func (db *DB) Properties() ([]byte, error) { return db.object(kindProperties, &db.properties) }

// object returns the value of a kind of which a database has one, nil for none.
func (db *DB) object(kind byte, known *atomic.Pointer[[]byte]) ([]byte, error) {
	sn, err := db.reader()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	if kept := known.Load(); kept != nil {
		return *kept, nil
	}
	v, err := read(sn, dbKey(db.id, kind))
	if err != nil {
		return nil, err
	}
	// What the publisher has put there meanwhile is newer.
	known.CompareAndSwap(nil, &v)
	return v, nil
}

// SetSecurity stores the _security object, durable on return.
func (db *DB) SetSecurity(ctx context.Context, body []byte) error {
	return db.do(ctx, len(body), func(g *group, w *work) error {
		g.set(dbKey(db.id, kindSecurity), body)
		w.security = body
		return nil
	})
}

// SetProperties stores a JSON value beside the database, which the store keeps as it is and does not look into; durable on return.
func (db *DB) SetProperties(ctx context.Context, body []byte) error {
	return db.do(ctx, len(body), func(g *group, w *work) error {
		g.set(dbKey(db.id, kindProperties), body)
		w.properties = body
		return nil
	})
}

// EachProperties calls fn for each database that has properties, in the order of names, until it returns false. The slice is valid during the
// call alone. fn must not wait for anything.
func (s *Store) EachProperties(fn func(name string, properties []byte) bool) error {
	sn, err := s.snapshot()
	if err != nil {
		return err
	}
	defer sn.release()
	return scan(sn, within([]byte{keyName}), false, func(key, value []byte) (bool, error) {
		n, err := decodeName(value)
		if err != nil {
			return false, err
		}
		v, err := read(sn, dbKey(n.id, kindProperties))
		if err != nil || v == nil {
			return err == nil, err
		}
		return fn(string(key[1:]), v), nil
	})
}

// SetRevsLimit sets how many generations of ancestors a document keeps, n >= 1.
func (db *DB) SetRevsLimit(ctx context.Context, n int) error {
	return db.do(ctx, 0, func(_ *group, w *work) error {
		w.state.revsLimit, w.dirty = uint64(n), true
		return nil
	})
}

// SetPurgedLimit sets how many purges are remembered, n >= 1.
func (db *DB) SetPurgedLimit(ctx context.Context, n int) error {
	return db.do(ctx, 0, func(_ *group, w *work) error {
		w.state.purgedLimit, w.dirty = uint64(n), true
		return nil
	})
}
