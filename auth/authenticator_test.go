package auth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

// fixed is a Method that answers every request with the same.
type fixed struct {
	id  auth.Identity
	err error
}

func (f fixed) Name() string { return "fixed" }

func (f fixed) Authenticate(*http.Request) (auth.Identity, error) { return f.id, f.err }

func TestAuthenticatorAsksInOrder(t *testing.T) {
	t.Parallel()
	no := fixed{err: fmt.Errorf("wrapped: %w", auth.ErrNoCredentials)}
	bare := fixed{err: auth.ErrNoCredentials}
	refusal := &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "no"}
	wrong := fixed{id: auth.Identity{Name: "mallory"}, err: refusal}
	broken := fixed{err: errors.New("disk on fire")}
	stranger := fixed{id: auth.Identity{Name: "stranger", Roles: []string{"x"}, Method: "fixed"}}
	anna := fixed{id: auth.Identity{Name: "anna", Method: "fixed", Local: true}}
	deleted := fixed{id: auth.Identity{Name: "deleted", Method: "fixed", Local: true}}
	gone := fixed{id: auth.Identity{Name: "gone", Method: "fixed"}}
	nameless := fixed{id: auth.Identity{Roles: []string{"_admin"}, Method: "fixed"}}
	tests := []struct {
		name    string
		methods []auth.Method
		want    string // the user, "" for nobody
		err     string
	}{
		{"no methods", nil, "", ""},
		{"none finds anything", []auth.Method{no, bare}, "", ""},
		{"the first wins", []auth.Method{no, stranger, anna}, "stranger", ""},
		{"a refusal is final", []auth.Method{no, wrong, anna}, "", "unauthorized: no"},
		{"an error is final", []auth.Method{broken, anna}, "", "disk on fire"},
		{"a local user", []auth.Method{anna}, "anna", ""},
		{"a token's user need not be known", []auth.Method{stranger}, "stranger", ""},
		{"a local user must be", []auth.Method{deleted, anna}, "", "unauthorized: Name or password is incorrect."},
		{"a disabled user, whatever the method", []auth.Method{gone, anna}, "", "forbidden: This account is disabled."},
		{"nobody is signed in without a name", []auth.Method{nameless}, "", `method "fixed" signed in a user without a name`},
	}
	for _, tt := range tests {
		a := auth.NewAuthenticator(people(t))
		a.Configure(tt.methods)
		id, err := a.Authenticate(httptest.NewRequest("GET", "/", nil))
		text := ""
		if err != nil {
			text = err.Error()
		}
		if id.Name != tt.want || text != tt.err || (err != nil && len(id.Roles) > 0) {
			t.Errorf("%s: %+v, %v", tt.name, id, err)
		}
	}
	a := auth.NewAuthenticator(failing{errors.New("disk on fire")})
	a.Configure([]auth.Method{stranger})
	if id, err := a.Authenticate(httptest.NewRequest("GET", "/", nil)); err == nil || id.Name != "" {
		t.Errorf("a directory that fails lets in %+v", id)
	}
}

func TestConfigureWhileAsked(t *testing.T) {
	t.Parallel()
	users := people(t)
	a := auth.NewAuthenticator(users)
	passwords := auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap})
	lists := [][]auth.Method{{auth.NewBasic(passwords)}, {newCookies(t, users, auth.CookieOptions{}), auth.NewBasic(passwords)}}
	a.Configure(lists[0])
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				r := httptest.NewRequest("GET", "/", nil)
				r.SetBasicAuth("anna", "apple")
				if id, err := a.Authenticate(r); err != nil || id.Name != "anna" {
					t.Errorf("%+v, %v", id, err)
				}
			}
		})
	}
	for i := range 100 {
		a.Configure(lists[i%2])
	}
	wg.Wait()
	if !slices.Equal(a.Names(), []string{"cookie", "default"}) {
		t.Errorf("names: %q", a.Names())
	}
	lists[1][0] = fixed{err: errors.New("the caller's list")}
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("anna", "apple")
	if _, err := a.Authenticate(r); err != nil {
		t.Errorf("a change of the caller's list: %v", err)
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	users := new(auth.Memory)
	authtest.TestUsers(t, authtest.UsersCase{
		Users:  users,
		Put:    func(_ *testing.T, u auth.User) { users.Put(u) },
		Delete: func(_ *testing.T, name string) { users.Delete(name) },
	})
	users.Put(auth.User{})
	if _, err := users.User(t.Context(), ""); !errors.Is(err, auth.ErrUnknownUser) {
		t.Errorf("a user without a name: %v", err)
	}
	roles := []string{"a"}
	users.Put(auth.User{Name: "anna", Roles: roles})
	roles[0] = "_admin"
	if u, err := users.User(t.Context(), "anna"); err != nil || u.Roles[0] != "a" {
		t.Errorf("the caller's list of roles is the directory's: %+v, %v", u, err)
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	users := people(t)
	clock := authtest.NewClock()
	cookies := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Now: clock.Now})
	anna, _ := users.User(t.Context(), "anna")
	oldCookie := valueOf(cookies.Issue(anna, false))
	clock.Advance(2 * 60e9)
	whoami := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := auth.FromContext(r.Context())
		fmt.Fprintf(w, "%q %q %v", id.Name, id.Roles, id.Admin())
	})
	a := auth.NewAuthenticator(users)
	a.Configure([]auth.Method{cookies, auth.NewBasic(auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap}))})
	withoutBasic := auth.NewAuthenticator(users)
	withoutBasic.Configure([]auth.Method{cookies})
	broken := auth.NewAuthenticator(failing{errors.New("disk on fire")})
	broken.Configure([]auth.Method{fixed{id: auth.Identity{Name: "anna"}}})
	tests := []struct {
		name      string
		handler   http.Handler
		header    http.Header
		status    int
		body      string
		challenge string
	}{
		{"nobody", a.Handler(whoami), nil, 200, `"" [] false`, ""},
		{"nobody, required", a.Require(whoami), nil, 401, `{"error":"unauthorized","reason":"Authentication required."}` + "\n", `Basic realm="server"`},
		{"nobody, required, no Basic", withoutBasic.Require(whoami), nil, 401, `{"error":"unauthorized","reason":"Authentication required."}` + "\n", ""},
		{"wrong password", a.Require(whoami), http.Header{"Authorization": {basic("anna:pear")}}, 401, `{"error":"unauthorized","reason":"Name or password is incorrect."}` + "\n", ""},
		{"malformed", a.Handler(whoami), http.Header{"Authorization": {"Basic !"}}, 400, `{"error":"bad_request","reason":"Authorization header has invalid base64 value"}` + "\n", ""},
		{"directory fails", broken.Handler(whoami), nil, 500, `{"error":"internal_server_error","reason":"Sign-on failed; the server's log says why."}` + "\n", ""},
		{"Basic", a.Require(whoami), http.Header{"Authorization": {basic("root:apple")}}, 200, `"root" ["_admin"] true`, ""},
		{"cookie to renew", a.Require(whoami), http.Header{"Cookie": {oldCookie}}, 200, `"anna" ["dev" "ops"] false`, ""},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = tt.header
		w := httptest.NewRecorder()
		tt.handler.ServeHTTP(w, r)
		if w.Code != tt.status || w.Body.String() != tt.body || w.Header().Get("WWW-Authenticate") != tt.challenge {
			t.Errorf("%s: %d %v %s", tt.name, w.Code, w.Header(), w.Body)
		}
		if tt.status >= 400 && w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", tt.name, w.Header())
		}
		if renewed := strings.HasPrefix(w.Header().Get("Set-Cookie"), "AuthSession="); renewed != (tt.name == "cookie to renew") {
			t.Errorf("%s: %v", tt.name, w.Header())
		}
	}
	if id := auth.FromContext(context.Background()); !id.Anonymous() {
		t.Errorf("nobody put %+v there", id)
	}
}

func TestRefusalAnswer(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	refusal := &auth.Refusal{Status: 503, Kind: "busy", Reason: `<a> & "b"`, Header: http.Header{"retry-after": {"5"}}}
	refusal.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	body, _ := io.ReadAll(w.Result().Body)
	if w.Code != 503 || string(body) != `{"error":"busy","reason":"<a> & \"b\""}`+"\n" || w.Header().Get("Retry-After") != "5" {
		t.Errorf("%d %v %s", w.Code, w.Header(), body)
	}
}
