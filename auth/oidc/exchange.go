package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/oauth2"
)

// ask makes a request to the token endpoint when its turn has come. request is given the parameters that stand in for the client's secret, if any.
func (p *Provider) ask(ctx context.Context, meta *Metadata,
	request func(ctx context.Context, assertion url.Values) (*oauth2.Token, error)) (*oauth2.Token, error) {
	if !safeEndpoint(meta, meta.TokenEndpoint) {
		return nil, p.away(ctx, "token_endpoint cannot be used: "+meta.TokenEndpoint)
	}
	assertion, err := p.assertions.parameters(p.o.ClientID, meta.TokenEndpoint, p.o.Now())
	if err != nil {
		return nil, err
	}
	done, err := p.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	token, err := request(context.WithValue(ctx, oauth2.HTTPClient, p.o.Client), assertion)
	if err != nil {
		return nil, p.asked(ctx, err)
	}
	return token, nil
}

// turn waits for a place among the requests to the token endpoint.
func (p *Provider) turn(ctx context.Context) (done func(), err error) {
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	select {
	case p.asking <- struct{}{}:
		return func() { <-p.asking }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, p.away(ctx, "too many requests are waiting for its token endpoint")
	}
}

// asked makes a refusal of what the token endpoint answered. What it says stays with the operator.
func (p *Provider) asked(ctx context.Context, err error) error {
	answered, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			return p.away(ctx, failed.Error())
		}
		return p.away(ctx, "the token endpoint's answer cannot be read") // the library's error may quote it
	}
	detail := fmt.Sprintf("token endpoint: %s %.60s %.200s", answered.Response.Status, answered.ErrorCode, answered.ErrorDescription)
	if answered.ErrorCode == "invalid_grant" {
		return p.explain(p.refuse(http.StatusUnauthorized, "The sign-on provider refuses the code or refresh token. Sign in again."), detail)
	}
	return p.away(ctx, detail)
}

// outcome identifies whom a token answer is about. nonce is nil where none was sent.
func (p *Provider) outcome(ctx context.Context, meta *Metadata, token *oauth2.Token, nonce *string) (*Outcome, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok || raw == "" {
		return nil, p.refuse(http.StatusUnauthorized, "The sign-on provider gave no ID token.")
	}
	verified, sid, err := p.verifyIDToken(ctx, meta, raw, token.AccessToken, nonce)
	if err != nil {
		return nil, err
	}
	who, err := p.o.Issuer.Identify(ctx, verified)
	if err != nil {
		return nil, err
	}
	who.Method, who.Provider, who.Expires = "oidc", p.o.Name, verified.Expires
	return &Outcome{
		Who: who, Issuer: p.o.Issuer.o.Issuer, Subject: verified.Subject, SID: sid, IDToken: raw,
		AccessToken: token.AccessToken, RefreshToken: token.RefreshToken, TokenType: token.Type(), ExpiresIn: expiresIn(token),
	}, nil
}

// expiresIn is what the answer says, whatever our clock shows. Some providers make a string of it.
func expiresIn(token *oauth2.Token) time.Duration {
	seconds := 0.0
	switch v := token.Extra("expires_in").(type) {
	case float64:
		seconds = v
	case string:
		seconds, _ = strconv.ParseFloat(v, 64) // what is no number says nothing
	}
	if !(seconds > 0) || seconds > 1e9 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
