package oidc

import (
	"net/url"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth/authtest"
)

// elsewhere are paths that one browser or another takes for an address of evil.example, or that no path can be.
var elsewhere = []string{
	"https://evil.example/", "//evil.example/", "///evil.example/", `/\evil.example/`, `\/evil.example`, `\\evil.example`, "http:evil.example", "https:/evil.example",
	"/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", "/ /evil.example", "javascript:alert(1)", "data:text/html,x", "evil.example", "?x", "#x",
	"/x\r\nSet-Cookie: a=b", "/x\x00", "/\u00e9", "/\u2028", "/%", "/%zz", `/x\y`, "/" + strings.Repeat("x", maxPlace),
}

// TestNextStaysHere is the open redirect by next.
func TestNextStaysHere(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	for _, next := range elsewhere {
		_, _, err := a.Login(t.Context(), Start{Callback: callbackURL, Next: next})
		refused(t, next, err, 400)
	}
	base, _ := url.Parse("https://db.example.com/_oidc/corp/callback")
	for _, next := range []string{
		"/", "/db", "/_utils/?a=b&c=/d//e#/f", "/%2F/evil.example", "/%5Cevil.example", "/.//evil.example", "/db/_design%2Fx", "/x@evil.example", "/http://evil.example",
	} {
		if _, _, err := a.Login(t.Context(), Start{Callback: callbackURL, Next: next}); err != nil {
			t.Errorf("%s: %v", next, err)
		}
		if to, err := base.Parse(next); err != nil || to.Scheme != "https" || to.Host != "db.example.com" {
			t.Errorf("%s leads to %s, %v", next, to, err)
		}
	}
	if a.idp.Requests("") != 0 || a.idp.Requests(authtest.TokenPath) != 0 {
		t.Error("the provider was asked for its tokens")
	}
}

// TestReturnToIsListed is the open redirect by return_to.
func TestReturnToIsListed(t *testing.T) {
	t.Parallel()
	a := newAt(t, authtest.ProviderOptions{}, nil)
	challenge := strings.Repeat("A", 43)
	for _, to := range append([]string{
		"https://app.example.com.evil.example/", "https://app.example.com@evil.example/", "https://app.example.com:443@evil.example", "https://app.example.com:8443/",
		"https://app.example.com:443/", "http://app.example.com/", "https://evil.example/https://app.example.com", "https://APP.example.com/", "HTTPS://app.example.com/",
		"https://u@app.example.com/", `https://app.example.com\@evil.example/`, "https://app.example.com#x", "https://app.example.com/#x", "https://app.example.com%2eevil.example",
		"https://app.example.com%40evil.example/", "https://app.example.comevil.example", "https:app.example.com", "https:///app.example.com", "//app.example.com/",
		"http://localhost:51730/", "http://localhost/", "myapp", "myappx://x", "xmyapp://x", "MyApp://x", "myapp://u@x", "myapp:/x\n", "myapp:/x#y", "javascript:alert(1)//https://app.example.com",
	}, elsewhere...) {
		_, _, err := a.Login(t.Context(), Start{Callback: callbackURL, ReturnTo: to, Challenge: challenge})
		refused(t, to, err, 400)
	}
	for _, to := range []string{
		"https://app.example.com", "https://app.example.com/", "https://app.example.com/a?b=c", "https://app.example.com?b", "http://localhost:5173/x", "myapp:", "myapp:/x", "myapp://signed/in?a=b",
	} {
		if _, _, err := a.Login(t.Context(), Start{Callback: callbackURL, ReturnTo: to, Challenge: challenge}); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	for name, s := range map[string]Start{
		"no challenge":         {ReturnTo: "myapp:/x"},
		"a short challenge":    {ReturnTo: "myapp:/x", Challenge: challenge[1:]},
		"a padded challenge":   {ReturnTo: "myapp:/x", Challenge: challenge[1:] + "="},
		"challenge, no app":    {Challenge: challenge},
		"next and return_to":   {ReturnTo: "myapp:/x", Challenge: challenge, Next: "/"},
		"a challenge of bytes": {ReturnTo: "myapp:/x", Challenge: challenge[1:] + "\x00"},
	} {
		s.Callback = callbackURL
		_, _, err := a.Login(t.Context(), s)
		refused(t, name, err, 400)
	}
}

// FuzzNext asserts that what is taken for a path leads nowhere else, as browsers read it (WHATWG URL §4.4).
func FuzzNext(f *testing.F) {
	for _, next := range elsewhere {
		f.Add(next)
	}
	f.Fuzz(func(t *testing.T, next string) {
		if !isNext(next) {
			return
		}
		browsers := strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(strings.Trim(next, "\x00 "))
		to, err := url.Parse("https://db.example.com/a/b")
		if err == nil {
			to, err = to.Parse(browsers)
		}
		if err != nil || to.Scheme != "https" || to.Host != "db.example.com" || to.User != nil || strings.HasPrefix(browsers, "//") {
			t.Errorf("%q leads to %v, %v", next, to, err)
		}
	})
}

// FuzzReturnTo asserts that what may be returned to is at a listed origin or scheme.
func FuzzReturnTo(f *testing.F) {
	f.Add("https://app.example.com@evil.example/")
	f.Add("myapp:/x")
	f.Fuzz(func(t *testing.T, to string) {
		if !mayReturn([]string{"https://app.example.com", "myapp:"}, to) {
			return
		}
		u, err := url.Parse(to)
		if err != nil || u.User != nil || u.Fragment != "" || !(u.Scheme == "https" && u.Host == "app.example.com" || u.Scheme == "myapp") {
			t.Errorf("%q leads to %v, %v", to, u, err)
		}
	})
}
