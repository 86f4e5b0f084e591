package store

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Check verifies every invariant of the store and returns one line for each that is broken. It may run beside
// readers and writers: it reads one snapshot. Of a database it holds the numbers of bodies and attachments in memory, some dozens of bytes for each.
// The error is ErrClosed, ctx's, or one of reading.
func (s *Store) Check(ctx context.Context) (problems []string, err error) {
	sn, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	defer sn.release()
	c := &checker{ctx: ctx, r: sn, ids: make(map[uint64]string), trashed: make(map[uint64]bool)}
	if err := c.store(); err != nil {
		return c.problems, err
	}
	return c.problems, nil
}

// checker gathers what is wrong.
type checker struct {
	ctx      context.Context
	r        pebble.Reader
	problems []string
	ids      map[uint64]string // database names
	trashed  map[uint64]bool   // which of them are kept copies
	pending  map[fileID]bool   // uploads under way
	updates  map[uint64]Update
	newest   uint64 // of the update log
	nextID   uint64
}

// maxProblems is enough to see what kind of damage there is.
const maxProblems = 1000

func (c *checker) report(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Sprintf(format, args...))
	}
}

// each calls fn for the entries in bounds. What fn returns is reported.
func (c *checker) each(o *pebble.IterOptions, fn func(key, value []byte) error) error {
	return scan(c.r, o, false, func(key, value []byte) (bool, error) {
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
		if err := fn(key, value); err != nil {
			c.report("key %x: %v", key, err)
		}
		return true, nil
	})
}

func (c *checker) store() error {
	if v, err := read(c.r, []byte{keyNextID}); err != nil {
		return err
	} else if len(v) == 8 {
		c.nextID = binary.BigEndian.Uint64(v)
	}
	if err := c.uploads(); err != nil {
		return err
	}
	if err := c.updateLog(); err != nil {
		return err
	}
	if err := c.names(); err != nil {
		return err
	}
	for id, name := range c.ids {
		if err := c.database(id, name); err != nil {
			return err
		}
	}
	for _, u := range c.updates {
		c.report("entry %d of the update log (%s) is of no database that it could be of: %s", u.Seq, u.Type, u.Name)
	}
	return c.strangers()
}

// names notes the databases, and the copies that are kept of discarded ones.
func (c *checker) names() error {
	note := func(name string, n nameRecord) {
		if other, ok := c.ids[n.id]; ok {
			c.report("databases %s and %s have the same number %d", other, name, n.id)
		}
		if n.id >= c.nextID {
			c.report("database %s has the number %d, the next is said to be %d", name, n.id, c.nextID)
		}
		c.ids[n.id] = name
	}
	err := c.each(within([]byte{keyName}), func(key, value []byte) error {
		n, err := decodeName(value)
		if err == nil {
			note(string(key[1:]), n)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.each(within([]byte{keyTrash}), func(key, value []byte) error {
		t, err := decodeTrash(value)
		if err == nil {
			note(string(key[1:]), t.nameRecord)
			c.trashed[t.id] = true
		}
		return err
	})
}

// uploads notes the attachments whose chunks may be there without a revision.
func (c *checker) uploads() error {
	c.pending = make(map[fileID]bool)
	return c.each(within([]byte{keyPending}), func(key, _ []byte) error {
		if len(key) != 17 {
			return damaged("the mark of an upload")
		}
		c.pending[fileID{db: binary.BigEndian.Uint64(key[1:]), ref: keyNumber(key)}] = true
		return nil
	})
}

// updateLog reads the log and takes out the entries of deleted databases. What then belongs to no database is too much.
func (c *checker) updateLog() error {
	c.updates = make(map[uint64]Update)
	names := make(map[string]bool)
	err := c.each(within([]byte{keyUpdate}), func(key, value []byte) error {
		if len(value) == 0 {
			return damaged("an entry of the update log")
		}
		u := Update{Seq: keyNumber(key), Type: updateType(value[0]), Name: string(value[1:])}
		if names[u.Name] {
			c.report("the update log has two entries for %s", u.Name)
		}
		names[u.Name] = true
		c.updates[u.Seq] = u
		c.newest = u.Seq
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(within([]byte{keyDeleted}), func(key, value []byte) error {
		if len(value) != 8 {
			return damaged("the entry of a deleted database")
		}
		seq := binary.BigEndian.Uint64(value)
		if u := c.updates[seq]; u.Name != string(key[1:]) || u.Type != "deleted" {
			return damaged("the deletion of %s is not in the update log under %d", key[1:], seq)
		}
		delete(c.updates, seq)
		return nil
	})
}

// strangers looks for keys that belong to no database.
func (c *checker) strangers() error {
	var last uint64
	for {
		// From database to database, without looking at what they hold.
		found, id := false, uint64(0)
		o := &pebble.IterOptions{LowerBound: dbKeyN(last, 0, 0)[:9], UpperBound: []byte{keyData + 1}}
		err := scan(c.r, o, false, func(key, _ []byte) (bool, error) {
			if len(key) < dbKeyLen {
				c.report("key %x is no key of a database", key)
				return true, nil
			}
			found, id = true, binary.BigEndian.Uint64(key[1:])
			return false, nil
		})
		if err != nil || !found {
			return err
		}
		if _, ok := c.ids[id]; !ok {
			err := c.each(within(dbKey(id, 0)[:9]), func(key, _ []byte) error {
				if len(key) == dbKeyLen+12 && key[9] == kindChunk && c.pending[fileID{db: id, ref: binary.BigEndian.Uint64(key[10:])}] {
					return nil // an upload that outlived its database, and is swept at the next start
				}
				return damaged("it belongs to no database")
			})
			if err != nil {
				return err
			}
		}
		last = id + 1
	}
}

// dbChecker is what is known of one database while it is checked.
type dbChecker struct {
	*checker
	id     uint64
	name   string
	state  state
	counts state             // as counted
	bodies map[uint64]bodyAt // what records say of body numbers
	files  map[uint64]fileAt
	docs   int
}

type bodyAt struct {
	doc  string
	kept bool // it is in the document's tree
	leaf bool // of the tree
	w    weight
	seen bool
}

type fileAt struct {
	doc     string
	stored  uint64
	used    bool     // by a body
	digest  [16]byte // as bodies say
	present uint64   // bytes of chunks
}

func (d *dbChecker) say(format string, args ...any) {
	d.report("%s: %s", d.name, fmt.Sprintf(format, args...))
}

func (c *checker) database(id uint64, name string) error {
	d := &dbChecker{checker: c, id: id, name: name, bodies: make(map[uint64]bodyAt), files: make(map[uint64]fileAt)}
	v, err := read(c.r, dbKey(id, kindState))
	if err != nil {
		return err
	}
	if d.state, err = decodeState(v); err != nil {
		d.say("%v", err)
		return nil
	}
	if u, ok := c.updates[d.state.update]; c.trashed[id] {
		d.name = "the copy of " + name
		if d.state.update != 0 {
			d.say("it has the entry %d of the update log", d.state.update)
		}
	} else if !ok || u.Name != name || u.Type == "deleted" {
		d.say("its entry %d of the update log is %+v", d.state.update, u)
	}
	delete(c.updates, d.state.update)
	for _, step := range []func() error{d.records, d.rows, d.attachments, d.garbage, d.bodiesStored, d.chunks, d.purges, d.small} {
		if err := step(); err != nil {
			return err
		}
	}
	d.compare()
	return nil
}

// kind bounds an iterator to the keys of one kind.
func (d *dbChecker) kind(kind byte) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: dbKey(d.id, kind), UpperBound: dbKey(d.id, kind+1)}
}

// records checks each document by itself, and against its row.
func (d *dbChecker) records() error {
	return d.each(d.kind(kindDoc), func(key, value []byte) error {
		id := string(key[dbKeyLen:])
		r, err := decodeRecord(id, value)
		if err != nil {
			return err
		}
		d.docs++
		leaves := r.tree.Leaves()
		winner := r.tree.Node(leaves[0])
		if h := (header{seq: r.seq, deleted: winner.Deleted, ref: winner.Ref, rev: winner.ID}); h != r.was {
			d.say("the record of %q begins with %+v, its tree says %+v", id, r.was, h)
		}
		if r.seq == 0 || r.seq > d.state.seq {
			d.say("%q has the sequence %d, the newest is %d", id, r.seq, d.state.seq)
		}
		count(&d.counts, r.was, true)
		row, err := read(d.r, dbKeyN(d.id, kindRow, r.seq))
		if err != nil {
			return err
		}
		if string(row) != string(appendRow(nil, id, &r.tree, leaves)) {
			d.say("row %d is not what the record of %q says", r.seq, id)
		}
		d.refs(r, leaves)
		return nil
	})
}

// refs notes the bodies of a document.
func (d *dbChecker) refs(r *record, leaves []int) {
	weights := len(r.weights)
	isLeaf := make(map[int]bool, len(leaves))
	for _, i := range leaves {
		isLeaf[i] = true
	}
	for i := range r.tree.Len() {
		ref := r.tree.Node(i).Ref
		if ref == 0 {
			continue
		}
		w, known := r.leaf(ref)
		if known != isLeaf[i] {
			d.say("body %d of %q: a leaf's %v, weighed %v", ref, r.id, isLeaf[i], known)
		}
		if known {
			weights--
		}
		if other, ok := d.bodies[ref]; ok {
			d.say("body %d belongs to %q and %q", ref, other.doc, r.id)
		}
		d.bodies[ref] = bodyAt{doc: r.id, kept: true, leaf: isLeaf[i], w: w}
	}
	if weights != 0 {
		d.say("%q weighs bodies that its tree does not have", r.id)
	}
}

// rows counts them: each record has found its own.
func (d *dbChecker) rows() error {
	rows := 0
	err := d.each(d.kind(kindRow), func(_, _ []byte) error {
		rows++
		return nil
	})
	if rows != d.docs {
		d.say("%d rows for %d documents", rows, d.docs)
	}
	return err
}

func (d *dbChecker) attachments() error {
	return d.each(d.kind(kindAttachment), func(key, value []byte) error {
		id, stored, err := decodeOwner(value)
		if err != nil {
			return err
		}
		d.files[keyNumber(key)] = fileAt{doc: id, stored: stored}
		d.counts.total += stored
		return nil
	})
}

// garbage checks that what waits for compaction is no leaf's, and all that is there.
func (d *dbChecker) garbage() error {
	return d.each(d.kind(kindGarbage), func(key, value []byte) error {
		note, err := decodeGarbage(value)
		if err != nil {
			return err
		}
		ref := keyNumber(key)
		d.counts.stale += note.stale
		at, ok := d.bodies[ref]
		switch {
		case ok && at.leaf:
			d.say("body %d is a leaf's of %q, and on the list of stale ones", ref, at.doc)
		case ok && at.doc != note.id:
			d.say("stale body %d belongs to %q, not to %q", ref, at.doc, note.id)
		}
		// From now on it is weighed.
		at.doc, at.w = note.id, weight{ref: ref, length: note.length}
		d.bodies[ref] = at
		return nil
	})
}

// bodiesStored checks each body against what its document says of it.
func (d *dbChecker) bodiesStored() error {
	err := d.each(d.kind(kindBody), func(key, value []byte) error {
		ref := keyNumber(key)
		files, _, err := decodeBody(value)
		if err != nil {
			return err
		}
		d.counts.total += uint64(len(value))
		at, ok := d.bodies[ref]
		if !ok {
			d.say("body %d belongs to no document", ref)
			return nil
		}
		if ref > d.state.body {
			d.say("body %d is there, the newest is said to be %d", ref, d.state.body)
		}
		if at.w.ref == 0 {
			d.say("body %d of %q is no leaf's and not on the list of stale ones", ref, at.doc)
		} else if at.w.length != uint64(len(value)) {
			d.say("body %d of %q has %d bytes, said to be %d", ref, at.doc, len(value), at.w.length)
		}
		at.seen = true
		d.bodies[ref] = at
		d.filesOf(at, ref, files)
		return nil
	})
	for ref, at := range d.bodies {
		if !at.seen {
			d.say("body %d of %q is missing", ref, at.doc)
		}
	}
	return err
}

// filesOf notes which attachments a body refers to.
func (d *dbChecker) filesOf(at bodyAt, ref uint64, files []Attachment) {
	total := uint64(0)
	for _, a := range files {
		total += uint64(a.Stored)
		f, ok := d.files[a.ref]
		switch {
		case !ok:
			// A stemmed body may wait for compaction longer than its attachments.
			if at.kept {
				d.say("attachment %q of %q, body %d, is missing", a.Name, at.doc, ref)
			}
			continue
		case f.doc != at.doc:
			d.say("attachment %q of %q belongs to %q", a.Name, at.doc, f.doc)
		case f.stored != uint64(a.Stored):
			d.say("attachment %q of %q has %d bytes, said to be %d", a.Name, at.doc, f.stored, a.Stored)
		case f.used && f.digest != a.Digest:
			d.say("attachment %q of %q has two digests", a.Name, at.doc)
		}
		f.used, f.digest = true, a.Digest
		d.files[a.ref] = f
	}
	if w := at.w; at.leaf && (w.files > 0) != (len(files) > 0) || w.files > 0 && w.files-1 != total {
		d.say("the attachments of %q are said to have %d bytes, and have %d", at.doc, w.files, total)
	}
}

// chunks reads the bytes of all attachments.
func (d *dbChecker) chunks() error {
	var ref uint64
	var next uint32
	sum := md5.New()
	finish := func() {
		f, ok := d.files[ref]
		if ok && f.used && f.present == f.stored && [16]byte(sum.Sum(nil)) != f.digest {
			d.say("attachment %d of %q does not have its digest", ref, f.doc)
		}
		sum.Reset()
		next = 0
	}
	err := d.each(d.kind(kindChunk), func(key, value []byte) error {
		if len(key) != dbKeyLen+12 {
			return damaged("a chunk's key")
		}
		if of := binary.BigEndian.Uint64(key[dbKeyLen:]); of != ref {
			finish()
			ref = of
		}
		number := binary.BigEndian.Uint32(key[dbKeyLen+8:])
		f, ok := d.files[ref]
		switch {
		case !ok && !d.pending[fileID{db: d.id, ref: ref}]:
			d.say("chunk %d belongs to attachment %d, which is nobody's", number, ref)
		case ok && (number != next || f.present+uint64(len(value)) > f.stored || len(value) != chunkBytes && f.present+uint64(len(value)) != f.stored):
			d.say("chunk %d of attachment %d of %q has the wrong place or size", number, ref, f.doc)
		}
		next++
		if ok {
			f.present += uint64(len(value))
			d.files[ref] = f
			sum.Write(value)
		}
		return nil
	})
	finish()
	for ref, f := range d.files {
		if f.present != f.stored {
			d.say("attachment %d of %q has %d of %d bytes", ref, f.doc, f.present, f.stored)
		}
		if !f.used {
			d.say("attachment %d of %q is referred to by no revision", ref, f.doc)
		}
		if d.pending[fileID{db: d.id, ref: ref}] {
			d.say("attachment %d of %q is marked as an upload", ref, f.doc)
		}
	}
	return err
}

func (d *dbChecker) purges() error {
	n := uint64(0)
	err := d.each(d.kind(kindPurge), func(key, value []byte) error {
		n++
		_, _, err := decodePurge(value)
		if seq := keyNumber(key); err != nil || seq > d.state.purges {
			return damaged("the record of purge %d", seq)
		}
		return nil
	})
	if n > d.state.purges {
		d.say("%d purges are remembered of %d", n, d.state.purges)
	}
	return err
}

// small checks _local documents and _security, and that there is nothing of another kind.
func (d *dbChecker) small() error {
	err := d.each(d.kind(kindLocal), func(key, value []byte) error {
		_, err := decodeLocal(string(key[dbKeyLen:]), value)
		return err
	})
	if err != nil {
		return err
	}
	v, err := read(d.r, dbKey(d.id, kindSecurity))
	if err == nil && v == nil {
		d.say("it has no _security")
	}
	if err != nil {
		return err
	}
	return d.kinds()
}

// kinds looks for keys of other kinds, going from one kind to the next.
func (d *dbChecker) kinds() error {
	it, err := d.r.NewIter(within(dbKey(d.id, 0)[:dbKeyLen-1]))
	if err != nil {
		return err
	}
	defer it.Close()
	known := string([]byte{kindAttachment, kindBody, kindSecurity, kindProperties, kindDoc, kindGarbage, kindChunk, kindLocal, kindPurge, kindRow, kindState})
	for ok := it.First(); ok; {
		if len(it.Key()) < dbKeyLen {
			d.say("key %x is of no kind", it.Key())
			ok = it.Next()
			continue
		}
		kind := it.Key()[dbKeyLen-1]
		if strings.IndexByte(known, kind) < 0 {
			d.say("key %x is of no known kind", it.Key())
		}
		ok = it.SeekGE(dbKey(d.id, kind+1))
	}
	return it.Error()
}

// compare holds what was counted against what the database says.
func (d *dbChecker) compare() {
	for _, c := range []struct {
		what        string
		said, found uint64
	}{
		{"documents", d.state.docs, d.counts.docs},
		{"deleted documents", d.state.dels, d.counts.dels},
		{"bytes", d.state.total, d.counts.total},
		{"stale bytes", d.state.stale, d.counts.stale},
	} {
		if c.said != c.found {
			d.say("it says that it has %d %s, and has %d", c.said, c.what, c.found)
		}
	}
	if d.state.update > d.newest {
		d.say("its update sequence %d is above the newest, %d", d.state.update, d.newest)
	}
}
