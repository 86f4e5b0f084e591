package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"

	gojwt "github.com/golang-jwt/jwt/v5"
)

// family is what the name of a key begins with. It decides which algorithms may use the key, whatever a token says.
type family string

const (
	familyHMAC  family = "hmac"
	familyRSA   family = "rsa"
	familyEC    family = "ec"
	familyEdDSA family = "eddsa"
)

type algorithm struct {
	family   family
	method   gojwt.SigningMethod
	curve    elliptic.Curve // the only one that an ES algorithm takes
	mismatch string         // CouchDB's words for a signature that is wrong
}

const (
	badHMAC      = "Bad HMAC in authentication token"
	badSignature = "Bad signature in authentication token"
)

// algorithms are all that a token's alg may name. "none" is not among them.
var algorithms = map[string]algorithm{
	"HS256": {familyHMAC, gojwt.SigningMethodHS256, nil, badHMAC},
	"HS384": {familyHMAC, gojwt.SigningMethodHS384, nil, badHMAC},
	"HS512": {familyHMAC, gojwt.SigningMethodHS512, nil, badHMAC},
	"RS256": {familyRSA, gojwt.SigningMethodRS256, nil, badSignature},
	"RS384": {familyRSA, gojwt.SigningMethodRS384, nil, badSignature},
	"RS512": {familyRSA, gojwt.SigningMethodRS512, nil, badSignature},
	"PS256": {familyRSA, gojwt.SigningMethodPS256, nil, badSignature},
	"PS384": {familyRSA, gojwt.SigningMethodPS384, nil, badSignature},
	"PS512": {familyRSA, gojwt.SigningMethodPS512, nil, badSignature},
	"ES256": {familyEC, gojwt.SigningMethodES256, elliptic.P256(), badSignature},
	"ES384": {familyEC, gojwt.SigningMethodES384, elliptic.P384(), badSignature},
	"ES512": {familyEC, gojwt.SigningMethodES512, elliptic.P521(), badSignature},
	"EdDSA": {familyEdDSA, gojwt.SigningMethodEdDSA, nil, badSignature},
}

// takes reports whether a key is of the kind that the algorithm is for: no public key is a secret, and a curve has one ES algorithm.
func (a *algorithm) takes(key any) bool {
	switch key := key.(type) {
	case []byte:
		return a.family == familyHMAC
	case *rsa.PublicKey:
		return a.family == familyRSA
	case *ecdsa.PublicKey:
		return a.family == familyEC && key.Curve == a.curve
	case ed25519.PublicKey:
		return a.family == familyEdDSA
	}
	return false
}
