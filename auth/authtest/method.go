// Package authtest tests implementations of auth.Method, auth.Users and auth.State against their contracts, and has what such tests need: a clock
// that stands still, a signer of tokens, and an OpenID provider that misbehaves on demand.
//
// A new Method is tested with one call:
//
//	authtest.TestMethod(t, authtest.MethodCase{
//		Method: m,
//		Good:   func(r *http.Request) { r.SetBasicAuth("anna", "apple") },
//		Name:   "anna",
//		Bad:    map[string]func(r *http.Request){"wrong password": func(r *http.Request) { r.SetBasicAuth("anna", "pear") }},
//	})
//
// and so are a new directory, with [TestUsers], and a new State, with [TestState]. A program that signs users on at an OpenID provider is tested with
// a [Provider]: keys that rotate and vanish, forged ID tokens, a token endpoint that hangs. All are for any package's tests, not for this project's
// alone.
package authtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"

	"github.com/parlordb/parlor/auth"
)

// MethodCase is a Method and requests for it. The functions add credentials to a fresh request.
type MethodCase struct {
	Method auth.Method
	Good   func(r *http.Request)            // signs in
	Name   string                           // as whom
	Bad    map[string]func(r *http.Request) // each is this Method's, and must be refused
	Others map[string]func(r *http.Request) // each is not: credentials that it must leave to others, beside those that TestMethod knows
}

// TestMethod tests the contract of auth.Method.
func TestMethod(t *testing.T, c MethodCase) {
	t.Helper()
	t.Run("refused", func(t *testing.T) { c.testBad(t) })
	t.Run("not mine", func(t *testing.T) { c.testOthers(t) })
	t.Run("signed in", func(t *testing.T) { c.testGood(t) })
}

func (c MethodCase) testBad(t testing.TB) {
	for name, bad := range c.Bad {
		id, err := c.ask(t, bad)
		if err == nil || errors.Is(err, auth.ErrNoCredentials) {
			t.Errorf("%s: %v, want a refusal", name, err)
			continue
		}
		refusal, ok := errors.AsType[*auth.Refusal](err)
		if !ok {
			t.Errorf("%s: %v is no *auth.Refusal: the client does not learn why", name, err)
			continue
		}
		if refusal.Status < 400 || refusal.Status > 499 || refusal.Kind == "" || refusal.Reason == "" {
			t.Errorf("%s: status %d, kind %q, reason %q: want a 4xx with words", name, refusal.Status, refusal.Kind, refusal.Reason)
		}
		if !reflect.DeepEqual(id, auth.Identity{}) {
			t.Errorf("%s: an identity beside the refusal: %+v", name, id)
		}
	}
}

func (c MethodCase) testOthers(t testing.TB) {
	others := map[string]func(r *http.Request){
		"nothing":             func(*http.Request) {},
		"empty Authorization": func(r *http.Request) { r.Header.Set("Authorization", "") },
		"unknown scheme":      func(r *http.Request) { r.Header.Set("Authorization", "Digest username=\"anna\"") },
		"scheme with a colon": func(r *http.Request) { r.Header.Set("Authorization", "Basic: YW5uYTphcHBsZQ==") },
		"another cookie":      func(r *http.Request) { r.Header.Set("Cookie", "Session=abc") },
	}
	for name, f := range c.Others {
		others[name] = f
	}
	for name, other := range others {
		if id, err := c.ask(t, other); !errors.Is(err, auth.ErrNoCredentials) || !reflect.DeepEqual(id, auth.Identity{}) {
			t.Errorf("%s: %+v, %v, want ErrNoCredentials", name, id, err)
		}
	}
}

func (c MethodCase) testGood(t testing.TB) {
	if c.Method.Name() == "" {
		t.Error("the Method has no name")
	}
	want, err := c.ask(t, c.Good)
	if err != nil {
		t.Fatalf("the good request: %v", err)
	}
	if want.Name != c.Name || want.Method != c.Method.Name() {
		t.Errorf("signed in as %+v, want %s by %s", want, c.Name, c.Method.Name())
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got, err := c.ask(t, c.Good); err != nil || got.Name != want.Name || !reflect.DeepEqual(got.Roles, want.Roles) {
					t.Errorf("asked again at the same time: %+v, %v, want %+v", got, err, want)
				}
			}
		})
	}
	wg.Wait()
}

// ask presents one request and sees to it that the Method leaves it as it was.
func (c MethodCase) ask(t testing.TB, with func(*http.Request)) (auth.Identity, error) {
	r := httptest.NewRequest("GET", "/", unreadable{t})
	with(r)
	before := r.Clone(context.Background())
	id, err := c.Method.Authenticate(r)
	if !reflect.DeepEqual(r.Header, before.Header) || r.URL.String() != before.URL.String() {
		t.Errorf("the Method changed the request: %v, was %v", r.Header, before.Header)
	}
	return id, err
}

// unreadable is a body that no Method may read.
type unreadable struct{ t testing.TB }

func (b unreadable) Read([]byte) (int, error) {
	b.t.Error("the Method read the request's body")
	return 0, io.EOF
}
