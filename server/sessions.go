package server

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/parlordb/parlor/auth"
)

// sessionCredential begins the Credential of an Identity that came with a kept session; the session's ID follows.
const sessionCredential = "session:"

// Bounds of a page of _sessions or _tokens.
const (
	defaultPage = 100
	maxPage     = 1000
)

var errNoSuchSession = &Error{Status: 404, Kind: "not_found", Reason: "There is no such session."}

// kept returns what keeps sessions, or a refusal where nothing does.
func (r *request) kept() (*auth.Sessions, error) {
	if r.set.sessions == nil {
		return nil, errNoSessions
	}
	return r.set.sessions, nil
}

// whose is the user whose credentials a listing is about: the caller, unless a server admin asks for another by ?user=, or for everyone's, "".
func (r *request) whose() (user string, err error) {
	user = r.param("user")
	switch {
	case user == "" && r.hasParam("user"):
		return "", badRequest("the parameter user is empty")
	case r.who.Admin():
		return user, nil
	case user == "" || user == r.who.Name:
		return r.who.Name, nil
	}
	return "", forbidden("Only server admins see what is another user's.")
}

// mayTouch reports whether the caller may see and end what is user's. What he may not is for him as if it were not there.
func (r *request) mayTouch(user string) bool { return r.who.Admin() || user == r.who.Name }

// asked reads what a list is to hold: whose, as whose says, and at most how many (?limit=).
func (r *request) asked() (user string, limit int, err error) {
	if user, err = r.whose(); err != nil || !r.hasParam("limit") {
		return user, defaultPage, err
	}
	n, err := strconv.Atoi(r.param("limit"))
	if err != nil || n < 1 || n > maxPage {
		return "", 0, badRequest("limit must be a number from 1 to " + strconv.Itoa(maxPage))
	}
	return user, n, nil
}

// getSessions lists the caller's sessions, or for server admins all of them.
func (s *Server) getSessions(r *request) error {
	sessions, err := r.kept()
	if err != nil {
		return err
	}
	user, limit, err := r.asked()
	if err != nil {
		return err
	}
	list, err := sessions.List(r.Context(), user, r.param("after"), limit+1)
	if err != nil {
		return err
	}
	body, next := []byte(`{"sessions":[`), ""
	if len(list) > limit {
		list, next = list[:limit], list[limit-1].ID
	}
	for i := range list {
		body = appendSession(appendComma(body), &list[i], r.who.Credential == sessionCredential+list[i].ID)
	}
	return r.send(http.StatusOK, append(appendText(append(body, `],"next":`...), next), '}'))
}

// appendSession writes what is told of a session; current says whether it is the one that asks.
func appendSession(dst []byte, s *auth.Session, current bool) []byte {
	dst = appendString(append(dst, `{"id":`...), s.ID)
	dst = appendString(append(dst, `,"user":`...), s.User)
	dst = appendStrings(append(dst, `,"roles":`...), s.Roles)
	dst = appendString(append(dst, `,"method":`...), s.Method)
	dst = appendText(append(dst, `,"provider":`...), s.Provider)
	dst = appendTime(append(dst, `,"created":`...), s.Created)
	dst = appendTime(append(dst, `,"last_used":`...), s.LastUsed)
	dst = appendTime(append(dst, `,"expires":`...), s.Expires)
	dst = appendAddress(append(dst, `,"address":`...), s.Address)
	dst = appendText(append(dst, `,"user_agent":`...), s.UserAgent)
	dst = appendText(append(dst, `,"label":`...), s.Label)
	return append(strconv.AppendBool(append(dst, `,"current":`...), current), '}')
}

// appendText writes a text, or null for an empty one.
func appendText(dst []byte, text string) []byte {
	if text == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, text)
}

// appendTime writes a time as RFC 3339 has it, in UTC, or null for none.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, "null"...)
	}
	return append(t.UTC().AppendFormat(append(dst, '"'), time.RFC3339), '"')
}

func appendAddress(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(dst, "null"...)
	}
	return appendString(dst, a.String())
}

// endSession ends one session. Its feeds are cut when the answer arrives.
func (s *Server) endSession(r *request) error {
	sessions, err := r.kept()
	if err != nil {
		return err
	}
	found, err := sessions.Get(r.Context(), r.args[0])
	if err == nil && r.mayTouch(found.User) {
		err = sessions.End(r.Context(), found.ID)
	} else if err == nil {
		err = auth.ErrNoRecord
	}
	if errors.Is(err, auth.ErrNoRecord) {
		return errNoSuchSession
	}
	if err != nil {
		return err
	}
	s.audit(r, "session ended", "user", found.User, "session", found.ID)
	return r.ok(http.StatusOK)
}

// deleteSessions ends all sessions of one user. To end everyone's at once nobody can ask by leaving the name out.
func (s *Server) deleteSessions(r *request) error {
	sessions, err := r.kept()
	if err != nil {
		return err
	}
	user, err := r.named()
	if err != nil {
		return err
	}
	ended, err := s.endSessionsOf(r, sessions, user)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, append(strconv.AppendInt([]byte(`{"ok":true,"ended":`), int64(ended), 10), '}'))
}

// endSessionsOf ends all sessions of a user, who need not exist, and the logins that an app has not fetched yet. It returns how many sessions there were.
func (s *Server) endSessionsOf(r *request, sessions *auth.Sessions, user string) (ended int, err error) {
	s.logins.dropOf(user)
	if ended, err = sessions.EndWhere(r.Context(), user, nil); err == nil {
		s.audit(r, "sessions ended", "user", user, "sessions", ended)
	}
	return ended, err
}

// named is whose for what takes something away, so that the user must be named.
func (r *request) named() (user string, err error) {
	if r.param("user") == "" {
		return "", badRequest("the parameter user must name whose they are")
	}
	return r.whose()
}
