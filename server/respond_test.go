package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// slowReader is a connection with a clock of its own, on whose other side so many bytes a second are taken.
type slowReader struct {
	*httptest.ResponseRecorder
	clock time.Time
	until time.Time
	speed int
}

func (l *slowReader) now() time.Time { return l.clock }

func (l *slowReader) SetWriteDeadline(t time.Time) error {
	l.until = t
	return nil
}

func (l *slowReader) Write(p []byte) (int, error) {
	l.clock = l.clock.Add(time.Duration(len(p)) * time.Second / time.Duration(l.speed))
	if l.clock.After(l.until) {
		return 0, os.ErrDeadlineExceeded
	}
	return len(p), nil
}

// A client is cut off for taking nothing, never for taking a large answer slowly.
func TestPatience(t *testing.T) {
	t.Parallel()
	for speed, gone := range map[int]bool{100: true, 600: false, 2000: false} {
		line := &slowReader{ResponseRecorder: httptest.NewRecorder(), clock: time.Unix(1e9, 0), speed: speed}
		w := &response{ResponseWriter: line, patience: patience, now: line.now}
		n, err := w.Write(make([]byte, 50_000_000))
		switch {
		case gone && !errors.Is(err, errGone):
			t.Errorf("%d bytes a second: wrote %d, %v", speed, n, err)
		case !gone && (err != nil || n != 50_000_000):
			t.Errorf("%d bytes a second: wrote %d, %v", speed, n, err)
		}
	}
}

// pipes is a listener for connections that hold nothing on their way: what is not read is not written.
type pipes struct {
	made   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.made:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// Whoever does not read what he has asked for is cut off, however small it is and whatever sends it.
func TestReaderThatStops(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/x/f", strings.Repeat("f", 300_000), "Content-Type", "image/png")
	ts.do("PUT", "/db/y", `{"text":"`+strings.Repeat("y", 300_000)+`"}`)
	ts.s.patience = 50 * time.Millisecond

	l := &pipes{made: make(chan net.Conn), closed: make(chan struct{})}
	ended := make(chan struct{})
	hs := &http.Server{Handler: ts.s, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			ended <- struct{}{}
		}
	}}
	var serving sync.WaitGroup
	serving.Go(func() { _ = hs.Serve(l) })
	defer serving.Wait()
	defer hs.Close()
	for _, ask := range []string{
		"GET /_up", "HEAD /_up", "GET /nothing", "OPTIONS /db", "GET /db/y", "GET /db/x/f", "GET /db/x/f HTTP/1.1\r\nRange: bytes=1-9,2-200000",
		"GET /db/x?attachments=true", "GET /db/x?attachments=true HTTP/1.1\r\nAccept: multipart/related", "GET /db/_all_docs?include_docs=true",
		"GET /db/_changes?feed=continuous", "GET /_node/_local/_prometheus",
	} {
		if !strings.Contains(ask, " HTTP/") {
			ask += " HTTP/1.1"
		}
		client, end := net.Pipe()
		l.made <- end
		if _, err := io.WriteString(client, ask+"\r\nHost: x\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\n\r\n"); err != nil {
			t.Fatal(ask, err)
		}
		<-ended
		client.Close()
	}
}
