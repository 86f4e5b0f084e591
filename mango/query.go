package mango

import (
	"strconv"
	"strings"
)

const (
	defaultLimit = 25
	maxFields    = 1000
)

// Query is the body of a _find request. What CouchDB decides by looking at indexes (no_usable_index, an unknown use_index, the meaning of
// a bookmark) is left to the caller.
type Query struct {
	Selector   *Selector
	Source     []byte // the selector as it was sent
	Fields     []string
	Projection Projection
	Sort       Sort
	Limit      int // 25 unless the request says otherwise
	Skip       int
	Bookmark   string   // "" for the first page
	UseIndex   []string // nothing, a design document, or a design document and an index, without "_design/"

	ExecutionStats bool
	Update         bool // true unless the request says otherwise
	Stable         bool
	Conflicts      bool
	AllowFallback  bool // true unless the request says otherwise
	Stale          bool // "ok"
	R              int  // 1 unless the request says otherwise
}

// ParseQuery reads the body of a _find request. It fails with *SelectorError.
func ParseQuery(body []byte) (*Query, error) {
	if len(body) > maxSelectorSize || depthOf(body) > maxSelectorDepth+1 {
		return nil, &SelectorError{Name: "bad_request", Reason: "Request body is too large or nested too deep"}
	}
	body = trim(body)
	if !validJSON(body) {
		return nil, &SelectorError{Name: "bad_request", Reason: "invalid UTF-8 JSON"}
	}
	if kindOf(body) != kindObject {
		return nil, &SelectorError{Name: "bad_request", Reason: "Request body must be a JSON object"}
	}
	given := distinctMembers(body)
	q := &Query{Limit: defaultLimit, Update: true, AllowFallback: true, R: 1}
	// CouchDB checks members in an order of its own, and unknown ones last.
	for _, m := range queryMembers {
		value, ok := take(&given, m.name)
		switch {
		case ok:
			if err := m.read(q, value); err != nil {
				return nil, err
			}
		case m.required:
			return nil, &SelectorError{Name: "missing_required_key", Reason: "Missing required key: " + m.name}
		}
	}
	if len(given) > 0 {
		return nil, &SelectorError{Name: "invalid_key", Reason: "Invalid key " + shorten(given[0].name) + " for this request."}
	}
	return q, nil
}

func take(given *[]namedValue, name string) ([]byte, bool) {
	for i, m := range *given {
		if m.name == name {
			*given = append((*given)[:i:i], (*given)[i+1:]...)
			return m.value, true
		}
	}
	return nil, false
}

type queryMember struct {
	name     string
	required bool
	read     func(q *Query, v []byte) error
}

var queryMembers = []queryMember{
	{"selector", true, func(q *Query, v []byte) (err error) {
		q.Source = v
		q.Selector, err = Parse(v)
		return err
	}},
	{"use_index", false, readUseIndex},
	{"bookmark", false, readBookmark},
	{"limit", false, func(q *Query, v []byte) (err error) { q.Limit, err = nonNegative(v); return err }},
	{"skip", false, func(q *Query, v []byte) (err error) { q.Skip, err = nonNegative(v); return err }},
	{"sort", false, func(q *Query, v []byte) (err error) { q.Sort, err = ParseSort(v); return err }},
	{"fields", false, readFields},
	{"partition", false, func(*Query, []byte) error {
		return &SelectorError{Name: "bad_request", Reason: "`partition` parameter is not supported in this database."}
	}},
	{"r", false, func(q *Query, v []byte) (err error) { q.R, err = positive(v); return err }},
	{"conflicts", false, func(q *Query, v []byte) (err error) { q.Conflicts, err = boolean(v); return err }},
	{"stale", false, readStale},
	{"update", false, func(q *Query, v []byte) (err error) { q.Update, err = boolean(v); return err }},
	{"stable", false, func(q *Query, v []byte) (err error) { q.Stable, err = boolean(v); return err }},
	{"execution_stats", false, func(q *Query, v []byte) (err error) { q.ExecutionStats, err = boolean(v); return err }},
	{"allow_fallback", false, func(q *Query, v []byte) (err error) { q.AllowFallback, err = boolean(v); return err }},
}

func invalid(name, reason string, v []byte) error {
	return &SelectorError{Name: name, Reason: reason + shorten(string(v))}
}

func boolean(v []byte) (bool, error) {
	switch kindOf(v) {
	case kindTrue:
		return true, nil
	case kindFalse:
		return false, nil
	}
	return false, invalid("invalid_boolean", "Invalid boolean value: ", v)
}

func nonNegative(v []byte) (int, error) {
	n, err := strconv.Atoi(string(v))
	if kindOf(v) != kindNumber || err != nil || n < 0 {
		return 0, &SelectorError{Name: "invalid_non_neg_integer", Reason: shorten(string(v)) + " is not an integer greater than or equal to zero"}
	}
	return n, nil
}

func positive(v []byte) (int, error) {
	n, err := strconv.Atoi(string(v))
	if kindOf(v) != kindNumber || err != nil || n <= 0 {
		return 0, &SelectorError{Name: "invalid_pos_integer", Reason: shorten(string(v)) + " is not an integer greater than zero"}
	}
	return n, nil
}

func readBookmark(q *Query, v []byte) error {
	switch kindOf(v) {
	case kindNull:
		return nil
	case kindString:
		q.Bookmark = string(unquote(v))
		return nil
	}
	return invalid("invalid_bookmark", "Invalid bookmark value: ", v)
}

func readStale(q *Query, v []byte) error {
	switch string(v) {
	case `"ok"`:
		q.Stale = true
		return nil
	case `"false"`, "false":
		return nil
	}
	return invalid("invalid_ok_or_false_value", "Invalid value for stale: ", v)
}

func readFields(q *Query, v []byte) (err error) {
	if kindOf(v) != kindArray {
		return invalid("invalid_fields", "Fields must be an array of strings, not: ", v)
	}
	for e := newElements(v); ; {
		field, ok := e.next()
		if !ok {
			q.Projection, err = ParseFields(q.Fields)
			return err
		}
		if kindOf(field) != kindString || len(q.Fields) >= maxFields {
			return invalid("invalid_field", "Invalid JSON for field spec: ", field)
		}
		q.Fields = append(q.Fields, string(unquote(field)))
	}
}

// readUseIndex reads "ddoc", "ddoc/index" or ["ddoc", "index"], each with or without "_design/" before.
func readUseIndex(q *Query, v []byte) error {
	switch kindOf(v) {
	case kindNull:
		return nil
	case kindString:
		q.UseIndex = strings.SplitN(strings.TrimPrefix(string(unquote(v)), "_design/"), "/", 2)
		return nil
	case kindArray:
		for e := newElements(v); ; {
			part, ok := e.next()
			if !ok {
				return nil
			}
			if kindOf(part) != kindString || len(q.UseIndex) == 2 {
				return invalid("invalid_index_name", "Invalid index name: ", v)
			}
			q.UseIndex = append(q.UseIndex, strings.TrimPrefix(string(unquote(part)), "_design/"))
		}
	}
	return invalid("invalid_index_name", "Invalid index name: ", v)
}
