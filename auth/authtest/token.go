package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"testing"

	gojwt "github.com/golang-jwt/jwt/v5"
)

// Signer mints JSON Web Tokens, as an application's own sign-on would.
type Signer struct {
	Alg   string // such as "ES256"
	Kid   string // "": the token's header has none
	Name  string // the key's name in [jwt_keys], such as "ec:phone"
	Value string // the key's value there: what verifies this signer's tokens

	method gojwt.SigningMethod
	key    any
}

// NewSigner makes a key for an algorithm (HS256 to HS512, RS…, PS…, ES…, EdDSA). kid "" is for tokens without one, which the key named _default verifies.
func NewSigner(t testing.TB, alg, kid string) *Signer {
	t.Helper()
	method := gojwt.GetSigningMethod(alg)
	if method == nil {
		t.Fatalf("no algorithm %q", alg)
	}
	var private crypto.Signer
	var err error
	switch m := method.(type) {
	case *gojwt.SigningMethodHMAC:
		secret := make([]byte, 32)
		rand.Read(secret)
		return NewHMACSigner(t, alg, kid, secret)
	case *gojwt.SigningMethodECDSA:
		curves := map[int]elliptic.Curve{256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}
		private, err = ecdsa.GenerateKey(curves[m.CurveBits], rand.Reader)
	case *gojwt.SigningMethodEd25519:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return NewKeySigner(t, alg, kid, private)
}

// NewHMACSigner returns a signer with a secret of the caller's.
func NewHMACSigner(t testing.TB, alg, kid string, secret []byte) *Signer {
	t.Helper()
	return &Signer{
		Alg: alg, Kid: kid, Name: "hmac:" + kidOrDefault(kid), Value: base64.StdEncoding.EncodeToString(secret),
		method: gojwt.GetSigningMethod(alg), key: secret,
	}
}

// NewKeySigner returns a signer with a private key of the caller's. The key need not fit the algorithm's rules, so that
// tokens which must be refused can be made.
func NewKeySigner(t testing.TB, alg, kid string, private crypto.Signer) *Signer {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	prefix := map[byte]string{'R': "rsa:", 'P': "rsa:", 'E': "ec:"}[alg[0]]
	if alg == "EdDSA" {
		prefix = "eddsa:"
	}
	return &Signer{
		Alg: alg, Kid: kid, Name: prefix + kidOrDefault(kid),
		Value:  string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		method: gojwt.GetSigningMethod(alg), key: private,
	}
}

func kidOrDefault(kid string) string {
	if kid == "" {
		return "_default"
	}
	return kid
}

// Public is the public key, for a key set; nil for a shared secret.
func (s *Signer) Public() crypto.PublicKey {
	if private, ok := s.key.(crypto.Signer); ok {
		return private.Public()
	}
	return nil
}

// Token mints a token. header is added to alg, typ and kid; it may be nil.
func (s *Signer) Token(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	token, err := s.token(header, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// token is Token where there is no test to fail.
func (s *Signer) token(header, claims map[string]any) (string, error) {
	h := map[string]any{"alg": s.Alg, "typ": "JWT"}
	if s.Kid != "" {
		h["kid"] = s.Kid
	}
	maps.Copy(h, header)
	head, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return s.sign(string(head), string(payload))
}

// Sign mints a token of two texts, which need not be JSON: what a hostile issuer could write.
func (s *Signer) Sign(t testing.TB, header, claims string) string {
	t.Helper()
	token, err := s.sign(header, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (s *Signer) sign(header, claims string) (string, error) {
	signing := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := s.method.Sign(signing, s.key)
	if err != nil {
		return "", err
	}
	return signing + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
