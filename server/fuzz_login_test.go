package server

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzLocalPath: where a browser is sent after a login is on this server, however browsers read what was asked for.
func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"", "/", "/db?a=1#b", "//evil.example", `/\evil.example`, "/\t/evil.example", "https://evil.example", "/.//evil.example", "/%2F%2Fevil.example", "/a\r\nb", "/é"} {
		f.Add(seed)
	}
	here, err := url.Parse("https://here.example/")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := localPath(text)
		if err != nil || path == "" {
			return
		}
		// What browsers do before they look at a URL.
		seen := strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(strings.TrimSpace(path))
		if strings.HasPrefix(seen, "//") || !strings.HasPrefix(seen, "/") {
			t.Fatalf("%q is taken, and browsers see %q", text, seen)
		}
		if to, err := here.Parse(seen); err != nil || to.Host != here.Host || to.Scheme != here.Scheme {
			t.Fatalf("%q leads to %v, %v", text, to, err)
		}
	})
}

// FuzzIsHost: a host that is taken stands in a URL as the host, and as nothing else.
func FuzzIsHost(f *testing.F) {
	for _, seed := range []string{"", "a.example", "a.example:8443", "[::1]:1", "user@a.example", "a.example/x", "a.example, b.example", "[", "a:b", ":1", "a.example\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !isHost(text) {
			return
		}
		u, err := url.Parse("https://" + text + "/_oidc/idp/callback")
		if err != nil || u.Host != text || u.Path != "/_oidc/idp/callback" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q makes %v, %v", text, u, err)
		}
	})
}

// FuzzIdentities: what is read of a user document is written so that it is read again; and of a list with one bad item nothing is.
func FuzzIdentities(f *testing.F) {
	for _, seed := range []string{`[]`, `[{"issuer":"https://idp.example","subject":"1"}]`, `[{"issuer":"a","subject":"b"},{}]`, `{}`, `null`, `[{"issuer":"a","issuer":"b","subject":"c"}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		value, err := checkJSON(data)
		if err != nil {
			return
		}
		list, ok := parseIdentities(value)
		if !ok {
			if list != nil {
				t.Fatalf("%s is malformed and links %v", data, list)
			}
			return
		}
		again, ok := parseIdentities(appendIdentities(nil, list))
		if !ok || !slices.Equal(list, again) {
			t.Fatalf("%s: %v, then %v", data, list, again)
		}
	})
}
