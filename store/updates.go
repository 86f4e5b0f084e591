package store

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Update is one entry of the server-wide log behind _db_updates: the last thing that happened to a database.
type Update struct {
	Seq  uint64
	Name string
	Type string // "created", "updated" or "deleted"
}

const (
	updateCreated byte = 'c'
	updateChanged byte = 'u'
	updateDeleted byte = 'd'
)

func updateType(b byte) string {
	switch b {
	case updateCreated:
		return "created"
	case updateDeleted:
		return "deleted"
	}
	return "updated"
}

// updates is the newest sequence of the log, and those who wait for more.
type updates struct {
	mu      sync.Mutex
	seq     uint64
	changed chan struct{} // closed at the next change; nil when nobody waits
}

func (u *updates) load(r pebble.Reader) error {
	return scan(r, within([]byte{keyUpdate}), true, func(key, _ []byte) (bool, error) {
		u.seq = keyNumber(key)
		return false, nil
	})
}

func (u *updates) newest() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seq
}

func (u *updates) publish(seq uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if seq == u.seq {
		return
	}
	u.seq = seq
	if u.changed != nil {
		close(u.changed)
		u.changed = nil
	}
}

// logUpdate makes the database's entry of the log, in place of its last one. It returns the entry's sequence.
func (g *group) logUpdate(kind byte, name string, last uint64) uint64 {
	if last != 0 {
		g.delete(updateKey(last))
	}
	g.update++
	g.set(updateKey(g.update), append([]byte{kind}, name...))
	return g.update
}

// Updates returns at most limit entries with Seq > since, in order. A database has one entry, its newest.
func (s *Store) Updates(since uint64, limit int) ([]Update, error) {
	sn, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	var list []Update
	if limit <= 0 || since+1 == 0 {
		return nil, nil
	}
	o := &pebble.IterOptions{LowerBound: updateKey(since + 1), UpperBound: []byte{keyUpdate + 1}}
	err = scan(sn, o, false, func(key, value []byte) (bool, error) {
		if len(value) == 0 {
			return false, damaged("entry %d of the update log", binary.BigEndian.Uint64(key[1:]))
		}
		list = append(list, Update{Seq: keyNumber(key), Type: updateType(value[0]), Name: string(value[1:])})
		return len(list) < limit, nil
	})
	return list, err
}

// UpdateSeq is the Seq of the newest entry that Updates can return.
func (s *Store) UpdateSeq() uint64 { return s.updates.newest() }

// WaitUpdate returns when UpdateSeq exceeds since, or with ctx's error, or ErrClosed.
func (s *Store) WaitUpdate(ctx context.Context, since uint64) error {
	for {
		u := &s.updates
		u.mu.Lock()
		if u.seq > since {
			u.mu.Unlock()
			return nil
		}
		if u.changed == nil {
			u.changed = make(chan struct{})
		}
		changed := u.changed
		u.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return ErrClosed
		}
	}
}
