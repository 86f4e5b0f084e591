package store

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Local is a _local document: unversioned but for a counter, never replicated.
type Local struct {
	ID   string // without "_local/"
	N    uint64 // its _rev is "0-N"
	Body []byte // as Doc.Body
}

func decodeLocal(id string, b []byte) (*Local, error) {
	if len(b) < 8 {
		return nil, damaged("_local/%s", id)
	}
	return &Local{ID: id, N: binary.BigEndian.Uint64(b), Body: b[8:]}, nil
}

// Local returns the _local document id, or ErrNotFound.
func (db *DB) Local(id string) (*Local, error) {
	sn, err := db.reader()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	v, err := read(sn, dbKeyText(db.id, kindLocal, id))
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("%w: _local/%s", ErrNotFound, id)
	}
	return decodeLocal(id, v)
}

// PutLocal stores body, or deletes for a nil body. base is the N that it replaces, 0 for none; anything else than the present N is
// ErrConflict. It returns the new N, 0 after a deletion. A document deleted and made anew starts from 1. Deleting what is not there
// is ErrNotFound.
func (db *DB) PutLocal(ctx context.Context, id string, base uint64, body []byte) (uint64, error) {
	var n uint64
	err := db.do(ctx, len(id)+len(body), func(g *group, w *work) error {
		key := dbKeyText(db.id, kindLocal, id)
		now, err := g.local(w, id, key)
		if err != nil {
			return g.fail(err)
		}
		switch {
		case now == nil && base != 0, now != nil && now.N != base:
			return fmt.Errorf("%w: _local/%s", ErrConflict, id)
		case now == nil && body == nil:
			return fmt.Errorf("%w: _local/%s", ErrNotFound, id)
		}
		if w.locals == nil {
			w.locals = make(map[string]*Local)
		}
		if body == nil {
			n = 0
			w.locals[id] = nil
			g.delete(key)
			return nil
		}
		n = base + 1
		w.locals[id] = &Local{ID: id, N: n}
		g.set(key, append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(body)), n), body...))
		return nil
	})
	return n, err
}

// local returns a _local document as the group sees it (Body may be missing), nil when there is none.
func (g *group) local(w *work, id string, key []byte) (*Local, error) {
	if l, ok := w.locals[id]; ok {
		return l, nil
	}
	v, err := read(g.store.pebble, key)
	if err != nil || v == nil {
		return nil, err
	}
	return decodeLocal(id, v)
}

// Locals calls fn for _local documents in r, under the same rules as Changes.
func (db *DB) Locals(r Range, fn func(*Local) bool) error {
	sn, err := db.reader()
	if err != nil {
		return err
	}
	defer sn.release()
	return scan(sn, r.bounds(db.id, kindLocal), r.Descending, func(key, value []byte) (bool, error) {
		l, err := decodeLocal(string(key[dbKeyLen:]), value)
		if err != nil {
			return false, err
		}
		return fn(l), nil
	})
}
