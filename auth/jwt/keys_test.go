package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pemOf(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func certificate(key crypto.Signer) []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "expired"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
	return must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
}

// TestPEMForms takes a key in every form that an ini file or an HTTP client may leave it in.
func TestPEMForms(t *testing.T) {
	t.Parallel()
	key := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	s := authtest.NewKeySigner(t, "ES512", "k", key)
	token := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})
	lines := strings.Split(strings.TrimSpace(s.Value), "\n")
	body := strings.Join(lines[1:len(lines)-1], "")
	cert := certificate(key)
	jwk := must(json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: "another", Algorithm: "ES512", Use: "sig"}))
	for what, value := range map[string]string{
		"line ends":                s.Value,
		"CR LF":                    strings.ReplaceAll(s.Value, "\n", "\r\n"),
		"written line ends":        strings.ReplaceAll(s.Value, "\n", `\n`),
		"written twice escaped":    strings.ReplaceAll(s.Value, "\n", `\\n`),
		"blanks before them":       lines[0] + ` \n` + strings.Join(lines[1:len(lines)-1], " ") + ` \n` + lines[len(lines)-1],
		"head and foot alone":      lines[0] + `\n` + body + `\n` + lines[len(lines)-1],
		"on one line":              lines[0] + body + lines[len(lines)-1],
		"tabs and blanks in it":    "  " + lines[0] + "\t" + body[:30] + " \n\t " + body[30:] + " " + lines[len(lines)-1] + "  ",
		"text around it":           "issued by us\n" + s.Value + "until further notice",
		"certificate":              pemOf("CERTIFICATE", cert),
		"certificate, wrong label": strings.ReplaceAll(pemOf("PUBLIC KEY", cert), "\n", `\n`),
		"JWK":                      string(jwk),
		"JWK with blanks":          " \n" + string(jwk) + "\n",
	} {
		keys, bad := jwt.ParseKeys(map[string]string{"ec:k": value})
		if len(bad) > 0 {
			t.Errorf("%s: %v", what, bad)
			continue
		}
		if id, err := newBearer(t, jwt.Options{Keys: keys}).Verify(token); err != nil || id.Name != "anna" {
			t.Errorf("%s: %+v, %v", what, id, err)
		}
	}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 1024))
	rsaToken := authtest.NewKeySigner(t, "RS256", "k", rsaKey).Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})
	keys, bad := jwt.ParseKeys(map[string]string{"rsa:k": strings.ReplaceAll(pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)), "\n", `\n`)})
	if id, err := newBearer(t, jwt.Options{Keys: keys}).Verify(rsaToken); err != nil || id.Name != "anna" {
		t.Errorf("PKCS#1 of 1024 bits: %+v, %v, %v", id, err, bad)
	}
}

// badKey is an entry that cannot be used, and what a token of that algorithm that selects it is told.
type badKey struct {
	what, name, value, reason, alg string
}

func badKeys(t *testing.T) []badKey {
	t.Helper()
	const (
		notValid = "Not a valid key"
		notRSA   = "not an RSA public key"
		notEC    = "not an EC public key"
		notEd    = "not an EdDSA public key"
	)
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki := func(public any) string { return pemOf("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(public))) }
	jwk := func(key any, alg, use string) string {
		return string(must(json.Marshal(jose.JSONWebKey{Key: key, Algorithm: alg, Use: use})))
	}
	huge := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 16383), big.NewInt(1)), E: 65537}
	small := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 511), big.NewInt(1)), E: 65537}
	return []badKey{
		{"not base64", "hmac:bad", "!!!", notValid, "HS256"},
		{"no padding", "hmac:bad", "aGVsbG8", notValid, "HS256"},
		{"other alphabet", "hmac:bad", "_-__", notValid, "HS256"},
		{"empty secret", "hmac:bad", "", notValid, "HS256"},
		{"blank secret", "hmac:bad", "  ", notValid, "HS256"},
		{"empty secret in a JWK", "hmac:bad", `{"kty":"oct","k":""}`, notValid, "HS256"},
		{"public key as a secret", "hmac:bad", spki(ec.Public()), notValid, "HS256"},
		{"public JWK as a secret", "hmac:bad", jwk(ec.Public(), "", ""), notValid, "HS256"},
		{"secret as a JWK for ec", "ec:bad", `{"kty":"oct","k":"aGVsbG8"}`, notEC, "ES256"},
		{"junk", "rsa:bad", "junk", notValid, "RS256"},
		{"empty", "rsa:bad", "", notValid, "RS256"},
		{"EC key for rsa", "rsa:bad", spki(ec.Public()), notRSA, "RS256"},
		{"RSA key for ec", "ec:bad", spki(rsaKey.Public()), notEC, "ES256"},
		{"Ed25519 key for ec", "ec:bad", spki(edPublic), notEC, "ES256"},
		{"EC key for eddsa", "eddsa:bad", spki(ec.Public()), notEd, "EdDSA"},
		{"P-224", "ec:bad", spki(p224.Public()), notValid, "ES256"},
		{"RSA of 512 bits", "rsa:bad", spki(small), notValid, "RS256"},
		{"RSA of 16384 bits", "rsa:bad", spki(huge), notValid, "RS256"},
		{"private key", "ec:bad", pemOf("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ec))), notValid, "ES256"},
		{"private key, PKCS#8", "rsa:bad", pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(rsaKey))), notValid, "RS256"},
		{"private JWK", "ec:bad", jwk(ec, "", ""), notValid, "ES256"},
		{"two keys", "ec:bad", spki(ec.Public()) + spki(ec.Public()), notValid, "ES256"},
		{"no last line", "ec:bad", "-----BEGIN PUBLIC KEY-----\nMFkw", notValid, "ES256"},
		{"half a first line", "ec:bad", "-----BEGIN PUBLIC KEY", notValid, "ES256"},
		{"another last line", "ec:bad", strings.Replace(spki(ec.Public()), "END PUBLIC", "END RSA PUBLIC", 1), notValid, "ES256"},
		{"body not base64", "ec:bad", strings.Replace(spki(ec.Public()), "MFkw", "M*kw", 1), notValid, "ES256"},
		{"body cut", "ec:bad", strings.Replace(spki(ec.Public()), "MFkw", "", 1), notValid, "ES256"},
		{"no certificate", "ec:bad", strings.ReplaceAll(spki(ec.Public()), "PUBLIC KEY", "CERTIFICATE"), notValid, "ES256"},
		{"no PKCS#1", "rsa:bad", strings.ReplaceAll(spki(rsaKey.Public()), "PUBLIC KEY", "RSA PUBLIC KEY"), notValid, "RS256"},
		{"certificate request", "ec:bad", strings.ReplaceAll(spki(ec.Public()), "PUBLIC KEY", "CERTIFICATE REQUEST"), notValid, "ES256"},
		{"JWK cut", "ec:bad", jwk(ec.Public(), "", "")[:40], notValid, "ES256"},
		{"JWK with a member twice", "ec:bad", `{"kty":"oct",` + jwk(ec.Public(), "", "")[1:], notValid, "ES256"},
		{"JWK of an unknown kind", "ec:bad", `{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`, notValid, "ES256"},
		{"JWK for encryption", "ec:bad", jwk(ec.Public(), "", "enc"), notValid, "ES256"},
		{"JWK for another algorithm's curve", "ec:bad", jwk(ec.Public(), "ES384", "sig"), notValid, "ES256"},
		{"JWK for another family", "ec:bad", jwk(ec.Public(), "HS256", "sig"), notEC, "ES256"},
	}
}

// TestBadKeys: each is reported, tells a token that selects it so, and leaves the good key beside it alone.
func TestBadKeys(t *testing.T) {
	t.Parallel()
	good := authtest.NewSigner(t, "HS256", "good")
	for _, tt := range badKeys(t) {
		keys, bad := jwt.ParseKeys(map[string]string{tt.name: tt.value, good.Name: good.Value})
		if len(bad) != 1 || bad[tt.name] == nil || keys.Len() != 2 {
			t.Errorf("%s: %d keys, bad: %v", tt.what, keys.Len(), bad)
			continue
		}
		if text := bad[tt.name].Error(); len(tt.value) > 3 && strings.Contains(text, tt.value[:4]) && !strings.HasPrefix(tt.value, "-----") {
			t.Errorf("%s: the error shows the value: %s", tt.what, text)
		}
		b := newBearer(t, jwt.Options{Keys: keys})
		head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + tt.alg + `","kid":"bad"}`))
		claims := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"anna","exp":4102444800}`))
		_, err := b.Verify(head + "." + claims + ".c2ln")
		wantRefusal(t, tt.what, err, 400, tt.reason)
		if _, err := b.Verify(good.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})); err != nil {
			t.Errorf("%s: the good key beside it: %v", tt.what, err)
		}
	}
	for _, name := range []string{"", "k", "oct:k", "HMAC:k", " hmac:k", "rsa", "ec-k"} {
		if _, bad := jwt.ParseKeys(map[string]string{name: good.Value}); bad[name] == nil {
			t.Errorf("a key named %q is taken", name)
		}
	}
}

// TestJWKIsForItsAlgorithmAlone: a JWK that says RS256 verifies no PS256 token of the same key.
func TestJWKIsForItsAlgorithmAlone(t *testing.T) {
	t.Parallel()
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	value := string(must(json.Marshal(jose.JSONWebKey{Key: key.Public(), Algorithm: "RS256"})))
	keys, bad := jwt.ParseKeys(map[string]string{"rsa:k": value})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	b := newBearer(t, jwt.Options{Keys: keys})
	claims := map[string]any{"sub": "anna", "exp": now + 60}
	if _, err := b.Verify(authtest.NewKeySigner(t, "RS256", "k", key).Token(t, nil, claims)); err != nil {
		t.Errorf("RS256: %v", err)
	}
	_, err := b.Verify(authtest.NewKeySigner(t, "PS256", "k", key).Token(t, nil, claims))
	wantRefusal(t, "PS256", err, 400, "Key is not for this alg")
}

// TestShortSecret: CouchDB's documentation uses "hello", and so do deployments.
func TestShortSecret(t *testing.T) {
	t.Parallel()
	s := authtest.NewHMACSigner(t, "HS256", "", []byte("hello"))
	if s.Value != "aGVsbG8=" {
		t.Fatal(s.Value)
	}
	if _, err := newBearer(t, jwt.Options{}, s).Verify(s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})); err != nil {
		t.Error(err)
	}
	keys, bad := jwt.ParseKeys(map[string]string{"hmac:_default": " aGVs\tbG8= "})
	if _, err := newBearer(t, jwt.Options{Keys: keys}).Verify(s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})); err != nil {
		t.Error(err, bad)
	}
}
