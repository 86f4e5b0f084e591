package main

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
	"github.com/parlordb/parlor/auth/oauth1"
	"github.com/parlordb/parlor/auth/password"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/server"
)

// newBearer makes the Method jwt; the present one, which remembers tokens, when nothing about it has changed.
func (w *wiring) newBearer(s *config.Snapshot, p *server.Proxies) (*jwt.Bearer, error) {
	entries := s.Section("jwt_keys")
	if w.snapshot != nil && maps.Equal(entries, w.snapshot.Section("jwt_keys")) && maps.Equal(s.Section("jwt_auth"), w.snapshot.Section("jwt_auth")) &&
		p.Equal(w.proxies) {
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
		Budget:    w.budget,
		Client:    p.Client,
		Now:       w.now,
	}
	leeway, err := number(s, 0, 0, maxLeeway, "leeway", "jwt_auth")
	if err != nil {
		return nil, err
	}
	o.Leeway = time.Duration(leeway) * time.Second
	if text, ok := s.Get("jwt_auth", "required_claims"); ok {
		if o.Required, err = jwt.ParseClaims(text); err != nil {
			return nil, refused("jwt_auth", "required_claims", err)
		}
	}
	bearer, err := jwt.NewBearer(o)
	return bearer, refused("jwt_auth", "roles_claim_path", err)
}

// newDevices makes the Method for tokens that devices sign with keys of their own; the present one, which remembers tokens, when nothing about it has changed.
func (w *wiring) newDevices(s *config.Snapshot, p *server.Proxies) (*jwt.Devices, error) {
	leeway, err := number(s, 0, 0, maxLeeway, "leeway", "jwt_auth")
	if err != nil {
		return nil, err
	}
	if w.snapshot != nil && p.Equal(w.proxies) && s.String("", "leeway", "jwt_auth") == w.snapshot.String("", "leeway", "jwt_auth") {
		return w.devices, nil
	}
	return jwt.NewDevices(w.tokens, jwt.DeviceOptions{Leeway: time.Duration(leeway) * time.Second, Budget: w.budget, Client: p.Client, Now: w.now})
}

// maxLeeway bounds [jwt_auth] leeway, in seconds: clocks that differ by more should be set.
const maxLeeway = 3600

// authSections are where CouchDB looks for settings of sign-on, the newer one first.
var authSections = []string{"chttpd_auth", "couch_httpd_auth"}

// maxSecrets bounds the cookie secrets that are still taken after they have been replaced.
const maxSecrets = 8

// newCookies makes CouchDB's stateless cookies, and the list of secrets that they take: one that has been replaced verifies cookies until the
// last of them has timed out (spec §3.3). The plan says whether they are used, or else how sessions are kept.
func (w *wiring) newCookies(s *config.Snapshot, p *server.Proxies) (secrets []auth.Secret, cookies *auth.Cookies, plan sessionPlan, err error) {
	seconds := s.Int(600, "timeout", authSections...)
	if seconds < 1 || seconds > 1<<31 {
		return nil, nil, plan, invalid("[chttpd_auth] timeout: %d is not a number of seconds from 1 on", seconds)
	}
	timeout := time.Duration(seconds) * time.Second
	secrets = []auth.Secret{{Value: s.String("", "secret", authSections...)}}
	if secrets[0].Value == "" {
		return nil, nil, plan, invalid("[chttpd_auth] secret: there must be one to sign cookies with; set another in its place")
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
	o := auth.CookieOptions{
		Secrets: secrets, Timeout: timeout,
		Algorithms:  split(s.String("sha256, sha", "hash_algorithms", authSections...)),
		SessionOnly: !s.Bool(true, "allow_persistent_cookies", authSections...),
		Domain:      s.String("", "cookie_domain", authSections...),
		SameSite:    s.String("", "same_site", authSections...),
		Secure:      p.Secure,
		Now:         w.now,
	}
	if cookies, err = auth.NewCookies(w.users, o); err != nil {
		return nil, nil, plan, refused("chttpd_auth", "cookie_domain", err)
	}
	plan, err = readSessions(s, o, p)
	return secrets, cookies, plan, err
}

// checkPasswords refuses rules under which no password could be set, or none that is set could be used.
func checkPasswords(s *config.Snapshot) error {
	p := server.PasswordPolicy(s)
	if p.Iterations < 1 || p.MinIterations > p.Iterations || p.Iterations > p.MaxIterations {
		return invalid("[chttpd_auth] iterations: %d is not between min_iterations, %d, and max_iterations, %d", p.Iterations, p.MinIterations, p.MaxIterations)
	}
	if !slices.ContainsFunc(admins(s), func(name string) bool { return usable(s, name, p) }) {
		return invalid("[chttpd_auth] min_iterations, %d, and max_iterations, %d, would lock out all administrators", p.MinIterations, p.MaxIterations)
	}
	p.Iterations, p.MinIterations, p.MaxIterations = 1, 1, 1 // it is scheme and digest that are tried
	p.Argon2 = password.Argon2{Memory: 8, Time: 1, Parallelism: 1}
	if _, err := p.New("", "salt"); err != nil {
		return refused("chttpd_auth", "password_scheme or pbkdf2_prf", err)
	}
	if text, ok := s.Get("chttpd_auth", "password_regexp"); ok {
		_, err := password.ParseRules(text)
		return refused("chttpd_auth", "password_regexp", err)
	}
	return nil
}

// usable reports whether an administrator's hash lets anybody in under a policy.
func usable(s *config.Snapshot, admin string, p password.Policy) bool {
	h, _, err := password.ParseAdmin(s.String("", admin, "admins"))
	bounded := h.Scheme == password.PBKDF2 || h.Scheme == password.SimplePBKDF2
	return err == nil && (!bounded || h.Iterations >= p.MinIterations && h.Iterations <= p.MaxIterations)
}

// passwordOptions says how passwords are checked, and whose.
func (w *wiring) passwordOptions(s *config.Snapshot, p *server.Proxies) (o auth.PasswordOptions, err error) {
	o = auth.PasswordOptions{
		Policy:    server.PasswordPolicy(s),
		NoCache:   !s.Bool(true, "enable", "couch_passwords_cache"),
		CacheSize: int(s.Int(0, "max_objects", "couch_passwords_cache")),
		CacheIdle: milliseconds(s, 600_000, "max_idle", "couch_passwords_cache"),
		Lockout:   w.lockout,
		Client:    p.Client,
		Now:       w.now,
	}
	if s.Bool(true, "upgrade_hash_on_auth", "chttpd_auth") {
		o.Upgrade = w.users.Upgrade
	}
	o.Login, err = auth.ParsePasswordLogin(s.String("all", "password_login", "parlor"))
	return o, refused("parlor", "password_login", err)
}

// lockoutOptions says when somebody is locked out (spec §8).
func (w *wiring) lockoutOptions(s *config.Snapshot) (o auth.LockoutOptions, err error) {
	const section = "chttpd_auth_lockout"
	o = auth.LockoutOptions{Report: w.server.AuditLock, Now: w.now}
	if o.Mode, err = auth.ParseLockoutMode(s.String("enforce", "mode", section)); err != nil {
		return o, refused(section, "mode", err)
	}
	threshold, err1 := number(s, 5, 1, 1_000_000, "threshold", section)
	objects, err2 := number(s, 10_000, 1, 10_000_000, "max_objects", section)
	lifetime, err3 := number(s, 300_000, 1, 1<<40, "max_lifetime", section)
	o.Threshold, o.MaxObjects, o.MaxLifetime = int(threshold), int(objects), time.Duration(lifetime)*time.Millisecond
	return o, cmp.Or(err1, err2, err3)
}

// oauthSections hold the credentials of signed requests, as in CouchDB 1.x.
var oauthSections = []string{"couch_httpd_oauth", "oauth_consumer_secrets", "oauth_token_secrets", "oauth_token_users"}

// maxForm bounds the body of a form that is signed.
const maxForm = 64 << 10

// newOAuth makes the Method oauth. A consumer whose key cannot be read is refused, whether or not the method is in force; a token may be without its
// user, and the other way round, because the two are written one after the other.
func (w *wiring) newOAuth(s *config.Snapshot, p *server.Proxies) (*oauth1.Verifier, error) {
	static, bad := oauth1.NewStatic(oauth1.Sections{
		ConsumerSecrets: s.Section("oauth_consumer_secrets"),
		TokenSecrets:    s.Section("oauth_token_secrets"),
		TokenUsers:      s.Section("oauth_token_users"),
	})
	for name, err := range bad {
		if section, key, _ := strings.Cut(name, "/"); section == "oauth_consumer_secrets" {
			return nil, refused(section, key, err)
		}
	}
	var credentials oauth1.Credentials = static
	if s.Bool(false, "use_users_db", "couch_httpd_oauth") {
		credentials = w.signers
	}
	oauth, err := oauth1.NewVerifier(oauth1.Options{
		Credentials: credentials, Users: w.users, Nonces: w.nonces, Origin: p.Origin, Form: oauth1.FormBody(maxForm),
		Realm: s.String("", "realm", "couch_httpd_oauth"), Now: w.now,
	})
	return oauth, refused("couch_httpd_oauth", "realm", err)
}

// newProxy makes the Method proxy.
func newProxy(s *config.Snapshot, secrets []auth.Secret) (*auth.Proxy, error) {
	o := auth.ProxyOptions{
		Required:    s.Bool(false, "proxy_use_secret", authSections...),
		Secrets:     secrets,
		Algorithms:  split(s.String("sha256, sha", "hash_algorithms", authSections...)),
		UserHeader:  s.String("", "x_auth_username", authSections...),
		RolesHeader: s.String("", "x_auth_roles", authSections...),
		TokenHeader: s.String("", "x_auth_token", authSections...),
	}
	if text, ok := s.Get("parlor_proxy", "trusted"); ok {
		var err error
		if o.Trusted, err = networks(text); err != nil {
			return nil, refused("parlor_proxy", "trusted", err)
		}
	}
	proxy, err := auth.NewProxy(o)
	return proxy, refused("chttpd_auth", "x_auth_username, x_auth_roles, x_auth_token", err)
}

// networks reads a list of addresses and networks, with commas between. It returns an empty list, not nil, for an empty text.
func networks(text string) ([]netip.Prefix, error) {
	list := []netip.Prefix{}
	for _, item := range split(text) {
		prefix, err := server.ParseNetwork(item)
		if err != nil {
			return nil, err
		}
		list = append(list, prefix)
	}
	return list, nil
}
