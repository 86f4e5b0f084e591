package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

// assertionLife is how long an assertion is good for: it goes out at once.
const assertionLife = time.Minute

// assertions mint what authenticates a client with its key: private_key_jwt (OpenID Connect Core §9, RFC 7523 §2.2). The nil *assertions mints none.
type assertions struct{ signer jose.Signer }

// newAssertions reads a private key in PEM. No error shows any of it.
func newAssertions(text string) (*assertions, error) {
	key, err := parsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	var alg jose.SignatureAlgorithm
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < 2048 {
			return nil, fmt.Errorf("an RSA key of %d bits is too short, 2048 are the least", key.N.BitLen())
		}
		alg = jose.RS256
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("the key's curve is %s, only P-256 is taken", key.Curve.Params().Name)
		}
		alg = jose.ES256
	case ed25519.PrivateKey:
		alg = jose.EdDSA
	default:
		return nil, errors.New("the key is neither RSA nor P-256 nor Ed25519")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, errors.New("the key cannot sign")
	}
	return &assertions{signer}, nil
}

// pemBlock is one PEM block, whose lines a settings file may have joined.
var pemBlock = regexp.MustCompile(`^\s*-----BEGIN ([A-Z ]{1,40})-----([A-Za-z0-9+/=\s]+)-----END ([A-Z ]{1,40})-----\s*$`)

func parsePrivateKey(text string) (crypto.PrivateKey, error) {
	match := pemBlock.FindStringSubmatch(strings.ReplaceAll(text, `\n`, "\n"))
	if match == nil || match[1] != match[3] {
		return nil, errors.New("not one PEM block (-----BEGIN PRIVATE KEY-----)")
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(match[2]), ""))
	if err != nil {
		return nil, errors.New("the PEM block's body is not base64")
	}
	var key crypto.PrivateKey
	switch match[1] {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(der)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	default:
		return nil, fmt.Errorf("a PEM block of type %s is no private key that can be read", match[1])
	}
	if err != nil {
		return nil, errors.New("the PEM block holds no private key that can be read")
	}
	return key, nil
}

// parameters are those of a request to a token endpoint; none for nil.
func (a *assertions) parameters(clientID, endpoint string, now time.Time) (url.Values, error) {
	if a == nil {
		return nil, nil
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}{clientID, clientID, endpoint, rand.Text(), now.Unix(), now.Add(assertionLife).Unix()})
	if err != nil {
		return nil, err
	}
	signed, err := a.signer.Sign(claims)
	if err != nil {
		return nil, fmt.Errorf("client assertion: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return nil, fmt.Errorf("client assertion: %w", err)
	}
	return url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {text},
	}, nil
}
