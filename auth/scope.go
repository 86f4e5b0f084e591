package auth

import "slices"

// Scope narrows what an identity may do, below what its roles give. A nil *Scope narrows nothing. Scopes are never changed.
// The members' names are those under which a State keeps them.
//
// An identity with a Scope, however wide, is one of an access token or a device's key. It is never a server admin, whatever its roles
// say, and cannot make credentials of its own.
type Scope struct {
	Write     bool     `json:"write"`               // false: it only reads
	Databases []string `json:"databases,omitempty"` // the databases that it may enter; none: all that its user may enter
}

// Allows reports whether the scope lets a request into a database, "" for what belongs to none.
func (s *Scope) Allows(database string, write bool) bool {
	switch {
	case s == nil:
		return true
	case write && !s.Write:
		return false
	}
	return len(s.Databases) == 0 || database == "" || slices.Contains(s.Databases, database)
}
