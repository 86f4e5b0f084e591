package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseHandlers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, wrong string }{
		{"", "the list is empty"},
		{"  ", "the list is empty"},
		{"cookie", "does not begin with a tuple"},
		{"{chttpd_auth, cookie_authentication_handler", "does not begin with a tuple"},
		{"{chttpd_auth, cookie_authentication_handler},", "a comma and a tuple are expected"},
		{"{chttpd_auth, cookie_authentication_handler} {chttpd_auth, jwt_authentication_handler}", "a comma and a tuple are expected"},
		{"{chttpd_auth, cookie_authentication_handler},, {chttpd_auth, jwt_authentication_handler}", "does not begin with a tuple"},
		{"{chttpd_auth}", "is no handler"},
		{"{chttpd_auth, }", "is no handler"},
		{"{other, cookie_authentication_handler}", "is no handler"},
		{"{chttpd_auth, oauth_authentication_handler}", "is no handler"},
		{"{couch_httpd_oauth, cookie_authentication_handler}", "is no handler"},
		{"{couch_httpd_oauth, oauth_authentication_handler}, {couch_httpd_oauth, oauth_authentication_handler}", "oauth is named twice"},
		{"{chttpd_auth, cookie_authentication_handler, x}", "is no handler"},
		{"{{chttpd_auth, cookie_authentication_handler}}", "is no handler"},
		{"{chttpd_auth, Cookie_authentication_handler}", "is no handler"},
		{"{couch_httpd_auth, null_authentication_handler}", "everyone"},
		{"{chttpd_auth, jwt_authentication_handler}, {couch_httpd_auth, jwt_authentication_handler}", "jwt is named twice"},
	} {
		if names, err := parseHandlers(test.text); err == nil || !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%q: got %q, %v; want an error with %q", test.text, names, err, test.wrong)
		}
	}
	for text, want := range map[string][]string{
		"{chttpd_auth, cookie_authentication_handler}":                                                         {"cookie"},
		" {chttpd_auth,jwt_authentication_handler}\t,{ couch_httpd_auth , default_authentication_handler } ":   {"jwt", "default"},
		"{couch_httpd_auth, proxy_authentification_handler},{chttpd_auth,cookie_authentication_handler}":       {"proxy", "cookie"},
		"{couch_httpd_oauth, oauth_authentication_handler}, {couch_httpd_auth, cookie_authentication_handler}": {"oauth", "cookie"},
	} {
		if got, err := parseHandlers(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

// FuzzParseHandlers asserts that what is taken names known methods, each once, and at least one.
func FuzzParseHandlers(f *testing.F) {
	f.Add("{chttpd_auth, cookie_authentication_handler}, {couch_httpd_auth, default_authentication_handler}")
	f.Add("{chttpd_auth, jwt_authentication_handler},{")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := parseHandlers(text)
		if err != nil {
			t.Skip()
		}
		slices.Sort(names)
		if len(names) == 0 || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Fatalf("%q gives %q", text, names)
		}
		for _, name := range names {
			if !strings.Contains(text, "auth") || !slices.Contains([]string{"jwt", "cookie", "default", "proxy", "oauth"}, name) {
				t.Fatalf("%q gives %q", text, names)
			}
		}
	})
}
