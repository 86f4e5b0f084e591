package conformance

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Answer is what a server said, normalised so that it can be compared with a Response.
type Answer struct {
	Status  int
	Headers map[string]string
	Body    any
}

// kept are the response headers that are compared, besides Access-Control-*.
var kept = []string{"content-type", "set-cookie", "location", "www-authenticate", "allow", "cache-control", "etag", "content-range",
	"accept-ranges", "content-md5", "content-encoding", "content-disposition", "x-couch-update-newrev"}

var (
	authSession   = regexp.MustCompile(`AuthSession=[^;]+`)
	cookieExpires = regexp.MustCompile(`Expires=[^;]+`)
	origin        = regexp.MustCompile(`^https?://127\.0\.0\.1:\d+`)
	boundaryParam = regexp.MustCompile(`boundary="?([^";]+)`)
	partHeader    = regexp.MustCompile(`(?m)^([\w-]+): *(.*?)\r?$`)
	blankLines    = regexp.MustCompile(`\n\n+`)
	eventField    = regexp.MustCompile(`(?m)^(\w+): ?(.*)$`)
)

// normalise makes an answer comparable: it keeps the headers that matter and reads the body by its kind. With exact the body is kept as text.
func normalise(status int, h http.Header, body []byte, exact bool) Answer {
	a := Answer{Status: status, Headers: normaliseHeaders(h)}
	if exact {
		a.Body = text(body)
	} else {
		a.Body = normaliseBody(body, last(h, "Content-Type"))
	}
	return a
}

func last(h http.Header, name string) string {
	v := h[name]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

func normaliseHeaders(h http.Header) map[string]string {
	out := make(map[string]string)
	for name := range h {
		k := strings.ToLower(name)
		if !slices.Contains(kept, k) && !strings.HasPrefix(k, "access-control-") {
			continue
		}
		v := latin1(last(h, name))
		switch k {
		case "set-cookie":
			v = authSession.ReplaceAllString(v, "AuthSession=<cookie>")
			v = cookieExpires.ReplaceAllString(v, "Expires=<date>")
		case "access-control-expose-headers", "access-control-allow-headers", "access-control-allow-methods":
			v = sortedList(strings.ToLower(v), ", ")
		case "content-type":
			v, _, _ = strings.Cut(v, ";")
		case "allow":
			v = sortedList(v, ",")
		case "location":
			v = origin.ReplaceAllString(v, "")
		}
		out[k] = v
	}
	return out
}

// latin1 reads header bytes as the recorder did, one character for each byte.
func latin1(s string) string {
	r := make([]rune, 0, len(s))
	for i := range len(s) {
		r = append(r, rune(s[i]))
	}
	return string(r)
}

func sortedList(v, sep string) string {
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	slices.Sort(parts)
	return strings.Join(parts, sep)
}

func text(b []byte) any {
	return map[string]any{"<text>": strings.TrimRight(strings.ToValidUTF8(string(b), "\uFFFD"), "\n")}
}

func normaliseBody(b []byte, ctype string) any {
	if strings.HasPrefix(ctype, "multipart/") {
		if m := boundaryParam.FindStringSubmatch(ctype); m != nil {
			return normaliseParts(b, m[1])
		}
	}
	if strings.HasPrefix(ctype, "text/event-stream") {
		return map[string]any{"<events>": normaliseEvents(string(b))}
	}
	if !utf8.Valid(b) {
		return map[string]any{"<base64>": base64.StdEncoding.EncodeToString(b)}
	}
	if len(b) > 0 && len(bytes.TrimSpace(b)) == 0 {
		return "<blank lines>"
	}
	b = bytes.TrimRight(b, "\n")
	if len(b) == 0 {
		return nil
	}
	if v, ok := parseJSON(b); ok {
		return v
	}
	lines := []any{}
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		v, ok := parseJSON(line)
		if !ok {
			return text(b)
		}
		lines = append(lines, v)
	}
	return map[string]any{"<lines>": lines}
}

func normaliseParts(b []byte, boundary string) any {
	pieces := bytes.Split(b, []byte("--"+boundary))
	parts := []any{}
	for i, p := range pieces {
		if i > 0 && i < len(pieces)-1 {
			parts = append(parts, normalisePart(p))
		}
	}
	return map[string]any{"<parts>": parts}
}

func normalisePart(p []byte) any {
	head, body, _ := bytes.Cut(p, []byte("\r\n\r\n"))
	headers := make(map[string]any)
	for _, m := range partHeader.FindAllStringSubmatch(string(head), -1) {
		headers[strings.ToLower(m[1])] = m[2]
	}
	ctype, _ := headers["content-type"].(string)
	if strings.HasPrefix(ctype, "multipart/") {
		headers["content-type"], _, _ = strings.Cut(ctype, ";")
	}
	if _, ok := headers["content-encoding"]; ok {
		// How well a body is compressed depends on the zlib.
		delete(headers, "content-length")
		body = []byte("<any>")
	}
	return map[string]any{"headers": headers, "body": normaliseBody(bytes.TrimSuffix(body, []byte("\r\n")), ctype)}
}

// normaliseEvents reads server-sent events without the heartbeats. The id of one is a sequence, so it is called seq.
func normaliseEvents(s string) []any {
	out := []any{}
	for _, block := range blankLines.Split(strings.Trim(s, "\n"), -1) {
		e, heartbeat := make(map[string]any), false
		for _, m := range eventField.FindAllStringSubmatch(block, -1) {
			name := m[1]
			if name == "id" {
				name = "seq"
			}
			heartbeat = heartbeat || name == "event" && m[2] == "heartbeat"
			e[name] = normaliseBody([]byte(m[2]), "")
		}
		if len(e) > 0 && !heartbeat {
			out = append(out, e)
		}
	}
	return out
}
