package server

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/parlordb/parlor/config"
)

// lockedSections may not be changed over HTTP: in CouchDB they name code to run (spec §10.1).
var lockedSections = []string{"daemons", "external", "httpd_design_handlers", "httpd_db_handlers", "httpd_global_handlers",
	"native_query_servers", "os_daemons", "query_servers", "feature_flags"}

// node checks the {node} of a path: this one's name, or "_local".
func (r *request) node() error {
	if name := r.args[0]; name != "_local" && name != r.set.nodeName {
		return &Error{Status: 404, Kind: "not_found", Reason: "no such node: " + name}
	}
	return nil
}

func (s *Server) getConfig(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	if !r.who.Admin() {
		return s.getCheckedConfig(r)
	}
	body := []byte{'{'}
	for _, section := range r.set.snap.Sections() {
		body = append(appendString(appendComma(body), section), ':')
		body = appendSection(body, r.set.snap, section)
	}
	return r.send(http.StatusOK, append(body, '}'))
}

func (s *Server) getConfigSection(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	return r.send(http.StatusOK, appendSection(nil, r.set.snap, r.args[1]))
}

// appendSection renders one section, keys sorted.
func appendSection(dst []byte, snap *config.Snapshot, section string) []byte {
	values := snap.Section(section)
	dst = append(dst, '{')
	for _, key := range slices.Sorted(maps.Keys(values)) {
		dst = append(appendString(appendComma(dst), key), ':')
		dst = appendString(dst, masked(snap, section, key, values[key]))
	}
	return append(dst, '}')
}

func (s *Server) getConfigKey(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	value, ok := r.set.snap.Get(r.args[1], r.args[2])
	if !ok {
		return config.ErrNotFound
	}
	return r.send(http.StatusOK, appendString(nil, masked(r.set.snap, r.args[1], r.args[2], value)))
}

// masked is a value as it is shown. What this server shows to providers is hidden from everyone, for none of CouchDB's tools has ever read it; with [parlor]
// mask_secrets, all that signs or opens something is.
func masked(snap *config.Snapshot, section, key, value string) string {
	if value == "" {
		return value
	}
	if strings.HasPrefix(section, "oidc:") && (key == "client_secret" || key == "private_key_jwt") {
		return "********"
	}
	if !snap.Bool(false, "mask_secrets", "parlor") {
		return value
	}
	secret := key == "secret" || key == "client_secret" || key == "password" ||
		section == "jwt_keys" && strings.HasPrefix(key, "hmac:") ||
		section == "oauth_consumer_secrets" || section == "oauth_token_secrets"
	if secret {
		return "********"
	}
	return value
}

// changeable checks that a setting may be changed over HTTP.
func (r *request) changeable() error {
	if err := r.node(); err != nil {
		return err
	}
	if slices.Contains(lockedSections, r.args[1]) {
		return forbidden("Config section blacklisted for modification over HTTP API.")
	}
	return nil
}

// persistent reports whether a change is written to the file.
func (r *request) persistent() bool { return r.Header.Get("X-Couch-Persist") != "false" }

// maxSetting bounds the value of one setting.
const maxSetting = 1 << 20

// putConfigKey changes a setting, which is in force when the answer arrives, and answers with its old value.
func (s *Server) putConfigKey(r *request) error {
	if err := r.changeable(); err != nil {
		return err
	}
	if !r.who.Admin() {
		return s.putCheckedConfig(r)
	}
	data, release, err := s.body(r, maxSetting)
	if err != nil {
		return err
	}
	defer release()
	raw, err := checkJSON(data)
	if err != nil {
		return err
	}
	value, ok := text(raw)
	if !ok {
		return badRequest("a JSON string expected")
	}
	old, err := s.live().Set(r.args[1], r.args[2], value, r.persistent())
	if err != nil {
		return err
	}
	s.auditSetting(r, r.args[1], r.args[2], "changed")
	return r.send(http.StatusOK, appendString(nil, masked(r.set.snap, r.args[1], r.args[2], old)))
}

func (s *Server) deleteConfigKey(r *request) error {
	if err := r.changeable(); err != nil {
		return err
	}
	old, err := s.live().Delete(r.args[1], r.args[2], r.persistent())
	if err != nil {
		return err
	}
	s.auditSetting(r, r.args[1], r.args[2], "removed")
	return r.send(http.StatusOK, appendString(nil, masked(r.set.snap, r.args[1], r.args[2], old)))
}

func (s *Server) reloadConfig(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	before := s.live().Snapshot()
	if err := s.live().Reload(); err != nil {
		return err
	}
	s.audit(r, "settings reloaded")
	noteChanges(before, s.live().Snapshot(), func(event string, more ...any) { s.audit(r, event, more...) })
	return r.ok(http.StatusOK)
}
