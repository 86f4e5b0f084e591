package server

import (
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// request is one HTTP request on its way through the server. It belongs to one goroutine, and to nobody once it has been answered: it is
// used again.
type request struct {
	*http.Request
	Body io.ReadCloser // in the place of that of http.Request, for net/http looks at the type of its own
	w    response
	set  *settings // in force when the request came
	id   string    // X-Couch-Request-ID

	buf      []byte    // empty, for small answers
	watched  bool      // another goroutine may still look at it when it has been answered
	segments []string  // of the path, decoded, empty ones dropped
	space    [4]string // for the segments of most paths
	params   url.Values
	who      auth.Identity
	oneTime  bool // signed in by a session that this request has used up

	overQuota bool // refused because the owner of a vault has no room left

	// Set by route and authorize where the path names a database.
	db   *store.DB
	sec  *securityObject
	args []string // what the route's wildcards matched, in order
}

// newRequest makes a request, of one that has been answered where there is one.
func (s *Server) newRequest(hr *http.Request, set *settings) *request {
	r, _ := s.requests.Get().(*request)
	if r == nil {
		r = &request{buf: make([]byte, 0, 1024)}
	}
	r.Request, r.set, r.id = hr, set, requestID(hr.Header)
	return r
}

// reset takes everything out of a request that has been answered.
func (r *request) reset() *request {
	*r = request{buf: r.buf}
	return r
}

// parse applies the method override and splits path and query as CouchDB does (spec §0): empty segments are dropped, and "+" means a
// space unless [chttpd] decode_plus_to_space is false.
func (r *request) parse() error {
	if over := r.Header.Get("X-HTTP-Method-Override"); over != "" && r.Method == http.MethodPost {
		switch over = strings.ToUpper(over); over {
		case "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "COPY":
			r.Method = over
		}
	}
	if r.Method == "copy" {
		r.Method = "COPY" // nano sends it so
	}
	r.segments = r.space[:0]
	raw := r.URL.EscapedPath()
	if r.set.maxURI > 0 && len(r.RequestURI) > r.set.maxURI {
		return &Error{Status: 414, Kind: "too_long", Reason: "the request uri is too long"}
	}
	for segment := range strings.SplitSeq(raw, "/") {
		if segment == "" {
			continue
		}
		text, err := r.unescape(segment)
		if err != nil {
			return badRequest("invalid_url_encoding")
		}
		r.segments = append(r.segments, text)
	}
	if r.URL.RawQuery != "" {
		var err error
		if r.params, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return badRequest("invalid_url_encoding")
		}
	}
	return nil
}

func (r *request) unescape(segment string) (string, error) {
	if !strings.ContainsAny(segment, "%+") {
		return segment, nil
	}
	if r.set.plusIsSpace {
		return url.QueryUnescape(segment)
	}
	return url.PathUnescape(segment)
}

// param returns a query parameter, "" when it is absent; of several the first.
func (r *request) param(name string) string { return r.params.Get(name) }

// hasParam reports whether a query parameter was given, be it empty.
func (r *request) hasParam(name string) bool { return r.params.Has(name) }

// isTrue reports whether a parameter is exactly "true".
func (r *request) isTrue(name string) bool { return r.params.Get(name) == "true" }

// needJSON refuses a request whose Content-Type is not application/json.
func (r *request) needJSON() error {
	if mediaType(r.Header.Get("Content-Type")) != "application/json" {
		return errContentType
	}
	return nil
}

// mediaType is the type of a Content-Type header without its parameters, in lower case.
func mediaType(header string) string {
	kind, _, _ := strings.Cut(header, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// freeBody is what a request may hold of a body without asking for a share of bufferedBodies.
const freeBody = 1 << 20

// maxJSON bounds a body that is read into memory whole, whatever max_http_request_size says.
const maxJSON = bufferedBodies / 2

// body reads the whole body, at most limit bytes of it (0: as the settings say). It fails with errTooLarge, or errBusy when too much is in memory
// already, of all requests or of those of the same party. The caller calls release when it no longer holds the bytes. A body with Content-Encoding
// gzip is unpacked, and the limit counts what comes out.
func (s *Server) body(r *request, limit int64) (data []byte, release func(), err error) {
	if max := min(r.set.maxRequestSize, maxJSON); limit <= 0 || limit > max {
		limit = max
	}
	if r.ContentLength > limit {
		return nil, nil, errTooLarge
	}
	switch coding := strings.ToLower(r.Header.Get("Content-Encoding")); coding {
	case "", "identity":
		return s.read(r, r.Body, r.ContentLength, limit)
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, nil, readError(err)
		}
		return s.read(r, z, -1, limit)
	default:
		return nil, nil, &Error{Status: 415, Kind: "bad_content_type", Reason: coding + " is not a supported content encoding."}
	}
}

// read is body for any reader; size is how much is expected, or negative. Memory is taken as bytes come, not as they are announced.
func (s *Server) read(r *request, from io.Reader, size, limit int64) (data []byte, release func(), err error) {
	var held int64
	var by party // while something is held
	release = func() { s.bodies.give(by, held) }
	// There is always room for a byte more than should come, which tells the end from too much.
	room := min(limit+1, 16<<10)
	if size >= 0 {
		room = min(room, size+1)
	}
	data = make([]byte, 0, room)
	for {
		n, err := from.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if int64(len(data)) > limit {
			release()
			return nil, nil, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			return data, release, nil
		}
		if err != nil {
			release()
			return nil, nil, readError(err)
		}
		if len(data) < cap(data) {
			continue
		}
		room = min(2*room, limit+1)
		if int64(cap(data)) <= size {
			room = min(room, size+1)
		}
		if more := room - freeBody - held; more > 0 {
			if held == 0 {
				by = r.party()
			}
			if !s.bodies.take(by, more) {
				release()
				return nil, nil, errBusy
			}
			held += more
		}
		data = append(make([]byte, 0, room), data...)
	}
}

// readError tells a body that broke off from one that is too large.
func readError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return errTooLarge
	}
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused // by arrival, or its sender by judgedBody
	}
	return &Error{Status: 400, Kind: "bad_request", Reason: "The request body ended early.", Cause: err}
}

// maxDepth bounds the nesting of JSON that clients send. CouchDB knows no bound; jsontext's is 10,000.
const maxDepth = 8000

// object reads the body as a JSON object: errBadJSON, errNotObject.
func (s *Server) object(r *request) (value jsontext.Value, release func(), err error) {
	data, release, err := s.body(r, 0)
	if err != nil {
		return nil, nil, err
	}
	return objectOf(data, release)
}

// objectOf is object for a body that has been read; one that it refuses it releases.
func objectOf(data []byte, release func()) (jsontext.Value, func(), error) {
	value, err := checkJSON(data)
	if err == nil && value[0] != '{' {
		err = errNotObject
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return value, release, nil
}

// posted reads the body as a JSON object that the request also calls one.
func (s *Server) posted(r *request) (value jsontext.Value, release func(), err error) {
	if err := r.needJSON(); err != nil {
		return nil, nil, err
	}
	return s.object(r)
}

// requestID takes the client's request id when it is harmless, else makes one of ten hex digits. It need not be hard to guess.
func requestID(h http.Header) string {
	const harmless = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	if given := h["X-Couch-Request-Id"]; len(given) > 0 && given[0] != "" && len(given[0]) <= 36 && strings.Trim(given[0], harmless) == "" {
		return given[0]
	}
	var id [10]byte
	for i, n := 0, rand.Uint64(); i < len(id); i, n = i+1, n>>4 {
		id[i] = "0123456789abcdef"[n&15]
	}
	return string(id[:])
}
