package server

import (
	"bytes"
	"cmp"
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
	unscoped                // open to all but access tokens and device keys
	signedIn                // who has signed in, but not with an access token or a device key
	allDBs                  // server admins, unless [chttpd] admin_only_all_dbs is false
	metrics                 // server admins and the role _metrics
	serverAdmin             // the role _admin
	checked                 // server admins, and whoever has a vault
	member                  // who may read and write the database
	lister                  // member; of _users and _replicator server admins alone
	dbAdmin                 // a database's admins
	compacter               // as dbAdmin, with another text
	owner                   // server admins, and the owner of the vault
	maker                   // server admins, and who may own a database of that name
)

const (
	notServerAdmin = "You are not a server admin."
	notDBAdmin     = "You are not a db or server admin."
	notMember      = "You are not allowed to access this db."
	notWriter      = "This vault is shared with you for reading only."
	notAuthorized  = "You are not authorized to access this db."
)

// authenticate finds out who calls, and refuses nobody where a valid user is required (spec §1.3).
func (s *Server) authenticate(r *request) error {
	who, err := s.auth.Authenticate(r.Request)
	secret := r.takeOneTime()
	if err != nil {
		s.auditRefusal(r, "", err)
		return err
	}
	r.oneTime = secret != "" && r.set.sessions != nil && who.Credential == sessionCredential+r.set.sessions.Lookup(secret)
	if who.Method == "cookie" && !r.oneTime {
		if err := r.set.cors.protection.Check(r.Request); err != nil {
			return forbidden("Another site's page may not use your session: its origin is not in [cors] origins.")
		}
		if !r.set.cors.admits(r) {
			who = auth.Identity{}
		}
	}
	r.who = who
	if who.SetCookie != "" {
		r.w.Header().Add("Set-Cookie", r.gatewaySetCookie(who.SetCookie))
	}
	if who.Method != "" || !r.set.requireValidUser && !r.set.requireValidUserExceptUp {
		return nil
	}
	path := strings.Join(r.segments, "/")
	if r.signsIn() || path == "_up" && !(r.set.requireValidUser && !r.set.requireValidUserExceptUp) {
		return nil
	}
	return unauthorized("Authentication required.")
}

// signsIn reports whether a request is a step of signing in, which those must be able to do who have not.
func (r *request) signsIn() bool {
	switch {
	case len(r.segments) > 0 && r.segments[0] == "_oidc":
		return true
	case len(r.segments) == 1:
		return r.Method == http.MethodPost && r.segments[0] == "_session"
	case len(r.segments) == 2 && r.set.syncGateway && !isHidden(r.segments[0]):
		return r.Method == http.MethodPost && r.segments[1] == "_session" || strings.HasPrefix(r.segments[1], "_oidc")
	}
	return false
}

// takeOneTime takes the one-time session out of a request's query, so that nothing which tells of the request can tell it: no log, no error, no function of a
// design document, no tag of an answer.
func (r *request) takeOneTime() (secret string) {
	if !r.hasParam(auth.OneTimeParameter) {
		return ""
	}
	if strings.Contains(r.URL.RawQuery, auth.OneTimeParameter) {
		secret = r.param(auth.OneTimeParameter) // auth.Sessions looks at no other spelling
	}
	delete(r.params, auth.OneTimeParameter)
	r.URL.RawQuery = r.params.Encode()
	r.RequestURI = r.URL.RequestURI()
	return secret
}

// authorize checks that the caller has what a route needs, and opens the database that it names.
func (s *Server) authorize(r *request, act action) error {
	if err := r.inScope(act); err != nil {
		return err
	}
	admin := r.who.Admin()
	switch act.need {
	case nobody, unscoped:
		return nil
	case signedIn:
		if r.who.Anonymous() {
			return unauthorized("Authentication required.")
		}
	case allDBs:
		if admin || !r.set.adminOnlyAllDBs {
			return nil
		}
		return r.needsAdmin(notServerAdmin)
	case metrics:
		if admin || r.who.HasRole("_metrics") {
			return nil
		}
		return r.needsAdmin("You are not a server admin or read-only metrics user")
	case serverAdmin:
		if !admin {
			return r.needsAdmin(notServerAdmin)
		}
	case checked:
		if admin {
			return nil
		}
		if may, err := s.isCheckedUser(r); err != nil || !may {
			return cmp.Or(err, r.needsAdmin(notServerAdmin))
		}
	case owner, maker:
		may := admin
		var err error
		switch {
		case admin:
		case act.need == maker:
			may, err = s.mayMake(r, r.segments[0])
		default:
			may, err = s.ownsDatabase(r, r.segments[0])
		}
		if err != nil {
			return err
		}
		if !may {
			return r.needsAdmin(notServerAdmin)
		}
	case lister:
		if name := r.segments[0]; (name == "_users" || name == "_replicator") && !admin {
			return unauthorized(notServerAdmin)
		}
	}
	if !r.namesDatabase() || len(r.segments) == 1 && r.Method == http.MethodPut {
		return nil
	}
	return s.openDatabase(r, act)
}

// needsAdmin refuses who is no server admin. To sign in again would not help one who is, but came with an access token.
func (r *request) needsAdmin(reason string) error {
	if r.who.Scope != nil {
		return forbidden(scopedAdmin)
	}
	return unauthorized(reason)
}

// namesDatabase reports whether a request's path begins with what can be the name of a database.
func (r *request) namesDatabase() bool {
	return len(r.segments) > 0 && r.segments[0] != "favicon.ico" && !isHidden(r.segments[0])
}

const (
	scopedCredential = "An access token or device key cannot be used here. Sign in with a session or a password."
	scopedAdmin      = "An access token or device key is never a server admin's."
	scopedSystem     = "An access token or device key does not open this database."
	scopedElsewhere  = "This access token or device key is for other databases."
	scopedReader     = "This access token or device key only reads."
	scopedDoor       = "An access token or device key does not change who may come in. Sign in with a session or a password."
)

// inScope refuses what the caller's Scope does not cover; who has none passes. What it covers is then judged as it is for the user.
func (r *request) inScope(act action) error {
	scope := r.who.Scope
	if scope == nil {
		return nil
	}
	database := r.namesDatabase()
	switch act.need {
	case unscoped, signedIn:
		return forbidden(scopedCredential)
	case checked:
		return nil // what is shown is the same to all, and nothing is changed
	case serverAdmin:
		return r.needsAdmin(notServerAdmin)
	case nobody:
		if !database {
			return nil // as for those who bring nothing
		}
	}
	switch {
	case !database && len(scope.Databases) > 0:
		return forbidden(scopedElsewhere) // what concerns all databases
	case !database:
		return nil
	case isSystemDatabase(r.segments[0]):
		return forbidden(scopedSystem)
	case !scope.Allows(r.segments[0], false):
		return forbidden(scopedElsewhere)
	case act.writes && !scope.Write && !r.isCheckpoint():
		return forbidden(scopedReader)
	case act.writes && r.isDoor():
		return forbidden(scopedDoor)
	}
	return nil
}

// isDoor reports whether a request is about who may come into a database. A credential that is lost must not let others in who stay when it is revoked.
func (r *request) isDoor() bool {
	return len(r.segments) > 1 && (r.segments[1] == "_security" || r.segments[1] == "_vault")
}

// isCheckpoint reports whether a request writes a replication's checkpoint, as those who only read do too. LiveSync's own _local documents are none: all
// its devices rely on what they say. How large it may be is for mayCheckpoint to say, when it has been read.
func (r *request) isCheckpoint() bool {
	return r.Method == http.MethodPut && len(r.segments) == 3 && r.segments[1] == "_local" &&
		!strings.HasPrefix(r.segments[2], "obsidian_livesync") && !strings.HasPrefix(r.segments[2], "obsydian_livesync")
}

// openDatabase sets r.db and r.sec, and judges the caller by the database's _security.
func (s *Server) openDatabase(r *request, act action) error {
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
	case act.writes && !sec.mayWrite(&r.who) && !r.isCheckpoint():
		return forbidden(notWriter)
	case act.need == compacter && !sec.isAdmin(&r.who):
		return unauthorized("You are not a server or db admin.")
	case act.need == dbAdmin:
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

// securityObject is a database's _security, parsed, and what its owner and shares say.
type securityObject struct {
	raw             []byte
	properties      []byte // nil for none
	vault           *vault // nil for a database that has no owner
	admins, members group
}

type group struct{ names, roles []string }

func (g group) has(who *auth.Identity) bool {
	return who.Name != "" && slices.Contains(g.names, who.Name) || slices.ContainsFunc(g.roles, who.HasRole)
}

// isAdmin reports whether who administers the database. A server admin's access token does so too, where its Scope lets it in.
func (sec *securityObject) isAdmin(who *auth.Identity) bool {
	return who.HasRole("_admin") || sec.vault.ownedBy(who) || sec.admins.has(who)
}

// isMember reports whether who may read documents: everyone, where no member is named and there is no owner.
func (sec *securityObject) isMember(who *auth.Identity) bool {
	return sec.mayWrite(who) || sec.vault.shared(who.Name) != ""
}

// mayWrite reports whether who may write documents too.
func (sec *securityObject) mayWrite(who *auth.Identity) bool {
	open := len(sec.members.names)+len(sec.members.roles) == 0 && sec.vault == nil
	return open || sec.isAdmin(who) || sec.members.has(who) || sec.vault.shared(who.Name) == accessWrite
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
	properties, err := db.Properties()
	if err != nil {
		return nil, err
	}
	c.mu.RLock()
	sec := c.parsed[db.Name()]
	c.mu.RUnlock()
	if sec != nil && bytes.Equal(sec.raw, raw) && bytes.Equal(sec.properties, properties) {
		return sec, nil
	}
	if sec, err = parseSecurity(raw); err != nil {
		return nil, err
	}
	if sec.vault, err = parseVault(properties); err != nil {
		return nil, err
	}
	sec.properties = properties
	sec.raw = raw
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parsed == nil || len(c.parsed) >= maxSecurityCache {
		c.parsed = map[string]*securityObject{}
	}
	c.parsed[db.Name()] = sec
	return sec, nil
}
