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
	"github.com/parlordb/parlor/auth/oidc"
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
	checker     *auth.Passwords // of names and passwords
	lockout     *auth.Lockout
	budget      *auth.Budget       // of wrong tokens
	signers     *server.UserTokens // of signed requests, in user documents
	sessions    *auth.Sessions
	tokens      *auth.Tokens
	nonces      *oauth1.Nonces
	logins      *oidc.Logins
	revocations *auth.Revocations
	js          *couchjs.Pool
	server      *server.Server
	doors       *doors             // nil until they are opened
	reloadEvery chan time.Duration // of one place; see askReload
	now         func() time.Time

	inForce // calls of apply do not overlap, so no lock is needed
}

// inForce is what one snapshot of the settings comes to.
type inForce struct {
	snapshot  *config.Snapshot // nil before the first apply
	level     slog.Level
	proxies   *server.Proxies
	passwords auth.PasswordOptions
	lockouts  auth.LockoutOptions
	bearer    *jwt.Bearer
	devices   *jwt.Devices
	oauth     *oauth1.Verifier
	secrets   []auth.Secret
	cookies   *auth.Cookies
	plan      sessionPlan
	proxy     *auth.Proxy
	methods   []string // names, in order
	outside   *outside
}

func newWiring(st *store.Store, log *slog.Logger, level *slog.LevelVar, backup http.Handler) *wiring {
	users := server.NewUsers(st, log)
	lockout := auth.NewLockout(auth.LockoutOptions{})
	state, revocations := server.NewState(st), new(auth.Revocations)
	w := &wiring{
		log: log, level: level, users: users, now: time.Now,
		auth:        auth.NewAuthenticator(users),
		checker:     auth.NewPasswords(users, auth.PasswordOptions{}),
		lockout:     lockout,
		budget:      auth.NewBudget(auth.BudgetOptions{}),
		signers:     server.NewUserTokens(st),
		sessions:    auth.NewSessions(state, users, revocations),
		tokens:      auth.NewTokens(state, users, revocations, auth.TokenOptions{}),
		nonces:      oauth1.NewNonces(oauth1.NonceOptions{}),
		logins:      oidc.NewLogins(),
		revocations: revocations,
		js:          couchjs.NewPool(couchjs.Options{Log: log}),
		reloadEvery: make(chan time.Duration, 1),
	}
	w.server = server.New(server.Options{
		Store: st, Users: users, Auth: w.auth, Passwords: w.checker, Lockout: w.lockout, Revocations: w.revocations,
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
	w.outside.close(nil)
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
	next, err := w.build(s)
	if err != nil {
		return err
	}
	settle, err := w.doors.move(w.snapshot, s)
	if err == nil {
		if err = w.configureServer(next); err != nil {
			settle(false)
		}
	}
	if err != nil {
		next.outside.close(w.outside)
		return err
	}

	settle(true)
	w.level.Set(next.level)
	w.users.Configure(s)
	w.lockout.Configure(next.lockouts)
	w.checker.Configure(next.passwords)
	w.tokens.Configure(auth.TokenOptions{Client: next.proxies.Client, Budget: w.budget, Now: w.now})
	w.auth.Configure(w.assemble(next))
	w.js.SetTimeout(milliseconds(s, 5000, "os_process_timeout", "couchdb"))
	w.askReload(s)
	before := w.inForce
	w.inForce = *next
	if before.snapshot != nil {
		w.revoke(&before, next)
		before.outside.close(next.outside)
	}
	return nil
}

// build makes all that a snapshot says, and changes nothing.
func (w *wiring) build(s *config.Snapshot) (next *inForce, err error) {
	if len(admins(s)) == 0 {
		return nil, invalid("The last administrator cannot be removed. Add another one first.")
	}
	next = &inForce{snapshot: s}
	if next.level, err = logLevel(s); err != nil {
		return nil, err
	}
	if next.proxies, err = server.ReadProxies(s); err != nil {
		return nil, err
	}
	if err := checkPasswords(s); err != nil {
		return nil, err
	}
	if next.passwords, err = w.passwordOptions(s, next.proxies); err != nil {
		return nil, err
	}
	if next.lockouts, err = w.lockoutOptions(s); err != nil {
		return nil, err
	}
	if next.bearer, err = w.newBearer(s, next.proxies); err != nil {
		return nil, err
	}
	if next.devices, err = w.newDevices(s, next.proxies); err != nil {
		return nil, err
	}
	if next.oauth, err = w.newOAuth(s, next.proxies); err != nil {
		return nil, err
	}
	if next.secrets, next.cookies, next.plan, err = w.newCookies(s, next.proxies); err != nil {
		return nil, err
	}
	if next.proxy, err = newProxy(s, next.secrets); err != nil {
		return nil, err
	}
	if next.methods, err = readHandlers(s); err != nil {
		return nil, err
	}
	// The last, for it may hold something that is to be closed.
	next.outside, err = w.newOutside(s, next.proxies)
	return next, err
}

// configureServer puts into force what can still fail, all or nothing of it.
func (w *wiring) configureServer(next *inForce) error {
	next.plan.options.Providers, next.plan.options.Stamps = next.outside.names(), next.stamps()
	next.plan.options.NoTokens = !slices.Contains(next.methods, "jwt")
	err := refused("chttpd_auth", "cookie_domain", w.sessions.Configure(next.plan.options))
	if err == nil {
		err = w.server.Configure(next.snapshot, next.signOn(w.sessions))
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
func (w *wiring) revoke(before, after *inForce) {
	for _, method := range before.methods {
		if !slices.Contains(after.methods, method) {
			w.revocations.End(auth.Match{Method: method})
		}
	}
	if before.plan.tracked != after.plan.tracked {
		w.revocations.End(auth.Match{Method: "cookie"})
	}
	if before.passwords.Login != after.passwords.Login {
		w.revocations.Recheck(auth.Match{Method: "default"})
	}
	for source, stamp := range before.plan.options.Stamps {
		if after.plan.options.Stamps[source] != stamp {
			w.revocations.End(auth.Match{Method: "jwt", Credential: source}) // a key; providers' tokens are a matter for endOutside
		}
	}
	for _, section := range oauthSections {
		for range changed(before.snapshot, after.snapshot, section) {
			w.revocations.End(auth.Match{Method: "oauth"})
		}
	}
	w.endOutside(before.outside, after.outside)
	w.endStamped(context.Background(), &before.plan.options, &after.plan.options)
	for name := range changed(before.snapshot, after.snapshot, "admins") {
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
