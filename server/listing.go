package server

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/store"
)

// listing is what the parameters of _all_docs and its kin ask for.
type listing struct {
	start, end bound
	keys       []jsontext.Value // with hasKeys
	hasKeys    bool
	limit      int
	skip       int
	descending bool
	openEnd    bool // inclusive_end=false
	updateSeq  bool
	docs       bool // include_docs
	shown      shown
	reduce     bool
	grouped    bool
}

// bound is a key at which a listing starts or ends.
type bound struct {
	set bool
	low bool // a key that is no string: it sorts before every id
	id  string
}

// paramValue is a parameter's value: a text of the query, or a member of the body.
type paramValue struct {
	text string
	json jsontext.Value // nil: text counts
}

func (v paramValue) quoted() string {
	if v.json != nil {
		return string(v.json)
	}
	return string(appendString(nil, v.text))
}

func (v paramValue) boolean() (bool, error) {
	s := v.text
	if v.json != nil {
		if s = string(v.json); v.json[0] == '"' {
			s, _ = text(v.json)
		}
	}
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, queryError("Invalid boolean parameter: " + v.quoted())
}

// natural reads an integer from 0. One that is too large to be held stands for no bound at all.
func (v paramValue) natural() (int, error) {
	s := v.text
	if v.json != nil {
		s = string(v.json)
	}
	n, err := strconv.Atoi(s)
	switch {
	case err == nil && n >= 0:
		return n, nil
	case err == nil || isInteger(s) && s[0] == '-':
		return 0, queryError("Invalid value for positive integer: " + v.quoted())
	case isInteger(s):
		return math.MaxInt, nil
	}
	return 0, queryError("Invalid value for integer: " + v.quoted())
}

// isInteger reports whether s is a decimal integer of any size.
func isInteger(s string) bool {
	s = strings.TrimLeft(s[:min(1, len(s))], "+-") + s[min(1, len(s)):]
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// key reads a JSON value: errBadJSON.
func (v paramValue) key() (jsontext.Value, error) {
	if v.json != nil {
		return v.json, nil
	}
	return checkJSON([]byte(v.text))
}

func (v paramValue) bound() (bound, error) {
	key, err := v.key()
	if err != nil {
		return bound{}, err
	}
	id, ok := text(key)
	return bound{set: true, low: !ok, id: id}, nil
}

// oneOf refuses values that are none of the allowed, as CouchDB does for the parameters that only views heed.
func (v paramValue) oneOf(name string, allowed ...string) error {
	s := v.text
	if v.json != nil {
		s = strings.Trim(string(v.json), `"`)
	}
	if slices.Contains(allowed, s) {
		return nil
	}
	return queryError("Invalid value for `" + name + "`.")
}

// set reads one parameter. Those that it does not know are passed over.
func (l *listing) set(name string, v paramValue) (err error) {
	switch name {
	case "key":
		l.start, err = v.bound()
		l.end = l.start
	case "startkey", "start_key":
		l.start, err = v.bound()
	case "endkey", "end_key":
		l.end, err = v.bound()
	case "keys":
		err = l.setKeys(v)
	case "limit":
		l.limit, err = v.natural()
	case "skip":
		l.skip, err = v.natural()
	case "descending":
		l.descending, err = v.boolean()
	case "inclusive_end":
		l.openEnd, err = v.boolean()
		l.openEnd = !l.openEnd
	case "include_docs":
		l.docs, err = v.boolean()
	case "conflicts":
		l.shown.conflicts, err = v.boolean()
	case "attachments":
		l.shown.attachments, err = v.boolean()
	case "att_encoding_info":
		l.shown.attEncoding, err = v.boolean()
	case "update_seq":
		l.updateSeq, err = v.boolean()
	case "reduce":
		l.reduce, err = v.boolean()
	case "group":
		l.grouped, err = v.boolean()
	case "group_level":
		_, err = v.natural()
		l.grouped = true
	case "sorted":
		_, err = v.boolean()
	case "stable":
		err = v.oneOf(name, "true", "false")
	case "update":
		err = v.oneOf(name, "true", "false", "lazy")
	case "stale":
		err = v.oneOf(name, "ok", "update_after")
	}
	return err
}

func (l *listing) setKeys(v paramValue) error {
	value, err := v.key()
	if err != nil {
		return err
	}
	if value[0] != '[' {
		if v.json != nil {
			return badRequest("`keys` body member must be an array.")
		}
		return badRequest("`keys` parameter must be an array.")
	}
	l.keys, l.hasKeys = nil, true
	return elements(value, func(key jsontext.Value) error {
		l.keys = append(l.keys, key)
		return nil
	})
}

// setQuery reads the parameters of the query, in the order of their names; of several with one name the last counts.
func (l *listing) setQuery(r *request) error {
	for _, name := range slices.Sorted(maps.Keys(r.params)) {
		values := r.params[name]
		if err := l.set(name, paramValue{text: values[len(values)-1]}); err != nil {
			return err
		}
	}
	return nil
}

// setBody reads the parameters of a JSON object.
func (l *listing) setBody(object jsontext.Value) error {
	return members(object, func(name string, value jsontext.Value) error {
		return l.set(name, paramValue{json: value})
	})
}

// check refuses parameters that do not go together.
func (l *listing) check() error {
	switch {
	case l.hasKeys && (l.start.set || l.end.set):
		return queryError("`keys` is incompatible with `key`, `start_key` and `end_key`")
	case l.reduce:
		return queryError("Reduce is invalid for map-only views.")
	case l.grouped:
		return queryError("Invalid use of grouping on a map view.")
	}
	return nil
}

// span is the ids between the bounds; ok is false when there can be none.
func (l *listing) span() (rng store.Range, ok bool) {
	rng.Descending = l.descending
	low, high := l.start, l.end
	if l.descending {
		low, high = l.end, l.start
		rng.ExclusiveFrom = l.openEnd && low.set && !low.low
	} else {
		rng.ExclusiveTo = l.openEnd
	}
	if high.set && high.low {
		return rng, false
	}
	if low.set && !low.low {
		rng.From = low.id
	}
	rng.To, rng.HasTo = high.id, high.set
	return rng, !rng.HasTo || rng.From <= rng.To
}

// within narrows a range to the ids that begin with prefix, which ends in "/"; ok is false when there can be none.
func within(rng store.Range, prefix string) (narrow store.Range, ok bool) {
	after := prefix[:len(prefix)-1] + "0"
	if rng.From < prefix {
		rng.From, rng.ExclusiveFrom = prefix, false
	}
	if !rng.HasTo || rng.To >= after {
		rng.To, rng.HasTo, rng.ExclusiveTo = after, true, true
	}
	return rng, rng.From <= rng.To && rng.From < after
}
