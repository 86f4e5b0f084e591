package jwt_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

func TestParseClaims(t *testing.T) {
	t.Parallel()
	word := func(names ...string) jwt.Claims {
		c := jwt.Claims{}
		for _, n := range names {
			c = append(c, jwt.Claim{Name: n})
		}
		return c
	}
	tests := map[string]jwt.Claims{
		"":                                     {},
		"  ":                                   {},
		",":                                    {},
		"[]":                                   {},
		"exp":                                  word("exp"),
		`"exp"`:                                word("exp"),
		` " exp " `:                            word("exp"),
		`""`:                                   {},
		`"exp,iat"`:                            word("exp", "iat"),
		`"exp", "iat"`:                         word("exp", "iat"),
		"exp,iat":                              word("exp", "iat"),
		"exp , iat,":                           word("exp", "iat"),
		"exp iat":                              word("exp", "iat"),
		"[exp, iat]":                           word("exp", "iat"),
		"alg,exp,sig":                          word("exp"),
		"sub,_x,https://example.com/c-1#a.b_2": word("sub", "_x", "https://example.com/c-1#a.b_2"),
		`exp, {iss, "https://issuer"}`:         {{Name: "exp"}, {Name: "iss", Values: []string{"https://issuer"}}},
		`{iss,"a b"},exp`:                      {{Name: "iss", Values: []string{"a b"}}, {Name: "exp"}},
		`{ iss , "MyCompany" }`:                {{Name: "iss", Values: []string{"MyCompany"}}},
		`{aud, ["a", "b"]}`:                    {{Name: "aud", Values: []string{"a", "b"}}},
		`{aud,[ "a" ]} {sub,"\n{},[]"}`:        {{Name: "aud", Values: []string{"a"}}, {Name: "sub", Values: []string{`\n{},[]`}}},
		"[exp, {iss, \"x\"}\n]":                {{Name: "exp"}, {Name: "iss", Values: []string{"x"}}},
	}
	for text, want := range tests {
		got, err := jwt.ParseClaims(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, %v, want %#v", text, got, err, want)
		}
	}
	for text, reason := range map[string]string{
		"123":                      "no name of a claim",
		"exp;iat":                  "no name of a claim",
		"EXP":                      `"EXP" is written "exp"`,
		"Iss":                      `"Iss" is written "iss"`,
		"exp,exp":                  `"exp" is there twice`,
		`exp,{exp,"1"}`:            `"exp" is a time and takes no value`,
		`{nbf,"1"}`:                `"nbf" is a time and takes no value`,
		`{iss,"a"},iss`:            `"iss" is there twice`,
		`{alg,"none"}`:             `"alg" takes no value`,
		`{iss}`:                    "no comma",
		`{iss "x"}`:                "no comma",
		`{iss,x}`:                  "no value in double quotes",
		`{iss,""}`:                 "no value in double quotes",
		`{iss,}`:                   "no value in double quotes",
		`{iss,"x"`:                 "no closing brace",
		`{iss,"x","y"}`:            "no closing brace",
		`{iss,"x}`:                 "no closing quote",
		`{aud,["x"}`:               "no closing bracket",
		`{aud,[]}`:                 "no value in double quotes",
		`{"iss","x"}`:              "no name of a claim",
		`{,"x"}`:                   "no name of a claim",
		`"exp`:                     "no closing quote",
		`"{iss, x}"`:               "no name of a claim",
		"exp]":                     "no name of a claim",
		"[exp] iat":                "text after the list",
		"é":                        "no name of a claim",
		"exp\x00":                  "no name of a claim",
		strings.Repeat("{", 10000): "no name of a claim",
	} {
		c, err := jwt.ParseClaims(text)
		if err == nil || !strings.Contains(err.Error(), reason) || c != nil {
			t.Errorf("%.20q: %#v, %v, want %q", text, c, err, reason)
		}
	}
}

func TestRequiredClaims(t *testing.T) {
	t.Parallel()
	tests := []struct {
		required, claims string
		status           int // 0: taken
		reason           string
	}{
		{"", `{"sub":"anna"}`, 0, ""},
		{"", `{"sub":"anna","exp":1}`, 401, "exp not in future"}, // counts whenever it is there
		{"", `{"sub":"anna","nbf":4102000000}`, 401, "nbf not in past"},
		{"exp", `{"sub":"anna"}`, 400, "Missing exp claim"},
		{"nbf", `{"sub":"anna"}`, 400, "Missing nbf claim"},
		{"nbf,exp", `{"sub":"anna"}`, 400, "Missing nbf claim"}, // in CouchDB's order, whatever that of the setting
		{"exp,nbf", `{"sub":"anna"}`, 400, "Missing nbf claim"},
		{"iat", `{"sub":"anna"}`, 400, "Missing iat claim"},
		{"iat", `{"sub":"anna","iat":"x"}`, 400, "Invalid iat claim"},
		{"iat", `{"sub":"anna","iat":1.5}`, 400, "Invalid iat claim"},
		{"iat", `{"sub":"anna","iat":1e3}`, 400, "Invalid iat claim"},
		{"iat", `{"sub":"anna","iat":-5}`, 0, ""},
		{"iss", `{"sub":"anna"}`, 400, "Missing iss claim"},
		{"iss", `{"sub":"anna","iss":true}`, 400, "Invalid iss claim"},
		{"iss", `{"sub":"anna","iss":""}`, 400, "Invalid iss claim"},
		{"iss", `{"sub":"anna","iss":"x"}`, 0, ""},
		{`{iss,"x"}`, `{"sub":"anna"}`, 400, "Missing iss claim"},
		{`{iss,"x"}`, `{"sub":"anna","iss":"X"}`, 400, "Invalid iss claim"},
		{`{iss,"x"}`, `{"sub":"anna","iss":"xx"}`, 400, "Invalid iss claim"},
		{`{iss,"x"}`, `{"sub":"anna","iss":["x"]}`, 400, "Invalid iss claim"},
		{`{iss,".*"}`, `{"sub":"anna","iss":"x"}`, 400, "Invalid iss claim"}, // no regexp
		{`{iss,"x"}`, `{"sub":"anna","iss":"x"}`, 0, ""},
		{`{iss,["x","y"]}`, `{"sub":"anna","iss":"y"}`, 0, ""},
		{`{iss,["x","y"]}`, `{"sub":"anna","iss":"z"}`, 400, "Invalid iss claim"},
		{`{aud,"b"}`, `{"sub":"anna"}`, 400, "Missing aud claim"},
		{`{aud,"b"}`, `{"sub":"anna","aud":"a"}`, 400, "Invalid aud claim"},
		{`{aud,"b"}`, `{"sub":"anna","aud":[]}`, 400, "Invalid aud claim"},
		{`{aud,"b"}`, `{"sub":"anna","aud":["a",["b"]]}`, 400, "Invalid aud claim"},
		{`{aud,"b"}`, `{"sub":"anna","aud":["b",5]}`, 400, "Invalid aud claim"},
		{`{aud,"b"}`, `{"sub":"anna","aud":{"b":"b"}}`, 400, "Invalid aud claim"},
		{`{aud,"b"}`, `{"sub":"anna","aud":"b"}`, 0, ""},
		{`{aud,"b"}`, `{"sub":"anna","aud":["a","b"]}`, 0, ""},
		{"aud", `{"sub":"anna","aud":null}`, 400, "Invalid aud claim"},
		{"aud", `{"sub":"anna","aud":[]}`, 0, ""},
		{`{azp,"app"}`, `{"sub":"anna","azp":["app"]}`, 400, "Invalid azp claim"},
		{`{azp,"app"}`, `{"sub":"anna","azp":"app"}`, 0, ""},
		{"sub", `{}`, 400, "Missing sub claim"},
		{`{sub,"anna"}`, `{"sub":"bob"}`, 400, "Invalid sub claim"},
		{"kid", `{"sub":"anna"}`, 0, ""}, // the header has one
		{`{kid,"other"}`, `{"sub":"anna"}`, 400, "Invalid kid claim"},
		{"typ", `{"sub":"anna"}`, 0, ""},
		{`{typ,"at+jwt"}`, `{"sub":"anna"}`, 400, "Invalid typ header parameter"},
		{"alg", `{"sub":"anna"}`, 0, ""},
	}
	s := authtest.NewSigner(t, "HS256", "k")
	for _, tt := range tests {
		b := newBearer(t, jwt.Options{Required: claimsOf(t, tt.required)}, s)
		_, err := b.Verify(s.Sign(t, `{"typ":"JWT","alg":"HS256","kid":"k"}`, tt.claims))
		if what := fmt.Sprintf("%s with %s", tt.required, tt.claims); tt.status != 0 {
			wantRefusal(t, what, err, tt.status, tt.reason)
		} else if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	plain := authtest.NewHMACSigner(t, "HS256", "", []byte("hello"))
	for required, reason := range map[string]string{"typ": "Missing typ header parameter", "kid": "Missing kid claim"} {
		b := newBearer(t, jwt.Options{Required: claimsOf(t, required)}, plain)
		_, err := b.Verify(plain.Sign(t, `{"alg":"HS256"}`, `{"sub":"anna"}`))
		wantRefusal(t, required, err, 400, reason)
	}
	b := newBearer(t, jwt.Options{Required: claimsOf(t, "typ")}, s)
	for _, typ := range []string{`"jwt"`, `"JWT "`, `["JWT"]`, `null`} {
		_, err := b.Verify(s.Sign(t, `{"typ":`+typ+`,"alg":"HS256","kid":"k"}`, `{"sub":"anna"}`))
		wantRefusal(t, typ, err, 400, "Invalid typ header parameter")
	}
}
