package auth_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

// sessionsCase is a Sessions with what it is made of.
type sessionsCase struct {
	*auth.Sessions
	users       *auth.Memory
	state       *auth.MemoryState
	revocations *auth.Revocations
	clock       *authtest.Clock
}

func newSessions(t testing.TB, change func(*auth.SessionOptions)) *sessionsCase {
	t.Helper()
	c := &sessionsCase{users: people(t), state: new(auth.MemoryState), revocations: new(auth.Revocations), clock: authtest.NewClock()}
	c.Sessions = auth.NewSessions(c.state, c.users, c.revocations)
	t.Cleanup(c.Close)
	c.configure(t, change)
	return c
}

func (c *sessionsCase) configure(t testing.TB, change func(*auth.SessionOptions)) {
	t.Helper()
	o := auth.SessionOptions{Now: c.clock.Now, Providers: []string{"clinic"}}
	if change != nil {
		change(&o)
	}
	if err := c.Configure(o); err != nil {
		t.Fatal(err)
	}
}

// local is who signed in with a password.
func local(name string) auth.NewSession {
	return auth.NewSession{Who: auth.Identity{Name: name, Method: "default", Local: true}}
}

// foreign is whom the provider "clinic" vouches for.
func foreign(name string, roles ...string) auth.NewSession {
	return auth.NewSession{Who: auth.Identity{Name: name, Roles: roles, Method: "jwt", Provider: "clinic"}, Subject: "1"}
}

func (c *sessionsCase) create(t testing.TB, n auth.NewSession) (secret string, made auth.Session) {
	t.Helper()
	secret, made, err := c.Create(t.Context(), n)
	if err != nil {
		t.Fatalf("create a session of %s: %v", n.Who.Name, err)
	}
	return secret, made
}

func (c *sessionsCase) with(secret string) (auth.Identity, error) {
	return present(c, "AuthSession="+secret)
}

func (c *sessionsCase) wantNone(t testing.TB, what, secret string) {
	t.Helper()
	if id, err := c.with(secret); !errors.Is(err, auth.ErrNoCredentials) || id.Name != "" {
		t.Errorf("%s: %+v, %v, want ErrNoCredentials", what, id, err)
	}
	if id, err := c.Check(t.Context(), c.Lookup(secret)); !errors.Is(err, auth.ErrNoRecord) || id.Name != "" {
		t.Errorf("%s: checked: %+v, %v, want ErrNoRecord", what, id, err)
	}
	if s, err := c.Get(t.Context(), c.Lookup(secret)); !errors.Is(err, auth.ErrNoRecord) || s.User != "" {
		t.Errorf("%s: got %+v, %v, want ErrNoRecord", what, s, err)
	}
}

func (c *sessionsCase) wantUser(t testing.TB, what, secret, name string, roles ...string) auth.Identity {
	t.Helper()
	id, err := c.with(secret)
	if err != nil || id.Name != name || !slices.Equal(id.Roles, roles) || id.Method != "cookie" || id.Credential != "session:"+c.Lookup(secret) {
		t.Errorf("%s: %+v, %v, want %s with %q", what, id, err, name, roles)
	}
	return id
}

// ids are the records of a kind that are stored.
func (c *sessionsCase) ids(t testing.TB, prefix string) []string {
	t.Helper()
	records, err := c.state.List(t.Context(), prefix, "", 100_000)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestSessionContract(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	secret, _ := c.create(t, local("anna"))
	once, _ := c.create(t, auth.NewSession{Who: local("anna").Who, OneTime: true})
	if id, err := c.with(once); err != nil || id.Name != "anna" {
		t.Fatalf("%+v, %v", id, err)
	}
	parameter := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery = "a=b&one_time_session=" + value }
	}
	authtest.TestMethod(t, authtest.MethodCase{
		Method: c.Sessions,
		Good:   withCookie("a=b; AuthSession=" + secret),
		Name:   "anna",
		Bad: map[string]func(*http.Request){
			"no such one-time session":          parameter(strings.Repeat("A", 43)),
			"used one-time session":             parameter(once),
			"plain session as a parameter":      parameter(secret),
			"malformed one-time session":        parameter("%00"),
			"plain session beside its own copy": func(r *http.Request) { withCookie("AuthSession=" + secret)(r); parameter(secret)(r) },
		},
		Others: map[string]func(*http.Request){
			"basic":               withAuthorization(basic("anna:apple")),
			"empty":               withCookie("AuthSession="),
			"malformed":           withCookie("AuthSession=%%%"),
			"CouchDB's cookie":    withCookie("AuthSession=YW5uYTo0QUIzOTdFQjoBKVlBoz_X9PkaOa4YKUSGVMnZdNIijNtjlSM6n9ywOQ"),
			"unknown":             withCookie("AuthSession=" + strings.Repeat("A", 43)),
			"the handle":          withCookie("AuthSession=" + c.Lookup(secret)),
			"padded":              withCookie("AuthSession=" + secret + "="),
			"other name":          withCookie("XAuthSession=" + secret),
			"other case":          withCookie("authsession=" + secret),
			"alias that is off":   withCookie("SyncGatewaySession=" + secret),
			"long":                withCookie("AuthSession=" + strings.Repeat("A", 100_000)),
			"empty parameter":     parameter(""),
			"one-time elsewhere":  withCookie("AuthSession=" + once),
			"a path in a cookie":  withCookie("AuthSession=../session/" + secret),
			"bytes in the cookie": withCookie("AuthSession=\x00\xff" + secret[2:]),
		},
	})
}

// TestSessionKeepsNoSecret: neither the ids of records nor their bodies hold what the cookie holds.
func TestSessionKeepsNoSecret(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	secret, made := c.create(t, local("anna"))
	if len(secret) != 43 || made.ID != c.Lookup(secret) || len(made.ID) != 43 {
		t.Fatalf("secret of %d characters, ID %q", len(secret), made.ID)
	}
	anna, _ := c.users.User(t.Context(), "anna")
	records, err := c.state.List(t.Context(), "", "", 10)
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		for _, text := range []string{secret, anna.Password.Salt, anna.Password.Key} {
			if strings.Contains(r.ID+string(r.Body), text) {
				t.Errorf("%s: %s holds a secret", r.ID, r.Body)
			}
		}
	}
	if other, _ := c.create(t, local("anna")); other == secret {
		t.Error("two sessions are the same")
	}
}

func TestSessionUnconfigured(t *testing.T) {
	t.Parallel()
	s := auth.NewSessions(new(auth.MemoryState), people(t), new(auth.Revocations))
	defer s.Close()
	if _, err := present(s, "AuthSession="+strings.Repeat("A", 43)); !errors.Is(err, auth.ErrNoCredentials) {
		t.Error(err)
	}
	if secret, _, err := s.Create(t.Context(), local("anna")); err == nil || secret != "" {
		t.Errorf("created %q", secret)
	}
	for what, o := range map[string]auth.SessionOptions{
		"short":  {Timeout: time.Millisecond},
		"past":   {Timeout: -time.Hour},
		"domain": {Domain: "a; Secure"},
		"alias":  {Alias: "a=b"},
	} {
		if err := s.Configure(o); err == nil {
			t.Errorf("%s: %+v is taken", what, o)
		}
	}
	if _, _, err := s.Create(t.Context(), local("anna")); err == nil {
		t.Error("a Configure that failed had an effect")
	}
	s.Close()
}

func TestSessionCreateRefuses(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	past := foreign("zoe")
	past.Who.Expires = c.clock.Now()
	for what, n := range map[string]auth.NewSession{
		"nobody":            {},
		"no UTF-8":          foreign("zo\xff"),
		"negative ttl":      {Who: foreign("zoe").Who, TTL: -1},
		"long label":        {Who: foreign("zoe").Who, Label: strings.Repeat("x", 257)},
		"two lines":         {Who: foreign("zoe").Who, Label: "a\nb"},
		"an expired token":  past,
		"label not in text": {Who: foreign("zoe").Who, Label: "\xff"},
	} {
		secret, made, err := c.Create(t.Context(), n)
		if refusal, ok := errors.AsType[*auth.Refusal](err); !ok || refusal.Status/100 != 4 || secret != "" || made.ID != "" {
			t.Errorf("%s: %q, %+v, %v", what, secret, made, err)
		}
	}
	if _, _, err := c.Create(t.Context(), local("nobody")); !errors.Is(err, auth.ErrUnknownUser) {
		t.Errorf("a password of nobody's: %v", err)
	}
	if ids := c.ids(t, ""); len(ids) != 0 {
		t.Errorf("%q are left", ids)
	}
}

func TestSessionSlides(t *testing.T) {
	t.Parallel()
	c := newSessions(t, func(o *auth.SessionOptions) { o.SameSite = "lax"; o.Secure = func(*http.Request) bool { return true } })
	secret, made := c.create(t, local("anna"))
	if d := made.Expires.Sub(made.Created); d != 10*time.Minute {
		t.Errorf("good for %v", d)
	}
	c.clock.Advance(time.Minute)
	if id := c.wantUser(t, "a tenth", secret, "anna", "dev", "ops"); id.SetCookie != "" || !id.Expires.Equal(made.Expires) {
		t.Errorf("after a tenth: %+v", id)
	}
	c.clock.Advance(time.Second)
	id := c.wantUser(t, "more than a tenth", secret, "anna", "dev", "ops")
	want := "AuthSession=" + secret + "; Version=1; Expires=Sat, 21-Nov-2026 17:11:01 GMT; Max-Age=600; Secure; Path=/; HttpOnly; SameSite=Lax"
	if id.SetCookie != want || !id.Expires.Equal(made.Expires.Add(61*time.Second)) {
		t.Errorf("renewed: %s until %v, want %s", id.SetCookie, id.Expires, want)
	}
	if id := c.wantUser(t, "right after", secret, "anna", "dev", "ops"); id.SetCookie != "" {
		t.Errorf("renewed again: %s", id.SetCookie)
	}
	for range 30 { // an hour and a half, always in use
		c.clock.Advance(3 * time.Minute)
		c.wantUser(t, "in use", secret, "anna", "dev", "ops")
	}
	c.clock.Advance(10*time.Minute - time.Second)
	if s, err := c.Get(t.Context(), made.ID); err != nil || !s.Expires.Equal(c.clock.Now().Add(time.Second)) {
		t.Errorf("at last: %+v, %v", s, err)
	}
	c.clock.Advance(time.Second)
	c.wantNone(t, "unused for ten minutes", secret)
}

// TestSessionRenewalByOne: of many requests at the same time one writes, and all are let in.
func TestSessionRenewalByOne(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	secret, made := c.create(t, local("anna"))
	c.clock.Advance(5 * time.Minute)
	var writes, cookies atomic.Int32
	defer c.state.Watch(func(string) { writes.Add(1) })()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			id, err := c.with(secret)
			if err != nil || id.Name != "anna" {
				t.Errorf("%+v, %v", id, err)
			}
			if id.SetCookie != "" {
				cookies.Add(1)
			}
		})
	}
	wg.Wait()
	if writes.Load() != 1 || cookies.Load() != 1 {
		t.Errorf("%d writes and %d cookies, want one each", writes.Load(), cookies.Load())
	}
	if s, err := c.Get(t.Context(), made.ID); err != nil || !s.Expires.Equal(c.clock.Now().Add(10*time.Minute)) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSessionTimeoutChanges: a shorter timeout counts at once, a longer one wakes nobody.
func TestSessionTimeoutChanges(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	secret, _ := c.create(t, local("anna"))
	c.clock.Advance(2 * time.Minute)
	c.configure(t, func(o *auth.SessionOptions) { o.Timeout = time.Minute })
	c.wantNone(t, "under a minute's timeout", secret)
	c.configure(t, nil)
	if id := c.wantUser(t, "as it was", secret, "anna", "dev", "ops"); id.SetCookie == "" {
		t.Error("not renewed")
	}
	c.clock.Advance(11 * time.Minute)
	c.configure(t, func(o *auth.SessionOptions) { o.Timeout = time.Hour })
	c.wantNone(t, "expired before the timeout became longer", secret)
}

func TestSessionLimit(t *testing.T) {
	t.Parallel()
	c := newSessions(t, func(o *auth.SessionOptions) { o.BindToToken = true })
	n := foreign("zoe", "nurse")
	n.Who.Expires = c.clock.Now().Add(15 * time.Minute)
	secret, made := c.create(t, n)
	c.clock.Advance(9 * time.Minute)
	id := c.wantUser(t, "renewed", secret, "zoe", "nurse")
	if !id.Expires.Equal(n.Who.Expires) || !strings.Contains(id.SetCookie, "Max-Age=360;") {
		t.Errorf("%+v, want the end of the token", id)
	}
	c.clock.Advance(5 * time.Minute)
	if id := c.wantUser(t, "near the limit", secret, "zoe", "nurse"); id.SetCookie != "" {
		t.Errorf("renewed beyond the limit: %s", id.SetCookie)
	}
	c.clock.Advance(time.Minute)
	c.wantNone(t, "at the limit", secret)
	if !made.Limit.Equal(n.Who.Expires) {
		t.Errorf("limit %v", made.Limit)
	}

	n.Who.Expires = c.clock.Now().Add(time.Minute)
	if _, made := c.create(t, n); !made.Expires.Equal(n.Who.Expires) {
		t.Errorf("made until %v", made.Expires)
	}
	c.configure(t, nil)
	if _, made := c.create(t, n); !made.Expires.Equal(c.clock.Now().Add(10*time.Minute)) || !made.Limit.IsZero() {
		t.Errorf("not bound, but until %v, limit %v", made.Expires, made.Limit)
	}
}

func TestSessionTTL(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	secret, made := c.create(t, auth.NewSession{Who: local("anna").Who, TTL: time.Hour})
	c.clock.Advance(50 * time.Minute)
	if id := c.wantUser(t, "in use", secret, "anna", "dev", "ops"); id.SetCookie != "" || !id.Expires.Equal(made.Created.Add(time.Hour)) {
		t.Errorf("it slides: %+v", id)
	}
	c.clock.Advance(10 * time.Minute)
	c.wantNone(t, "at its end", secret)
}

func TestSessionCookies(t *testing.T) {
	t.Parallel()
	c := newSessions(t, func(o *auth.SessionOptions) { o.Alias = "SyncGatewaySession"; o.Domain = "a.example" })
	secret, made := c.create(t, local("anna"))
	for _, tt := range []struct{ got, want string }{
		{c.Cookie("", "x", &made, false), "AuthSession=x; Version=1; Expires=Sat, 21-Nov-2026 17:10:00 GMT; Max-Age=600; Domain=a.example; Path=/; HttpOnly"},
		{c.Cookie("SyncGatewaySession", "x", &made, true), "SyncGatewaySession=x; Version=1; Expires=Sat, 21-Nov-2026 17:10:00 GMT; Max-Age=600; Secure; Domain=a.example; Path=/; HttpOnly"},
		{c.Clear("", true), "AuthSession=; Version=1; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=0; Secure; Domain=a.example; Path=/; HttpOnly"},
		{c.Clear("SyncGatewaySession", false), "SyncGatewaySession=; Version=1; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=0; Domain=a.example; Path=/; HttpOnly"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
	c.clock.Advance(2 * time.Minute)
	stale := "AuthSession=" + strings.Repeat("A", 43)
	for _, cookies := range []string{"SyncGatewaySession=" + secret, stale + "; SyncGatewaySession=" + secret} {
		id, err := present(c, cookies)
		if err != nil || id.Name != "anna" {
			t.Errorf("%s: %+v, %v", cookies, id, err)
		}
		if id.SetCookie != "" && !strings.HasPrefix(id.SetCookie, "SyncGatewaySession="+secret+";") {
			t.Errorf("came as an alias, is renewed as %s", id.SetCookie)
		}
	}
	c.configure(t, func(o *auth.SessionOptions) { o.SessionOnly = true })
	if got, want := c.Cookie("", "x", &made, false), "AuthSession=x; Version=1; Path=/; HttpOnly"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "AuthSession="+secret)
	r.TLS = new(tls.ConnectionState)
	c.clock.Advance(2 * time.Minute)
	if id, err := c.Authenticate(r); err != nil || !strings.Contains(id.SetCookie, "; Secure") {
		t.Errorf("over TLS: %+v, %v", id, err)
	}
}

func TestSessionOneTime(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	n := local("anna")
	n.OneTime = true
	parameter := func(secret string) (auth.Identity, error) {
		return c.Authenticate(httptest.NewRequest("GET", "/notes/_changes?feed=eventsource&one_time_session="+url.QueryEscape(secret), nil))
	}
	secret, made := c.create(t, n)
	if c.Cookie("", secret, &made, false) != "" {
		t.Error("a cookie is set for it")
	}
	c.clock.Advance(5*time.Minute - time.Second)
	if id, err := c.Check(t.Context(), made.ID); err != nil || id.Name != "anna" {
		t.Errorf("Check: %+v, %v", id, err)
	}
	if id, err := parameter(secret); err != nil || id.Name != "anna" || id.SetCookie != "" || id.Credential != "session:"+made.ID {
		t.Errorf("used: %+v, %v", id, err)
	}
	_, err := parameter(secret)
	wantRefusal(t, "used again", err, 401, "The one-time session is unknown, used or expired.")
	if id, err := c.with(secret); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("used again as a cookie: %+v, %v", id, err)
	}

	secret, _ = c.create(t, n)
	if id := c.wantUser(t, "as a cookie", secret, "anna", "dev", "ops"); id.SetCookie != "" {
		t.Errorf("it is set: %s", id.SetCookie)
	}
	if id, err := c.with(secret); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("a second time: %+v, %v", id, err)
	}

	secret, _ = c.create(t, n)
	c.clock.Advance(5 * time.Minute)
	_, err = parameter(secret)
	wantRefusal(t, "too late", err, 401, "The one-time session is unknown, used or expired.")
	c.wantNone(t, "too late as a cookie", secret)
}

// TestSessionOneTimeRace: of many who use it at the same time, one is let in.
func TestSessionOneTimeRace(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	n := foreign("zoe")
	n.OneTime = true
	for range 20 {
		secret, _ := c.create(t, n)
		var in atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				r := httptest.NewRequest("GET", "/?one_time_session="+secret, nil)
				if i%2 == 0 {
					r = httptest.NewRequest("GET", "/", nil)
					r.Header.Set("Cookie", "AuthSession="+secret)
				}
				switch id, err := c.Authenticate(r); {
				case err == nil && id.Name == "zoe":
					in.Add(1)
				case id.Name != "":
					t.Errorf("%+v beside %v", id, err)
				}
			})
		}
		wg.Wait()
		if in.Load() != 1 {
			t.Fatalf("%d were let in", in.Load())
		}
	}
}

func TestSessionLocal(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	secret, _ := c.create(t, local("anna"))
	anna, _ := c.users.User(t.Context(), "anna")
	if id := c.wantUser(t, "as made", secret, "anna", "dev", "ops"); !id.Local || id.Scope != nil || id.Provider != "" {
		t.Errorf("%+v", id)
	}
	changed := *anna
	changed.Roles = []string{"chief"}
	c.users.Put(changed)
	c.wantUser(t, "with other roles", secret, "anna", "chief")
	changed.Admin = true
	c.users.Put(changed)
	c.wantUser(t, "as server admin", secret, "anna", "_admin", "chief")
	changed.Password.Key, changed.Password.Iterations = "00", 99
	c.users.Put(changed)
	c.wantUser(t, "with an upgraded hash", secret, "anna", "_admin", "chief")
	changed.Password = hashOf(t, "apple") // even the same one, set anew
	c.users.Put(changed)
	c.wantNone(t, "with a new password", secret)
	c.users.Put(*anna)
	c.wantUser(t, "with the old record", secret, "anna", "dev", "ops")
	c.users.Delete("anna")
	c.wantNone(t, "deleted", secret)

	// The password changes between its check and the session.
	c.users.Put(changed)
	n := local("anna")
	n.User = anna
	secret, _ = c.create(t, n)
	c.wantNone(t, "a password that was changed meanwhile", secret)
}

func TestSessionForeign(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	n := foreign("anna", "nurse", "dev", "chief")
	n.Who.Granted = []string{"dev", "chief"}
	n.Who.Scope = &auth.Scope{Databases: []string{"notes"}}
	c.users.Put(auth.User{Name: "anna", Roles: []string{"dev", "chief", "more"}, Password: hashOf(t, "apple")})
	secret, _ := c.create(t, n)
	id := c.wantUser(t, "as made", secret, "anna", "nurse", "dev", "chief")
	if id.Local || id.Provider != "clinic" || id.Scope == nil || !slices.Equal(id.Scope.Databases, []string{"notes"}) || !slices.Equal(id.Granted, []string{"dev", "chief"}) {
		t.Errorf("%+v", id)
	}
	c.users.Put(auth.User{Name: "anna", Roles: []string{"dev"}, Password: hashOf(t, "another")})
	if id := c.wantUser(t, "less one that was granted", secret, "anna", "nurse", "dev"); !slices.Equal(id.Granted, []string{"dev"}) {
		t.Errorf("granted %q", id.Granted)
	}
	if s, err := c.Get(t.Context(), c.Lookup(secret)); err != nil || !slices.Equal(s.Roles, []string{"nurse", "dev"}) || !slices.Equal(s.Granted, []string{"dev"}) || s.Subject != "1" {
		t.Errorf("%+v, %v", s, err)
	}
	c.configure(t, func(o *auth.SessionOptions) { o.Providers = []string{"other"} })
	c.wantNone(t, "a provider that was removed", secret)
	c.configure(t, nil)
	c.users.Delete("anna")
	c.wantNone(t, "deleted", secret)

	n = foreign("zoe", "nurse", "dev")
	n.Who.Granted = []string{"dev"}
	c.users.Put(auth.User{Name: "zoe", Roles: []string{"dev"}})
	c.users.Delete("zoe")
	secret, _ = c.create(t, n)
	c.wantUser(t, "never in the directory", secret, "zoe", "nurse")
}

// TestSessionDisabled: it is the Authenticator that refuses, whatever the session is of.
func TestSessionDisabled(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	a := auth.NewAuthenticator(c.users)
	a.Configure([]auth.Method{c})
	anna, _ := c.users.User(t.Context(), "anna")
	one, _ := c.create(t, local("anna"))
	two, _ := c.create(t, foreign("anna"))
	off := *anna
	off.Disabled = true
	c.users.Put(off)
	for _, secret := range []string{one, two} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", "AuthSession="+secret)
		_, err := a.Authenticate(r)
		wantRefusal(t, "disabled", err, 403, "This account is disabled.")
	}
}

// TestSessionDirectoryFails: a directory that cannot be asked lets nobody in, and takes nobody's session.
func TestSessionDirectoryFails(t *testing.T) {
	t.Parallel()
	state, clock := new(auth.MemoryState), authtest.NewClock()
	c := newSessions(t, nil)
	c.state = state
	broken := errors.New("the disk is gone")
	for _, err := range []error{broken, &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "conflicts"}} {
		users := &switching{Users: people(t)}
		s := auth.NewSessions(state, users, new(auth.Revocations))
		defer s.Close()
		if err := s.Configure(auth.SessionOptions{Now: clock.Now}); err != nil {
			t.Fatal(err)
		}
		secret, made, cerr := s.Create(t.Context(), local("anna"))
		if cerr != nil {
			t.Fatal(cerr)
		}
		users.set(err)
		got := fmt.Sprintf("%T", err)
		if id, used := present(s, "AuthSession="+secret); used == nil || fmt.Sprintf("%T", used) != got || id.Name != "" {
			t.Errorf("%v: %+v, %v", err, id, used)
		}
		if _, _, cerr := s.Create(t.Context(), local("anna")); cerr == nil {
			t.Errorf("%v: created", err)
		}
		clock.Advance(time.Minute)
		if n, _ := s.Sweep(t.Context()); n != 0 {
			t.Errorf("%v: %d swept", err, n)
		}
		users.set(nil)
		if _, err := s.Get(t.Context(), made.ID); err != nil {
			t.Error(err)
		}
	}
}

// switching is a directory that can be made to fail.
type switching struct {
	auth.Users
	err atomic.Pointer[error]
}

func (s *switching) set(err error) { s.err.Store(&err) }

func (s *switching) User(ctx context.Context, name string) (*auth.User, error) {
	if err := s.err.Load(); err != nil && *err != nil {
		return nil, *err
	}
	return s.Users.User(ctx, name)
}

func TestSessionRecordOfUse(t *testing.T) {
	t.Parallel()
	c := newSessions(t, func(o *auth.SessionOptions) { o.Timeout = 24 * time.Hour })
	n := local("anna")
	n.Address, n.UserAgent, n.Label = netip.MustParseAddr("192.0.2.9"), strings.Repeat("é", 200), "phone"
	secret, made := c.create(t, n)
	if made.Address != n.Address || made.UserAgent != strings.Repeat("é", 128) || made.Label != "phone" || made.Method != "default" {
		t.Errorf("%+v", made)
	}
	written := make(chan string, 10)
	defer c.state.Watch(func(id string) { written <- id })()
	c.clock.Advance(59 * time.Second)
	c.wantUser(t, "within a minute", secret, "anna", "dev", "ops")
	c.clock.Advance(time.Second)
	c.wantUser(t, "a minute later", secret, "anna", "dev", "ops")
	if id := <-written; id != "session/"+made.ID {
		t.Errorf("%s was written", id)
	}
	c.wantUser(t, "at once again", secret, "anna", "dev", "ops")
	s, err := c.Get(t.Context(), made.ID)
	if err != nil || !s.LastUsed.Equal(c.clock.Now()) || s.Address.String() != "192.0.2.1" || !s.Expires.Equal(made.Expires) {
		t.Errorf("%+v, %v", s, err)
	}
	c.Close()
	if n := len(written); n != 0 {
		t.Errorf("%d more writes", n)
	}
	c.clock.Advance(time.Minute)
	c.wantUser(t, "after Close", secret, "anna", "dev", "ops")
}
