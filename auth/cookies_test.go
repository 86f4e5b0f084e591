package auth_test

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

const annaSecret = "92de07df7e7a3fe14808cef90a7cc0d91"

func withCookie(values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header["Cookie"] = values }
}

func newCookies(t testing.TB, users auth.Users, o auth.CookieOptions) *auth.Cookies {
	t.Helper()
	c, err := auth.NewCookies(users, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// valueOf is what a browser would send back of a Set-Cookie header.
func valueOf(setCookie string) string {
	pair, _, _ := strings.Cut(setCookie, ";")
	return pair
}

func present(m auth.Method, cookie string) (auth.Identity, error) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Cookie"] = []string{cookie}
	return m.Authenticate(r)
}

// at is a clock that shows the time of the vectors of spec §16.
func at(seconds int64) func() time.Time { return func() time.Time { return time.Unix(seconds, 0) } }

func TestCookieVectors(t *testing.T) {
	t.Parallel()
	users := people(t)
	anna, err := users.User(t.Context(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	for alg, want := range map[string]string{
		"sha256": "YW5uYTo0QUIzOTdFQjoBKVlBoz_X9PkaOa4YKUSGVMnZdNIijNtjlSM6n9ywOQ",
		"sha":    "YW5uYTo0QUIzOTdFQjoH1V81qEpp3-yGBHxnaSrVAV4MEA",
	} {
		o := auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Algorithms: []string{"nosuch", alg}, Now: at(0x4AB397EB)}
		c := newCookies(t, users, o)
		got := c.Issue(anna, false)
		if valueOf(got) != "AuthSession="+want {
			t.Errorf("%s: %s, want %s", alg, got, want)
		}
		if id, err := present(newCookies(t, users, auth.CookieOptions{Secrets: o.Secrets, Now: o.Now}), "AuthSession="+want); err != nil || id.Name != "anna" {
			t.Errorf("%s under the default algorithms: %+v, %v", alg, id, err)
		}
	}
}

func TestCookieContract(t *testing.T) {
	t.Parallel()
	users := people(t)
	c := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}})
	anna, _ := users.User(t.Context(), "anna")
	good := valueOf(c.Issue(anna, false))
	authtest.TestMethod(t, authtest.MethodCase{
		Method: c,
		Good:   withCookie("a=b; " + good),
		Name:   "anna",
		Bad:    map[string]func(*http.Request){"malformed": withCookie("AuthSession=%%%")},
		Others: map[string]func(*http.Request){
			"basic":      withAuthorization(basic("anna:apple")),
			"empty":      withCookie("AuthSession="),
			"quoted":     withCookie(`AuthSession=""`),
			"other name": withCookie("XAuthSession" + strings.TrimPrefix(good, "AuthSession")),
			"other case": withCookie(strings.ToLower(good[:11]) + good[11:]),
		},
	})
	for _, headers := range [][]string{{"x=y", good}, {`AuthSession="` + good[12:] + `"`}, {" ;; " + good + " ; z"}} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = headers
		if id, err := c.Authenticate(r); err != nil || id.Name != "anna" {
			t.Errorf("%q: %+v, %v", headers, id, err)
		}
	}
}

func TestCookieMalformed(t *testing.T) {
	t.Parallel()
	c := newCookies(t, people(t), auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}})
	raw := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, value := range []string{"%%%", "YW5uYTox=", "YW5uYTox==", "A", "YW5u/TE", "YW5u+TE", raw("anna"), raw("anna:1"), raw(":"), strings.Repeat("A", 5000), "YW5u\nYTox"} {
		_, err := present(c, "AuthSession="+value)
		wantRefusal(t, fmt.Sprintf("%.40q", value), err, 400, "Malformed AuthSession cookie. Please clear your cookies.")
	}
	// Even without a secret, as in CouchDB, what cannot be read is refused and what can be is nobody's.
	none := newCookies(t, people(t), auth.CookieOptions{Secrets: []auth.Secret{{Value: ""}}})
	_, err := present(none, "AuthSession=%%%")
	wantRefusal(t, "no secret", err, 400, "Malformed AuthSession cookie. Please clear your cookies.")
	if _, err := present(none, "AuthSession="+raw("anna:4AB397EB:xyz")); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("no secret: %v", err)
	}
}

// TestCookieForged: everything that reads well but proves nothing counts as no credentials.
func TestCookieForged(t *testing.T) {
	t.Parallel()
	users := people(t)
	now := int64(0x4AB397EB)
	o := auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Now: at(now)}
	c := newCookies(t, users, o)
	anna, _ := users.User(t.Context(), "anna")
	decoded, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(valueOf(c.Issue(anna, false)), "AuthSession="))
	if err != nil {
		t.Fatal(err)
	}
	mac := string(decoded[len("anna:4AB397EB:"):])
	flipped := mac[:31] + string([]byte{mac[31] ^ 1})
	for what, content := range map[string]string{
		"last byte flipped":       "anna:4AB397EB:" + flipped,
		"no MAC":                  "anna:4AB397EB:",
		"MAC cut":                 "anna:4AB397EB:" + mac[:20],
		"MAC longer":              "anna:4AB397EB:" + mac + "x",
		"another's name":          "root:4AB397EB:" + mac,
		"unknown name":            "nobody:4AB397EB:" + mac,
		"no name":                 ":4AB397EB:" + mac,
		"a user without password": "blank:4AB397EB:" + mac,
		"one second more":         "anna:4AB397EC:" + mac,
		"lower case":              "anna:4ab397eb:" + mac,
		"no time":                 "anna:ZZZZ:" + mac,
		"empty time":              "anna::" + mac,
		"time with prefix":        "anna:0x4AB397EB:" + mac,
		"endless time":            "anna:FFFFFFFFFFFFFFFFFFFF:" + mac,
		"time near overflow":      "anna:7FFFFFFFFFFFFFFF:" + mac,
	} {
		id, err := present(c, "AuthSession="+base64.RawURLEncoding.EncodeToString([]byte(content)))
		if !errors.Is(err, auth.ErrNoCredentials) || id.Name != "" {
			t.Errorf("%s: %+v, %v, want no credentials", what, id, err)
		}
	}
	good := valueOf(c.Issue(anna, false))
	for what, change := range map[string]func(){
		"disabled algorithm": func() {
			c = newCookies(t, users, auth.CookieOptions{Secrets: o.Secrets, Now: o.Now, Algorithms: []string{"sha3_256"}})
		},
		"other secret":   func() { c = newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: "x"}}, Now: o.Now}) },
		"new password":   func() { users.Put(auth.User{Name: "anna", Password: hashOf(t, "apple")}) },
		"user was ended": func() { users.Delete("anna") },
	} {
		users, c = people(t), newCookies(t, people(t), o)
		if _, err := present(c, good); err != nil {
			t.Errorf("before %s: %v", what, err)
		}
		c = newCookies(t, users, o)
		change()
		if _, err := present(c, good); !errors.Is(err, auth.ErrNoCredentials) {
			t.Errorf("%s: %v, want no credentials", what, err)
		}
	}
}

func TestCookieLifetimeAndRenewal(t *testing.T) {
	t.Parallel()
	users := people(t)
	clock := authtest.NewClock()
	c := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Now: clock.Now})
	anna, _ := users.User(t.Context(), "anna")
	cookie := valueOf(c.Issue(anna, false))
	start := clock.Now()
	for _, tt := range []struct {
		age            time.Duration
		signed, renews bool
	}{
		{-time.Hour, true, false}, // clocks of other nodes may be ahead
		{0, true, false},
		{60 * time.Second, true, false},
		{61 * time.Second, true, true},
		{595 * time.Second, true, true},
		{599 * time.Second, true, true},
		{600 * time.Second, false, false},
		{700 * time.Second, false, false},
	} {
		clock.Advance(start.Add(tt.age).Sub(clock.Now()))
		id, err := present(c, cookie)
		if (err == nil) != tt.signed || (id.SetCookie != "") != tt.renews {
			t.Errorf("%v old: %+v, %v", tt.age, id, err)
		}
		if tt.signed && !id.Expires.Equal(start.Add(10*time.Minute)) {
			t.Errorf("expires %v", id.Expires)
		}
		if tt.renews {
			if again, err := present(c, valueOf(id.SetCookie)); err != nil || again.Name != "anna" || again.SetCookie != "" {
				t.Errorf("%v old: the renewed cookie: %+v, %v", tt.age, again, err)
			}
		}
	}
}

func TestCookieSecretRotation(t *testing.T) {
	t.Parallel()
	users := people(t)
	clock := authtest.NewClock()
	anna, _ := users.User(t.Context(), "anna")
	old := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: "old"}}, Now: clock.Now})
	cookie := valueOf(old.Issue(anna, false))
	rotated := newCookies(t, users, auth.CookieOptions{
		Secrets: []auth.Secret{{Value: "new"}, {Value: "old", Until: clock.Now().Add(5 * time.Minute)}},
		Now:     clock.Now,
	})
	clock.Advance(299 * time.Second)
	id, err := present(rotated, cookie)
	if err != nil || id.SetCookie == "" {
		t.Fatalf("under the previous secret: %+v, %v", id, err)
	}
	if _, err := present(old, valueOf(id.SetCookie)); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("the renewed cookie is still signed with the old secret: %v", err)
	}
	clock.Advance(time.Second)
	if _, err := present(rotated, cookie); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("the previous secret does not end: %v", err)
	}
	if _, err := present(rotated, valueOf(id.SetCookie)); err != nil {
		t.Errorf("the renewed cookie: %v", err)
	}
}

func TestCookieAlgorithms(t *testing.T) {
	t.Parallel()
	users := people(t)
	anna, _ := users.User(t.Context(), "anna")
	all := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Algorithms: auth.DigestNames()})
	if len(auth.DigestNames()) != 14 {
		t.Errorf("digests: %q", auth.DigestNames())
	}
	for _, alg := range auth.DigestNames() {
		c := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Algorithms: []string{alg}})
		if _, err := present(all, valueOf(c.Issue(anna, false))); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	// Nothing known in the list is sha256.
	none := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Algorithms: []string{"SHA256", ""}, Now: at(0x4AB397EB)})
	if got := valueOf(none.Issue(anna, false)); got != "AuthSession=YW5uYTo0QUIzOTdFQjoBKVlBoz_X9PkaOa4YKUSGVMnZdNIijNtjlSM6n9ywOQ" {
		t.Error(got)
	}
}

func TestSetCookieAttributes(t *testing.T) {
	t.Parallel()
	users := people(t)
	anna, _ := users.User(t.Context(), "anna")
	now := time.Date(2026, 11, 21, 17, 22, 31, 0, time.UTC)
	tests := []struct {
		o      auth.CookieOptions
		secure bool
		want   string
		clear  string
	}{
		{auth.CookieOptions{}, false, "; Version=1; Expires=Sat, 21-Nov-2026 17:32:31 GMT; Max-Age=600; Path=/; HttpOnly", "; Path=/; HttpOnly"},
		{auth.CookieOptions{Timeout: time.Minute}, true, "; Version=1; Expires=Sat, 21-Nov-2026 17:23:31 GMT; Max-Age=60; Secure; Path=/; HttpOnly", "; Secure; Path=/; HttpOnly"},
		{auth.CookieOptions{SessionOnly: true}, false, "; Version=1; Path=/; HttpOnly", "; Path=/; HttpOnly"},
		{auth.CookieOptions{SessionOnly: true, Domain: "example.com", SameSite: "strict"}, true,
			"; Version=1; Secure; Domain=example.com; Path=/; HttpOnly; SameSite=Strict", "; Secure; Domain=example.com; Path=/; HttpOnly; SameSite=Strict"},
		{auth.CookieOptions{SessionOnly: true, SameSite: "NONE"}, false, "; Version=1; Path=/; HttpOnly; SameSite=None", "; Path=/; HttpOnly; SameSite=None"},
		{auth.CookieOptions{SessionOnly: true, SameSite: "lax"}, false, "; Version=1; Path=/; HttpOnly; SameSite=Lax", "; Path=/; HttpOnly; SameSite=Lax"},
		{auth.CookieOptions{SessionOnly: true, SameSite: "bogus"}, false, "; Version=1; Path=/; HttpOnly", "; Path=/; HttpOnly"},
	}
	for _, tt := range tests {
		tt.o.Secrets = []auth.Secret{{Value: annaSecret}}
		tt.o.Now = func() time.Time { return now }
		c := newCookies(t, users, tt.o)
		if got := c.Issue(anna, tt.secure); strings.TrimPrefix(got, valueOf(got)) != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
		want := "AuthSession=; Version=1; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=0" + tt.clear
		if got := c.Clear(tt.secure); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestSecureOverTLSOrAsTheCallerSays(t *testing.T) {
	t.Parallel()
	users := people(t)
	clock := authtest.NewClock()
	o := auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Now: clock.Now}
	anna, _ := users.User(t.Context(), "anna")
	cookie := valueOf(newCookies(t, users, o).Issue(anna, false))
	clock.Advance(5 * time.Minute)
	renewed := func(o auth.CookieOptions, overTLS bool) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", cookie)
		r.Header.Set("X-Forwarded-Proto", "https")
		if overTLS {
			r.TLS = new(tls.ConnectionState)
		}
		id, err := newCookies(t, users, o).Authenticate(r)
		if err != nil {
			t.Fatal(err)
		}
		return id.SetCookie
	}
	if got := renewed(o, false); strings.Contains(got, "Secure") {
		t.Errorf("without TLS, a header that nobody vouches for: %s", got)
	}
	if got := renewed(o, true); !strings.Contains(got, "; Secure;") {
		t.Errorf("over TLS: %s", got)
	}
	o.Secure = func(r *http.Request) bool { return r.Header.Get("X-Forwarded-Proto") == "https" }
	if got := renewed(o, false); !strings.Contains(got, "; Secure;") {
		t.Errorf("as the caller says: %s", got)
	}
}

func TestCookieOptionsRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []auth.CookieOptions{{Domain: "example.com; x"}, {Domain: "a,b"}, {Domain: "a b"}, {Domain: "a=b"}, {Domain: "x\r\ny"}, {Timeout: -time.Second}, {Timeout: time.Millisecond}} {
		if _, err := auth.NewCookies(people(t), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestIssueNeedsWhatVerifies(t *testing.T) {
	t.Parallel()
	c := newCookies(t, people(t), auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}})
	for what, u := range map[string]auth.User{
		"no name":       {Password: hashOf(t, "x")},
		"no salt":       {Name: "x"},
		"colon in name": {Name: "anna:7FFFFFFF", Password: hashOf(t, "x")},
	} {
		if got := c.Issue(&u, false); got != "" {
			t.Errorf("%s: %s", what, got)
		}
	}
	anna := auth.User{Name: "anna", Password: hashOf(t, "x")}
	if got := newCookies(t, people(t), auth.CookieOptions{}).Issue(&anna, false); got != "" {
		t.Errorf("no secret: %s", got)
	}
}

func TestCookieDirectoryRefusal(t *testing.T) {
	t.Parallel()
	conflict := &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "conflict"}
	o := auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}}
	anna, _ := people(t).User(t.Context(), "anna")
	cookie := valueOf(newCookies(t, people(t), o).Issue(anna, false))
	_, err := present(newCookies(t, failing{conflict}, o), cookie)
	wantRefusal(t, "a directory that refuses", err, 401, "conflict")
}

// What a cookie was remembered for must still hold each time that it comes.
func TestRememberedCookie(t *testing.T) {
	t.Parallel()
	now := time.Unix(0x4AB397EB, 0)
	newer := auth.Secret{Value: "newer"}
	setUp := func() (users *auth.Memory, anna auth.User, c *auth.Cookies, cookie string) {
		users = people(t)
		u, err := users.User(t.Context(), "anna")
		if err != nil {
			t.Fatal(err)
		}
		old := newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{{Value: annaSecret}}, Now: func() time.Time { return now }})
		cookie = valueOf(old.Issue(u, false))
		until := auth.Secret{Value: annaSecret, Until: now.Add(time.Minute)}
		c = newCookies(t, users, auth.CookieOptions{Secrets: []auth.Secret{newer, until}, Now: func() time.Time { return now }})
		for range 2 { // the second time it is remembered
			if id, err := present(c, cookie); err != nil || id.Name != "anna" {
				t.Fatal(id, err)
			}
		}
		return users, *u, c, cookie
	}
	for name, change := range map[string]func(users *auth.Memory, anna auth.User){
		"a new password":   func(users *auth.Memory, anna auth.User) { anna.Password.Salt = "other"; users.Put(anna) },
		"no password":      func(users *auth.Memory, anna auth.User) { anna.Password.Salt = ""; users.Put(anna) },
		"a deleted user":   func(users *auth.Memory, _ auth.User) { users.Delete("anna") },
		"a secret's end":   func(*auth.Memory, auth.User) { now = now.Add(time.Minute) },
		"the cookie's end": func(*auth.Memory, auth.User) { now = now.Add(10 * time.Minute) },
	} {
		now = time.Unix(0x4AB397EB, 0)
		users, anna, c, cookie := setUp()
		change(users, anna)
		if id, err := present(c, cookie); !errors.Is(err, auth.ErrNoCredentials) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}
