package oidc

import (
	"context"
	"fmt"
	"net/http"

	"github.com/parlordb/parlor/auth"
)

// refuse makes a refusal of a login.
func (p *Provider) refuse(status int, reason string) *auth.Refusal {
	kind := map[int]string{
		http.StatusBadRequest:         "bad_request",
		http.StatusUnauthorized:       "unauthorized",
		http.StatusForbidden:          "forbidden",
		http.StatusServiceUnavailable: "service_unavailable",
	}[status]
	return &auth.Refusal{Status: status, Kind: kind, Reason: reason, Method: "oidc", Credential: "oidc:" + p.o.Name}
}

// explain wraps a refusal with what the operator should know. It is from outside in part, so it is quoted and bounded.
func (p *Provider) explain(refusal *auth.Refusal, detail string) error {
	return fmt.Errorf("%w (provider %s: %.500q)", refusal, p.o.Name, detail)
}

// away is the refusal for a provider that does not answer, or not as it should. When it is the caller who has gone, the error is the context's.
func (p *Provider) away(ctx context.Context, detail string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	refusal := p.refuse(http.StatusServiceUnavailable, "The sign-on provider cannot be asked now.")
	refusal.Header = http.Header{"Retry-After": {"10"}}
	return p.explain(refusal, detail)
}
