package server

import (
	"bytes"
	"compress/gzip"
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

// postSession signs in with a name and a password and answers with a cookie (spec §1.5).
func (s *Server) postSession(r *request) error {
	form, err := s.loginForm(r)
	if err != nil {
		return err
	}
	name, other := form["name"], form["username"]
	switch {
	case name == "" && other == "":
		return badRequest("request body must contain a username")
	case name == "":
		name = other
	case other != "" && other != name:
		return badRequest("request body contains different usernames")
	}
	secure := r.publicScheme() == "https"
	ctx := auth.WithClient(r.Context(), r.set.proxies.Client(r.Request))
	user, err := s.passwords.VerifyBoth(ctx, name, form["password"], func(u *auth.User) error {
		return s.totp.Verify(u.Name, u.TOTPKey, form["token"])
	})
	var refused *auth.Refusal
	if err != nil {
		s.auditRefusal(r, "session", err)
	}
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return s.loginFailed(r, secure)
	case err != nil:
		return err
	}
	cookie := r.set.cookies.Issue(user, secure)
	if cookie == "" {
		return &Error{Status: 500, Kind: "internal_server_error", Reason: "No session can be made for this user."}
	}
	r.w.Header().Set("Set-Cookie", cookie)
	body := append(appendString([]byte(`{"ok":true,"name":`), user.Name), `,"roles":`...)
	return s.redirected(r, "next", http.StatusOK, append(appendStrings(body, user.Roles), '}'))
}

// loginFailed answers a wrong name, password or second factor, which look the same, and clears the cookie. It brings up no browser's sign-in box.
func (s *Server) loginFailed(r *request, secure bool) error {
	r.w.Header().Set("Set-Cookie", r.set.cookies.Clear(secure))
	return s.redirected(r, "fail", http.StatusUnauthorized, unauthorized("Name or password is incorrect.").append(nil))
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

// deleteSession forgets the cookie. It succeeds whether or not there was a session.
func (s *Server) deleteSession(r *request) error {
	if r.who.Method == "cookie" {
		s.audit(r, "session ended", "user", r.who.Name)
	}
	r.w.Header().Set("Set-Cookie", r.set.cookies.Clear(r.publicScheme() == "https"))
	return s.redirected(r, "next", http.StatusOK, []byte(`{"ok":true}`))
}
