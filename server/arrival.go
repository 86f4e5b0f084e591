package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// Whoever announces a body has a connection and a goroutine until it has come. So [parlor_http] body_timeout bounds how long the server waits for each part of it;
// what a client makes the server do meanwhile does not count.

// pace is how much of a body must come in one body_timeout. A phone on the worst of lines sends more; a client that sends a byte now and then does not.
const pace = 16 << 10

var errSlowBody = &Error{Status: 408, Kind: "timeout", Reason: "The request body did not come in time."}

// arrival is the body of a request as it comes from the network.
type arrival struct {
	hr      *http.Request // whose Body may be replaced by a Method that has read it
	conn    *http.ResponseController
	now     func() time.Time
	timeout time.Duration

	left     time.Duration // for what is missing of the present part
	came     int           // of the present part
	deadline time.Time     // that the connection has
	ended    bool
}

// await bounds the time in which a request's body must come. It is called before all else: what a refused request leaves of its body is read by net/http
// itself, before the answer leaves.
func (s *Server) await(r *request, w http.ResponseWriter) {
	r.Body = r.Request.Body
	if r.Body == nil || r.Body == http.NoBody || r.set.bodyTimeout == 0 {
		return
	}
	a := &arrival{hr: r.Request, conn: http.NewResponseController(w), now: time.Now, timeout: r.set.bodyTimeout, left: r.set.bodyTimeout}
	a.until(a.now().Add(a.left))
	r.Body = a
}

// until sets the connection's deadline, unless the one that it has does nearly as well.
func (a *arrival) until(deadline time.Time) {
	if deadline.Sub(a.deadline).Abs() < a.timeout/16 {
		return
	}
	a.deadline = deadline
	_ = a.conn.SetReadDeadline(deadline)
}

// Read fails with errSlowBody.
func (a *arrival) Read(p []byte) (int, error) {
	if a.ended {
		return a.hr.Body.Read(p)
	}
	began := a.now()
	a.until(began.Add(a.left))
	n, err := a.hr.Body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		// net/http now waits for the client to go, for as long as the answer takes.
		a.ended = true
		_ = a.conn.SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, errSlowBody
	}
	a.left -= a.now().Sub(began)
	if a.came += n; a.came >= pace {
		a.came, a.left = 0, a.timeout
	}
	return n, err
}

func (a *arrival) Close() error { return a.hr.Body.Close() }
