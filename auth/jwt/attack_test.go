package jwt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

const (
	badAlg    = "Invalid alg header parameter"
	badMAC    = "Bad HMAC in authentication token"
	badSig    = "Bad signature in authentication token"
	unknown   = "Unknown kid"
	rootClaim = `{"sub":"root","exp":4102444800,"_couchdb.roles":["_admin"]}`
)

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// TestNoneIsNoAlgorithm tries every case of its letters, what trims and escapes to it, and each of those with no signature, an empty one and a right one.
func TestNoneIsNoAlgorithm(t *testing.T) {
	t.Parallel()
	s := authtest.NewHMACSigner(t, "HS256", "", []byte("secret"))
	b := newBearer(t, jwt.Options{}, s)
	spellings := []string{`"none "`, `" none"`, `"none\u0000"`, `"\u006eone"`, `"\u006e\u006f\u006e\u0065"`, `"n\u006fne\n"`, `"n0ne"`, `"NULL"`, `""`, `" "`, `null`, `false`, `0`, `[]`, `["none"]`, `{}`, `"ｎone"`, `"no\u0301ne"`}
	for i := range 16 {
		letters := []byte("none")
		for j := range letters {
			if i&(1<<j) != 0 {
				letters[j] -= 'a' - 'A'
			}
		}
		spellings = append(spellings, `"`+string(letters)+`"`)
	}
	for _, alg := range spellings {
		head := `{"typ":"JWT","alg":` + alg + `}`
		unsigned := encode(head) + "." + encode(rootClaim)
		for what, token := range map[string]string{"empty": unsigned + ".", "AA": unsigned + ".AA", "a right HMAC": s.Sign(t, head, rootClaim)} {
			_, err := b.Verify(token)
			wantRefusal(t, "alg "+alg+", signature "+what, err, 400, badAlg)
		}
		_, err := b.Verify(unsigned)
		wantRefusal(t, "alg "+alg+" in two parts", err, 400, malformed)
	}
}

// TestKeyOfAnotherAlgorithm has each algorithm's signature presented as each other's, made with the very key that the server holds.
func TestKeyOfAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	algs := []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	for _, made := range algs {
		t.Run(made, func(t *testing.T) {
			t.Parallel()
			var s *authtest.Signer
			if made[0] == 'R' || made[0] == 'P' {
				s = authtest.NewKeySigner(t, made, "k", rsaKey) // one for all, for they take long to make
			} else {
				s = authtest.NewSigner(t, made, "k")
			}
			b := newBearer(t, jwt.Options{}, s)
			for _, claimed := range algs {
				if claimed == made {
					continue
				}
				_, err := b.Verify(s.Sign(t, `{"alg":"`+claimed+`","kid":"k"}`, rootClaim))
				reason := unknown // a key is looked up under the family that alg is of
				switch {
				case made[:2] == "HS" && claimed[:2] == "HS":
					reason = badMAC
				case made[:2] == "ES" && claimed[:2] == "ES":
					reason = "Key is not for this alg"
				case strings.Contains("RS PS", made[:2]) && strings.Contains("RS PS", claimed[:2]):
					reason = badSig
				}
				wantRefusal(t, made+" presented as "+claimed, err, 400, reason)
			}
		})
	}
}

// TestPublicKeyIsNoSecret goes on from TestAlgorithmConfusion: with an HMAC key of the same id in the set it is that one which counts, in
// whatever form the public key was used as a secret.
func TestPublicKeyIsNoSecret(t *testing.T) {
	t.Parallel()
	hmac, rsaSigner, ec := authtest.NewSigner(t, "HS256", "k"), authtest.NewSigner(t, "RS256", "k"), authtest.NewSigner(t, "ES256", "k")
	b := newBearer(t, jwt.Options{}, hmac, rsaSigner, ec)
	for _, s := range []*authtest.Signer{rsaSigner, ec} {
		lines := strings.Split(strings.TrimSpace(s.Value), "\n")
		body := strings.Join(lines[1:len(lines)-1], "")
		der := must(base64.StdEncoding.DecodeString(body))
		for what, secret := range map[string]string{"PEM": s.Value, "PEM, trimmed": strings.TrimSpace(s.Value), "CR LF": strings.ReplaceAll(s.Value, "\n", "\r\n"), "body": body, "DER": string(der), "empty": "", "its name": s.Name} {
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				_, err := b.Verify(authtest.NewHMACSigner(t, alg, "k", []byte(secret)).Sign(t, `{"alg":"`+alg+`","kid":"k"}`, rootClaim))
				wantRefusal(t, alg+" with "+what+" of "+s.Name, err, 400, badMAC)
			}
		}
	}
}

// TestHostileKid: a kid is compared with names, and nothing else is ever done with it.
func TestHostileKid(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{}, s)
	for _, kid := range []string{
		"/dev/null", "/etc/passwd", "../../../../dev/null", `..\..\windows\win.ini`, "file:///dev/null", "http://127.0.0.1:1/k", "./k", "k/", "k/.", "%6b", "k%00",
		"k' OR '1'='1", "' UNION SELECT 'c2VjcmV0' --", "k; DROP TABLE keys", "$(id)", "`id`", "|id", "{{k}}", "${k}", "k\u0000", "\u0000", "k\n", "\rk", "\u001b[2J", "k\u007f",
		"k\u200b", "\ufeffk", "k\u0301", "ｋ", "K", " k", "k ", "hmac:k", ":k", "k:", "*", ".*", "_default", "__proto__", "constructor", "k\",\"alg\":\"none",
		strings.Repeat("k", 256), strings.Repeat("../", 5000),
	} {
		head, err := json.Marshal(map[string]string{"alg": "HS256", "kid": kid})
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Verify(s.Sign(t, string(head), rootClaim))
		wantRefusal(t, fmt.Sprintf("kid %.40q", kid), err, 400, unknown)
	}
	for _, raw := range []string{"\"k\n\"", "\"k\x00\"", "\"k\x1f\"", "\"\xc0\xaf\"", `"\ud800"`} { // no JSON (RFC 8259 §7 and 8.1)
		_, err := b.Verify(s.Sign(t, `{"alg":"HS256","kid":`+raw+`}`, rootClaim))
		wantRefusal(t, fmt.Sprintf("kid %q", raw), err, 400, malformed)
	}
}

// TestTokenBringsItsOwnKey: the key would fit the signature, and is served where the token says; nobody asks for it.
func TestTokenBringsItsOwnKey(t *testing.T) {
	t.Parallel()
	trusted := authtest.NewSigner(t, "ES256", "k")
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	mallory := authtest.NewKeySigner(t, "ES256", "k", key)
	jwk := jose.JSONWebKey{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}
	var fetched atomic.Int32
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}})
	}))
	defer issuer.Close()
	cert := base64.StdEncoding.EncodeToString(certificate(key))
	known := newBearer(t, jwt.Options{}, trusted)
	empty := newBearer(t, jwt.Options{Keys: new(jwt.Keys)})
	for what, extra := range map[string]map[string]any{
		"jwk":               {"jwk": jwk},
		"jku":               {"jku": issuer.URL},
		"x5u":               {"x5u": issuer.URL},
		"x5c":               {"x5c": []string{cert}},
		"x5t":               {"x5t": "AAAA", "x5t#S256": "AAAA", "x5c": []string{cert}},
		"all":               {"jwk": jwk, "jku": issuer.URL, "x5u": issuer.URL, "x5c": []string{cert}},
		"a kid that is one": {"kid": issuer.URL},
	} {
		token := mallory.Token(t, extra, map[string]any{"sub": "root", "exp": now + 60})
		_, err := known.Verify(token)
		if reason := badSig; extra["kid"] == nil {
			wantRefusal(t, "a token with its own "+what, err, 400, reason)
		} else {
			wantRefusal(t, "a token with its own "+what, err, 400, unknown)
		}
		_, err = empty.Verify(token)
		wantRefusal(t, "without keys, a token with its own "+what, err, 400, unknown)
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// ecdsaParts splits a token of ES256, ES384 or ES512 into what is signed and the two numbers.
func ecdsaParts(t *testing.T, token string) (signed string, r, s *big.Int, size int) {
	t.Helper()
	dot := strings.LastIndexByte(token, '.')
	raw := must(base64.RawURLEncoding.DecodeString(token[dot+1:]))
	size = len(raw) / 2
	return token[:dot], new(big.Int).SetBytes(raw[:size]), new(big.Int).SetBytes(raw[size:]), size
}

// TestECDSASignatureForms: RFC 7518 §3.4 has one form, two numbers from 1 to n-1 of fixed size.
func TestECDSASignatureForms(t *testing.T) {
	t.Parallel()
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		signer := authtest.NewSigner(t, alg, "k")
		b := newBearer(t, jwt.Options{}, signer)
		signed, r, s, size := ecdsaParts(t, signer.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60}))
		n := curve.Params().N
		zero, one := new(big.Int), big.NewInt(1)
		fixed := func(a, b *big.Int) []byte {
			return append(a.FillBytes(make([]byte, size)), b.FillBytes(make([]byte, size))...)
		}
		wide := func(size int) []byte {
			return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
		most := new(big.Int).Sub(new(big.Int).Lsh(one, uint(8*size)), one)
		good := fixed(r, s)
		for what, sig := range map[string][]byte{
			"r zero":           fixed(zero, s),
			"s zero":           fixed(r, zero),
			"both zero":        fixed(zero, zero),
			"r is n":           fixed(n, s),
			"s is n":           fixed(r, n),
			"both n":           fixed(n, n),
			"r above n":        fixed(new(big.Int).Add(n, one), s),
			"s above n":        fixed(r, new(big.Int).Add(n, one)),
			"all bits":         fixed(most, most),
			"r and s swapped":  fixed(s, r),
			"both one":         fixed(one, one),
			"a byte wider":     wide(size + 1),
			"twice as wide":    wide(2 * size),
			"r alone":          good[:size],
			"a byte short":     good[:2*size-1],
			"a byte more":      append(append([]byte{}, good...), 0),
			"a zero in front":  append([]byte{0}, good...),
			"DER":              must(asn1.Marshal(struct{ R, S *big.Int }{r, s})),
			"DER of zeros":     must(asn1.Marshal(struct{ R, S *big.Int }{zero, zero})),
			"DER with a minus": must(asn1.Marshal(struct{ R, S *big.Int }{r, new(big.Int).Neg(s)})),
			"nothing":          {},
		} {
			_, err := b.Verify(signed + "." + base64.RawURLEncoding.EncodeToString(sig))
			wantRefusal(t, alg+", "+what, err, 400, badSig)
		}
		// ECDSA itself takes n-s for s. It says the same of the same claims, so nothing is gained by it.
		id, err := b.Verify(signed + "." + base64.RawURLEncoding.EncodeToString(fixed(r, new(big.Int).Sub(n, s))))
		if err != nil || id.Name != "anna" {
			t.Errorf("%s, n-s: %+v, %v", alg, id, err)
		}
	}
}

// TestSignatureHasOneText: of the texts that a lenient decoder takes for the same bytes only one is a signature, and a token that is remembered does not make the
// others good.
func TestSignatureHasOneText(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{}, s)
	for _, claims := range []string{`{"sub":"anna","exp":4102444800}`, `{"sub":"anna","exp":4102444800,"a":1}`, `{"sub":"anna","exp":4102444800,"a":12}`} {
		token := s.Sign(t, header, claims)
		if _, err := b.Verify(token); err != nil { // remembered from here on
			t.Fatal(err)
		}
		parts := strings.Split(token, ".")
		for i, reason := range []string{malformed, malformed, badMAC} {
			part := parts[i]
			others := map[string]string{
				"padded":        part + "=",
				"padded twice":  part + "==",
				"line end":      part[:8] + "\n" + part[8:],
				"CR LF":         part + "\r\n",
				"blank":         part[:8] + " " + part[8:],
				"percent":       part + "%3D",
				"NUL":           part + "\x00",
				"plus":          part[:8] + "+" + part[9:],
				"slash":         part[:8] + "/" + part[9:],
				"no ASCII":      part[:8] + "é" + part[8:],
				"one letter on": part + "AAAAA"[:1+(4-len(part)%4)%4], // up to a length that base64 cannot have
			}
			if trailing, ok := trailingBits(part); ok {
				others["trailing bits"] = trailing
			}
			for what, text := range others {
				changed := append([]string{}, parts...)
				changed[i] = text
				for range 2 {
					_, err := b.Verify(strings.Join(changed, "."))
					wantRefusal(t, fmt.Sprintf("part %d of %s: %s", i+1, claims, what), err, 400, reason)
				}
			}
		}
		if _, ok := trailingBits(parts[2]); !ok {
			t.Error("a signature of 32 bytes has no bits to spare: nothing was tested")
		}
		if _, err := b.Verify(token); err != nil {
			t.Errorf("the good token, after all of those: %v", err)
		}
	}
}

// trailingBits sets a bit behind the last byte, which a lenient decoder drops. ok is false when the text has none to spare.
func trailingBits(text string) (changed string, ok bool) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(text)%4 == 0 {
		return "", false
	}
	last := len(text) - 1
	return text[:last] + string(alphabet[strings.IndexByte(alphabet, text[last])|1]), true
}

// TestRememberedTokenIsNoOther: parts of tokens that verified, put together anew.
func TestRememberedTokenIsNoOther(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "ES256", "k")
	b := newBearer(t, jwt.Options{}, s)
	const head = `{"alg":"ES256","kid":"k"}`
	anna := s.Sign(t, head, `{"sub":"anna","exp":4102444800}`)
	root := s.Sign(t, head, rootClaim)
	for _, token := range []string{anna, root} {
		if _, err := b.Verify(token); err != nil {
			t.Fatal(err)
		}
	}
	a, r := strings.Split(anna, "."), strings.Split(root, ".")
	for what, token := range map[string]string{
		"root's claims, anna's signature": a[0] + "." + r[1] + "." + a[2],
		"anna's claims, root's signature": a[0] + "." + a[1] + "." + r[2],
		"another header":                  encode(`{"kid":"k","alg":"ES256"}`) + "." + a[1] + "." + a[2],
		"claims written otherwise":        a[0] + "." + encode(`{"exp":4102444800,"sub":"anna"}`) + "." + a[2],
	} {
		for range 2 {
			_, err := b.Verify(token)
			wantRefusal(t, what, err, 400, badSig)
		}
	}
}

// TestSubIsTakenAsItIs: no two of these are one user, and none is anna.
func TestSubIsTakenAsItIs(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{}, s)
	seen := map[string]string{}
	for _, sub := range []string{"Zo\u00eb", "Zoe\u0308", "ZO\u00cb", "anna ", " anna", "Anna", "anna\u0000", "anna\n", "an\u200bna", "ann\u0430", "anna:x", ":anna", "anna\u0000:x", "org.couchdb.user:anna", "../anna", "\ufeffanna"} {
		id, err := b.Verify(s.Token(t, nil, map[string]any{"sub": sub, "exp": now + 60}))
		if err != nil || id.Name != sub || id.Local || id.Admin() {
			t.Errorf("%q: %+v, %v", sub, id, err)
		}
		if other, taken := seen[id.Name]; taken || id.Name == "anna" {
			t.Errorf("%q signs in as %q, as %q does", sub, id.Name, other)
		}
		seen[id.Name] = sub
	}
	for what, claims := range map[string]string{
		"half a surrogate": `{"sub":"anna\ud800","exp":4102444800}`,
		"no UTF-8":         "{\"sub\":\"anna\xff\",\"exp\":4102444800}",
		"a bare NUL":       "{\"sub\":\"anna\x00\",\"exp\":4102444800}",
		"a bare line end":  "{\"sub\":\"anna\n\",\"exp\":4102444800}",
	} {
		_, err := b.Verify(s.Sign(t, header, claims))
		wantRefusal(t, what, err, 400, malformed)
	}
}
