package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// origins are those of Obsidian: on computers, on iOS and on Android.
var deviceOrigins = []struct{ origin, device string }{
	{"app://obsidian.md", "computers"},
	{"capacitor://localhost", "iPhones and iPads"},
	{"http://localhost", "Android"},
}

const corsAdvice = "Obsidian then says no more than \"Failed to fetch\". On CouchDB: [chttpd] enable_cors = true, [cors] credentials = true, " +
	"origins = app://obsidian.md,capacitor://localhost,http://localhost, headers = accept, authorization, content-type, origin, referer. A proxy must pass OPTIONS on, and must neither add nor drop Access-Control headers"

// checkCORS asks as the web views do in which Obsidian runs: a preflight for everything, and every answer must allow the origin, errors too.
func (d *doctor) checkCORS(ctx context.Context) {
	for _, o := range deviceOrigins {
		check := "cors " + o.origin
		if wrong := d.preflight(ctx, o.origin); wrong != "" {
			d.fail(check, o.device+" cannot come in: "+wrong, corsAdvice)
			continue
		}
		if wrong := d.corsAnswers(ctx, o.origin, "", "/", d.vaultPath("/"), d.vaultPath(noSuchDocument)); wrong != "" {
			d.fail(check, o.device+" cannot read answers: "+wrong, corsAdvice)
			continue
		}
		d.ok(check, o.device+" may come in, and read errors")
	}
}

// preflight is what a browser sends before a request of PouchDB. It returns what is wrong.
func (d *doctor) preflight(ctx context.Context, origin string) string {
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		a, err := d.send(ctx, ask{method: http.MethodOptions, path: d.vaultPath("/"), origin: origin, anonymous: true, header: map[string]string{
			"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type",
		}})
		if err != nil {
			return "the preflight got no answer: " + err.Error()
		}
		if a.status < 200 || a.status > 299 {
			return fmt.Sprintf("the preflight for %s is answered %s", method, a.said())
		}
		if wrong := allowed(a.header, origin); wrong != "" {
			return "the preflight's answer has " + wrong
		}
		// GET and POST need not be listed.
		if simple := method == "GET" || method == "POST"; !simple && !listed(a.header, "Access-Control-Allow-Methods", method) {
			return "the method " + method + " is not allowed"
		}
		for _, name := range []string{"authorization", "content-type"} {
			if !listed(a.header, "Access-Control-Allow-Headers", name) {
				return "the header " + name + " is not allowed"
			}
		}
	}
	return ""
}

const noSuchDocument = "/parlor-doctor-no-such-document"

// checkSignedInCORS looks at answers to a user, which an error may be too. It comes when the password is known to be right: three wrong ones may lock
// the user out.
func (d *doctor) checkSignedInCORS(ctx context.Context) {
	for _, o := range deviceOrigins {
		if wrong := d.corsAnswers(ctx, o.origin, d.user+d.token, d.vaultPath("/"), d.vaultPath(noSuchDocument)); wrong != "" {
			d.fail("cors when signed in", o.device+" cannot read answers: "+wrong, corsAdvice)
			return
		}
	}
	d.ok("cors when signed in", "every device may read answers, errors too")
}

// corsAnswers looks at answers to reading paths, as a user or, without one, as nobody. It returns what is wrong.
func (d *doctor) corsAnswers(ctx context.Context, origin, user string, paths ...string) string {
	for _, path := range paths {
		got, err := d.send(ctx, ask{method: http.MethodGet, path: path, origin: origin, anonymous: user == ""})
		if err != nil {
			return "no answer: " + err.Error()
		}
		if wrong := allowed(got.header, origin); wrong != "" {
			return fmt.Sprintf("an answer %s has %s", got.said(), wrong)
		}
		if got.status >= 400 && !got.isJSON() {
			return fmt.Sprintf("an answer %s is no JSON", got.said())
		}
	}
	return ""
}

// vaultPath is a path below the vault; without a vault, below one that need not be there.
func (d *doctor) vaultPath(rest string) string {
	return "/" + escapeVault(d.vault) + rest
}

// allowed says what keeps a browser from handing an answer to the page; "" for nothing.
func allowed(h http.Header, origin string) string {
	origins, credentials := h.Values("Access-Control-Allow-Origin"), h.Values("Access-Control-Allow-Credentials")
	switch {
	case len(origins) == 0:
		return "no Access-Control-Allow-Origin"
	case len(origins) > 1 || len(credentials) > 1:
		return "Access-Control headers twice: the server and a proxy both send them"
	case origins[0] != origin:
		return fmt.Sprintf("Access-Control-Allow-Origin: %s, which with credentials must be %s", origins[0], origin)
	case len(credentials) == 0 || credentials[0] != "true":
		return "no Access-Control-Allow-Credentials: true"
	}
	return ""
}

// listed reports whether a header that is a list has an entry.
func listed(h http.Header, name, entry string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(h.Values(name), ","), ","), func(s string) bool {
		return strings.EqualFold(strings.TrimSpace(s), entry)
	})
}
