package auth_test

import (
	"context"
	"errors"
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

// A session that is kept can be listed and ended.
func ExampleSessions() {
	users, revocations := new(auth.Memory), new(auth.Revocations)
	users.Put(auth.User{Name: "anna", Roles: []string{"editor"}})
	sessions := auth.NewSessions(new(auth.MemoryState), users, revocations)
	defer sessions.Close()
	if err := sessions.Configure(auth.SessionOptions{SessionOnly: true}); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	who := auth.Identity{Name: "anna", Method: "default", Local: true} // her password was right
	secret, made, err := sessions.Create(ctx, auth.NewSession{Who: who, Label: "phone"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sessions.Cookie("", "…", &made, true))

	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: auth.CookieName, Value: secret})
	id, err := sessions.Authenticate(r)
	fmt.Println(id.Name, id.Roles, id.Method, err)

	list, err := sessions.List(ctx, "anna", "", 10)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(list[0].Label, sessions.End(ctx, list[0].ID))
	_, err = sessions.Authenticate(r)
	fmt.Println(err)
	// Output:
	// AuthSession=…; Version=1; Secure; Path=/; HttpOnly
	// anna [editor] cookie <nil>
	// phone <nil>
	// no credentials for this method
}

// An access token stands in for a password, for one app and for no more than it needs.
func ExampleTokens() {
	users := new(auth.Memory)
	users.Put(auth.User{Name: "anna", Roles: []string{"editor"}})
	tokens := auth.NewTokens(new(auth.MemoryState), users, new(auth.Revocations), auth.TokenOptions{})
	defer tokens.Close()

	ctx := context.Background()
	secret, made, err := tokens.Create(ctx, auth.NewToken{User: "anna", Label: "backup", Scope: auth.Scope{Databases: []string{"notes"}}})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("anna", secret)
	id, err := tokens.Basic().Authenticate(r)
	fmt.Println(id.Name, id.Roles, id.Scope.Databases, err)
	fmt.Println(id.Scope.Allows("notes", false), id.Scope.Allows("notes", true), id.Scope.Allows("letters", false))

	fmt.Println(tokens.Revoke(ctx, made.ID))
	_, err = tokens.Basic().Authenticate(r)
	fmt.Println(err)
	// Output:
	// anna [editor] [notes] <nil>
	// true false false
	// <nil>
	// unauthorized: Name or password is incorrect.
}

// A name and password in each request, without a browser's log-in window: the Method is used by itself.
func ExampleBasic() {
	policy := password.Policy{Iterations: 1000}
	hash, err := policy.New("apple", "")
	if err != nil {
		log.Fatal(err)
	}
	users := new(auth.Memory)
	users.Put(auth.User{Name: "anna", Roles: []string{"editor"}, Password: hash})
	basic := auth.NewBasic(auth.NewPasswords(users, auth.PasswordOptions{Policy: policy}))

	for _, header := range []string{"Basic YW5uYTphcHBsZQ==", "Basic YW5uYTpwZWFy", "Basic ?", "Bearer x"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		id, err := basic.Authenticate(r)
		fmt.Println(id.Name, id.Roles, err)
	}
	// Output:
	// anna [editor] <nil>
	//  [] unauthorized: Name or password is incorrect.
	//  [] bad_request: Authorization header has invalid base64 value
	//  [] no credentials for this method
}

// Handler lets nobody through as nobody, so that one page can greet everyone.
func ExampleAuthenticator_Handler() {
	users := new(auth.Memory)
	users.Put(auth.User{Name: "anna", Disabled: true})
	authenticator := auth.NewAuthenticator(users)
	authenticator.Configure([]auth.Method{trustedHeader{}})
	page := authenticator.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := auth.FromContext(r.Context()); !id.Anonymous() {
			fmt.Fprintln(w, "Hello", id.Name)
			return
		}
		fmt.Fprintln(w, "Hello, whoever you are")
	}))

	for _, name := range []string{"", "berta", "anna"} {
		r := httptest.NewRequest("GET", "/", nil)
		if name != "" {
			r.Header.Set("X-Remote-User", name)
		}
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 Hello, whoever you are
	// 200 Hello berta
	// 403 {"error":"forbidden","reason":"This account is disabled."}
}

// trustedHeader is a Method of one's own, for a server that only a proxy can reach. See Proxy for one that checks who asks.
type trustedHeader struct{}

func (trustedHeader) Name() string { return "header" }

func (m trustedHeader) Authenticate(r *http.Request) (auth.Identity, error) {
	name := r.Header.Get("X-Remote-User")
	if name == "" {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	return auth.Identity{Name: name, Method: m.Name()}, nil
}

// The client is told a reason, the operator's log whom it was about.
func ExampleRefusal() {
	users := new(auth.Memory)
	authenticator := auth.NewAuthenticator(users)
	authenticator.Configure([]auth.Method{auth.NewBasic(auth.NewPasswords(users, auth.PasswordOptions{Policy: password.Policy{Iterations: 1000}}))})

	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("mallory", "apple")
	_, err := authenticator.Authenticate(r)
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		fmt.Printf("refused method=%s user=%q reason=%q\n", refusal.Method, refusal.User, refusal.Reason)
		w := httptest.NewRecorder()
		refusal.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// refused method=default user="mallory" reason="Name or password is incorrect."
	// 401 {"error":"unauthorized","reason":"Name or password is incorrect."}
}
