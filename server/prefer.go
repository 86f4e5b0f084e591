package server

import (
	"net/http"
	"strings"

	"github.com/parlordb/parlor/config"
)

// minimalHeaders are the answer's headers that remain for who asks with "Prefer: return=minimal" (spec §0).
type minimalHeaders map[string]bool

// protective headers remain in any case: what they forbid to a browser is not for the one who asks to allow.
var protective = []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options"}

func newMinimal(snap *config.Snapshot) minimalHeaders {
	m := minimalHeaders{}
	const usual = "Cache-Control, Content-Length, Content-Range, Content-Type, ETag, Server, Transfer-Encoding, Vary"
	for _, name := range append(list(snap.String(usual, "prefer_minimal", "chttpd")), protective...) {
		m[http.CanonicalHeaderKey(name)] = true
	}
	return m
}

// filter removes all other headers. Those of CORS remain, without which no script could read the answer.
func (m minimalHeaders) filter(h http.Header) {
	for name := range h {
		if !m[name] && !strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
}

// preferred is what the answer's headers are cut down to; nil for all of them.
func (r *request) preferred() minimalHeaders {
	if !strings.EqualFold(r.Header.Get("Prefer"), "return=minimal") {
		return nil
	}
	return r.set.minimal
}
