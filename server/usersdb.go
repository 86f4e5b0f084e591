package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/password"
	"github.com/parlordb/parlor/store"
)

// authDesign is the design document of every _users. The server applies these rules itself (userRules); the text is there for
// those who look for it, as in CouchDB.
const authDesign = `{"language":"javascript","validate_doc_update":"function (newDoc, oldDoc, userCtx, secObj) {\n  // The server applies the rules of this database by itself.\n}\n"}`

// furnish gives a new system database what it must hold.
func (s *Server) furnish(ctx context.Context, name string) error {
	if name != usersDatabase {
		return nil
	}
	return FurnishUsers(ctx, s.store)
}

// FurnishUsers puts the design document into _users, where it is missing.
func FurnishUsers(ctx context.Context, st *store.Store) error {
	db, err := st.DB(usersDatabase)
	if err != nil {
		return err
	}
	_, err = db.Put(ctx, store.Write{Doc: store.Doc{ID: "_design/_auth", Body: []byte(authDesign)}}, nil)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// hashMembers are the members that the server writes itself when a document brings a password.
var hashMembers = []string{"argon2_memory", "argon2_parallelism", "argon2_time", "derived_key", "iterations", "password", "password_scheme", "password_sha", "preserve_salt", "pbkdf2_prf", "salt"}

// prepareUser is done to a document before it is written to _users (spec §9.4): others' documents are hidden, and a password is
// replaced by its hash. Refusals of the document are of type *Error; other errors mean that no password can be hashed now, or for this request.
func (s *Server) prepareUser(r *request, doc *incoming) error {
	owner, isUser := strings.CutPrefix(doc.ID, userPrefix)
	if !r.sec.isAdmin(&r.who) && r.who.Name != "" && (!isUser || owner != r.who.Name) {
		return errMissing
	}
	if doc.Deleted {
		return nil
	}
	value := objectMember(doc.Body, "password")
	if value == nil || string(value) == "null" {
		return nil
	}
	pass, ok := text(value)
	if !ok {
		return forbidden("Password value of '" + string(value) + "' is invalid.")
	}
	if err := r.set.passwordRules.Check(pass); err != nil {
		return badRequest(err.Error())
	}
	salt := ""
	switch preserve := objectMember(doc.Body, "preserve_salt"); string(preserve) {
	case "true":
		salt, _ = text(objectMember(doc.Body, "salt"))
	case "", "false":
	default:
		return badRequest("preserve_salt must be true or false.")
	}
	h, err := s.passwords.Hash(r.ofClient(), pass, salt)
	if err != nil {
		if _, busy := errors.AsType[*auth.Refusal](err); busy || r.Context().Err() != nil {
			return err
		}
		s.log.Error("a password could not be hashed", "error", err)
		return forbidden("Server cannot hash passwords at this time.")
	}
	doc.Body, err = withHash(doc.Body, h)
	return err
}

// withHash returns a user document's body with a hash in front, in CouchDB's order, and without what the hash replaces.
func withHash(body []byte, h password.Hash) ([]byte, error) {
	field := func(dst []byte, name, value string) []byte {
		dst = append(appendString(appendComma(dst), name), ':')
		return appendString(dst, value)
	}
	number := func(dst []byte, name string, value int) []byte {
		dst = append(appendString(appendComma(dst), name), ':')
		return strconv.AppendInt(dst, int64(value), 10)
	}
	out := field([]byte{'{'}, "password_scheme", string(h.Scheme))
	switch h.Scheme {
	case password.Simple:
		out = field(field(out, "salt", h.Salt), "password_sha", h.Key)
	case password.Argon2id:
		out = number(field(out, "salt", h.Salt), "argon2_memory", h.Argon2.Memory)
		out = number(number(out, "argon2_time", h.Argon2.Time), "argon2_parallelism", h.Argon2.Parallelism)
		out = field(out, "derived_key", h.Key)
	default:
		out = number(field(field(out, "pbkdf2_prf", h.PRF), "salt", h.Salt), "iterations", h.Iterations)
		out = field(out, "derived_key", h.Key)
	}
	err := members(body, func(name string, value jsontext.Value) error {
		if !slices.Contains(hashMembers, name) {
			out = append(appendString(append(out, ','), name), ':')
			out = append(out, value...)
		}
		return nil
	})
	return append(out, '}'), err
}

// userView is what the caller may see of a document in _users (spec §9.3): all of his own, of others' the public fields.
func (s *Server) userView(r *request, doc *store.Doc) (*store.Doc, error) {
	if r.sec.isAdmin(&r.who) {
		return doc, nil
	}
	if strings.HasPrefix(doc.ID, "_design/") {
		return nil, forbidden("Only administrators can view design docs in the users database.")
	}
	if r.who.Name != "" && doc.ID == userPrefix+r.who.Name {
		return doc, nil
	}
	public := []byte{'{'}
	err := members(doc.Body, func(name string, value jsontext.Value) error {
		if slices.Contains(r.set.publicFields, name) {
			public = append(appendString(appendComma(public), name), ':')
			public = append(public, value...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(public) == 1 {
		return nil, errMissing
	}
	seen := *doc
	seen.Body, seen.Attachments = append(public, '}'), nil
	return &seen, nil
}

// userRules are the rules of _users (spec §9.5), with CouchDB's texts in CouchDB's order.
func (s *Server) userRules(r *request) store.Check {
	admin, who := r.sec.isAdmin(&r.who), r.who.Name
	return func(_ context.Context, old, doc *store.Doc) error {
		if strings.HasPrefix(doc.ID, "_design/") {
			return nil // needs a database admin already
		}
		var before *userFields
		if old != nil && !old.Deleted {
			var err error
			if before, err = parseUserFields(old.Body); err != nil {
				return err
			}
		}
		if doc.Deleted {
			if admin || before != nil && who != "" && before.name == who {
				return nil
			}
			return forbidden("Only admins may delete other user docs.")
		}
		after, err := parseUserFields(doc.Body)
		if err != nil {
			return err
		}
		if reason := after.wrong(doc.ID, before); reason != "" {
			return forbidden(reason)
		}
		if !admin {
			present, err := presentFields(r.db, doc.ID)
			if err != nil {
				return err
			}
			if reason := cmp.Or(after.overreach(who, before), after.overreach(who, present)); reason != "" {
				return forbidden(reason)
			}
		}
		if reason := after.reserved(); reason != "" {
			return forbidden(reason)
		}
		if after.disabled == "true" && s.users.ServerAdmin(after.name) {
			// It would change nothing, and whoever wrote it would believe that it had.
			return forbidden("A server admin cannot be disabled here: take the name out of [admins].")
		}
		return nil
	}
}

// presentFields are those of a user document as it stands, nil for none. A replicated revision need not descend from it, and may still win.
func presentFields(db *store.DB, id string) (*userFields, error) {
	doc, err := db.Doc(id)
	if errors.Is(err, store.ErrDeleted) || errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseUserFields(doc.Body)
}

// userFields are the members of a user document that the rules concern.
type userFields struct {
	kind, name    string
	hasName       bool
	rolesExist    bool
	rolesArray    bool
	rolesStrings  bool
	roles         []string
	sha, salt     bool
	scheme        string
	iterations    bool // a number
	cost          float64
	derivedKey    bool   // a string
	totp          string // what is wrong with the second factor, "" for nothing
	disabled      string // the member, as it stands
	serverWritten []string
}

// serverWritten are members that an owner may not change (they are not CouchDB's).
var serverWritten = []string{"disabled", "identities", "oauth"}

func parseUserFields(body []byte) (*userFields, error) {
	u := &userFields{rolesStrings: true, serverWritten: make([]string, len(serverWritten))}
	err := members(body, func(name string, value jsontext.Value) error {
		s, isText := text(value)
		truthy := isTruthy(value)
		switch name {
		case "type":
			u.kind = s
		case "name":
			u.name, u.hasName = s, truthy
		case "roles":
			u.rolesExist, u.rolesArray = truthy, value[0] == '['
			if u.rolesArray {
				var err error
				u.roles, err = parseStrings(value, "")
				u.rolesStrings = err == nil
			}
		case "password_sha":
			u.sha = truthy
		case "salt":
			u.salt = truthy
		case "password_scheme":
			u.scheme = s
			if truthy && !isText {
				u.scheme = string(value)
			}
		case "iterations":
			u.iterations = value.Kind() == '0'
			u.cost, _ = strconv.ParseFloat(string(value), 64)
		case "derived_key":
			u.derivedKey = isText
		case "totp":
			if _, err := parseTOTP(value); err != nil {
				u.totp = err.Error()
			}
		case "disabled":
			u.disabled = string(value)
		}
		if i := slices.Index(serverWritten, name); i >= 0 {
			u.serverWritten[i] = string(value)
		}
		return nil
	})
	return u, err
}

// isTruthy is JavaScript's idea of a true value.
func isTruthy(value jsontext.Value) bool {
	switch string(value) {
	case "null", "false", `""`, "0", "-0", "0.0":
		return false
	}
	return true
}

// wrong names what is malformed, in the order of CouchDB's validator; "" for nothing.
func (u *userFields) wrong(id string, before *userFields) string {
	switch {
	case u.kind != "user":
		return "doc.type must be user"
	case !u.hasName:
		return "doc.name is required"
	case !u.rolesExist:
		return "doc.roles must exist"
	case !u.rolesArray:
		return "doc.roles must be an array"
	case !u.rolesStrings:
		return "doc.roles can only contain strings"
	case id != userPrefix+u.name:
		return "Doc ID must be of the form org.couchdb.user:name"
	case before != nil && before.name != u.name:
		return "Usernames can not be changed."
	case u.sha && !u.salt:
		return "Users with password_sha must have a salt.See /_utils/script/couch.js for example code."
	case u.scheme != "" && u.scheme != "simple" && u.scheme != "pbkdf2" && u.scheme != "simple+pbkdf2" && u.scheme != "argon2id":
		return "Password scheme `" + u.scheme + "` not supported."
	case u.scheme == "pbkdf2" && !u.iterations:
		return "iterations must be a number."
	case u.scheme == "pbkdf2" && !u.derivedKey:
		return "derived_key must be a string."
	case u.totp != "" && (before == nil || before.totp == ""):
		return "doc." + u.totp
	case !slices.Contains([]string{"", "true", "false", "null"}, u.disabled):
		return "doc.disabled must be true or false"
	}
	return ""
}

// maxOwnIterations bounds what users may ask of the server at each of their sign-ins, when they bring a hash of their own.
const maxOwnIterations = 10_000_000

// overreach names what who, no admin, may not do; "" for nothing.
func (u *userFields) overreach(who string, before *userFields) string {
	if u.cost > maxOwnIterations {
		return "Iteration count is too high for this server"
	}
	if before == nil {
		if len(u.roles) > 0 {
			return "Only _admin may set roles"
		}
		if slices.ContainsFunc(u.serverWritten, func(v string) bool { return v != "" }) {
			return "Only _admin may set " + strings.Join(serverWritten, ", ")
		}
		return ""
	}
	if who != u.name {
		return "You may only update your own user document."
	}
	was, is := slices.Sorted(slices.Values(before.roles)), slices.Sorted(slices.Values(u.roles))
	if !slices.Equal(was, is) {
		return "Only _admin may edit roles"
	}
	if !slices.Equal(before.serverWritten, u.serverWritten) {
		return "Only _admin may edit " + strings.Join(serverWritten, ", ")
	}
	return ""
}

// reserved names what not even an admin may do; "" for nothing.
func (u *userFields) reserved() string {
	for _, role := range u.roles {
		if strings.HasPrefix(role, "_") && role != "_metrics" {
			return "No system roles (starting with underscore) in users db."
		}
	}
	switch {
	case strings.HasPrefix(u.name, "_"):
		return "Username may not start with underscore."
	case strings.Contains(u.name, ":"):
		return "Character `:` is not allowed in usernames."
	}
	return ""
}
