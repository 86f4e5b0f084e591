package server

import (
	"errors"
	"net/http"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// opened is one of several revisions asked for: where it is in the tree, -1 when it is not known.
type opened struct {
	id rev.ID
	at int
}

// openRevisions finds revisions in a document's tree: all leaves for all, else those in ids. With latest the leaves that come of them
// stand in their place. None comes twice. rec may be nil.
func openRevisions(rec *store.Record, ids []rev.ID, all, latest bool) (list []opened) {
	if rec == nil {
		for _, id := range ids {
			list = append(list, opened{id, -1})
		}
		return list
	}
	if all {
		for _, i := range rec.Tree.Leaves() {
			list = append(list, opened{rec.Tree.Node(i).ID, i})
		}
		return list
	}
	seen := map[rev.ID]bool{}
	add := func(id rev.ID, at int) {
		if !seen[id] {
			seen[id] = true
			list = append(list, opened{id, at})
		}
	}
	for _, id := range ids {
		i, ok := rec.Tree.Find(id)
		switch {
		case !ok:
			add(id, -1)
		case latest:
			for _, leaf := range rec.Tree.Latest(i) {
				add(rec.Tree.Node(leaf).ID, leaf)
			}
		default:
			add(id, i)
		}
	}
	return list
}

// open reads one of them as the caller may see it, or fails with what isMissing knows.
func (s *Server) open(r *request, rec *store.Record, o opened) (*store.Doc, error) {
	if o.at < 0 {
		return nil, store.ErrMissing
	}
	doc, err := r.db.Revision(rec, o.at)
	if err != nil {
		return nil, err
	}
	return s.visible(r, doc)
}

// openRevs answers ?open_revs: multipart/mixed, or a JSON array for those who take no multipart.
func (s *Server) openRevs(r *request, id string, q docQuery) error {
	rec, err := r.db.Record(id)
	if errors.Is(err, store.ErrNotFound) && !q.all {
		rec, err = nil, nil
	}
	if err != nil {
		return err
	}
	// What these tell is the document's, not a revision's.
	q.shown.revsInfo, q.shown.conflicts, q.shown.deletedConflicts, q.shown.localSeq = false, false, false, false
	list := openRevisions(rec, q.revs, q.all, q.latest)
	if acceptsType(r.Header.Get("Accept"), "multipart/mixed") {
		return s.openRevsMixed(r, rec, list, q.shown)
	}
	o := newOutput(r)
	o.text("[")
	for i, at := range list {
		if i > 0 {
			o.text(",")
		}
		doc, err := s.open(r, rec, at)
		switch {
		case isMissing(err):
			o.buf = appendMissing(o.buf, at.id)
		case err != nil:
			return err
		default:
			o.text(`{"ok":`)
			if err := o.doc(r.db, rec, doc, q.shown); err != nil {
				return err
			}
			o.text("}")
		}
	}
	return o.finish(r, "]")
}

// openRevsMixed sends the attachments with the documents whether asked to or not, as CouchDB does: replicators rely on it.
func (s *Server) openRevsMixed(r *request, rec *store.Record, list []opened, v shown) error {
	v.attachments = true
	m := newMixed(r, "multipart/mixed")
	if r.Method == http.MethodHead {
		return nil
	}
	for _, at := range list {
		doc, err := s.open(r, rec, at)
		switch {
		case isMissing(err):
			err = m.error(appendMissing(nil, at.id))
		case err == nil:
			err = m.document(r.db, rec, doc, v, false)
		}
		if err != nil {
			return err
		}
	}
	return m.end("--")
}

func appendMissing(dst []byte, id rev.ID) []byte {
	dst = append(dst, `{"missing":"`...)
	dst = appendRev(dst, id)
	return append(dst, `"}`...)
}
