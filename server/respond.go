package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// pageBytes is how much of a long answer is written at once.
const pageBytes = 64 << 10

// patience is how long a client may take to accept a page, before its connection is cut.
const patience = 2 * time.Minute

// errGone says that the client no longer takes the answer.
var errGone = errors.New("the client does not take the answer")

// response notes what was sent, and waits for a client that does not take it no longer than patience.
type response struct {
	http.ResponseWriter
	status  int
	began   bool
	minimal minimalHeaders // the headers that are sent; nil: all

	patience time.Duration // 0: any time
	now      func() time.Time
	renewed  time.Time       // when the write deadline was last set
	cut      <-chan struct{} // closed when nothing may be sent any more; nil: never
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
	w.renew() // also for an answer without a body, which net/http sends when the handler is done
	w.ResponseWriter.WriteHeader(status)
}

// Write sends body bytes, after a 200 when no header was sent. It fails with errGone.
func (w *response) Write(p []byte) (n int, err error) {
	w.WriteHeader(http.StatusOK)
	for err == nil && n < len(p) {
		// The deadline is set before cut is looked at, so that a deadline that cutOff sets meanwhile is not undone.
		w.renew()
		select {
		case <-w.cut:
			return n, errGone
		default:
		}
		var wrote int
		if wrote, err = w.ResponseWriter.Write(p[n:min(n+pageBytes, len(p))]); err != nil {
			err = fmt.Errorf("%w: %w", errGone, err)
		}
		n += wrote
	}
	return n, err
}

// renew gives the client patience from now on, or a little less: a deadline costs as much as many a small answer.
func (w *response) renew() {
	if w.patience == 0 {
		return
	}
	if now := w.now(); now.Sub(w.renewed) >= w.patience/16 {
		w.renewed = now
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(w.patience))
	}
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
	e := asError(stopped(err))
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
