package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
)

// readPublicURL reads [parlor] public_url: where clients reach this server, such as https://example.org or https://example.org/couch behind a
// proxy that takes the path away. It is returned without a slash at its end; "" when it is not set.
func readPublicURL(snap *config.Snapshot) (string, error) {
	given := snap.String("", "public_url", "parlor")
	if given == "" {
		return "", nil
	}
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !isHost(u.Host) || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		strings.Contains(u.Path, "//") || strings.ContainsAny(given, "\\\t\r\n #") {
		return "", &config.ValueError{Reason: "[parlor] public_url is the address of this server as its clients write it, such as https://example.org"}
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

// isHost reports whether text is a host and perhaps a port, as in a URL.
func isHost(text string) bool {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]"
	if text == "" || strings.Trim(text, alphabet) != "" {
		return false
	}
	u, err := url.Parse("http://" + text)
	return err == nil && u.Host == text && u.Hostname() != ""
}

var errNoPublicURL = badRequest("This server does not know its own address. Its administrator has to set [parlor] public_url, or has to let a trusted proxy " +
	"send X-Forwarded-Host.")

// publicURL is where the client reaches this server, without a slash at the end: [parlor] public_url, else what a trusted proxy reports. The Host
// header alone is what anyone wrote; it is believed only of those who come straight from this machine and call it so.
func (r *request) publicURL() (string, error) {
	if r.set.publicURL != "" {
		return r.set.publicURL, nil
	}
	p := r.set.proxies
	scheme, host := p.Origin(r.Request)
	if !p.reportsHost(r.Request) && !isLocal(r.Request) || !isHost(host) {
		return "", errNoPublicURL
	}
	return scheme + "://" + host, nil
}

// reportsHost reports whether a trusted proxy says which host the client asked.
func (p *Proxies) reportsHost(r *http.Request) bool {
	return p.trusts(r) && len(r.Header.Values(p.host)) == 1 && r.Header.Get(p.host) != ""
}

// isLocal reports whether a request comes from this machine, through no proxy that tells of itself, to a name that means this machine.
func isLocal(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	if !auth.Peer(r).IsLoopback() {
		return false
	}
	switch hostname(r.Host) {
	case "localhost", "127.0.0.1", "[::1]":
		return true
	}
	return false
}

// localPath checks a path on this server that a browser is to be sent to, with its query; "" stays "".
func localPath(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	// "//host" and "/\host" are other servers to a browser, which also drops tabs and line ends before it looks.
	u, err := url.Parse(text)
	if err != nil || text[0] != '/' || strings.HasPrefix(text, "//") || u.Scheme != "" || u.Host != "" ||
		strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }) {
		return "", badRequest("The parameter next must be a path on this server.")
	}
	return text, nil
}
