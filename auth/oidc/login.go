package oidc

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Start is the beginning of a login.
type Start struct {
	Callback  string         // where the provider sends the browser back to: an absolute URL of this server, unless CallbackURL says so
	Next      string         // a path on this server to go to afterwards; "" for none
	ReturnTo  string         // or an app's URL, whose origin or scheme is in ReturnTo
	Challenge string         // the app's code_challenge (S256), required with ReturnTo: who holds its verifier may trade the one-time code
	Offline   bool           // ask for a refresh token
	Secure    bool           // the cookie's attribute
	Cookies   []*http.Cookie // the request's, so that the logins of its other tabs go on: the latest four can be under way
}

// Login returns where to send the browser, and the Set-Cookie header that binds the answer to this browser. It fails with an *auth.Refusal: 400 for a Start that a client
// cannot mean, 503 for a provider that is away. No other error is the client's fault.
func (p *Provider) Login(ctx context.Context, s Start) (redirect, setCookie string, err error) {
	if err := p.checkStart(&s); err != nil {
		return "", "", err
	}
	meta, err := p.metadata(ctx)
	if err != nil {
		return "", "", err
	}
	if !safeEndpoint(meta, meta.AuthorizationEndpoint) {
		return "", "", p.away(ctx, "authorization_endpoint cannot be used: "+meta.AuthorizationEndpoint)
	}
	login := &pending{
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Started: p.o.Now().UnixMilli(),
		Callback: s.Callback, Next: s.Next, ReturnTo: s.ReturnTo, Challenge: s.Challenge,
	}
	name := p.freeSlot(s.Cookies, s.Secure)
	sealed, err := p.sealLogin(login, name)
	if err != nil {
		return "", "", err
	}
	config := p.config(meta)
	config.RedirectURL = s.Callback
	options := []oauth2.AuthCodeOption{gooidc.Nonce(login.Nonce), oauth2.S256ChallengeOption(login.Verifier)}
	if s.Offline {
		options = append(options, askOffline(config, meta)...)
	}
	return config.AuthCodeURL(login.State, options...), cookie(name, sealed, s.Callback, pendingLife), nil
}

// checkStart refuses what a client must not ask for, and puts CallbackURL into force.
func (p *Provider) checkStart(s *Start) error {
	if p.o.CallbackURL != "" {
		s.Callback = p.o.CallbackURL
	}
	switch {
	case !isCallback(s.Callback):
		return fmt.Errorf("callback %.200q is no absolute URL", s.Callback) // the server's own mistake
	case s.Next != "" && s.ReturnTo != "":
		return p.refuse(http.StatusBadRequest, "A login goes on to next or to return_to, not to both.")
	case s.Next != "" && !isNext(s.Next):
		return p.refuse(http.StatusBadRequest, "next must be a path on this server.")
	case s.ReturnTo != "" && !mayReturn(p.o.ReturnTo, s.ReturnTo):
		return p.refuse(http.StatusBadRequest, "return_to is none of the places that logins may end at.")
	case (s.ReturnTo != "") != (s.Challenge != ""):
		return p.refuse(http.StatusBadRequest, "return_to and code_challenge go together.")
	case s.Challenge != "" && !isChallenge(s.Challenge):
		return p.refuse(http.StatusBadRequest, "code_challenge must be a SHA-256 in base64url (S256).")
	}
	return nil
}

// askOffline asks for a refresh token: with a scope (OpenID Connect Core §11), or as Google does where the metadata does not know that scope. Both need consent anew.
func askOffline(config *oauth2.Config, meta *Metadata) []oauth2.AuthCodeOption {
	if meta.Scopes != nil && !slices.Contains(meta.Scopes, "offline_access") {
		return []oauth2.AuthCodeOption{oauth2.AccessTypeOffline, oauth2.ApprovalForce}
	}
	if !slices.Contains(config.Scopes, "offline_access") {
		config.Scopes = append(slices.Clone(config.Scopes), "offline_access")
	}
	return []oauth2.AuthCodeOption{oauth2.ApprovalForce}
}
