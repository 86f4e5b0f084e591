package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/parlordb/parlor/rev"
)

// Doc is one revision of a document.
type Doc struct {
	ID      string
	Rev     rev.ID
	Deleted bool
	// Body is a JSON object, byte for byte as sent, less the members whose names begin with an underscore. Callers must not change it.
	Body        []byte
	Attachments []Attachment // in the order sent
	Seq         uint64       // the document's update sequence, set by reads
}

// Record is all that is known of one document but its bodies.
type Record struct {
	ID   string
	Seq  uint64
	Tree rev.Tree
}

// Doc returns the winning revision of id. It fails with ErrNotFound, or with ErrDeleted when the winner is a tombstone.
func (db *DB) Doc(id string) (*Doc, error) {
	sn, err := db.reader()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	v, closer, err := sn.Get(dbKeyText(db.id, kindDoc, id))
	if err == pebble.ErrNotFound {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	if err != nil {
		return nil, err
	}
	h, _, err := cutHeader(v)
	closer.Close()
	if err != nil {
		return nil, err
	}
	if h.deleted {
		return nil, fmt.Errorf("%w: %q", ErrDeleted, id)
	}
	return db.doc(sn, id, h.seq, Leaf{Rev: h.rev, ref: h.ref})
}

// doc reads a revision's body.
func (db *DB) doc(r pebble.Reader, id string, seq uint64, l Leaf) (*Doc, error) {
	v, err := read(r, dbKeyN(db.id, kindBody, l.ref))
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("%w: %q %v", ErrMissing, id, l.Rev)
	}
	files, body, err := decodeBody(v)
	if err != nil {
		return nil, err
	}
	return &Doc{ID: id, Rev: l.Rev, Deleted: l.Deleted, Body: body, Attachments: files, Seq: seq}, nil
}

// Record returns the history of id, or ErrNotFound.
func (db *DB) Record(id string) (*Record, error) {
	sn, err := db.reader()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	r, err := db.record(sn, id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	return &Record{ID: id, Seq: r.seq, Tree: r.tree}, nil
}

// record returns nil when there is no document id.
func (db *DB) record(r pebble.Reader, id string) (*record, error) {
	v, closer, err := r.Get(dbKeyText(db.id, kindDoc, id))
	if err == pebble.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return decodeRecord(id, v)
}

// Revision returns the revision at index i of r.Tree, or ErrMissing when its body is not kept.
func (db *DB) Revision(r *Record, i int) (*Doc, error) {
	n := r.Tree.Node(i)
	return db.LeafDoc(r.ID, r.Seq, Leaf{Rev: n.ID, Deleted: n.Deleted, ref: n.Ref})
}

// LeafDoc returns the revision of a leaf seen in Changes or Docs, though the document may have changed since; ErrMissing if compaction took it.
func (db *DB) LeafDoc(id string, seq uint64, l Leaf) (*Doc, error) {
	sn, err := db.reader()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	return db.doc(sn, id, seq, l)
}

// Range selects ids, bytewise.
type Range struct {
	From, To      string // From <= id <= To whichever way the listing runs; To "" with !HasTo: no end
	HasTo         bool
	ExclusiveTo   bool // id < To
	ExclusiveFrom bool // From < id
	Descending    bool
	Deleted       bool // deleted documents too
}

// bounds are the range's within the texts of one kind.
func (r Range) bounds(id uint64, kind byte) *pebble.IterOptions {
	o := &pebble.IterOptions{LowerBound: dbKeyText(id, kind, r.From), UpperBound: dbKey(id, kind+1)}
	if r.ExclusiveFrom {
		o.LowerBound = append(o.LowerBound, 0)
	}
	if r.HasTo {
		o.UpperBound = dbKeyText(id, kind, r.To)
		if !r.ExclusiveTo {
			o.UpperBound = append(o.UpperBound, 0)
		}
	}
	return o
}

// Row is a document in a listing: its winner.
type Row struct {
	ID   string
	Seq  uint64
	Leaf Leaf
}

// Docs calls fn for the documents in r, under the same rules as Changes.
func (db *DB) Docs(r Range, fn func(*Row) bool) error {
	sn, err := db.reader()
	if err != nil {
		return err
	}
	defer sn.release()
	var row Row
	return scan(sn, r.bounds(db.id, kindDoc), r.Descending, func(key, value []byte) (bool, error) {
		h, _, err := cutHeader(value)
		if err != nil {
			return false, err
		}
		if h.deleted && !r.Deleted {
			return true, nil
		}
		row = Row{ID: string(key[dbKeyLen:]), Seq: h.seq, Leaf: Leaf{Rev: h.rev, Deleted: h.deleted, ref: h.ref}}
		return fn(&row), nil
	})
}

// CountBefore counts the documents that are not deleted and precede id in a listing (follow it, when descending): "offset". It gives up beyond max.
func (db *DB) CountBefore(id string, descending bool, max int) (n int, ok bool, err error) {
	r := Range{To: id, HasTo: true, ExclusiveTo: true}
	if descending {
		r = Range{From: id, ExclusiveFrom: true}
	}
	sn, err := db.reader()
	if err != nil {
		return 0, false, err
	}
	defer sn.release()
	// What is looked at is bounded too, or a database of tombstones would make it dear.
	seen := 0
	err = scan(sn, r.bounds(db.id, kindDoc), false, func(_, value []byte) (bool, error) {
		if len(value) < headerFixed {
			return false, damaged("a document's record in %s", db.name)
		}
		if value[headerFixed-1] == 0 {
			n++
		}
		seen++
		return n <= max && seen <= 4*max+4096, nil
	})
	if err != nil || n > max || seen > 4*max+4096 {
		return 0, false, err
	}
	return n, true, nil
}
