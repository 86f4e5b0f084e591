package server

import (
	"slices"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
	"github.com/parlordb/parlor/auth/password"
	"github.com/parlordb/parlor/config"
)

// settings are what handlers need of the configuration, read once for each change of it. They are never changed.
type settings struct {
	snap *config.Snapshot
	signOnSettings

	serverHeader []string
	uuid         string
	nodeName     string

	plusIsSpace       bool
	maxURI            int
	maxRequestSize    int64
	maxDocumentSize   int64
	maxAttachmentSize int64
	maxDocumentID     int
	maxBulkDocs       int
	maxBulkGet        int
	maxUUIDs          int64
	changesTimeout    int64         // milliseconds
	bodyTimeout       time.Duration // 0: none
	feedSilence       time.Duration

	requireValidUser         bool
	basicChallenge           bool // a 401 asks for Basic
	requireValidUserExceptUp bool
	adminOnlyAllDBs          bool
	challenge                string // WWW-Authenticate of a 401
	redirect                 string // where a browser is sent to sign in
	proxies                  *Proxies
	authenticationDB         string // as /_session shows it, "" when it is not set

	defaultSecurity  []byte
	securityEditable bool // of _users
	selfService      bool // users read and change their own documents
	publicFields     []string
	passwordRules    *password.Rules

	cors    corsSettings
	hosts   hostSettings
	frames  frameSettings
	minimal minimalHeaders
	perUser perUserSettings
	vaults  vaultSettings

	compressible     []string // content types whose attachments are gzipped; a last "*" stands for anything
	compressionLevel int
	sandbox          string // Content-Security-Policy of attachments
	pagePolicy       string // Content-Security-Policy of /_utils
}

// signOnSettings say what makes sessions, and where users log in.
type signOnSettings struct {
	cookies     *auth.Cookies    // nil when sessions are kept
	sessions    *auth.Sessions   // nil when cookies are all there is
	providers   []*oidc.Provider // by order
	publicURL   string           // [parlor] public_url, without a slash at its end; "" when it is not set
	syncGateway bool             // Sync Gateway's paths are answered
}

// newSignOn refuses what needs sessions that are kept, where there are none.
func newSignOn(snap *config.Snapshot, on SignOn) (set signOnSettings, err error) {
	set = signOnSettings{
		cookies: on.Cookies, sessions: on.Sessions, providers: inOrder(on.Providers),
		syncGateway: snap.Bool(false, "sync_gateway_api", "parlor"),
	}
	switch {
	case on.Sessions != nil:
	case len(on.Providers) > 0:
		return set, &config.ValueError{Reason: "[oidc:" + on.Providers[0].Name() + "] needs [parlor_session] store = tracked"}
	case set.syncGateway:
		return set, &config.ValueError{Reason: "[parlor] sync_gateway_api needs [parlor_session] store = tracked"}
	}
	set.publicURL, err = readPublicURL(snap)
	return set, err
}

// defaultSecurities are the values of [couchdb] default_security.
var defaultSecurities = map[string]string{
	"admin_only":  `{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`,
	"admin_local": `{}`,
	"everyone":    `{}`,
}

// newSettings reads a snapshot. It fails where a value would leave something open that was meant to be closed.
func newSettings(snap *config.Snapshot, on SignOn, version string) (*settings, error) {
	security, ok := defaultSecurities[snap.String("admin_only", "default_security", "couchdb")]
	if !ok {
		return nil, &config.ValueError{Reason: "[couchdb] default_security is one of admin_only, admin_local and everyone"}
	}
	proxies, err := ReadProxies(snap)
	if err != nil {
		return nil, err
	}
	rules, err := password.ParseRules(snap.String("", "password_regexp", "chttpd_auth", "couch_httpd_auth"))
	if err != nil {
		return nil, &config.ValueError{Reason: "[chttpd_auth] " + err.Error()}
	}
	perUser, err := newPerUser(snap)
	if err != nil {
		return nil, err
	}
	vaults, err := newVaultSettings(snap)
	if err != nil {
		return nil, err
	}
	hosts, err := newHosts(snap)
	if err != nil {
		return nil, err
	}
	signOn, err := newSignOn(snap, on)
	if err != nil {
		return nil, err
	}
	set := &settings{
		snap: snap, signOnSettings: signOn,
		serverHeader:             serverHeader(snap, version),
		uuid:                     snap.String("", "uuid", "couchdb"),
		nodeName:                 snap.String("nonode@nohost", "node_name", "parlor"),
		plusIsSpace:              snap.Bool(true, "decode_plus_to_space", "chttpd"),
		maxURI:                   int(snap.Int(0, "max_uri_length", "chttpd", "httpd")),
		maxRequestSize:           positive(snap.Int(4<<30, "max_http_request_size", "chttpd", "httpd"), 4<<30),
		maxDocumentSize:          positive(snap.Int(8_000_000, "max_document_size", "couchdb"), 8_000_000),
		maxAttachmentSize:        positive(snap.Int(1<<30, "max_attachment_size", "couchdb"), 1<<40),
		maxDocumentID:            int(positive(snap.Int(64<<10, "max_document_id_length", "couchdb"), 64<<10)),
		maxBulkDocs:              int(positive(snap.Int(10_000, "max_bulk_docs_count", "couchdb"), 1_000_000)),
		maxBulkGet:               int(positive(snap.Int(10_000, "max_bulk_get_count", "couchdb"), 1_000_000)),
		maxUUIDs:                 snap.Int(1000, "max_count", "uuids"),
		changesTimeout:           snap.Int(60_000, "changes_timeout", "chttpd", "httpd"),
		bodyTimeout:              time.Duration(min(max(snap.Int(60, "body_timeout", "parlor_http"), 0), 1<<30)) * time.Second,
		feedSilence:              milliseconds(int(max(snap.Int(30_000, "feed_heartbeat", "chttpd"), 0))),
		requireValidUser:         snap.Bool(false, "require_valid_user", "chttpd"),
		basicChallenge:           snap.Bool(false, "require_valid_user", "chttpd", "httpd"),
		requireValidUserExceptUp: snap.Bool(false, "require_valid_user_except_for_up", "chttpd"),
		adminOnlyAllDBs:          snap.Bool(true, "admin_only_all_dbs", "chttpd"),
		challenge:                snap.String("", "WWW-Authenticate", "chttpd", "httpd"),
		redirect:                 snap.String("/_utils/session.html", "authentication_redirect", "chttpd_auth", "couch_httpd_auth"),
		proxies:                  proxies,
		authenticationDB:         snap.String("", "authentication_db", "chttpd_auth"),
		defaultSecurity:          []byte(security),
		securityEditable:         snap.Bool(false, "users_db_security_editable", "couchdb"),
		selfService:              snap.Bool(true, "users_self_service", "parlor"),
		publicFields:             list(snap.String("", "public_fields", "chttpd_auth", "couch_httpd_auth")),
		cors:                     newCORS(snap),
		hosts:                    hosts,
		frames:                   newFrames(snap),
		minimal:                  newMinimal(snap),
		perUser:                  perUser,
		vaults:                   vaults,
		passwordRules:            rules,
		compressible:             list(snap.String("text/*, application/javascript, application/json, application/xml", "compressible_types", "attachments")),
		compressionLevel:         int(snap.Int(8, "compression_level", "attachments")),
	}
	if snap.Bool(true, "attachments_enable", "csp") {
		set.sandbox = snap.String("sandbox", "attachments_header_value", "csp")
	}
	if snap.Bool(true, "utils_enable", "csp") {
		set.pagePolicy = snap.String("default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'", "utils_header_value", "csp")
	}
	if set.compressionLevel < 0 || set.compressionLevel > 9 {
		return nil, &config.ValueError{Reason: "[attachments] compression_level is a number from 0 to 9"}
	}
	return set, nil
}

// headerVersion is the CouchDB version in the Server header, by which clients choose what to do: the first of 3.5, so that none takes this server for one with
// the faults of a later release.
const headerVersion = "3.5.0"

// serverHeader is the Server header: a CouchDB version, which clients look for, then Parlor's.
func serverHeader(snap *config.Snapshot, version string) []string {
	if snap.Bool(true, "server_header_versions", "chttpd", "httpd") {
		return []string{"CouchDB/" + headerVersion + " (Parlor/" + version + ")"}
	}
	return []string{"CouchDB"}
}

// PasswordPolicy reads how passwords are hashed (spec §14).
func PasswordPolicy(snap *config.Snapshot) password.Policy {
	sections := []string{"chttpd_auth", "couch_httpd_auth"}
	number := func(fallback int64, key string) int { return int(snap.Int(fallback, key, sections...)) }
	return password.Policy{
		Scheme:        password.Scheme(snap.String("pbkdf2", "password_scheme", sections...)),
		PRF:           snap.String("sha256", "pbkdf2_prf", sections...),
		Iterations:    number(600_000, "iterations"),
		MinIterations: number(1, "min_iterations"),
		MaxIterations: number(1_000_000_000, "max_iterations"),
	}
}

// list splits a comma-separated setting; empty items are dropped.
func list(value string) []string {
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return slices.DeleteFunc(items, func(item string) bool { return item == "" })
}

// positive is n, or fallback where n is no limit at all.
func positive(n, fallback int64) int64 {
	if n <= 0 {
		return fallback
	}
	return n
}
