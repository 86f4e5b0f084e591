package store

import (
	"errors"

	"github.com/parlordb/parlor/rev"
)

// edit applies one draft to its document in memory, and adds its body to the batch. An error means that the store cannot be read; what befalls
// the draft itself goes to its result.
func (g *group) edit(w *work, d *draft) error {
	d.again = false
	r, err := g.record(w, d.Doc.ID)
	if err != nil {
		return err
	}
	g.steps += r.tree.Len()
	if d.studied && r.seq != d.seen && !d.holds(r) {
		d.again = true
		return nil
	}
	path := d.History
	if path == nil {
		parent, err := d.parent(r)
		if err != nil {
			d.result.Err = err
			return nil
		}
		path = []rev.ID{d.revision(parent), parent}
		if parent.IsZero() {
			path = path[:1]
		}
	}
	d.result.Rev = path[0]
	if keeps, grows := g.effect(r, path, int(w.state.revsLimit)); !keeps {
		if grows {
			w.move(r)
		}
		return nil
	}
	if ok, err := g.take(w, d); err != nil || !ok {
		d.again = !ok
		return err
	}
	g.keep(w, r, d, path)
	return nil
}

// effect tells what adding a replicated revision would do: whether its body is to be kept, and otherwise whether the path has taught the tree
// ancestors that it did not know. In the second case they are in the tree on return.
func (g *group) effect(r *record, path []rev.ID, limit int) (keeps, grows bool) {
	i, ok := r.tree.Find(path[0])
	if !ok || r.tree.Node(i).Ref == 0 && r.tree.IsLeaf(i) {
		return true, false
	}
	if !r.tree.Reaches(path) {
		known := r.tree.Len()
		r.tree.Stem(limit) // the limit may have been lowered
		return false, r.tree.Len() != known
	}
	g.steps += recordSteps * r.tree.Len() // copying and comparing is as dear as reading
	before := r.tree.Clone()
	r.tree.Merge(path, r.tree.Node(i).Deleted, 0)
	r.tree.Stem(limit)
	return false, !r.tree.Equal(&before)
}

// keep stores the revision path[0] with its body.
func (g *group) keep(w *work, r *record, d *draft, path []rev.ID) {
	w.state.body++
	g.written++
	ref := w.state.body
	wt := weight{ref: ref, length: g.putBody(w, ref, d, path[0].Gen)}
	if len(d.files) > 0 {
		wt.files = 1
		for _, f := range d.files {
			wt.files += uint64(f.Stored)
			if f.fresh {
				w.state.total += uint64(f.Stored)
			}
		}
	}
	w.state.total += wt.length
	i, _ := r.tree.Merge(path, d.Doc.Deleted, ref)
	if !r.tree.IsLeaf(i) {
		// The path is new, so nothing can follow its end.
		g.fail(damaged("the history of %q", r.id))
		return
	}
	if d.shared > 0 {
		r.share(d.body, uint64(d.shared))
	}
	r.weights = append(r.weights, wt)
	r.tree.Stem(int(w.state.revsLimit))
	w.move(r)
}

// move gives a document that has changed its new sequence.
func (w *work) move(r *record) {
	w.state.seq++
	r.seq, r.dirty, r.moved = w.state.seq, true, true
}

// discard notes as garbage the bodies that are no leaves' any more. It is done once, at the end of a group, because it looks through all leaves.
func (g *group) discard(w *work, r *record, leaves []int) {
	if len(leaves) == 1 && len(r.weights) == 1 && r.tree.Node(leaves[0]).Ref == r.weights[0].ref {
		return // a new document
	}
	living := make(map[uint64]bool, len(leaves))
	for _, i := range leaves {
		living[r.tree.Node(i).Ref] = true
	}
	kept := r.weights[:0]
	for _, wt := range r.weights {
		if living[wt.ref] {
			kept = append(kept, wt)
			continue
		}
		stale := wt.bytes() - min(wt.bytes()-wt.length, wt.shared) // what is shared lives on
		w.state.stale += stale
		note := garbage{id: r.id, length: wt.length, stale: stale, files: wt.files > 0}
		g.set(dbKeyN(w.db.id, kindGarbage, wt.ref), note.append(nil))
	}
	r.weights = kept
}

// putBody adds a body to the batch and returns its length.
func (g *group) putBody(w *work, ref uint64, d *draft, gen int) uint64 {
	files := make([]Attachment, 0, len(d.files))
	for _, f := range d.files {
		if f.fresh && (d.History == nil || f.RevPos < 1 || f.RevPos > gen) {
			f.RevPos = gen
		}
		f.Stub = false
		files = append(files, f.Attachment)
	}
	g.buf = appendFiles(g.buf[:0], files)
	// Straight into the batch: a body may be large.
	key := dbKeyN(w.db.id, kindBody, ref)
	put := g.batch.SetDeferred(len(key), len(g.buf)+len(d.Doc.Body))
	copy(put.Key, key)
	copy(put.Value[copy(put.Value, g.buf):], d.Doc.Body)
	if err := put.Finish(); err != nil {
		g.fail(err)
	}
	return uint64(len(put.Value))
}

// take makes the draft's attachments the document's. It reports false, and has done nothing, when one is no longer what it was when the draft was
// made.
func (g *group) take(w *work, d *draft) (bool, error) {
	var claimed []*upload
	for i, f := range d.files {
		switch {
		case !f.fresh:
			owner, _, err := g.store.fileOwner(g.store.pebble, w.db.id, f.ref)
			if err != nil && !errors.Is(err, ErrNoAttachment) {
				return false, g.fail(err)
			}
			if err == nil && owner == d.Doc.ID {
				continue
			}
		case sameUpload(d.files[:i], f.ref):
			continue
		default:
			if up := g.store.files.claim(w.db, f.ref); up != nil {
				claimed = append(claimed, up)
				continue
			}
		}
		g.store.files.settle(claimed, false)
		return false, nil
	}
	g.claimed = append(g.claimed, claimed...)
	for _, up := range claimed {
		g.delete(pendingKey(w.db.id, up.ref))
		g.set(dbKeyN(w.db.id, kindAttachment, up.ref), appendOwner(nil, d.Doc.ID, uint64(up.size)))
	}
	return true, nil
}

func sameUpload(files []file, ref uint64) bool {
	for _, f := range files {
		if f.fresh && f.ref == ref {
			return true
		}
	}
	return false
}
