package store

import (
	"math/bits"

	"github.com/cockroachdb/pebble/v2"
)

// rowSet is which sequences hold a row, a bit for each, so that "how many changes come after this one" is answered by counting bits.
// A page covers 4096 sequences and is nil when none holds a row. A nil *rowSet is not kept yet and takes nothing in.
type rowSet struct {
	pages []*rowPage
}

const pageRows = 4096

type rowPage struct {
	rows int
	bits [pageRows / 64]uint64
}

func (s *rowSet) apply(c rowChange) {
	if s == nil {
		return
	}
	if c.from != 0 {
		s.set(c.from, false)
	}
	if c.to != 0 {
		s.set(c.to, true)
	}
}

func (s *rowSet) set(seq uint64, present bool) {
	at := int(seq / pageRows)
	for at >= len(s.pages) {
		s.pages = append(s.pages, nil)
	}
	page := s.pages[at]
	if page == nil {
		page = new(rowPage)
		s.pages[at] = page
	}
	word, bit := seq%pageRows/64, uint64(1)<<(seq%64)
	switch was := page.bits[word]&bit != 0; {
	case present && !was:
		page.bits[word] |= bit
		page.rows++
	case !present && was:
		page.bits[word] &^= bit
		if page.rows--; page.rows == 0 {
			s.pages[at] = nil
		}
	}
}

// after counts the rows behind seq.
func (s *rowSet) after(seq uint64) (n uint64) {
	if seq/pageRows >= uint64(len(s.pages)) {
		return 0
	}
	at := int(seq / pageRows)
	for _, page := range s.pages[at+1:] {
		if page != nil {
			n += uint64(page.rows)
		}
	}
	if page := s.pages[at]; page != nil {
		word := seq % pageRows / 64
		// Shifting by 64 leaves nothing, which is right for the last bit of a word.
		n += uint64(bits.OnesCount64(page.bits[word] >> (seq%64 + 1)))
		for _, w := range page.bits[word+1:] {
			n += uint64(bits.OnesCount64(w))
		}
	}
	return n
}

// rowLog is what happened to rows while a scan was under way: some of it is in the scan already.
type rowLog struct {
	ready   chan struct{} // closed when the scan has ended
	err     error
	changes []loggedChange
}

type loggedChange struct {
	version uint64
	rowChange
}

func (l *rowLog) note(version uint64, c rowChange) {
	if l != nil {
		l.changes = append(l.changes, loggedChange{version, c})
	}
}

// ChangesAfter counts the rows with Seq > since. It is cheap enough to be asked for with every page (the "pending" member).
func (db *DB) ChangesAfter(since uint64) (uint64, error) {
	for {
		sn, err := db.reader()
		if err != nil {
			return 0, err
		}
		db.mu.Lock()
		n, ok := db.countAfter(since)
		build := db.building
		mine := !ok && build == nil
		if mine {
			build = &rowLog{ready: make(chan struct{})}
			db.building = build
		}
		db.mu.Unlock()
		if mine {
			// A new snapshot: the log must not miss what lies between it and the scan.
			sn.release()
			db.buildRows(build)
			if build.err != nil {
				return 0, build.err
			}
			continue
		}
		sn.release()
		if ok {
			return n, nil
		}
		<-build.ready
		if build.err != nil {
			return 0, build.err
		}
	}
}

// countAfter answers from memory if it can. The caller holds db.mu.
func (db *DB) countAfter(since uint64) (uint64, bool) {
	switch {
	case since == 0:
		return db.state.docs + db.state.dels, true
	case since >= db.state.seq:
		return 0, true
	case db.rows != nil:
		return db.rows.after(since), true
	}
	return 0, false
}

// buildRows scans the rows without holding up the committer, then catches up with what it logged meanwhile.
func (db *DB) buildRows(log *rowLog) {
	defer close(log.ready)
	set, version, err := db.scanRows()
	db.mu.Lock()
	defer db.mu.Unlock()
	db.building = nil
	if log.err = err; err != nil {
		return
	}
	for _, c := range log.changes {
		if c.version > version {
			set.apply(c.rowChange)
		}
	}
	db.rows = set
}

// scanRows returns the rows of the newest snapshot, and the version of the state in it.
func (db *DB) scanRows() (*rowSet, uint64, error) {
	sn, err := db.reader()
	if err != nil {
		return nil, 0, err
	}
	defer sn.release()
	v, err := read(sn, dbKey(db.id, kindState))
	if err != nil {
		return nil, 0, err
	}
	if v == nil {
		return nil, 0, db.noDatabase()
	}
	st, err := decodeState(v)
	if err != nil {
		return nil, 0, err
	}
	set := new(rowSet)
	o := &pebble.IterOptions{LowerBound: dbKey(db.id, kindRow), UpperBound: dbKey(db.id, kindRow+1)}
	err = scan(sn, o, false, func(key, _ []byte) (bool, error) {
		set.set(keyNumber(key), true)
		return true, nil
	})
	return set, st.version, err
}
