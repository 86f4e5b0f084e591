package jwt

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxSet bounds the members of a JWK Set. Providers have two or three, the largest about twenty.
	maxSet = 100
	// minSetRSA is the least size of a provider's RSA key, in bits (RFC 7518 §3.3). Keys that an operator writes down may be older: see minRSA.
	minSetRSA = 2048
)

var _ KeySource = (*Set)(nil)

// Set is a JWK Set (RFC 7517 §5): the public keys of one issuer. It is immutable.
type Set struct {
	keys []setKey
}

// setKey is a member that can be used.
type setKey struct {
	kid    string // "" for one without
	alg    string // the only algorithm that it is for; "": all that fit
	public any
}

// ParseSet reads a JWK Set. Each member is read by itself: one that cannot be used (of another kind or use, private or symmetric, too small, broken) is left
// out and reported in skipped by its place, in words that show nothing of it. ParseSet fails for what is no set, and for more than a hundred members.
func ParseSet(data []byte) (set *Set, skipped []error, err error) {
	var document struct {
		Keys []jsontext.Value `json:"keys"`
	}
	// A member that has a name twice is refused below, for itself alone.
	if err := jsonv2.Unmarshal(data, &document, jsontext.AllowDuplicateNames(true)); err != nil || document.Keys == nil {
		return nil, nil, errors.New(`no JSON object with an array "keys"`) // the library's words would quote it
	}
	if len(document.Keys) > maxSet {
		return nil, nil, fmt.Errorf("%d keys; at most %d are taken", len(document.Keys), maxSet)
	}
	set = new(Set)
	for i, member := range document.Keys {
		k, err := parseSetKey(member)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		set.keys = append(set.keys, k)
	}
	return set, skipped, nil
}

// Len is the number of keys that can be used.
func (s *Set) Len() int { return len(s.keys) }

func parseSetKey(text jsontext.Value) (setKey, error) {
	o, err := parseObject(text)
	if err != nil {
		return setKey{}, errors.New("no JSON object without duplicate members")
	}
	if v := o.get("use"); v != nil && string(v) != `"sig"` {
		return setKey{}, errors.New(`its use is not "sig"`)
	}
	if v := o.get("key_ops"); v != nil && !oneOf(v, []string{"verify"}, true) {
		return setKey{}, errors.New(`its key_ops do not hold "verify"`)
	}
	if o.get("d") != nil || o.get("k") != nil {
		return setKey{}, errors.New("it is private or symmetric")
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(text, &jwk); err != nil {
		return setKey{}, errors.New("it cannot be read, or is of a kind that tokens are not signed with")
	}
	k := setKey{kid: jwk.KeyID, alg: jwk.Algorithm, public: jwk.Key}
	if public, ok := k.public.(*rsa.PublicKey); ok {
		if n := public.N.BitLen(); n < minSetRSA || n > maxRSA {
			return setKey{}, fmt.Errorf("the RSA key has %d bits; from %d to %d are taken", n, minSetRSA, maxRSA)
		}
	}
	if !slices.ContainsFunc(SigningAlgorithms(), k.fits) {
		return setKey{}, errors.New("no algorithm goes with its kind, its curve and its alg")
	}
	return k, nil
}

// fits reports whether a key may have made a signature of an algorithm.
func (k setKey) fits(alg string) bool {
	a, ok := algorithms[alg]
	return ok && (k.alg == "" || k.alg == alg) && a.takes(k.public)
}

// Candidates implements KeySource. It never fails.
func (s *Set) Candidates(_ context.Context, alg, kid string) ([]any, error) {
	var found []any
	for i := range s.keys {
		if k := &s.keys[i]; (kid == "" || k.kid == kid) && k.fits(alg) {
			found = append(found, k.public)
		}
	}
	return found, nil
}

// Has reports whether a key of the set has that kid, whatever it is for.
func (s *Set) Has(kid string) bool {
	return slices.ContainsFunc(s.keys, func(k setKey) bool { return k.kid == kid })
}
