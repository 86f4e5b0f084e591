package oauth1_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oauth1"
)

// A server that takes signed requests with the credentials of CouchDB's ini sections.
func Example() {
	credentials, bad := oauth1.NewStatic(oauth1.Sections{
		ConsumerSecrets: map[string]string{"key": "sekr1t"},
		TokenSecrets:    map[string]string{"foo": "tokensekr1t", "lost": "x"},
		TokenUsers:      map[string]string{"foo": "anna"},
	})
	for name, err := range bad {
		fmt.Printf("%s: %v\n", name, err)
	}
	users := new(auth.Memory)
	users.Put(auth.User{Name: "anna"})
	clock := time.Unix(1299999999, 0) // shortly before the request below was signed
	verifier, err := oauth1.NewVerifier(oauth1.Options{
		Credentials: credentials,
		Users:       users,
		Now:         func() time.Time { return clock },
	})
	if err != nil {
		log.Fatal(err)
	}

	authenticator := auth.NewAuthenticator(users)
	authenticator.Configure([]auth.Method{verifier})
	handler := authenticator.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "Hello", auth.FromContext(r.Context()).Name)
	}))

	for range 2 {
		r := httptest.NewRequest("GET", "http://localhost:5984/_session?foo=bar%20baz", nil)
		r.Header.Set("Authorization", `OAuth oauth_consumer_key="key", oauth_token="foo", oauth_nonce="abc", oauth_timestamp="1300000000", `+
			`oauth_version="1.0", oauth_signature_method="HMAC-SHA1", oauth_signature="UcqvT%2FBKY%2FEJ6x3u31Ie534SxBs%3D"`)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// oauth_token_secrets/lost: the token has no user in oauth_token_users
	// 200 Hello anna
	// 401 {"error":"unauthorized","reason":"Nonce has been used."}
}
