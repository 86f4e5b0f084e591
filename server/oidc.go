package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
)

// A login at a provider goes this way (OpenID Connect Core §3.1):
//
//	browser → GET /_oidc/NAME/login → 302 to the provider → 302 to /_oidc/NAME/callback → a session, and 302 to next
//
// For an app that lives elsewhere (return_to) the callback makes no session. It sends the browser to the app with a one-time code, which the app
// trades at POST /_session with the verifier of the code_challenge that it began with.

// inOrder sorts providers as a login page shows them. The first is the default of Sync Gateway's paths.
func inOrder(providers []*oidc.Provider) []*oidc.Provider {
	return slices.SortedFunc(slices.Values(providers), func(p, q *oidc.Provider) int {
		return cmp.Or(cmp.Compare(p.Order(), q.Order()), cmp.Compare(p.Name(), q.Name()))
	})
}

// provider finds one by its name.
func (set *settings) provider(name string) (*oidc.Provider, error) {
	for _, p := range set.providers {
		if p.Name() == name {
			return p, nil
		}
	}
	return nil, &Error{Status: 404, Kind: "not_found", Reason: "There is no such provider."}
}

// getProviders lists the providers for a login page.
func (s *Server) getProviders(r *request) error {
	body := []byte{'['}
	for _, p := range r.set.providers {
		body = appendString(append(appendComma(body), `{"name":`...), p.Name())
		body = appendString(append(body, `,"label":`...), p.Label())
		body = append(appendString(append(body, `,"login":`...), "/_oidc/"+url.PathEscape(p.Name())+"/login"), '}')
	}
	return r.send(http.StatusOK, append(body, ']'))
}

// private marks an answer, also a refusal, as one that nobody keeps, and whose URL no other site learns.
func (r *request) private() {
	h := r.w.Header()
	h.Set("Cache-Control", noStore)
	h.Set("Referrer-Policy", "no-referrer")
}

// noStore is a Cache-Control that refusals keep.
const noStore = "no-store"

// flow begins a request that is a step of a login: it is private, and does nothing on HEAD, with which scanners of mail and chats try out links.
func (r *request) flow() error {
	r.private()
	if r.Method == http.MethodHead {
		return methodNotAllowed("GET")
	}
	return nil
}

// providerStep is flow for the steps at /_oidc/NAME, and returns the provider.
func (r *request) providerStep() (*oidc.Provider, error) {
	if err := r.flow(); err != nil {
		return nil, err
	}
	return r.set.provider(r.args[0])
}

// getLogin sends a browser to a provider.
func (s *Server) getLogin(r *request) error {
	p, err := r.providerStep()
	if err != nil {
		return err
	}
	next, err := localPath(r.param("next"))
	if err != nil {
		return err
	}
	if next != "" && r.param("return_to") != "" {
		return badRequest("A login goes on to next or to return_to, not to both.")
	}
	callback, secure, err := r.callbackURL(p, callbackPath(p))
	if err != nil {
		return err
	}
	to, cookie, err := p.Login(r.Context(), oidc.Start{
		Callback: callback, Next: next, ReturnTo: r.param("return_to"), Challenge: r.param("code_challenge"),
		Offline: r.isTrue("offline"), Secure: secure, Cookies: r.Cookies(),
	})
	if err != nil {
		return s.loginRefused(r, p, err)
	}
	r.w.Header().Add("Set-Cookie", cookie)
	return r.redirect(to)
}

// callbackPath is where p sends browsers back to on this server.
func callbackPath(p *oidc.Provider) string { return "/_oidc/" + url.PathEscape(p.Name()) + "/callback" }

// callbackURL is the URL of that path, or the one that p's settings give in its place; secure says whether it goes over TLS.
func (r *request) callbackURL(p *oidc.Provider, path string) (callback string, secure bool, err error) {
	callback = p.CallbackURL()
	if callback == "" {
		public, err := r.publicURL()
		if err != nil {
			return "", false, err
		}
		callback = public + path
	}
	return callback, strings.HasPrefix(callback, "https:"), nil
}

// redirect sends a browser on.
func (r *request) redirect(to string) error {
	r.w.Header().Set("Location", to)
	return r.send(http.StatusFound, []byte(`{"ok":true}`))
}

// loginRefused notes a login that failed.
func (s *Server) loginRefused(r *request, p *oidc.Provider, err error) error {
	s.auditRefusal(r, "oidc", err)
	if asError(err).Status < 500 {
		// What the client is told holds less than what the provider said.
		s.log.Info("login failed", "request", r.id, "provider", p.Name(), "error", err)
	}
	return err
}

// getCallback ends a login that getLogin began.
func (s *Server) getCallback(r *request) error {
	p, err := r.providerStep()
	if err != nil {
		return err
	}
	callback, secure, err := r.callbackURL(p, callbackPath(p))
	if err != nil {
		return err
	}
	out, err := s.atCost(r, func(ctx context.Context) (*oidc.Outcome, error) {
		return p.Callback(ctx, r.params, callback, r.Cookies())
	})
	if err == nil {
		err = s.enabled(r.Context(), out.Who.Name)
	}
	if err != nil {
		return s.loginRefused(r, p, err)
	}
	r.w.Header().Add("Set-Cookie", out.SetCookie)
	if out.ReturnTo != "" {
		return s.returnToApp(r, p, out)
	}
	expires, err := s.startSession(r, p, out, secure)
	if err != nil {
		return err
	}
	if !expires.IsZero() && (out.Next != "" || namesHTML(r.Header)) {
		// The path is one of the public URL, as the browser sees it.
		return r.redirect(cmp.Or(out.Next, r.home()))
	}
	return r.send(http.StatusOK, appendLogin(nil, out, expires))
}

// ofClient is the request's context with its client's address, for what sign-on bounds by client.
func (r *request) ofClient() context.Context {
	return auth.WithClient(r.Context(), r.set.proxies.Client(r.Request))
}

// atCost runs a step for which the provider is asked. An address from which too many have failed is refused before.
func (s *Server) atCost(r *request, step func(ctx context.Context) (*oidc.Outcome, error)) (*oidc.Outcome, error) {
	giveBack, err := s.asking.Take(r.set.proxies.Client(r.Request))
	if err != nil {
		return nil, err
	}
	out, err := step(r.ofClient())
	if err == nil {
		giveBack()
	}
	return out, err
}

// enabled refuses a user whom the directory holds as disabled. One whom it does not hold, for whom somebody else vouches, is not. That the directory cannot say is
// an error as well.
func (s *Server) enabled(ctx context.Context, name string) error {
	user, err := s.users.User(ctx, name)
	switch {
	case errors.Is(err, auth.ErrUnknownUser):
		return nil // unknown_users = allow: the provider's word is enough
	case err != nil:
		return err
	case user.Disabled:
		return &auth.Refusal{Status: http.StatusForbidden, Kind: "forbidden", Reason: "This account is disabled.", User: name}
	}
	return nil
}

// namesHTML reports whether a client asks for pages by their own type: a browser that shows one, not a script.
func namesHTML(h http.Header) bool {
	return slices.ContainsFunc(strings.Split(h.Get("Accept"), ","), func(item string) bool { return mediaType(item) == "text/html" })
}

// home is the path of the page where a login ends that was given no other.
func (r *request) home() string {
	_, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.set.publicURL, "https://"), "http://"), "/")
	return strings.TrimSuffix("/"+path, "/") + "/_utils/"
}

// sessionOf is the session of a login.
func sessionOf(out *oidc.Outcome) auth.NewSession {
	return auth.NewSession{Who: out.Who, Issuer: out.Issuer, Subject: out.Subject, SID: out.SID}
}

// stillProvider is a holder for a login: the settings must be those under which it was judged who logs in.
func (s *Server) stillProvider(p *oidc.Provider) holder {
	return func(context.Context) (auth.Identity, error) {
		if !slices.Contains(s.settings.Load().providers, p) {
			return auth.Identity{}, auth.ErrRevoked
		}
		return auth.Identity{}, nil
	}
}

// startSession makes the session of a login and sets its cookie. expires is zero where the provider's logins make none.
func (s *Server) startSession(r *request, p *oidc.Provider, out *oidc.Outcome, secure bool) (expires time.Time, err error) {
	if !p.SessionAllowed() {
		s.audit(r, "login", "method", "oidc", "provider", p.Name(), "user", out.Who.Name)
		return time.Time{}, nil
	}
	secret, made, err := s.createSession(r, sessionOf(out), s.stillProvider(p))
	if err != nil {
		return time.Time{}, err
	}
	r.w.Header().Add("Set-Cookie", r.set.sessions.Cookie("", secret, &made, secure))
	return made.Expires, nil
}

// appendLogin is what a program learns of its login. expires is the session's, zero for none.
func appendLogin(dst []byte, out *oidc.Outcome, expires time.Time) []byte {
	dst = appendString(append(dst, `{"ok":true,"name":`...), out.Who.Name)
	dst = appendStrings(append(dst, `,"roles":`...), out.Who.Roles)
	if out.IDToken != "" {
		dst = appendString(append(dst, `,"id_token":`...), out.IDToken)
	}
	if out.RefreshToken != "" {
		dst = appendString(append(dst, `,"refresh_token":`...), out.RefreshToken)
	}
	if !expires.IsZero() {
		dst = appendString(append(dst, `,"expires":`...), expires.UTC().Format(time.RFC3339))
	}
	return append(dst, '}')
}

// returnToApp sends a browser to the app that the login is for, with a code in the query that serves once.
func (s *Server) returnToApp(r *request, p *oidc.Provider, out *oidc.Outcome) error {
	to, err := url.Parse(out.ReturnTo)
	if err != nil {
		return badRequest("The parameter return_to is no URL.")
	}
	code, err := s.logins.add(p, out, s.now())
	if err != nil {
		return err
	}
	if to.RawQuery != "" {
		to.RawQuery += "&"
	}
	to.RawQuery += "code=" + code
	return r.redirect(to.String())
}

// tradeCode answers POST /_session {"code":…,"code_verifier":…} of an app that was given a code by returnToApp: the cookie, and in JSON
// what a login gives.
func (s *Server) tradeCode(r *request, form map[string]string) error {
	r.private()
	if err := r.refuseOtherSites(); err != nil {
		return err
	}
	if n := len(form["code_verifier"]); n < 43 || n > 128 { // RFC 7636 §4.1
		return badRequest("The code_verifier must have 43 to 128 characters.")
	}
	held, err := s.logins.take(form["code"], form["code_verifier"], s.now())
	if err != nil {
		s.audit(r, "sign-in refused", "method", "oidc", "reason", "code")
		return err
	}
	if !slices.Contains(r.set.providers, held.provider) {
		return errBadCode // it was another who logged in, under other settings
	}
	if err := s.enabled(r.Context(), held.outcome.Who.Name); err != nil {
		return err
	}
	expires, err := s.startSession(r, held.provider, held.outcome, r.publicScheme() == "https")
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, appendLogin(nil, held.outcome, expires))
}

// refuseOtherSites refuses what a page of another site makes a browser send, lest it signs the browser's user in as somebody else.
func (r *request) refuseOtherSites() error {
	if err := r.set.cors.protection.Check(r.Request); err != nil || !r.set.cors.admits(r) {
		return forbidden(otherSitesLogin)
	}
	return nil
}

const otherSitesLogin = "Another site's page may not sign you in: its origin is not in [cors] origins."

// postRefresh trades a refresh token for a new session and new tokens. It is never taken from the URL.
func (s *Server) postRefresh(r *request) error {
	r.private()
	if err := r.refuseOtherSites(); err != nil {
		return err
	}
	p, err := r.set.provider(r.args[0])
	if err != nil {
		return err
	}
	form, err := s.loginForm(r)
	if err != nil {
		return err
	}
	if form["refresh_token"] == "" {
		return badRequest("The body must hold a refresh_token.")
	}
	out, err := s.atCost(r, func(ctx context.Context) (*oidc.Outcome, error) { return p.Refresh(ctx, form["refresh_token"]) })
	if err == nil {
		err = s.enabled(r.Context(), out.Who.Name)
	}
	if err != nil {
		return s.loginRefused(r, p, err)
	}
	expires, err := s.startSession(r, p, out, r.publicScheme() == "https")
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, appendLogin(nil, out, expires))
}
