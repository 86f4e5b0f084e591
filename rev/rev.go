// Package rev holds revision ids and revision trees: pure functions, no I/O.
//
// A document's history is a [Tree]. Each edit adds a revision under the one that it replaces; two devices that edit
// the same revision make two leaves, a conflict. Every server picks the same winner among the leaves ([Tree.Winner]), so that
// devices agree without talking. A replicator sends a revision with the path of its ancestors, which [Tree.Merge]
// grafts where the two histories meet. Whatever the order in which paths arrive, the tree that they make is the same.
//
// Histories do not grow for ever: [Tree.Stem] forgets what lies too far above every leaf. A path that comes later may bring
// forgotten ancestors back, and a path so long that it shares nothing with the stemmed tree any more becomes a second root.
//
// Values are not safe for concurrent change; concurrent reads are fine.
package rev

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrFormat says that a text is no revision id: "N-hash" with N a decimal integer from 1 (0 in _local documents).
//
//lint:ignore ST1005 it is CouchDB's text
var ErrFormat = errors.New("Invalid rev format")

// MaxGeneration is the highest generation that Parse takes; no real history comes near it.
const MaxGeneration = 1 << 50

// MaxHash is the longest hash in bytes that Parse takes. CouchDB and PouchDB write 32, Couchbase Lite 40.
const MaxHash = 255

// ID names one revision. The zero ID names none.
type ID struct {
	Gen  int    // generation: how many edits led here, from 1
	Hash string // lower-case hex where it was 32 hex digits, else the text as it came
}

// Parse reads the form that String writes. It fails with ErrFormat.
//
// Only decimal digits are taken for the generation, though Erlang would take a sign too. A hash of 32 hex digits is
// made lower-case, as CouchDB does; "5-ABC" and "5-abc" stay two revisions.
func Parse(s string) (ID, error) {
	gen, hash, ok := strings.Cut(s, "-")
	if !ok || hash == "" || len(hash) > MaxHash || !utf8.ValidString(hash) {
		return ID{}, ErrFormat
	}
	n, err := strconv.ParseUint(gen, 10, 63)
	if err != nil || n > MaxGeneration {
		return ID{}, ErrFormat
	}
	if len(hash) == 32 {
		if lower := strings.ToLower(hash); isHash128(lower) {
			hash = lower
		}
	}
	return ID{Gen: int(n), Hash: hash}, nil
}

// String is the id as clients write it, such as "3-917fa2381192822767f010b95b45325b".
func (id ID) String() string {
	return strconv.Itoa(id.Gen) + "-" + id.Hash
}

// IsZero reports whether id names no revision.
func (id ID) IsZero() bool { return id == ID{} }

// Quotable reports whether id can stand between the quotes of an ETag: its hash has no blank, quote or control character.
func (id ID) Quotable() bool {
	for i := range len(id.Hash) {
		if c := id.Hash[i]; c <= ' ' || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}

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

// Append writes id in the binary form that DecodeID reads: some 18 bytes for the usual hash.
func (id ID) Append(dst []byte) []byte {
	dst = append(appendUvarint(dst, uint64(id.Gen)), 0)
	short, ok := appendHash128(dst, id.Hash)
	if ok {
		return short
	}
	dst[len(dst)-1] = byte(len(id.Hash))
	return append(dst, id.Hash...)
}

// DecodeID reads what ID.Append wrote at the start of b, and returns what follows it.
func DecodeID(b []byte) (ID, []byte, error) {
	gen, b, ok := cutUvarint(b)
	if !ok || gen > MaxGeneration || len(b) == 0 {
		return ID{}, nil, errDecode
	}
	n := int(b[0])
	b = b[1:]
	if n == 0 {
		if len(b) < 16 {
			return ID{}, nil, errDecode
		}
		return ID{Gen: int(gen), Hash: hex.EncodeToString(b[:16])}, b[16:], nil
	}
	if len(b) < n || isHash128(string(b[:n])) {
		return ID{}, nil, errDecode
	}
	return ID{Gen: int(gen), Hash: string(b[:n])}, b[n:], nil
}

// isHash128 reports whether s is 32 lower-case hex digits, which are kept as 16 bytes.
func isHash128(s string) bool {
	_, ok := appendHash128(make([]byte, 0, 16), s)
	return ok
}

// appendHash128 appends the 16 bytes that s stands for, or nothing when it is not 32 lower-case hex digits.
func appendHash128(dst []byte, s string) ([]byte, bool) {
	if len(s) != 32 {
		return dst, false
	}
	for i := 0; i < 32; i += 2 {
		high, low := nibble(s[i]), nibble(s[i+1])
		if high|low > 15 {
			return dst[:len(dst)-i/2], false
		}
		dst = append(dst, high<<4|low)
	}
	return dst, true
}

// nibble is the value of a digit, more than 15 for what is none.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
