package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
	"github.com/parlordb/parlor/auth/oauth1"
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
	lockout     *auth.Lockout
	budget      *auth.Budget       // of wrong tokens
	signers     *server.UserTokens // of signed requests, in user documents
	sessions    *auth.Sessions
	tokens      *auth.Tokens
	nonces      *oauth1.Nonces
	revocations *auth.Revocations
	js          *couchjs.Pool
	server      *server.Server
	doors       *doors // nil until they are opened
	now         func() time.Time

	// What is in force. Calls of apply do not overlap, so no lock is needed.
	snapshot *config.Snapshot // nil before the first apply
	proxies  *server.Proxies
	bearer   *jwt.Bearer
	devices  *jwt.Devices
	secrets  []auth.Secret
	plan     sessionPlan
	methods  []string
}

func newWiring(st *store.Store, log *slog.Logger, level *slog.LevelVar, backup http.Handler) *wiring {
	users := server.NewUsers(st, log)
	lockout := auth.NewLockout(auth.LockoutOptions{})
	state, revocations := server.NewState(st), new(auth.Revocations)
	w := &wiring{
		log: log, level: level, users: users, now: time.Now,
		auth:        auth.NewAuthenticator(users),
		passwords:   auth.NewPasswords(users, auth.PasswordOptions{}),
		lockout:     lockout,
		budget:      auth.NewBudget(auth.BudgetOptions{}),
		signers:     server.NewUserTokens(st),
		sessions:    auth.NewSessions(state, users, revocations),
		tokens:      auth.NewTokens(state, users, revocations, auth.TokenOptions{}),
		nonces:      oauth1.NewNonces(oauth1.NonceOptions{}),
		revocations: revocations,
		js:          couchjs.NewPool(couchjs.Options{Log: log}),
	}
	w.server = server.New(server.Options{
		Store: st, Users: users, Auth: w.auth, Passwords: w.passwords, Lockout: w.lockout, Revocations: w.revocations,
		Sessions: w.sessions, Tokens: w.tokens, JS: w.js,
		Settings: func() *config.Settings { return w.settings },
		Version:  release, Log: log,
		AdminOnly: map[string]http.Handler{backupRoute: backup},
	})
	return w
}

// close ends what goes on in the background, after the last request.
func (w *wiring) close() error {
	w.server.Close()
	w.sessions.Close()
	w.tokens.Close()
	w.users.Close()
	return w.js.Close()
}

// furnish makes the system databases that are not there yet. Only administrators may enter them.
func furnish(ctx context.Context, st *store.Store) error {
	const adminsOnly = `{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`
	for _, name := range []string{"_replicator", "_users"} {
		if _, err := st.Create(ctx, name, []byte(adminsOnly)); err != nil && !errors.Is(err, store.ErrDatabaseExists) {
			return fmt.Errorf("database %s: %w", name, err)
		}
	}
	if err := server.FurnishState(ctx, st); err != nil {
		return fmt.Errorf("sign-on's records: %w", err)
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
	proxies, err := server.ReadProxies(s)
	if err != nil {
		return err
	}
	if err := checkPasswords(s); err != nil {
		return err
	}
	passwords, err := w.passwordOptions(s, proxies)
	if err != nil {
		return err
	}
	lockout, err := w.lockoutOptions(s)
	if err != nil {
		return err
	}
	bearer, err := w.newBearer(s, proxies)
	if err != nil {
		return err
	}
	devices, err := w.newDevices(s, proxies)
	if err != nil {
		return err
	}
	oauth, err := w.newOAuth(s, proxies)
	if err != nil {
		return err
	}
	secrets, cookies, plan, err := w.newCookies(s, proxies)
	if err != nil {
		return err
	}
	proxy, err := newProxy(s, secrets)
	if err != nil {
		return err
	}
	names, err := readHandlers(s)
	if err != nil {
		return err
	}
	settle, err := w.doors.move(w.snapshot, s)
	if err != nil {
		return err
	}
	if err := w.configureServer(s, plan, cookies); err != nil {
		settle(false)
		return err
	}

	settle(true)
	w.level.Set(level)
	w.users.Configure(s)
	w.lockout.Configure(lockout)
	w.passwords.Configure(passwords)
	w.tokens.Configure(auth.TokenOptions{Client: proxies.Client, Budget: w.budget, Now: w.now})
	w.auth.Configure(w.assemble(names, parts{devices: devices, bearer: bearer, cookie: plan.method(w.sessions, cookies), proxy: proxy, oauth: oauth}))
	w.js.SetTimeout(milliseconds(s, 5000, "os_process_timeout", "couchdb"))
	before, methods, tracked := w.snapshot, w.methods, w.plan.tracked
	w.snapshot, w.proxies, w.bearer, w.devices, w.secrets, w.plan, w.methods = s, proxies, bearer, devices, secrets, plan, names
	if before != nil {
		w.revoke(before, s, methods, names)
		if tracked != plan.tracked {
			w.revocations.End(auth.Match{Method: "cookie"})
		}
	}
	return nil
}

// configureServer puts into force what can still fail, all or nothing of it.
func (w *wiring) configureServer(s *config.Snapshot, plan sessionPlan, cookies *auth.Cookies) error {
	err := refused("chttpd_auth", "cookie_domain", w.sessions.Configure(plan.options))
	if err == nil {
		err = w.server.Configure(s, plan.signOn(w.sessions, cookies))
	}
	if err != nil && w.snapshot != nil {
		err = errors.Join(err, w.sessions.Configure(w.plan.options))
	}
	return err
}

// methodList makes the Methods of the names, the socket's before them.
func methodList(names []string, all ...auth.Method) []auth.Method {
	methods := make([]auth.Method, len(names))
	for i, name := range names {
		methods[i] = all[slices.IndexFunc(all, func(m auth.Method) bool { return m.Name() == name })]
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
	for _, section := range oauthSections {
		for range changed(before, after, section) {
			w.revocations.End(auth.Match{Method: "oauth"})
		}
	}
	for name := range changed(before, after, "admins") {
		w.endAdmin(context.Background(), name)
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

// milliseconds reads a duration; what is not above 0 is the fallback.
func milliseconds(s *config.Snapshot, fallback int64, key string, sections ...string) time.Duration {
	ms := s.Int(fallback, key, sections...)
	if ms <= 0 || ms > 1<<40 {
		ms = fallback
	}
	return time.Duration(ms) * time.Millisecond
}

// number reads an integer between least and most. What is none is refused, where CouchDB would take the fallback in silence.
func number(s *config.Snapshot, fallback, least, most int64, key, section string) (int64, error) {
	text, ok := s.Get(section, key)
	if !ok {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, invalid("[%s] %s: %q is not a number from %d to %d", section, key, text, least, most)
	}
	return n, nil
}

// split reads a list with commas; empty items are dropped.
func split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}
