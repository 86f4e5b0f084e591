package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// slowLine is a connection with a clock of its own: each read takes pause and brings some bytes.
type slowLine struct {
	http.ResponseWriter
	clock  time.Time
	readBy time.Time
	pause  time.Duration
	some   int
	left   int // bytes to come
}

func (l *slowLine) now() time.Time { return l.clock }

func (l *slowLine) SetReadDeadline(t time.Time) error {
	l.readBy = t
	return nil
}

func (l *slowLine) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	l.clock = l.clock.Add(l.pause)
	if !l.readBy.IsZero() && l.clock.After(l.readBy) {
		l.clock = l.readBy
		return 0, fmt.Errorf("read: %w", os.ErrDeadlineExceeded)
	}
	n := min(l.some, l.left, len(p))
	l.left -= n
	return n, nil
}

func (l *slowLine) Close() error { return nil }

func TestArrival(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		pause      time.Duration
		some, size int
		slow       bool
	}{
		{"nothing comes", time.Hour, 1, 10, true},
		{"a small body comes late", 50 * time.Second, 10, 10, false},
		{"a byte now and then", time.Second, 1, 1000, true},
		{"a phone on a bad line, for hours", 5 * time.Second, 1460, 50_000_000, false},
		{"just fast enough", 29 * time.Second, pace / 2, 100 * pace, false},
		{"a little slower", 29 * time.Second, pace/2 - 1, 100 * pace, true},
	} {
		line := &slowLine{clock: time.Unix(1e9, 0), pause: test.pause, some: test.some, left: test.size}
		a := &arrival{hr: &http.Request{Body: line}, conn: http.NewResponseController(line), now: line.now, timeout: time.Minute, left: time.Minute}
		n, err := io.Copy(io.Discard, a)
		switch {
		case test.slow && !errors.Is(err, errSlowBody):
			t.Errorf("%s: %d bytes, %v", test.name, n, err)
		case !test.slow && (err != nil || n != int64(test.size)):
			t.Errorf("%s: %d of %d bytes, %v", test.name, n, test.size, err)
		case !test.slow && !line.readBy.IsZero():
			t.Errorf("%s: a deadline is left", test.name)
		}
	}
}

// What the server does while a body comes is not the client's time.
func TestArrivalOfBusyServer(t *testing.T) {
	t.Parallel()
	line := &slowLine{clock: time.Unix(1e9, 0), pause: 10 * time.Second, some: 4 << 10, left: 1 << 20}
	a := &arrival{hr: &http.Request{Body: line}, conn: http.NewResponseController(line), now: line.now, timeout: time.Minute, left: time.Minute}
	for buf := make([]byte, 4<<10); ; line.clock = line.clock.Add(time.Hour) {
		if _, err := a.Read(buf); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// dial opens a connection and sends what is said.
func (ts *testServer) dial(said string) *bufio.Reader {
	ts.t.Helper()
	c, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, said); err != nil {
		ts.t.Fatal(err)
	}
	return bufio.NewReader(c)
}

// Whoever does not send the body that he has announced is answered, and his connection closed.
func TestBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[parlor_http]", "body_timeout = 1")
	ts.do("PUT", "/db", "")
	const (
		ten      = "Host: x\r\nContent-Length: 10\r\n"
		much     = "Host: x\r\nContent-Length: 3000000\r\n"
		chunked  = "Host: x\r\nTransfer-Encoding: chunked\r\n"
		admin    = "Authorization: Basic YWRtaW46c2VjcmV0\r\n"
		json     = "Content-Type: application/json\r\n"
		related  = "Content-Type: multipart/related; boundary=b\r\n"
		timedOut = `{"error":"timeout","reason":"The request body did not come in time."}`
	)
	for i, test := range []struct{ said, status, body string }{
		{"GET / HTTP/1.1\r\n" + ten, "200 OK", "Welcome"},
		{"GET / HTTP/1.1\r\n" + much, "200 OK", "Welcome"},
		{"GET / HTTP/1.1\r\n" + chunked, "200 OK", "Welcome"},
		{"GET /_session HTTP/1.0\r\n" + ten, "200 OK", "userCtx"},
		{"GET /db/_changes?feed=continuous HTTP/1.1\r\n" + admin + ten, "200 OK", ""},
		{"POST /_session HTTP/1.1\r\n" + json + ten, "408 Request Timeout", timedOut},
		{"POST /_session HTTP/1.1\r\n" + json + chunked, "408 Request Timeout", timedOut},
		{"PUT /db/x HTTP/1.1\r\n" + ten, "401 Unauthorized", "unauthorized"},
		{"PUT /db/x HTTP/1.1\r\n" + much, "401 Unauthorized", "unauthorized"},
		{"PUT /db/x HTTP/1.1\r\n" + admin + json + ten, "408 Request Timeout", timedOut},
		{"PUT /db/x HTTP/1.1\r\n" + admin + json + much, "408 Request Timeout", timedOut},
		{"PUT /db/x HTTP/1.1\r\n" + admin + json + chunked + "Content-Encoding: gzip\r\n", "408 Request Timeout", timedOut},
		{"PUT /db/x HTTP/1.1\r\n" + admin + related + ten, "408 Request Timeout", timedOut},
		{"PUT /db/x/y HTTP/1.1\r\n" + admin + ten, "408 Request Timeout", timedOut},
		{"PUT /db/x/y HTTP/1.1\r\n" + admin + ten + "Content-Encoding: gzip\r\n", "408 Request Timeout", timedOut},
	} {
		in := ts.dial(test.said + "\r\n")
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			answer, err := io.ReadAll(in)
			if _, status, _ := strings.Cut(string(answer), " "); !strings.HasPrefix(status, test.status) || !strings.Contains(string(answer), test.body) {
				t.Errorf("%s: %s %v", test.said, answer, err)
			}
		})
	}
}

// A client that asks first is told to go on.
func TestBodyThatIsAskedFor(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[parlor_http]", "body_timeout = 1")
	in := ts.dial("POST /_session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	answer, err := io.ReadAll(in)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 Request Timeout\r\n") {
		t.Errorf("%s %v", answer, err)
	}
}

// A feed whose request had a body lives longer than bodies may take, and so does its connection.
func TestFeedOutlivesBodyTimeout(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[parlor_http]", "body_timeout = 1")
	ts.do("PUT", "/db", "")
	const ask = "POST /db/_changes?feed=longpoll&timeout=2500 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\n" +
		"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	in := ts.dial(ask + "GET /_up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	for _, want := range []string{`"pending":0}`, `{"status":"ok"`} {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s %v", body, err)
		}
	}
}
