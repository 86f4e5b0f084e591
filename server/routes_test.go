package server

import (
	"slices"
	"strings"
	"testing"
)

func TestRouter(t *testing.T) {
	for _, c := range []struct {
		router *router
		path   string
		want   string // the pattern
		args   []string
	}{
		{serverRouter, "", "", nil},
		{serverRouter, "_session", "_session", nil},
		{serverRouter, "_session/x", "**", []string{"_session", "x"}}, // below /_session is nothing: it needs an admin, as any unknown name
		{serverRouter, "_node/n/_config", "_node/*/_config", []string{"n"}},
		{serverRouter, "_node/n/_config/_reload", "_node/*/_config/_reload", []string{"n"}},
		{serverRouter, "_node/n/_config/a/b", "_node/*/_config/*/*", []string{"n", "a", "b"}},
		{serverRouter, "_node/n/_config/a/b/c", "_node/*/**", []string{"n", "_config", "a", "b", "c"}},
		{serverRouter, "_nosuch", "**", []string{"_nosuch"}},
		{databaseRouter, "", "", nil},
		{databaseRouter, "doc", "*", []string{"doc"}},
		{databaseRouter, "doc/att", "*/**", []string{"doc", "att"}},
		{databaseRouter, "doc/a/t", "*/**", []string{"doc", "a", "t"}},
		{databaseRouter, "_design/d", "_design/*", []string{"d"}},
		{databaseRouter, "_design/d/att/x", "_design/*/**", []string{"d", "att", "x"}},
		{databaseRouter, "_local/l", "_local/*", []string{"l"}},
		{databaseRouter, "_local/l/x", "*/**", []string{"_local", "l", "x"}},
		{databaseRouter, "_all_docs/queries", "_all_docs/queries", nil},
		{databaseRouter, "_all_docs/other", "*/**", []string{"_all_docs", "other"}},
		{databaseRouter, "_other", "*", []string{"_other"}},
	} {
		var segments []string
		if c.path != "" {
			segments = strings.Split(c.path, "/")
		}
		found, args := c.router.find(segments)
		if found == nil || found.pattern != c.want || !slices.Equal(args, c.args) {
			t.Errorf("%q: got %+v with %q, want %q with %q", c.path, found, args, c.want, c.args)
		}
	}
}

// Every route names in Allow what it takes, and nothing else.
func TestRoutesAllow(t *testing.T) {
	for _, e := range append(serverRoutes(), databaseRoutes()...) {
		if e.pattern == "" || strings.Contains(e.pattern, "**") || e.pattern == "_auto_purge" || strings.Contains(e.pattern, "_local/") {
			continue // CouchDB's own lists there are longer or shorter
		}
		for method := range e.methods {
			if !slices.Contains(strings.Split(e.allow, ","), method) {
				t.Errorf("%s takes %s, which its Allow %q does not name", e.pattern, method, e.allow)
			}
		}
	}
}
