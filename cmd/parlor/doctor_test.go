package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const doctorSettings = `[chttpd_auth]
iterations = 10
[admins]
admin = secret
`

// patients starts a server with a user ann, a vault "notes" of hers, an open database and a foreign one.
func patients(t *testing.T) *url.URL {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "parlor.ini"), []byte(doctorSettings), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := start("parlor", dir, os.Environ(), "-data", "data", "-config", "parlor.ini", "-addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if c.url == "" {
		t.Fatalf("the server did not start: %v\n%s", <-c.done, c.log())
	}
	t.Cleanup(c.kill)
	for _, put := range [][2]string{
		{"/_users/org.couchdb.user:ann", `{"name":"ann","type":"user","roles":[],"password":"pw"}`},
		{"/notes?owner=ann", ""},
		{"/open", ""}, {"/open/_security", `{}`}, {"/foreign", ""},
	} {
		res, err := http.DefaultClient.Do(adminRequest(t, c, http.MethodPut, put[0], strings.NewReader(put[1])))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode >= 300 {
			t.Fatalf("PUT %s: %s", put[0], res.Status)
		}
	}
	at, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// fault stands between the doctor and a healthy server. Any of its parts may be nil.
type fault struct {
	request func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	answer  func(res *http.Response)                          // changes the server's answer
	doctor  func(d *doctor)
	tls     bool
}

// examineThrough examines a server through a fault.
func examineThrough(t *testing.T, server *url.URL, f fault) []finding {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(server)
	proxy.FlushInterval = -1
	quiet := log.New(io.Discard, "", 0) // connections are cut on purpose
	proxy.ErrorLog = quiet
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	if f.answer != nil {
		proxy.ModifyResponse = func(res *http.Response) error { f.answer(res); return nil }
	}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.request == nil || !f.request(w, r) {
			// A feed begins to answer while the proxy still reads the request.
			_ = http.NewResponseController(w).EnableFullDuplex()
			proxy.ServeHTTP(w, r)
		}
	}))
	front.Config.ErrorLog = quiet
	dialer := &net.Dialer{}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, front.Listener.Addr().String()) // whatever the name
	}}
	if f.tls {
		front.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(front.Certificate())
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	} else {
		front.Start()
	}
	defer front.Close()
	base, err := url.Parse(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := &doctor{
		base: base, user: "ann", password: "pw", vault: "notes", now: time.Now, transport: transport,
		hold: 200 * time.Millisecond, heartbeat: 20 * time.Millisecond, grace: 20 * time.Second, patience: 20 * time.Second,
	}
	if f.doctor != nil {
		f.doctor(d)
	}
	d.examine(t.Context())
	return d.findings
}

// says is a request fault: an answer of its own to a method and the end of a path; "" for any.
func says(method, suffix string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if method != "" && r.Method != method || !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		origin := r.Header.Get("Origin")
		if origin != "" {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
		return true
	}
}

// header is an answer fault: a header is set, or taken away with "", in answers with a status; 0 for any.
func header(status int, name string, values ...string) func(*http.Response) {
	return func(res *http.Response) {
		if status == 0 || res.StatusCode == status {
			res.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
}

func TestDoctorFindsNothingWrong(t *testing.T) {
	t.Parallel()
	server := patients(t)
	for _, at := range examineThrough(t, server, fault{tls: true, doctor: func(d *doctor) { d.hold = 5 * time.Second }}) {
		if at.Status != isOK {
			t.Errorf("%+v", at)
		}
	}
	// Nothing of it stays.
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.String()+"/notes/_local_docs", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("ann", "pw")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || bytes.Contains(text, []byte("doctor")) {
		t.Errorf("%v: %s", err, text)
	}
}

const anError = `{"error":"e","reason":"r"}`

// doctorFault is a fault and the finding that it must bring.
type doctorFault struct {
	name  string
	check string
	want  status
	found string // is in Found
	fault fault
}

func (c doctorFault) run(t *testing.T, server *url.URL) {
	t.Parallel()
	findings := examineThrough(t, server, c.fault)
	for _, at := range findings {
		if at.Check != c.check {
			continue
		}
		if at.Status != c.want || !strings.Contains(at.Found, c.found) || at.Advice == "" && c.want != isSkipped {
			t.Errorf("%+v", at)
		}
		return
	}
	t.Errorf("nothing of %s in %+v", c.check, findings)
}

func TestDoctorFindsFaults(t *testing.T) {
	t.Parallel()
	server := patients(t)
	for _, list := range [][]doctorFault{reachFaults(), corsFaults(), vaultFaults(), writeFaults(), feedFaults()} {
		for _, c := range list {
			t.Run(c.name, func(t *testing.T) { c.run(t, server) })
		}
	}
}

func reachFaults() []doctorFault {
	host := func(name string) func(*doctor) { return func(d *doctor) { d.base.Host = name } }
	at := func(when time.Time) func(*doctor) {
		return func(d *doctor) { d.now = func() time.Time { return when } }
	}
	// The certificate of httptest ends on 2084-01-29.
	ends := time.Date(2084, 1, 29, 16, 0, 0, 0, time.UTC)
	return []doctorFault{
		{"capitals", "address", isFailed, "capital letters", fault{doctor: func(d *doctor) { d.vault = "Notes" }}},
		{"http", "address", isFailed, "without TLS", fault{doctor: host("sync.example.org")}},
		{"loopback", "address", isWarning, "no other device", fault{}},
		{"nobody listens", "reach", isFailed, "no answer", fault{doctor: func(d *doctor) {
			d.transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrClosedPipe }
		}}},
		{"redirect", "reach", isFailed, "https://elsewhere.example", fault{request: func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "https://x:hidden@elsewhere.example/", http.StatusMovedPermanently)
			return true
		}}},
		{"a page", "reach", isFailed, "no CouchDB", fault{request: says("", "", 200, "<html>")}},
		{"unknown authority", "certificate", isFailed, "everyone trusts", fault{tls: true, doctor: func(d *doctor) {
			d.transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		}}},
		{"another name", "certificate", isFailed, "another name", fault{tls: true, doctor: host("sync.example.net")}},
		{"expired", "certificate", isFailed, "expired", fault{tls: true, doctor: at(ends.AddDate(1, 0, 0))}},
		{"expires soon", "certificate", isWarning, "2084-01-29", fault{tls: true, doctor: at(ends.AddDate(0, 0, -5))}},
		{"no TLS", "certificate", isFailed, "does not speak TLS", fault{doctor: func(d *doctor) { d.base.Scheme = "https" }}},
		{"no server header", "server", isWarning, "no header Server", fault{answer: header(0, "Server")}},
		{"an old server", "server", isWarning, "CouchDB/3.1.2", fault{answer: header(0, "Server", "CouchDB/3.1.2 (Erlang OTP/20)")}},
		{"no uuid", "server", isWarning, "without a uuid", fault{request: func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Server", "CouchDB/3.5.0")
			return r.Header.Get("Origin") == "" && says("GET", "/", 200, `{"couchdb":"Welcome","version":"3.5.0"}`)(w, r)
		}}},
	}
}

func corsFaults() []doctorFault {
	const computers, android = "cors app://obsidian.md", "cors http://localhost"
	preflight := func(name string, values ...string) func(*http.Response) {
		return func(res *http.Response) {
			if res.Request.Method == http.MethodOptions {
				header(0, name, values...)(res)
			}
		}
	}
	return []doctorFault{
		{"preflight refused", computers, isFailed, "answered 401", fault{request: says("OPTIONS", "", 401, anError)}},
		{"no origin", computers, isFailed, "no Access-Control-Allow-Origin", fault{answer: preflight("Access-Control-Allow-Origin")}},
		{"any origin", computers, isFailed, "Allow-Origin: *", fault{answer: preflight("Access-Control-Allow-Origin", "*")}},
		{"another origin", android, isFailed, "must be http://localhost", fault{answer: preflight("Access-Control-Allow-Origin", "app://obsidian.md")}},
		{"origin twice", computers, isFailed, "twice", fault{answer: preflight("Access-Control-Allow-Origin", "app://obsidian.md", "app://obsidian.md")}},
		{"no credentials", computers, isFailed, "Allow-Credentials", fault{answer: preflight("Access-Control-Allow-Credentials")}},
		{"no PUT", computers, isFailed, "PUT is not allowed", fault{answer: preflight("Access-Control-Allow-Methods", "GET, POST, DELETE")}},
		{"no authorization", computers, isFailed, "authorization is not allowed", fault{answer: preflight("Access-Control-Allow-Headers", "content-type")}},
		{"errors without CORS", computers, isFailed, "401 Unauthorized", fault{answer: header(401, "Access-Control-Allow-Origin")}},
		{"errors that are pages", computers, isFailed, "is no JSON", fault{request: says("GET", noSuchDocument, 404, "<html>")}},
		{"missing documents without CORS", "cors when signed in", isFailed, "404", fault{answer: header(404, "Access-Control-Allow-Origin")}},
	}
}

func vaultFaults() []doctorFault {
	vault := func(name string) func(*doctor) { return func(d *doctor) { d.vault = name } }
	return []doctorFault{
		{"wrong password", "sign-in", isFailed, "401", fault{doctor: func(d *doctor) { d.password = "wrong" }}},
		{"locked out", "sign-in", isFailed, "429", fault{request: says("GET", "/_session", 429, anError)}},
		{"no session", "sign-in", isFailed, "404", fault{request: says("GET", "/_session", 404, "<html>")}},
		{"credentials dropped", "sign-in", isFailed, "nobody", fault{request: func(_ http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Authorization")
			return false
		}}},
		{"an administrator", "sign-in", isWarning, "administrator", fault{doctor: func(d *doctor) { d.user, d.password = "admin", "secret" }}},
		{"nobody named", "sign-in", isSkipped, "no user", fault{doctor: func(d *doctor) { d.user = "" }}},
		{"no vault named", "vault", isSkipped, "no vault", fault{doctor: vault("")}},
		{"no such vault", "vault", isFailed, "no such database", fault{doctor: vault("none")}},
		{"another's vault", "vault", isFailed, "403", fault{doctor: vault("foreign")}},
		{"open to everyone", "vault", isFailed, "everyone may read", fault{doctor: vault("open")}},
		{"no database", "vault", isFailed, "no database", fault{request: says("GET", "/notes/", 200, `{"hello":1}`)}},
		{"another sequence", "vault", isFailed, "update_seq", fault{request: says("GET", "/notes/", 200, `{"db_name":"notes","update_seq":"abc-1"}`)}},
		{"settings for administrators", "settings", isWarning, "403", fault{request: says("GET", "/_config", 403, anError)}},
		{"settings otherwise", "settings", isWarning, "complain", fault{request: says("GET", "/_config", 200, `{"cors":{"credentials":"false","origins":"*"},"chttpd":{"max_http_request_size":"1","x":2}}`)}},
	}
}

func writeFaults() []doctorFault {
	return []doctorFault{
		{"a reader", "write", isFailed, "only read", fault{request: says("POST", "/_bulk_docs", 403, anError)}},
		{"writes kept away", "write", isFailed, "502", fault{request: says("POST", "/_bulk_docs", 502, "<html>")}},
		{"nothing written by a reader", "_local", isSkipped, "not write", fault{request: says("POST", "/_bulk_docs", 403, anError)}},
		{"nothing large written by a reader", "large body", isSkipped, "not write", fault{request: says("POST", "/_bulk_docs", 403, anError)}},
		{"local refused", "_local", isFailed, "cannot be written", fault{request: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/_local/") && says("PUT", "", 403, anError)(w, r)
		}}},
		{"local lost", "_local", isFailed, "come back", fault{request: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/_local/") && says("GET", "", 404, anError)(w, r)
		}}},
		{"local overwritten", "_local", isWarning, "has not read", fault{request: func(w http.ResponseWriter, r *http.Request) bool {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			return r.Method == "PUT" && bytes.Contains(body, []byte(`"n":3`)) && says("", "", 201, "{}")(w, r)
		}}},
		{"body too large", "large body", isFailed, "by a proxy", fault{request: func(w http.ResponseWriter, r *http.Request) bool {
			return r.ContentLength > 1<<20 && says("PUT", "", 413, "<html>")(w, r)
		}}},
		{"body cut off", "large body", isFailed, "cut off", fault{request: func(w http.ResponseWriter, r *http.Request) bool {
			if r.ContentLength > 1<<20 {
				panic(http.ErrAbortHandler)
			}
			return false
		}}},
	}
}

func feedFaults() []doctorFault {
	patient := func(d *doctor) { d.hold = 20 * time.Second }
	impatient := func(d *doctor) { d.grace = 50 * time.Millisecond }
	feed := func(kind string, do func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("feed") != kind {
				return false
			}
			do(w, r)
			return true
		}
	}
	silent := func(w http.ResponseWriter, r *http.Request) {
		// Until the body is read, the server does not see that the client goes.
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { http.Error(w, strconv.Itoa(code), code) }
	}
	return []doctorFault{
		{"poll refused", "long poll", isFailed, "answered 405", fault{doctor: patient, request: feed("longpoll", status(405))}},
		{"poll ended", "long poll", isFailed, "it ended after", fault{doctor: patient, request: feed("longpoll", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "\n\n")
		})}},
		{"poll cut", "long poll", isFailed, "it ended after", fault{doctor: patient, request: feed("longpoll", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "\n\n")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})}},
		{"poll silent", "long poll", isFailed, "no sign of life", fault{doctor: func(d *doctor) { d.hold = 100 * time.Millisecond }, request: feed("longpoll", silent)}},
		{"stream refused", "streaming", isFailed, "answered 502", fault{request: feed("continuous", status(502))}},
		{"stream held back", "streaming", isFailed, "nothing of a continuous feed", fault{doctor: impatient, request: feed("continuous", silent)}},
	}
}

func TestDoctorURLs(t *testing.T) {
	t.Parallel()
	p := &program{getenv: func(string) string { return "" }}
	for _, raw := range []string{"", "sync.example.org", "ftp://h", "http://u:hidden@/", "http://u:hidden@h/?x=1", "http://u:hidden@h:x"} {
		if _, err := p.newDoctor(raw, "", ""); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", raw, err)
		}
	}
	d, err := p.newDoctor("https://u:hidden@h/prefix/", "", "v")
	if err != nil || d.user != "u" || d.password != "hidden" || d.base.String() != "https://h/prefix" || d.hold <= time.Minute {
		t.Errorf("%+v, %v", d, err)
	}
}
