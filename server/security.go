package server

import (
	"bytes"
	"net/http"

	"github.com/parlordb/parlor/auth"
)

func (s *Server) getSecurity(r *request) error {
	return r.send(http.StatusOK, bytes.Clone(r.sec.raw))
}

// putSecurity replaces the _security object. Feeds that are open are judged again under the new one.
func (s *Server) putSecurity(r *request) error {
	if r.db.Name() == usersDatabase && !r.set.securityEditable {
		return forbidden("You can't edit the security object of the user database.")
	}
	data, release, err := s.body(r, r.set.maxDocumentSize)
	if err != nil {
		return err
	}
	defer release()
	sec, err := parseSecurity(data)
	if err != nil {
		return err
	}
	if err := r.db.SetSecurity(r.Context(), bytes.Clone(sec.raw)); err != nil {
		return err
	}
	s.revocations.Recheck(auth.Match{Database: r.db.Name()})
	return r.ok(http.StatusOK)
}
