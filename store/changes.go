package store

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/parlordb/parlor/rev"
)

// Change is one row of the changes feed: the document whose newest change has this sequence.
type Change struct {
	Seq    uint64
	ID     string
	Leaves []Leaf // winner first, then in the order of preference
}

// Leaf is a leaf revision of a Change.
type Leaf struct {
	Rev     rev.ID
	Deleted bool
	ref     uint64
}

// Changes calls fn for changes with since < Seq, oldest first, or, descending, with Seq < since (0: all), newest first; at most limit, until fn
// returns false. Either way the last Seq of one call is the since of the next. It reads from one snapshot that is released on return, so fn must only copy;
// a document that changes between two calls moves to the new end. The Change and what it holds are valid during the call alone.
func (db *DB) Changes(since uint64, descending bool, limit int, fn func(*Change) bool) error {
	sn, err := db.reader()
	if err != nil {
		return err
	}
	defer sn.release()
	o := &pebble.IterOptions{LowerBound: dbKey(db.id, kindRow), UpperBound: dbKey(db.id, kindRow+1)}
	switch {
	case descending && since > 0:
		o.UpperBound = dbKeyN(db.id, kindRow, since)
	case !descending && since+1 == 0:
		return nil
	case !descending:
		o.LowerBound = dbKeyN(db.id, kindRow, since+1)
	}
	if limit <= 0 {
		return nil
	}
	var c Change
	return scan(sn, o, descending, func(key, value []byte) (bool, error) {
		c.Seq = keyNumber(key)
		if err := decodeRow(&c, value); err != nil {
			return false, err
		}
		limit--
		return fn(&c) && limit > 0, nil
	})
}
