package jwt

import (
	"strings"
	"testing"
)

// vector is an example of an RFC: a signature over a text that need not be a token's claims.
type vector struct {
	name, key, value, header, payload, signature string
}

const (
	cookbookPayload = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBk" +
		"b24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
	cookbookRSA = `{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0` +
		`VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0Z` +
		`CuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}`
	cookbookEC = `{"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521",` +
		`"x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",` +
		`"y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}`
)

// vectors are those of RFC 7515 appendix A.4, RFC 7520 §4.1 to 4.4 and RFC 8037 appendix A.4. Those of RFC 7515 that sign claims are in TestRFC7515.
var vectors = []vector{
	{
		"RFC 7515 A.4", "ec:_default",
		`{"kty":"EC","crv":"P-521",` +
			`"x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",` +
			`"y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}`,
		"eyJhbGciOiJFUzUxMiJ9", "UGF5bG9hZA",
		"AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYb" +
			"SW9ERBXukOXolLzeO_Jn",
	},
	{
		"RFC 7520 4.1", "rsa:bilbo.baggins@hobbiton.example", cookbookRSA,
		"eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9", cookbookPayload,
		"MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh" +
			"_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_f" +
			"cIe8u9ipH84ogoree7vjbU5y18kDquDg",
	},
	{
		"RFC 7520 4.2", "rsa:bilbo.baggins@hobbiton.example", cookbookRSA,
		"eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9", cookbookPayload,
		"cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNA" +
			"Uf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a" +
			"6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
	},
	{
		"RFC 7520 4.3", "ec:bilbo.baggins@hobbiton.example", cookbookEC,
		"eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9", cookbookPayload,
		"AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6" +
			"sFY8OcGDqoRuBomu9xQ2",
	},
	{
		"RFC 7520 4.4", "hmac:018c0ae5-4d9b-471b-bfd6-eef314bc7037",
		`{"kty":"oct","kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037","use":"sig","alg":"HS256","k":"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"}`,
		"eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9", cookbookPayload,
		"s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
	},
	{
		"RFC 8037 A.4", "eddsa:_default",
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
		"eyJhbGciOiJFZERTQSJ9", "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
	},
}

func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		keys, bad := ParseKeys(map[string]string{v.key: v.value})
		if len(bad) > 0 {
			t.Errorf("%s: %v", v.name, bad)
			continue
		}
		h, err := parseHeader(v.header, nil)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if k, err := keys.verify(&h, v.header+"."+v.payload, v.signature); err != nil || k.name != v.key {
			t.Errorf("%s: %+v, %v", v.name, k, err)
		}
		for what, wrong := range map[string][2]string{
			"another text":      {v.header + "." + v.payload + "A", v.signature},
			"no text":           {"", v.signature},
			"another signature": {v.header + "." + v.payload, flip(v.signature)},
		} {
			if k, err := keys.verify(&h, wrong[0], wrong[1]); k != nil || err == nil {
				t.Errorf("%s: %s is taken", v.name, what)
			}
		}
		// They sign no claims, so none of them is a token.
		bearer, err := NewBearer(Options{Keys: keys, Required: Claims{}})
		if err != nil {
			t.Fatal(err)
		}
		if id, err := bearer.Verify(v.header + "." + v.payload + "." + v.signature); err == nil || !strings.Contains(err.Error(), malformed) {
			t.Errorf("%s as a token: %+v, %v", v.name, id, err)
		}
	}
}

// flip changes the first letter of a signature.
func flip(signature string) string {
	if signature[0] == 'A' {
		return "B" + signature[1:]
	}
	return "A" + signature[1:]
}

// TestUnsecuredVector is RFC 7515 appendix A.5: well formed, and signed by nobody.
func TestUnsecuredVector(t *testing.T) {
	t.Parallel()
	const token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	bearer, err := NewBearer(Options{Required: Claims{}})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := bearer.Verify(token); err == nil || err.Error() != "bad_request: Invalid alg header parameter" || id.Name != "" {
		t.Errorf("%+v, %v", id, err)
	}
}
