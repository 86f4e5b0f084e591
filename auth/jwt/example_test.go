package jwt_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
)

// A server that takes the tokens of one issuer, whose public key it was given.
func Example() {
	keys, bad := jwt.ParseKeys(map[string]string{
		"ec:_default": `-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END PUBLIC KEY-----`,
		"hmac:broken": "not base64",
	})
	for name, err := range bad {
		fmt.Printf("%s: %v\n", name, err)
	}
	required, err := jwt.ParseClaims(`exp, {iss, "joe"}`)
	if err != nil {
		log.Fatal(err)
	}
	bearer, err := jwt.NewBearer(jwt.Options{
		Keys:     keys,
		Required: required,
		Now:      func() time.Time { return time.Unix(1300819000, 0) }, // when the token below was good
	})
	if err != nil {
		log.Fatal(err)
	}

	authenticator := auth.NewAuthenticator(nil)
	authenticator.Configure([]auth.Method{bearer})
	handler := authenticator.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "Hello", auth.FromContext(r.Context()).Name)
	}))

	// The example of RFC 7515, appendix A.3: well signed, but it does not say whom it is for.
	token := "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ." +
		"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	for _, t := range []string{token, strings.TrimSuffix(token, "1Q") + "AA"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+t)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// hmac:broken: the value is not base64 (RFC 4648 §4, with its padding)
	// 401 {"error":"unauthorized","reason":"Token missing sub claim."}
	// 400 {"error":"bad_request","reason":"Bad signature in authentication token"}
}

func ExampleParseClaims() {
	for _, setting := range []string{`"exp"`, `exp, {iss, "https://issuer.example.com"}, {aud, "parlor"}`, `EXP`, `{iss, issuer}`} {
		claims, err := jwt.ParseClaims(setting)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(claims)
	}
	// Output:
	// exp
	// exp, {iss, "https://issuer.example.com"}, {aud, "parlor"}
	// required claims: "EXP" is written "exp"
	// required claims: no value in double quotes at byte 6
}
