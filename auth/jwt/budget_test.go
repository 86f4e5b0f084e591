package jwt

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	jose "github.com/golang-jwt/jwt/v5"

	"github.com/parlordb/parlor/auth"
)

// TestWrongSignaturesHaveABudget: who has used it up is refused before any signature is computed, and is still who a remembered token says.
func TestWrongSignaturesHaveABudget(t *testing.T) {
	t.Parallel()
	keys, bad := ParseKeys(map[string]string{"hmac:_default": "c2VjcmV0"})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	bearer, err := NewBearer(Options{Keys: keys, Budget: auth.NewBudget(auth.BudgetOptions{Failures: 2})})
	if err != nil {
		t.Fatal(err)
	}
	token := func(sub, secret string) string {
		text, err := jose.NewWithClaims(jose.SigningMethodHS256, jose.MapClaims{"sub": sub, "exp": 4102444800}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	status := func(peer, token string) int {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("Authorization", "Bearer "+token)
		_, err := bearer.Authenticate(r)
		if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
			if refusal.Status == http.StatusTooManyRequests && (refusal.Header.Get("Retry-After") == "" || refusal.Method != "jwt") {
				t.Errorf("refusal %+v", refusal)
			}
			return refusal.Status
		}
		if err != nil {
			t.Error(err)
		}
		return http.StatusOK
	}
	const a, b = "192.0.2.1:1", "192.0.2.2:1"
	for i := range 5 { // right ones cost nothing
		if got := status(a, token(fmt.Sprint("anna", i), "secret")); got != http.StatusOK {
			t.Fatalf("a right token: %d", got)
		}
	}
	for i, want := range []int{400, 400, 429} {
		if got := status(a, token(fmt.Sprint("eve", i), "guess")); got != want {
			t.Errorf("wrong token %d: %d, want %d", i+1, got, want)
		}
	}
	if got := status(a, token("eve0", "guess")); got != http.StatusBadRequest {
		t.Errorf("a wrong token that is remembered: %d", got)
	}
	if got := status(a, token("new", "secret")); got != http.StatusTooManyRequests {
		t.Errorf("a right token that is not remembered, beyond the budget: %d", got)
	}
	if got := status(a, token("anna0", "secret")); got != http.StatusOK {
		t.Errorf("a right token that is remembered: %d", got)
	}
	if got := status(b, token("bob", "secret")); got != http.StatusOK {
		t.Errorf("another client: %d", got)
	}
}
