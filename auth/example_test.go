package auth_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/password"
)

// A server of any kind lets in those who know a password, or who have a session cookie.
func Example() {
	policy := password.Policy{Iterations: 1000} // quick for the example; leave Iterations 0 in earnest
	hash, err := policy.New("apple", "")
	if err != nil {
		log.Fatal(err)
	}
	users := new(auth.Memory)
	users.Put(auth.User{Name: "anna", Roles: []string{"editor"}, Password: hash})

	cookies, err := auth.NewCookies(users, auth.CookieOptions{Secrets: []auth.Secret{{Value: "from the configuration"}}})
	if err != nil {
		log.Fatal(err)
	}
	passwords := auth.NewPasswords(users, auth.PasswordOptions{Policy: policy})
	authenticator := auth.NewAuthenticator(users)
	authenticator.Configure([]auth.Method{cookies, auth.NewBasic(passwords)})

	handler := authenticator.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := auth.FromContext(r.Context())
		fmt.Fprintf(w, "Hello %s, %s by %s\n", id.Name, id.Roles, id.Method)
	}))

	for _, pass := range []string{"apple", "pear"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth("anna", pass)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 Hello anna, [editor] by default
	// 401 {"error":"unauthorized","reason":"Name or password is incorrect."}
}

// A log-in form checks the password and hands out a cookie.
func ExampleCookies_Issue() {
	policy := password.Policy{Iterations: 1000}
	hash, err := policy.New("apple", "")
	if err != nil {
		log.Fatal(err)
	}
	users := new(auth.Memory)
	users.Put(auth.User{Name: "anna", Password: hash})
	passwords := auth.NewPasswords(users, auth.PasswordOptions{Policy: policy})
	cookies, err := auth.NewCookies(users, auth.CookieOptions{Secrets: []auth.Secret{{Value: "from the configuration"}}, SessionOnly: true})
	if err != nil {
		log.Fatal(err)
	}

	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := passwords.Verify(r.Context(), r.FormValue("name"), r.FormValue("password"))
		if err != nil {
			w.Header().Set("Set-Cookie", cookies.Clear(r.TLS != nil))
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("Set-Cookie", cookies.Issue(u, r.TLS != nil))
	})

	w := httptest.NewRecorder()
	login.ServeHTTP(w, httptest.NewRequest("POST", "/login?name=anna&password=apple", nil))
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	id, err := cookies.Authenticate(r)
	fmt.Println(w.Code, id.Name, id.Method, err)
	// Output: 200 anna cookie <nil>
}
