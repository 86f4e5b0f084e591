package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

func TestACMESettings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[parlor]\ntls = letsencrypt\n":                                                                               "is not acme",
		"[parlor]\ntls = acme\n":                                                                                      "public_url",
		"[parlor]\ntls = acme\npublic_url = http://sync.example.org":                                                  "public_url",
		"[parlor]\ntls = acme\npublic_url = https://localhost":                                                        "public_url",
		"[parlor]\ntls = acme\npublic_url = https://192.0.2.1":                                                        "public_url",
		"[parlor]\ntls = acme\npublic_url = https://[2001:db8::1]":                                                    "public_url",
		"[parlor]\ntls = acme\npublic_url = https://sync.example.org\n[ssl]\nenable = true\ncert_file = c.pem":        "both be set",
		"[parlor]\ntls = acme\npublic_url = https://sync.example.org\n[parlor_acme]\ndirectory = http://acme.example": "https://",
		"[parlor]\ntls = acme\npublic_url = https://sync.example.org\n[parlor_acme]\nca_file = none.pem":              "ca_file",
	} {
		if _, err := newACME(snapshot(t, text), t.TempDir()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if m, err := newACME(snapshot(t, "[parlor]\npublic_url = https://sync.example.org"), t.TempDir()); m != nil || err != nil {
		t.Errorf("not asked for: %v, %v", m, err)
	}
}

// acmeSite is a program that obtains its certificates for acmeName from a real ACME server, which asks for the proof on the program's own port.
type acmeSite struct {
	dir     string
	port    int
	trusted *x509.CertPool
}

const acmeName = "sync.example.org"

// newACMESite makes one whose certificates are good for so many seconds; 0 for 90 days.
func newACMESite(t *testing.T, seconds uint64) *acmeSite {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "10") // per cent: a client must be able to try again, for which it waits a second and more
	site := &acmeSite{dir: t.TempDir(), port: freePort(t)}
	directory, trusted := startACMEServer(t, site.dir, site.port, seconds)
	site.trusted = trusted
	settings := fmt.Sprintf(`[chttpd_auth]
iterations = 10
[parlor]
tls = acme
[ssl]
port = %d
bind_address = 127.0.0.1
[parlor_acme]
http_port = 0
email = admin@sync.example.org
directory = %s
ca_file = %s
`, site.port, directory, filepath.Join(site.dir, "acme.pem"))
	if err := os.WriteFile(filepath.Join(site.dir, "parlor.ini"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return site
}

func (site *acmeSite) run(t *testing.T) *child {
	t.Helper()
	c, err := start("parlor", site.dir, os.Environ(), "-data", filepath.Join(site.dir, "data"), "-addr", "127.0.0.1:0", "-config", "parlor.ini", "-public-url", "https://"+acmeName)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// firstCertificate waits until there is one.
func (site *acmeSite) firstCertificate(t *testing.T, c *child) *x509.Certificate {
	t.Helper()
	if c.waitFor(func(line string) bool { return strings.Contains(line, "the certificate is there") }) == "" {
		t.Fatal(c.log())
	}
	// Where they end soon, the first may have ended meanwhile.
	for end := time.Now().Add(2 * time.Minute); ; {
		first, err := site.get(t, acmeName)
		if err == nil {
			return first
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// get asks the program under a name, and returns the certificate that it shows.
func (site *acmeSite) get(t *testing.T, name string) (*x509.Certificate, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: site.trusted, ServerName: name}}}
	res, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/_up", site.port))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s, %v", res.Status, err)
	}
	return res.TLS.PeerCertificates[0], nil
}

// TestACME has the program obtain a certificate, and use it again after a restart.
func TestACME(t *testing.T) {
	site := newACMESite(t, 0)
	c := site.run(t)
	defer func() { c.kill() }()
	late := time.AfterFunc(2*time.Minute, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	first := site.firstCertificate(t, c)
	if _, err := site.get(t, "other.example.org"); err == nil {
		t.Error("there is a certificate for another name")
	}
	if info, err := os.Stat(filepath.Join(site.dir, "data", acmeDir)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the keys' directory: %v, %v", info, err)
	}
	c.kill()
	c = site.run(t)
	if again, err := site.get(t, acmeName); err != nil || !again.Equal(first) {
		t.Errorf("after a restart: another certificate, %v", err)
	}
}

// TestACMERenews: a certificate that ends soon is replaced while the program runs.
func TestACMERenews(t *testing.T) {
	site := newACMESite(t, 6)
	c := site.run(t)
	defer c.kill()
	first := site.firstCertificate(t, c)
	for end := time.Now().Add(2 * time.Minute); ; {
		// Between two certificates there may be none that is good.
		if now, err := site.get(t, acmeName); err == nil && !now.Equal(first) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the certificate that ended at %s is not replaced\n%s", first.NotAfter, c.log())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// startACMEServer starts a server that gives out certificates, with a DNS in which all names are the loopback's. It writes acme.pem, with which its clients trust
// it, and returns its directory's URL and who trusts its certificates.
func startACMEServer(t *testing.T, dir string, port int, seconds uint64) (directory string, trusted *x509.CertPool) {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	resolver := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	names, err := challtestsrv.New(challtestsrv.Config{Log: quiet, DNSAddrs: []string{resolver}})
	if err != nil {
		t.Fatal(err)
	}
	names.SetDefaultDNSIPv4("127.0.0.1")
	names.SetDefaultDNSIPv6("")
	names.Run()
	t.Cleanup(names.Shutdown)
	orders := db.NewMemoryStore()
	authority := ca.New(quiet, orders, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "for tests", ValidityPeriod: seconds}})
	front := wfe.New(quiet, orders, va.New(quiet, 0, port, true, resolver, orders), authority, []string{"acme.example"}, true, false, 1, 1)
	srv := httptest.NewTLSServer(front.Handler())
	t.Cleanup(srv.Close)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "acme.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	trusted = x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(authority.GetRootCert(0).PEM()) {
		t.Fatal("the authority has no certificate")
	}
	return srv.URL + wfe.DirectoryPath, trusted
}

// freePort is a port of the loopback that nobody listens on. It is none of those that systems give out by themselves, lest another process is given it before it
// is used.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
