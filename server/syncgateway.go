package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// With [parlor] sync_gateway_api the paths by which clients of Couchbase Sync Gateway sign in are there too, with its JSON, statuses and
// texts. A database has no users of its own here: a session is the server's, only its cookie is sent to one database alone.
// docs/sync-gateway.md says what differs.

// SyncGatewayCookie is the name of Sync Gateway's session cookie: with [parlor] sync_gateway_api the Alias of auth.Sessions must be the same.
const SyncGatewayCookie = "SyncGatewaySession"

// gatewayRoutes are the paths below /{db} that Sync Gateway has and CouchDB has not.
func gatewayRoutes() []endpoint {
	return []endpoint{
		{"_session", nobody, "GET,HEAD,POST,DELETE",
			on{"GET": (*Server).gatewayGetSession, "POST": (*Server).gatewayPostSession, "DELETE": (*Server).gatewayDeleteSession},
			map[string]need{"POST": unscoped}},
		{"_session/*", nobody, "GET,HEAD,DELETE",
			on{"GET": gatewayAdmin((*Server).gatewayLookUpSession), "DELETE": gatewayAdmin((*Server).gatewayEndSession)}, nil},
		{"_oidc", nobody, "GET", on{"GET": (*Server).gatewayLogin}, nil},
		{"_oidc_challenge", nobody, "GET", on{"GET": (*Server).gatewayChallenge}, nil},
		{"_oidc_callback", nobody, "GET", on{"GET": (*Server).gatewayCallback}, nil},
		{"_oidc_refresh", nobody, "GET,POST", on{"GET": (*Server).gatewayRefresh, "POST": (*Server).gatewayRefresh}, nil},
		{"_user", nobody, "GET,HEAD,POST", on{"GET": gatewayAdmin((*Server).gatewayUsers), "POST": gatewayAdmin((*Server).gatewayPostUser)}, nil},
		{"_user/*", nobody, "GET,HEAD,PUT,DELETE",
			on{"GET": gatewayAdmin((*Server).gatewayGetUser), "PUT": gatewayAdmin((*Server).gatewayPutUser), "DELETE": gatewayAdmin((*Server).gatewayDeleteUser)}, nil},
		{"_user/*/_session", nobody, "DELETE", on{"DELETE": gatewayAdmin((*Server).gatewayEndUserSessions)}, nil},
		{"_user/*/_session/*", nobody, "DELETE", on{"DELETE": gatewayAdmin((*Server).gatewayEndUserSession)}, nil},
	}
}

// gatewayError is an error with Sync Gateway's label for its status.
func gatewayError(status int, reason string) *Error {
	kind := http.StatusText(status)
	switch status {
	case http.StatusNotFound:
		kind = "not_found"
	case http.StatusConflict:
		kind = "conflict"
	}
	return &Error{Status: status, Kind: kind, Reason: reason}
}

// gatewayAdmin is a handler for server admins. Users learn of its path no more than at Sync Gateway's public port.
func gatewayAdmin(handle handler) handler {
	return func(s *Server, r *request) error {
		switch {
		case r.who.Admin():
		case r.who.Scope != nil:
			return forbidden(scopedAdmin)
		case r.who.Anonymous():
			return gatewayError(http.StatusUnauthorized, "Login required")
		default:
			return gatewayError(http.StatusNotFound, "unknown URL")
		}
		if err := s.gatewayDatabase(r); err != nil {
			return err
		}
		return handle(s, r)
	}
}

// gatewayDatabase refuses a database that is not there, of which only admins learn.
func (s *Server) gatewayDatabase(r *request) error {
	_, err := s.store.DB(r.segments[0])
	switch {
	case !errors.Is(err, store.ErrNoDatabase) || r.who.Admin():
		return err
	case r.who.Anonymous():
		return gatewayError(http.StatusUnauthorized, "Login required")
	}
	return gatewayError(http.StatusUnauthorized, "Invalid login")
}

// gatewayPath is the path that the cookie of a session is for: the first segment of the request's, as it was sent.
func (r *request) gatewayPath() string {
	segment, _, _ := strings.Cut(strings.TrimLeft(r.URL.EscapedPath(), "/"), "/")
	if strings.ContainsAny(segment, ";,") {
		return "/"
	}
	return "/" + segment
}

// gatewaySetCookie limits a Set-Cookie header of Sync Gateway's cookie to the database of the request; other cookies stay as they are.
func (r *request) gatewaySetCookie(header string) string {
	if !strings.HasPrefix(header, SyncGatewayCookie+"=") {
		return header
	}
	return strings.Replace(header, "; Path=/;", "; Path="+r.gatewayPath()+";", 1)
}

// loggedPath is the request's path for the log, without the session that administrators' programs name in it.
func (r *request) loggedPath() string {
	path := r.URL.Path
	if i := strings.Index(path, "/_session/"); i >= 0 {
		return path[:i+len("/_session/")] + "…"
	}
	return path
}

// gatewayGetSession tells the caller who he is.
func (s *Server) gatewayGetSession(r *request) error {
	if err := s.gatewayDatabase(r); err != nil {
		return err
	}
	return r.send(http.StatusOK, appendGatewaySession(r.buf, r.who.Name))
}

// appendGatewaySession is what Sync Gateway says of a session. Everyone has the public channel "!" there; there are no others here.
func appendGatewaySession(dst []byte, name string) []byte {
	dst = append(dst, `{"ok":true,"userCtx":{"name":`...)
	if name == "" {
		dst = append(dst, `null,"channels":null`...)
	} else {
		dst = append(appendString(dst, name), `,"channels":{"!":1}`...)
	}
	return append(dst, `},"authentication_handlers":["default","cookie"]}`...)
}

// gatewayForm is the body of POST /{db}/_session.
type gatewayForm struct {
	name, password, token string
	hasPassword           bool
	ttl                   jsontext.Value // nil when it is not there
}

// gatewayForm reads the body, whatever Content-Type says, but that it is not JSON. empty: there is none.
func (s *Server) gatewayForm(r *request) (form gatewayForm, empty bool, err error) {
	if kind := mediaType(r.Header.Get("Content-Type")); kind != "" && kind != "application/json" {
		return form, false, gatewayError(http.StatusBadRequest, "Invalid content type "+kind)
	}
	object, err := s.gatewayObject(r)
	if err != nil || object == nil {
		return form, object == nil, err
	}
	err = members(object, func(name string, value jsontext.Value) error {
		s, isText := text(value)
		switch name {
		case "name":
			form.name = s
		case "password":
			form.password, form.hasPassword = s, true
		case "token":
			form.token = s
		case "ttl":
			form.ttl = value
			return nil
		default:
			return nil
		}
		if !isText {
			return gatewayError(http.StatusBadRequest, "Bad JSON: "+name+" is no string")
		}
		return nil
	})
	return form, false, err
}

// gatewayObject reads a small body as a JSON object; nil for an empty one.
func (s *Server) gatewayObject(r *request) (jsontext.Value, error) {
	data, release, err := s.body(r, maxLogin)
	if err != nil {
		return nil, err
	}
	defer release() // too small to have a share
	if len(data) == 0 {
		return nil, nil
	}
	object, err := checkJSON(data)
	if err != nil {
		return nil, gatewayError(http.StatusBadRequest, "Bad JSON: the body cannot be read")
	}
	if object[0] != '{' {
		return nil, gatewayError(http.StatusBadRequest, "Bad JSON: the body is no object")
	}
	return object, nil
}

// gatewayPostSession signs in: with a name and a password, or with what the request carries besides. Server admins also make sessions for others
// with it, by a name alone. Unlike Sync Gateway's, a wrong password is not passed over in favour of the request's own credentials.
func (s *Server) gatewayPostSession(r *request) error {
	r.private()
	if err := r.refuseOtherSites(); err != nil {
		return gatewayError(http.StatusBadRequest, "No CORS")
	}
	if err := s.gatewayDatabase(r); err != nil {
		return err
	}
	form, empty, err := s.gatewayForm(r)
	if err != nil {
		return err
	}
	var n auth.NewSession
	var present holder // of the request's own credential
	switch {
	case r.who.Admin() && form.name != "" && !form.hasPassword, r.who.Admin() && form.ttl != nil:
		return s.gatewayMakeSession(r, &form)
	case form.name != "":
		n, err = s.gatewaySignIn(r, &form)
	case !r.who.Anonymous():
		n, present, err = s.gatewaySession(r)
	case empty:
		err = gatewayError(http.StatusBadRequest, "Bad JSON: the body is empty")
	default:
		err = gatewayError(http.StatusUnauthorized, "Invalid login")
	}
	if err != nil {
		return err
	}
	n.OneTime = r.isTrue("one_time")
	if r.who.Method == "cookie" && form.name == "" && !n.OneTime {
		// Who comes with a session has one. A second would outlive the first.
		return r.send(http.StatusOK, appendGatewaySession(nil, r.who.Name))
	}
	secret, err := s.gatewayCreate(r, n, present)
	if err != nil {
		return err
	}
	body := appendGatewaySession(nil, n.Who.Name)
	if n.OneTime {
		body = append(appendString(append(body[:len(body)-1], `,"one_time_session_id":`...), secret), '}')
	}
	return r.send(http.StatusOK, body)
}

// gatewayCreate makes a session and sets its cookie, but for one that serves once.
func (s *Server) gatewayCreate(r *request, n auth.NewSession, present holder) (secret string, err error) {
	secret, made, err := s.createSession(r, n, present)
	if err != nil {
		return "", err
	}
	if !n.OneTime {
		cookie := r.set.sessions.Cookie(SyncGatewayCookie, secret, &made, r.publicScheme() == "https")
		r.w.Header().Set("Set-Cookie", r.gatewaySetCookie(cookie))
	}
	return secret, nil
}

// gatewaySignIn is a session for the name and password of a body.
func (s *Server) gatewaySignIn(r *request, form *gatewayForm) (n auth.NewSession, err error) {
	user, err := s.verifyLogin(r, form.name, form.password, form.token)
	if err == nil {
		return auth.NewSession{Who: auth.Identity{Name: user.Name, Roles: user.Roles, Method: "default", Local: true}, User: user}, nil
	}
	refused, _ := errors.AsType[*auth.Refusal](err)
	if refused != nil && refused.Status == http.StatusUnauthorized {
		err = gatewayError(http.StatusUnauthorized, "Invalid login")
	}
	if refused != nil && refused.Status == http.StatusForbidden {
		if user, _ := s.users.User(r.Context(), form.name); user != nil && user.Disabled {
			err = gatewayError(http.StatusBadRequest, "User is disabled")
		}
	}
	return n, err
}

// gatewaySession is a session for who the request is from already, and what must hold for it.
func (s *Server) gatewaySession(r *request) (n auth.NewSession, present holder, err error) {
	// A session outlives the word of a proxy, and a signature that was good for one request.
	if m := r.who.Method; m != "cookie" && m != "jwt" && m != "default" {
		return n, nil, gatewayError(http.StatusUnauthorized, "Invalid login")
	}
	held := auth.Session{Method: r.who.Method}
	if id, ok := strings.CutPrefix(r.who.Credential, sessionCredential); ok && r.who.Method == "cookie" {
		if held, err = r.set.sessions.Get(r.Context(), id); errors.Is(err, auth.ErrNoRecord) || held.OneTime {
			// It served once, and has.
			err = gatewayError(http.StatusUnauthorized, "Session Invalid")
		}
	}
	if err == nil {
		present, err = s.standing(r)
	}
	if err == nil {
		if n.Who, err = present(r.Context()); err != nil {
			err = ended(err)
		}
	}
	n.Who.Method, n.Source, n.Issuer, n.Subject, n.SID = held.Method, held.Source, held.Issuer, held.Subject, held.SID
	if r.who.Method == "jwt" && r.who.Provider != "" {
		token, _ := auth.Credentials(r.Header, "Bearer ")
		n.Issuer, n.Subject, n.SID = loginOf(token)
	}
	return n, present, err
}

// gatewayDeleteSession ends the session that the request came with.
func (s *Server) gatewayDeleteSession(r *request) error {
	r.private()
	switch {
	case r.who.Anonymous():
		return gatewayError(http.StatusUnauthorized, "Login required")
	case r.who.Method != "cookie":
		return gatewayError(http.StatusNotFound, "no session")
	}
	if err := s.gatewayDatabase(r); err != nil {
		return err
	}
	if err := s.endOwnSession(r); err != nil {
		return err
	}
	r.w.Header().Add("Set-Cookie", r.gatewaySetCookie(r.set.sessions.Clear(SyncGatewayCookie, r.publicScheme() == "https")))
	return r.empty(http.StatusOK)
}

// empty answers with a status and no body.
func (r *request) empty(status int) error {
	h := r.w.Header()
	h.Del("Content-Type")
	h.Set("Content-Length", "0")
	r.w.WriteHeader(status)
	return nil
}
