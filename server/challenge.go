package server

import (
	"net/http"
	"strings"
)

// challenge adds what a 401 carries, and returns the status: 302 for a browser that takes no JSON, which is sent to the sign-in page (spec §0.1).
func (s *Server) challenge(r *request, e *Error) int {
	h := r.w.Header()
	if e.Status != http.StatusUnauthorized || h.Get("WWW-Authenticate") != "" {
		return e.Status
	}
	switch asked := r.Header.Get("X-CouchDB-WWW-Authenticate"); {
	case asked != "":
		h.Set("WWW-Authenticate", asked)
	case r.set.challenge != "":
		h.Set("WWW-Authenticate", r.set.challenge)
	case e.Kind != "unauthorized":
	case r.set.basicChallenge:
		h.Set("WWW-Authenticate", `Basic realm="server"`)
	case !accepts(r.Header.Get("Accept"), "application/json") && accepts(r.Header.Get("Accept"), "text/html"):
		reason, _ := e.Reason.(string)
		h.Set("Location", r.absolute(r.set.redirect)+"?return="+escapeAll(r.URL.Path)+"&reason="+escapeAll(reason))
		return http.StatusFound
	}
	return e.Status
}

// accepts reports whether an Accept header takes a type; an absent one takes all.
func accepts(header, mime string) bool {
	if header == "" {
		return true
	}
	class, _, _ := strings.Cut(mime, "/")
	for item := range strings.SplitSeq(header, ",") {
		switch mediaType(item) {
		case "*/*", mime, class + "/*":
			return true
		}
	}
	return false
}

// absolute is a path as a whole URL of this server.
func (r *request) absolute(path string) string {
	return r.publicScheme() + "://" + r.publicHost() + path
}

// escapeAll percent-encodes all but letters, digits and "_.-:", as CouchDB does in this place.
func escapeAll(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_.-:", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
