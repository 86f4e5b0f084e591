package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
	"github.com/parlordb/parlor/auth/password"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/couchjs"
	"github.com/parlordb/parlor/server"
	"github.com/parlordb/parlor/store"
)

// wiring holds the parts of a running server together, and hands each what the settings say about it.
type wiring struct {
	settings    *config.Settings // set before the first request
	log         *slog.Logger
	level       *slog.LevelVar
	users       *server.Users
	auth        *auth.Authenticator
	passwords   *auth.Passwords
	revocations *auth.Revocations
	js          *couchjs.Pool
	server      *server.Server
	proxies     atomic.Pointer[proxies]
	now         func() time.Time

	// What is in force. Calls of apply do not overlap, so no lock is needed.
	snapshot *config.Snapshot // nil before the first apply
	bearer   *jwt.Bearer
	secrets  []auth.Secret
	methods  []string
}

func newWiring(st *store.Store, log *slog.Logger, level *slog.LevelVar, backup http.Handler) *wiring {
	users := server.NewUsers(st, log)
	w := &wiring{
		log: log, level: level, users: users, now: time.Now,
		auth:        auth.NewAuthenticator(users),
		passwords:   auth.NewPasswords(users, auth.PasswordOptions{Upgrade: users.Upgrade}),
		revocations: new(auth.Revocations),
		js:          couchjs.NewPool(couchjs.Options{Log: log}),
	}
	w.server = server.New(server.Options{
		Store: st, Users: users, Auth: w.auth, Passwords: w.passwords, Revocations: w.revocations, JS: w.js,
		Settings: func() *config.Settings { return w.settings },
		Version:  release, Log: log,
		AdminOnly: map[string]http.Handler{backupRoute: backup},
	})
	return w
}

// close ends what goes on in the background, after the last request.
func (w *wiring) close() error {
	w.server.Close()
	w.users.Close()
	return w.js.Close()
}

// handle answers one request.
func (w *wiring) handle(rw http.ResponseWriter, r *http.Request) {
	w.proxies.Load().strip(r)
	w.server.ServeHTTP(rw, r)
}

// furnish makes the system databases that are not there yet. Only administrators may enter them.
func furnish(ctx context.Context, st *store.Store) error {
	const adminsOnly = `{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`
	for _, name := range []string{"_replicator", "_users"} {
		if _, err := st.Create(ctx, name, []byte(adminsOnly)); err != nil && !errors.Is(err, store.ErrDatabaseExists) {
			return fmt.Errorf("database %s: %w", name, err)
		}
	}
	return server.FurnishUsers(ctx, st)
}

// apply puts settings into force. Everything that can fail is built first; a value that cannot be used is a *config.ValueError, and nothing has
// changed then.
func (w *wiring) apply(s *config.Snapshot) error {
	if len(admins(s)) == 0 {
		return invalid("The last administrator cannot be removed. Add another one first.")
	}
	level, err := logLevel(s)
	if err != nil {
		return err
	}
	proxies, err := newProxies(s)
	if err != nil {
		return refused("parlor", "trusted_proxies", err)
	}
	bearer, err := w.newBearer(s)
	if err != nil {
		return err
	}
	secrets, cookies, err := w.newCookies(s, proxies)
	if err != nil {
		return err
	}
	names := defaultHandlers
	if text, ok := s.Get("chttpd", "authentication_handlers"); ok {
		if names, err = parseHandlers(text); err != nil {
			return refused("chttpd", "authentication_handlers", err)
		}
	}
	if err := w.server.Configure(s, cookies); err != nil {
		return err
	}

	w.level.Set(level)
	w.proxies.Store(proxies)
	w.users.Configure(s)
	if w.snapshot == nil || passwordSettings(w.snapshot) != passwordSettings(s) {
		w.passwords.Configure(w.passwordOptions(s))
	}
	w.auth.Configure(w.methodList(names, bearer, cookies))
	w.js.SetTimeout(milliseconds(s, 5000, "os_process_timeout", "couchdb"))
	before, methods := w.snapshot, w.methods
	w.snapshot, w.bearer, w.secrets, w.methods = s, bearer, secrets, names
	if before != nil {
		w.revoke(before, s, methods, names)
	}
	return nil
}

// methodList makes the Methods of the names, the socket's before them.
func (w *wiring) methodList(names []string, bearer *jwt.Bearer, cookies *auth.Cookies) []auth.Method {
	all := map[string]auth.Method{
		"jwt":     bearer,
		"cookie":  cookies,
		"default": auth.NewBasic(w.passwords),
		"proxy":   noProxy{},
	}
	methods := make([]auth.Method, len(names))
	for i, name := range names {
		methods[i] = all[name]
	}
	methods[0] = socketMethod{methods[0]}
	return methods
}

// revoke ends long requests that the change from before to after no longer lets in.
func (w *wiring) revoke(before, after *config.Snapshot, methods, names []string) {
	for _, method := range methods {
		if !slices.Contains(names, method) {
			w.revocations.End(auth.Match{Method: method})
		}
	}
	for key := range changed(before, after, "jwt_keys") {
		w.revocations.End(auth.Match{Method: "jwt", Credential: key})
	}
	for name := range changed(before, after, "admins") {
		w.revocations.End(auth.Match{User: name, Local: true})
	}
}

// changed yields the keys of a section whose values in before are no longer what they were.
func changed(before, after *config.Snapshot, section string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		now := after.Section(section)
		for key, value := range before.Section(section) {
			if now[key] != value && !yield(key) {
				return
			}
		}
	}
}

// newBearer makes the Method jwt; the present one, which remembers tokens, when nothing about it has changed.
func (w *wiring) newBearer(s *config.Snapshot) (*jwt.Bearer, error) {
	entries := s.Section("jwt_keys")
	if w.snapshot != nil && maps.Equal(entries, w.snapshot.Section("jwt_keys")) && maps.Equal(s.Section("jwt_auth"), w.snapshot.Section("jwt_auth")) {
		return w.bearer, nil
	}
	keys, bad := jwt.ParseKeys(entries)
	for name, err := range bad {
		return nil, refused("jwt_keys", name, err)
	}
	o := jwt.Options{
		Keys:      keys,
		RolesName: s.String("", "roles_claim_name", "jwt_auth"),
		RolesPath: s.String("", "roles_claim_path", "jwt_auth"),
		Now:       w.now,
	}
	if text, ok := s.Get("jwt_auth", "required_claims"); ok {
		var err error
		if o.Required, err = jwt.ParseClaims(text); err != nil {
			return nil, refused("jwt_auth", "required_claims", err)
		}
	}
	bearer, err := jwt.NewBearer(o)
	return bearer, refused("jwt_auth", "roles_claim_path", err)
}

// authSections are where CouchDB looks for settings of sign-on, the newer one first.
var authSections = []string{"chttpd_auth", "couch_httpd_auth"}

// maxSecrets bounds the cookie secrets that are still taken after they have been replaced.
const maxSecrets = 8

// newCookies makes the Method cookie, and the list of secrets that it takes: one that has been replaced verifies cookies until the
// last of them has timed out (spec §3.3).
func (w *wiring) newCookies(s *config.Snapshot, p *proxies) ([]auth.Secret, *auth.Cookies, error) {
	seconds := s.Int(600, "timeout", authSections...)
	if seconds < 1 || seconds > 1<<31 {
		return nil, nil, invalid("[chttpd_auth] timeout: %d is not a number of seconds from 1 on", seconds)
	}
	timeout := time.Duration(seconds) * time.Second
	secrets := []auth.Secret{{Value: s.String("", "secret", authSections...)}}
	if secrets[0].Value == "" {
		return nil, nil, invalid("[chttpd_auth] secret: there must be one to sign cookies with; set another in its place")
	}
	for _, old := range w.secrets {
		if old.Value == secrets[0].Value || !old.Until.IsZero() && !w.now().Before(old.Until) {
			continue
		}
		if old.Until.IsZero() {
			old.Until = w.now().Add(timeout)
		}
		if secrets = append(secrets, old); len(secrets) == maxSecrets {
			break
		}
	}
	cookies, err := auth.NewCookies(w.users, auth.CookieOptions{
		Secrets: secrets, Timeout: timeout,
		Algorithms:  split(s.String("sha256, sha", "hash_algorithms", authSections...)),
		SessionOnly: !s.Bool(true, "allow_persistent_cookies", authSections...),
		Domain:      s.String("", "cookie_domain", authSections...),
		SameSite:    s.String("", "same_site", authSections...),
		Secure:      p.secure,
		Now:         w.now,
	})
	return secrets, cookies, refused("chttpd_auth", "cookie_domain", err)
}

// passwordRules are the settings of auth.Passwords, to compare.
type passwordRules struct {
	policy password.Policy
	cache  bool
	size   int64
	idle   time.Duration
}

func passwordSettings(s *config.Snapshot) passwordRules {
	return passwordRules{
		policy: server.PasswordPolicy(s),
		cache:  s.Bool(true, "enable", "couch_passwords_cache"),
		size:   s.Int(0, "max_objects", "couch_passwords_cache"),
		idle:   milliseconds(s, 600_000, "max_idle", "couch_passwords_cache"),
	}
}

func (w *wiring) passwordOptions(s *config.Snapshot) auth.PasswordOptions {
	rules := passwordSettings(s)
	return auth.PasswordOptions{
		Policy: rules.policy, NoCache: !rules.cache, CacheSize: int(rules.size), CacheIdle: rules.idle,
		Upgrade: w.users.Upgrade, Now: w.now,
	}
}

// milliseconds reads a duration; what is not above 0 is the fallback.
func milliseconds(s *config.Snapshot, fallback int64, key string, sections ...string) time.Duration {
	ms := s.Int(fallback, key, sections...)
	if ms <= 0 || ms > 1<<40 {
		ms = fallback
	}
	return time.Duration(ms) * time.Millisecond
}

// split reads a list with commas; empty items are dropped.
func split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// noProxy stands for proxy_authentication_handler, which this version lacks: a request with a proxy's header is refused rather than taken
// for one from nobody.
type noProxy struct{}

var _ auth.Method = noProxy{}

func (noProxy) Name() string { return "proxy" }

func (noProxy) Authenticate(r *http.Request) (auth.Identity, error) {
	if r.Header.Get("X-Auth-CouchDB-UserName") == "" {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	return auth.Identity{}, &auth.Refusal{Status: http.StatusUnauthorized, Kind: "unauthorized", Reason: "Proxy authentication is not available on this server."}
}
