package mango

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// The functions of this file cut JSON text into values by offset. They assume valid JSON, which is what the store holds and what
// Parse has checked; given anything else they say so or cut it somewhere, but they always end and stay inside the text.

// kind tells JSON types apart, in the order of CouchDB's collation. false and true are two kinds, for they sort apart.
type kind uint8

const (
	kindInvalid kind = iota
	kindNull
	kindFalse
	kindTrue
	kindNumber
	kindString
	kindArray
	kindObject
)

// kindOf tells the kind of a value without white space around it.
func kindOf(v []byte) kind {
	if len(v) == 0 {
		return kindInvalid
	}
	switch v[0] {
	case 'n':
		return kindNull
	case 'f':
		return kindFalse
	case 't':
		return kindTrue
	case '"':
		return kindString
	case '[':
		return kindArray
	case '{':
		return kindObject
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return kindNumber
	}
	return kindInvalid
}

// typeName is what the operator $type compares with.
func (k kind) typeName() string {
	switch k {
	case kindNull:
		return "null"
	case kindFalse, kindTrue:
		return "boolean"
	case kindNumber:
		return "number"
	case kindString:
		return "string"
	case kindArray:
		return "array"
	case kindObject:
		return "object"
	}
	return ""
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// trim cuts the white space around a value.
func trim(b []byte) []byte {
	return bytes.Trim(b, " \n\t\r")
}

// skipString returns the offset after the string that begins at b[i], or -1 if it has no end.
func skipString(b []byte, i int) int {
	i++
	// Most strings are short; a call of IndexByte pays only after some bytes.
	for near := min(len(b), i+16); i < near; i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	start := i
	for i < len(b) {
		q := bytes.IndexByte(b[i:], '"')
		if q < 0 {
			return -1
		}
		q += i
		slashes := 0
		for j := q - 1; j >= start && b[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return q + 1
		}
		i = q + 1
	}
	return -1
}

// skipValue returns the offset after the value that begins at b[i], or -1 if there is none. It needs no stack, so depth costs nothing.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipContainer(b, i)
	}
	start := i
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ':', ' ', '\n', '\t', '\r':
			if i == start {
				return -1
			}
			return i
		}
		i++
	}
	return i
}

func skipContainer(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

// members walks the members of an object.
type members struct {
	b []byte
	i int
}

// newMembers takes an object; of any other value there are no members.
func newMembers(object []byte) members {
	if kindOf(object) != kindObject {
		return members{}
	}
	return members{b: object, i: 1}
}

// next returns the next member: its name as the JSON string that it is, and its value.
func (m *members) next() (name, value []byte, ok bool) {
	b, i := m.b, skipSpace(m.b, m.i)
	if i < len(b) && b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != '"' {
		return nil, nil, false
	}
	end := skipString(b, i)
	if end < 0 {
		return nil, nil, false
	}
	name = b[i:end]
	i = skipSpace(b, end)
	if i >= len(b) || b[i] != ':' {
		return nil, nil, false
	}
	i = skipSpace(b, i+1)
	if end = skipValue(b, i); end < 0 {
		return nil, nil, false
	}
	m.i = end
	return name, b[i:end], true
}

// elements walks the elements of an array.
type elements struct {
	b []byte
	i int
}

// newElements takes an array; of any other value there are no elements.
func newElements(array []byte) elements {
	if kindOf(array) != kindArray {
		return elements{}
	}
	return elements{b: array, i: 1}
}

func (e *elements) next() (value []byte, ok bool) {
	b, i := e.b, skipSpace(e.b, e.i)
	if i < len(b) && b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	if i >= len(b) || b[i] == ']' {
		return nil, false
	}
	end := skipValue(b, i)
	if end < 0 {
		return nil, false
	}
	e.i = end
	return b[i:end], true
}

// plain reports whether a JSON string holds no escapes, so that its bytes between the quotes are its text.
func plain(quoted []byte) bool {
	return bytes.IndexByte(quoted, '\\') < 0
}

// unquote returns the text of a JSON string. It is the string's own bytes where that is possible.
func unquote(quoted []byte) []byte {
	if len(quoted) < 2 || quoted[0] != '"' {
		return nil
	}
	if plain(quoted) {
		return quoted[1 : len(quoted)-1]
	}
	// An error tells of invalid UTF-8 and the like; what was decoded is then still the best reading.
	text, _ := jsontext.AppendUnquote(nil, quoted)
	return text
}

// named reports whether a JSON string has the given text.
func named(quoted []byte, text string) bool {
	if len(quoted) == len(text)+2 && string(quoted[1:len(quoted)-1]) == text {
		return plain(quoted)
	}
	return len(quoted) > len(text)+2 && !plain(quoted) && string(unquote(quoted)) == text
}

// member returns the value of a member; of several with one name the last.
func member(object []byte, name string) (value []byte, ok bool) {
	for m := newMembers(object); ; {
		n, v, more := m.next()
		if !more {
			return value, ok
		}
		if named(n, name) {
			value, ok = v, true
		}
	}
}

// depthOf returns how deep arrays and objects are nested in the text: 0 for a scalar.
func depthOf(b []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := skipString(b, i)
			if end < 0 {
				return deepest
			}
			i = end - 1
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}
