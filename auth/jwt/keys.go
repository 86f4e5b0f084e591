package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Bounds on the RSA keys that are taken, in bits: a smaller one is broken, a larger one costs too much to use for strangers' tokens.
const (
	minRSA = 1024
	maxRSA = 8192
)

// Keys is an immutable set of verification keys. A nil *Keys is an empty one.
type Keys struct {
	byName map[string]*key
}

// key is an entry that was read, or why it was not.
type key struct {
	name   string // "rsa:kid"
	alg    string // the only algorithm that it is for, from a JWK; "": any of its family
	public any    // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	bad    string // what a token that selects an unusable entry is told; "" for a usable one
}

// errOtherKind is a key that can be read but is not of the family that its name says.
var errOtherKind = errors.New("the value is a key of another kind than its name says")

// ParseKeys reads the entries of the configuration's [jwt_keys]. A name is "hmac:", "rsa:", "ec:" or "eddsa:" and a key id, which a token's kid
// selects; "_default" is for tokens without one. A value is
//
//   - for hmac, the secret in padded standard base64;
//   - for the others, one PEM block: a public key (SPKI or PKCS#1) or a certificate, whose dates do not count. It may be broken
//     into lines by line ends, blanks, or the two characters "\n";
//   - for all, a JWK (RFC 7517). Its alg, if any, is the only one that the key is then for; its kid does not count.
//
// A bad entry is reported under its name, in words fit for an operator that show nothing of the value. It stays in the set so that tokens that select it
// are told "Not a valid key"; the others are not affected.
func ParseKeys(entries map[string]string) (*Keys, map[string]error) {
	keys := &Keys{byName: make(map[string]*key, len(entries))}
	bad := make(map[string]error)
	for name, value := range entries {
		k, err := parseKey(name, value)
		if err != nil {
			bad[name] = err
			k = &key{name: name, bad: badKeyReason(name, err)}
		}
		keys.byName[name] = k
	}
	return keys, bad
}

// Len is the number of entries, unusable ones included.
func (k *Keys) Len() int {
	if k == nil {
		return 0
	}
	return len(k.byName)
}

func (k *Keys) lookup(name string) *key {
	if k == nil {
		return nil
	}
	return k.byName[name]
}

// badKeyReason is what CouchDB says to a token that selects such an entry.
func badKeyReason(name string, err error) string {
	if !errors.Is(err, errOtherKind) {
		return "Not a valid key"
	}
	switch prefix, _, _ := strings.Cut(name, ":"); family(prefix) {
	case familyRSA:
		return "not an RSA public key"
	case familyEC:
		return "not an EC public key"
	case familyEdDSA:
		return "not an EdDSA public key"
	default:
		return "Not a valid key"
	}
}

func parseKey(name, value string) (*key, error) {
	prefix, _, found := strings.Cut(name, ":")
	f := family(prefix)
	if !found || (f != familyHMAC && f != familyRSA && f != familyEC && f != familyEdDSA) {
		return nil, errors.New(`the name must be "hmac:", "rsa:", "ec:" or "eddsa:" and a key id`)
	}
	k := &key{name: name}
	var err error
	switch trimmed := strings.TrimSpace(value); {
	case strings.HasPrefix(trimmed, "{"):
		k.public, k.alg, err = parseJWK(trimmed)
	case f == familyHMAC:
		k.public, err = parseSecret(trimmed)
	default:
		k.public, err = parsePEM(trimmed)
	}
	if err != nil {
		return nil, err
	}
	return k, k.check(f)
}

// parseSecret reads base64; blanks in it do not count, as in CouchDB.
func parseSecret(text string) ([]byte, error) {
	secret, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("the value is not base64 (RFC 4648 §4, with its padding)")
	}
	return secret, nil
}

// check holds a key against the family that its name says.
func (k *key) check(f family) error {
	if a, known := algorithms[k.alg]; k.alg != "" && (!known || a.family != f) {
		return fmt.Errorf("%w: its alg is not one for %s keys", errOtherKind, f)
	}
	switch public := k.public.(type) {
	case []byte:
		if f != familyHMAC {
			return errOtherKind
		}
		if len(public) == 0 {
			return errors.New("the secret is empty")
		}
	case *rsa.PublicKey:
		if f != familyRSA {
			return errOtherKind
		}
		if n := public.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("the RSA key has %d bits; from %d to %d are taken", n, minRSA, maxRSA)
		}
	case *ecdsa.PublicKey:
		if f != familyEC {
			return errOtherKind
		}
		if c := public.Curve; c != elliptic.P256() && c != elliptic.P384() && c != elliptic.P521() {
			return errors.New("the curve is not P-256, P-384 or P-521")
		}
		if a := algorithms[k.alg]; k.alg != "" && a.curve != public.Curve {
			return errors.New("the curve is not the one of its alg")
		}
	case ed25519.PublicKey:
		if f != familyEdDSA {
			return errOtherKind
		}
	default:
		return errors.New("the key is of a kind that tokens are not signed with")
	}
	return nil
}
