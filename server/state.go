package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// stateDatabase holds what sign-on must remember. No route leads to it and no listing names it, but every backup holds it.
const stateDatabase = "_parlor"

// isHidden reports whether a database's name is one that the world is not told of.
func isHidden(name string) bool { return strings.HasPrefix(name, "_") && !isSystemDatabase(name) }

// FurnishState makes the database of a [State], where it is missing.
func FurnishState(ctx context.Context, st *store.Store) error {
	_, err := st.Create(ctx, stateDatabase, []byte(defaultSecurities["admin_only"]))
	if errors.Is(err, store.ErrDatabaseExists) {
		return nil
	}
	return err
}

// State is the auth.State of a store: _local documents of the database _parlor, which have no history, leave no tombstones, and are compared by a counter when
// they are written. It must be the only one over its store.
type State struct {
	store *store.Store
	seed  maphash.Seed

	// A record that is made anew counts from 1 again. So the version that Put compares also holds a digest of the body, and the lock of an id is held
	// from the comparison to the write.
	locks [64]sync.Mutex

	mu       sync.Mutex
	watchers map[int]func(id string)
	next     int
}

var _ auth.State = (*State)(nil)

// NewState returns the State of a store. FurnishState makes its database, before it is first used.
func NewState(st *store.Store) *State {
	return &State{store: st, seed: maphash.MakeSeed(), watchers: map[int]func(string){}}
}

// lock takes the lock of an id, and returns what gives it back.
func (s *State) lock(id string) (unlock func()) {
	l := &s.locks[maphash.String(s.seed, id)%uint64(len(s.locks))]
	l.Lock()
	return l.Unlock
}

// version is what tells one state of a record from all others, within the life of this State.
func (s *State) version(n uint64, body []byte) string {
	return strconv.FormatUint(n, 36) + "-" + strconv.FormatUint(maphash.Bytes(s.seed, body), 36)
}

func (s *State) record(l *store.Local) auth.Record {
	return auth.Record{ID: strings.Clone(l.ID), Body: bytes.Clone(l.Body), Version: s.version(l.N, l.Body)}
}

// Get implements auth.State.
func (s *State) Get(_ context.Context, id string) (auth.Record, error) {
	l, err := s.local(id)
	if err != nil {
		return auth.Record{}, err
	}
	return s.record(l), nil
}

// local reads a record's document; auth.ErrNoRecord.
func (s *State) local(id string) (*store.Local, error) {
	db, err := s.store.DB(stateDatabase)
	if err != nil {
		return nil, err
	}
	l, err := db.Local(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s", auth.ErrNoRecord, id)
	}
	return l, err
}

// Put implements auth.State.
func (s *State) Put(ctx context.Context, r auth.Record) (version string, err error) {
	defer s.lock(r.ID)()
	present := ""
	var n uint64
	l, err := s.local(r.ID)
	switch {
	case err == nil:
		n, present = l.N, s.version(l.N, l.Body)
	case !errors.Is(err, auth.ErrNoRecord):
		return "", err
	}
	if present != r.Version {
		return "", fmt.Errorf("%w: %s", auth.ErrRecordChanged, r.ID)
	}
	if n, err = s.write(ctx, r.ID, n, r.Body); err != nil {
		return "", err
	}
	return s.version(n, r.Body), nil
}

// Delete implements auth.State.
func (s *State) Delete(ctx context.Context, id string) error {
	defer s.lock(id)()
	l, err := s.local(id)
	if err != nil {
		return err
	}
	_, err = s.write(ctx, id, l.N, nil)
	return err
}

// write stores a record, or deletes it for a nil body, and tells who watches. The caller holds the lock of the id. A write that was given up may
// happen all the same, so that is told too.
func (s *State) write(ctx context.Context, id string, base uint64, body []byte) (uint64, error) {
	db, err := s.store.DB(stateDatabase)
	if err != nil {
		return 0, err
	}
	n, err := db.PutLocal(ctx, id, base, body)
	s.changed(id)
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", id, err)
	}
	return n, nil
}

// List implements auth.State.
func (s *State) List(ctx context.Context, prefix, after string, limit int) ([]auth.Record, error) {
	if err := ctx.Err(); err != nil || limit <= 0 {
		return nil, err
	}
	db, err := s.store.DB(stateDatabase)
	if err != nil {
		return nil, err
	}
	rng := store.Range{From: prefix}
	if after >= prefix {
		rng.From, rng.ExclusiveFrom = after, after != ""
	}
	var list []auth.Record
	err = db.Locals(rng, func(l *store.Local) bool {
		if !strings.HasPrefix(l.ID, prefix) {
			return false // the ids come in order, so there are no more
		}
		list = append(list, s.record(l))
		return len(list) < limit
	})
	return list, err
}

// Watch implements auth.State. Nobody else writes to the database, so every change is seen.
func (s *State) Watch(changed func(id string)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.next
	s.next++
	s.watchers[key] = changed
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, key)
	}
}

// changed calls the watchers, without the lock: they may read what has changed.
func (s *State) changed(id string) {
	s.mu.Lock()
	watchers := slices.Collect(maps.Values(s.watchers))
	s.mu.Unlock()
	for _, watcher := range watchers {
		watcher(id)
	}
}
