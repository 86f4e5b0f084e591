package server

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// response notes what was sent.
type response struct {
	http.ResponseWriter
	status  int
	began   bool
	minimal minimalHeaders // the headers that are sent; nil: all
}

// WriteHeader sends the header, once.
func (w *response) WriteHeader(status int) {
	if w.began {
		return
	}
	w.began, w.status = true, status
	if w.minimal != nil {
		w.minimal.filter(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends body bytes, after a 200 when no header was sent.
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// baseHeaders sets what every answer carries.
func (s *Server) baseHeaders(r *request) {
	h := r.w.Header()
	h["Server"] = r.set.serverHeader
	h["X-Couch-Request-Id"] = []string{r.id}
	h["Cache-Control"] = mustRevalidate
	h["Content-Type"] = applicationJSON
	r.frameOptions()
}

// Header values that every answer shares; never changed.
var (
	mustRevalidate  = []string{"must-revalidate"}
	applicationJSON = []string{"application/json"}
)

// send answers with a status and a complete JSON text, to which the newline that ends CouchDB's bodies is added.
func (r *request) send(status int, body []byte) error {
	body = append(body, '\n')
	r.w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	r.w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := r.w.Write(body); err != nil {
		// The client has gone; nobody is left to be told.
		return nil
	}
	return nil
}

// ok answers {"ok":true} with a status.
func (r *request) ok(status int) error { return r.send(status, []byte(`{"ok":true}`)) }

// refuse answers with an error. When a body has begun the connection is cut instead, so that no half answer looks whole.
func (s *Server) refuse(r *request, err error) {
	e := asError(err)
	r.overQuota = errors.Is(e, errOverQuota)
	if e.Status >= 500 && !r.overQuota {
		s.log.Error("failed", "request", r.id, "method", r.Method, "path", r.loggedPath(), "error", err, "cause", errors.Unwrap(e))
	}
	if r.w.began {
		panic(http.ErrAbortHandler)
	}
	h := r.w.Header()
	for _, name := range []string{"Etag", "Content-Encoding", "Content-Md5", "Content-Disposition", "Accept-Ranges", "Content-Range", "Location"} {
		h.Del(name)
	}
	h["Content-Type"] = applicationJSON
	if h.Get("Cache-Control") != noStore {
		h["Cache-Control"] = mustRevalidate
	}
	for name, values := range e.Header {
		h[name] = values
	}
	status := s.challenge(r, e)
	if r.Body != nil && !s.drainable(r) {
		h.Set("Connection", "close")
	}
	_ = r.send(status, e.append(nil))
}

// drainable reports whether what is left of a refused request's body is small enough to be read past, so that the connection can be kept.
func (s *Server) drainable(r *request) bool {
	return r.ContentLength >= 0 && r.ContentLength <= 256<<10
}

// append writes the error as CouchDB's JSON object.
func (e *Error) append(dst []byte) []byte {
	dst = append(dst, `{"error":`...)
	dst = appendString(dst, e.Kind)
	dst = append(dst, `,"reason":`...)
	switch reason := e.Reason.(type) {
	case jsontext.Value:
		dst = append(dst, reason...)
	case string:
		dst = appendString(dst, reason)
	default:
		dst = append(dst, "null"...)
	}
	return append(dst, '}')
}
