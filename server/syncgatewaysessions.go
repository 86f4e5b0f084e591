package server

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/parlordb/parlor/auth"
)

const (
	gatewayTTL    = 24 * time.Hour            // of a session that an admin makes and says no more of
	maxGatewayTTL = 10 * 365 * 24 * time.Hour // longer ones are meant for ever; access tokens are for that
)

// gatewayMakeSession makes a session for a user in the name of a server admin: POST /{db}/_session {"name":…,"ttl":seconds}. The session_id in
// the answer is the cookie's value; it is shown once.
func (s *Server) gatewayMakeSession(r *request, form *gatewayForm) error {
	if form.name == "" || form.name == gatewayGuest {
		return gatewayError(http.StatusBadRequest, "Invalid or missing user name")
	}
	ttl := gatewayTTL
	if form.ttl != nil && string(form.ttl) != "null" {
		seconds, err := strconv.ParseInt(string(form.ttl), 10, 64)
		if err != nil {
			return gatewayError(http.StatusBadRequest, "Bad JSON: ttl is no whole number")
		}
		if seconds < 1 || seconds > int64(maxGatewayTTL/time.Second) {
			return gatewayError(http.StatusBadRequest, "Invalid or missing ttl")
		}
		ttl = time.Duration(seconds) * time.Second
	}
	user, err := s.users.User(r.Context(), form.name)
	switch {
	case errors.Is(err, auth.ErrUnknownUser):
		return gatewayError(http.StatusNotFound, "No such user "+strconv.Quote(form.name))
	case err != nil:
		return err
	case user.Disabled:
		return gatewayError(http.StatusBadRequest, "User is disabled")
	}
	present, err := s.standing(r)
	if err != nil {
		return err
	}
	secret, made, err := s.createSession(r, auth.NewSession{
		Who:  auth.Identity{Name: user.Name, Roles: user.Roles, Method: "admin", Local: true},
		User: user, Label: "made by " + r.who.Name, TTL: ttl,
	}, present)
	if err != nil {
		return err
	}
	body := appendString([]byte(`{"session_id":`), secret)
	body = appendString(append(body, `,"expires":`...), made.Expires.UTC().Format(time.RFC3339))
	return r.send(http.StatusOK, append(appendString(append(body, `,"cookie_name":`...), SyncGatewayCookie), '}'))
}

// gatewayLookUpSession says whose a session is. It does not use it.
func (s *Server) gatewayLookUpSession(r *request) error {
	held, err := r.set.sessions.Get(r.Context(), r.set.sessions.Lookup(r.args[0]))
	if errors.Is(err, auth.ErrNoRecord) {
		return gatewayError(http.StatusNotFound, "missing")
	}
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, appendGatewaySession(r.buf, held.User))
}

// gatewayEndSession ends a session by what its cookie holds.
func (s *Server) gatewayEndSession(r *request) error { return s.gatewayEnd(r, r.args[0], "") }

// gatewayEndUserSession ends it only when it is that user's.
func (s *Server) gatewayEndUserSession(r *request) error {
	return s.gatewayEnd(r, r.args[1], r.args[0])
}

// gatewayEnd ends a session by what its cookie holds; of any user for "".
func (s *Server) gatewayEnd(r *request, secret, user string) error {
	held, err := r.set.sessions.Get(r.Context(), r.set.sessions.Lookup(secret))
	if err == nil && user != "" && held.User != user {
		err = auth.ErrNoRecord
	}
	if err == nil {
		err = r.set.sessions.End(r.Context(), held.ID)
	}
	if errors.Is(err, auth.ErrNoRecord) {
		return gatewayError(http.StatusNotFound, "missing")
	}
	if err != nil {
		return err
	}
	s.audit(r, "session ended", "user", held.User, "session", held.ID)
	return r.empty(http.StatusOK)
}

// gatewayEndUserSessions ends all of a user's, who need not exist.
func (s *Server) gatewayEndUserSessions(r *request) error {
	if _, err := s.endSessionsOf(r, r.set.sessions, r.args[0]); err != nil {
		return err
	}
	return r.empty(http.StatusOK)
}
