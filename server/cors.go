package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/livesync"
)

// corsSettings are [cors] and the [cors:host] sections over it (spec §12.1).
type corsSettings struct {
	enabled bool
	all     corsPolicy
	hosts   map[string]corsPolicy
	own     []string // origins that may come whatever [cors] says, signed in by header
	// protection refuses changes by pages of other origins that sign in with a session's cookie.
	protection *http.CrossOriginProtection
}

type corsPolicy struct {
	origins     []string
	credentials bool
	methods     []string
	headers     []string // lower case
	exposed     []string
	maxAge      string
	anyHeader   bool // whatever headers a preflight asks for
}

const (
	corsMethods = "CONNECT, COPY, DELETE, GET, HEAD, OPTIONS, POST, PUT, TRACE"
	corsHeaders = "accept, accept-language, authorization, content-length, content-range, content-type, destination, expires, if-match, last-modified, origin, pragma, x-couch-full-commit, x-couch-id, x-couch-persist, x-couchdb-www-authenticate, x-http-method-override, x-requested-with, x-couchdb-vhost-path"
	corsExposed = "accept-ranges, etag, server, x-couch-request-id, x-couch-update-newrev, x-couchdb-body-time"
)

func newCORS(snap *config.Snapshot) corsSettings {
	c := corsSettings{
		enabled: snap.Bool(false, "enable_cors", "chttpd", "httpd"),
		all:     newCORSPolicy(snap, "cors"),
		hosts:   map[string]corsPolicy{},
		own:     list(snap.String(livesync.Origins, "cors_origins", "parlor_livesync")),

		protection: http.NewCrossOriginProtection(),
	}
	if c.enabled {
		for _, origin := range c.all.origins {
			// What is no origin, such as "*", vouches for nobody's session.
			_ = c.protection.AddTrustedOrigin(origin)
		}
	}
	for _, section := range snap.Sections() {
		if host, ok := strings.CutPrefix(section, "cors:"); ok {
			c.hosts[host] = newCORSPolicy(snap, section, "cors")
		}
	}
	return c
}

func newCORSPolicy(snap *config.Snapshot, sections ...string) corsPolicy {
	get := func(fallback, key string) string { return snap.String(fallback, key, sections...) }
	return corsPolicy{
		origins:     list(get("", "origins")),
		credentials: get("", "credentials") == "true",
		methods:     list(get(corsMethods, "methods")),
		headers:     list(strings.ToLower(get(corsHeaders, "headers"))),
		exposed:     list(strings.ToLower(get(corsExposed, "exposed_headers"))),
		maxAge:      strconv.FormatInt(snap.Int(600, "max_age", sections...), 10),
	}
}

// admits reports whether the page that made a request may use the session in the browser that it runs in: a page of this server, or of an
// origin that is written in [cors] origins. "*" lets pages of any origin come, but not as somebody's session.
func (c *corsSettings) admits(r *request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || c.enabled && slices.Contains(c.all.origins, origin) {
		return true
	}
	_, host, _ := strings.Cut(origin, "://")
	return host == r.publicHost()
}

// ownPolicy is for the origins of LiveSync's apps: a header that a new version of an app sends must not keep it out.
var ownPolicy = corsPolicy{
	origins: []string{"*"}, credentials: true, methods: list(corsMethods), exposed: list(corsExposed), maxAge: "600", anyHeader: true,
}

// corsPolicy is the policy for the origin of a request; nil when its pages have no business here.
func (r *request) corsPolicy(origin string) *corsPolicy {
	c := &r.set.cors
	if slices.Contains(c.own, origin) {
		return &ownPolicy
	}
	if !c.enabled {
		return nil
	}
	policy := c.all
	if p, ok := c.hosts[hostname(r.publicHost())]; ok {
		policy = p
	}
	if !slices.Contains(policy.origins, origin) && !slices.Contains(policy.origins, "*") {
		return nil
	}
	return &policy
}

// cors marks an answer, whatever it will be, for the origin that asked. It returns the policy for that origin, nil when there is none.
func (s *Server) cors(r *request) *corsPolicy {
	h := r.w.Header()
	origin := r.Header.Get("Origin")
	if r.set.cors.enabled || len(r.set.cors.own) > 0 {
		h.Add("Vary", "Origin")
	}
	if origin == "" {
		return nil
	}
	policy := r.corsPolicy(origin)
	if policy == nil {
		return nil
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if policy.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	h.Set("Access-Control-Expose-Headers", strings.Join(append([]string{"content-type", "cache-control"}, policy.exposed...), ", "))
	return policy
}

// preflight answers a browser that asks beforehand whether it may send a request. It reports false when r is no such question, or asks for what
// the policy does not allow.
func (p *corsPolicy) preflight(r *request) bool {
	if p == nil || r.Method != http.MethodOptions || !slices.Contains(p.methods, r.Header.Get("Access-Control-Request-Method")) {
		return false
	}
	asked := r.Header.Get("Access-Control-Request-Headers")
	for _, name := range list(strings.ToLower(asked)) {
		if !p.anyHeader && !slices.Contains(p.headers, name) {
			return false
		}
	}
	h := r.w.Header()
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	h.Set("Access-Control-Max-Age", p.maxAge)
	h.Set("Access-Control-Allow-Methods", strings.Join(p.methods, ", "))
	h.Set("Access-Control-Allow-Headers", asked)
	h.Del("Access-Control-Expose-Headers")
	h.Del("Content-Type")
	h.Del("Cache-Control")
	r.w.WriteHeader(http.StatusNoContent)
	return true
}
