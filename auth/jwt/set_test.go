package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/parlordb/parlor/auth/jwt"
)

// jwk is a public key as it stands in a set; members replace its own, nil ones go.
func jwk(t testing.TB, key any, kid string, members map[string]any) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid})
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	for name, value := range members {
		if o[name] = value; value == nil {
			delete(o, name)
		}
	}
	if text, err = json.Marshal(o); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func setOf(t testing.TB, keys ...string) (*jwt.Set, []error) {
	t.Helper()
	set, skipped, err := jwt.ParseSet([]byte(`{"keys":[` + strings.Join(keys, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return set, skipped
}

// TestSetMembersByThemselves: each member that cannot be used is left out, and says why without its value; the good one beside it stays.
func TestSetMembersByThemselves(t *testing.T) {
	t.Parallel()
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	good := jwk(t, ec.Public(), "good", nil)
	for what, member := range map[string]string{
		"no object":             `"key"`,
		"null":                  `null`,
		"empty":                 `{}`,
		"duplicate members":     strings.Replace(good, `"kid"`, `"kid":"other","kid"`, 1),
		"duplicate in depth":    strings.Replace(good, `"kid"`, `"x":{"a":1,"a":2},"kid"`, 1),
		"private":               jwk(t, ec, "k", nil),
		"private RSA":           jwk(t, small, "k", nil),
		"symmetric":             `{"kty":"oct","kid":"k","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2Vj"}`,
		"for encryption":        jwk(t, ec.Public(), "k", map[string]any{"use": "enc"}),
		"use is no string":      jwk(t, ec.Public(), "k", map[string]any{"use": 1}),
		"not for verifying":     jwk(t, ec.Public(), "k", map[string]any{"key_ops": []string{"sign"}}),
		"no operation":          jwk(t, ec.Public(), "k", map[string]any{"key_ops": []string{}}),
		"alg of encryption":     jwk(t, ec.Public(), "k", map[string]any{"alg": "ECDH-ES"}),
		"alg of another kind":   jwk(t, ec.Public(), "k", map[string]any{"alg": "RS256"}),
		"alg of another curve":  jwk(t, ec.Public(), "k", map[string]any{"alg": "ES384"}),
		"alg HS256":             jwk(t, ec.Public(), "k", map[string]any{"alg": "HS256"}),
		"alg none":              jwk(t, ec.Public(), "k", map[string]any{"alg": "none"}),
		"small RSA":             jwk(t, small.Public(), "k", nil),
		"curve of another key":  jwk(t, ec.Public(), "k", map[string]any{"crv": "P-384"}),
		"unknown curve":         jwk(t, ec.Public(), "k", map[string]any{"crv": "secp256k1"}),
		"X25519":                `{"kty":"OKP","crv":"X25519","kid":"k","x":"hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"}`,
		"post-quantum":          `{"kty":"AKP","alg":"ML-DSA-44","kid":"k","pub":"AAAA"}`,
		"not on the curve":      jwk(t, ec.Public(), "k", map[string]any{"x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
		"kid is a number":       jwk(t, ec.Public(), "k", map[string]any{"kid": 1}),
		"broken certificate":    jwk(t, ec.Public(), "k", map[string]any{"x5c": []string{"MIIB"}}),
		"a member in its depth": `{"kty":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		set, skipped := setOf(t, member, good)
		if set.Len() != 1 || len(skipped) != 1 || !set.Has("good") || set.Has("k") {
			t.Errorf("%s: %d keys, %v", what, set.Len(), skipped)
			continue
		}
		if text := skipped[0].Error(); !strings.HasPrefix(text, "key 1: ") || strings.Contains(text, "c2Vj") || strings.Contains(text, "AAAA") {
			t.Errorf("%s: %s", what, text)
		}
	}
}

func TestSetRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "garbage", "null", "[]", "{}", `{"keys":null}`, `{"keys":{}}`, `{"keys":[}`, `{"keys":[]} x`, `{"Keys":[]}`, `{"keys":[` + strings.Repeat("{},", 100) + `{}]}`} {
		if set, _, err := jwt.ParseSet([]byte(text)); err == nil || set != nil {
			t.Errorf("%.20q is taken", text)
		}
	}
	if set, skipped, err := jwt.ParseSet([]byte(`{"keys":[]}`)); err != nil || set.Len() != 0 || skipped != nil {
		t.Errorf("an empty set: %v", err)
	}
}

// TestSetCandidates: a key serves the algorithms of its kind and curve, or its own alone.
func TestSetCandidates(t *testing.T) {
	t.Parallel()
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	p256, p521 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	verify := map[string]any{"use": "sig", "key_ops": []string{"verify", "sign"}}
	set, skipped := setOf(t,
		jwk(t, rsaKey.Public(), "r", verify), jwk(t, rsaKey.Public(), "pinned", map[string]any{"alg": "PS256"}),
		jwk(t, p256.Public(), "e", nil), jwk(t, p521.Public(), "e", nil), jwk(t, edPublic, "", map[string]any{"alg": "EdDSA"}),
	)
	if len(skipped) > 0 {
		t.Fatal(skipped)
	}
	for _, tt := range []struct {
		alg, kid string
		want     []any
	}{
		{"RS256", "r", []any{rsaKey.Public()}}, {"PS512", "r", []any{rsaKey.Public()}},
		{"PS256", "pinned", []any{rsaKey.Public()}}, {"RS256", "pinned", nil}, {"PS384", "pinned", nil},
		{"ES256", "e", []any{p256.Public()}}, {"ES512", "e", []any{p521.Public()}}, {"ES384", "e", nil}, {"ES256", "r", nil}, {"RS256", "e", nil},
		{"EdDSA", "", []any{edPublic}}, {"ES256", "", []any{p256.Public()}}, {"PS256", "", []any{rsaKey.Public(), rsaKey.Public()}},
		{"HS256", "r", nil}, {"HS256", "", nil}, {"none", "r", nil}, {"", "", nil}, {"RS256", "R", nil}, {"RS256", "r ", nil},
	} {
		got, err := set.Candidates(t.Context(), tt.alg, tt.kid)
		same := err == nil && len(got) == len(tt.want)
		for i := range got {
			same = same && got[i].(interface{ Equal(crypto.PublicKey) bool }).Equal(tt.want[i])
		}
		if !same {
			t.Errorf("%s %q: %d keys, %v, want %d", tt.alg, tt.kid, len(got), err, len(tt.want))
		}
	}
}

// FuzzSet: whatever is read, each candidate is a public key, and one that the algorithm is for.
func FuzzSet(f *testing.F) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	good := jwk(f, key.Public(), "k", nil)
	for _, seed := range []string{good, jwk(f, key, "k", nil), `{"kty":"oct","k":"AAAA"}`, good + "," + good, good[:40], `{"kty":"RSA","n":"AQAB","e":"AQAB"}`} {
		f.Add(`{"keys":[` + seed + `]}`)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, _, err := jwt.ParseSet([]byte(text))
		if err != nil {
			return
		}
		total := 0
		for _, alg := range append(jwt.SigningAlgorithms(), "HS256", "none") {
			keys, err := set.Candidates(t.Context(), alg, "")
			if err != nil {
				t.Fatal(err)
			}
			total += len(keys)
			for _, k := range keys {
				kind := fmt.Sprintf("%T", k)
				if want := map[byte]string{'R': "*rsa.PublicKey", 'P': "*rsa.PublicKey", 'E': "*ecdsa.PublicKey"}[alg[0]]; kind != want && (alg != "EdDSA" || kind != "ed25519.PublicKey") {
					t.Fatalf("%s may be checked with a %s", alg, kind)
				}
			}
		}
		if total < set.Len() {
			t.Fatalf("%d keys serve %d algorithms", set.Len(), total)
		}
	})
}
