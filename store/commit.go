package store

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// groupBytes bounds what one batch holds of several operations; a single larger one is a batch of its own.
	groupBytes = 4 << 20
	groupOps   = 1024
	// groupSteps bounds how many revisions it goes through, each edit all those of its document: some tens of milliseconds. A write that has more to do
	// comes again for the rest, behind those that wait. To read a tree and write it takes as long as recordSteps edits.
	groupSteps  = 8 << 20
	recordSteps = 64
	// groupStep is what a group asks the disk for beforehand.
	groupStep = 64 << 10
)

// op is something for the committer to do.
type op struct {
	bytes int  // roughly what it adds to the batch
	frees bool // it gives room back, so the reserve is open to it
	alone bool // it needs a batch of its own, because it reads more of Pebble than the group keeps in memory
	// run adds it to the group, on the committer's goroutine. When it returns an error it has added nothing.
	run func(g *group) error

	taken atomic.Bool // by the committer, or given up by the caller
	err   error
	done  chan struct{}
}

// do hands o to the committer and waits until it is durable. When ctx ends before the committer has taken it, it is not done. Otherwise do waits,
// because the operation refers to memory of the caller.
func (s *Store) do(ctx context.Context, o *op) error {
	o.done = make(chan struct{})
	if err := s.enqueue(ctx, o); err != nil {
		return err
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
	}
	if o.taken.CompareAndSwap(false, true) {
		return ctx.Err()
	}
	<-o.done
	return o.err
}

func (s *Store) enqueue(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.readOnly {
		return ErrReadOnly
	}
	s.writing.RLock()
	defer s.writing.RUnlock()
	if s.closed {
		return ErrClosed
	}
	select {
	case s.queue <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitLoop is the committer. It ends when the queue is closed and empty.
func (s *Store) commitLoop() {
	defer close(s.applied)
	for first := range s.queue {
		for first != nil {
			g := s.newGroup()
			first = g.fill(first)
			if !g.turn {
				<-s.turn
			}
			g.apply()
			s.applied <- g
		}
	}
}

// fill does first and what may share its batch. It returns the operation that came but may not.
func (g *group) fill(first *op) *op {
	g.do(first)
	for !first.alone && len(g.ops) < groupOps && g.bytes < groupBytes && g.steps < groupSteps {
		o := g.next()
		if o == nil || o.alone {
			return o
		}
		g.do(o)
	}
	return nil
}

// next waits for an operation until it is the group's turn. Then it takes what comes without waiting, and in the end nil.
func (g *group) next() *op {
	s := g.store
	if !g.turn {
		select {
		case o := <-s.queue: // nil when it is closed
			return o
		case <-s.turn:
			g.turn = true
		}
	}
	select {
	case o := <-s.queue:
		return o
	default:
	}
	// Callers that have just been answered are about to come with their next write. With them the group is larger by half, which is worth
	// far more than the instant that the disk is idle.
	runtime.Gosched()
	select {
	case o := <-s.queue:
		return o
	default:
		return nil
	}
}

// do does one operation, unless its caller has left or the disk has no room for it.
func (g *group) do(o *op) {
	if !o.taken.CompareAndSwap(false, true) {
		return
	}
	g.ops = append(g.ops, o)
	if o.err = g.room(o); o.err != nil || g.err != nil {
		return
	}
	g.bytes += o.bytes
	o.err = o.run(g)
}

// room returns ErrFull unless there is room for o too.
func (g *group) room(o *op) error {
	s := g.store
	need := int(s.inFlight.Load()) + g.bytes + o.bytes
	if need <= g.granted {
		return nil
	}
	// Some more, so that not every operation has to ask the file system.
	need += groupStep
	err := s.disk.check(need, false)
	switch {
	case err == nil:
		g.granted = need
	case o.frees:
		err = s.disk.check(need, true)
	}
	return err
}

// group is a batch in the making. Nothing that it touches in memory is seen by anyone else before publish.
type group struct {
	store   *Store
	batch   *pebble.Batch
	ops     []*op // to be answered
	bytes   int   // roughly what they add to the batch
	steps   int   // the revisions of the trees that they have gone through
	granted int   // bytes in flight and in this group that the disk has room for
	turn    bool  // the group before is answered, and this one may be applied
	err     error // reading failed: the whole group fails

	shown *snapshot // what readers see once the group is durable; nil until it is applied, and when it changes nothing

	works   map[*DB]*work
	order   []*work
	names   map[string]*DB    // databases created in this group, nil for deleted ones
	buried  map[string]uint64 // the update sequence of names deleted in this group
	update  uint64            // the newest update sequence
	renewed map[string]uint64 // new instances of databases
	claimed []*upload         // attachments that revisions of this group have taken
	removed []fileID          // attachments that this group removes
	written uint64            // revisions
	buf     []byte
}

// work is what a group does to one database.
type work struct {
	db     *DB
	state  state
	recs   map[string]*record
	locals map[string]*Local // nil for a deleted one
	rows   []rowChange
	dirty  bool // the state must be written
	gone   bool // the database is deleted

	security, properties []byte // what replaces these, nil for what stays
}

// rowChange is a document that changed its place in the order of changes; 0 for none before, or none after.
type rowChange struct{ from, to uint64 }

func (s *Store) newGroup() *group {
	return &group{store: s, batch: s.pebble.NewBatch(), ops: make([]*op, 0, 16), works: make(map[*DB]*work, 1), update: s.head.update}
}

// on returns the group's work on db.
func (g *group) on(db *DB) (*work, error) {
	w := g.works[db]
	if w == nil {
		w = &work{db: db, state: db.head, gone: db.gone}
		g.works[db] = w
		g.order = append(g.order, w)
	}
	if w.gone {
		return nil, db.noDatabase()
	}
	return w, nil
}

// fail makes the whole group fail with err.
func (g *group) fail(err error) error {
	if g.err == nil {
		g.err = err
	}
	return err
}

// record returns the record of a document, new and empty when it does not exist.
func (g *group) record(w *work, id string) (*record, error) {
	if r := w.recs[id]; r != nil {
		return r, nil
	}
	g.buf = append(binary.BigEndian.AppendUint64(append(g.buf[:0], keyData), w.db.id), kindDoc)
	g.buf = append(g.buf, id...)
	v, closer, err := g.store.pebble.Get(g.buf)
	r := &record{id: id}
	r.weights = r.first[:0]
	switch {
	case err == pebble.ErrNotFound:
	case err != nil:
		return nil, g.fail(err)
	default:
		r, err = decodeRecord(id, v)
		closer.Close()
		if err != nil {
			return nil, g.fail(err)
		}
	}
	if w.recs == nil {
		w.recs = make(map[string]*record)
	}
	w.recs[id] = r
	g.steps += recordSteps * r.tree.Len()
	return r, nil
}

// apply hands the group to Pebble, which begins to make it durable, and lets the next one build upon it.
func (g *group) apply() {
	if g.err == nil {
		g.finish()
	}
	if g.err != nil || g.batch.Empty() {
		return // nothing has changed
	}
	s := g.store
	if g.err = s.pebble.ApplyNoSyncWait(g.batch, pebble.Sync); g.err != nil {
		return
	}
	s.inFlight.Add(int64(g.bytes))
	g.shown = s.capture()
	s.head.update = g.update
	for _, w := range g.order {
		w.db.head, w.db.gone = w.state, w.gone
	}
}

// finish adds to the batch what the operations have left in memory.
func (g *group) finish() {
	for _, w := range g.order {
		if w.gone {
			continue
		}
		w.rows = make([]rowChange, 0, len(w.recs))
		for _, r := range w.recs {
			g.putRecord(w, r)
		}
		if w.state.seq != w.db.head.seq {
			w.state.update = g.logUpdate(updateChanged, w.db.name, w.state.update)
		}
		if w.dirty {
			w.state.version++
			g.set(dbKey(w.db.id, kindState), w.state.append(nil))
		}
	}
}

// putRecord writes a document's record and moves its row.
func (g *group) putRecord(w *work, r *record) {
	if !r.dirty && !r.moved {
		return
	}
	w.dirty = true
	if r.moved && r.was.seq != 0 {
		// A row's key is written once and never again, which is what SingleDelete asks for.
		if err := g.batch.SingleDelete(dbKeyN(w.db.id, kindRow, r.was.seq), nil); err != nil {
			g.fail(err)
		}
	}
	count(&w.state, r.was, false)
	if r.tree.Len() == 0 {
		g.delete(dbKeyText(w.db.id, kindDoc, r.id))
		w.rows = append(w.rows, rowChange{from: r.was.seq})
		return
	}
	leaves := r.tree.Leaves()
	winner := r.tree.Node(leaves[0])
	h := header{seq: r.seq, deleted: winner.Deleted, ref: winner.Ref, rev: winner.ID}
	count(&w.state, h, true)
	if r.moved {
		g.discard(w, r, leaves)
	}
	g.buf = r.append(g.buf[:0], h)
	g.set(dbKeyText(w.db.id, kindDoc, r.id), g.buf)
	if r.moved {
		g.buf = appendRow(g.buf[:0], r.id, &r.tree, leaves)
		g.set(dbKeyN(w.db.id, kindRow, r.seq), g.buf)
		w.rows = append(w.rows, rowChange{from: r.was.seq, to: r.seq})
	}
}

// count adds a document to the counters, or takes it out.
func count(s *state, h header, add bool) {
	if h.seq == 0 {
		return
	}
	n := &s.docs
	if h.deleted {
		n = &s.dels
	}
	if add {
		*n++
	} else {
		*n--
	}
}

// set and delete add to the batch. Adding fails only for keys of absurd size, and then the group fails.
func (g *group) set(key, value []byte) {
	if err := g.batch.Set(key, value, nil); err != nil {
		g.fail(err)
	}
}

func (g *group) delete(key []byte) {
	if err := g.batch.Delete(key, nil); err != nil {
		g.fail(err)
	}
}

func (g *group) deleteRange(from, to []byte) {
	if err := g.batch.DeleteRange(from, to, nil); err != nil {
		g.fail(err)
	}
}
