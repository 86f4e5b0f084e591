package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
)

// getSession tells the caller who he is.
func (s *Server) getSession(r *request) error {
	if r.who.Name == "" && r.param("basic") == "true" {
		return unauthorized("Please login.")
	}
	body := append(r.buf, `{"ok":true,"userCtx":`...)
	body = append(appendUser(body, &r.who), `,"info":{"authentication_handlers":[`...)
	for _, name := range s.auth.Names() {
		body = appendString(appendComma(body), name)
	}
	body = append(body, ']')
	if r.who.Method != "" {
		body = appendString(append(body, `,"authenticated":`...), r.who.Method)
	}
	if r.set.authenticationDB != "" {
		body = appendString(append(body, `,"authentication_db":`...), r.set.authenticationDB)
	}
	return r.send(http.StatusOK, append(body, "}}"...))
}

// appendUser writes {"name":…,"roles":[…]}.
func appendUser(dst []byte, who *auth.Identity) []byte {
	dst = append(dst, `{"name":`...)
	if who.Name == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, who.Name)
	}
	return append(appendStrings(append(dst, `,"roles":`...), who.Roles), '}')
}

func appendStrings(dst []byte, roles []string) []byte {
	dst = append(dst, '[')
	for _, role := range roles {
		dst = appendString(appendComma(dst), role)
	}
	return append(dst, ']')
}

// maxLogin bounds the body of a login.
const maxLogin = 64 << 10

// postSession signs in and answers with a session's cookie (spec §1.5). Besides CouchDB's name and password it takes, where sessions are kept, the one-time code
// of a login at a provider, an ID token, and the bearer token of the request's own header. What is in the body wins.
func (s *Server) postSession(r *request) error {
	form, err := s.sessionForm(r)
	if err != nil {
		return err
	}
	switch {
	case form["code"] != "":
		return s.tradeCode(r, form)
	case form["id_token"] != "":
		return s.trade(r, form, form["id_token"])
	case form["name"] == "" && form["username"] == "" && r.who.Method == "jwt":
		text, _ := auth.Credentials(r.Header, "Bearer ")
		return s.trade(r, form, text)
	}
	return s.passwordSession(r, form)
}

// sessionForm reads a login. One by the header alone has no body.
func (s *Server) sessionForm(r *request) (map[string]string, error) {
	if r.ContentLength == 0 && r.who.Method == "jwt" {
		return map[string]string{}, nil
	}
	return s.loginForm(r)
}

// passwordSession signs in with a name, a password and perhaps a second factor.
func (s *Server) passwordSession(r *request, form map[string]string) error {
	name, other := form["name"], form["username"]
	switch {
	case name == "" && other == "":
		return badRequest("request body must contain a username")
	case name == "":
		name = other
	case other != "" && other != name:
		return badRequest("request body contains different usernames")
	}
	if err := r.set.cors.protection.Check(r.Request); err != nil {
		// A form needs nobody's leave to be sent here, and what its user wrote from then on would be in somebody else's name.
		return forbidden(otherSitesLogin)
	}
	user, err := s.verifyLogin(r, name, form["password"], form["token"])
	refused, _ := errors.AsType[*auth.Refusal](err)
	switch {
	case refused != nil && refused.Status == http.StatusUnauthorized:
		return s.loginFailed(r, refused.Reason)
	case err != nil:
		return err
	}
	if r.set.sessions == nil {
		return s.cookieSession(r, user)
	}
	return s.startOwnSession(r, form, auth.NewSession{
		Who: auth.Identity{Name: user.Name, Roles: user.Roles, Method: "default", Local: true}, User: user,
	}, nil)
}

// verifyLogin checks a name, a password and perhaps a second factor, and notes what is refused.
func (s *Server) verifyLogin(r *request, name, pass, code string) (*auth.User, error) {
	user, err := s.passwords.VerifyBoth(r.ofClient(), name, pass, func(u *auth.User) error { return s.totp.Verify(u.Name, u.TOTPKey, code) })
	if err != nil {
		s.auditRefusal(r, "session", err)
	}
	return user, err
}

// cookieSession answers with a cookie that is the session itself.
func (s *Server) cookieSession(r *request, user *auth.User) error {
	if r.hasParam("one_time") {
		return errNoSessions
	}
	cookie := r.set.cookies.Issue(user, r.publicScheme() == "https")
	if cookie == "" {
		return &Error{Status: 500, Kind: "internal_server_error", Reason: "No session can be made for this user."}
	}
	r.w.Header().Set("Set-Cookie", cookie)
	return s.redirected(r, "next", http.StatusOK, append(appendSignedIn(nil, user.Name, user.Roles), '}'))
}

// errNoSessions is told to those who ask for what a server without kept sessions cannot do.
var errNoSessions = badRequest("This server keeps no sessions: [parlor_session] store is cookie.")

// trade makes a session of a token, be it from the body or from the header. It keeps the roles that the token gives.
func (s *Server) trade(r *request, form map[string]string, token string) error {
	if r.set.sessions == nil {
		return errNoSessions
	}
	if err := r.refuseOtherSites(); err != nil {
		return err
	}
	bearer := r.Clone(r.Context())
	bearer.Header["Authorization"] = []string{"Bearer " + token}
	present := func(context.Context) (auth.Identity, error) {
		who, err := s.auth.AuthenticateBy("jwt", bearer)
		if errors.Is(err, auth.ErrNoCredentials) || err == nil && who.Method != "jwt" {
			err = &auth.Refusal{Status: http.StatusUnauthorized, Kind: "unauthorized", Reason: "This server takes no such token."}
		}
		return who, err
	}
	who, err := present(r.Context())
	switch {
	case err != nil:
		s.auditRefusal(r, "session", err)
		return err
	case who.Scope != nil:
		return forbidden(scopedCredential)
	}
	n := auth.NewSession{Who: who}
	if who.Provider != "" {
		n.Issuer, n.Subject, n.SID = loginOf(token)
	}
	return s.startOwnSession(r, form, n, present)
}

// loginOf reads from a token that has been verified who it speaks of, and which of the provider's logins it is from, so that a logout there ends the session
// (OpenID Connect Back-Channel Logout §2.4).
func loginOf(token string) (issuer, subject, sid string) {
	_, rest, _ := strings.Cut(token, ".")
	claims, _, _ := strings.Cut(rest, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil {
		return "", "", ""
	}
	object, err := checkJSON(decoded)
	if err != nil || object[0] != '{' {
		return "", "", ""
	}
	issuer, _ = text(objectMember(object, "iss"))
	subject, _ = text(objectMember(object, "sub"))
	sid, _ = text(objectMember(object, "sid"))
	return issuer, subject, sid
}

// startOwnSession makes a session and answers with its cookie, or with the id that serves once.
func (s *Server) startOwnSession(r *request, form map[string]string, n auth.NewSession, present holder) error {
	n.Label, n.OneTime = form["label"], r.isTrue("one_time")
	secret, made, err := s.createSession(r, n, present)
	if err != nil {
		return err
	}
	body := appendSignedIn(nil, n.Who.Name, n.Who.Roles)
	if n.OneTime {
		r.private()
		body = appendString(append(body, `,"one_time_session_id":`...), secret)
		return r.send(http.StatusOK, append(appendTime(append(body, `,"expires":`...), made.Expires), '}'))
	}
	r.w.Header().Set("Set-Cookie", r.set.sessions.Cookie("", secret, &made, r.publicScheme() == "https"))
	return s.redirected(r, "next", http.StatusOK, append(body, '}'))
}

// createSession makes a session and notes it, with what the request says of its client. What present says must still hold when it is there; nil: the session
// is of a password, whose salt it is bound to.
func (s *Server) createSession(r *request, n auth.NewSession, present holder) (secret string, made auth.Session, err error) {
	if p, unknown := r.set.provider(n.Who.Provider); unknown == nil && !p.SessionAllowed() {
		return "", made, forbidden("The users of this sign-on provider are given no sessions here.")
	}
	n.Address, n.UserAgent = r.set.proxies.Client(r.Request), r.UserAgent()
	create := func() (err error) {
		secret, made, err = r.set.sessions.Create(r.Context(), n)
		return err
	}
	if present == nil {
		err = create()
	} else {
		err = r.outliving(present, create, func(ctx context.Context) error { return r.set.sessions.End(ctx, made.ID) })
	}
	if err == nil {
		s.audit(r, "session began", "method", made.Method, "provider", made.Provider, "user", made.User, "session", made.ID)
	}
	return secret, made, err
}

// appendSignedIn writes {"ok":true,"name":…,"roles":[…] without its end.
func appendSignedIn(dst []byte, name string, roles []string) []byte {
	dst = append(appendString(append(dst, `{"ok":true,"name":`...), name), `,"roles":`...)
	return appendStrings(dst, roles)
}

// loginFailed answers a wrong name, password or second factor, which look the same, and clears the cookie. It brings up no browser's sign-in box.
func (s *Server) loginFailed(r *request, reason string) error {
	s.clearCookie(r)
	return s.redirected(r, "fail", http.StatusUnauthorized, unauthorized(reason).append(nil))
}

// clearCookie has the browser forget its session.
func (s *Server) clearCookie(r *request) {
	secure := r.publicScheme() == "https"
	if r.set.sessions != nil {
		r.w.Header().Set("Set-Cookie", r.set.sessions.Clear("", secure))
		return
	}
	r.w.Header().Set("Set-Cookie", r.set.cookies.Clear(secure))
}

// redirected answers with a body, and sends a browser on where a parameter names a path on this server.
func (s *Server) redirected(r *request, param string, status int, body []byte) error {
	if r.hasParam(param) {
		next := r.param(param)
		// "//host" and "/\host" are other servers to a browser.
		if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.HasPrefix(next, `/\`) {
			return badRequest("path must begin with a /.")
		}
		status = http.StatusFound
		r.w.Header().Set("Location", r.absolute(next))
	}
	return r.send(status, body)
}

// loginForm reads a login as a form or as JSON.
func (s *Server) loginForm(r *request) (map[string]string, error) {
	kind := mediaType(r.Header.Get("Content-Type"))
	if kind != "application/json" && kind != "application/x-www-form-urlencoded" {
		return nil, &Error{Status: 415, Kind: "bad_content_type", Reason: "Content-Type must be 'application/x-www-form-urlencoded' or 'application/json'"}
	}
	data, release, err := s.body(r, maxLogin)
	if err != nil {
		return nil, err
	}
	defer release()
	if kind == "application/json" {
		return loginJSON(r, data)
	}
	form := map[string]string{}
	for pair := range strings.FieldsFuncSeq(string(data), func(c rune) bool { return c == '&' || c == ';' }) {
		key, value, _ := strings.Cut(pair, "=")
		key, err1 := url.QueryUnescape(key)
		value, err2 := url.QueryUnescape(value)
		if err := errors.Join(err1, err2); err != nil {
			return nil, badRequest("The form is not encoded as application/x-www-form-urlencoded.")
		}
		if _, ok := form[key]; !ok {
			form[key] = value
		}
	}
	return form, nil
}

func loginJSON(r *request, data []byte) (map[string]string, error) {
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err == nil {
			data, err = io.ReadAll(io.LimitReader(z, maxLogin+1))
		}
		if err != nil {
			return nil, badRequest("The body is not gzip.")
		}
		if len(data) > maxLogin {
			return nil, errTooLarge
		}
	default:
		return nil, &Error{Status: 415, Kind: "bad_content_type", Reason: encoding + " is not a supported content encoding."}
	}
	object, err := checkJSON(data)
	if err != nil {
		return nil, err
	}
	if object[0] != '{' {
		return nil, errNotObject
	}
	form := map[string]string{}
	err = members(object, func(name string, value jsontext.Value) error {
		s, ok := text(value)
		if !ok {
			return badRequest("The members of a login must be strings.")
		}
		form[name] = s
		return nil
	})
	return form, err
}

// deleteSession ends the caller's session. It succeeds whether or not there was one.
func (s *Server) deleteSession(r *request) error {
	if err := s.endOwnSession(r); err != nil {
		return err
	}
	return s.redirected(r, "next", http.StatusOK, []byte(`{"ok":true}`))
}

// endOwnSession ends the session that a request came with, if any, and has the browser forget its cookie, renewed or not.
func (s *Server) endOwnSession(r *request) error {
	if r.who.Method == "cookie" {
		more := []any{"user", r.who.Name}
		if id, kept := strings.CutPrefix(r.who.Credential, sessionCredential); kept && r.set.sessions != nil {
			if err := r.set.sessions.End(r.Context(), id); err != nil && !errors.Is(err, auth.ErrNoRecord) {
				return err
			}
			more = append(more, "session", id)
		}
		s.audit(r, "session ended", more...)
	}
	s.clearCookie(r)
	return nil
}
