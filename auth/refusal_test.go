package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/password"
)

// TestRefusalsTellTheOperator: method and user are told to whoever writes the log, and to nobody else.
func TestRefusalsTellTheOperator(t *testing.T) {
	t.Parallel()
	users := people(t)
	conflict := &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "conflict"}
	o := auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}}
	passwords := auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap})
	anna, _ := users.User(t.Context(), "anna")
	cookie := withCookie(valueOf(newCookies(t, users, o).Issue(anna, false)))
	basicMethod, cookies := auth.NewBasic(passwords), newCookies(t, users, o)
	vouched := fixed{id: auth.Identity{Name: "gone", Method: "fixed", Credential: "rsa:kid"}}
	for what, tt := range map[string]struct {
		method           auth.Method
		with             func(*http.Request)
		name, user, cred string
	}{
		"wrong password":        {basicMethod, withAuthorization(basic("anna:pear")), "default", "anna", ""},
		"unknown name":          {basicMethod, withAuthorization(basic("nobody:s3cret")), "default", "nobody", ""},
		"disabled":              {basicMethod, withAuthorization(basic("gone:apple")), "default", "gone", ""},
		"empty name":            {basicMethod, withAuthorization(basic(":apple")), "default", "", ""},
		"no base64":             {basicMethod, withAuthorization("Basic !!!"), "default", "", ""},
		"directory, Basic":      {auth.NewBasic(auth.NewPasswords(failing{conflict}, auth.PasswordOptions{Policy: cheap})), withAuthorization(basic("anna:pear")), "default", "anna", ""},
		"malformed cookie":      {cookies, withCookie("AuthSession=%%%"), "cookie", "", ""},
		"directory, cookie":     {newCookies(t, failing{conflict}, o), cookie, "cookie", "anna", ""},
		"another's method":      {fixed{err: conflict}, withCookie(), "fixed", "", ""},
		"disabled, vouched for": {vouched, withCookie(), "fixed", "gone", "rsa:kid"},
	} {
		a := auth.NewAuthenticator(users)
		a.Configure([]auth.Method{tt.method})
		r := httptest.NewRequest("GET", "/", nil)
		tt.with(r)
		_, err := a.Authenticate(r)
		refusal, ok := err.(*auth.Refusal)
		if !ok || refusal.Method != tt.name || refusal.User != tt.user || refusal.Credential != tt.cred {
			t.Errorf("%s: %+v, want %s %q %q", what, err, tt.name, tt.user, tt.cred)
			continue
		}
		w := httptest.NewRecorder()
		refusal.ServeHTTP(w, r)
		for _, secret := range []string{"apple", "pear", "s3cret", annaSecret, anna.Password.Key} {
			if strings.Contains(fmt.Sprintf("%+v", *refusal), secret) {
				t.Errorf("%s: the refusal holds a secret: %+v", what, *refusal)
			}
		}
		if answer := fmt.Sprint(w.Body, w.Header()); strings.Contains(answer, "default") || tt.user != "" && strings.Contains(answer, tt.user) || tt.cred != "" && strings.Contains(answer, tt.cred) {
			t.Errorf("%s: the client is told %s", what, answer)
		}
	}
	if conflict.Method != "" || conflict.User != "" {
		t.Errorf("the directory's own refusal was changed: %+v", conflict)
	}
}

// TestVerifyNamesTheUser: a log-in form has no Method, but a user.
func TestVerifyNamesTheUser(t *testing.T) {
	t.Parallel()
	users := people(t)
	users.Put(auth.User{Name: "odd", Password: password.Hash{Scheme: password.PBKDF2, PRF: "md5", Iterations: 10, Salt: "x", Key: "00"}})
	p := auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap})
	for _, name := range []string{"anna", "nobody", "gone", "odd"} {
		_, err := p.Verify(t.Context(), name, "pear")
		if refusal, ok := err.(*auth.Refusal); !ok || refusal.User != name || refusal.Method != "" {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func TestAbout(t *testing.T) {
	t.Parallel()
	shared := &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "no", User: "anna"}
	got := shared.About("cookie", "mallory", "k")
	if got.Method != "cookie" || got.User != "anna" || got.Credential != "k" || got.Error() != "unauthorized: no" {
		t.Errorf("%+v", got)
	}
	if shared.Method+shared.Credential != "" {
		t.Errorf("the shared refusal is now %+v", shared)
	}
	long := shared.About("", "", strings.Repeat("é", 100_000)[1:]) // the cut goes through a letter, and so did its beginning
	if n := len(long.Credential); n > 256 || n < 250 || !utf8.ValidString(long.Credential) {
		t.Errorf("%d bytes of a long name are kept: %q", n, long.Credential)
	}
	wrapped := fixed{err: fmt.Errorf("directory 2: %w", shared)}
	a := auth.NewAuthenticator(nil)
	a.Configure([]auth.Method{wrapped})
	if _, err := a.Authenticate(httptest.NewRequest("GET", "/", nil)); err == nil || err.Error() != "directory 2: unauthorized: no" || !errors.Is(err, shared) {
		t.Errorf("a refusal with more words around it: %v", err)
	}
}
