package jwt_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
)

// newServer is a whole server of another kind: /login hands out cookies, and /me takes a cookie, a password or a token.
func newServer(users auth.Users, passwords *auth.Passwords, cookieSecret string, tokenKeys map[string]string) (http.Handler, error) {
	cookies, err := auth.NewCookies(users, auth.CookieOptions{Secrets: []auth.Secret{{Value: cookieSecret}}, SameSite: "lax"})
	if err != nil {
		return nil, err
	}
	keys, bad := jwt.ParseKeys(tokenKeys)
	for name, err := range bad {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	bearer, err := jwt.NewBearer(jwt.Options{Keys: keys, Leeway: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	authenticator := auth.NewAuthenticator(users)
	authenticator.Configure([]auth.Method{bearer, cookies, auth.NewBasic(passwords)})

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		u, err := passwords.Verify(r.Context(), r.PostFormValue("name"), r.PostFormValue("password"))
		if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
			refusal.ServeHTTP(w, r)
			return
		} else if err != nil {
			http.Error(w, "The user directory does not answer.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Set-Cookie", cookies.Issue(u, r.TLS != nil))
		fmt.Fprintln(w, "welcome,", u.Name)
	})
	mux.Handle("GET /me", authenticator.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := auth.FromContext(r.Context())
		fmt.Fprintf(w, "%s, %q by %s\n", id.Name, id.Roles, id.Method)
	})))
	return http.NewCrossOriginProtection().Handler(mux), nil // a browser sends cookies with forms of other sites too
}

// A server takes Basic, session cookies and JSON Web Tokens, and a client tries each.
func Example_server() {
	var o auth.PasswordOptions
	o.Policy.Iterations = 1000 // quick for the example; leave it 0 in earnest
	users := new(auth.Memory)
	passwords := auth.NewPasswords(users, o)
	hash, err := passwords.Policy().New("apple", "")
	if err != nil {
		log.Fatal(err)
	}
	users.Put(auth.User{Name: "anna", Roles: []string{"editor"}, Password: hash})
	tokenSecret := []byte("shared with whoever issues the tokens")
	handler, err := newServer(users, passwords, "from the configuration", map[string]string{"hmac:_default": base64.StdEncoding.EncodeToString(tokenSecret)})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	ask := func(what string, r *http.Request, err error) *http.Response {
		if err != nil {
			log.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d %s", what, resp.StatusCode, body)
		return resp
	}
	me := func() (*http.Request, error) { return http.NewRequest("GET", server.URL+"/me", nil) }
	login := func(pass string) (*http.Request, error) {
		form := url.Values{"name": {"anna"}, "password": {pass}}
		r, err := http.NewRequest("POST", server.URL+"/login", strings.NewReader(form.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return r, err
	}

	r, err := me()
	ask("nobody", r, err)

	r, err = me()
	r.SetBasicAuth("anna", "apple")
	ask("Basic", r, err)

	r, err = login("pear")
	ask("wrong password", r, err)
	r, err = login("apple")
	session := ask("log-in", r, err).Cookies()[0]
	r, err = me()
	r.AddCookie(session)
	ask("cookie", r, err)

	claims := gojwt.MapClaims{"sub": "berta", "exp": time.Now().Add(time.Hour).Unix(), "_couchdb.roles": []string{"reader"}}
	token, err := gojwt.NewWithClaims(gojwt.SigningMethodHS256, claims).SignedString(tokenSecret)
	if err != nil {
		log.Fatal(err)
	}
	r, err = me()
	r.Header.Set("Authorization", "Bearer "+token)
	ask("token", r, err)
	r, err = me()
	r.Header.Set("Authorization", "Bearer "+token[:len(token)-4]+"AAAA")
	ask("forged token", r, err)
	// Output:
	// nobody: 401 {"error":"unauthorized","reason":"Authentication required."}
	// Basic: 200 anna, ["editor"] by default
	// wrong password: 401 {"error":"unauthorized","reason":"Name or password is incorrect."}
	// log-in: 200 welcome, anna
	// cookie: 200 anna, ["editor"] by cookie
	// token: 200 berta, ["reader"] by jwt
	// forged token: 400 {"error":"bad_request","reason":"Bad HMAC in authentication token"}
}
