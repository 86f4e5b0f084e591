package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/maypok86/otter/v2"
)

const (
	maxKeptBytes = 16 << 20 // of records that are remembered, by their JSON and what surrounds it
	keptOverhead = 512      // bytes that one costs beside its JSON

	recordPage = 200 // how many records are read at once

	// A record's index entry is made a moment before the record. Only one that is older than this and still alone was left by a crash.
	orphanAge = 10 * time.Minute
)

// records keeps one kind of record in a State, each of which belongs to a user, and remembers those that were used lately:
//
//	KIND/ID                     the record
//	KIND-user/HASH OF USER/ID   its entry in the user's index
//
// The entry is written before the record and removed after it, so that a crash leaves at most an entry without a record; sweepIndex removes those.
// The user stands there as a hash: so no name is the beginning of another's, and none is too long.
//
// What is remembered is dropped when the State says that it has changed. What is not there is not remembered, so a stranger's guesses take no room.
type records[T any] struct {
	state  State
	prefix string                      // "KIND/"
	index  string                      // "KIND-user/"
	finish func(id string, v *T) error // completes what was read, or says why it cannot be used
	cache  *otter.Cache[recordKey, *kept[T]]

	mu      sync.Mutex // orders what is put into the cache with what is dropped from it
	changes uint64
}

// kept is a record as it was read.
type kept[T any] struct {
	id      string
	version string
	size    int
	value   *T // never changed

	writing atomic.Bool // somebody writes its successor
}

// recordKey is an ID, with zeros behind. As the key of a map it costs no memory of its own.
type recordKey [43]byte

// hashKey is the key of the record of a secret, whose ID is the secret's SHA-256 in base64url.
func hashKey(secret string) (key recordKey) {
	var stack [64]byte
	hash := sha256.Sum256(append(stack[:0], secret...))
	base64.RawURLEncoding.Encode(key[:], hash[:])
	return key
}

// idKey is the key of an ID that came from elsewhere; ok is false for a text that can be none.
func idKey(id string) (key recordKey, ok bool) {
	if id == "" || len(id) > len(key) {
		return key, false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return key, false
		}
	}
	copy(key[:], id)
	return key, true
}

func (k recordKey) id() string {
	n := len(k)
	for n > 0 && k[n-1] == 0 {
		n--
	}
	return string(k[:n])
}

func newRecords[T any](state State, kind string, finish func(id string, v *T) error) *records[T] {
	return &records[T]{
		state: state, prefix: kind + "/", index: kind + "-user/", finish: finish,
		cache: otter.Must(&otter.Options[recordKey, *kept[T]]{
			MaximumWeight: maxKeptBytes,
			Weigher:       func(_ recordKey, k *kept[T]) uint32 { return uint32(k.size + keptOverhead) },
			Executor:      func(f func()) { f() }, // no goroutine for its bounds
		}),
	}
}

// changed is what Watch calls.
func (s *records[T]) changed(id string) {
	text, ok := strings.CutPrefix(id, s.prefix)
	if !ok {
		return
	}
	key, ok := idKey(text)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	s.cache.Invalidate(key)
}

// get returns a record, or ErrNoRecord.
func (s *records[T]) get(ctx context.Context, key recordKey) (*kept[T], error) {
	if k, ok := s.cache.GetIfPresent(key); ok {
		return k, nil
	}
	s.mu.Lock()
	changes := s.changes
	s.mu.Unlock()
	id := key.id()
	k, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == changes { // else what was read may be old already, and nobody would drop it
		s.cache.Set(key, k)
	}
	return k, nil
}

// remembered returns a record if it costs no reading.
func (s *records[T]) remembered(key recordKey) (*kept[T], bool) { return s.cache.GetIfPresent(key) }

// load reads a record past the cache.
func (s *records[T]) load(ctx context.Context, id string) (*kept[T], error) {
	r, err := s.state.Get(ctx, s.prefix+id)
	if err != nil {
		return nil, err
	}
	return s.parse(id, r)
}

func (s *records[T]) parse(id string, r Record) (*kept[T], error) {
	k := &kept[T]{id: id, version: r.Version, size: len(r.Body), value: new(T)}
	err := json.Unmarshal(r.Body, k.value)
	if err == nil {
		err = s.finish(id, k.value)
	}
	if err != nil {
		return nil, fmt.Errorf("the record %s%s cannot be read", s.prefix, id) // the reason may show parts of it
	}
	return k, nil
}

// indexEntry says where a user's record is by its id.
type indexEntry struct {
	Created time.Time `json:"created"`
}

// ofUser begins the ids of a user's index entries.
func (s *records[T]) ofUser(user string) string {
	hash := sha256.Sum256([]byte(user))
	return s.index + base64.RawURLEncoding.EncodeToString(hash[:]) + "/"
}

// create stores a new record of a user, which was made at created.
func (s *records[T]) create(ctx context.Context, id, user string, created time.Time, v *T) error {
	entry, err := json.Marshal(indexEntry{created})
	if err != nil {
		return err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := s.state.Put(ctx, Record{ID: s.ofUser(user) + id, Body: entry}); err != nil {
		return err
	}
	_, err = s.state.Put(ctx, Record{ID: s.prefix + id, Body: body})
	return err
}

// replace stores the successor of a record; ErrRecordChanged when it has changed or gone since it was read.
func (s *records[T]) replace(ctx context.Context, k *kept[T], v *T) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.state.Put(ctx, Record{ID: s.prefix + k.id, Body: body, Version: k.version})
	return err
}

// remove removes a record, or fails with ErrNoRecord. forget is to follow.
func (s *records[T]) remove(ctx context.Context, id string) error {
	return s.state.Delete(ctx, s.prefix+id)
}

// forget removes a record's entry from the user's index.
func (s *records[T]) forget(ctx context.Context, id, user string) error {
	if err := s.state.Delete(ctx, s.ofUser(user)+id); !errors.Is(err, ErrNoRecord) {
		return err
	}
	return nil
}

// each goes through a user's records in the order of IDs, or through everyone's for "", after an ID. One that cannot be read is an error, after which
// it goes on; the State's own error ends it. Records may be removed on the way.
func (s *records[T]) each(ctx context.Context, user, after string) iter.Seq2[*kept[T], error] {
	prefix := s.prefix
	if user != "" {
		prefix = s.ofUser(user)
	}
	return func(yield func(*kept[T], error) bool) {
		for r, err := range pages(ctx, s.state, prefix, after) {
			if err != nil {
				yield(nil, err)
				return
			}
			id := r.ID[len(prefix):]
			if user != "" {
				if r, err = s.state.Get(ctx, s.prefix+id); errors.Is(err, ErrNoRecord) {
					continue
				} else if err != nil {
					yield(nil, err)
					return
				}
			}
			if !yield(s.parse(id, r)) {
				return
			}
		}
	}
}

// pages goes through the records whose ids begin with prefix, after one that ends with after.
func pages(ctx context.Context, state State, prefix, after string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for from := prefix + after; ; {
			page, err := state.List(ctx, prefix, from, recordPage)
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if len(page) < recordPage {
				return
			}
			from = page[len(page)-1].ID
		}
	}
}

// place is where a record stands in its user's index.
type place struct {
	id      string
	created time.Time
}

// places lists a user's index, in the order of IDs.
func (s *records[T]) places(ctx context.Context, user string) ([]place, error) {
	prefix := s.ofUser(user)
	var found []place
	for r, err := range pages(ctx, s.state, prefix, "") {
		if err != nil {
			return nil, err
		}
		var entry indexEntry
		_ = json.Unmarshal(r.Body, &entry) // one that cannot be read is the oldest
		found = append(found, place{r.ID[len(prefix):], entry.Created})
	}
	return found, nil
}

// sweepIndex removes the entries that a crash left without a record.
func (s *records[T]) sweepIndex(ctx context.Context, now time.Time) (removed int, err error) {
	for r, err := range pages(ctx, s.state, s.index, "") {
		if err != nil {
			return removed, err
		}
		var entry indexEntry
		if json.Unmarshal(r.Body, &entry) == nil && now.Sub(entry.Created) < orphanAge {
			continue
		}
		_, err := s.state.Get(ctx, s.prefix+r.ID[strings.LastIndexByte(r.ID, '/')+1:])
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrNoRecord) {
			return removed, err
		}
		if err := s.state.Delete(ctx, r.ID); err == nil {
			removed++
		} else if !errors.Is(err, ErrNoRecord) {
			return removed, err
		}
	}
	return removed, nil
}
