package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parlordb/parlor/config"
)

// defaultHandlers is the order in which a request is looked at when [chttpd] authentication_handlers is not set.
var defaultHandlers = []string{"jwt", "cookie", "default"}

// handlerModules are the modules that authentication_handlers may name, and oauthModule the one besides of CouchDB 1.x.
var handlerModules = []string{"chttpd_auth", "couch_httpd_auth"}

const (
	oauthModule   = "couch_httpd_oauth"
	oauthFunction = "oauth_authentication_handler"
)

// knownHandlers are the functions that authentication_handlers may name, in either module, and the methods that they stand for.
var knownHandlers = map[string]string{
	"cookie_authentication_handler":  "cookie",
	"default_authentication_handler": "default",
	"jwt_authentication_handler":     "jwt",
	"proxy_authentication_handler":   "proxy",
	"proxy_authentification_handler": "proxy", // CouchDB's old spelling
}

// readHandlers returns the names of the methods that requests are shown to, in order: as [chttpd] says, else as [httpd] does, which is CouchDB
// 1.x's place, else the default.
func readHandlers(s *config.Snapshot) ([]string, error) {
	for _, section := range []string{"chttpd", "httpd"} {
		if text, ok := s.Get(section, "authentication_handlers"); ok {
			names, err := parseHandlers(text)
			return names, refused(section, "authentication_handlers", err)
		}
	}
	return defaultHandlers, nil
}

// parseHandlers reads a list of Erlang tuples, such as
//
//	{chttpd_auth, cookie_authentication_handler}, {chttpd_auth, default_authentication_handler}
//
// and returns the names of the methods, in order (spec §1.1). White space is free. An unknown function, one named twice and an empty list are
// errors: who would be let in by them, or kept out, should be known before and not after.
func parseHandlers(text string) ([]string, error) {
	var names []string
	rest := strings.TrimSpace(text)
	for rest != "" {
		tuple, after, ok := strings.Cut(strings.TrimPrefix(rest, "{"), "}")
		if !ok || !strings.HasPrefix(rest, "{") {
			return nil, fmt.Errorf("%q does not begin with a tuple such as {chttpd_auth, cookie_authentication_handler}", rest)
		}
		name, err := handlerName(tuple)
		if err != nil {
			return nil, err
		}
		for _, other := range names {
			if other == name {
				return nil, fmt.Errorf("the handler %s is named twice", name)
			}
		}
		names = append(names, name)
		if rest = strings.TrimSpace(after); rest == "" {
			break
		}
		var comma bool
		if rest, comma = strings.CutPrefix(rest, ","); !comma || strings.TrimSpace(rest) == "" {
			return nil, fmt.Errorf("a comma and a tuple are expected behind {%s}", tuple)
		}
		rest = strings.TrimSpace(rest)
	}
	if names == nil {
		return nil, fmt.Errorf("the list is empty, nobody could sign in")
	}
	return names, nil
}

// handlerName returns the method that the inside of a tuple stands for.
func handlerName(tuple string) (string, error) {
	module, function, ok := strings.Cut(tuple, ",")
	module, function = strings.TrimSpace(module), strings.TrimSpace(function)
	if ok && module == oauthModule && function == oauthFunction {
		return "oauth", nil
	}
	if !ok || !slices.Contains(handlerModules, module) {
		return "", fmt.Errorf("{%s} is no handler that Parlor has", tuple)
	}
	if function == "null_authentication_handler" {
		return "", fmt.Errorf("{%s} would make everyone the server's administrator; Parlor does not have it", tuple)
	}
	name, ok := knownHandlers[function]
	if !ok {
		return "", fmt.Errorf("{%s} is no handler that Parlor has", tuple)
	}
	return name, nil
}
