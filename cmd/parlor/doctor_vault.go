package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// escapeVault is a vault's name in a path.
func escapeVault(name string) string {
	if name == "" {
		name = "parlor-doctor"
	}
	return strings.ReplaceAll(url.PathEscape(name), "+", "%2B")
}

// checkSignIn tries the user's credentials. Without any there is nothing else to check.
func (d *doctor) checkSignIn(ctx context.Context) bool {
	const check = "sign-in"
	if d.user == "" && d.token == "" {
		d.skip(check, "no user was named (-user): what needs one is left out")
		return false
	}
	a, err := d.send(ctx, ask{method: http.MethodGet, path: "/_session"})
	var session struct {
		Context struct {
			Name  string   `json:"name"`
			Roles []string `json:"roles"`
		} `json:"userCtx"`
	}
	switch {
	case err != nil:
		d.fail(check, "no answer: "+err.Error(), reachAdvice(err))
	case a.status == http.StatusUnauthorized:
		d.fail(check, a.said(), "is the password right? LiveSync tells of this as \"failed to initialise the encryption key\"")
	case a.status == http.StatusForbidden || a.status == http.StatusTooManyRequests:
		d.fail(check, a.said(), "after several wrong passwords a server locks for some minutes: wait, and correct the password on every device that still tries the old one")
	case a.status != http.StatusOK || json.Unmarshal(a.body, &session) != nil:
		d.fail(check, a.said(), "a proxy may keep the path /_session or the header Authorization from the server")
	case session.Context.Name == "":
		d.fail(check, "the server takes the credentials for nobody's", "a proxy drops the header Authorization, or the server does not take this kind of token")
	case slices.Contains(session.Context.Roles, "_admin"):
		d.warn(check, session.Context.Name+" is an administrator of the server: every device holds the password to everything",
			"give each device an app password of an ordinary user: 'parlor livesync add', or a member of the vault's database on CouchDB")
		return true
	default:
		d.ok(check, "signed in as "+session.Context.Name)
		return true
	}
	return false
}

// checkVault looks at the database, and who may read it.
func (d *doctor) checkVault(ctx context.Context) bool {
	const check = "vault"
	if d.vault == "" {
		d.skip(check, "no vault was named (-vault): what needs one is left out")
		return false
	}
	a, err := d.send(ctx, ask{method: http.MethodGet, path: d.vaultPath("/")})
	if err != nil {
		d.fail(check, "no answer: "+err.Error(), reachAdvice(err))
		return false
	}
	var info struct {
		Name string `json:"db_name"`
		Seq  any    `json:"update_seq"`
	}
	switch {
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		d.fail(check, "this user may not read it: "+a.said(), "is the name that of the database, as in LiveSync's settings, such as alice-notes? "+
			"Then add the user to the members in its _security, or share it: 'parlor vault share'")
		return false
	case a.status == http.StatusNotFound:
		d.fail(check, "there is no such database", "is the name right? Make it ('parlor livesync add', or PUT /NAME as an administrator), or let the first device make it when its user may")
		return false
	case a.status != http.StatusOK || json.Unmarshal(a.body, &info) != nil || info.Name == "":
		d.fail(check, "it is no database: "+a.said(), "check the path of the URL, and the proxy's")
		return false
	}
	if seq, _, _ := strings.Cut(fmt.Sprint(info.Seq), "-"); !isNumber(seq) {
		d.fail(check, "update_seq is not as LiveSync reads it: "+seq, "use CouchDB or Parlor")
		return false
	}
	if open, err := d.send(ctx, ask{method: http.MethodGet, path: d.vaultPath("/"), anonymous: true}); err == nil && open.status == http.StatusOK {
		d.fail(check, "everyone may read it, without a password", "name members in the database's _security, and set [chttpd] require_valid_user = true")
		return true
	}
	d.ok(check, "a member may read it, and nobody else without a password")
	return true
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// wantedConfig are the values that LiveSync's own check of a server asks for. A number is the least one.
var wantedConfig = []struct {
	section, key, value string
	least               int64
}{
	{"chttpd", "require_valid_user", "true", 0},
	{"chttpd", "enable_cors", "true", 0},
	{"chttpd", "max_http_request_size", "", 4294967296},
	{"couchdb", "max_document_size", "", 50000000},
	{"cors", "credentials", "true", 0},
}

// checkConfig reads the settings as LiveSync's "Check server requirements" does. Sync does not depend on it.
func (d *doctor) checkConfig(ctx context.Context) {
	const check = "settings"
	a, err := d.send(ctx, ask{method: http.MethodGet, path: "/_node/_local/_config"})
	if err != nil {
		d.warn(check, "no answer: "+err.Error(), reachAdvice(err))
		return
	}
	var tree map[string]map[string]any
	if a.status != http.StatusOK || json.Unmarshal(a.body, &tree) != nil {
		d.warn(check, "LiveSync's own check of the server will say that it cannot read them: "+a.said(),
			"sync works all the same. CouchDB shows settings to administrators alone; Parlor shows what the check wants to whoever owns or shares a vault")
		return
	}
	var wrong []string
	for _, w := range wantedConfig {
		has, _ := tree[w.section][w.key].(string) // LiveSync passes over what is no string
		n, err := strconv.ParseInt(has, 10, 64)
		if w.least > 0 && (err != nil || n < w.least) {
			wrong = append(wrong, fmt.Sprintf("[%s] %s = %d", w.section, w.key, w.least))
		} else if w.least == 0 && has != w.value {
			wrong = append(wrong, fmt.Sprintf("[%s] %s = %s", w.section, w.key, w.value))
		}
	}
	if challenge, _ := tree["httpd"]["WWW-Authenticate"].(string); challenge == "" {
		wrong = append(wrong, `[httpd] WWW-Authenticate = Basic realm="couchdb"`)
	}
	listed, _ := tree["cors"]["origins"].(string)
	origins := strings.Split(listed, ",")
	for _, o := range deviceOrigins {
		if listed != "*" && !slices.Contains(origins, o.origin) {
			wrong = append(wrong, "[cors] origins with "+o.origin+" in it, without blanks")
		}
	}
	if len(wrong) > 0 {
		d.warn(check, "LiveSync's own check of the server will complain", "set "+strings.Join(wrong, "; "))
		return
	}
	d.ok(check, "as LiveSync's own check wants them")
}

// checkWrite finds out whether the user may write to the vault, by writing no documents.
func (d *doctor) checkWrite(ctx context.Context) bool {
	const check = "write"
	a, err := d.send(ctx, ask{method: http.MethodPost, path: d.vaultPath("/_bulk_docs"), body: `{"docs":[]}`})
	switch {
	case err != nil:
		d.fail(check, "no answer: "+err.Error(), reachAdvice(err))
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		d.fail(check, "this user may only read the vault: "+a.said(), "LiveSync needs to write: share the vault without -read ('parlor vault share "+d.vault+" "+cmp.Or(d.user, "USER")+
			"'), and see that the credential is for writing too ('parlor token list')")
	case a.status != http.StatusCreated:
		d.fail(check, "a request without any documents is refused: "+a.said(), "a proxy may keep POST requests from the server")
	default:
		d.ok(check, "this user may write to the vault")
		return true
	}
	return false
}

const localAdvice = "LiveSync keeps its encryption salt and its list of devices in _local documents: members must be able to write them"

// checkLocal writes a scratch _local document, and looks whether a device that has not read it can overwrite it.
func (d *doctor) checkLocal(ctx context.Context) {
	const check = "_local"
	path := d.vaultPath("/_local/parlor_doctor_" + strings.ToLower(rand.Text()))
	first, err := d.send(ctx, ask{method: http.MethodPut, path: path, body: `{"n":1}`})
	if err != nil {
		d.fail(check, "no answer: "+err.Error(), localAdvice)
		return
	}
	if first.status != http.StatusCreated {
		d.fail(check, "a _local document cannot be written: "+first.said(), localAdvice)
		return
	}
	defer d.remove(ctx, path)
	read, err := d.send(ctx, ask{method: http.MethodGet, path: path})
	var doc struct {
		N   int    `json:"n"`
		Rev string `json:"_rev"`
	}
	if err != nil || read.status != http.StatusOK || json.Unmarshal(read.body, &doc) != nil || doc.N != 1 || doc.Rev == "" {
		d.fail(check, "a _local document does not come back as it was written", localAdvice)
		return
	}
	if next, err := d.send(ctx, ask{method: http.MethodPut, path: path, body: `{"n":2,"_rev":"` + doc.Rev + `"}`}); err != nil || next.status != http.StatusCreated {
		d.fail(check, "a _local document cannot be changed", localAdvice)
		return
	}
	for _, stale := range []string{`{"n":3}`, `{"n":3,"_rev":"` + doc.Rev + `"}`} {
		a, err := d.send(ctx, ask{method: http.MethodPut, path: path, body: stale})
		if err != nil || a.status != http.StatusConflict {
			d.warn(check, "a device can overwrite what it has not read", "CouchDB is so. Two devices that start at the same moment on an empty vault can lose its encryption salt: set the first up, "+
				"sync it, and then the next. Parlor answers 409")
			return
		}
	}
	d.ok(check, "a member may write them, and what a device has not read is not overwritten")
}

// remove deletes a scratch document.
func (d *doctor) remove(ctx context.Context, path string) {
	a, err := d.send(ctx, ask{method: http.MethodGet, path: path})
	var doc struct {
		Rev string `json:"_rev"`
	}
	if err != nil || json.Unmarshal(a.body, &doc) != nil || doc.Rev == "" {
		return // it is not there
	}
	gone, err := d.send(ctx, ask{method: http.MethodDelete, path: path + "?rev=" + url.QueryEscape(doc.Rev)})
	if err == nil && gone.status != http.StatusOK {
		d.warn("_local", "the scratch document stays: "+gone.said(), "it is never synced")
	}
}

// largeBody is the size of a request that must pass: a batch of a vault's chunks.
const largeBody = 5 << 20

func (d *doctor) checkLargeBody(ctx context.Context) {
	const check = "large body"
	const advice = "raise the limit: [couchdb] max_document_size = 50000000 at the server; client_max_body_size 100m in nginx, and the like elsewhere. LiveSync gives up at a 413"
	path := d.vaultPath("/_local/parlor_doctor_" + strings.ToLower(rand.Text()))
	a, err := d.send(ctx, ask{method: http.MethodPut, path: path, body: `{"data":"` + strings.Repeat("x", largeBody) + `"}`})
	if err != nil {
		d.fail(check, "a request of 5 MB is cut off: "+err.Error(), advice)
		return
	}
	if a.status != http.StatusCreated {
		by := ""
		if !a.isJSON() {
			by = ", by a proxy: the answer is no JSON"
		}
		d.fail(check, "a request of 5 MB is refused: "+a.said()+by, advice)
		return
	}
	d.remove(ctx, path)
	d.ok(check, "5 MB pass")
}
