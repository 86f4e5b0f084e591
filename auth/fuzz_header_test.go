package auth_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
)

// FuzzAuthorization: whatever one or two Authorization headers hold, only the password and the token of these users sign anyone in, each as its own user and
// alone in its header; everything else is nobody or a refusal for the client; and asking again gives the same.
func FuzzAuthorization(f *testing.F) {
	users := people(f)
	a := auth.NewAuthenticator(users)
	a.Configure([]auth.Method{bearer{"t0k.e.n", "berta"}, auth.NewBasic(auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap}))})
	const token = "Bearer t0k.e.n"
	for _, s := range []string{"", "Basic ", "Bearer ", "Basic Og==", basic("anna:apple"), basic("anna:apple") + ",", token, token + " ", "basic x", "Digest x", "Basic\tYTpi", "Bearer ..", "\x00", ", "} {
		f.Add(s, "", false)
		f.Add(s, basic("anna:apple"), true)
		f.Add(s, token, true)
	}
	f.Fuzz(func(t *testing.T, first, second string, two bool) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{first}
		if two {
			r.Header["Authorization"] = []string{first, second}
		}
		id, err := a.Authenticate(r)
		again, err2 := a.Authenticate(r)
		if !reflect.DeepEqual(id, again) || (err == nil) != (err2 == nil) || (err != nil && err.Error() != err2.Error()) {
			t.Fatalf("%q: %+v, %v, then %+v, %v", r.Header, id, err, again, err2)
		}
		if err != nil {
			refusal, ok := errors.AsType[*auth.Refusal](err)
			if !ok || refusal.Status < 400 || refusal.Status > 499 || refusal.Method == "" || id.Name != "" {
				t.Fatalf("%q: %+v, %v", r.Header, id, err)
			}
			return
		}
		switch {
		case id.Anonymous():
		case two:
			t.Fatalf("two headers signed in %+v: %q", id, r.Header)
		case id.Method == "bearer" && (id.Name != "berta" || first != token):
			t.Fatalf("%q signed in %+v", first, id)
		case id.Method == "default" && pairOf(first) != id.Name+":"+passwordOfPerson(id.Name):
			t.Fatalf("%q signed in %+v", first, id)
		}
	})
}

// pairOf is what RFC 7617 reads in a header, beside the blanks that CouchDB allows in it; without the zero bytes at its end, of which PBKDF2 takes no notice.
func pairOf(header string) string {
	text := strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(strings.TrimPrefix(header, "Basic "))
	pair, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(pair), "\x00")
}

// passwordOfPerson is that of a user of people.
func passwordOfPerson(name string) string {
	if name == "unié" {
		return "päss"
	}
	return "apple"
}

// FuzzCredentials: what is found is exactly what follows the scheme in the headers as a reader of the whole message sees them.
func FuzzCredentials(f *testing.F) {
	f.Add("Basic x", "Bearer y", "Basic ", true)
	f.Add("", "Basic x", "Basic ", true)
	f.Add("Basic", "", "Basic ", false)
	f.Fuzz(func(t *testing.T, first, second, scheme string, two bool) {
		h := http.Header{"Authorization": {first}}
		whole := first
		if two {
			h.Add("Authorization", second)
			whole += ", " + second
		}
		text, ok := auth.Credentials(h, scheme)
		if ok != strings.HasPrefix(whole, scheme) || ok && scheme+text != whole {
			t.Fatalf("%q of %q: %q, %v", scheme, whole, text, ok)
		}
		if _, ok := auth.Credentials(http.Header{"X": {whole}}, ""); ok {
			t.Fatal("credentials without a header")
		}
	})
}
