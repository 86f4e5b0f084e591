package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limit(inner, 1)
	defer l.Close()
	for range 3 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	first.Close() // gives its place back once
	second, err := l.Accept()
	if err != nil {
		t.Fatal("a place was not given back: ", err)
	}
	defer second.Close()
	third := make(chan error)
	go func() {
		_, err := l.Accept()
		third <- err
	}()
	l.Close()
	if err := <-third; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection beyond the limit: %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := makeCertificate(t, dir)
	settings := func(rest string) string {
		return fmt.Sprintf("[ssl]\nenable = true\nport = 0\ncert_file = %s\n%s\n", filepath.Join(dir, "cert.pem"), rest)
	}
	if l, err := listenTLS(t.Context(), snapshot(t, "[ssl]\nenable = yes\n"), nil, slog.New(slog.DiscardHandler)); l != nil || err != nil {
		t.Errorf("not enabled: %v, %v", l, err)
	}
	for _, text := range []string{settings(""), settings("key_file = none.pem"), settings("key_file = " + filepath.Join(dir, "cert.pem"))} {
		if _, err := listenTLS(t.Context(), snapshot(t, text), nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "[ssl] cert_file and key_file") {
			t.Errorf("%q: %v", text, err)
		}
	}
	l, err := listenTLS(t.Context(), snapshot(t, settings("key_file = "+filepath.Join(dir, "key.pem"))), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS != nil)
	})}
	done := make(chan error)
	go func() { done <- hs.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	res, err := client.Get("https://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "true" || err != nil {
		t.Errorf("the handler sees TLS: %s, %v", body, err)
	}
	hs.Close()
	<-done
}

func makeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	pool, err := writeCertificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// writeCertificate writes cert.pem and key.pem into dir, for 127.0.0.1, and returns a pool that trusts them.
func writeCertificate(dir string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyText := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "cert.pem"), certText, 0o600), os.WriteFile(filepath.Join(dir, "key.pem"), keyText, 0o600)); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certText)
	return pool, nil
}
