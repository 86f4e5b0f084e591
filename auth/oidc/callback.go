package oidc

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// maxParameter bounds a parameter of a callback, in bytes. Microsoft's codes have some 1,500.
const maxParameter = 4096

// Callback ends a login: query is what the provider sent the browser with, callback the same URL as in Start, cookies the request's. A state serves once, whatever
// comes of it. It fails with an *auth.Refusal:
//
//   - 400: the browser has no such login under way (login CSRF), or the login is too old or was used
//   - 401: the provider did not sign the user in, or its answer is not to be trusted: another provider's (RFC 9207), a used code, an ID token that does not verify
//   - 403: the user or the provider said no; or the mapping did
//   - 503: the provider cannot be asked
func (p *Provider) Callback(ctx context.Context, query url.Values, callback string, cookies []*http.Cookie) (*Outcome, error) {
	for _, name := range []string{"state", "code", "iss", "error"} {
		if values := query[name]; len(values) > 1 || len(values) == 1 && len(values[0]) > maxParameter {
			return nil, p.refuse(http.StatusBadRequest, name+" is too long, or there more than once.")
		}
	}
	state := query.Get("state")
	if state == "" {
		return nil, p.refuse(http.StatusBadRequest, "state is missing.")
	}
	login, name := p.find(cookies, state)
	if login == nil {
		return nil, p.refuse(http.StatusBadRequest, "This browser has no such login under way. Begin again.")
	}
	out, err := p.complete(ctx, query, callback, login)
	if err != nil {
		return nil, err
	}
	out.Next, out.ReturnTo, out.Challenge = login.Next, login.ReturnTo, login.Challenge
	out.SetCookie = cookie(name, "", login.Callback, 0)
	return out, nil
}

func (p *Provider) complete(ctx context.Context, query url.Values, callback string, login *pending) (*Outcome, error) {
	if p.o.CallbackURL != "" {
		callback = p.o.CallbackURL
	}
	now := p.o.Now()
	if age := now.Sub(login.started()); age >= pendingLife || age < 0 {
		return nil, p.refuse(http.StatusBadRequest, "The login has taken too long. Begin again.")
	}
	if login.Callback != callback {
		return nil, p.refuse(http.StatusBadRequest, "The login was begun for another address.")
	}
	if !p.o.Logins.states.use(p.o.Name+" "+login.State, login.started(), now, pendingLife) {
		return nil, p.refuse(http.StatusBadRequest, "The login has been completed already. Begin again.")
	}
	meta, err := p.metadata(ctx)
	if err != nil {
		return nil, err
	}
	if iss := query["iss"]; len(iss) == 0 && meta.ResponseIss || len(iss) == 1 && iss[0] != meta.Issuer {
		return nil, p.explain(p.refuse(http.StatusUnauthorized, "The answer is another provider's."), "iss "+query.Get("iss"))
	}
	if query.Has("error") {
		return nil, p.answeredError(query)
	}
	if query.Get("code") == "" {
		return nil, p.refuse(http.StatusBadRequest, "code is missing.")
	}
	config := p.config(meta)
	config.RedirectURL = login.Callback
	token, err := p.ask(ctx, meta, func(ctx context.Context, assertion url.Values) (*oauth2.Token, error) {
		options := []oauth2.AuthCodeOption{oauth2.VerifierOption(login.Verifier)}
		for name := range assertion {
			options = append(options, oauth2.SetAuthURLParam(name, assertion.Get(name)))
		}
		return config.Exchange(ctx, query.Get("code"), options...)
	})
	if err != nil {
		return nil, err
	}
	return p.outcome(ctx, meta, token, &login.Nonce)
}

// answeredError is the refusal for a callback that brings an error (OpenID Connect Core §3.1.2.6) in place of a code.
func (p *Provider) answeredError(query url.Values) error {
	code := query.Get("error")
	detail := code + " " + query.Get("error_description")
	switch code {
	case "temporarily_unavailable", "server_error":
		return p.explain(p.refuse(http.StatusServiceUnavailable, "The sign-on provider cannot sign anyone in now."), detail)
	case "access_denied":
		return p.explain(p.refuse(http.StatusForbidden, "The sign-on was declined."), detail)
	}
	reason := "The sign-on provider answered with an error."
	if len(code) <= 64 && strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") == "" {
		reason = "The sign-on provider answered: " + code
	}
	return p.explain(p.refuse(http.StatusUnauthorized, reason), detail)
}
