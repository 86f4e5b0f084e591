package couchjs

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// A frame is a length (4 bytes, big endian) and that many bytes: an operation or status, a flag, and parts, each a length and bytes.

const (
	maxRequest = 256 << 20 // a document, its predecessor and its design document
	maxAnswer  = 4 << 20
)

// Operations of requests.
const (
	opHello    = 'h' // memory limit
	opValidate = 'v' // newDoc, oldDoc, userCtx, secObj
	opFilter   = 'f' // request, documents…
	opEmits    = 'e' // documents…
	opCompile  = 'c'
)

// Statuses of answers.
const (
	statusOK      = 'o' // result, log
	statusThrown  = 't' // "f" or "u" and the reason, log
	statusError   = 'x' // name, reason, log
	statusUnknown = 'm' // the function's text is needed
)

// flag of a request: the parts begin with the function's text and its design document; of an answer: the child must be replaced.
const flagSet = 1

var errFrame = errors.New("couchjs: malformed frame")

type functionKey = [sha256.Size]byte

// request is a call of a function.
type request struct {
	op       byte
	scope    string // stays here: the child knows key alone
	key      functionKey
	function string
	modules  []byte
	args     [][]byte
}

// newRequest names the function by a hash of all that decides what it does, and leaves out a design document that it cannot see.
func newRequest(op byte, scope, function string, modules []byte, args ...[]byte) request {
	if !strings.Contains(function, "require") && !strings.Contains(function, "this") {
		modules = nil
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(scope), []byte(function), modules} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	r := request{op: op, scope: scope, function: function, modules: modules, args: args}
	h.Sum(r.key[:0])
	return r
}

// size returns about how long the request's frame is, with the function's text.
func (r *request) size() int {
	n := len(r.function) + len(r.modules) + 64
	for _, arg := range r.args {
		n += len(arg) + 4
	}
	return n
}

// frame returns the request as a frame, with or without the function's text.
func (r *request) frame(withText bool) []byte {
	parts := [][]byte{r.key[:]}
	flag := byte(0)
	if withText {
		flag = flagSet
		parts = append(parts, []byte(r.function), r.modules)
	}
	return newFrame(r.op, flag, append(parts, r.args...)...)
}

func newFrame(op, flag byte, parts ...[]byte) []byte {
	size := 2
	for _, p := range parts {
		size += 4 + len(p)
	}
	b := make([]byte, 4, 4+size)
	binary.BigEndian.PutUint32(b, uint32(size))
	b = append(b, op, flag)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// readFrame reads a frame of at most limit bytes. io.EOF means that there was no further frame.
func readFrame(r *bufio.Reader, limit int) (op, flag byte, parts [][]byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size < 2 || size > int64(limit) {
		return 0, 0, nil, errFrame
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, 0, nil, err
	}
	for rest := b[2:]; len(rest) > 0; {
		if len(rest) < 4 {
			return 0, 0, nil, errFrame
		}
		n := int64(binary.BigEndian.Uint32(rest))
		if rest = rest[4:]; n > int64(len(rest)) {
			return 0, 0, nil, errFrame
		}
		parts = append(parts, rest[:n:n])
		rest = rest[n:]
	}
	return b[0], b[1], parts, nil
}
