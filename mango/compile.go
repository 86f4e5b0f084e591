package mango

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// compiler turns the conditions of one scope into nodes. In one walk it does what CouchDB does in three: it makes implicit
// operators explicit, moves field names down to the conditions, and moves negations down to them too.
type compiler struct {
	scope *scope
	slots map[string]int
	left  *int // conditions that the whole selector may still have
}

// compile compiles a condition on the value at a path; not says that it stands under an odd number of negations.
func (c *compiler) compile(cond []byte, at path, not bool) (*node, error) {
	if *c.left--; *c.left < 0 {
		return nil, &SelectorError{Name: "invalid_selector", Reason: "Selector has more than " + strconv.Itoa(maxConditions) + " conditions."}
	}
	if kindOf(cond) != kindObject {
		return c.comparison(opEQ, cond, at, not), nil
	}
	members := distinctMembers(cond)
	switch len(members) {
	case 0:
		return c.comparison(opEQ, cond, at, not), nil
	case 1:
		return c.member(members[0].name, members[0].value, at, not)
	}
	children := make([]*node, len(members))
	for i, m := range members {
		var err error
		if children[i], err = c.member(m.name, m.value, at, not); err != nil {
			return nil, err
		}
	}
	return combine(children, not), nil
}

// combine joins conditions by "and", or by "or" where a negation has turned it.
func combine(children []*node, or bool) *node {
	switch {
	case len(children) == 0:
		return &node{op: opNever}
	case or:
		return &node{op: opOr, children: children}
	}
	return &node{op: opAnd, children: children}
}

func (c *compiler) member(name string, arg []byte, at path, not bool) (*node, error) {
	if !strings.HasPrefix(name, "$") {
		at, err := at.add(name)
		if err != nil {
			return nil, err
		}
		return c.compile(arg, at, not)
	}
	switch name {
	case "$and":
		return c.combination(name, arg, at, not, not)
	case "$or":
		return c.combination(name, arg, at, not, !not)
	case "$nor":
		return c.combination(name, arg, at, !not, not)
	case "$not":
		if kindOf(arg) != kindObject {
			return nil, badArg(name, arg)
		}
		return c.compile(arg, at, !not)
	case "$lt", "$lte", "$eq", "$ne", "$gte", "$gt":
		return c.comparison(comparisons[name], arg, at, not), nil
	case "$elemMatch":
		return c.nested(opElemMatch, name, arg, at, not)
	case "$allMatch":
		return c.nested(opAllMatch, name, arg, at, not)
	case "$keyMapMatch":
		return c.nested(opKeyMapMatch, name, arg, at, not)
	case "$in", "$nin", "$all":
		return c.list(name, arg, at, not)
	case "$text", "$where", "$geoWithin", "$geoIntersects", "$near", "$nearSphere":
		return nil, &SelectorError{Name: "not_supported", Reason: "Unsupported operator: " + name}
	}
	return c.test(name, arg, at, not)
}

// combination compiles $and, $or and $nor: not is what each child stands under, or how they are joined.
func (c *compiler) combination(name string, arg []byte, at path, not, or bool) (*node, error) {
	if kindOf(arg) != kindArray {
		return nil, badArg(name, arg)
	}
	var children []*node
	for e := newElements(arg); ; {
		cond, ok := e.next()
		if !ok {
			return combine(children, or), nil
		}
		child, err := c.compile(cond, at, not)
		if err != nil {
			return nil, err
		}
		children = append(children, child)
	}
}

var comparisons = map[string]operator{"$lt": opLT, "$lte": opLTE, "$eq": opEQ, "$ne": opNE, "$gte": opGTE, "$gt": opGT}

var opposites = map[operator]operator{opLT: opGTE, opLTE: opGT, opEQ: opNE, opNE: opEQ, opGTE: opLT, opGT: opLTE, opIn: opNin, opNin: opIn}

func (c *compiler) comparison(op operator, arg []byte, at path, not bool) *node {
	if not {
		op = opposites[op]
	}
	n := c.leaf(op, at)
	n.arg = arg
	return n
}

// leaf returns a node for the value at a path.
func (c *compiler) leaf(op operator, at path) *node {
	n := &node{op: op, slot: -1, steps: at.steps, compare: Compare}
	if len(at.steps) == 0 {
		return n
	}
	first := at.steps[0]
	slot, ok := c.slots[first]
	if !ok {
		slot = len(c.scope.names)
		c.slots[first] = slot
		c.scope.names = append(c.scope.names, first)
	}
	n.slot = slot
	if len(at.steps) == 1 && first == "_id" {
		n.compare = compareRaw
	}
	return n
}

func (c *compiler) nested(op operator, name string, arg []byte, at path, not bool) (*node, error) {
	if kindOf(arg) != kindObject {
		return nil, badArg(name, arg)
	}
	inner := compiler{scope: new(scope), slots: map[string]int{}, left: c.left}
	root, err := inner.compile(arg, path{}, false)
	if err != nil {
		return nil, err
	}
	inner.scope.root = root
	n := c.leaf(op, at)
	n.inner, n.negate = inner.scope, not
	return n, nil
}

func (c *compiler) list(name string, arg []byte, at path, not bool) (*node, error) {
	if kindOf(arg) != kindArray {
		return nil, badArg(name, arg)
	}
	var list [][]byte
	for e := newElements(arg); ; {
		v, ok := e.next()
		if !ok {
			break
		}
		list = append(list, v)
	}
	op := map[string]operator{"$in": opIn, "$nin": opNin, "$all": opAll}[name]
	if not && op != opAll {
		op = opposites[op]
	}
	n := c.leaf(op, at)
	if op == opAll {
		n.negate = not
		if len(list) == 1 && kindOf(list[0]) == kindArray {
			n.exact = list[0]
		}
	}
	slices.SortFunc(list, n.compare)
	n.list = slices.CompactFunc(list, func(a, b []byte) bool { return n.compare(a, b) == 0 })
	return n, nil
}

// test compiles the operators that look at one value of some type.
func (c *compiler) test(name string, arg []byte, at path, not bool) (*node, error) {
	var n *node
	k := kindOf(arg)
	ok := false
	switch name {
	case "$exists":
		n, ok = c.leaf(opExists, at), k == kindTrue || k == kindFalse
		n.exists = (k == kindTrue) != not
		not = false
	case "$type":
		n, ok = c.leaf(opType, at), k == kindString
		n.text = string(unquote(arg))
	case "$beginsWith":
		n, ok = c.leaf(opBeginsWith, at), k == kindString
		n.text = string(unquote(arg))
	case "$size":
		n = c.leaf(opSize, at)
		n.size, ok = sizeArg(arg)
	case "$mod":
		n = c.leaf(opMod, at)
		n.divisor, n.rest, ok = modArgs(arg)
	case "$regex":
		if k != kindString {
			// CouchDB does not know the operator with such an argument.
			return nil, &SelectorError{Name: "invalid_operator", Reason: "Invalid operator: $regex"}
		}
		n = c.leaf(opRegex, at)
		n.regex, ok = compileRegex(string(unquote(arg)))
	default:
		return nil, &SelectorError{Name: "invalid_operator", Reason: "Invalid operator: " + shorten(name)}
	}
	if !ok {
		return nil, badArg(name, arg)
	}
	n.negate = not
	return n, nil
}

// sizeArg reads the argument of $size, an integer from 0. One that no array can have is as good as any other.
func sizeArg(arg []byte) (int, bool) {
	v, ok := new(big.Int).SetString(string(arg[:min(len(arg), 100)]), 10)
	switch {
	case kindOf(arg) != kindNumber || !ok || v.Sign() < 0:
		return 0, false
	case !v.IsInt64():
		return -1, true
	}
	return int(v.Int64()), true
}

// modArgs reads [divisor, remainder], integers. A divisor of 0 is refused: no number has a remainder then.
func modArgs(arg []byte) (divisor, rest int64, ok bool) {
	var args [2]int64
	e := newElements(arg)
	for i := range args {
		v, more := e.next()
		n, err := strconv.ParseInt(string(v), 10, 64)
		if !more || err != nil {
			return 0, 0, false
		}
		args[i] = n
	}
	if _, more := e.next(); more || args[0] == 0 {
		return 0, 0, false
	}
	return args[0], args[1], true
}

func badArg(operator string, arg []byte) error {
	return &SelectorError{Name: "bad_arg", Reason: "Bad argument for operator " + operator + ": " + shorten(string(arg))}
}
