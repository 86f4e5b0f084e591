package server

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// need is what a route asks of whoever calls it (spec §6.2).
type need int

const (
	nobody      need = iota // open to all
	allDBs                  // server admins, unless [chttpd] admin_only_all_dbs is false
	metrics                 // server admins and the role _metrics
	serverAdmin             // the role _admin
	member                  // who may read and write the database
	lister                  // member; of _users and _replicator server admins alone
	dbAdmin                 // a database's admins
	compacter               // as dbAdmin, with another text
)

const (
	notServerAdmin = "You are not a server admin."
	notDBAdmin     = "You are not a db or server admin."
	notMember      = "You are not allowed to access this db."
	notAuthorized  = "You are not authorized to access this db."
)

// authenticate finds out who calls, and refuses nobody where a valid user is required (spec §1.3).
func (s *Server) authenticate(r *request) error {
	who, err := s.auth.Authenticate(r.Request)
	if err != nil {
		s.auditRefusal(r, "", err)
		return err
	}
	if who.Method == "cookie" {
		if err := r.set.cors.protection.Check(r.Request); err != nil {
			return forbidden("Another site's page may not use your session: its origin is not in [cors] origins.")
		}
		if !r.set.cors.admits(r) {
			who = auth.Identity{}
		}
	}
	r.who = who
	if who.SetCookie != "" {
		r.w.Header().Add("Set-Cookie", who.SetCookie)
	}
	if who.Method != "" || !r.set.requireValidUser && !r.set.requireValidUserExceptUp {
		return nil
	}
	path := strings.Join(r.segments, "/")
	if r.Method == http.MethodPost && path == "_session" || path == "_up" && !(r.set.requireValidUser && !r.set.requireValidUserExceptUp) {
		return nil
	}
	return unauthorized("Authentication required.")
}

// authorize checks that the caller has what a route needs, and opens the database that it names.
func (s *Server) authorize(r *request, n need) error {
	admin := r.who.Admin()
	switch n {
	case nobody:
		return nil
	case allDBs:
		if admin || !r.set.adminOnlyAllDBs {
			return nil
		}
		return unauthorized(notServerAdmin)
	case metrics:
		if admin || r.who.HasRole("_metrics") {
			return nil
		}
		return unauthorized("You are not a server admin or read-only metrics user")
	case serverAdmin:
		if !admin {
			return unauthorized(notServerAdmin)
		}
	case lister:
		if name := r.segments[0]; (name == "_users" || name == "_replicator") && !admin {
			return unauthorized(notServerAdmin)
		}
	}
	if len(r.segments) == 0 || strings.HasPrefix(r.segments[0], "_") && !isSystemDatabase(r.segments[0]) ||
		len(r.segments) == 1 && r.Method == http.MethodPut {
		return nil
	}
	return s.openDatabase(r, n)
}

// openDatabase sets r.db and r.sec, and judges the caller by the database's _security.
func (s *Server) openDatabase(r *request, n need) error {
	db, err := s.store.DB(r.segments[0])
	if err != nil {
		return err
	}
	sec, err := s.security.of(db)
	if err != nil {
		return err
	}
	r.db, r.sec = db, sec
	switch {
	case !sec.isMember(&r.who) && r.ownsDocument():
	case !sec.isMember(&r.who):
		if r.who.Name == "" {
			return unauthorized(notAuthorized)
		}
		return forbidden(notMember)
	case n == compacter && !sec.isAdmin(&r.who):
		return unauthorized("You are not a server or db admin.")
	case n == dbAdmin:
		return r.needDBAdmin()
	}
	return nil
}

// ownsDocument reports whether a request reads or changes the caller's own user document, which he may although _users is closed to
// him. It is for those who signed in with a password or session: a name that a token or signature vouches for owns nothing here.
func (r *request) ownsDocument() bool {
	if !r.set.selfService || !r.who.Local || r.who.Method == "oauth" || len(r.segments) != 2 || r.segments[0] != usersDatabase || r.segments[1] != userPrefix+r.who.Name {
		return false
	}
	return r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodPut
}

// needDBAdmin refuses callers who are not admins of the database: for handlers of design documents.
func (r *request) needDBAdmin() error {
	switch {
	case r.sec.isAdmin(&r.who):
		return nil
	case r.who.Name == "":
		return unauthorized(notDBAdmin)
	}
	return forbidden(notDBAdmin)
}

// securityObject is a database's _security, parsed.
type securityObject struct {
	raw             []byte
	admins, members group
}

type group struct{ names, roles []string }

func (g group) has(who *auth.Identity) bool {
	return who.Name != "" && slices.Contains(g.names, who.Name) || slices.ContainsFunc(g.roles, who.HasRole)
}

func (sec *securityObject) isAdmin(who *auth.Identity) bool {
	return who.Admin() || sec.admins.has(who)
}

// isMember reports whether who may read and write documents: everyone, where no member is named.
func (sec *securityObject) isMember(who *auth.Identity) bool {
	return len(sec.members.names)+len(sec.members.roles) == 0 || sec.isAdmin(who) || sec.members.has(who)
}

// parseSecurity reads a _security object (spec §11); its errors are CouchDB's texts, as 400.
func parseSecurity(raw []byte) (*securityObject, error) {
	value, err := checkJSON(raw)
	if err != nil {
		return nil, err
	}
	if value[0] != '{' {
		return nil, errNotObject
	}
	sec := &securityObject{raw: value}
	members := firstMember(value, "members", "readers")
	if sec.admins, err = parseGroup(firstMember(value, "admins")); err != nil {
		return nil, err
	}
	if sec.members, err = parseGroup(members); err != nil {
		return nil, err
	}
	return sec, nil
}

// firstMember returns the first of the named members that an object has.
func firstMember(object jsontext.Value, names ...string) jsontext.Value {
	for _, name := range names {
		if v := objectMember(object, name); v != nil {
			return v
		}
	}
	return nil
}

func parseGroup(value jsontext.Value) (g group, err error) {
	if value == nil {
		return g, nil
	}
	if value[0] != '{' {
		return g, badRequest("admins or members must be a JSON list of strings")
	}
	if g.names, err = parseStrings(objectMember(value, "names"), "names must be a JSON list of strings"); err != nil {
		return g, err
	}
	g.roles, err = parseStrings(objectMember(value, "roles"), "roles must be a JSON list of strings")
	return g, err
}

// parseStrings reads an array of strings; nil is an empty one.
func parseStrings(value jsontext.Value, otherwise string) (list []string, err error) {
	if value == nil {
		return nil, nil
	}
	if value[0] != '[' {
		return nil, badRequest(otherwise)
	}
	err = elements(value, func(v jsontext.Value) error {
		s, ok := text(v)
		if !ok {
			return badRequest(otherwise)
		}
		list = append(list, s)
		return nil
	})
	return list, err
}

// securityCache keeps parsed _security objects beside the bytes that they were parsed from.
type securityCache struct {
	mu     sync.RWMutex
	parsed map[string]*securityObject // by database
}

// maxSecurityCache bounds the cache; it is emptied when full, since parsing is cheap.
const maxSecurityCache = 10_000

func (c *securityCache) of(db *store.DB) (*securityObject, error) {
	raw, err := db.Security()
	if err != nil {
		return nil, err
	}
	c.mu.RLock()
	sec := c.parsed[db.Name()]
	c.mu.RUnlock()
	if sec != nil && bytes.Equal(sec.raw, raw) {
		return sec, nil
	}
	if sec, err = parseSecurity(raw); err != nil {
		return nil, err
	}
	sec.raw = raw
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parsed == nil || len(c.parsed) >= maxSecurityCache {
		c.parsed = map[string]*securityObject{}
	}
	c.parsed[db.Name()] = sec
	return sec, nil
}
