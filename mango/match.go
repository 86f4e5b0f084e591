package mango

import (
	"bytes"
	"math/big"
	"slices"
	"time"
)

// matcher is the state of one match.
type matcher struct {
	spent time.Duration // by backtracking patterns
	late  bool          // they took too long: the document is not selected
}

// smallScope is how many names of a scope need no allocation.
const smallScope = 8

func (m *matcher) scope(s *scope, v []byte) bool {
	if s.root == nil {
		return true
	}
	var few [smallScope][]byte
	slots := few[:]
	if len(s.names) > smallScope {
		slots = make([][]byte, len(s.names))
	}
	object := kindOf(v) == kindObject
	if object {
		fill(slots, s.names, v)
	}
	return m.match(s.root, v, slots, object)
}

// fill finds the values of members in one pass over an object.
func fill(slots [][]byte, names []string, object []byte) {
	if len(names) > 4*smallScope {
		fillMany(slots, names, object)
		return
	}
	for o := newMembers(object); ; {
		quoted, value, ok := o.next()
		if !ok {
			return
		}
		for i, name := range names {
			if named(quoted, name) {
				slots[i] = value
				break
			}
		}
	}
}

// fillMany keeps the time linear when both object and selector have many names.
func fillMany(slots [][]byte, names []string, object []byte) {
	at := make(map[string]int, len(names))
	for i, name := range names {
		at[name] = i
	}
	for o := newMembers(object); ; {
		quoted, value, ok := o.next()
		if !ok {
			return
		}
		if i, wanted := at[string(unquote(quoted))]; wanted {
			slots[i] = value
		}
	}
}

// match evaluates a node over v, whose wanted members are in slots if it is an object.
func (m *matcher) match(n *node, v []byte, slots [][]byte, object bool) bool {
	switch n.op {
	case opNever:
		return false
	case opAnd:
		for _, child := range n.children {
			if m.late || !m.match(child, v, slots, object) {
				return false
			}
		}
		return true
	case opOr:
		for _, child := range n.children {
			if !m.late && m.match(child, v, slots, object) {
				return true
			}
		}
		return false
	}
	value, where := locate(n, v, slots, object)
	switch where {
	case absent:
		return n.op == opExists && !n.exists
	case astray:
		return false
	}
	return m.test(n, value) != n.negate
}

func locate(n *node, v []byte, slots [][]byte, object bool) ([]byte, found) {
	switch {
	case n.slot < 0:
		return v, present
	case !object:
		return follow(v, n.steps)
	case slots[n.slot] == nil:
		return nil, absent
	}
	return follow(slots[n.slot], n.steps[1:])
}

// test evaluates a node's operator on the value that it is about.
func (m *matcher) test(n *node, v []byte) bool {
	switch n.op {
	case opLT:
		return n.compare(v, n.arg) < 0
	case opLTE:
		return n.compare(v, n.arg) <= 0
	case opEQ:
		return n.compare(v, n.arg) == 0
	case opNE:
		return n.compare(v, n.arg) != 0
	case opGTE:
		return n.compare(v, n.arg) >= 0
	case opGT:
		return n.compare(v, n.arg) > 0
	case opIn:
		return in(n, v)
	case opNin:
		return !in(n, v)
	case opExists:
		return n.exists
	case opType:
		return kindOf(v).typeName() == n.text
	case opMod:
		return remainder(v, n.divisor, n.rest)
	case opBeginsWith:
		return kindOf(v) == kindString && beginsWith(v, n.text)
	case opRegex:
		return kindOf(v) == kindString && m.regex(n.regex, v)
	case opSize:
		return kindOf(v) == kindArray && count(v) == n.size
	case opAll:
		return kindOf(v) == kindArray && all(n, v)
	case opElemMatch:
		return m.elemMatch(n, v)
	case opAllMatch:
		return m.allMatch(n, v)
	case opKeyMapMatch:
		return m.keyMapMatch(n, v)
	}
	return false
}

// in reports whether the value, or an element of it if it is an array, is in the node's list.
func in(n *node, v []byte) bool {
	if kindOf(v) != kindArray {
		_, ok := slices.BinarySearchFunc(n.list, v, n.compare)
		return ok
	}
	for e := newElements(v); ; {
		element, ok := e.next()
		if !ok {
			return false
		}
		if _, ok := slices.BinarySearchFunc(n.list, element, n.compare); ok {
			return true
		}
	}
}

// all reports whether each value of the node's list is an element of the array. Of an empty list that is false, as in CouchDB.
func all(n *node, array []byte) bool {
	if n.exact != nil && n.compare(array, n.exact) == 0 {
		return true
	}
	if len(n.list) == 0 {
		return false
	}
	seen := make([]bool, len(n.list))
	missing := len(n.list)
	for e := newElements(array); ; {
		element, ok := e.next()
		if !ok {
			return false
		}
		i, ok := slices.BinarySearchFunc(n.list, element, n.compare)
		if !ok || seen[i] {
			continue
		}
		seen[i] = true
		if missing--; missing == 0 {
			return true
		}
	}
}

func count(array []byte) (n int) {
	for e := newElements(array); ; n++ {
		if _, ok := e.next(); !ok {
			return n
		}
	}
}

func beginsWith(quoted []byte, prefix string) bool {
	text := unquote(quoted)
	return len(text) >= len(prefix) && string(text[:len(prefix)]) == prefix
}

// remainder reports whether an integer leaves the given rest. A number with a fraction or an exponent is no integer.
func remainder(v []byte, divisor, rest int64) bool {
	if kindOf(v) != kindNumber || bytes.ContainsAny(v, ".eE") {
		return false
	}
	if i, ok := smallInt(v); ok {
		return i%divisor == rest
	}
	// No id or counter has so many digits, and converting them takes time that grows with their square.
	if len(v) > 1000 {
		return false
	}
	i, ok := new(big.Int).SetString(string(v), 10)
	return ok && i.Rem(i, big.NewInt(divisor)).Cmp(big.NewInt(rest)) == 0
}

func (m *matcher) regex(re *regex, quoted []byte) bool {
	if m.late {
		return false
	}
	matched, late := re.match(unquote(quoted), &m.spent)
	m.late = late
	return matched
}

func (m *matcher) elemMatch(n *node, v []byte) bool {
	for e := newElements(v); !m.late; {
		element, ok := e.next()
		if !ok {
			return false
		}
		if m.scope(n.inner, element) {
			return true
		}
	}
	return false
}

// allMatch is false for an array without elements, as in CouchDB.
func (m *matcher) allMatch(n *node, v []byte) bool {
	some := false
	for e := newElements(v); !m.late; some = true {
		element, ok := e.next()
		if !ok {
			return some
		}
		if !m.scope(n.inner, element) {
			return false
		}
	}
	return false
}

func (m *matcher) keyMapMatch(n *node, v []byte) bool {
	for o := newMembers(v); !m.late; {
		name, _, ok := o.next()
		if !ok {
			return false
		}
		if m.scope(n.inner, name) {
			return true
		}
	}
	return false
}
