package jwt_test

import (
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

// TestRefusalsTellTheOperator: what the token says of itself, as far as it could be read, and never the token.
func TestRefusalsTellTheOperator(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	mallory := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{}, s)
	good := s.Sign(t, header, `{"sub":"anna","exp":4102444800}`)
	for what, tt := range map[string]struct{ token, user, key string }{
		"wrong signature": {mallory.Sign(t, header, `{"sub":"anna","exp":4102444800}`), "anna", "hmac:k"},
		"expired":         {s.Sign(t, header, `{"sub":"anna","exp":1}`), "anna", "hmac:k"},
		"unknown key":     {s.Sign(t, `{"alg":"ES256","kid":"x"}`, `{"sub":"bob","exp":4102444800}`), "bob", "ec:x"},
		"no kid":          {s.Sign(t, `{"alg":"HS256"}`, `{"sub":"bob","exp":4102444800}`), "bob", "hmac:_default"},
		"bad sub":         {s.Sign(t, header, `{"sub":["anna"],"exp":4102444800}`), "", "hmac:k"},
		"bad claims":      {s.Sign(t, header, `x`), "", "hmac:k"},
		"bad header":      {s.Sign(t, `{"alg":"none","kid":"k"}`, `{"sub":"anna"}`), "", ""},
		"no token":        {"x", "", ""},
		"too long":        {good + strings.Repeat("A", 40_000), "", ""},
	} {
		for range 2 { // refused, then remembered as refused
			_, err := b.Verify(tt.token)
			refusal, ok := err.(*auth.Refusal)
			if !ok || refusal.Method != "jwt" || refusal.User != tt.user || refusal.Credential != tt.key {
				t.Errorf("%s: %+v, want %q %q", what, err, tt.user, tt.key)
			}
		}
	}
	_, err := b.Verify(s.Sign(t, `{"alg":"HS256","kid":"`+strings.Repeat("x", 9000)+`"}`, `{"sub":"`+strings.Repeat("y", 9000)+`","exp":4102444800}`))
	if refusal, ok := err.(*auth.Refusal); !ok || len(refusal.User) > 256 || len(refusal.Credential) > 256 {
		t.Errorf("a refusal of %d bytes", len(refusal.User)+len(refusal.Credential))
	}
}

// TestRememberedTokenTellsTheOperator: one that verified and has aged since is refused with the same words and names.
func TestRememberedTokenTellsTheOperator(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{Now: clock.Now}, s)
	token := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})
	if _, err := b.Verify(token); err != nil {
		t.Fatal(err)
	}
	clock.Advance(61e9)
	_, err := b.Verify(token)
	wantRefusal(t, "expired", err, 401, "exp not in future")
	if refusal := err.(*auth.Refusal); refusal.Method != "jwt" || refusal.User != "anna" || refusal.Credential != "hmac:k" {
		t.Errorf("%+v", refusal)
	}
}
