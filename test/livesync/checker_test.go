package livesync

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// obsidianOrigins are where the client's pages come from.
var obsidianOrigins = []string{"app://obsidian.md", "capacitor://localhost", "http://localhost"}

// wizard is what the client does when it is set up: it looks at the database, proves that the passphrase decrypts, and has the server's settings checked.
func wizard(t *testing.T, db string, d device) {
	if _, ok := d.want(200, "GET", db+"/", nil).value(t, "sizes", "file").(float64); !ok {
		t.Error("sizes.file of a new vault is no number")
	}
	d.want(404, "GET", db+"/syncinfo", nil)
	d.want(201, "PUT", db+"/syncinfo", obj{"_id": "syncinfo", "data": "%=encrypted"})
	d.want(200, "GET", db+"/syncinfo", nil)

	before := d.checkedSettings(t)
	for _, fix := range checkerFindings(before) {
		t.Errorf("the checker would set %s", fix)
	}
	if len(before["admins"]) != 1 {
		t.Errorf("admins are %v", before["admins"])
	}
	for _, origin := range obsidianOrigins {
		r := d.request("GET", "/_node/_local/_config", nil)
		r.Header.Set("Origin", origin)
		allowed(t, "the checker's request from "+origin, origin, d.send(r).header)
	}
	fixChanges(t, d)
	if after := d.checkedSettings(t); !maps.EqualFunc(before, after, maps.Equal[map[string]string]) {
		t.Errorf("the settings were %v, are %v", before, after)
	}
}

// fixChanges presses every Fix button of the checker, which succeed, and tries what no button writes.
func fixChanges(t *testing.T, d device) {
	t.Helper()
	for key, value := range map[string]string{
		"chttpd/require_valid_user": "true", "chttpd_auth/require_valid_user": "true", "httpd/WWW-Authenticate": `Basic realm="couchdb"`,
		"chttpd/enable_cors": "true", "httpd/enable_cors": "true", "chttpd/max_http_request_size": "4294967296", "couchdb/max_document_size": "50000000",
		"cors/credentials": "true", "cors/origins": strings.Join(obsidianOrigins, ","),
	} {
		d.want(200, "PUT", "/_node/_local/_config/"+key, strconv.Quote(value))
	}
	for _, key := range []string{"admins/member", "chttpd/port", "log/level", "jwt_keys/hmac:x", "parlor/public_url"} {
		if a := d.do("PUT", "/_node/_local/_config/"+key, `"x"`); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("PUT of %s: %d %s", key, a.status, a.body)
		}
		if a := d.do("GET", "/_node/_local/_config/"+key, nil); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("GET of %s: %d %s", key, a.status, a.body)
		}
	}
}

// checkedSettings reads the tree of settings as the client does, which keeps strings only.
func (d device) checkedSettings(t *testing.T) map[string]map[string]string {
	t.Helper()
	a := d.want(200, "GET", "/_node/_local/_config", nil)
	if version := couchdb.FindStringSubmatch(a.header.Get("Server")); version == nil || !strings.HasPrefix(version[1], "/3.") {
		t.Errorf("the header Server %q has no version", a.header.Get("Server"))
	}
	for _, secret := range []string{adminPassword, memberPassword, ownerPassword, "pbkdf2", "jwt_keys", "secret"} {
		if strings.Contains(string(a.body), secret) {
			t.Errorf("the settings tell %q", secret)
		}
	}
	tree := map[string]map[string]string{}
	for section, keys := range a.value(t).(obj) {
		tree[section] = map[string]string{}
		for key, value := range keys.(obj) {
			if text, ok := value.(string); ok {
				tree[section][key] = text
			}
		}
	}
	return tree
}

// checkerFindings are the settings that the checker would have an administrator fix on a server from version 3.2 on.
func checkerFindings(tree map[string]map[string]string) (fixes []string) {
	atLeast := func(section, key string, least int64) {
		if n, err := strconv.ParseInt(tree[section][key], 10, 64); err != nil || n < least {
			fixes = append(fixes, section+"/"+key)
		}
	}
	for _, key := range []string{"chttpd/require_valid_user", "chttpd/enable_cors", "cors/credentials"} {
		if section, name, _ := strings.Cut(key, "/"); tree[section][name] != "true" {
			fixes = append(fixes, key)
		}
	}
	if tree["httpd"]["WWW-Authenticate"] == "" {
		fixes = append(fixes, "httpd/WWW-Authenticate")
	}
	atLeast("chttpd", "max_http_request_size", 4294967296)
	atLeast("couchdb", "max_document_size", 50000000)
	for _, origin := range obsidianOrigins {
		if given := tree["cors"]["origins"]; given != "*" && !slices.Contains(strings.Split(given, ","), origin) {
			fixes = append(fixes, "cors/origins "+origin)
		}
	}
	return fixes
}
