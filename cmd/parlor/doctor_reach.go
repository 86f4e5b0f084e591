package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// client makes the HTTP client. It unpacks nothing, so that what arrives is what a browser would get, and follows no redirects.
func (d *doctor) client() {
	transport := d.transport
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	transport.DisableCompression = true
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{}
	}
	transport.TLSClientConfig.Time = d.now
	d.http = &http.Client{Transport: transport, CheckRedirect: noRedirect}
}

// ask is a request of a device.
type ask struct {
	method, path string // path follows the server's URL, escaped
	origin       string
	body         string
	header       map[string]string
	anonymous    bool // without the user's credentials
}

// told is an answer that was read whole, its beginning at least.
type told struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
	tls    *tls.ConnectionState
}

// maxTold bounds what is read of an answer.
const maxTold = 8 << 20

// open sends a request; the caller closes the body.
func (d *doctor) open(ctx context.Context, a ask) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, a.method, d.base.String()+a.path, strings.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	if a.method != http.MethodOptions {
		r.Header.Set("Content-Type", "application/json") // PouchDB sends it with GET too
	}
	if a.origin != "" {
		r.Header.Set("Origin", a.origin)
	}
	for name, value := range a.header {
		r.Header.Set(name, value)
	}
	switch {
	case a.anonymous:
	case d.token != "":
		r.Header.Set("Authorization", "Bearer "+d.token)
	case d.user != "":
		r.SetBasicAuth(d.user, d.password)
	}
	res, err := d.http.Do(r)
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return res, err
}

// send sends a request and reads the answer.
func (d *doctor) send(ctx context.Context, a ask) (told, error) {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	began := time.Now()
	res, err := d.open(ctx, a)
	if err != nil {
		return told{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxTold))
	return told{res.StatusCode, res.Header, body, time.Since(began), res.TLS}, err
}

// said is a server's answer in a few words.
func (a told) said() string {
	var e struct {
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}
	text := strconv.Itoa(a.status) + " " + http.StatusText(a.status)
	if json.Unmarshal(a.body, &e) == nil && e.Error != "" {
		return text + " (" + e.Error + ": " + e.Reason + ")"
	}
	return text
}

func (a told) isJSON() bool {
	var any struct{}
	return json.Unmarshal(a.body, &any) == nil
}

// checkAddress looks at the URL itself.
func (d *doctor) checkAddress() {
	address := d.base.String() + "/" + d.vault
	switch {
	case address != strings.ToLower(address) || strings.ContainsAny(address, " ") || strings.Contains(address, "%20"):
		d.fail("address", "the URL or the vault's name has capital letters or blanks", "LiveSync refuses such addresses: name the server and the vault in small letters")
	case d.base.Scheme == "https":
		d.ok("address", "https, as phones demand")
	case isLoopback(d.base.Hostname()):
		d.warn("address", "http on this computer: no other device reaches it", "for phones, serve https under a name that they can reach: 'parlor serve -h' and docs/livesync.md say how")
	default:
		d.fail("address", "http without TLS: phones refuse it, and passwords are sent as they are",
			"serve https with a certificate that everyone trusts: [parlor] tls = acme, or a proxy such as Caddy in front")
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// checkReach asks for the server's root. Without an answer there is nothing else to check.
func (d *doctor) checkReach(ctx context.Context) bool {
	a, err := d.send(ctx, ask{method: http.MethodGet, path: "/", anonymous: true})
	if err != nil {
		if !d.noteCertificate(err) {
			d.fail("reach", "there is no answer: "+err.Error(), reachAdvice(err))
		}
		return false
	}
	if a.status >= 300 && a.status < 400 {
		d.fail("reach", "the server redirects to "+location(a), "give LiveSync that address; a redirect loses its password and its CORS headers")
		return false
	}
	if !a.isJSON() {
		d.fail("reach", "what answers is no CouchDB: "+a.said()+", and no JSON",
			"check the address and the proxy's path; PouchDB cannot even read an error that is no JSON")
		return false
	}
	d.ok("reach", fmt.Sprintf("it answers in %s", a.took.Round(time.Millisecond)))
	if a.tls != nil {
		d.checkCertificate(a.tls)
	}
	d.checkServer(a)
	return true
}

func location(a told) string {
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return "another address"
	}
	to.User = nil
	return to.String()
}

func reachAdvice(err error) string {
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return "the name is not known: is it spelled right, and is it in the DNS?"
	case errors.Is(err, context.DeadlineExceeded):
		return "something swallows the packets: check the firewall, the port, and port forwarding at the router"
	}
	return "is the server running, does it listen on this address (-addr; [chttpd] bind_address), and is the port right?"
}

// noteCertificate tells of a certificate that was refused; false: that was not it.
func (d *doctor) noteCertificate(err error) bool {
	const check = "certificate"
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &host):
		d.fail(check, "it is for another name: "+host.Error(), "use the name that the certificate has, or get one for this name")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		d.fail(check, "it has expired, or is not valid yet", "renew it, and let it be renewed by itself ([parlor] tls = acme, or Caddy); check this computer's clock")
	case errors.As(err, &unknown):
		d.fail(check, "it is not signed by an authority that everyone trusts", "phones refuse it: get one from Let's Encrypt, and serve the whole chain with it")
	case errors.As(err, new(*tls.CertificateVerificationError)):
		d.fail(check, "it is not good: "+err.Error(), "get one from Let's Encrypt, and serve the whole chain with it")
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, new(tls.RecordHeaderError)):
		d.fail(check, "the server does not speak TLS at this port", "use http for a port without TLS, or the port that has it")
	default:
		return false
	}
	return true
}

// soon is the time before its end at which a certificate should have been renewed.
const soon = 14 * 24 * time.Hour

func (d *doctor) checkCertificate(state *tls.ConnectionState) {
	ends := state.PeerCertificates[0].NotAfter
	left := ends.Sub(d.now())
	found := fmt.Sprintf("it is trusted, and good until %s", ends.Format(time.DateOnly))
	if left < soon {
		d.warn("certificate", found, "it should have been renewed by now: check what renews it")
		return
	}
	d.ok("certificate", found)
}

// couchVersion is what LiveSync looks for in the header Server.
var couchVersion = regexp.MustCompile(`CouchDB(?:/(\d+)\.(\d+)[\d.]*)?`)

func (d *doctor) checkServer(a told) {
	var welcome struct {
		Couch   string `json:"couchdb"`
		Version string `json:"version"`
		UUID    string `json:"uuid"`
	}
	server := a.header.Get("Server")
	_ = json.Unmarshal(bytes.TrimSpace(a.body), &welcome) // that it is JSON was checked; another shape has no version
	found := server
	if found == "" {
		found = "no header Server"
	}
	if a.status == http.StatusUnauthorized {
		found += ", which tells nobody its version without a password"
	} else if welcome.Version != "" {
		found += ", version " + welcome.Version
	}
	m := couchVersion.FindStringSubmatch(server)
	switch {
	case m == nil:
		d.warn("server", found, "LiveSync looks for \"CouchDB/\" and a version in the header Server, and takes the server for an old one without: let the proxy pass the header on")
	case m[1] != "" && older(m[1], m[2]):
		d.warn("server", found, "CouchDB before 3.2 has known bugs and holes: upgrade it, or move to Parlor with 'parlor replicate'")
	case a.status == http.StatusOK && welcome.UUID == "":
		d.warn("server", found+", without a uuid", "checkpoints then depend on the address: after a change of address every device compares everything again")
	default:
		d.ok("server", found)
	}
}

func older(major, minor string) bool {
	x, _ := strconv.Atoi(major)
	y, _ := strconv.Atoi(minor)
	return x < 3 || x == 3 && y < 2
}
