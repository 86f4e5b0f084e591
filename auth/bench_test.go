package auth_test

import (
	"net/http/httptest"
	"testing"

	"github.com/parlordb/parlor/auth"
)

// BenchmarkBasicRemembered is a request whose password has verified before.
func BenchmarkBasicRemembered(b *testing.B) {
	m := auth.NewBasic(auth.NewPasswords(people(b), auth.PasswordOptions{Policy: cheap}))
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("anna", "apple")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPasswordsRemembered(b *testing.B) {
	p := auth.NewPasswords(people(b), auth.PasswordOptions{Policy: cheap})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Verify(b.Context(), "anna", "apple"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCookie(b *testing.B) {
	users := people(b)
	c := newCookies(b, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}})
	anna, _ := users.User(b.Context(), "anna")
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", valueOf(c.Issue(anna, false)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}
