// Package mango matches JSON documents against Mango selectors, CouchDB's query language of JSON objects, as CouchDB 3.5 does
// (https://docs.couchdb.org/en/stable/api/database/find.html).
//
// Parse compiles a selector once; Match then asks it about any number of documents, from any goroutine. Documents are JSON text and
// are read by offset: nothing is decoded that the selector does not ask for, and most matches allocate nothing.
//
//	s, err := mango.Parse([]byte(`{"type": {"$ne": "leaf"}}`))
//	...
//	if s.Match(doc) { ... }
//
// # Selectors
//
// A member whose name does not begin with "$" is a field with a condition; a condition that is no object of operators means equality.
// Several members are joined by "and". Field names nest by dots or by objects, {"a.b": 1} or {"a": {"b": 1}}; `a\.b` is a name with
// a dot in it; a number steps into an array. Operators:
//
//	$lt $lte $eq $ne $gte $gt      comparison in the order of Compare; of _id, by bytes
//	$in $nin                       one of, none of; of an array, whether one of its elements is
//	$exists $type                  presence; null, boolean, number, string, array or object
//	$size $all $elemMatch $allMatch   arrays
//	$keyMapMatch                   names of an object's members
//	$mod $regex $beginsWith        integers; strings
//	$and $or $nor $not             combination
//
// Any condition on a field that a document lacks fails, also a negated one; only {"$exists": false} holds. $and, $or and $nor of an
// empty list match nothing. Negations are moved down to the conditions before matching, so that {"$not": {"a": {"$gt": 1}}} is
// {"a": {"$lte": 1}} and asks for a field "a"; this is so inside of $elemMatch, $allMatch and $keyMapMatch too, where CouchDB 3.5
// loses $nor. $text and the geographic operators are refused.
//
// # Bounds
//
// A selector has at most 1 MiB, a depth of 100 and 10,000 conditions. Patterns of $regex are PCRE in CouchDB. Those that Go's regexp
// understands take linear time; others may take a quarter of a second over one document, and a document over which they take longer
// is not selected, whatever surrounds the pattern.
//
// # Queries and validation
//
// ParseQuery reads the body of a _find request, with its Sort and its Projection. ParseValidator reads a validate_doc_update that is
// written as a selector.
package mango

// SelectorError says what is wrong with a selector or a query, in CouchDB's words: its Reason is the client's text, its Name
// CouchDB's "error" member. All of them are the client's mistakes (status 400).
type SelectorError struct{ Name, Reason string }

func (e *SelectorError) Error() string { return e.Reason }
