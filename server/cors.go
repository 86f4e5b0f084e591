package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/parlordb/parlor/config"
)

// corsSettings are [cors] and the [cors:host] sections over it (spec §12.1).
type corsSettings struct {
	enabled bool
	all     corsPolicy
	hosts   map[string]corsPolicy
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

// cors answers a preflight, and marks any other answer for the origin that asked. done: the request has been answered.
func (s *Server) cors(r *request) (done bool, err error) {
	if !r.set.cors.enabled {
		return false, nil
	}
	h := r.w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	policy := r.set.cors.all
	if p, ok := r.set.cors.hosts[hostname(r.publicHost())]; ok {
		policy = p
	}
	if origin == "" || !slices.Contains(policy.origins, origin) && !slices.Contains(policy.origins, "*") {
		return false, nil
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if policy.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if r.Method == http.MethodOptions && policy.preflight(r, h) {
		h.Del("Content-Type")
		h.Del("Cache-Control")
		r.w.WriteHeader(http.StatusNoContent)
		return true, nil
	}
	h.Set("Access-Control-Expose-Headers", strings.Join(append([]string{"content-type", "cache-control"}, policy.exposed...), ", "))
	return false, nil
}

// preflight sets what a preflight is answered with; false when the browser asks for what the policy does not allow.
func (p corsPolicy) preflight(r *request, h http.Header) bool {
	if !slices.Contains(p.methods, r.Header.Get("Access-Control-Request-Method")) {
		return false
	}
	asked := r.Header.Get("Access-Control-Request-Headers")
	for _, name := range list(strings.ToLower(asked)) {
		if !slices.Contains(p.headers, name) {
			return false
		}
	}
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	h.Set("Access-Control-Max-Age", p.maxAge)
	h.Set("Access-Control-Allow-Methods", strings.Join(p.methods, ", "))
	h.Set("Access-Control-Allow-Headers", asked)
	return true
}
