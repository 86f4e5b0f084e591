package mango

// Sort is a compiled "sort" member: fields, all in one direction. The zero value sorts by nothing. It is immutable and safe for
// concurrent use.
type Sort struct {
	Fields     []string // as they were written
	Descending bool
	paths      []path
}

// ParseSort compiles a sort specification: an array of field names and of objects {"field": "asc"} or {"field": "desc"}. It fails with
// *SelectorError, also when the directions differ, which CouchDB does not support.
func ParseSort(spec []byte) (Sort, error) {
	spec = trim(spec)
	if kindOf(spec) != kindArray {
		return Sort{}, &SelectorError{Name: "invalid_sort_json", Reason: "Sort must be an array of sort specs, not: " + shorten(string(spec))}
	}
	var s Sort
	mixed := false
	for e := newElements(spec); ; {
		v, ok := e.next()
		if !ok {
			break
		}
		field, descending, ok := sortField(v)
		if !ok || len(s.Fields) >= maxFields {
			return Sort{}, &SelectorError{Name: "invalid_sort_field", Reason: "Invalid sort field: " + shorten(string(v))}
		}
		at, err := parsePath(field)
		if err != nil {
			return Sort{}, err
		}
		mixed = mixed || len(s.Fields) > 0 && descending != s.Descending
		s.Fields, s.paths, s.Descending = append(s.Fields, field), append(s.paths, at), descending
	}
	if mixed {
		return Sort{}, &SelectorError{Name: "unsupported_mixed_sort", Reason: "Sorts currently only support a single direction for all fields."}
	}
	return s, nil
}

func sortField(spec []byte) (field string, descending, ok bool) {
	switch kindOf(spec) {
	case kindString:
		field = string(unquote(spec))
		return field, false, field != ""
	case kindObject:
		members := distinctMembers(spec)
		if len(members) != 1 || kindOf(members[0].value) != kindString {
			return "", false, false
		}
		direction := string(unquote(members[0].value))
		field = members[0].name
		return field, direction == "desc", field != "" && (direction == "asc" || direction == "desc")
	}
	return "", false, false
}

// Covers reports whether the document has all fields of the sort. In CouchDB an index holds no other documents, so that a sorted
// query does not return them.
func (s Sort) Covers(doc []byte) bool {
	doc = trim(doc)
	for _, at := range s.paths {
		if _, where := follow(doc, at.steps); where != present {
			return false
		}
	}
	return true
}

// Compare orders two documents by the sort's fields in its direction. A field that is missing comes before any value. Documents that
// are equal in all fields compare as 0; CouchDB orders them by id in the same direction.
func (s Sort) Compare(a, b []byte) int {
	a, b = trim(a), trim(b)
	for _, at := range s.paths {
		va, inA := follow(a, at.steps)
		vb, inB := follow(b, at.steps)
		c := 0
		switch {
		case inA == present && inB == present:
			c = Compare(va, vb)
		case inA == present:
			c = 1
		case inB == present:
			c = -1
		}
		if c != 0 {
			if s.Descending {
				return -c
			}
			return c
		}
	}
	return 0
}
