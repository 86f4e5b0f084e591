package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// keys signs the tokens of the user bench.
type keys struct {
	private *ecdsa.PrivateKey
	public  string // PEM
	bearer  string // the token that is used again and again
	issuer  *issuer
}

func newKeys() (*keys, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	k := &keys{private: private, public: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
	if k.issuer, err = newIssuer(); err != nil {
		return nil, err
	}
	k.bearer = k.mint("again")
	return k, nil
}

// settings is the program's ini file. All that costs time is at its default.
func (k *keys) settings() (string, error) {
	issuer, err := k.issuer.settings()
	return fmt.Sprintf("[couchdb]\nsingle_node = true\n\n[admins]\nadmin = %s\n\n[jwt_keys]\nec:bench = %s\n\n%s",
		adminPassword, strings.ReplaceAll(k.public, "\n", `\n`), issuer), err
}

// mint makes a token with an identifier of its own.
func (k *keys) mint(id string) string {
	return sign(k.private, `{"alg":"ES256","typ":"JWT","kid":"bench"}`, fmt.Sprintf(`{"sub":"bench","exp":%d,"jti":%q}`, time.Now().Add(time.Hour).Unix(), id))
}

// sign makes a bearer token with ES256 or RS256, as the key is.
func sign(private crypto.Signer, header, claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(header)) + "." + part([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	var err error
	switch key := private.(type) {
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, key, sum[:]); err == nil {
			signature = make([]byte, 64)
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
		}
	default:
		signature, err = private.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	if err != nil {
		panic(err) // a fresh key and a hash of the right size
	}
	return "Bearer " + text + "." + part(signature)
}
