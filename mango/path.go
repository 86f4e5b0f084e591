package mango

import (
	"fmt"
	"strconv"
	"strings"
)

// maxSteps bounds the steps of a path, as the depth of a selector is bounded.
const maxSteps = 100

// path is a field name cut at its dots. The zero value names the value itself.
type path struct {
	steps []string
	// open says that the name so far ends in a backslash, which takes the meaning away from a dot that would follow.
	open bool
}

// parsePath cuts a field name such as "a.b" or `a\.b`. It fails with *SelectorError when a part is empty.
func parsePath(field string) (path, error) {
	if field == "" {
		return path{}, fieldNameError(field)
	}
	return path{}.add(field)
}

// add returns the path with a field name appended, as if the two had been joined by a dot: CouchDB reads {"a":{"b.c":1}} as
// {"a.b.c":1}. The receiver is left as it is, and shares nothing that is changed.
func (p path) add(field string) (path, error) {
	if field == "" && len(p.steps) == 0 {
		return p, nil
	}
	q := path{steps: make([]string, len(p.steps), len(p.steps)+1), open: p.open}
	copy(q.steps, p.steps)
	for rest, more := field, true; more; {
		var part string
		part, rest, more = cutStep(rest)
		if part == "" {
			return path{}, fieldNameError(field)
		}
		join := q.open && len(q.steps) > 0
		q.open = strings.HasSuffix(part, `\`)
		part = strings.ReplaceAll(part, `\`, "")
		if join {
			q.steps[len(q.steps)-1] += "." + part
			continue
		}
		if q.steps = append(q.steps, part); len(q.steps) > maxSteps {
			return path{}, &SelectorError{Name: "invalid_selector", Reason: fmt.Sprintf("A field name has more than %d parts.", maxSteps)}
		}
	}
	return q, nil
}

// cutStep cuts a field name at its first dot that has no backslash before it.
func cutStep(field string) (part, rest string, more bool) {
	for i := 0; i < len(field); i++ {
		if field[i] == '.' && (i == 0 || field[i-1] != '\\') {
			return field[:i], field[i+1:], true
		}
	}
	return field, "", false
}

func fieldNameError(field string) error {
	return &SelectorError{Name: "invalid_field_name", Reason: "Invalid field name: " + shorten(field)}
}

// found says what following a path came to. CouchDB tells the two ways of not finding apart: only a member that an object lacks
// satisfies {"$exists":false}, a step into a scalar or out of an array's bounds does not.
type found uint8

const (
	present found = iota
	absent
	astray
)

// follow returns the value at the steps from v. A step into an array is an index.
func follow(v []byte, steps []string) ([]byte, found) {
	for _, step := range steps {
		switch kindOf(v) {
		case kindObject:
			m, ok := member(v, step)
			if !ok {
				return nil, absent
			}
			v = m
		case kindArray:
			index, err := strconv.Atoi(step)
			if err != nil || index < 0 {
				return nil, astray
			}
			var ok bool
			if v, ok = element(v, index); !ok {
				return nil, astray
			}
		default:
			return nil, astray
		}
	}
	return v, present
}

// element returns the element of an array at an index from 0.
func element(array []byte, index int) ([]byte, bool) {
	// An element takes two bytes at least, which spares walking a long array for an index that is out of it anyway.
	if index > len(array)/2 {
		return nil, false
	}
	e := newElements(array)
	for {
		v, ok := e.next()
		if !ok || index == 0 {
			return v, ok
		}
		index--
	}
}

// shorten cuts a text that goes into an error.
func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
