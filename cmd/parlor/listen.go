package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/parlordb/parlor/config"
)

// listenAll listens on the network wherever the settings say. The first of the listeners is the one of [chttpd], the second, if any, that for TLS, with
// certificates from m unless it is nil.
func listenAll(ctx context.Context, s *config.Snapshot, m *autocert.Manager, log *slog.Logger) ([]net.Listener, error) {
	plain, err := listenMain(ctx, s)
	if err != nil {
		return nil, err
	}
	secure, err := listenTLS(ctx, s, m, log)
	switch {
	case err != nil:
		plain.Close()
		return nil, err
	case secure == nil:
		return []net.Listener{plain}, nil
	}
	return []net.Listener{plain, secure}, nil
}

// closeAll closes what a server has not closed already.
func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// listenMain listens where [chttpd] says.
func listenMain(ctx context.Context, s *config.Snapshot) (net.Listener, error) {
	port, err := number(s, 5984, 0, 65535, "port", "chttpd")
	if err != nil {
		return nil, err
	}
	return listen(ctx, s, bindAddress(s), port, "-addr, or [chttpd] bind_address and port,")
}

// listenTLS listens where [ssl] says; nil when it is not enabled and there is no m. With m, which [parlor] tls asks for, that is wherever the world can come in
// unless [ssl] says otherwise: the provider of certificates looks for its proof at the same door (TLS-ALPN-01, RFC 8737).
func listenTLS(ctx context.Context, s *config.Snapshot, m *autocert.Manager, log *slog.Logger) (net.Listener, error) {
	host, usual := bindAddress(s), 6984
	switch {
	case m != nil:
		host, usual = acmeHost, 443
	case !s.Bool(false, "enable", "ssl"):
		return nil, nil
	}
	port, err := number(s, int64(usual), 0, 65535, "port", "ssl")
	if err != nil {
		return nil, err
	}
	o, err := tlsConfig(s, m, log)
	if err != nil {
		return nil, err
	}
	l, err := listen(ctx, s, s.String(host, "bind_address", "ssl"), port, "[ssl] bind_address and port")
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, o), nil
}

// tlsConfig reads [ssl] (spec §12.4); the certificates are m's unless it is nil. Certificates of clients let a connection through or not; they are nobody's
// sign-on.
func tlsConfig(s *config.Snapshot, m *autocert.Manager, log *slog.Logger) (*tls.Config, error) {
	for _, key := range []string{"password", "verify_fun"} {
		if _, ok := s.Get("ssl", key); ok {
			return nil, fmt.Errorf("[ssl] %s cannot be used: keep the key file unencrypted and readable by the server alone, and let cacert_file name who is trusted", key)
		}
	}
	o := &tls.Config{NextProtos: []string{"http/1.1"}}
	if m != nil {
		o.GetCertificate, o.NextProtos = m.GetCertificate, append(o.NextProtos, acme.ALPNProto)
	} else {
		files, err := openCertificate(s.String("", "cert_file", "ssl"), s.String("", "key_file", "ssl"), log)
		if err != nil {
			return nil, err
		}
		o.GetCertificate = files.get
	}
	var err error
	if o.MinVersion, o.MaxVersion, err = tlsVersions(s.String("", "tls_versions", "ssl")); err != nil {
		return nil, err
	}
	if !s.Bool(false, "verify_ssl_certificates", "ssl") {
		return o, nil
	}
	file := s.String("", "cacert_file", "ssl")
	authorities, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("[ssl] cacert_file, which verify_ssl_certificates needs: %w", err)
	}
	o.ClientCAs, o.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !o.ClientCAs.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("[ssl] cacert_file: %s holds no certificate in PEM", file)
	}
	if s.Bool(false, "fail_if_no_peer_cert", "ssl") {
		o.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return o, nil
}

// tlsVersions reads an Erlang list such as ['tlsv1.2', 'tlsv1.3']. Older versions are broken and not taken; "" stands for both of these.
func tlsVersions(text string) (lowest, highest uint16, err error) {
	known := map[string]uint16{"tlsv1.2": tls.VersionTLS12, "tlsv1.3": tls.VersionTLS13}
	if text == "" {
		return tls.VersionTLS12, 0, nil
	}
	inside, ok := strings.CutPrefix(text, "[")
	inside, ok2 := strings.CutSuffix(inside, "]")
	for _, item := range strings.Split(inside, ",") {
		version := known[strings.Trim(strings.TrimSpace(item), "'\"")]
		if !ok || !ok2 || version == 0 {
			return 0, 0, fmt.Errorf("[ssl] tls_versions: %s is no list of 'tlsv1.2' and 'tlsv1.3'", text)
		}
		if lowest == 0 || version < lowest {
			lowest = version
		}
		highest = max(highest, version)
	}
	return lowest, highest, nil
}

func bindAddress(s *config.Snapshot) string { return s.String("127.0.0.1", "bind_address", "chttpd") }

// listen listens at a host, "any" for all, and port; where says how another could be named.
func listen(ctx context.Context, s *config.Snapshot, host string, port int64, where string) (net.Listener, error) {
	if host == "any" {
		host = ""
	}
	addr := net.JoinHostPort(host, strconv.FormatInt(port, 10))
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &inUse{addr, where}
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("cannot listen on %s: ports below 1024 are root's; on Linux 'setcap cap_net_bind_service=+ep' lets the program have them; or let %s name another: %w",
			addr, where, err)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s; let %s name an address of this machine: %w", addr, where, err)
	}
	// Inside of TLS, for net/http looks at the connection's type.
	return limit(l, s.Int(10_000, "max_connections", "parlor_http")), nil
}

// inUse says that an address is taken, and where another could be named.
type inUse struct{ addr, where string }

func (e *inUse) Error() string {
	return fmt.Sprintf("another program listens on %s already; stop it, or let %s name another address", e.addr, e.where)
}

// limited is a Listener that holds at most so many connections: the next waits until one is closed.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limit(l net.Listener, connections int64) net.Listener {
	if connections <= 0 {
		return l
	}
	return &limited{Listener: l, slots: make(chan struct{}, connections), closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its slot back when it is closed.
type limitedConn struct {
	net.Conn
	free func()
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// CloseWrite lets net/http send the end of an answer before it closes, as it does with a plain connection.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
