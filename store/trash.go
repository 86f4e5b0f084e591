package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Trashed is the kept copy of a database that was discarded. It is out of the name space: nothing but the functions of this file sees it.
type Trashed struct {
	Name      string
	Created   time.Time
	Discarded time.Time
	Hollow    bool   // its documents are gone: only what stands beside them is kept
	DocCount  uint64 // as in Info
	Bytes     uint64 // bodies and attachments in all

	Security   []byte // as it was
	Properties []byte // nil for none

	id uint64
}

// trashRecord is what the name of a kept copy stands for. Its keys stay where they were: they begin with the number of the database.
type trashRecord struct {
	nameRecord
	discarded int64 // nanoseconds of Unix time
	hollow    bool
}

func (t trashRecord) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(t.nameRecord.append(dst), uint64(t.discarded))
	return append(dst, flag(t.hollow))
}

func decodeTrash(b []byte) (trashRecord, error) {
	if len(b) != 33 {
		return trashRecord{}, damaged("the record of a kept copy")
	}
	n, err := decodeName(b[:24])
	return trashRecord{nameRecord: n, discarded: int64(binary.BigEndian.Uint64(b[24:])), hollow: b[32] == 1}, err
}

// Discard takes the database name out of the name space, durably when it returns, and keeps it as the copy of that name, in place of an older one.
// For whoever uses it, it is deleted: calls on it fail with ErrNoDatabase, and so does Discard where there is none. Without documents
// only _security and properties are kept, in a hollow copy.
func (s *Store) Discard(ctx context.Context, name string, documents bool) error {
	db, err := s.DB(name)
	if err != nil {
		return err
	}
	var removed []*DB // whose room is to be reclaimed
	// Alone, because what others of the group have changed in the database is only in memory.
	err = s.do(ctx, &op{bytes: 1024, frees: true, alone: true, run: func(g *group) error {
		w, err := g.on(db)
		if err != nil {
			return err
		}
		older, err := g.trashed(name)
		if err != nil {
			return err
		}
		if older != nil {
			gone, err := g.expunge(name, *older)
			if err != nil {
				return err
			}
			removed = append(removed, gone)
		}
		g.leave(w)
		n := nameRecord{id: db.id, instance: db.instance.Load(), created: db.created}
		kept := w.state
		kept.update = 0
		kept.version++
		g.set(dbKey(db.id, kindState), kept.append(nil))
		t := trashRecord{nameRecord: n, discarded: s.now().UnixNano()}
		g.set(trashKey(name), t.append(nil))
		if documents {
			return nil
		}
		gone, err := g.hollow(name, t)
		removed = append(removed, gone)
		return err
	}})
	if err == nil {
		s.wantRoom(removed...)
	}
	return err
}

// wantRoom has Pebble reclaim the room of databases that are gone, where it is worth it.
func (s *Store) wantRoom(gone ...*DB) {
	for _, db := range gone {
		if db != nil && (db.head.total >= reclaimFrom || s.disk.full.Load()) {
			s.compactor.want(db)
		}
	}
}

// trashed returns the record of a name's kept copy, nil when there is none. The group must be of one operation alone.
func (g *group) trashed(name string) (*trashRecord, error) {
	v, err := read(g.store.pebble, trashKey(name))
	if err != nil {
		return nil, g.fail(err)
	}
	if v == nil {
		return nil, nil
	}
	t, err := decodeTrash(v)
	if err != nil {
		return nil, g.fail(err)
	}
	return &t, nil
}

// gone is a handle of what a copy was, for the compactor.
func (g *group) gone(name string, t trashRecord) (*DB, error) {
	v, err := read(g.store.pebble, dbKey(t.id, kindState))
	if err != nil {
		return nil, g.fail(err)
	}
	st, err := decodeState(v)
	if err != nil {
		return nil, g.fail(err)
	}
	db := g.store.newDB(name, t.nameRecord, st)
	db.deleted.Store(true)
	return db, nil
}

// expunge removes a kept copy.
func (g *group) expunge(name string, t trashRecord) (*DB, error) {
	db, err := g.gone(name, t)
	if err != nil {
		return nil, err
	}
	g.deleteRange(dbKey(t.id, 0), dbKey(t.id+1, 0))
	g.delete(trashKey(name))
	return db, nil
}

// hollow makes t the kept copy of a name, of which only what stands beside the documents is left.
func (g *group) hollow(name string, t trashRecord) (*DB, error) {
	db, err := g.gone(name, t)
	if err != nil {
		return nil, err
	}
	security, err := read(g.store.pebble, dbKey(t.id, kindSecurity))
	if err != nil {
		return nil, g.fail(err)
	}
	properties, err := read(g.store.pebble, dbKey(t.id, kindProperties))
	if err != nil {
		return nil, g.fail(err)
	}
	g.deleteRange(dbKey(t.id, 0), dbKey(t.id+1, 0))
	g.set(dbKey(t.id, kindState), state{version: 1, revsLimit: defaultRevsLimit, purgedLimit: defaultPurgedLimit}.append(nil))
	g.set(dbKey(t.id, kindSecurity), security)
	if properties != nil {
		g.set(dbKey(t.id, kindProperties), properties)
	}
	t.hollow = true
	g.set(trashKey(name), t.append(nil))
	return db, nil
}

// onTrash does run with the kept copy of a name, or fails with ErrNoDatabase.
func (s *Store) onTrash(ctx context.Context, o *op, name string, run func(g *group, t trashRecord) error) error {
	o.alone = true
	o.run = func(g *group) error {
		t, err := g.trashed(name)
		if err != nil {
			return err
		}
		if t == nil {
			return fmt.Errorf("%w: no copy of %s is kept", ErrNoDatabase, name)
		}
		return run(g, *t)
	}
	return s.do(ctx, o)
}

// Expunge removes the kept copy of a name for good, durably when it returns, or fails with ErrNoDatabase.
func (s *Store) Expunge(ctx context.Context, name string) error {
	var gone *DB
	err := s.onTrash(ctx, &op{bytes: 512, frees: true}, name, func(g *group, t trashRecord) (err error) {
		gone, err = g.expunge(name, t)
		return err
	})
	if err == nil {
		s.wantRoom(gone)
	}
	return err
}

// Restore makes the kept copy of a name a database again, under the name as. It is as it was when it was discarded, with its _local documents, _security
// and properties; but sequences that clients hold are answered from the start. It fails with ErrNoDatabase where no copy is kept, with
// ErrMissing where it is hollow, and with ErrDatabaseExists.
func (s *Store) Restore(ctx context.Context, name, as string) (*DB, error) {
	var db *DB
	err := s.onTrash(ctx, &op{bytes: 1024}, name, func(g *group, t trashRecord) error {
		taken, err := g.lookup(as)
		if err != nil {
			return g.fail(err)
		}
		switch {
		case taken != nil:
			return fmt.Errorf("%w: %s", ErrDatabaseExists, as)
		case t.hollow:
			return fmt.Errorf("%w: of the copy of %s", ErrMissing, name)
		}
		was, err := g.gone(name, t)
		if err != nil {
			return err
		}
		g.delete(trashKey(name))
		t.instance = newInstance()
		db, err = g.enter(as, t.nameRecord, was.head)
		return err
	})
	if err != nil {
		return nil, err
	}
	return db, nil
}

// AmendTrashed replaces _security and properties of the kept copy of a name, durably when it returns, or fails with ErrNoDatabase. What is nil
// stays.
func (s *Store) AmendTrashed(ctx context.Context, name string, security, properties []byte) error {
	return s.onTrash(ctx, &op{bytes: 512 + len(security) + len(properties)}, name, func(g *group, t trashRecord) error {
		if security != nil {
			g.set(dbKey(t.id, kindSecurity), security)
		}
		if properties != nil {
			g.set(dbKey(t.id, kindProperties), properties)
		}
		return nil
	})
}

// TrashedCopy returns the kept copy of a name, or fails with ErrNoDatabase.
func (s *Store) TrashedCopy(name string) (Trashed, error) {
	sn, err := s.snapshot()
	if err != nil {
		return Trashed{}, err
	}
	defer sn.release()
	v, err := read(sn, trashKey(name))
	if err != nil {
		return Trashed{}, err
	}
	if v == nil {
		return Trashed{}, fmt.Errorf("%w: no copy of %s is kept", ErrNoDatabase, name)
	}
	return readTrashed(sn, name, v)
}

// Trashed returns at most limit kept copies whose names come after the name after, in the order of names.
func (s *Store) Trashed(after string, limit int) ([]Trashed, error) {
	sn, err := s.snapshot()
	if err != nil || limit <= 0 {
		return nil, err
	}
	defer sn.release()
	var list []Trashed
	o := &pebble.IterOptions{LowerBound: append(trashKey(after), 0), UpperBound: []byte{keyTrash + 1}}
	err = scan(sn, o, false, func(key, value []byte) (bool, error) {
		t, err := readTrashed(sn, string(key[1:]), value)
		list = append(list, t)
		return len(list) < limit, err
	})
	return list, err
}

func readTrashed(r pebble.Reader, name string, value []byte) (Trashed, error) {
	t, err := decodeTrash(value)
	if err != nil {
		return Trashed{}, err
	}
	v, err := read(r, dbKey(t.id, kindState))
	if err != nil {
		return Trashed{}, err
	}
	st, err := decodeState(v)
	if err != nil {
		return Trashed{}, err
	}
	kept := Trashed{Name: name, Created: time.Unix(0, t.created), Discarded: time.Unix(0, t.discarded), Hollow: t.hollow,
		DocCount: st.docs, Bytes: st.total, id: t.id}
	if kept.Security, err = read(r, dbKey(t.id, kindSecurity)); err != nil {
		return Trashed{}, err
	}
	kept.Properties, err = read(r, dbKey(t.id, kindProperties))
	return kept, err
}

// relieve hollows kept copies, the oldest first, when the disk is short: until the room is there that it lacks, or none is left.
func (s *Store) relieve() error {
	lacking := s.disk.lacks()
	if lacking == 0 {
		return nil
	}
	// What is done here finds the disk short too, before the room is there again.
	defer func() {
		select {
		case <-s.disk.short:
		default:
		}
	}()
	var copies []Trashed
	for after := ""; ; after = copies[len(copies)-1].Name {
		const page = 1000
		some, err := s.Trashed(after, page)
		if err != nil {
			return err
		}
		if copies = append(copies, some...); len(some) < page {
			break
		}
	}
	copies = slices.DeleteFunc(copies, func(t Trashed) bool { return t.Hollow })
	slices.SortFunc(copies, func(a, b Trashed) int {
		if c := a.Discarded.Compare(b.Discarded); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, t := range copies {
		var gone *DB
		err := s.onTrash(context.Background(), &op{bytes: 1024, frees: true}, t.Name, func(g *group, now trashRecord) (err error) {
			if now.id == t.id { // else it is a newer one
				gone, err = g.hollow(t.Name, now)
			}
			return err
		})
		if err != nil && !errors.Is(err, ErrNoDatabase) {
			return err
		}
		if gone == nil {
			continue // restored or expunged meanwhile
		}
		s.log.Warn("the disk is short: the documents of a deleted database are no longer kept", "database", t.Name, "discarded", t.Discarded, "bytes", t.Bytes)
		s.reclaim(gone)
		if lacking -= min(lacking, t.Bytes); lacking == 0 {
			return nil
		}
	}
	return nil
}
