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

// Changes calls fn for changes with since < Seq (or, descending, all from the newest on: since is then ignored), at most limit, until fn
// returns false. It reads from one snapshot that is released on return, so fn must only copy. The Change and what it
// holds are valid during the call alone.
func (db *DB) Changes(since uint64, descending bool, limit int, fn func(*Change) bool) error {
	sn, err := db.reader()
	if err != nil {
		return err
	}
	defer sn.release()
	o := &pebble.IterOptions{LowerBound: dbKey(db.id, kindRow), UpperBound: dbKey(db.id, kindRow+1)}
	if !descending {
		if since+1 == 0 {
			return nil
		}
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
