package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/parlordb/parlor/auth/authtest"
)

// TestCertificateIsReadAgain: a renewed certificate is taken without a restart, and one that is half written is not.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	makeCertificate(t, dir)
	clock := authtest.NewClock()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := openCertificate(cert, cert, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a certificate is taken for its key")
	}
	c, err := openCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.now = clock.Now
	shown := func() []byte {
		t.Helper()
		clock.Advance(2 * certificateAge)
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Certificate[0]
	}
	first := shown()
	if !bytes.Equal(shown(), first) {
		t.Fatal("the certificate changes by itself")
	}
	makeCertificate(t, dir)
	second := shown()
	if bytes.Equal(second, first) {
		t.Error("a new certificate is not taken")
	}
	if err := os.WriteFile(key, []byte("half a k"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(shown(), second) {
		t.Error("a broken key replaces a good one")
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(shown(), second) {
		t.Error("a certificate that is gone replaces a good one")
	}
	makeCertificate(t, dir)
	if got := shown(); bytes.Equal(got, second) || bytes.Equal(got, first) {
		t.Error("the certificate is not taken after the files are whole again")
	}
}
