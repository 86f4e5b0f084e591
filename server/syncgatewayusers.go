package server

import (
	"context"
	"errors"
	"net/http"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// Sync Gateway's users of a database are the documents in _users here, the same for every database: name, password, email, disabled, and
// admin_roles, which are the document's roles. There are no channels.

// gatewayGuest is Sync Gateway's name for nobody.
const gatewayGuest = "GUEST"

// gatewayUser is the body of a change. A nil member is not there, or null, and keeps what was.
type gatewayUser struct {
	name     string // "" when it is not there
	password *string
	email    *string
	disabled *bool
	roles    []string // nil for none
	hasRoles bool
}

// errNoChannels refuses a grant that would be without effect.
var errNoChannels = gatewayError(http.StatusBadRequest, "This server has no channels: who may read a database reads all of it. Give roles, and name them in _security.")

// readGatewayUser reads the body of a change.
func (s *Server) readGatewayUser(r *request) (u gatewayUser, err error) {
	object, err := s.gatewayObject(r)
	if err != nil {
		return u, err
	}
	if object == nil {
		return u, gatewayError(http.StatusBadRequest, `Invalid JSON: "the body is empty"`)
	}
	err = members(object, func(name string, value jsontext.Value) error {
		if string(value) == "null" {
			return nil
		}
		return u.set(name, value)
	})
	return u, err
}

// set takes one member. Those that Sync Gateway does not know either are passed over.
func (u *gatewayUser) set(name string, value jsontext.Value) error {
	s, isText := text(value)
	ok := true
	switch name {
	case "name":
		u.name, ok = s, isText
	case "password":
		u.password, ok = &s, isText
	case "email":
		u.email, ok = &s, isText
	case "disabled":
		disabled := string(value) == "true"
		u.disabled, ok = &disabled, disabled || string(value) == "false"
	case "admin_roles":
		var err error
		u.roles, err = parseStrings(value, "admin_roles")
		u.hasRoles, ok = true, err == nil
	case "admin_channels", "collection_access":
		if compact := strings.Join(strings.Fields(string(value)), ""); compact != "[]" && compact != "{}" {
			return errNoChannels
		}
	case "all_channels", "roles":
		return gatewayError(http.StatusBadRequest, name+" is read-only")
	case "jwt_issuer", "jwt_roles", "jwt_channels", "jwt_last_updated":
		return gatewayError(http.StatusBadRequest, "Can't change read-only properties")
	}
	if !ok {
		return gatewayError(http.StatusBadRequest, `Invalid JSON: "`+name+` has the wrong type"`)
	}
	return nil
}

// check refuses what cannot be stored. doing is what Sync Gateway says before its texts about passwords: "creating" or "updating".
func (u *gatewayUser) check(doing string) error {
	for _, role := range u.roles {
		if role == "" || strings.HasPrefix(role, "_") || len(role) > maxGatewayName || strings.ContainsAny(role, "/:,`\\") {
			return gatewayError(http.StatusBadRequest, "Invalid role name "+strconv.Quote(role))
		}
	}
	if u.password != nil && utf8.RuneCountInString(*u.password) < 3 {
		subject := "user"
		if doing == "updating" {
			subject = "user/role"
		}
		return gatewayError(http.StatusBadRequest, "Error "+doing+" "+subject+": Passwords must be at least three 3 characters")
	}
	if u.email != nil && *u.email != "" {
		if address, err := mail.ParseAddress(*u.email); err != nil || address.Address != *u.email {
			return gatewayError(http.StatusBadRequest, "Invalid email address")
		}
	}
	return nil
}

// maxGatewayName bounds a name, in bytes.
const maxGatewayName = 239

// checkGatewayName refuses names that Sync Gateway does not take, and those that no document in _users can have.
func checkGatewayName(name string) error {
	var reasons []string
	if len(name) > maxGatewayName {
		reasons = append(reasons, "length exceeds "+strconv.Itoa(maxGatewayName))
	}
	if !utf8.ValidString(name) {
		reasons = append(reasons, "must be valid UTF-8")
	}
	if !strings.ContainsFunc(name, func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }) {
		reasons = append(reasons, "must contain alphanumeric")
	}
	if strings.ContainsAny(name, "/:,`\\") {
		reasons = append(reasons, "cannot contain any of \"/:,`\\\"")
	}
	if strings.HasPrefix(name, "_") {
		reasons = append(reasons, "cannot begin with _")
	}
	if len(reasons) > 0 {
		return gatewayError(http.StatusBadRequest, "invalid name: "+strings.Join(reasons, ", "))
	}
	return nil
}

// enterUsers makes _users the request's database.
func (s *Server) enterUsers(r *request) error {
	db, err := s.store.DB(usersDatabase)
	if err != nil {
		return err
	}
	sec, err := s.security.of(db)
	r.db, r.sec = db, sec
	return err
}

// gatewayPutUser makes a user, or changes those members that the body has.
func (s *Server) gatewayPutUser(r *request) error {
	u, err := s.readGatewayUser(r)
	if err != nil {
		return err
	}
	name := r.args[0]
	switch {
	case name == gatewayGuest:
		return errGatewayGuest
	case u.name != "" && u.name != name:
		return gatewayError(http.StatusBadRequest, "Name mismatch (can't change name)")
	}
	made, err := s.storeGatewayUser(r, name, &u, false)
	if err != nil {
		return err
	}
	if made {
		return r.empty(http.StatusCreated)
	}
	return r.empty(http.StatusOK)
}

var errGatewayGuest = gatewayError(http.StatusMethodNotAllowed, "This server has no GUEST user.")

// gatewayPostUser makes a user.
func (s *Server) gatewayPostUser(r *request) error {
	u, err := s.readGatewayUser(r)
	switch {
	case err != nil:
		return err
	case u.name == "":
		return gatewayError(http.StatusBadRequest, "Missing name property")
	case u.name == gatewayGuest:
		return errGatewayGuest
	}
	if _, err := s.storeGatewayUser(r, u.name, &u, true); err != nil {
		return err
	}
	return r.empty(http.StatusCreated)
}

// storeGatewayUser writes a user document, as _users would take it from a server admin. fresh refuses a user who is there already.
func (s *Server) storeGatewayUser(r *request, name string, u *gatewayUser, fresh bool) (made bool, err error) {
	if err := s.enterUsers(r); err != nil {
		return false, err
	}
	const tries = 10
	for try := 1; ; try++ {
		doc, err := r.db.Doc(userPrefix + name)
		made = errors.Is(err, store.ErrDeleted) || errors.Is(err, store.ErrNotFound)
		if err != nil && !made {
			return false, err
		}
		if fresh && !made {
			return false, gatewayError(http.StatusConflict, "Already exists")
		}
		if made {
			doc = &store.Doc{}
		}
		in, err := u.document(name, doc, made)
		if err != nil {
			return false, err
		}
		if err = s.replaceUser(r, in, doc.Attachments); err == nil || try == tries || !errors.Is(err, store.ErrConflict) {
			return made, err
		}
	}
}

// replaceUser stores a user document that keeps attachments of the one before.
func (s *Server) replaceUser(r *request, doc *incoming, attachments []store.Attachment) error {
	if err := s.permit(r, doc); err != nil {
		return err
	}
	w, err := s.edit(r, doc, false, nil, nil)
	if err != nil {
		return err
	}
	w.Doc.Attachments = keepAttachments(attachments)
	_, err = s.commit(r, w)
	return err
}

// document is the user's document after the change. old is the one before, unless it is made.
func (u *gatewayUser) document(name string, old *store.Doc, made bool) (*incoming, error) {
	doing := "updating"
	in := &incoming{ID: userPrefix + name}
	if made {
		if err := checkGatewayName(name); err != nil {
			return nil, err
		}
		doing = "creating"
		in.Body = append(appendString([]byte(`{"type":"user","name":`), name), `,"roles":[]}`...)
	} else {
		in.Rev, in.Body = old.Rev, old.Body
	}
	if err := u.check(doing); err != nil {
		return nil, err
	}
	var err error
	set := func(member string, value []byte) {
		if err == nil {
			in.Body, err = withMember(in.Body, member, value)
		}
	}
	if u.password != nil {
		set("password", appendString(nil, *u.password))
	}
	if u.email != nil {
		set("email", appendString(nil, *u.email))
	}
	if u.disabled != nil {
		set("disabled", strconv.AppendBool(nil, *u.disabled))
	}
	if u.hasRoles {
		set("roles", appendStrings(nil, slices.Compact(slices.Sorted(slices.Values(u.roles)))))
	}
	return in, err
}

// gatewayGetUser shows a user as Sync Gateway does.
func (s *Server) gatewayGetUser(r *request) error {
	if err := s.enterUsers(r); err != nil {
		return err
	}
	body, err := appendGatewayUser(r.buf, r.db, r.args[0])
	if errors.Is(err, auth.ErrUnknownUser) {
		return gatewayError(http.StatusNotFound, "missing")
	}
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, body)
}

// appendGatewayUser renders a user document, so that what a client reads it can send back. It fails with auth.ErrUnknownUser.
func appendGatewayUser(dst []byte, db *store.DB, name string) ([]byte, error) {
	doc, err := db.Doc(userPrefix + name)
	if errors.Is(err, store.ErrDeleted) || errors.Is(err, store.ErrNotFound) {
		return dst, auth.ErrUnknownUser
	}
	if err != nil {
		return dst, err
	}
	user, err := parseUser(doc.Body)
	if err != nil {
		return dst, err
	}
	dst = appendString(append(dst, `{"name":`...), name)
	if email, ok := text(objectMember(doc.Body, "email")); ok && email != "" {
		dst = appendString(append(dst, `,"email":`...), email)
	}
	dst = strconv.AppendBool(append(dst, `,"disabled":`...), user.disabled)
	return append(appendStrings(append(dst, `,"admin_roles":`...), user.roles), '}'), nil
}

// gatewayDeleteUser removes a user.
func (s *Server) gatewayDeleteUser(r *request) error {
	if r.args[0] == gatewayGuest {
		return gatewayError(http.StatusMethodNotAllowed, "The GUEST user cannot be deleted. Only disabled via an update.")
	}
	if err := s.enterUsers(r); err != nil {
		return err
	}
	doc, err := r.db.Doc(userPrefix + r.args[0])
	if errors.Is(err, store.ErrDeleted) || errors.Is(err, store.ErrNotFound) {
		return gatewayError(http.StatusNotFound, "missing")
	}
	if err != nil {
		return err
	}
	if err := s.replaceUser(r, &incoming{ID: doc.ID, Rev: doc.Rev, Deleted: true, Body: []byte("{}")}, nil); err != nil {
		return err
	}
	return r.empty(http.StatusOK)
}

// gatewayUsers lists the users' names, or with name_only=false the users.
func (s *Server) gatewayUsers(r *request) error {
	names := r.param("name_only") != "false"
	limit := 0
	if r.hasParam("limit") {
		n, err := strconv.Atoi(r.param("limit"))
		switch {
		case names:
			return gatewayError(http.StatusBadRequest, "Use of limit only supported when name_only=false")
		case err != nil || n < 1:
			return gatewayError(http.StatusBadRequest, "limit must be a number above 0")
		}
		limit = n
	}
	if err := s.enterUsers(r); err != nil {
		return err
	}
	st := newStream(r)
	comma := "["
	err := eachUser(r.Context(), r.db, limit, func(name string) (err error) {
		row := appendString([]byte(comma), name)
		if !names {
			row, err = appendGatewayUser([]byte(comma), r.db, name)
		}
		if errors.Is(err, auth.ErrUnknownUser) {
			return nil // gone since the page was read
		}
		if err != nil {
			return err
		}
		st.buf, comma = append(st.buf, row...), ","
		return st.spill()
	})
	if err != nil {
		return stopped(err)
	}
	st.buf = append(st.buf, strings.TrimPrefix(comma, ",")+"]\n"...)
	return stopped(st.write())
}

// eachUser calls fn with the names of users in order, at most limit of them (0: all), page by page. It ends with the context's error.
func eachUser(ctx context.Context, db *store.DB, limit int, fn func(name string) error) error {
	last, done := userPrefix, 0
	for {
		var names []string
		err := db.Docs(store.Range{From: last, ExclusiveFrom: true, To: userPrefix + "\xff", HasTo: true}, func(row *store.Row) bool {
			last = strings.Clone(row.ID)
			names = append(names, strings.TrimPrefix(last, userPrefix))
			return len(names) < namesPage && (limit == 0 || done+len(names) < limit)
		})
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := fn(name); err != nil {
				return err
			}
		}
		done += len(names)
		if len(names) < namesPage || done == limit {
			return ctx.Err()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
