package rev

import (
	"encoding/binary"
	"errors"
	"strings"
)

// The binary form of a tree: the number of nodes, then each in order as flags and what the flags leave open. Some 19 bytes a
// revision. There is one form for each tree, so that equal bytes mean equal trees.
const (
	flagDeleted  = 1 << iota
	flagText     // the hash is a length byte and a text, else 16 bytes
	flagNextGen  // one generation above the node before (above 0, for the first)
	flagSameGen  // the generation of the node before; neither: the difference follows, 2 or more
	flagNextNode // the parent is the node before
	flagRoot     // no parent is known; neither: the distance to the parent follows, 2 or more
	flagRef      // Ref follows, not 0
)

var errDecode = errors.New("not a revision tree")

// Append writes the tree in the form that Decode reads.
func (t *Tree) Append(dst []byte) []byte {
	dst = appendUvarint(dst, uint64(len(t.nodes)))
	gen := 0
	for i, n := range t.nodes {
		at := len(dst)
		dst = append(dst, 0)
		var flags byte
		if n.Deleted {
			flags |= flagDeleted
		}
		switch step := n.ID.Gen - gen; step {
		case 0:
			flags |= flagSameGen
		case 1:
			flags |= flagNextGen
		default:
			dst = appendUvarint(dst, uint64(step))
		}
		gen = n.ID.Gen
		switch {
		case n.Parent < 0:
			flags |= flagRoot
		case n.Parent == i-1:
			flags |= flagNextNode
		default:
			dst = appendUvarint(dst, uint64(i-n.Parent))
		}
		var short bool
		if dst, short = appendHash128(dst, n.ID.Hash); !short {
			flags |= flagText
			dst = append(append(dst, byte(len(n.ID.Hash))), n.ID.Hash...)
		}
		if n.Ref != 0 {
			flags |= flagRef
			dst = appendUvarint(dst, n.Ref)
		}
		dst[at] = flags
	}
	return dst
}

// Decode reads what Append wrote. It never panics; a text that Append cannot have written is an error. The tree keeps
// nothing of b.
func Decode(b []byte) (Tree, error) {
	count, b, ok := cutUvarint(b)
	if !ok || count > uint64(len(b)) {
		return Tree{}, errDecode
	}
	d := decoder{rest: b, nodes: make([]Node, 0, count), ends: make([]int, 0, count)}
	d.text.Grow(2 * len(b))
	for range count {
		if !d.node() {
			return Tree{}, errDecode
		}
	}
	if len(d.rest) != 0 {
		return Tree{}, errDecode
	}
	text, start := d.text.String(), 0
	for i, end := range d.ends {
		d.nodes[i].ID.Hash = text[start:end]
		start = end
	}
	for i, n := range d.nodes {
		if i > 0 && d.nodes[i-1].ID.Compare(n.ID) >= 0 {
			return Tree{}, errDecode
		}
	}
	return Tree{nodes: d.nodes}, nil
}

// decoder gathers the nodes, and all their hashes in one text, so that a long history costs few allocations.
type decoder struct {
	rest  []byte
	nodes []Node
	text  strings.Builder
	ends  []int // where the hash of each node ends in text
}

func (d *decoder) node() bool {
	if len(d.rest) == 0 {
		return false
	}
	flags := d.rest[0]
	d.rest = d.rest[1:]
	if flags >= flagRef<<1 {
		return false
	}
	n := Node{Deleted: flags&flagDeleted != 0}
	ok := d.generation(&n, flags) && d.parent(&n, flags) && d.hash(flags)
	if ok && flags&flagRef != 0 {
		n.Ref, d.rest, ok = cutUvarint(d.rest)
		ok = ok && n.Ref != 0
	}
	d.nodes = append(d.nodes, n)
	return ok
}

func (d *decoder) generation(n *Node, flags byte) bool {
	if i := len(d.nodes); i > 0 {
		n.ID.Gen = d.nodes[i-1].ID.Gen
	}
	switch flags & (flagNextGen | flagSameGen) {
	case flagSameGen:
	case flagNextGen:
		n.ID.Gen++
	case 0:
		step, rest, ok := cutUvarint(d.rest)
		if !ok || step < 2 || step > MaxGeneration {
			return false
		}
		d.rest = rest
		n.ID.Gen += int(step)
	default:
		return false
	}
	return n.ID.Gen >= 1 && n.ID.Gen <= MaxGeneration
}

func (d *decoder) parent(n *Node, flags byte) bool {
	i := len(d.nodes)
	switch flags & (flagNextNode | flagRoot) {
	case flagRoot:
		n.Parent = -1
		return true
	case flagNextNode:
		n.Parent = i - 1
	case 0:
		distance, rest, ok := cutUvarint(d.rest)
		if !ok || distance < 2 || distance > uint64(i) {
			return false
		}
		d.rest = rest
		n.Parent = i - int(distance)
	default:
		return false
	}
	return n.Parent >= 0 && d.nodes[n.Parent].ID.Gen == n.ID.Gen-1
}

func (d *decoder) hash(flags byte) bool {
	if flags&flagText == 0 {
		if len(d.rest) < 16 {
			return false
		}
		const digits = "0123456789abcdef"
		for _, c := range d.rest[:16] {
			d.text.WriteByte(digits[c>>4])
			d.text.WriteByte(digits[c&15])
		}
		d.rest = d.rest[16:]
	} else {
		if len(d.rest) == 0 || d.rest[0] == 0 || int(d.rest[0]) >= len(d.rest) {
			return false
		}
		hash := d.rest[1 : 1+int(d.rest[0])]
		if isHash128(string(hash)) {
			return false
		}
		d.text.Write(hash)
		d.rest = d.rest[1+len(hash):]
	}
	d.ends = append(d.ends, d.text.Len())
	return true
}

func appendUvarint(dst []byte, n uint64) []byte { return binary.AppendUvarint(dst, n) }

// cutUvarint takes a number from the start of b. It refuses the longer forms of a number.
func cutUvarint(b []byte) (uint64, []byte, bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 1 && b[size-1] == 0 {
		return 0, nil, false
	}
	return n, b[size:], true
}
