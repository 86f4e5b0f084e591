package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/parlordb/parlor/config"
)

// acmeDir, in the data directory, holds the account's key and the certificates that [parlor] tls = acme has obtained.
const acmeDir = "acme"

// newACME returns what obtains certificates for the host of [parlor] public_url and renews them (RFC 8555), nil unless [parlor] tls is acme. Nothing
// is obtained for other names, whatever a client says in its handshake.
func newACME(s *config.Snapshot, data string) (*autocert.Manager, error) {
	switch kind := s.String("", "tls", "parlor"); kind {
	case "":
		return nil, nil
	case "acme":
	default:
		return nil, fmt.Errorf("[parlor] tls: %q is not acme; for a certificate in files see [ssl] cert_file and key_file", kind)
	}
	if s.Bool(false, "enable", "ssl") && s.String("", "cert_file", "ssl") != "" {
		return nil, errors.New("[parlor] tls = acme and [ssl] cert_file cannot both be set: take one of them out")
	}
	public := s.String("", "public_url", "parlor")
	u, err := url.Parse(public)
	if err != nil || u.Scheme != "https" || !strings.Contains(strings.Trim(u.Hostname(), "."), ".") || net.ParseIP(u.Hostname()) != nil {
		return nil, fmt.Errorf("[parlor] tls = acme needs public_url, or -public-url, to be https:// and a host name that the world knows; it is %q", public)
	}
	m := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(filepath.Join(data, acmeDir)),
		HostPolicy: autocert.HostWhitelist(u.Hostname()),
		Email:      s.String("", "email", "parlor_acme"),
		Client:     &acme.Client{DirectoryURL: s.String(autocert.DefaultACMEDirectory, "directory", "parlor_acme")},
	}
	if !strings.HasPrefix(m.Client.DirectoryURL, "https://") {
		return nil, fmt.Errorf("[parlor_acme] directory: %q does not begin with https://", m.Client.DirectoryURL)
	}
	if file := s.String("", "ca_file", "parlor_acme"); file != "" {
		text, err := os.ReadFile(file)
		pool := x509.NewCertPool()
		if err == nil && !pool.AppendCertsFromPEM(text) {
			err = errors.New("it holds no certificate in PEM")
		}
		if err != nil {
			return nil, fmt.Errorf("[parlor_acme] ca_file: %w", err)
		}
		m.Client.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: time.Minute}
	}
	return m, nil
}

// acmeHost is where TLS and the door beside it are listened for unless [ssl] bind_address says otherwise.
const acmeHost = "any"

// acmeHelp is said when there is no certificate yet.
const acmeHelp = "is public_url's name this machine's in DNS, and does port 443 of that name lead to this server?"

// acmeDoor is what goes on beside a server whose certificates m obtains: the first is asked for at once, so that the log says early when it cannot be had, and
// plain HTTP on port 80 ([parlor_acme] http_port, 0 for none) sends browsers on and is a second way for the proof (HTTP-01).
type acmeDoor struct {
	server *http.Server // nil: none
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// announceTLS says where TLS is listened for, and opens the door beside it when m obtains the certificates; otherwise that is nil.
func announceTLS(ctx context.Context, s *config.Snapshot, m *autocert.Manager, secure []net.Listener, log *slog.Logger) (*acmeDoor, error) {
	for _, l := range secure {
		log.Info("listening with TLS", "address", l.Addr().String())
		if m != nil {
			return openACMEDoor(ctx, s, m, l.Addr(), log)
		}
	}
	return nil, nil
}

func openACMEDoor(ctx context.Context, s *config.Snapshot, m *autocert.Manager, secure net.Addr, log *slog.Logger) (*acmeDoor, error) {
	port, err := number(s, 80, 0, 65535, "http_port", "parlor_acme")
	if err != nil {
		return nil, err
	}
	public, err := url.Parse(s.String("", "public_url", "parlor"))
	if err != nil {
		return nil, err
	}
	d := &acmeDoor{}
	ctx, d.cancel = context.WithCancel(ctx)
	if port > 0 {
		l, err := listen(ctx, s, s.String(acmeHost, "bind_address", "ssl"), port, "[parlor_acme] http_port")
		if err != nil {
			log.Warn("plain HTTP is not sent on to HTTPS", "error", err)
		} else {
			d.server = &http.Server{Handler: m.HTTPHandler(nil), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
				ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
			d.wait.Go(func() { d.server.Serve(l) })
		}
	}
	d.wait.Go(func() { obtain(ctx, secure, public.Hostname(), log) })
	return d, nil
}

// obtain has the server at addr show its certificate for host until it does. It tries ever less often, for a provider of certificates counts failures.
func obtain(ctx context.Context, addr net.Addr, host string, log *slog.Logger) {
	for pause := 5 * time.Second; ; pause = min(6*pause, time.Hour) {
		err := firstCertificate(ctx, addr, host)
		if err == nil {
			log.Info("the certificate is there", "host", host)
			return
		}
		if ctx.Err() == nil {
			log.Error("there is no certificate yet; "+acmeHelp, "host", host, "error", err, "again_in", pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// firstCertificate has the server at addr show its certificate for host, which obtains one where there is none. Whether it is trusted by this machine is no
// matter: a private provider of certificates need not be.
func firstCertificate(ctx context.Context, addr net.Addr, host string) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("%s is no address to connect to", addr)
	}
	ip := tcp.IP
	if ip.IsUnspecified() {
		ip = net.IPv6loopback
		if tcp.IP.To4() != nil {
			ip = net.IPv4(127, 0, 0, 1)
		}
	}
	dialer := &tls.Dialer{Config: &tls.Config{ServerName: host, InsecureSkipVerify: true}}
	c, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), strconv.Itoa(tcp.Port)))
	if err != nil {
		return err
	}
	return c.Close()
}

// close ends what goes on, and waits for it. A nil acmeDoor has nothing going on.
func (d *acmeDoor) close() {
	if d == nil {
		return
	}
	d.cancel()
	if d.server != nil {
		d.server.Close()
	}
	d.wait.Wait()
}
