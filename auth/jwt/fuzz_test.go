package jwt_test

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

// FuzzToken: nothing that is not signed signs anyone in; what is signed is taken as this name or refused with a 4xx, the second time as the first.
func FuzzToken(f *testing.F) {
	s := authtest.NewHMACSigner(f, "HS256", "k", []byte("a secret that no fuzzer guesses"))
	b := newBearer(f, jwt.Options{}, s)
	for _, seed := range [][2]string{
		{header, `{"sub":"anna","exp":4102444800}`},
		{header, `{"sub":"anna","sub":"root","exp":4102444800}`},
		{`{"alg":"none"}`, `{"sub":"anna","exp":1e400,"nbf":null}`},
		{`{"alg":"HS256","kid":"k","crit":["b64"]}`, `[[[[`},
		{`{"alg":"HS256","kid":"k"}`, `{"sub":"\ud800","exp":4102444800,"_couchdb.roles":"a,,b"}`},
		{"", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, head, claims string) {
		encoded := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		for _, token := range []string{head, head + "." + claims, encoded, encoded + ".", encoded + ".AAAA"} {
			if id, err := b.Verify(token); err == nil {
				t.Fatalf("%q signed in %+v", token, id)
			}
		}
		token := s.Sign(t, head, claims)
		first, err := b.Verify(token)
		second, err2 := b.Verify(token)
		if !reflect.DeepEqual(first, second) || (err == nil) != (err2 == nil) || (err != nil && err.Error() != err2.Error()) {
			t.Fatalf("%s . %s: %+v, %v, then %+v, %v", head, claims, first, err, second, err2)
		}
		if err != nil {
			refusal, ok := errors.AsType[*auth.Refusal](err)
			if !ok || refusal.Status < 400 || refusal.Status > 499 || refusal.Reason == "" {
				t.Fatalf("%s . %s: %v", head, claims, err)
			}
			return
		}
		if first.Name == "" || strings.Count(claims, "sub")+strings.Count(claims, `\u`) == 0 {
			t.Fatalf("%s signed in %+v", claims, first)
		}
	})
}

// FuzzClaims: what can be read is written as a text that reads the same.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{"exp", `"exp"`, `exp, nbf, {iss, "https://issuer"}`, `[exp,{aud,["a","b"]}]`, "123", `{iss,"x`, "exp,exp", `"exp" "iat"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := jwt.ParseClaims(text)
		if err != nil {
			if c != nil {
				t.Fatalf("%q: %v beside %v", text, c, err)
			}
			return
		}
		again, err := jwt.ParseClaims(c.String())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%q is %#v, written %q, read %#v, %v", text, c, c, again, err)
		}
	})
}

// FuzzKeys: an entry is either usable or reported, and an error never shows a secret.
func FuzzKeys(f *testing.F) {
	s := authtest.NewSigner(f, "ES256", "k")
	f.Add("ec:k", s.Value)
	f.Add("ec:k", strings.ReplaceAll(s.Value, "\n", ` \n`))
	f.Add("hmac:k", "aGVsbG8=")
	f.Add("hmac:k", `{"kty":"oct","k":"aGVsbG8"}`)
	f.Add("rsa:k", "-----BEGIN -----END -----")
	f.Fuzz(func(t *testing.T, name, value string) {
		keys, bad := jwt.ParseKeys(map[string]string{name: value})
		if keys.Len() != 1 || len(bad) > 1 {
			t.Fatalf("%d keys, %v", keys.Len(), bad)
		}
		again, bad2 := jwt.ParseKeys(map[string]string{name: " " + value + "\n"})
		if again.Len() != 1 || len(bad2) != len(bad) {
			t.Fatalf("blanks around %q change it: %v, %v", value, bad, bad2)
		}
	})
}
