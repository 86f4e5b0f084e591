package server

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/parlordb/parlor/auth/oidc"
)

// gatewayProvider is the provider that the parameter names, else the first by order; nil when there is none.
func (r *request) gatewayProvider() *oidc.Provider {
	if name := r.param("provider"); name != "" {
		p, _ := r.set.provider(name)
		return p
	}
	if len(r.set.providers) == 0 {
		return nil
	}
	return r.set.providers[0]
}

// gatewayCallbackPath is where p sends browsers back to. The database's own path is in it, so that the login's cookie comes along.
func (r *request) gatewayCallbackPath(p *oidc.Provider) string {
	path := r.gatewayPath() + "/_oidc_callback"
	if p != r.set.providers[0] {
		path += "?provider=" + url.QueryEscape(p.Name())
	}
	return path
}

// gatewayStart begins a login, and returns where to send the browser.
func (s *Server) gatewayStart(r *request) (to string, err error) {
	if err := r.flow(); err != nil {
		return "", err
	}
	if err := s.gatewayDatabase(r); err != nil {
		return "", err
	}
	p := r.gatewayProvider()
	if p == nil {
		return "", gatewayError(http.StatusBadRequest, "OpenID Connect not configured for database "+r.segments[0])
	}
	callback, secure, err := r.callbackURL(p, r.gatewayCallbackPath(p))
	if err != nil {
		return "", err
	}
	to, cookie, err := p.Login(r.ofClient(), oidc.Start{Callback: callback, Offline: r.isTrue("offline"), Secure: secure, Cookies: r.Cookies()})
	if err != nil {
		if asError(err).Status == http.StatusServiceUnavailable {
			err = &Error{Status: http.StatusInternalServerError, Kind: "Internal Server Error", Reason: "Unable to obtain client for provider: " + p.Name(), Cause: err}
		}
		return "", s.loginRefused(r, p, err)
	}
	r.w.Header().Add("Set-Cookie", cookie)
	return to, nil
}

// gatewayLogin sends a browser to a provider.
func (s *Server) gatewayLogin(r *request) error {
	to, err := s.gatewayStart(r)
	if err != nil {
		return err
	}
	return r.redirect(to)
}

// gatewayChallenge is gatewayLogin for those who cannot follow a redirect.
func (s *Server) gatewayChallenge(r *request) error {
	to, err := s.gatewayStart(r)
	if err != nil {
		return err
	}
	e := gatewayError(http.StatusUnauthorized, "Login required")
	e.Header = http.Header{"Www-Authenticate": {`OIDC login="` + to + `"`}}
	return e
}

// gatewayCallback ends a login that gatewayStart began.
func (s *Server) gatewayCallback(r *request) error {
	if err := r.flow(); err != nil {
		return err
	}
	if err := s.gatewayDatabase(r); err != nil {
		return err
	}
	p := r.gatewayProvider()
	switch {
	case r.hasParam("error"):
		return gatewayError(http.StatusUnauthorized, "oidc callback received an error: "+clip(r.param("error_description")))
	case r.param("code") == "":
		return gatewayError(http.StatusBadRequest, "Code must be present on oidc callback")
	case p == nil:
		return gatewayError(http.StatusBadRequest, "Unable to identify provider for callback request")
	}
	callback, secure, err := r.callbackURL(p, r.gatewayCallbackPath(p))
	if err != nil {
		return err
	}
	out, err := s.atCost(r, func(ctx context.Context) (*oidc.Outcome, error) {
		return p.Callback(ctx, r.params, callback, r.Cookies())
	})
	if err != nil {
		return s.gatewayFailed(r, p, err, "Failed to exchange token")
	}
	r.w.Header().Add("Set-Cookie", out.SetCookie)
	if out.ReturnTo != "" || out.Next != "" {
		return gatewayError(http.StatusBadRequest, "This login began elsewhere")
	}
	return s.gatewayLoggedIn(r, p, out, secure)
}

// clip bounds a text from outside, and keeps it on one line.
func clip(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), 200)], "")
}

// gatewayFailed is a refusal of the login in Sync Gateway's words; away is what it says when the provider does not answer as it should.
func (s *Server) gatewayFailed(r *request, p *oidc.Provider, err error, away string) error {
	err = s.loginRefused(r, p, err)
	switch asError(err).Status {
	case http.StatusUnauthorized, http.StatusServiceUnavailable:
		return &Error{Status: http.StatusInternalServerError, Kind: "Internal Server Error", Reason: away, Cause: err}
	case http.StatusForbidden:
		return &Error{Status: http.StatusUnauthorized, Kind: "Unauthorized", Reason: "Invalid login", Cause: err}
	case http.StatusBadRequest:
		reason := "OIDC Auth Failure: State mismatch"
		if !p.Pending(r.Cookies()) {
			reason = "OIDC Auth Failure: No state cookie found, client needs to support cookies when OIDC callback state is enabled"
		}
		return &Error{Status: http.StatusBadRequest, Kind: "Bad Request", Reason: reason, Cause: err}
	}
	return err
}

// gatewayLoggedIn makes the session of a login and answers with its tokens.
func (s *Server) gatewayLoggedIn(r *request, p *oidc.Provider, out *oidc.Outcome, secure bool) error {
	if err := s.enabled(r.Context(), out.Who.Name); err != nil {
		if asError(err).Status == http.StatusForbidden {
			err = gatewayError(http.StatusBadRequest, "User is disabled")
		}
		return err
	}
	body := appendString([]byte(`{"id_token":`), out.IDToken)
	if out.RefreshToken != "" {
		body = appendString(append(body, `,"refresh_token":`...), out.RefreshToken)
	}
	if p.SessionAllowed() {
		secret, made, err := s.createSession(r, sessionOf(out), s.stillProvider(p))
		if err != nil {
			return err
		}
		r.w.Header().Add("Set-Cookie", r.gatewaySetCookie(r.set.sessions.Cookie(SyncGatewayCookie, secret, &made, secure)))
		body = appendString(append(body, `,"session_id":`...), secret)
	}
	return r.send(http.StatusOK, append(appendString(append(body, `,"name":`...), out.Who.Name), '}'))
}

// gatewayRefresh trades a refresh token, which Sync Gateway's clients send in the URL. It is in no log. A new one that the provider gave in its place is in the answer.
func (s *Server) gatewayRefresh(r *request) error {
	r.private()
	if r.Method == http.MethodHead {
		return methodNotAllowed("GET,POST")
	}
	if site := r.Header.Get("Sec-Fetch-Site"); r.refuseOtherSites() != nil || (site == "cross-site" || site == "same-site") && r.Header.Get("Origin") == "" {
		return gatewayError(http.StatusBadRequest, "No CORS")
	}
	if err := s.gatewayDatabase(r); err != nil {
		return err
	}
	token := r.param("refresh_token")
	if r.Method == http.MethodPost && token == "" {
		form, err := s.loginForm(r)
		if err != nil {
			return err
		}
		token = form["refresh_token"]
	}
	p := r.gatewayProvider()
	switch {
	case token == "":
		return gatewayError(http.StatusBadRequest, "Refresh token must be present for oidc refresh")
	case p == nil:
		return gatewayError(http.StatusBadRequest, "Unable to identify provider for callback request")
	}
	out, err := s.atCost(r, func(ctx context.Context) (*oidc.Outcome, error) { return p.Refresh(ctx, token) })
	if err != nil {
		return s.gatewayFailed(r, p, err, "Unable to refresh token.")
	}
	return s.gatewayLoggedIn(r, p, out, r.publicScheme() == "https")
}
