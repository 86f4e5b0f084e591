// Package rev holds revision ids and revision trees: pure functions, no I/O.
//
// A document's history is a [Tree]. Each edit adds a revision under the one that it replaces; two devices that edit
// the same revision make two leaves, a conflict. Every server picks the same winner among the leaves ([Tree.Winner]), so that
// devices agree without talking. A replicator sends a revision with the path of its ancestors, which [Tree.Merge]
// grafts where the two histories meet.
//
// Values are not safe for concurrent change; concurrent reads are fine.
package rev

import (
	"errors"
	"strconv"
	"strings"
)

// ErrFormat says that a text is no revision id: "N-hash" with N a decimal integer from 1 (0 in _local documents).
var ErrFormat = errors.New("Invalid rev format")

// MaxGeneration is the highest generation that Parse takes; no real history comes near it.
const MaxGeneration = 1 << 50

// ID names one revision. The zero ID names none.
type ID struct {
	Gen  int    // generation: how many edits led here, from 1
	Hash string // lower-case hex where it was 32 hex digits, else the text as it came
}

// Parse reads the form that String writes. It fails with ErrFormat.
func Parse(s string) (ID, error) {
	gen, hash, ok := strings.Cut(s, "-")
	if !ok || hash == "" {
		return ID{}, ErrFormat
	}
	n, err := strconv.Atoi(gen)
	if err != nil || n < 0 || n > MaxGeneration {
		return ID{}, ErrFormat
	}
	return ID{Gen: n, Hash: hash}, nil
}

// String is the id as clients write it, such as "3-917fa2381192822767f010b95b45325b".
func (id ID) String() string {
	return strconv.Itoa(id.Gen) + "-" + id.Hash
}

// IsZero reports whether id names no revision.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids by generation, then by hash, bytewise: the order in which CouchDB picks winners.
func (id ID) Compare(other ID) int {
	if id.Gen != other.Gen {
		if id.Gen < other.Gen {
			return -1
		}
		return 1
	}
	return strings.Compare(id.Hash, other.Hash)
}
