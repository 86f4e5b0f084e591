package auth

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var _ State = (*MemoryState)(nil)

// MemoryState is a State in memory, for programs whose sessions and tokens need not outlive them, and for tests. The zero MemoryState is empty and
// ready for use; it is safe for concurrent use.
type MemoryState struct {
	mu       sync.RWMutex
	records  map[string]Record
	ids      orderedIDs
	versions uint64     // given out so far: none is given twice
	watchers []*watcher // in the order of Watch, in which they are told
}

// watcher is one call of Watch: functions cannot be compared.
type watcher struct{ changed func(id string) }

// Get implements State.
func (m *MemoryState) Get(ctx context.Context, id string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	r, ok := m.records[id]
	if !ok {
		return Record{}, ErrNoRecord
	}
	return r, nil
}

// Put implements State.
func (m *MemoryState) Put(ctx context.Context, r Record) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	version, err := m.put(r)
	if err != nil {
		return "", err
	}
	m.tell(r.ID)
	return version, nil
}

func (m *MemoryState) put(r Record) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, found := m.records[r.ID]
	if old.Version != r.Version {
		return "", ErrRecordChanged
	}
	if !found {
		if m.records == nil {
			m.records = make(map[string]Record)
		}
		m.ids.insert(r.ID)
	}
	m.versions++
	r.Version = strconv.FormatUint(m.versions, 10)
	r.Body = bytes.Clone(r.Body)
	m.records[r.ID] = r
	return r.Version, nil
}

// Delete implements State.
func (m *MemoryState) Delete(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	_, found := m.records[id]
	if found {
		delete(m.records, id)
		m.ids.remove(id)
	}
	m.mu.Unlock()
	if !found {
		return ErrNoRecord
	}
	m.tell(id)
	return nil
}

// List implements State.
func (m *MemoryState) List(ctx context.Context, prefix, after string, limit int) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []Record
	m.ids.ascend(max(prefix, after), func(id string) bool {
		if len(found) >= limit || !strings.HasPrefix(id, prefix) {
			return false
		}
		if id > after {
			found = append(found, m.records[id])
		}
		return true
	})
	return found, nil
}

// Watch implements State.
func (m *MemoryState) Watch(changed func(id string)) (stop func()) {
	w := &watcher{changed}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = append(slices.Clip(m.watchers), w)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.watchers = slices.DeleteFunc(slices.Clone(m.watchers), func(other *watcher) bool { return other == w })
	}
}

// tell calls the watchers without the lock, so that they may ask the State.
func (m *MemoryState) tell(id string) {
	m.mu.RLock()
	watchers := m.watchers // never changed in place
	m.mu.RUnlock()
	for _, w := range watchers {
		w.changed(id)
	}
}

// orderedIDs are ids in order, in pages, so that one more among many moves few.
type orderedIDs struct {
	pages [][]string // none is empty; all ids of one are before those of the next
}

// maxIDs is how long a page becomes before it is split.
const maxIDs = 512

// page is where id is or belongs: the last page that does not begin after it.
func (o *orderedIDs) page(id string) int {
	i, found := slices.BinarySearchFunc(o.pages, id, func(page []string, id string) int { return strings.Compare(page[0], id) })
	if !found && i > 0 {
		i--
	}
	return i
}

// insert adds an id that is not there.
func (o *orderedIDs) insert(id string) {
	if len(o.pages) == 0 {
		o.pages = [][]string{{id}}
		return
	}
	p := o.page(id)
	i, _ := slices.BinarySearch(o.pages[p], id)
	page := slices.Insert(o.pages[p], i, id)
	o.pages[p] = page
	if len(page) > maxIDs {
		o.pages[p] = slices.Clone(page[:maxIDs/2])
		o.pages = slices.Insert(o.pages, p+1, slices.Clone(page[maxIDs/2:]))
	}
}

// remove takes out an id that is there.
func (o *orderedIDs) remove(id string) {
	p := o.page(id)
	i, _ := slices.BinarySearch(o.pages[p], id)
	o.pages[p] = slices.Delete(o.pages[p], i, i+1)
	if len(o.pages[p]) == 0 {
		o.pages = slices.Delete(o.pages, p, p+1)
	}
}

// ascend calls f with the ids from one on, in order, until it returns false.
func (o *orderedIDs) ascend(from string, f func(id string) bool) {
	for p := o.page(from); p < len(o.pages); p++ {
		page := o.pages[p]
		i, _ := slices.BinarySearch(page, from)
		for _, id := range page[i:] {
			if !f(id) {
				return
			}
		}
	}
}
