// Package mango matches JSON documents against Mango selectors, CouchDB's query language of JSON objects.
//
// (The manual goes here.)
package mango

// SelectorError says what is wrong with a selector, in CouchDB's words: its Reason is the client's text, its Name CouchDB's "error" member.
type SelectorError struct{ Name, Reason string }

func (e *SelectorError) Error() string { return e.Reason }

// Selector is a compiled selector. It is immutable and safe for concurrent use.
type Selector struct{}

// Parse compiles a selector (a JSON object). It fails with *SelectorError. Size and depth are bounded.
func Parse(selector []byte) (*Selector, error) { panic("todo") }

// Match reports whether the document, a JSON object with its "_id" and other special members, is selected.
func (s *Selector) Match(doc []byte) bool { panic("todo") }

// Compare orders JSON values as CouchDB does: null, false, true, numbers, strings (by the Unicode collation), arrays, objects.
func Compare(a, b []byte) int { panic("todo") }

// Project returns the document reduced to the given fields (Mango's "fields"), member order as asked.
func Project(doc []byte, fields []string) ([]byte, error) { panic("todo") }
