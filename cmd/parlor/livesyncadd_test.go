package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestLostAnswerLeavesNoCredential loses the answer that holds a new credential, after the server has made it. Nobody has it then, so it has to be
// revoked, and what the user had before stays.
func TestLostAnswerLeavesNoCredential(t *testing.T) {
	t.Parallel()
	server := startWithDatabase(t)
	defer server.kill()
	target, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	var losing atomic.Bool
	var lost atomic.Int32
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	proxy.ModifyResponse = func(res *http.Response) error {
		if losing.Load() && res.Request.Method == http.MethodPost && res.Request.URL.Path == "/_tokens" && res.StatusCode == http.StatusCreated {
			lost.Add(1)
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	between := httptest.NewServer(proxy)
	defer between.Close()

	add := func(auth, device string) (code int, stdout, stderr string) {
		var out, log bytes.Buffer
		stdin, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		env := map[string]string{"PARLOR_URL": strings.Replace(between.URL, "http://", "http://admin:secret@", 1), vaultPassphraseEnv: "vault phrase"}
		p := &program{stdin: stdin, stdout: &out, stderr: &log, getenv: func(name string) string { return env[name] }}
		code = p.run(t.Context(), []string{"livesync", "add", "-user", "alice", "-vault", "notes", "-device", device, "-auth", auth,
			"-public-url", "https://sync.example.org"})
		return code, out.String(), log.String()
	}
	if code, _, stderr := add("password", "phone"); code != 0 {
		t.Fatal(stderr)
	}
	losing.Store(true)
	for _, auth := range []string{"password", "ES256", "HS512"} {
		if code, stdout, stderr := add(auth, "phone"); code != 1 || stdout != "" || strings.Contains(stderr, "not known") {
			t.Errorf("%s: exit code %d, %q, %q", auth, code, stdout, stderr)
		}
	}
	if lost.Load() != 3 {
		t.Errorf("%d answers were lost, want 3", lost.Load())
	}
	losing.Store(false)
	base := *target
	base.User = url.UserPassword("admin", "secret")
	c := &client{base: &base, http: http.DefaultClient}
	left, err := c.credentials(t.Context(), "alice")
	if err != nil || len(left) != 1 || left[0].Label != "phone" {
		t.Errorf("alice has the credentials %+v, %v; want the first alone", left, err)
	}
	if code, stdout, stderr := add("password", "phone"); code != 0 || !strings.HasPrefix(stdout, setupURILabel) {
		t.Errorf("running it again: exit code %d, %s", code, stderr)
	}
}

// TestInterruptLeavesNoCredential interrupts the command when the server has made a credential and has not told of it.
func TestInterruptLeavesNoCredential(t *testing.T) {
	t.Parallel()
	server := startWithDatabase(t)
	defer server.kill()
	target, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	running := make(chan *os.Process, 1)
	made := make(chan struct{}, 1)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	proxy.ModifyResponse = func(res *http.Response) error {
		if res.Request.Method == http.MethodPost && res.Request.URL.Path == "/_tokens" && res.StatusCode == http.StatusCreated {
			made <- struct{}{}
			if err := (<-running).Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
			<-res.Request.Context().Done() // the command no longer waits for the answer
		}
		return nil
	}
	between := httptest.NewServer(proxy)
	defer between.Close()
	parlor, err := exec.LookPath("parlor")
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	add := exec.Command(parlor, "livesync", "add", "-user", "alice", "-vault", "notes", "-device", "phone", "-public-url", "https://sync.example.org")
	add.Env = append(os.Environ(), "PARLOR_URL="+strings.Replace(between.URL, "http://", "http://admin:secret@", 1))
	add.Stdout, add.Stderr = &stdout, &stderr
	if err := add.Start(); err != nil {
		t.Fatal(err)
	}
	running <- add.Process
	if err := add.Wait(); add.ProcessState.ExitCode() != 1 || stdout.Len() > 0 || strings.Contains(stderr.String(), "not known") {
		t.Errorf("%v, %q, %q", err, &stdout, &stderr)
	}
	if len(made) != 1 {
		t.Fatal("no credential was made")
	}
	base := *target
	base.User = url.UserPassword("admin", "secret")
	if left, err := (&client{base: &base, http: http.DefaultClient}).credentials(t.Context(), "alice"); err != nil || len(left) > 0 {
		t.Errorf("alice has the credentials %+v, %v", left, err)
	}
}

// TestHostOf: what is told of a Setup URI's server holds no password, whatever the URL is.
func TestHostOf(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]string{
		"https://Old.example.org:6984/couch": "old.example.org:6984", "https://admin:hidden@old.example.org": "old.example.org", "https://admin:%hidden@old.example.org": "", "": "",
	} {
		if got := hostOf(server); got != want {
			t.Errorf("%s: %q, want %q", server, got, want)
		}
	}
}
