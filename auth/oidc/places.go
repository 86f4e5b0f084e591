package oidc

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// maxPlace bounds the URLs that a login carries, in bytes: they are in its cookie.
const maxPlace = 1024

// isNext reports whether next is a path on this server, with a query and fragment maybe, that no browser takes for another place. Browsers read "\" as "/", and drop tabs
// and line ends wherever they are.
func isNext(next string) bool {
	if len(next) > maxPlace || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || !isPlain(next) {
		return false
	}
	u, err := url.Parse(next)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil
}

// isPlain reports whether text is ASCII without blanks, control characters and backslashes.
func isPlain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' })
}

// isCallback reports whether a provider can send browsers to it (RFC 6749 §3.1.2).
func isCallback(callback string) bool {
	u, err := url.Parse(callback)
	return err == nil && len(callback) <= maxPlace && isPlain(callback) && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil &&
		!strings.Contains(callback, "#")
}

// customScheme is a scheme with its colon, as RFC 3986 §3.1 has it, in lower case.
var customScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,63}:$`)

// executable are the schemes under which a browser runs, opens or sends something itself: no app can own them.
var executable = []string{
	"javascript:", "vbscript:", "livescript:", "data:", "blob:", "file:", "filesystem:", "content:", "intent:", "jar:", "about:", "view-source:", "resource:", "chrome:",
	"http:", "https:", "ws:", "wss:", "ftp:", "mailto:", "tel:", "sms:",
}

// checkReturnPlace checks an entry of ReturnTo: an origin in the form that browsers give it, or a scheme of an app's own with its colon.
func checkReturnPlace(place string) error {
	if customScheme.MatchString(place) {
		if slices.Contains(executable, place) {
			return fmt.Errorf("return_to %q: no app owns this scheme", place)
		}
		return nil
	}
	u, err := url.Parse(place)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || place != u.Scheme+"://"+u.Host ||
		place != strings.ToLower(place) || !isPlain(place) || len(place) > maxPlace {
		return fmt.Errorf(`return_to %.200q is neither an origin, such as "https://app.example.com", nor a scheme of an app's own, such as "myapp:"`, place)
	}
	if strings.ContainsAny(u.Host, "*%") {
		return fmt.Errorf("return_to %.200q: an origin is compared exactly, there are no patterns", place)
	}
	return nil
}

// mayReturn reports whether a login may end at an app's URL: the text up to its path is exactly one of the places.
func mayReturn(places []string, to string) bool {
	if len(to) > maxPlace || !isPlain(to) || strings.Contains(to, "#") {
		return false
	}
	u, err := url.Parse(to)
	if err != nil || u.User != nil {
		return false
	}
	for _, place := range places {
		rest, found := strings.CutPrefix(to, place)
		switch {
		case !found:
		case strings.HasSuffix(place, ":"):
			if u.Scheme+":" == place {
				return true
			}
		case u.Scheme+"://"+u.Host == place && (rest == "" || rest[0] == '/' || rest[0] == '?'):
			return true
		}
	}
	return false
}

// isChallenge reports whether text can be a code_challenge of the method S256: a SHA-256 in base64url (RFC 7636 §4.2).
func isChallenge(text string) bool {
	return len(text) == 43 && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
