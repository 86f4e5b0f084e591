package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateAge is for how long the files of a certificate are not looked at again.
const certificateAge = time.Second

// certificateFiles is a certificate in files, as [ssl] cert_file and key_file name it. It is read again when a file has changed, so that whoever renews it
// need not tell the server. Files that cannot be used, such as a certificate whose key is still to be written, leave in force what was.
type certificateFiles struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	pair    *tls.Certificate
	text    [2][]byte // of the files, when they were last looked at
	checked time.Time
}

// openCertificate fails when the files cannot be used now.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificateFiles, error) {
	c := &certificateFiles{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("[ssl] cert_file and key_file: %w", err)
	}
	return c, nil
}

// read takes the files' certificate, when they have changed and can be used.
func (c *certificateFiles) read() error {
	cert, err1 := os.ReadFile(c.certFile)
	key, err2 := os.ReadFile(c.keyFile)
	if bytes.Equal(cert, c.text[0]) && bytes.Equal(key, c.text[1]) && c.pair != nil {
		return nil
	}
	c.text = [2][]byte{cert, key}
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	c.pair = &pair
	return nil
}

// get is for tls.Config.GetCertificate.
func (c *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= certificateAge {
		c.checked = now
		before := c.pair
		if err := c.read(); err != nil {
			c.log.Warn("the certificate's files have changed, but cannot be used; the certificate before stays", "cert_file", c.certFile, "key_file", c.keyFile, "error", err)
		} else if c.pair != before {
			c.log.Info("the certificate was read again", "cert_file", c.certFile)
		}
	}
	return c.pair, nil
}
