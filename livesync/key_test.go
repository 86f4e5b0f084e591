package livesync_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/parlordb/parlor/livesync"
)

func TestGenerateKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"", "es256", "ES384", "RS256", "EdDSA", "none"} {
		private, public, err := livesync.GenerateKey(algorithm)
		if err == nil || private != "" || public != "" {
			t.Errorf("%q is taken: %q, %q", algorithm, private, public)
			continue
		}
		for _, known := range livesync.Algorithms() {
			if !strings.Contains(err.Error(), known) {
				t.Errorf("%q: the error does not name %s: %v", algorithm, known, err)
			}
		}
	}
}

func TestGenerateKeyPair(t *testing.T) {
	t.Parallel()
	for algorithm, bits := range map[string]int{"ES256": 256, "ES512": 521} {
		private, public, err := livesync.GenerateKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		block, rest := pem.Decode([]byte(private))
		if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
			t.Fatalf("%s: the private key is not PEM of one PKCS #8 key", algorithm)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		key, ok := parsed.(*ecdsa.PrivateKey)
		if !ok || key.Curve.Params().BitSize != bits {
			t.Fatalf("%s: the private key is a %T, or on another curve", algorithm, parsed)
		}
		block, rest = pem.Decode([]byte(public))
		if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
			t.Fatalf("%s: the public key is not PEM of one SPKI key", algorithm)
		}
		half, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha512.Sum512([]byte("message"))
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		if !ecdsa.VerifyASN1(half.(*ecdsa.PublicKey), sum[:], signature) {
			t.Errorf("%s: the public key does not verify what the private key signs", algorithm)
		}
	}
}

func TestGenerateKeySecret(t *testing.T) {
	t.Parallel()
	for algorithm, size := range map[string]int{"HS256": 32, "HS512": 64} {
		one, public, err := livesync.GenerateKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := base64.StdEncoding.DecodeString(one)
		if err != nil || len(secret) != size || public != "" {
			t.Errorf("%s: %d bytes, public %q, %v", algorithm, len(secret), public, err)
		}
		if other, _, _ := livesync.GenerateKey(algorithm); other == one {
			t.Errorf("%s: two keys are the same", algorithm)
		}
	}
}
