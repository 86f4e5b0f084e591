package server

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// getLockouts lists who is locked out after too many wrong passwords (spec §8). CouchDB has no such resource.
func (s *Server) getLockouts(r *request) error {
	body := []byte(`{"lockouts":[`)
	for _, lock := range s.lockout.List() {
		body = appendString(append(appendComma(body), `{"user":`...), lock.User)
		body = appendString(append(body, `,"address":`...), prefixText(lock.Address))
		body = strconv.AppendInt(append(body, `,"failures":`...), int64(lock.Failures), 10)
		body = appendString(append(body, `,"until":`...), lock.Until.UTC().Format(time.RFC3339))
		body = append(body, '}')
	}
	return r.send(http.StatusOK, append(body, "]}"...))
}

// deleteLockouts forgets the failures of one user, or of all, so that they can sign in again at once.
func (s *Server) deleteLockouts(r *request) error {
	user := r.param("user")
	if user == "" && r.hasParam("user") {
		return badRequest("the parameter user is empty; leave it out to clear all lockouts")
	}
	cleared := s.lockout.Clear(user)
	s.audit(r, "lockout cleared", "user", user, "counters", cleared)
	return r.send(http.StatusOK, append(strconv.AppendInt([]byte(`{"ok":true,"cleared":`), int64(cleared), 10), '}'))
}

// prefixText is an address as people write it: without the length of a network that is one address; "" for an unknown one.
func prefixText(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}
