package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/server"
	"github.com/parlordb/parlor/store"
)

func snapshot(t *testing.T, text string) *config.Snapshot {
	t.Helper()
	c, err := config.Open(config.Options{Defaults: text})
	if err != nil {
		t.Fatal(err)
	}
	return c.Snapshot()
}

// basicSettings are enough for apply: an administrator ann, with the password apple, and a secret.
const basicSettings = `
[admins]
ann = -pbkdf2:sha256-02f79d60dca16f5e176f87ff07d14ad3d3f0e3cb7ce598daddac98d37eed68a6,7f4a3e05e0cbc6f48a0035e3508eef90,10
[chttpd_auth]
secret = one
`

func wire(t *testing.T) *wiring {
	t.Helper()
	st, err := store.Open("data", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	if err := furnish(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	w := newWiring(st, slog.New(slog.DiscardHandler), new(slog.LevelVar), nil)
	t.Cleanup(func() {
		if err := errors.Join(w.close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestSettingsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	w := wire(t)
	if err := w.apply(snapshot(t, basicSettings)); err != nil {
		t.Fatal(err)
	}
	before := w.snapshot
	for _, text := range []string{
		"",
		"[chttpd_auth]\nsecret = one\n",
		"[admins]\nann = plaintext\n[chttpd_auth]\nsecret = one\n",
		strings.ReplaceAll(basicSettings, "secret = one", ""),
		basicSettings + "timeout = 0\n",
		basicSettings + "timeout = 99999999999\n",
		basicSettings + "cookie_domain = a b\n",
		basicSettings + "password_scheme = rot13\n",
		basicSettings + "pbkdf2_prf = md5\n",
		basicSettings + "iterations = 0\n",
		basicSettings + "iterations = 10\nmin_iterations = 11\n",
		basicSettings + "max_iterations = 1000\n",
		basicSettings + "min_iterations = 11\n",
		basicSettings + "iterations = 5\nmax_iterations = 9\n",
		basicSettings + "password_regexp = not-a-list\n",
		basicSettings + "x_auth_roles = X-Auth-CouchDB-UserName\n",
		basicSettings + "[chttpd]\nauthentication_handlers = {x, y}\n",
		basicSettings + "[jwt_keys]\nrsa:x = junk\n",
		basicSettings + "[httpd]\nauthentication_handlers = {x, y}\n",
		basicSettings + "[jwt_auth]\nrequired_claims = {iss\n",
		basicSettings + "[jwt_auth]\nleeway = -1\n",
		basicSettings + "[jwt_auth]\nleeway = 3601\n",
		basicSettings + "[jwt_auth]\nleeway = 1s\n",
		basicSettings + "[chttpd_auth_lockout]\nmode = of\n",
		basicSettings + "[chttpd_auth_lockout]\nthreshold = 0\n",
		basicSettings + "[chttpd_auth_lockout]\nmax_objects = x\n",
		basicSettings + "[chttpd_auth_lockout]\nmax_lifetime = 0\n",
		basicSettings + "[oauth_consumer_secrets]\nc = -----BEGIN PUBLIC KEY----- AAAA -----END PUBLIC KEY-----\n",
		basicSettings + "[couch_httpd_oauth]\nrealm = \"\n",
		basicSettings + "[chttpd]\nvalidate_host = true\n",
		basicSettings + "[couch_peruser]\ndatabase_prefix = A\n",
		basicSettings + "[jwt_auth]\nroles_claim_path = a..b\n",
		basicSettings + "[parlor]\ntrusted_proxies = 10.0.0.0/99\n",
		basicSettings + "[parlor_proxy]\ntrusted = everyone\n",
		basicSettings + "[log]\nlevel = loud\n",
		basicSettings + "[couchdb]\ndefault_security = open\n",
		basicSettings + "[parlor_session]\nstore = memory\n",
		basicSettings + "[parlor_session]\nmax_per_user = 0\n",
		basicSettings + "[parlor_session]\nstore = cookie\n[parlor]\nsync_gateway_api = true\n",
		basicSettings + "[parlor]\npassword_login = maybe\n",
	} {
		var refused *config.ValueError
		if err := w.apply(snapshot(t, text)); !errors.As(err, &refused) {
			t.Errorf("%q: %v", text, err)
		}
		if w.snapshot != before || !slices.Equal(w.auth.Names(), defaultHandlers) {
			t.Fatalf("%q changed something", text)
		}
	}
}

// A change that is refused after all leaves sessions as they were.
func TestRefusedChangeLeavesSessions(t *testing.T) {
	t.Parallel()
	w := wire(t)
	if err := w.apply(snapshot(t, basicSettings+"timeout = 100\n")); err != nil {
		t.Fatal(err)
	}
	var refused *config.ValueError
	if err := w.apply(snapshot(t, basicSettings+"timeout = 900\n[couchdb]\ndefault_security = open\n")); !errors.As(err, &refused) {
		t.Fatal(err)
	}
	_, made, err := w.sessions.Create(t.Context(), auth.NewSession{Who: auth.Identity{Name: "eve", Method: "jwt"}})
	if err != nil {
		t.Fatal(err)
	}
	if made.Expires.Sub(made.Created) > 101*time.Second {
		t.Errorf("a session lasts from %v to %v", made.Created, made.Expires)
	}
}

// Keys are stored in one line, however they came; other values stay as they are, for the dialect to judge.
func TestPrepareKeys(t *testing.T) {
	t.Parallel()
	s := snapshot(t, "")
	for _, c := range []struct{ section, value, want string }{
		{"jwt_keys", "-----BEGIN X-----\nAA\r\nBB\n-----END X-----", `-----BEGIN X-----\nAA\nBB\n-----END X-----`},
		{"oauth_consumer_secrets", "-----BEGIN X-----\nAA", `-----BEGIN X-----\nAA`},
		{"jwt_keys", "{\n\"kty\":\r\n\"oct\"}", `{ "kty": "oct"}`},
		{"jwt_keys", "c2Vj\ncmV0", "c2Vj cmV0"},
		{"oauth_token_secrets", "a\nb", "a\nb"},
		{"my", "a\nb", "a\nb"},
	} {
		if got, err := prepare(s, c.section, "key", c.value, false); err != nil || got != c.want {
			t.Errorf("[%s] %q became %q, %v", c.section, c.value, got, err)
		}
	}
	if got, err := prepare(s, "admins", "ann", "two\nlines", false); err == nil {
		t.Errorf("a password with a line end became %q", got)
	}
}

func TestPrepareAdmins(t *testing.T) {
	t.Parallel()
	s := snapshot(t, "[chttpd_auth]\niterations = 10\n")
	for _, value := range []string{"", "-pbkdf2:sha256-zz,1,2", "-hashed-x"} {
		var refused *config.ValueError
		if got, err := prepare(s, "admins", "ann", value, false); !errors.As(err, &refused) {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
	bad := snapshot(t, "[chttpd_auth]\npassword_scheme = rot13\n")
	if got, err := prepare(bad, "admins", "ann", "apple", false); err == nil || strings.Contains(err.Error(), "apple") {
		t.Errorf("no such scheme: %q, %v", got, err)
	}
	hash, err := prepare(s, "admins", "ann", "apple", false)
	if err != nil || !strings.HasPrefix(hash, "-pbkdf2:sha256-") {
		t.Fatalf("%q, %v", hash, err)
	}
	if again, err := prepare(s, "admins", "ann", hash, false); err != nil || again != hash {
		t.Errorf("a hash became %q, %v", again, err)
	}
	if other, err := prepare(s, "my", "ann", "apple", false); err != nil || other != "apple" {
		t.Errorf("elsewhere: %q, %v", other, err)
	}
}

// A cookie secret that was replaced is taken for as long as cookies last, and no longer.
func TestReplacedSecret(t *testing.T) {
	t.Parallel()
	w := wire(t)
	now := time.Unix(1_000_000, 0)
	w.now = func() time.Time { return now }
	const settings = basicSettings + "[parlor_session]\nstore = cookie\n"
	one, two := snapshot(t, settings), snapshot(t, strings.ReplaceAll(settings, "secret = one", "secret = two"))
	if err := w.apply(one); err != nil {
		t.Fatal(err)
	}
	proxies, err := server.ReadProxies(one)
	if err != nil {
		t.Fatal(err)
	}
	_, old, _, err := w.newCookies(one, proxies)
	if err != nil {
		t.Fatal(err)
	}
	// signedIn tells whether a cookie that is signed with the old secret at this moment signs in.
	signedIn := func() bool {
		ann, err := w.users.User(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		line := old.Issue(ann, false)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		pair, _, _ := strings.Cut(line, ";")
		r.Header.Set("Cookie", pair)
		id, err := w.auth.Authenticate(r)
		if err != nil {
			t.Fatal(err)
		}
		return id.Name == "ann"
	}
	if !signedIn() {
		t.Error("not before the change")
	}
	if err := w.apply(two); err != nil {
		t.Fatal(err)
	}
	now = now.Add(599 * time.Second)
	if err := w.apply(snapshot(t, strings.ReplaceAll(settings, "secret = one", "secret = two\nsame_site = lax"))); err != nil {
		t.Fatal(err)
	}
	if !signedIn() {
		t.Error("not within the time-out")
	}
	now = now.Add(2 * time.Second)
	if signedIn() {
		t.Error("still after the time-out")
	}
}

// Only the socket's requests are the administrator's, whatever others send, and /_session shows no method more.
func TestSocketMethod(t *testing.T) {
	t.Parallel()
	w := wire(t)
	if err := w.apply(snapshot(t, basicSettings)); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if id, err := w.auth.Authenticate(r); err != nil || id.Name != "" {
		t.Errorf("over the network: %+v, %v", id, err)
	}
	r = r.WithContext(throughSocket(r.Context()))
	r.SetBasicAuth("ann", "wrong")
	if id, err := w.auth.Authenticate(r); err != nil || !id.Admin() {
		t.Errorf("through the socket: %+v, %v", id, err)
	}
	if got := w.auth.Names(); !slices.Equal(got, defaultHandlers) {
		t.Errorf("methods %q", got)
	}
}

// What a change takes away ends the requests that it had let in, and no others.
func TestRevokedByChange(t *testing.T) {
	t.Parallel()
	const (
		key    = "[jwt_keys]\nhmac:phone = c2VjcmV0\n"
		signed = "[oauth_consumer_secrets]\nc = s\n"
	)
	w := wire(t)
	if err := w.apply(snapshot(t, basicSettings+signed+key)); err != nil {
		t.Fatal(err)
	}
	alive := map[string]func() bool{}
	for name, id := range map[string]auth.Identity{
		"token":  {Name: "bob", Method: "jwt", Credential: "hmac:phone"},
		"signed": {Name: "dan", Method: "oauth", Credential: "c/t", Local: true},
		"cookie": {Name: "cy", Method: "cookie", Local: true},
		"admin":  {Name: "ann", Method: "default", Local: true},
	} {
		ctx, done := w.revocations.Register(t.Context(), id, "db", func(context.Context) error { return nil })
		defer done()
		alive[name] = func() bool { return ctx.Err() == nil }
	}
	expect := func(what string, names ...string) {
		t.Helper()
		for name, lives := range alive {
			if lives() != slices.Contains(names, name) {
				t.Errorf("%s: %s lives: %v", what, name, lives())
			}
		}
	}
	apply := func(text string) {
		t.Helper()
		if err := w.apply(snapshot(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	apply(basicSettings + signed + key + "hmac:new = c2VjcmV0\n")
	expect("a key was added", "token", "signed", "cookie", "admin")
	apply(basicSettings + "[oauth_consumer_secrets]\nc = other\n" + key)
	expect("a consumer's secret was replaced", "token", "cookie", "admin")
	apply(basicSettings)
	expect("the key was removed", "cookie", "admin")
	apply(strings.ReplaceAll(basicSettings, "ann = -pbkdf2", "eve = -pbkdf2"))
	expect("the administrator was removed", "cookie")
	apply(basicSettings + "[chttpd]\nauthentication_handlers = {chttpd_auth, default_authentication_handler}\n")
	expect("the handler was removed")
}
