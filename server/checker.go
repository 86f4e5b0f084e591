package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/parlordb/parlor/livesync"
)

// LiveSync checks a server by reading all of its settings, which in CouchDB only server admins may; so people hand out administrators' passwords. Whoever owns a vault here, or has
// a share in one, is answered with the settings that LiveSync looks at, as they hold for vaults, and nothing else. What its Fix buttons write is in force already.

// isCheckedUser reports whether the caller, no server admin, is somebody whose device LiveSync may check.
func (s *Server) isCheckedUser(r *request) (bool, error) {
	if r.who.Anonymous() {
		return false, nil
	}
	return s.hasVault(r.who.Name)
}

// checkedSettings is what LiveSync is told. Where an administrator has set otherwise than it wants, it is told so.
func (r *request) checkedSettings() []livesync.Setting {
	origins := r.set.cors.own
	if r.set.cors.enabled {
		origins = slices.Concat(origins, r.set.cors.all.origins)
	}
	return livesync.CheckedSettings(r.who.Name, r.set.maxRequestSize, strings.Join(origins, ","))
}

// getCheckedConfig answers with the settings that LiveSync looks at.
func (s *Server) getCheckedConfig(r *request) error {
	body, section := []byte{'{'}, ""
	for _, c := range r.checkedSettings() {
		if c.Section != section {
			if section != "" {
				body = append(body, "},"...)
			}
			section = c.Section
			body = append(appendString(body, section), ":{"...)
		}
		body = appendString(append(appendString(appendComma(body), c.Key), ':'), c.Value)
	}
	return r.send(http.StatusOK, append(body, "}}"...))
}

// putCheckedConfig changes nothing. It answers with the value that holds, for the settings that LiveSync looks at; others are a server admin's to change.
func (s *Server) putCheckedConfig(r *request) error {
	for _, c := range r.checkedSettings() {
		if c.Section == r.args[1] && c.Key == r.args[2] && c.Section != "admins" {
			return r.send(http.StatusOK, appendString(nil, c.Value))
		}
	}
	return r.needsAdmin(notServerAdmin)
}
