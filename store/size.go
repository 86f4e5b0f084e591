package store

import "github.com/cockroachdb/pebble/v2"

// OtherBytes counts what Info's bytes leave out: ids and histories of documents, deleted ones too, and _local documents. It reads all of them. It fails with
// ErrNoDatabase or ErrClosed.
func (db *DB) OtherBytes() (uint64, error) {
	sn, err := db.reader()
	if err != nil {
		return 0, err
	}
	defer sn.release()
	return otherBytes(sn, db.id)
}

// TrashedOtherBytes does so for a kept copy. Of one that has gone meanwhile there are none.
func (s *Store) TrashedOtherBytes(t *Trashed) (uint64, error) {
	sn, err := s.snapshot()
	if err != nil {
		return 0, err
	}
	defer sn.release()
	return otherBytes(sn, t.id)
}

func otherBytes(r pebble.Reader, id uint64) (n uint64, err error) {
	for _, kind := range []byte{kindDoc, kindLocal} {
		o := &pebble.IterOptions{LowerBound: dbKey(id, kind), UpperBound: dbKey(id, kind+1)}
		err = scan(r, o, false, func(key, value []byte) (bool, error) {
			n += uint64(len(key) - dbKeyLen + len(value))
			return true, nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
