package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/parlordb/parlor/rev"
)

// Purge removes leaf revisions for good, as CouchDB's _purge: of each document those ids that are leaves. It returns what was purged, in the order
// asked, and the new purge sequence. The purge sequence grows by one for each document that lost something; what was purged is remembered, up to the limit.
func (db *DB) Purge(ctx context.Context, ids []string, revs [][]rev.ID) (purged [][]rev.ID, seq uint64, err error) {
	purged = make([][]rev.ID, len(ids))
	err = db.store.do(ctx, &op{bytes: 1 << 12, frees: true, alone: true, run: func(g *group) error {
		w, err := g.on(db)
		if err != nil {
			return err
		}
		for i, id := range ids {
			if purged[i], err = g.purge(w, id, revs[i]); err != nil {
				return g.fail(err)
			}
		}
		seq = w.state.purges
		return nil
	}})
	if err != nil {
		return nil, 0, err
	}
	return purged, seq, nil
}

// Purges calls fn for the purges that are remembered, oldest first, until it returns false, under the same rules as Changes.
func (db *DB) Purges(fn func(id string, purged []rev.ID) bool) error {
	sn, err := db.reader()
	if err != nil {
		return err
	}
	defer sn.release()
	o := &pebble.IterOptions{LowerBound: dbKey(db.id, kindPurge), UpperBound: dbKey(db.id, kindPurge+1)}
	return scan(sn, o, false, func(key, value []byte) (bool, error) {
		id, purged, err := decodePurge(value)
		if err != nil {
			return false, fmt.Errorf("purge %d: %w", keyNumber(key), err)
		}
		return fn(id, purged), nil
	})
}

// decodePurge reads what rememberPurge wrote.
func decodePurge(value []byte) (id string, purged []rev.ID, err error) {
	c := cutter{rest: value}
	id = c.text()
	for len(c.rest) > 0 && !c.bad {
		purged = append(purged, c.revision())
	}
	if c.bad {
		err = damaged("the record of a purge")
	}
	return id, purged, err
}

// purge removes leaves of one document.
func (g *group) purge(w *work, id string, revs []rev.ID) (purged []rev.ID, err error) {
	r, err := g.record(w, id)
	if err != nil {
		return nil, err
	}
	purged, bodies := r.tree.Prune(revs...)
	if len(purged) == 0 {
		return nil, nil
	}
	if err := g.purgeBodies(w, r, bodies); err != nil {
		return nil, err
	}
	r.dirty, r.moved = true, true
	if r.seq = 0; r.tree.Len() > 0 {
		w.state.seq++
		r.seq = w.state.seq
	}
	g.rememberPurge(w, id, purged)
	return purged, nil
}

// purgeBodies removes bodies at once, those that wait for compaction too.
func (g *group) purgeBodies(w *work, r *record, bodies []uint64) error {
	var loose []uint64
	gone := make(map[uint64]bool, len(bodies))
	for _, ref := range bodies {
		gone[ref] = true
		files, err := g.filesOf(w, ref)
		if err != nil {
			return err
		}
		loose = append(loose, files...)
		if wt, ok := r.leaf(ref); ok {
			g.deleteBody(w, ref, wt.length)
			continue
		}
		v, err := read(g.store.pebble, dbKeyN(w.db.id, kindGarbage, ref))
		if err != nil {
			return err
		}
		note, err := decodeGarbage(v)
		if err != nil {
			return err
		}
		g.removeBody(w, r, ref, note)
	}
	r.weights = slices.DeleteFunc(r.weights, func(wt weight) bool { return gone[wt.ref] })
	return g.removeLoose(w, r, loose)
}

// rememberPurge counts a purge, and keeps its record among the newest ones.
func (g *group) rememberPurge(w *work, id string, purged []rev.ID) {
	w.dirty = true
	w.state.purges++
	value := appendText(nil, id)
	for _, leaf := range purged {
		value = leaf.Append(value)
	}
	g.set(dbKeyN(w.db.id, kindPurge, w.state.purges), value)
	if w.state.purges > w.state.purgedLimit {
		first := binary.BigEndian.AppendUint64(dbKey(w.db.id, kindPurge), 0)
		g.deleteRange(first, dbKeyN(w.db.id, kindPurge, w.state.purges-w.state.purgedLimit+1))
	}
}
