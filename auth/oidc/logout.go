package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
)

// LogoutURL is where to send a browser so that the provider forgets its session too (RP-Initiated Logout 1.0), "" when the provider has no such place. back is
// an absolute URL to come back to, which the provider must know; "" for none. It fails with an *auth.Refusal, 503, when the provider's metadata is not to be had.
func (p *Provider) LogoutURL(ctx context.Context, back string) (string, error) {
	meta, err := p.metadata(ctx)
	if err != nil || meta.EndSessionEndpoint == "" {
		return "", err
	}
	to, err := url.Parse(meta.EndSessionEndpoint)
	if err != nil || !safeEndpoint(meta, meta.EndSessionEndpoint) {
		return "", p.away(ctx, "end_session_endpoint cannot be used: "+meta.EndSessionEndpoint)
	}
	query := to.Query()
	query.Set("client_id", p.o.ClientID)
	if back != "" {
		query.Set("post_logout_redirect_uri", back)
	}
	to.RawQuery = query.Encode()
	return to.String(), nil
}

// LoggedOut is whom a provider's back-channel logout names: a session, a subject, or both.
type LoggedOut struct{ Subject, SID string }

// logoutLife is how old a logout token may be. Providers send them at once, and again when a try has failed.
const logoutLife = 10 * time.Minute

// clockSlack is how far ahead of ours the clock may be that a logout token's iat is from, besides the leeway.
const clockSlack = time.Minute

// BackchannelLogout checks a logout token (Back-Channel Logout 1.0 §2.6); its jti serves once. It fails with an *auth.Refusal: 400, 503 when the provider's keys are
// not to be had, so that the token cannot be judged, or 429 when the Budget of the context's auth.Client is used up.
func (p *Provider) BackchannelLogout(ctx context.Context, logoutToken string) (LoggedOut, error) {
	meta, err := p.metadata(ctx)
	if err != nil {
		return LoggedOut{}, err
	}
	who, err := p.checkLogoutToken(ctx, meta, logoutToken)
	if fault, ok := errors.AsType[errToken](err); ok {
		return LoggedOut{}, p.explain(p.refuse(http.StatusBadRequest, "The logout token is not to be trusted."), string(fault))
	}
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		return LoggedOut{}, refusal
	}
	if err != nil {
		return LoggedOut{}, p.away(ctx, err.Error())
	}
	return who, nil
}

func (p *Provider) checkLogoutToken(ctx context.Context, meta *Metadata, raw string) (LoggedOut, error) {
	header, err := p.header(ctx, meta, raw)
	if err != nil {
		return LoggedOut{}, err
	}
	if typ, found := header.ExtraHeaders["typ"]; found && !isLogoutType(typ) {
		return LoggedOut{}, errToken("typ is another kind of token's")
	}
	giveBack, err := p.o.Issuer.o.Budget.Take(auth.Client(ctx))
	if err != nil {
		return LoggedOut{}, err
	}
	token, err := p.verifier(meta, false).VerifyLogout(ctx, raw)
	if err != nil {
		return LoggedOut{}, errToken(err.Error())
	}
	giveBack()
	var payload jsontext.Value
	if err := token.Claims(&payload); err != nil {
		return LoggedOut{}, errToken(err.Error())
	}
	c, err := readClaims(payload)
	if err != nil {
		return LoggedOut{}, err
	}
	now := p.o.Now()
	switch {
	case c.Nonce != nil:
		return LoggedOut{}, errToken("a nonce: it is an ID token")
	case len(c.Subject) > maxSubject || len(c.SID) > maxSubject:
		return LoggedOut{}, errToken("sub or sid too long")
	case !isLogoutEvent(c.Events):
		return LoggedOut{}, errToken("events does not hold a logout's object")
	case token.IssuedAt.IsZero() || token.IssuedAt.Before(now.Add(-logoutLife-p.leeway())) || token.IssuedAt.After(now.Add(clockSlack+p.leeway())):
		return LoggedOut{}, errToken("iat is missing, or too far from now")
	}
	// The last check, so that only tokens of the provider's enter the memory.
	if !p.o.Logins.logouts.use(p.o.Name+" "+c.ID, token.IssuedAt, now, logoutLife+2*p.leeway()+clockSlack) {
		return LoggedOut{}, errToken("jti was used")
	}
	return LoggedOut{Subject: c.Subject, SID: c.SID}, nil
}

// isLogoutType reports whether a header's typ can be a logout token's. Providers from before the type was there say JWT (§2.4).
func isLogoutType(typ any) bool {
	text, _ := typ.(string)
	text = strings.ToLower(text)
	return text == "jwt" || strings.TrimPrefix(text, "application/") == "logout+jwt"
}

// isLogoutEvent reports whether a claim events is an object that has the logout's member, whose value is an object (§2.4).
func isLogoutEvent(events jsontext.Value) bool {
	var members map[string]jsontext.Value
	if events.Kind() != '{' || json.Unmarshal(events, &members) != nil {
		return false
	}
	return members["http://schemas.openid.net/event/backchannel-logout"].Kind() == '{'
}
