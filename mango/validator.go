package mango

// Validator is a validate_doc_update that is written as a selector: in a design document whose "language" is "query" that member is
// an object, a selector over {"newDoc": …, "oldDoc": …}. It is immutable and safe for concurrent use.
type Validator struct{ selector *Selector }

// ParseValidator compiles a validate_doc_update selector. It fails with *SelectorError; as it stands in a design document that was
// stored before, the caller should refuse the update that was to be validated.
func ParseValidator(source []byte) (*Validator, error) {
	s, err := Parse(source)
	if err != nil {
		return nil, err
	}
	for _, name := range s.scope.names {
		if name != "newDoc" && name != "oldDoc" {
			// Such a selector would refuse everything without saying why.
			return nil, &SelectorError{Name: "compilation_error", Reason: "'validate_doc_update' may only contain 'newDoc' and 'oldDoc' as top-level fields"}
		}
	}
	return &Validator{selector: s}, nil
}

// Validate returns nil if the update is allowed, or else *SelectorError with the name "forbidden" and CouchDB's reason (status 403).
// newDoc is the document as a validation function sees it; oldDoc is the revision that it replaces, or nil or "null" for none, which
// the selector sees as null.
func (v *Validator) Validate(newDoc, oldDoc []byte) error {
	if len(oldDoc) == 0 {
		oldDoc = []byte("null")
	}
	both := make([]byte, 0, len(newDoc)+len(oldDoc)+len(`{"newDoc":,"oldDoc":}`))
	both = append(both, `{"newDoc":`...)
	both = append(both, newDoc...)
	both = append(both, `,"oldDoc":`...)
	both = append(both, oldDoc...)
	both = append(both, '}')
	if v.selector.Match(both) {
		return nil
	}
	return &SelectorError{Name: "forbidden", Reason: "document is not valid"}
}
