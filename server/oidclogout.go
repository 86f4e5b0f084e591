package server

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
)

// getLogout ends the caller's session here, then at the provider (RP-Initiated Logout 1.0 §2), and sends the browser on.
func (s *Server) getLogout(r *request) error {
	p, err := r.providerStep()
	if err != nil {
		return err
	}
	next, err := localPath(r.param("next"))
	if err != nil {
		return err
	}
	// A link may lead here from anywhere, for the user sees where it led. A picture in another site's page may not.
	if site := r.Header.Get("Sec-Fetch-Site"); (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Dest") != "document" {
		return forbidden("Another site's page may not sign you out.")
	}
	if err := s.endOwnSession(r); err != nil {
		return err
	}
	next = cmp.Or(next, r.home())
	public, err := r.publicURL()
	if err != nil {
		return r.redirect(next) // ended here; the provider could not send anyone back
	}
	// next begins with the path that public_url may have.
	to, err := p.LogoutURL(r.Context(), origin(public)+next)
	if err != nil {
		s.log.Warn("a logout did not reach the provider", "provider", p.Name(), "error", err)
	}
	return r.redirect(cmp.Or(to, next))
}

// origin is the scheme and host of a URL.
func origin(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

// postBackchannelLogout ends the sessions that a provider says have ended there (Back-Channel Logout 1.0 §2.5). Whatever is wrong with
// the request is a 400, as §2.8 wants it; an address that has sent too many is told so.
func (s *Server) postBackchannelLogout(r *request) error {
	r.private()
	p, err := r.set.provider(r.args[0])
	if err != nil {
		return err
	}
	form, err := s.loginForm(r)
	if err == nil && form["logout_token"] == "" {
		err = badRequest("The body must hold a logout_token.")
	}
	if err != nil {
		return invalidRequest(err)
	}
	who, err := p.BackchannelLogout(r.ofClient(), form["logout_token"])
	if err != nil {
		return invalidRequest(s.loginRefused(r, p, err))
	}
	s.logins.drop(func(provider *oidc.Provider, out *oidc.Outcome) bool {
		return provider.Name() == p.Name() && loggedOut(who, out.Subject, out.SID)
	})
	ended, err := r.set.sessions.EndWhere(r.Context(), "", func(held *auth.Session) bool {
		return held.Provider == p.Name() && loggedOut(who, held.Subject, held.SID)
	})
	if err != nil {
		return err
	}
	s.audit(r, "logged out by provider", "provider", p.Name(), "subject", who.Subject, "ended", ended)
	return r.ok(http.StatusOK)
}

// loggedOut reports whether a provider's logout concerns a session. One of the subject that is in no session of the provider's that we know of may be the
// one that is meant, so it ends too.
func loggedOut(who oidc.LoggedOut, subject, sid string) bool {
	if who.SID != "" && sid != "" {
		return who.SID == sid && (who.Subject == "" || who.Subject == subject)
	}
	return who.Subject != "" && who.Subject == subject
}

// invalidRequest makes a 400 of what is the client's fault, but for too many such requests.
func invalidRequest(err error) error {
	if e := asError(err); e.Status < 500 && e.Status != http.StatusTooManyRequests {
		return &Error{Status: http.StatusBadRequest, Kind: "invalid_request", Reason: e.Reason, Cause: err}
	}
	return err
}
