// Package server is CouchDB's HTTP API over a store: who may do what (_security, server admins), and a handler for each resource.
//
// One request goes this way, in [Server.ServeHTTP]:
//
//	request id, method override, path → CORS preflight → authenticate → route → authorize → handle
//
// Handlers are methods of Server in a file for each resource; routes.go lists them all with what each needs. They return
// errors, which errors.go turns into statuses and CouchDB's JSON. They never ask who may: authorize.go has done that.
//
// A Server is an http.Handler, safe for concurrent use. [Server.Configure] puts new settings into force for requests that begin
// afterwards. [Server.Close] ends the feeds.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/couchjs"
	"github.com/parlordb/parlor/store"
)

// Options are what a Server is made of. All fields are required but where said.
type Options struct {
	Store       *store.Store
	Users       *Users
	Auth        *auth.Authenticator
	Passwords   *auth.Passwords
	TOTP        *auth.TOTP    // nil: one of the server's own
	Lockout     *auth.Lockout // the one that Passwords has, behind /_lockouts; nil: one that locks nobody
	Revocations *auth.Revocations
	Sessions    *auth.Sessions // all that are kept, also while [parlor_session] store = cookie makes none
	Tokens      *auth.Tokens
	JS          *couchjs.Pool
	Settings    func() *config.Settings // the live settings, behind /_node/{node}/_config
	Version     string                  // of Parlor
	Log         *slog.Logger
	Now         func() time.Time // nil: time.Now

	// AdminOnly are further handlers for server admins, by path below /_node/{node}/, such as "_parlor/backup". May be nil.
	AdminOnly map[string]http.Handler
}

// Server is the HTTP API. Make it with New.
type Server struct {
	store       *store.Store
	users       *Users
	auth        *auth.Authenticator
	passwords   *auth.Passwords
	totp        *auth.TOTP
	lockout     *auth.Lockout
	revocations *auth.Revocations
	sessions    *auth.Sessions // kept in settings too, while they sign in
	tokens      *auth.Tokens
	js          *couchjs.Pool
	live        func() *config.Settings
	version     string
	log         *slog.Logger
	now         func() time.Time
	adminOnly   map[string]http.Handler
	started     time.Time

	settings   atomic.Pointer[settings]
	security   securityCache
	vaults     vaults
	validators validatorCache
	logins     loginCodes   // of apps that live elsewhere
	asking     *auth.Budget // of steps of logins that fail after a provider was asked
	bodies     *memory      // for request bodies
	filters    *memory      // for the filters of feeds
	counters   counters
	requests   sync.Pool    // of *request
	exposition http.Handler // of the counters, for Prometheus
	tasks      tasks
	patience   time.Duration // that clients are given

	closing context.Context // ends when Close is called: feeds watch it
	close   context.CancelFunc
}

// bufferedBodies bounds what all requests together hold of bodies above a megabyte; one party may have the largest body there is.
const bufferedBodies = 512 << 20

// heldFilters bounds what all feeds together hold of filters above freeFilter, a quarter of it those of one party.
const heldFilters = 128 << 20

// New returns a Server. It answers 503 to everything until Configure.
func New(o Options) *Server {
	s := &Server{
		store: o.Store, users: o.Users, auth: o.Auth, passwords: o.Passwords, revocations: o.Revocations,
		sessions: o.Sessions, tokens: o.Tokens, js: o.JS,
		live: o.Settings, version: o.Version, log: o.Log, now: o.Now, adminOnly: o.AdminOnly,
		bodies: newMemory(bufferedBodies, maxJSON), filters: newMemory(heldFilters, heldFilters/4), patience: patience,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.totp = o.TOTP; s.totp == nil {
		s.totp = &auth.TOTP{Now: s.now}
	}
	if s.lockout = o.Lockout; s.lockout == nil {
		s.lockout = auth.NewLockout(auth.LockoutOptions{Mode: auth.LockoutOff})
	}
	s.asking = auth.NewBudget(auth.BudgetOptions{Now: s.now})
	s.started = s.now()
	s.closing, s.close = context.WithCancel(context.Background())
	s.exposition = s.prometheusHandler()
	s.users.settle = s.settleRegistered
	s.tasks.wait.Go(s.watchUsers)
	s.tasks.wait.Go(s.expireLoop)
	return s
}

// SignOn is what makes sessions, and where users log in.
type SignOn struct {
	Cookies   *auth.Cookies    // of [parlor_session] store = cookie; nil where Sessions keeps them
	Sessions  *auth.Sessions   // of store = tracked; nil where Cookies makes them
	Providers []*oidc.Provider // of the sections [oidc:NAME], in any order; they need Sessions
}

// Configure puts settings into force. It fails without effect when a value cannot be used.
func (s *Server) Configure(snap *config.Snapshot, on SignOn) error {
	set, err := newSettings(snap, on, s.version)
	if err != nil {
		return err
	}
	old := s.settings.Load()
	if err := s.configureVaults(set, old); err != nil {
		return err
	}
	s.settings.Store(set)
	if set.perUser.enabled && (old == nil || set.perUser != old.perUser) {
		s.tasks.wait.Go(func() { s.settleAllUsers(set) })
	}
	s.revocations.Recheck(auth.Match{})
	return nil
}

// Close ends the feeds that are open, each with a well-formed end, and waits for background work. Requests that come later
// are still answered.
func (s *Server) Close() {
	s.close()
	s.tasks.wait.Wait()
	s.users.Close()
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	start := s.now()
	set := s.settings.Load()
	if set == nil {
		http.Error(w, `{"error":"service_unavailable","reason":"starting"}`, http.StatusServiceUnavailable)
		return
	}
	r := s.newRequest(hr, set)
	r.w = response{ResponseWriter: w, minimal: r.preferred(), patience: s.patience, now: time.Now}
	s.await(r, w)
	s.baseHeaders(r)
	defer func() {
		s.finish(r, start, recover())
		if !r.watched {
			s.requests.Put(r.reset())
		}
	}()
	if err := s.serve(r); err != nil {
		s.refuse(r, err)
	}
}

// serve takes a request through the steps that the package comment names.
func (s *Server) serve(r *request) error {
	policy := s.cors(r)
	if err := r.checkHost(); err != nil {
		return err
	}
	if policy.preflight(r) {
		return nil
	}
	if err := r.parse(); err != nil {
		return err
	}
	if err := s.authenticate(r); err != nil {
		return err
	}
	act, err := s.route(r)
	if err != nil {
		return err
	}
	if err := s.authorize(r, act); err != nil {
		return err
	}
	if act.handle == nil {
		return methodNotAllowed(act.allow)
	}
	if r.ContentLength > r.set.maxRequestSize {
		return errTooLarge
	}
	if err := s.judgeBody(r, act); err != nil {
		return err
	}
	return act.handle(s, r)
}

// finish counts and logs a request; cause is what recover gave. A panic is our mistake: the client learns only that
// there was one, and a body that was begun is cut off rather than ended.
func (s *Server) finish(r *request, start time.Time, cause any) {
	if cause != nil {
		if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			s.counters.aborted.Add(1)
			panic(http.ErrAbortHandler)
		}
		s.log.Error("panic", "request", r.id, "method", r.Method, "path", r.loggedPath(), "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
		if r.w.began {
			panic(http.ErrAbortHandler)
		}
		s.refuse(r, &Error{Status: http.StatusInternalServerError, Kind: "internal_server_error", Reason: "The server met a mistake of its own; its log has the details."})
	}
	r.w.renew() // for what net/http still has to send
	s.counters.request(r.Method, r.w.status)
	level := slog.LevelDebug
	switch {
	case r.w.status >= 500 && !r.overQuota:
		level = slog.LevelError
	case r.w.status >= 400 && r.w.status != http.StatusNotFound && r.w.status != http.StatusConflict:
		level = slog.LevelInfo
	}
	if s.log.Enabled(r.Context(), level) {
		s.log.Log(r.Context(), level, "request", "id", r.id, "peer", r.set.proxies.Address(r.Request), "user", r.who.Name, "method", r.Method,
			"path", r.loggedPath(), "status", r.w.status, "ms", s.now().Sub(start).Milliseconds())
	}
}
