package auth_test

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

// bearer is a Method for tokens of which it knows one.
type bearer struct{ token, name string }

func (b bearer) Name() string { return "bearer" }

func (b bearer) Authenticate(r *http.Request) (auth.Identity, error) {
	switch token, ok := auth.Credentials(r.Header, "Bearer "); {
	case !ok:
		return auth.Identity{}, auth.ErrNoCredentials
	case token != b.token:
		return auth.Identity{}, &auth.Refusal{Status: http.StatusBadRequest, Kind: "bad_request", Reason: "no such token"}
	default:
		return auth.Identity{Name: b.name, Method: b.Name()}, nil
	}
}

// everyMethod is an Authenticator with bearer tokens, cookies and Basic, in that order, and anna's credentials for each.
func everyMethod(t *testing.T, users *auth.Memory) (a *auth.Authenticator, token, cookie, pair string) {
	t.Helper()
	clock := authtest.NewClock()
	cookies := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Now: clock.Now})
	anna, err := users.User(t.Context(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	a = auth.NewAuthenticator(users)
	a.Configure([]auth.Method{bearer{"head.claims.signature", "anna"}, cookies, auth.NewBasic(auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap}))})
	return a, "Bearer head.claims.signature", valueOf(cookies.Issue(anna, false)), basic("anna:apple")
}

// TestTwoAuthorizationHeaders: a proxy may have looked at the first and another at the last, so two are one value that is neither.
func TestTwoAuthorizationHeaders(t *testing.T) {
	t.Parallel()
	a, token, _, pair := everyMethod(t, people(t))
	const noBase64, noToken = "Authorization header has invalid base64 value", "no such token"
	for what, tt := range map[string]struct {
		headers []string
		reason  string // "": nobody
	}{
		"the same twice":         {[]string{pair, pair}, noBase64},
		"another user":           {[]string{pair, basic("root:apple")}, noBase64},
		"wrong, then right":      {[]string{basic("anna:pear"), pair}, noBase64},
		"Basic, then Bearer":     {[]string{pair, token}, noBase64},
		"Bearer, then Basic":     {[]string{token, pair}, noToken},
		"a token twice":          {[]string{token, token}, noToken},
		"Basic, then empty":      {[]string{pair, ""}, noBase64},
		"empty, then Basic":      {[]string{"", pair}, ""},
		"unknown, then Basic":    {[]string{"Digest x", pair}, ""},
		"joined by a proxy":      {[]string{pair + ", " + pair}, noBase64},
		"joined without a blank": {[]string{token + "," + token}, noToken},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = tt.headers
		id, err := a.Authenticate(r)
		if tt.reason != "" {
			wantRefusal(t, what, err, 400, tt.reason)
		} else if err != nil || !id.Anonymous() {
			t.Errorf("%s: %+v, %v, want nobody", what, id, err)
		}
	}
}

// TestTwoSessionCookies: the first counts, as in CouchDB, whatever the second is worth.
func TestTwoSessionCookies(t *testing.T) {
	t.Parallel()
	a, _, cookie, _ := everyMethod(t, people(t))
	forged := cookie[:len(cookie)-4] + "AAAA"
	for what, headers := range map[string][]string{"in one header": {forged + "; " + cookie}, "in two": {forged, cookie}} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = headers
		if id, err := a.Authenticate(r); err != nil || !id.Anonymous() {
			t.Errorf("%s: %+v, %v, want nobody", what, id, err)
		}
	}
}

// TestSmuggledHeaders writes requests by hand to a server of net/http: none of these is anna's.
func TestSmuggledHeaders(t *testing.T) {
	t.Parallel()
	a, token, cookie, pair := everyMethod(t, people(t))
	server := httptest.NewServer(a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "I am %q", auth.FromContext(r.Context()).Name)
	})))
	defer server.Close()
	for what, tt := range map[string]struct {
		header string // lines
		status int
		body   string
	}{
		"a good one":             {"Authorization: " + pair, 200, `I am "anna"`},
		"name in other letters":  {"aUTHORIZATION: " + pair, 200, `I am "anna"`},
		"blank before the colon": {"Authorization : " + pair, 400, ""},
		"blank before the name":  {" Authorization: " + pair, 200, `I am ""`}, // it goes on with the line before
		"NUL in the name":        {"Author\x00ization: " + pair, 400, ""},
		"NUL in the value":       {"Authorization: " + pair + "\x00", 400, ""},
		"a bare CR":              {"X: y\rAuthorization: " + pair, 400, ""},
		"DEL in the value":       {"Authorization: " + pair + "\x7f", 400, ""},
		"underscore for a dash":  {"X_Authorization: " + pair, 200, `I am ""`},
		"folded":                 {"Authorization: Basic\r\n " + strings.TrimPrefix(pair, "Basic "), 200, `I am "anna"`}, // one value, by RFC 9112 §5.2
		"folded in the token":    {"Authorization: " + token[:14] + "\r\n " + token[14:], 400, "no such token"},
		"two, in other letters":  {"Authorization: " + pair + "\r\nauthorization: " + token, 400, "invalid base64"},
		"hidden in another":      {"X: y, Authorization: " + pair, 200, `I am ""`},
		"in a trailer's name":    {"Trailer: Authorization", 200, `I am ""`},
		"cookie in Basic":        {"Authorization: Basic " + cookie, 400, "invalid base64"},
		"Basic in the cookie":    {"Cookie: AuthSession=" + strings.TrimPrefix(pair, "Basic "), 400, "Malformed AuthSession cookie"},
	} {
		status, body := exchange(t, server.Listener.Addr(), "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+tt.header+"\r\n\r\n")
		if status != tt.status || !strings.Contains(body, tt.body) || tt.status != 200 && strings.Contains(body, "I am") {
			t.Errorf("%s: %d %s, want %d %s", what, status, body, tt.status, tt.body)
		}
	}
}

// exchange sends bytes as they are.
func exchange(t *testing.T, addr net.Addr, request string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestCookieReplayed: a cookie that was stolen is worth nothing once its user has a new password, is deleted, disabled, or is another person of that name.
func TestCookieReplayed(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		change func(users *auth.Memory, u auth.User)
		reason string // "": nobody
	}{
		"another password": {func(users *auth.Memory, u auth.User) {
			u.Password = hashOf(t, "pear")
			users.Put(u)
		}, ""},
		"the same password again": {func(users *auth.Memory, u auth.User) {
			u.Password = hashOf(t, "apple")
			users.Put(u)
		}, ""},
		"deleted": {func(users *auth.Memory, u auth.User) { users.Delete(u.Name) }, ""},
		"deleted, then another of that name": {func(users *auth.Memory, u auth.User) {
			users.Delete(u.Name)
			users.Put(auth.User{Name: u.Name, Roles: []string{"_admin"}, Password: hashOf(t, "apple")})
		}, ""},
		"password removed": {func(users *auth.Memory, u auth.User) { users.Put(auth.User{Name: u.Name}) }, ""},
		"disabled": {func(users *auth.Memory, u auth.User) {
			u.Disabled = true
			users.Put(u)
		}, "This account is disabled."},
	} {
		users := people(t)
		a, _, cookie, _ := everyMethod(t, users)
		ask := func() (auth.Identity, error) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Cookie", cookie)
			return a.Authenticate(r)
		}
		if id, err := ask(); err != nil || id.Name != "anna" {
			t.Errorf("before %s: %+v, %v", what, id, err)
		}
		anna, _ := users.User(t.Context(), "anna")
		tt.change(users, *anna)
		id, err := ask()
		if tt.reason != "" {
			wantRefusal(t, what, err, 403, tt.reason)
		} else if err != nil || !id.Anonymous() {
			t.Errorf("%s: %+v, %v, want nobody", what, id, err)
		}
	}
}

// TestCookieTruncated cuts a good cookie everywhere, and changes each of its letters: none of that signs in.
func TestCookieTruncated(t *testing.T) {
	t.Parallel()
	a, _, cookie, _ := everyMethod(t, people(t))
	value := strings.TrimPrefix(cookie, "AuthSession=")
	refused := func(what, value string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", "AuthSession="+value)
		id, err := a.Authenticate(r)
		if err != nil {
			wantRefusal(t, what, err, 400, "Malformed AuthSession cookie. Please clear your cookies.")
		} else if !id.Anonymous() {
			t.Errorf("%s: %+v", what, id)
		}
	}
	for i := range value {
		refused(fmt.Sprintf("cut to %d", i), value[:i])
		if i > 0 {
			refused(fmt.Sprintf("without its first %d", i), value[i:])
		}
		for _, letter := range "A9_-" {
			if i < len(value)-1 && value[i] != byte(letter) {
				refused(fmt.Sprintf("%q at %d", letter, i), value[:i]+string(letter)+value[i+1:])
			}
		}
	}
}

// alike are names that people, databases and terminals take for one another. Each is a user of his own.
var alike = []string{
	"Zo\u00eb", "Zoe\u0308", "ZO\u00cb", "zo\u00eb", "Zoe", "Zo\u00eb ", " Zo\u00eb", "Zo\u00eb\x00", "Zo\u00eb\n", "Zo\u00eb\x7f", "\x00Zo\u00eb",
	"Zo\u200b\u00eb", "\u0396o\u00eb", "\uff3ao\u00eb", "\ufb01", "fi", "\u212b", "\u00c5", "A\u030a", "Zo%C3%AB", "a\tb", "a b", "\u202eanna", "..", "/", "\xff",
}

// passwordOf is in plain letters: PBKDF2 takes no notice of zero bytes at the end of a password, but those here are in names.
func passwordOf(name string) string { return hex.EncodeToString([]byte(name)) }

// TestUsersThatLookAlike: by password, by cookie and in the directory, no name is taken for another.
func TestUsersThatLookAlike(t *testing.T) {
	t.Parallel()
	users := new(auth.Memory)
	for _, name := range alike {
		users.Put(auth.User{Name: name, Roles: []string{"role of " + name}, Password: hashOf(t, passwordOf(name))})
	}
	cookies := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}})
	m := auth.NewBasic(auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap}))
	by := func(m auth.Method, with func(*http.Request)) (auth.Identity, error) {
		r := httptest.NewRequest("GET", "/", nil)
		with(r)
		return m.Authenticate(r)
	}
	for _, name := range alike {
		u, err := users.User(t.Context(), name)
		if err != nil || u.Name != name {
			t.Fatalf("%q: %+v, %v", name, u, err)
		}
		cookie := valueOf(cookies.Issue(u, false))
		for _, other := range alike {
			id, err := by(m, withAuthorization(basic(other+":"+passwordOf(name))))
			if other == name {
				if err != nil || id.Name != name || id.Roles[0] != "role of "+name {
					t.Errorf("%q by password: %+v, %v", name, id, err)
				}
				continue
			}
			wantRefusal(t, fmt.Sprintf("%q with the password of %q", other, name), err, 401, "Name or password is incorrect.")
			content, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(cookie, "AuthSession="))
			if err != nil {
				t.Fatal(err)
			}
			swapped := other + strings.TrimPrefix(string(content), name)
			if id, err := by(cookies, withCookie("AuthSession="+base64.RawURLEncoding.EncodeToString([]byte(swapped)))); !errors.Is(err, auth.ErrNoCredentials) {
				t.Errorf("%q with the cookie of %q: %+v, %v", other, name, id, err)
			}
		}
		if id, err := by(cookies, withCookie(cookie)); err != nil || id.Name != name || id.Roles[0] != "role of "+name {
			t.Errorf("%q by cookie: %+v, %v", name, id, err)
		}
	}
}

// TestColonInName: Basic ends a name at its first colon and a cookie too, so such a user has neither, and nobody gets in in his place.
func TestColonInName(t *testing.T) {
	t.Parallel()
	users := people(t)
	for _, name := range []string{"anna:apple", "anna:", ":", "anna:7FFFFFFF", ":anna"} {
		users.Put(auth.User{Name: name, Roles: []string{"_admin"}, Password: hashOf(t, "cherry")})
	}
	a, _, _, _ := everyMethod(t, users)
	cookies := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}})
	for _, name := range []string{"anna:apple", "anna:", ":", "anna:7FFFFFFF", ":anna"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", basic(name+":cherry"))
		_, err := a.Authenticate(r)
		wantRefusal(t, name, err, 401, "Name or password is incorrect.")
		u, _ := users.User(t.Context(), name)
		if cookie := cookies.Issue(u, false); cookie != "" {
			t.Errorf("%q is given a cookie: %s", name, cookie)
		}
	}
}
