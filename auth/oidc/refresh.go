package oidc

import (
	"context"
	"net/http"
	"net/url"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// maxRefreshToken bounds a refresh token, in bytes. Some providers' are tokens with claims.
const maxRefreshToken = 8 << 10

// Refresh trades a refresh token. Outcome.RefreshToken is the new one, or the old one when the provider did not rotate it. It fails with an *auth.Refusal:
//
//   - 400: no refresh token can look so
//   - 401: the provider does not take it, or does not say whose it is
//   - 403: the mapping refuses the user
//   - 503: the provider cannot be asked
func (p *Provider) Refresh(ctx context.Context, refreshToken string) (*Outcome, error) {
	if refreshToken == "" || len(refreshToken) > maxRefreshToken {
		return nil, p.refuse(http.StatusBadRequest, "refresh_token is missing or too long.")
	}
	meta, err := p.metadata(ctx)
	if err != nil {
		return nil, err
	}
	token, err := p.ask(ctx, meta, func(ctx context.Context, assertion url.Values) (*oauth2.Token, error) {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
		for name, values := range assertion {
			form[name] = values
		}
		// oauth2.Config refreshes without any parameter of ours, so it could not authenticate with an assertion. This type takes another grant.
		config := p.config(meta)
		request := clientcredentials.Config{
			ClientID: config.ClientID, ClientSecret: config.ClientSecret,
			TokenURL: config.Endpoint.TokenURL, AuthStyle: config.Endpoint.AuthStyle, EndpointParams: form,
		}
		return request.Token(ctx)
	})
	if err != nil {
		return nil, err
	}
	return p.outcome(ctx, meta, token, nil)
}
