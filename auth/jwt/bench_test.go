package jwt_test

import (
	"net/http/httptest"
	"testing"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

// BenchmarkRemembered is a request whose token has verified before.
func BenchmarkRemembered(b *testing.B) {
	s := authtest.NewSigner(b, "ES256", "phone")
	bearer := newBearer(b, jwt.Options{}, s)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+s.Token(b, nil, map[string]any{
		"sub": "anna", "iss": "https://issuer.example.com/", "aud": "parlor", "iat": now, "exp": now + 60, "_couchdb.roles": []string{"a", "b", "c"},
	}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bearer.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify is the first request with a token.
func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			s := authtest.NewSigner(b, alg, "phone")
			token := s.Token(b, nil, map[string]any{"sub": "anna", "exp": now + 60, "_couchdb.roles": []string{"a", "b", "c"}})
			keys, _ := jwt.ParseKeys(map[string]string{s.Name: s.Value})
			for b.Loop() {
				b.StopTimer()
				bearer := newBearer(b, jwt.Options{Keys: keys}) // which remembers nothing
				b.StartTimer()
				if _, err := bearer.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerifier is a token of an issuer elsewhere: the first request with it, and those after.
func BenchmarkVerifier(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		s := authtest.NewSigner(b, alg, "key")
		token := s.Token(b, nil, claimsWith(map[string]any{"iat": now, "email": "anna@example.com", "email_verified": true, "groups": []string{"a", "b", "c"}}))
		keys := setOfSigners(b, s)
		b.Run(alg+"/first", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				v := newVerifier(b, jwt.VerifierOptions{Keys: keys}) // which remembers nothing
				b.StartTimer()
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(alg+"/remembered", func(b *testing.B) {
			v := newVerifier(b, jwt.VerifierOptions{Keys: keys})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
