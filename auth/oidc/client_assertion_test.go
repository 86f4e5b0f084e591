package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

// privateKey makes a key and its PEM.
func privateKey(t *testing.T, alg string) (crypto.Signer, string) {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "RS256 short":
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, block("PRIVATE KEY", der)
}

func block(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func TestPrivateKeysThatAreNotTaken(t *testing.T) {
	t.Parallel()
	key, good := privateKey(t, "ES256")
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	_, short := privateKey(t, "RS256 short")
	_, curve := privateKey(t, "ES384")
	for name, text := range map[string]string{
		"nothing":          "",
		"no PEM":           "hello",
		"a public key":     block("PUBLIC KEY", public),
		"two keys":         good + good,
		"text behind it":   good + "x",
		"cut":              good[:60],
		"no base64":        "-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----",
		"no key":           "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
		"labels differ":    strings.Replace(good, "END PRIVATE", "END RSA PRIVATE", 1),
		"an RSA key short": short,
		"another curve":    curve,
	} {
		switch _, err := newAssertions(text); {
		case err == nil:
			t.Errorf("%s: taken", name)
		case strings.Contains(err.Error(), "MI"): // how DER in base64 begins
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func TestPrivateKeysAsSettingsHoldThem(t *testing.T) {
	t.Parallel()
	ec, good := privateKey(t, "ES256")
	sec1, err := x509.MarshalECPrivateKey(ec.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, _ := privateKey(t, "RS256")
	for name, text := range map[string]string{
		"lines":         good,
		"written lines": strings.ReplaceAll(good, "\n", `\n`),
		"one line":      strings.ReplaceAll(good, "\n", " "),
		"SEC 1":         block("EC PRIVATE KEY", sec1),
		"PKCS #1":       block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey.(*rsa.PrivateKey))),
	} {
		if _, err := newAssertions(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
