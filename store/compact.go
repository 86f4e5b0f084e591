package store

import (
	"context"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// A database is compacted by itself when its stale bytes exceed this and its living bytes.
	compactFrom = 1 << 20
	// One step of a compaction is one batch: writers wait no longer than that.
	stepBodies = 256
	stepBytes  = 1 << 20
	// The room of a deleted database of this size is worth a compaction of Pebble's.
	reclaimFrom = 16 << 20
)

// wasteful reports whether compaction is worth its while.
func (s *state) wasteful() bool {
	return s.stale > compactFrom && s.stale > s.total-min(s.total, s.stale)
}

// compaction is one that runs. err is set before done is closed.
type compaction struct {
	done chan struct{}
	err  error
}

// compactor is what waits to be compacted in the background.
type compactor struct {
	mu     sync.Mutex
	wanted map[*DB]struct{}
	wake   chan struct{} // made by the first who uses it
}

func (c *compactor) signal() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wake == nil {
		c.wake = make(chan struct{}, 1)
		c.wanted = make(map[*DB]struct{})
	}
	return c.wake
}

func (c *compactor) want(db *DB) {
	wake := c.signal()
	c.mu.Lock()
	c.wanted[db] = struct{}{}
	c.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default:
	}
}

// next takes one of those that are wanted, nil when there is none.
func (c *compactor) next() *DB {
	c.mu.Lock()
	defer c.mu.Unlock()
	for db := range c.wanted {
		delete(c.wanted, db)
		return db
	}
	return nil
}

// compactLoop compacts what wants it, one database after the other, until the store is closed.
func (s *Store) compactLoop() {
	wake := s.compactor.signal()
	for {
		select {
		case <-wake:
		case <-s.disk.short:
			if err := s.relieve(); err != nil && !errors.Is(err, ErrClosed) {
				s.log.Warn("making room", "error", err)
			}
		case <-s.closing:
			return
		}
		for db := s.compactor.next(); db != nil; db = s.compactor.next() {
			if db.deleted.Load() {
				s.reclaim(db)
				continue
			}
			err := db.Compact(context.Background())
			if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNoDatabase) {
				s.log.Warn("compaction", "database", db.name, "error", err)
			}
		}
	}
}

// reclaim has Pebble give the room back that a database no longer uses: what is deleted is only marked so until Pebble's own compactions
// come by, which on a full disk nothing would bring about.
func (s *Store) reclaim(db *DB) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	s.work.Go(func() {
		defer close(done)
		if err := s.pebble.Compact(ctx, dbKey(db.id, 0), dbKey(db.id+1, 0), false); err != nil && ctx.Err() == nil {
			s.log.Warn("reclaiming the room of a database", "database", db.name, "error", err)
		}
	})
	select {
	case <-done:
	case <-s.closing:
		cancel()
		<-done
	}
}

// Compact removes the bodies of revisions that are no leaves, and attachments that nothing refers to any longer. It
// returns when done; a second call at the same time joins the first. When ctx ends Compact returns its error, and the compaction
// goes on.
func (db *DB) Compact(ctx context.Context) error {
	c, err := db.startCompaction()
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (db *DB) startCompaction() (*compaction, error) {
	s := db.store
	if s.readOnly {
		return nil, ErrReadOnly
	}
	// Close waits for what was begun before it took the lock.
	s.writing.RLock()
	defer s.writing.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	if db.deleted.Load() {
		return nil, db.noDatabase()
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.compaction != nil {
		return db.compaction, nil
	}
	c := &compaction{done: make(chan struct{})}
	db.compaction = c
	s.work.Go(func() {
		if c.err = db.compact(); c.err == nil && s.Full() {
			s.reclaim(db)
		}
		db.mu.Lock()
		db.compaction = nil
		db.mu.Unlock()
		close(c.done)
	})
	return c, nil
}

// compact goes through the list of stale bodies in steps.
func (db *DB) compact() error {
	for from := uint64(0); ; {
		var next uint64
		// The steps give room back, so they may use the reserve.
		err := db.store.do(context.Background(), &op{bytes: 1 << 12, frees: true, alone: true, run: func(g *group) error {
			w, err := g.on(db)
			if err != nil {
				return err
			}
			next, err = g.compactStep(w, from)
			return err
		}})
		if err != nil || next == 0 {
			return err
		}
		from = next
	}
}

// compactStep removes stale bodies from the number from on. It returns the number to go on with, 0 when all is done.
func (g *group) compactStep(w *work, from uint64) (next uint64, err error) {
	var bodies int
	var bytes uint64
	loose := make(map[*record][]uint64) // attachments of the bodies removed, by document
	o := &pebble.IterOptions{LowerBound: dbKeyN(w.db.id, kindGarbage, from), UpperBound: dbKey(w.db.id, kindGarbage+1)}
	err = scan(g.store.pebble, o, false, func(key, value []byte) (bool, error) {
		ref := keyNumber(key)
		if bodies == stepBodies || bytes > stepBytes {
			next = ref
			return false, nil
		}
		note, err := decodeGarbage(value)
		if err != nil {
			return false, err
		}
		bodies++
		bytes += note.length
		r, err := g.record(w, note.id)
		if err != nil {
			return false, err
		}
		if note.files {
			refs, err := g.filesOf(w, ref)
			if err != nil {
				return false, err
			}
			loose[r] = append(loose[r], refs...)
		}
		g.removeBody(w, r, ref, note)
		return true, nil
	})
	if err != nil {
		return 0, g.fail(err)
	}
	for r, refs := range loose {
		if err := g.removeLoose(w, r, refs); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// removeBody removes a body that is on the list of stale ones.
func (g *group) removeBody(w *work, r *record, ref uint64, note garbage) {
	for i := range r.tree.Len() {
		if r.tree.Node(i).Ref == ref {
			r.tree.SetRef(i, 0)
			r.dirty = true
		}
	}
	g.deleteBody(w, ref, note.length)
	g.delete(dbKeyN(w.db.id, kindGarbage, ref))
	subtract(&w.state.stale, note.stale)
}

func (g *group) deleteBody(w *work, ref, length uint64) {
	// Pebble compacts sooner what is known to be large.
	if err := g.batch.DeleteSized(dbKeyN(w.db.id, kindBody, ref), uint32(min(length, 1<<30)), nil); err != nil {
		g.fail(err)
	}
	subtract(&w.state.total, length)
	w.dirty = true
}

// filesOf returns which attachments a body refers to.
func (g *group) filesOf(w *work, ref uint64) ([]uint64, error) {
	v, err := read(g.store.pebble, dbKeyN(w.db.id, kindBody, ref))
	if err != nil || v == nil {
		return nil, err
	}
	files, _, err := decodeBody(v)
	var refs []uint64
	for _, a := range files {
		refs = append(refs, a.ref)
	}
	return refs, err
}

// removeLoose removes those of a document's attachments that none of its bodies refers to any longer. The group must hold no body of it
// that is not in Pebble yet.
func (g *group) removeLoose(w *work, r *record, refs []uint64) error {
	if len(refs) == 0 {
		return nil
	}
	used := make(map[uint64]bool)
	for i := range r.tree.Len() {
		if body := r.tree.Node(i).Ref; body != 0 {
			files, err := g.filesOf(w, body)
			if err != nil {
				return g.fail(err)
			}
			for _, ref := range files {
				used[ref] = true
			}
		}
	}
	for _, ref := range refs {
		if used[ref] {
			continue
		}
		used[ref] = true // two bodies may have named it
		if err := g.removeFile(w, ref); err != nil {
			return err
		}
	}
	return nil
}
