package livesync

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
)

// Algorithms are the names (RFC 7518 §3.1) of the signatures that a LiveSync device can make.
func Algorithms() []string { return []string{"ES256", "ES512", "HS256", "HS512"} }

// GenerateKey makes a key for one of the [Algorithms]. For ES256 and ES512 private is PKCS #8 and public is SPKI, both in PEM that ends with a
// line end. For HS256 and HS512 private is the shared secret, as long as the hash, in standard base64 with padding, and public is "".
// It fails for another algorithm only.
func GenerateKey(algorithm string) (private, public string, err error) {
	switch algorithm {
	case "ES256":
		return generatePair(elliptic.P256())
	case "ES512":
		return generatePair(elliptic.P521())
	case "HS256":
		return generateSecret(32), "", nil
	case "HS512":
		return generateSecret(64), "", nil
	}
	return "", "", fmt.Errorf("there is no algorithm %q for a device's key: choose one of ES256, ES512, HS256, HS512", algorithm)
}

func generatePair(curve elliptic.Curve) (private, public string, err error) {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", err
	}
	private = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})), nil
}

func generateSecret(size int) string {
	secret := make([]byte, size)
	rand.Read(secret) // never fails
	return base64.StdEncoding.EncodeToString(secret)
}
