package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/parlordb/parlor/auth/authtest"
)

// scriptProvider starts an OpenID provider, where the user is signed in whose claims are given, and sets $ISSUER; or tells it to misbehave.
func scriptProvider(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: provider start|user|rotate|remove|down|up [CLAIMS]")
	}
	if args[0] == "start" {
		s.provider = authtest.NewProvider(s.t, authtest.ProviderOptions{})
		ts.Setenv("ISSUER", s.provider.URL)
	}
	if len(args) == 2 {
		claims := map[string]any{}
		ts.Check(json.Unmarshal([]byte(args[1]), &claims))
		s.provider.SetUser(claims)
	}
	switch args[0] {
	case "start", "user":
	case "rotate":
		before := s.provider.Signer()
		s.provider.Rotate(s.t, "ES256")
		s.provider.Remove(before.Kid)
	case "down":
		s.provider.Break("", authtest.Down())
	case "up":
		s.provider.Break("", nil)
	default:
		ts.Fatalf("provider does not know %s", args[0])
	}
}

// scriptIDToken mints an ID token of the provider's user, with other claims where CLAIMS says so; null takes one away.
func scriptIDToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: idtoken VAR [CLAIMS]")
	}
	edits := map[string]any{}
	if len(args) == 2 {
		ts.Check(json.Unmarshal([]byte(args[1]), &edits))
	}
	s := of(ts)
	ts.Setenv(args[0], s.provider.IDToken(s.t, func(_, claims map[string]any) {
		for name, value := range edits {
			if value == nil {
				delete(claims, name)
			} else {
				claims[name] = value
			}
		}
	}))
}

// scriptLogin does what a browser does that opens PATH, as far as this server: to the provider, where the user is signed in, and back. It prints the last answer as http
// does, with its Location, and sets VAR to the Cookie header that the browser then sends.
func scriptLogin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: login VAR PATH")
	}
	s := of(ts)
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	browser := &http.Client{Jar: jar, CheckRedirect: noRedirect}
	res, err := browser.Get(ts.Getenv("URL") + args[1])
	ts.Check(err)
	defer res.Body.Close()
	if to, err := res.Location(); err == nil && strings.HasPrefix(to.String(), s.provider.URL) {
		res, err = browser.Get(s.provider.SignIn(s.t, to.String()).String())
		ts.Check(err)
		defer res.Body.Close()
	}
	var cookies []string
	home, err := url.Parse(ts.Getenv("URL"))
	ts.Check(err)
	for _, c := range jar.Cookies(home) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	ts.Setenv(args[0], strings.Join(cookies, "; "))
	fmt.Fprintf(ts.Stdout(), "%d\nLocation: %s\n", res.StatusCode, res.Header.Get("Location"))
	_, err = io.Copy(ts.Stdout(), res.Body)
	ts.Check(err)
}
