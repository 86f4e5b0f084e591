package jwt_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

// now is what authtest.NewClock shows.
const (
	now    = 1795280400
	header = `{"alg":"HS256","kid":"k"}`
)

// newBearer takes the tokens of these signers at the time now.
func newBearer(t testing.TB, o jwt.Options, signers ...*authtest.Signer) *jwt.Bearer {
	t.Helper()
	entries := make(map[string]string)
	for _, s := range signers {
		entries[s.Name] = s.Value
	}
	if o.Keys == nil {
		keys, bad := jwt.ParseKeys(entries)
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		o.Keys = keys
	}
	if o.Now == nil {
		o.Now = authtest.NewClock().Now
	}
	b, err := jwt.NewBearer(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func claimsOf(t testing.TB, text string) jwt.Claims {
	t.Helper()
	c, err := jwt.ParseClaims(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantRefusal(t testing.TB, what string, err error, status int, reason string) {
	t.Helper()
	refusal, ok := err.(*auth.Refusal)
	if !ok || refusal.Status != status || refusal.Reason != reason {
		t.Errorf("%s: %v, want %d %q", what, err, status, reason)
		return
	}
	kind := map[int]string{400: "bad_request", 401: "unauthorized", 404: "not_found"}[status]
	challenge := `Bearer error="invalid_token", error_description="` + reason + `"`
	if refusal.Kind != kind || refusal.Header.Get("WWW-Authenticate") != challenge {
		t.Errorf("%s: %s %v", what, refusal.Kind, refusal.Header)
	}
}

func bearing(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func TestContract(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "ES256", "phone")
	other := authtest.NewSigner(t, "ES256", "phone")
	good := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})
	authtest.TestMethod(t, authtest.MethodCase{
		Method: newBearer(t, jwt.Options{}, s),
		Good:   bearing(good),
		Name:   "anna",
		Bad: map[string]func(*http.Request){
			"another's key": bearing(other.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})),
			"junk":          bearing("x"),
			"empty":         bearing(""),
			"two headers": func(r *http.Request) {
				r.Header["Authorization"] = []string{"Bearer " + good, "Bearer " + good}
			},
		},
		Others: map[string]func(*http.Request){
			"lower case": func(r *http.Request) { r.Header.Set("Authorization", "bearer "+good) },
			"upper case": func(r *http.Request) { r.Header.Set("Authorization", "BEARER "+good) },
			"no blank":   func(r *http.Request) { r.Header.Set("Authorization", "Bearer") },
			"a tab":      func(r *http.Request) { r.Header.Set("Authorization", "Bearer\t"+good) },
			"basic":      func(r *http.Request) { r.SetBasicAuth("anna", good) },
		},
	})
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			for _, kid := range []string{"", "a:b=c/../é'--"} {
				s := authtest.NewSigner(t, alg, kid)
				b := newBearer(t, jwt.Options{}, s)
				token := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60, "_couchdb.roles": []string{"a", "b"}})
				for range 2 { // verified, then remembered
					id, err := b.Verify(token)
					if err != nil || id.Name != "anna" || !slices.Equal(id.Roles, []string{"a", "b"}) || id.Method != "jwt" || id.Credential != s.Name || id.Local ||
						!id.Expires.Equal(time.Unix(now+60, 0)) {
						t.Errorf("kid %q: %+v, %v", kid, id, err)
					}
				}
				dot := strings.LastIndexByte(token, '.')
				reason := "Bad signature in authentication token"
				if strings.HasPrefix(alg, "HS") {
					reason = "Bad HMAC in authentication token"
				}
				signature, _ := base64.RawURLEncoding.DecodeString(token[dot+1:])
				flipped := slices.Clone(signature)
				flipped[len(flipped)-1] ^= 1
				zero := make([]byte, len(signature))
				full := slices.Repeat([]byte{0xff}, len(signature))
				for what, sig := range map[string]string{
					"flipped":      base64.RawURLEncoding.EncodeToString(flipped),
					"cut":          base64.RawURLEncoding.EncodeToString(signature[:len(signature)-1]),
					"longer":       base64.RawURLEncoding.EncodeToString(append(slices.Clone(signature), 0)),
					"padded":       token[dot+1:] + "=",
					"empty":        "",
					"zero":         base64.RawURLEncoding.EncodeToString(zero),
					"out of range": base64.RawURLEncoding.EncodeToString(full),
					"not base64":   "!!!",
					"one letter":   "A",
					"line end":     token[dot+1:] + "\n",
				} {
					for range 2 { // refused, then remembered as refused
						_, err := b.Verify(token[:dot+1] + sig)
						wantRefusal(t, what, err, 400, reason)
					}
				}
			}
		})
	}
}

// refused is a token whose signature is right, and what it is told all the same.
type refused struct {
	header, claims string
	status         int
	reason         string
}

const malformed = "Malformed authentication token"
const duplicate = "Duplicate member in authentication token"

// deep nests deeper than is taken.
var deep = strings.Repeat("[", 40) + strings.Repeat("]", 40)

// checkRefused presents each token twice: what is remembered must not be answered otherwise.
func checkRefused(t *testing.T, tests []refused) {
	t.Helper()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{}, s)
	for _, tt := range tests {
		token := s.Sign(t, tt.header, tt.claims)
		for range 2 {
			id, err := b.Verify(token)
			wantRefusal(t, fmt.Sprintf("%.80s . %.80s", tt.header, tt.claims), err, tt.status, tt.reason)
			if id.Name != "" {
				t.Errorf("%s: %+v beside the refusal", tt.claims, id)
			}
		}
	}
}

// TestRefusedHeader goes through steps 4 to 7 and 13 of spec §4.2, the recorded answers of CouchDB, and what CouchDB does not look at.
func TestRefusedHeader(t *testing.T) {
	t.Parallel()
	const good = `{"sub":"anna","exp":4102444800}`
	checkRefused(t, []refused{
		{`not json`, good, 400, malformed},
		{`[1]`, good, 400, "Not an object"},
		{`"x"`, good, 400, "Not an object"},
		{``, good, 400, malformed},
		{`{"alg":"HS256","kid":"k"`, good, 400, malformed},
		{`{"alg":"HS256","kid":"k"}{}`, good, 400, malformed},
		{`{"alg":"HS256","kid":"k"} x`, good, 400, malformed},
		{"{\"alg\":\"HS256\",\"kid\":\"k\xff\"}", good, 400, malformed},
		{`{"kid":"k"}`, good, 400, "Missing alg header parameter"},
		{`{"alg":null,"kid":"k"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":5,"kid":"k"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":["HS256"],"kid":"k"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"hs256","kid":"k"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"HS256 ","kid":"k"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"none","kid":"k"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"None"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"NONE"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"nOnE"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"","kid":"k"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"ES256K","kid":"k"}`, good, 400, "Invalid alg header parameter"},
		{`{"alg":"none","alg":"HS256","kid":"k"}`, good, 400, duplicate},
		{`{"alg":"HS256","kid":"k","jwk":{"a":1,"\u0061":2}}`, good, 400, duplicate},
		{`{"alg":"HS256","kid":"k","crit":["exp"]}`, good, 400, "Invalid crit header parameter"},
		{`{"alg":"HS256","kid":"k","crit":[]}`, good, 400, "Invalid crit header parameter"},
		{`{"alg":"HS256","kid":"k","crit":["b64"],"b64":false}`, good, 400, "Invalid crit header parameter"},
		{`{"alg":"HS256","kid":"k","b64":false}`, good, 400, "Invalid b64 header parameter"},
		{`{"alg":"HS256","kid":"k","b64":"false"}`, good, 400, "Invalid b64 header parameter"},
		{`{"alg":"HS256","kid":5}`, good, 400, "Invalid kid header parameter"},
		{`{"alg":"HS256","kid":null}`, good, 400, "Invalid kid header parameter"},
		{`{"alg":"HS256","kid":["k"]}`, good, 400, "Invalid kid header parameter"},
		{`{"alg":"HS256","kid":""}`, good, 400, "Unknown kid"},
		{`{"alg":"HS256"}`, good, 400, "Unknown kid"}, // there is no hmac:_default
		{`{"alg":"HS256","kid":"nope"}`, good, 400, "Unknown kid"},
		{`{"alg":"HS256","kid":"K"}`, good, 400, "Unknown kid"},
		{`{"alg":"HS256","kid":"../k"}`, good, 400, "Unknown kid"},
		{`{"alg":"HS256","kid":"' OR 1=1 --"}`, good, 400, "Unknown kid"},
		{`{"alg":"HS256","kid":"k\u0000"}`, good, 400, "Unknown kid"},
		{`{"alg":"HS256","kid":"` + strings.Repeat("k", 9000) + `"}`, good, 400, "Unknown kid"},
		{`{"alg":"RS256","kid":"k"}`, good, 400, "Unknown kid"}, // an hmac key is none for RS256
		{`{"alg":"HS256","kid":"k","x":` + deep + `}`, good, 400, "Authentication token is nested too deep"},
	})
}

// TestRefusedClaims goes through the other steps.
func TestRefusedClaims(t *testing.T) {
	t.Parallel()
	checkRefused(t, []refused{
		{header, `not json`, 400, malformed},
		{header, `[{"sub":"anna","exp":4102444800}]`, 400, "Not an object"},
		{header, `{"sub":"anna","sub":"admin","exp":4102444800}`, 400, duplicate},
		{header, `{"sub":"anna","exp":4102444800,"\u0073ub":"admin"}`, 400, duplicate},
		{header, `{"sub":"anna","exp":4102444800,"x":` + deep + `}`, 400, "Authentication token is nested too deep"},
		{header, `{"sub":"anna","exp":4102444800,"x":` + strings.Repeat(`{"a":`, 4000) + "1" + strings.Repeat("}", 4000) + `}`, 400, "Authentication token is nested too deep"},
		{header, `{"sub":"anna","x":"` + strings.Repeat("y", 33000) + `"}`, 400, "Authentication token is too long"},
		{header, `{"sub":"anna"}`, 400, "Missing exp claim"},
		{header, `{"sub":"anna","exp":null}`, 400, "Invalid exp claim"},
		{header, `{"sub":"anna","exp":"4102444800"}`, 400, "Invalid exp claim"},
		{header, `{"sub":"anna","exp":[4102444800]}`, 400, "Invalid exp claim"},
		{header, `{"sub":"anna","exp":true}`, 400, "Invalid exp claim"},
		{header, `{"sub":"anna","exp":1e999}`, 400, "Invalid exp claim"},
		{header, `{"sub":"anna","exp":1795280400}`, 401, "exp not in future"}, // now
		{header, `{"sub":"anna","exp":1795280399.9}`, 401, "exp not in future"},
		{header, `{"sub":"anna","exp":0}`, 401, "exp not in future"},
		{header, `{"sub":"anna","exp":-1e300}`, 401, "exp not in future"},
		{`{"alg":"HS256","kid":"nope"}`, `{"sub":"anna","exp":1}`, 401, "exp not in future"}, // before the key is looked up
		{header, `{"sub":"anna","exp":4102444800,"nbf":4102000000}`, 401, "nbf not in past"},
		{header, `{"sub":"anna","exp":1,"nbf":4102000000}`, 401, "nbf not in past"},
		{header, `{"sub":"anna","exp":4102444800,"nbf":1795280400}`, 401, "nbf not in past"},
		{header, `{"sub":"anna","exp":4102444800,"nbf":"0"}`, 400, "Invalid nbf claim"},
		{header, `{"sub":"anna","exp":4102444800,"nbf":null}`, 400, "Invalid nbf claim"},
		{header, `{"exp":4102444800}`, 401, "Token missing sub claim."},
		{header, `{"sub":"","exp":4102444800}`, 400, "Invalid sub claim"},
		{header, `{"sub":null,"exp":4102444800}`, 400, "Invalid sub claim"},
		{header, `{"sub":7,"exp":4102444800}`, 400, "Invalid sub claim"},
		{header, `{"sub":["anna"],"exp":4102444800}`, 400, "Invalid sub claim"},
		{header, `{"sub":"anna","exp":4102444800,"_couchdb.roles":5}`, 400, "Malformed token"},
		{header, `{"sub":"anna","exp":4102444800,"_couchdb.roles":null}`, 400, "Malformed token"},
		{header, `{"sub":"anna","exp":4102444800,"_couchdb.roles":{"a":1}}`, 400, "Malformed token"},
		{header, `{"sub":"anna","exp":4102444800,"_couchdb.roles":["a",5]}`, 400, "Malformed token"},
		{header, `{"sub":"anna","exp":4102444800,"_couchdb.roles":["a",["_admin"]]}`, 400, "Malformed token"},
	})
}

func TestMalformedParts(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{}, s)
	good := s.Sign(t, header, `{"sub":"anna","exp":4102444800}`)
	parts := strings.Split(good, ".")
	head, payload, signature := parts[0], parts[1], parts[2]
	for what, token := range map[string]string{
		"empty":               "",
		"one part":            "x",
		"two parts":           head + "." + payload,
		"four parts":          good + ".x",
		"five parts":          good + ".." + signature,
		"only dots":           "..",
		"header not base64":   "!!!." + payload + "." + signature,
		"header padded":       head + "=." + payload + "." + signature,
		"payload not base64":  head + ".!!!." + signature,
		"payload of one char": head + ".A." + signature,
		"payload with a line": head + "." + payload[:4] + "\n" + payload[4:] + "." + signature,
		"a blank in front":    " " + good,
		"standard alphabet":   base64.StdEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"k??>"}`)) + "." + payload + "." + signature,
	} {
		_, err := b.Verify(token)
		wantRefusal(t, what, err, 400, "Malformed authentication token")
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{}, s)
	for what, token := range map[string]string{
		"typ JWT":                s.Sign(t, `{"typ":"JWT","alg":"HS256","kid":"k"}`, `{"sub":"anna","exp":4102444800}`),
		"another typ":            s.Sign(t, `{"typ":5,"alg":"HS256","kid":"k"}`, `{"sub":"anna","exp":4102444800}`),
		"b64 true":               s.Sign(t, `{"b64":true,"alg":"HS256","kid":"k"}`, `{"sub":"anna","exp":4102444800}`),
		"exp a fraction":         s.Sign(t, header, `{"sub":"anna","exp":4102444800.5}`),
		"exp in a second":        s.Sign(t, header, `{"sub":"anna","exp":1795280401}`),
		"exp beyond all time":    s.Sign(t, header, `{"sub":"anna","exp":1e300}`),
		"nbf a second ago":       s.Sign(t, header, `{"sub":"anna","exp":4102444800,"nbf":1795280399}`),
		"iat in the future":      s.Sign(t, header, `{"sub":"anna","exp":4102444800,"iat":4102000000}`),
		"iat of any kind":        s.Sign(t, header, `{"sub":"anna","exp":4102444800,"iat":"x"}`),
		"blanks in JSON":         s.Sign(t, " \n{ \"alg\" : \"HS256\",\t\"kid\":\"k\" } ", `{ "exp" : 4102444800 , "sub" : "anna" }`),
		"names and text escaped": s.Sign(t, `{"\u0061lg":"HS\u003256","kid":"\u006b"}`, `{"\u0073ub":"ann\u0061","exp":4102444800}`),
	} {
		for range 2 {
			if id, err := b.Verify(token); err != nil || id.Name != "anna" || len(id.Roles) != 0 {
				t.Errorf("%s: %+v, %v", what, id, err)
			}
		}
	}
	id, err := b.Verify(s.Sign(t, header, `{"sub":"anna","exp":1e300}`))
	if err != nil || !id.Expires.IsZero() {
		t.Errorf("an exp beyond all time: %+v, %v", id, err)
	}
}

// TestAlgorithmConfusion: a public key is no HMAC secret, and a token brings no key of its own.
func TestAlgorithmConfusion(t *testing.T) {
	t.Parallel()
	rsa, ec := authtest.NewSigner(t, "RS256", "k"), authtest.NewSigner(t, "ES256", "k")
	b := newBearer(t, jwt.Options{}, rsa, ec)
	for _, s := range []*authtest.Signer{rsa, ec} {
		for _, secret := range []string{s.Value, strings.TrimSpace(s.Value), strings.ReplaceAll(s.Value, "\n", `\n`)} {
			forged := authtest.NewHMACSigner(t, "HS256", "k", []byte(secret)).Token(t, nil, map[string]any{"sub": "root", "exp": now + 60})
			_, err := b.Verify(forged)
			wantRefusal(t, "HS256 with a public key", err, 400, "Unknown kid")
		}
	}
	mallory := authtest.NewSigner(t, "ES256", "k")
	for what, extra := range map[string]any{
		"jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
		"jku": "https://127.0.0.1:1/keys",
		"x5u": "https://127.0.0.1:1/cert",
		"x5c": []string{"MIIB"},
	} {
		_, err := b.Verify(mallory.Token(t, map[string]any{what: extra}, map[string]any{"sub": "root", "exp": now + 60}))
		wantRefusal(t, "a token with its own "+what, err, 400, "Bad signature in authentication token")
	}
}

// TestCurveFitsAlgorithm: CouchDB takes ES256 with any curve (spec §4.2); Parlor does not.
func TestCurveFitsAlgorithm(t *testing.T) {
	t.Parallel()
	for _, keyAlg := range []string{"ES256", "ES384", "ES512"} {
		s := authtest.NewSigner(t, keyAlg, "k")
		b := newBearer(t, jwt.Options{}, s)
		for _, tokenAlg := range []string{"ES256", "ES384", "ES512"} {
			_, err := b.Verify(s.Token(t, map[string]any{"alg": tokenAlg}, map[string]any{"sub": "anna", "exp": now + 60}))
			if tokenAlg == keyAlg {
				if err != nil {
					t.Errorf("%s: %v", tokenAlg, err)
				}
				continue
			}
			wantRefusal(t, tokenAlg+" with a key for "+keyAlg, err, 400, "Key is not for this alg")
		}
	}
}

// TestRFC7515 holds the examples of appendices A.1 to A.3. They have no sub: that this is all that is wrong says that their signatures are right.
func TestRFC7515(t *testing.T) {
	t.Parallel()
	const payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	keys, bad := jwt.ParseKeys(map[string]string{
		"hmac:_default": `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`,
		"rsa:_default":  `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`,
		"ec:_default":   `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
	})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	b := newBearer(t, jwt.Options{Keys: keys, Now: func() time.Time { return time.Unix(1300819379, 0) }})
	late := newBearer(t, jwt.Options{Keys: keys, Now: func() time.Time { return time.Unix(1300819380, 0) }})
	for what, token := range map[string]string{
		"A.1": "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + payload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"A.2": "eyJhbGciOiJSUzI1NiJ9." + payload + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
		"A.3": "eyJhbGciOiJFUzI1NiJ9." + payload + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
	} {
		_, err := b.Verify(token)
		wantRefusal(t, what, err, 401, "Token missing sub claim.")
		_, err = late.Verify(token)
		wantRefusal(t, what+", late", err, 401, "exp not in future")
	}
}

func TestRememberedTokenStillAges(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	s := authtest.NewSigner(t, "ES256", "k")
	b := newBearer(t, jwt.Options{Now: clock.Now, Leeway: 10 * time.Second}, s)
	token := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 100, "nbf": now - 100})
	steps := []struct {
		to     int64
		status int
		reason string
	}{
		{0, 0, ""}, {109, 0, ""}, {110, 401, "exp not in future"}, {1000, 401, "exp not in future"},
		{50, 0, ""}, {-110, 401, "nbf not in past"}, {-109, 0, ""}, {0, 0, ""},
	}
	for _, step := range steps {
		clock.Advance(time.Unix(now+step.to, 0).Sub(clock.Now()))
		id, err := b.Verify(token)
		if step.status != 0 {
			wantRefusal(t, fmt.Sprint("after ", step.to), err, step.status, step.reason)
		} else if err != nil || id.Name != "anna" {
			t.Errorf("after %d: %+v, %v", step.to, id, err)
		}
	}
	// Another Bearer knows nothing of what this one remembers.
	other := authtest.NewSigner(t, "ES256", "k")
	_, err := newBearer(t, jwt.Options{Now: clock.Now}, other).Verify(token)
	wantRefusal(t, "after the key was replaced", err, 400, "Bad signature in authentication token")
	_, err = newBearer(t, jwt.Options{Now: clock.Now}, authtest.NewSigner(t, "ES256", "other")).Verify(token)
	wantRefusal(t, "after the key was removed", err, 400, "Unknown kid")
}

func TestNoKeys(t *testing.T) {
	t.Parallel()
	b, err := jwt.NewBearer(jwt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := authtest.NewSigner(t, "HS256", "")
	_, err = b.Verify(s.Token(t, nil, map[string]any{"sub": "anna", "exp": 4102444800}))
	wantRefusal(t, "no keys", err, 400, "Unknown kid")
}

func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []jwt.Options{{RolesPath: "."}, {RolesPath: "a..b"}, {RolesPath: ".a"}, {RolesPath: "a."}, {Leeway: -time.Second}} {
		if _, err := jwt.NewBearer(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestAuthenticateThroughAuthenticator(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "EdDSA", "k")
	users := new(auth.Memory)
	users.Put(auth.User{Name: "anna", Roles: []string{"from the directory"}})
	users.Put(auth.User{Name: "gone", Disabled: true})
	a := auth.NewAuthenticator(users)
	a.Configure([]auth.Method{newBearer(t, jwt.Options{}, s)})
	for name, reason := range map[string]string{"anna": "", "stranger": "", "gone": "This account is disabled."} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+s.Token(t, nil, map[string]any{"sub": name, "exp": now + 60}))
		id, err := a.Authenticate(r)
		if reason == "" && (err != nil || id.Name != name || len(id.Roles) != 0) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		if reason != "" && (err == nil || !strings.Contains(err.Error(), reason)) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func challengeOf(err error) string {
	refusal, ok := err.(*auth.Refusal)
	if !ok {
		return ""
	}
	return refusal.Header.Get("WWW-Authenticate")
}
