package store

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/parlordb/parlor/rev"
)

// nameRecord is what a name stands for.
type nameRecord struct {
	id       uint64
	instance uint64 // random; part of every sequence that clients see
	created  int64  // nanoseconds of Unix time
}

func (n nameRecord) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, n.id)
	dst = binary.BigEndian.AppendUint64(dst, n.instance)
	return binary.BigEndian.AppendUint64(dst, uint64(n.created))
}

func decodeName(b []byte) (nameRecord, error) {
	if len(b) != 24 {
		return nameRecord{}, damaged("the record of a name")
	}
	return nameRecord{
		id:       binary.BigEndian.Uint64(b),
		instance: binary.BigEndian.Uint64(b[8:]),
		created:  int64(binary.BigEndian.Uint64(b[16:])),
	}, nil
}

// state is what a database counts. It is written in the same batch as what changes it.
type state struct {
	version     uint64 // grows with each batch that writes the state
	seq         uint64 // the newest update sequence
	body        uint64 // the newest body number
	docs        uint64 // documents whose winner is not deleted
	dels        uint64 // and those whose winner is
	total       uint64 // bytes of bodies and attachments
	stale       uint64 // those that compaction can give back
	purges      uint64 // the purge sequence
	update      uint64 // the database's entry in the update log
	revsLimit   uint64
	purgedLimit uint64
}

func (s *state) fields() []*uint64 {
	return []*uint64{&s.version, &s.seq, &s.body, &s.docs, &s.dels, &s.total, &s.stale, &s.purges, &s.update, &s.revsLimit, &s.purgedLimit}
}

func (s state) append(dst []byte) []byte {
	for _, f := range s.fields() {
		dst = binary.BigEndian.AppendUint64(dst, *f)
	}
	return dst
}

func decodeState(b []byte) (state, error) {
	var s state
	fields := s.fields()
	if len(b) != 8*len(fields) {
		return state{}, damaged("the state of a database")
	}
	for i, f := range fields {
		*f = binary.BigEndian.Uint64(b[8*i:])
	}
	return s, nil
}

// subtract takes n from a counter of bytes, which is never less than nothing.
func subtract(counter *uint64, n uint64) { *counter -= min(*counter, n) }

// weight says how much a leaf's body is, so that it can be counted as garbage later without being read.
type weight struct {
	ref    uint64
	length uint64 // bytes of the body's value
	files  uint64 // 0: no attachments, else 1 + the bytes of all

	shared uint64 // bytes of attachments that revisions of this group have taken over; not stored
}

func (w weight) bytes() uint64 { return w.length + max(w.files, 1) - 1 }

// header begins a record: what reading the winner takes.
type header struct {
	seq     uint64
	deleted bool
	ref     uint64 // the winner's body
	rev     rev.ID
}

const headerFixed = 17

func (h *header) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, h.seq)
	dst = binary.BigEndian.AppendUint64(dst, h.ref)
	return h.rev.Append(append(dst, flag(h.deleted)))
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// cutHeader reads a record's header, and returns what follows.
func cutHeader(b []byte) (header, []byte, error) {
	if len(b) < headerFixed {
		return header{}, nil, damaged("a document's record")
	}
	h := header{seq: binary.BigEndian.Uint64(b), ref: binary.BigEndian.Uint64(b[8:]), deleted: b[16] == 1}
	var err error
	if h.rev, b, err = rev.DecodeID(b[headerFixed:]); err != nil {
		return header{}, nil, damaged("a document's record")
	}
	return h, b, nil
}

// record is a document as the committer works on it.
type record struct {
	id      string
	seq     uint64
	tree    rev.Tree
	weights []weight  // one for each leaf that has a body
	first   [1]weight // where weights begins: most documents have one leaf

	was   header // as it was found; was.seq 0: the document did not exist
	dirty bool   // the record must be written
	moved bool   // and gets a new place in the order of changes
}

func (r *record) append(dst []byte, h header) []byte {
	dst = h.append(dst)
	dst = binary.AppendUvarint(dst, uint64(len(r.weights)))
	for _, w := range r.weights {
		dst = binary.AppendUvarint(dst, w.ref)
		dst = binary.AppendUvarint(dst, w.length)
		dst = binary.AppendUvarint(dst, w.files)
	}
	return r.tree.Append(dst)
}

func decodeRecord(id string, b []byte) (*record, error) {
	h, b, err := cutHeader(b)
	if err != nil {
		return nil, err
	}
	r := &record{id: id, seq: h.seq, was: h}
	r.weights = r.first[:0]
	c := cutter{rest: b}
	for range c.count() {
		r.weights = append(r.weights, weight{ref: c.uvarint(), length: c.uvarint(), files: c.uvarint()})
	}
	if c.bad {
		return nil, damaged("the record of %q", id)
	}
	if r.tree, err = rev.Decode(c.rest); err != nil || r.tree.Len() == 0 {
		return nil, damaged("the revision tree of %q", id)
	}
	return r, nil
}

// body is the number of the body of the revision at index i; 0 for none, and for the index -1.
func (r *record) body(i int) uint64 {
	if i < 0 {
		return 0
	}
	return r.tree.Node(i).Ref
}

// leaf returns the weight of the body ref, if that is a leaf's.
func (r *record) leaf(ref uint64) (weight, bool) {
	for _, w := range r.weights {
		if w.ref == ref {
			return w, true
		}
	}
	return weight{}, false
}

// share notes that a revision has taken over bytes of the attachments of the body ref.
func (r *record) share(ref, bytes uint64) {
	for i := range r.weights {
		if r.weights[i].ref == ref {
			r.weights[i].shared += bytes
		}
	}
}

// A row is a document's place in the order of changes: its id, and its leaves, winner first.
func appendRow(dst []byte, id string, t *rev.Tree, leaves []int) []byte {
	dst = appendText(dst, id)
	for _, i := range leaves {
		n := t.Node(i)
		dst = append(dst, flag(n.Deleted))
		dst = binary.AppendUvarint(dst, n.Ref)
		dst = n.ID.Append(dst)
	}
	return dst
}

// decodeRow reads a row into c, whose slice of leaves is used again.
func decodeRow(c *Change, b []byte) error {
	cut := cutter{rest: b}
	c.ID = cut.text()
	c.Leaves = c.Leaves[:0]
	for len(cut.rest) > 0 {
		l := Leaf{Deleted: cut.byte() == 1, ref: cut.uvarint()}
		l.Rev = cut.revision()
		c.Leaves = append(c.Leaves, l)
	}
	if cut.bad || len(c.Leaves) == 0 {
		return damaged("row %d of the changes", c.Seq)
	}
	return nil
}

// A body's value is the number of its attachments, their metadata, and the JSON.
func appendFiles(dst []byte, files []Attachment) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(files)))
	for _, a := range files {
		dst = appendText(dst, a.Name)
		dst = appendText(dst, a.Type)
		dst = appendText(dst, a.Encoding)
		dst = append(dst, a.Digest[:]...)
		for _, n := range []uint64{uint64(a.RevPos), uint64(a.Length), uint64(a.Stored), a.ref} {
			dst = binary.AppendUvarint(dst, n)
		}
	}
	return dst
}

func decodeBody(b []byte) (files []Attachment, json []byte, err error) {
	c := cutter{rest: b}
	for range c.count() {
		a := Attachment{Name: c.text(), Type: c.text(), Encoding: c.text()}
		copy(a.Digest[:], c.bytes(16))
		a.RevPos, a.Length, a.Stored, a.ref = int(c.uvarint()), int64(c.uvarint()), int64(c.uvarint()), c.uvarint()
		files = append(files, a)
	}
	if c.bad {
		return nil, nil, damaged("a body")
	}
	return files, c.rest, nil
}

// garbage is a body that is no leaf's any more.
type garbage struct {
	id     string // the document
	length uint64 // bytes of the body's value
	stale  uint64 // bytes that were counted as stale for it
	files  bool   // it has attachments
}

func (g garbage) append(dst []byte) []byte {
	dst = append(appendText(dst, g.id), flag(g.files))
	return binary.AppendUvarint(binary.AppendUvarint(dst, g.length), g.stale)
}

func decodeGarbage(b []byte) (garbage, error) {
	c := cutter{rest: b}
	g := garbage{id: c.text(), files: c.byte() == 1, length: c.uvarint(), stale: c.uvarint()}
	if c.bad || len(c.rest) > 0 {
		return garbage{}, damaged("the list of stale bodies")
	}
	return g, nil
}

// An owner is the value of an attachment's key: how many bytes are stored, and the document whose revisions may refer to it.
func appendOwner(dst []byte, id string, stored uint64) []byte {
	return append(binary.AppendUvarint(dst, stored), id...)
}

func decodeOwner(b []byte) (id string, stored uint64, err error) {
	c := cutter{rest: b}
	stored = c.uvarint()
	if c.bad {
		return "", 0, damaged("the record of an attachment")
	}
	return string(c.rest), stored, nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// cutter takes fields from the start of a value. After a field that is not there it is bad, and gives zeros.
type cutter struct {
	rest []byte
	bad  bool
}

func (c *cutter) uvarint() uint64 {
	n, size := binary.Uvarint(c.rest)
	if size <= 0 {
		c.bad, c.rest = true, nil
		return 0
	}
	c.rest = c.rest[size:]
	return n
}

// count reads how many fields follow, each of at least a byte.
func (c *cutter) count() int {
	n := c.uvarint()
	if n > uint64(len(c.rest)) {
		c.bad, c.rest = true, nil
		return 0
	}
	return int(n)
}

func (c *cutter) bytes(n uint64) []byte {
	if n > uint64(len(c.rest)) || n > math.MaxInt {
		c.bad, c.rest = true, nil
		return nil
	}
	b := c.rest[:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cutter) byte() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cutter) text() string { return string(c.bytes(c.uvarint())) }

func (c *cutter) revision() rev.ID {
	id, rest, err := rev.DecodeID(c.rest)
	if err != nil {
		c.bad, c.rest = true, nil
		return rev.ID{}
	}
	c.rest = rest
	return id
}

// damaged is ErrCorrupt with what is damaged.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
