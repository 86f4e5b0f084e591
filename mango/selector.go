package mango

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxSelectorSize  = 1 << 20
	maxSelectorDepth = 100
	maxConditions    = 10_000
)

// operator is what a node of a compiled selector does.
type operator uint8

const (
	opNever operator = iota // what $and, $or and $nor of an empty list are
	opAnd
	opOr
	opLT
	opLTE
	opEQ
	opNE
	opGTE
	opGT
	opIn
	opNin
	opExists
	opType
	opMod
	opRegex
	opBeginsWith
	opSize
	opAll
	opElemMatch
	opAllMatch
	opKeyMapMatch
)

// node is a compiled condition.
type node struct {
	op     operator
	negate bool // of the operators that have no opposite

	// Of opAnd and opOr.
	children []*node

	// Of all others: where the value is, and what it is compared with.
	slot    int      // index of the path's first step in the scope's names; -1 for the value itself
	steps   []string // the whole path
	compare func(a, b []byte) int
	arg     []byte
	text    string
	list    [][]byte // of opIn, opNin and opAll, in the order of compare, without duplicates
	exact   []byte   // of opAll: the array that is matched as a whole, or nil
	exists  bool
	divisor int64
	rest    int64
	size    int
	regex   *regex
	inner   *scope
}

// scope is a selector over one value: the document, or what $elemMatch and its like look at.
type scope struct {
	root  *node    // nil matches everything
	names []string // first steps of all paths, so that one pass over an object finds them all
}

// Selector is a compiled selector. It is immutable and safe for concurrent use.
type Selector struct{ scope scope }

// Parse compiles a selector (a JSON object). It fails with *SelectorError. Size and depth are bounded. The selector is copied.
func Parse(selector []byte) (*Selector, error) {
	if len(selector) > maxSelectorSize {
		return nil, &SelectorError{Name: "invalid_selector", Reason: fmt.Sprintf("Selector is larger than %d bytes.", maxSelectorSize)}
	}
	if depthOf(selector) > maxSelectorDepth {
		return nil, &SelectorError{Name: "invalid_selector", Reason: fmt.Sprintf("Selector is nested deeper than %d levels.", maxSelectorDepth)}
	}
	raw := trim(slices.Clone(selector))
	if !validJSON(raw) {
		return nil, &SelectorError{Name: "bad_request", Reason: "invalid UTF-8 JSON"}
	}
	if kindOf(raw) != kindObject {
		return nil, &SelectorError{Name: "invalid_selector_json", Reason: "Selector must be a JSON object, not: " + shorten(string(raw))}
	}
	s := new(Selector)
	if len(distinctMembers(raw)) == 0 {
		return s, nil
	}
	left := maxConditions
	c := compiler{scope: &s.scope, slots: map[string]int{}, left: &left}
	root, err := c.compile(raw, path{}, false)
	if err != nil {
		return nil, err
	}
	if root.op > opOr && len(root.steps) == 0 {
		return nil, &SelectorError{Name: "invalid_selector", Reason: "One or more conditions is missing a field name."}
	}
	s.scope.root = root
	return s, nil
}

// Match reports whether the document, a JSON object with its "_id" and other special members, is selected. Of text that is
// no JSON object the answer means nothing.
func (s *Selector) Match(doc []byte) bool {
	var m matcher
	return m.scope(&s.scope, trim(doc)) && !m.late
}

func validJSON(b []byte) bool {
	return jsontext.Value(b).IsValid(jsontext.AllowDuplicateNames(true))
}

type namedValue struct {
	name  string
	value []byte
}

// distinctMembers returns an object's members in order. Of several with one name the last counts.
func distinctMembers(object []byte) []namedValue {
	var list []namedValue
	at := map[string]int{}
	for m := newMembers(object); ; {
		quoted, value, ok := m.next()
		if !ok {
			return list
		}
		name := string(unquote(quoted))
		if i, seen := at[name]; seen {
			list[i].value = value
			continue
		}
		at[name] = len(list)
		list = append(list, namedValue{name, value})
	}
}
