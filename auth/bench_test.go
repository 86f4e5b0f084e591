package auth_test

import (
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
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

// BenchmarkSessionLookup is a request with a tracked session among a few and among many: one that is used again and again, and one after the other,
// of which among many few are remembered. "stranger" is a cookie that nobody was given. B/session is what the State and the cache hold for each,
// after the run.
func BenchmarkSessionLookup(b *testing.B) {
	for _, stored := range []int{100, 100_000} {
		before := heapInUse()
		c := newSessions(b, func(o *auth.SessionOptions) { o.MaxPerUser = 2 })
		cookies := make([]string, stored)
		for i := range cookies {
			secret, _ := c.create(b, foreign(fmt.Sprint("user", i), "nurse"))
			cookies[i] = "AuthSession=" + secret
		}
		r := httptest.NewRequest("GET", "/", nil)
		b.Run(fmt.Sprintf("stored=%d/same", stored), func(b *testing.B) {
			r.Header["Cookie"] = cookies[:1]
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("stored=%d/each", stored), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Header["Cookie"] = cookies[i%stored:][:1]
				if _, err := c.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(heapInUse()-before)/float64(stored), "B/session")
		})
		b.Run(fmt.Sprintf("stored=%d/stranger", stored), func(b *testing.B) {
			r.Header["Cookie"] = []string{"AuthSession=" + strings.Repeat("A", 43)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Authenticate(r); err == nil {
					b.Fatal("let in")
				}
			}
		})
	}
}

// heapInUse is what is left after a garbage collection.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkToken is a request with an access token, as a bearer token and as a password.
func BenchmarkToken(b *testing.B) {
	c := newTokens(b, auth.TokenOptions{})
	secret, _ := c.create(b, auth.NewToken{User: "anna"})
	for name, m := range map[string]auth.Method{"Bearer " + secret: c.Bearer(), basic("anna:" + secret): c.Basic()} {
		b.Run(strings.ToLower(strings.Fields(name)[0]), func(b *testing.B) {
			r := requestWith(name)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
