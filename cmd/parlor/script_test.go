package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/parlordb/parlor/auth/authtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"parlor": main})
}

var update = flag.Bool("update", false, "rewrite what scripts compare with")

// TestScripts runs testdata/script/*.txtar: transcripts of the real program, with these commands besides testscript's own:
//
//	serve [flags]                         start 'parlor serve -data data -addr 127.0.0.1:0' and wait until it listens;
//	                                      sets $URL, $ADDR and, on a first start, $PASSWORD. '! serve' expects it to end by itself
//	shutdown, sigkill                     end it: SIGTERM and exit code 0, or SIGKILL
//	http [-u NAME:PASS] [-H HEADER] [-d BODY] [-i NAME] [-long N] [-until REGEXP] [-new] [-socket] [-tls [-cert] [-version V]] METHOD PATH
//	                                      print the status, the headers asked for with -i, and the body; with -until, again until
//	                                      that matches; with -long, a header of N bytes is sent; with -new, over a new connection. Negated: there is no answer
//	certificate                           make cert.pem and key.pem, before 'serve'; 'http -tls' trusts it and with -cert shows it
//	capture VAR REGEXP                    set a variable to what the first group matches in the last output
//	token VAR CLAIMS                      make an ES256 token; $JWTKEY is the public key as [jwt_keys] takes it, $KEYBLANKS and
//	                                      $KEYLINES are its lines with blanks or \n between; $AGO is a time 100 s ago, $SOON 500 s from now
//	devicetoken VAR ALGORITHM KID KEY CLAIMS
//	                                      make a token with a key as 'parlor keygen' prints it
//	save FILE TEXT                        write a file
//	forge VAR                             send tokens with wrong signatures until one is answered 429: print that, set VAR to the token
//	adminurl VAR NAME:PASS                set a variable to the server's URL with that user
//	replace FILE OLD NEW                  change a file
//	sign [-m SIGNATURE-METHOD] [-c KEY:SECRET] [-t TOKEN:SECRET] [-o ORIGIN] [-d FORM] VAR METHOD PATH
//	                                      make the Authorization header of a signed request
//	rsakey VAR                            the public key that 'sign -m RSA-SHA1' signs for
//	totp VAR KEY STEPS                    the code of a second factor, so many steps from now
//	provider start|user|rotate|down|up [CLAIMS]
//	                                      start an OpenID provider, whose URL is $ISSUER, with that user signed in; or change it
//	idtoken VAR [CLAIMS]                  make an ID token of the provider's user
//	login VAR PATH                        log in as a browser does; VAR is the Cookie header afterwards
//	logged REGEXP [VAR]                   wait for a line of the server's log; negated: there is none
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			s := &script{t: t}
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return err
			}
			s.key = key
			der, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				return err
			}
			text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
			e.Setenv("JWTKEY", strings.ReplaceAll(text, "\n", `\\n`)) // as it stands in a JSON string
			lines := strings.Split(strings.TrimSpace(text), "\n")
			body := lines[1 : len(lines)-1]
			e.Setenv("KEYBLANKS", strings.Join(body, " "))
			e.Setenv("KEYLINES", strings.Join(body, `\n`))
			e.Setenv("AGO", strconv.FormatInt(time.Now().Unix()-100, 10))
			e.Setenv("SOON", strconv.FormatInt(time.Now().Unix()+500, 10))
			e.Values[scriptKey{}] = s
			e.Defer(s.end)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":    scriptServe,
			"shutdown": scriptShutdown,
			"sigkill":  scriptKill,
			"http":     scriptHTTP,
			"capture":  scriptCapture,
			"token":    scriptToken,
			"replace":  scriptReplace,
			"adminurl": scriptAdminURL,
			"sign":     scriptSign,
			"rsakey":   scriptRSA,
			"totp":     scriptTOTP,
			"logged":   scriptLogged,
			"forge":    scriptForge,
			"provider": scriptProvider,
			"idtoken":  scriptIDToken,
			"login":    scriptLogin,
			"save":     scriptSave,

			"certificate": scriptCertificate,
			"devicetoken": scriptDeviceToken,
		},
	})
}

// script is what one script has running.
type script struct {
	t        testing.TB
	provider *authtest.Provider // an OpenID provider, once it is started
	key      *ecdsa.PrivateKey
	rsa      *rsa.PrivateKey // made when it is asked for
	trusted  *x509.CertPool
	server   *child
}

type scriptKey struct{}

func of(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

func (s *script) end() {
	if s.server != nil {
		s.server.kill()
	}
}

// child is a 'parlor serve' under test.
type child struct {
	cmd    *exec.Cmd
	url    string // "" when it ended before it listened
	stdout string // the file that standard output goes to
	done   chan error

	mu     sync.Mutex
	more   sync.Cond // there is another line, or no more
	stderr []string  // lines
	ended  bool
}

var (
	listening     = regexp.MustCompile(`^parlor: listening on (http://\S+)$`)
	listeningTLS  = regexp.MustCompile(`msg="listening with TLS" address=(\S+)`)
	shownPassword = regexp.MustCompile(`(?m)^  password +(\S+)$`)
)

// start runs 'parlor serve' in dir and returns when it listens or has ended. parlor is the program: a path, or "parlor" for this test's own.
func start(parlor, dir string, env []string, args ...string) (*child, error) {
	program, err := exec.LookPath(parlor)
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(program, append([]string{"serve"}, args...)...), done: make(chan error, 1)}
	c.more.L = &c.mu
	c.cmd.Dir, c.cmd.Env, c.stdout = dir, env, filepath.Join(dir, "serve.stdout")
	stdout, err := os.Create(c.stdout)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	c.cmd.Stdout = stdout
	out, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.read(out)
	if m := listening.FindStringSubmatch(c.waitFor(listening.MatchString)); m != nil {
		c.url = m[1]
	}
	return c, nil
}

// read keeps what the child writes, to the end.
func (c *child) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		c.mu.Lock()
		c.stderr = append(c.stderr, lines.Text())
		c.more.Broadcast()
		c.mu.Unlock()
	}
	err := c.cmd.Wait()
	c.mu.Lock()
	c.ended = true
	c.more.Broadcast()
	c.mu.Unlock()
	c.done <- err
}

// waitFor waits for a line that is wanted, and returns it; "" when the child ends without.
func (c *child) waitFor(wanted func(line string) bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for seen := 0; ; c.more.Wait() {
		for ; seen < len(c.stderr); seen++ {
			if wanted(c.stderr[seen]) {
				return c.stderr[seen]
			}
		}
		if c.ended {
			return ""
		}
	}
}

// log is what the child has written so far.
func (c *child) log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.stderr, "\n")
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	<-c.done
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if s.server != nil && !neg {
		ts.Fatalf("a server is running already")
	}
	flags := []string{"-data", "data", "-addr", "127.0.0.1:0"}
	env := []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("WORK"), "TMPDIR=" + ts.Getenv("TMPDIR")}
	c, err := start("parlor", ts.MkAbs("."), env, append(flags, args...)...)
	ts.Check(err)
	if c.url == "" {
		err := <-c.done
		fmt.Fprint(ts.Stderr(), c.log())
		if !neg {
			ts.Fatalf("the server ended: %v\n%s", err, c.log())
		}
		if err == nil {
			ts.Fatalf("the server ended with exit code 0")
		}
		return
	}
	if neg {
		c.kill()
		ts.Fatalf("the server started")
	}
	s.server = c
	ts.Setenv("URL", c.url)
	ts.Setenv("ADDR", strings.TrimPrefix(c.url, "http://"))
	if m := listeningTLS.FindStringSubmatch(c.log()); m != nil {
		ts.Setenv("TLSURL", "https://"+m[1])
	}
	fmt.Fprint(ts.Stderr(), c.log())
	fmt.Fprint(ts.Stdout(), ts.ReadFile(c.stdout))
	if m := shownPassword.FindStringSubmatch(ts.ReadFile(c.stdout)); m != nil {
		ts.Setenv("PASSWORD", m[1])
	}
}

func scriptShutdown(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if s.server == nil || neg || len(args) > 0 {
		ts.Fatalf("usage: shutdown, while a server runs")
	}
	ts.Check(s.server.cmd.Process.Signal(syscall.SIGTERM))
	err := <-s.server.done
	s.server = nil
	ts.Check(err)
}

func scriptKill(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if s.server == nil || neg || len(args) > 0 {
		ts.Fatalf("usage: sigkill, while a server runs")
	}
	s.server.kill()
	s.server = nil
}

// httpFlags are the flags of the command http.
type httpFlags struct {
	headers, shown                    list
	user, body, until, version        string
	socket, overTLS, certificate, neg bool
	newConnection                     bool
	method, path                      string
	long                              int
}

func scriptHTTP(ts *testscript.TestScript, neg bool, args []string) {
	o := httpFlags{neg: neg}
	f := flag.NewFlagSet("http", flag.ContinueOnError)
	f.StringVar(&o.user, "u", "", "")
	f.StringVar(&o.body, "d", "", "")
	f.StringVar(&o.until, "until", "", "")
	f.StringVar(&o.version, "version", "", "")
	f.IntVar(&o.long, "long", 0, "")
	f.BoolVar(&o.socket, "socket", false, "")
	f.BoolVar(&o.newConnection, "new", false, "")
	f.BoolVar(&o.overTLS, "tls", false, "")
	f.BoolVar(&o.certificate, "cert", false, "")
	f.Var(&o.headers, "H", "")
	f.Var(&o.shown, "i", "")
	if err := f.Parse(args); err != nil || f.NArg() != 2 {
		ts.Fatalf("usage: http [flags] METHOD PATH")
	}
	o.method, o.path = f.Arg(0), f.Arg(1)
	if name, ok := strings.CutPrefix(o.body, "@"); ok {
		o.body = ts.ReadFile(name)
	}
	client := o.client(ts)
	answer := o.send(ts, client)
	if o.until != "" {
		re, err := regexp.Compile(o.until)
		ts.Check(err)
		for deadline := time.Now().Add(20 * time.Second); !re.MatchString(answer); answer = o.send(ts, client) {
			if time.Now().After(deadline) {
				ts.Fatalf("no answer matches %s; the last is %s", o.until, answer)
			}
		}
	}
	fmt.Fprint(ts.Stdout(), answer)
}

// client is the usual one, so that connections are used again, unless a way of its own is asked for.
func (o *httpFlags) client(ts *testscript.TestScript) *http.Client {
	client := &http.Client{CheckRedirect: noRedirect, Timeout: time.Minute}
	if o.socket {
		client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", ts.MkAbs(filepath.Join("data", socketName)))
		}}
	}
	if o.newConnection {
		client.Transport = &http.Transport{DisableKeepAlives: true}
	}
	if o.overTLS {
		config := &tls.Config{RootCAs: of(ts).trusted}
		if o.certificate {
			pair, err := tls.LoadX509KeyPair(ts.MkAbs("cert.pem"), ts.MkAbs("key.pem"))
			ts.Check(err)
			config.Certificates = []tls.Certificate{pair}
		}
		switch o.version {
		case "1.2":
			config.MaxVersion = tls.VersionTLS12
		case "1.3":
			config.MinVersion = tls.VersionTLS13
		}
		client.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: config}
	}
	return client
}

// send sends the request and returns what is printed of its answer.
func (o *httpFlags) send(ts *testscript.TestScript, client *http.Client) string {
	url := ts.Getenv("URL")
	if o.overTLS {
		url = ts.Getenv("TLSURL")
	}
	r, err := http.NewRequest(o.method, url+o.path, strings.NewReader(o.body))
	ts.Check(err)
	if o.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if o.long > 0 {
		r.Header.Set("X-Long", strings.Repeat("x", o.long))
	}
	if name, pass, ok := strings.Cut(o.user, ":"); ok {
		r.SetBasicAuth(name, pass)
	}
	for _, h := range o.headers {
		name, value, _ := strings.Cut(h, ":")
		if value = strings.TrimSpace(value); name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if o.neg {
		if err == nil {
			ts.Fatalf("there is an answer: %s", res.Status)
		}
		return ""
	}
	ts.Check(err)
	defer res.Body.Close()
	var b strings.Builder
	fmt.Fprintln(&b, res.StatusCode)
	for _, name := range o.shown {
		for _, value := range res.Header.Values(name) {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	_, err = io.Copy(&b, res.Body)
	ts.Check(err)
	return b.String()
}

// scriptCertificate writes cert.pem and key.pem, which 'http -tls' trusts and with -cert shows.
func scriptCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: certificate")
	}
	var err error
	of(ts).trusted, err = writeCertificate(ts.MkAbs("."))
	ts.Check(err)
}

func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture VAR REGEXP")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func scriptToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: token VAR CLAIMS")
	}
	claims := jwt.MapClaims{}
	ts.Check(json.Unmarshal([]byte(args[1]), &claims))
	text, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(of(ts).key)
	ts.Check(err)
	ts.Setenv(args[0], text)
}

func scriptSave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: save FILE TEXT")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(args[1]), 0o600))
}

func scriptAdminURL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: adminurl VAR NAME:PASS")
	}
	ts.Setenv(args[0], "http://"+args[1]+"@"+ts.Getenv("ADDR"))
}

func scriptReplace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	// At once, for a server may read the file at any time.
	file := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(file+".new", []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
	ts.Check(os.Rename(file+".new", file))
}
