package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// startWithDatabase starts a server with an administrator admin:secret and a database db.
func startWithDatabase(t *testing.T) *child {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "parlor.ini"), []byte("[chttpd_auth]\niterations = 10\n[admins]\nadmin = secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := start("parlor", dir, os.Environ(), "-data", "data", "-config", "parlor.ini", "-addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if c.url == "" {
		t.Fatalf("the server did not start: %v\n%s", <-c.done, c.log())
	}
	res, err := http.DefaultClient.Do(adminRequest(t, c, http.MethodPut, "/db", nil))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("making the database: %s", res.Status)
	}
	return c
}

func adminRequest(t *testing.T, c *child, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", "secret")
	return r
}

// A signal ends feeds well-formed, and the server with exit code 0.
func TestSignalEndsFeeds(t *testing.T) {
	t.Parallel()
	c := startWithDatabase(t)
	res, err := http.DefaultClient.Do(adminRequest(t, c, http.MethodGet, "/db/_changes?feed=continuous&heartbeat=60000", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(body), `"last_seq"`) {
		t.Errorf("the feed ended with %q, %v", body, err)
	}
	if err := <-c.done; err != nil {
		t.Errorf("the server ended with %v\n%s", err, c.log())
	}
}

// beginPut sends the head of a PUT of 12 bytes, and returns when the server asks for them: then the request is under way.
func beginPut(t *testing.T, c *child) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "PUT /db/doc HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\nContent-Type: application/json\r\n"+
		"Expect: 100-continue\r\nContent-Length: 12\r\n\r\n")
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return conn, r
}

// A write that had begun when the signal came is done and answered.
func TestSignalLetsWritesFinish(t *testing.T) {
	t.Parallel()
	c := startWithDatabase(t)
	conn, r := beginPut(t, c)
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.waitFor(func(line string) bool { return strings.Contains(line, "stopping") })
	fmt.Fprint(conn, `{"late":"y"}`)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Errorf("the answer is %s", res.Status)
	}
	if err := <-c.done; err != nil {
		t.Errorf("the server ended with %v\n%s", err, c.log())
	}
}

// A request that does not end keeps the server from ending well, and a second signal ends it at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	c := startWithDatabase(t)
	beginPut(t, c)
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.waitFor(func(line string) bool { return strings.Contains(line, "stopping") })
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := <-c.done
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the server ended with %v\n%s", err, c.log())
	}
}
