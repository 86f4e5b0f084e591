package oidc_test

import (
	"errors"
	"log"
	"net/http"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
)

// A server of its own signs users on at one provider.
func ExampleProvider() {
	const issuer, clientID, callback = "https://login.example.com", "my-server", "https://my.example.com/_oidc/corp/callback"
	client := oidc.NewClient(oidc.ClientOptions{})
	keys, err := oidc.NewKeySet(oidc.KeySetOptions{Issuer: issuer, Client: client})
	if err != nil {
		log.Fatal(err)
	}
	defer keys.Close()
	who, err := oidc.NewIssuer(oidc.IssuerOptions{
		Name: "corp", Issuer: issuer, Audience: []string{clientID}, Keys: keys, Directory: new(oidc.Memory),
		Mapping: oidc.Mapping{Unknown: oidc.Register},
	})
	if err != nil {
		log.Fatal(err)
	}
	corp, err := oidc.NewProvider(oidc.ProviderOptions{
		Name: "corp", Issuer: who, Keys: keys, ClientID: clientID, ClientSecret: "from a file", Client: client,
	})
	if err != nil {
		log.Fatal(err)
	}

	refuse := func(w http.ResponseWriter, r *http.Request, err error) {
		log.Print(err) // says more than the client is told
		if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
			refusal.ServeHTTP(w, r)
			return
		}
		http.Error(w, "the server failed", http.StatusInternalServerError)
	}
	http.HandleFunc("GET /_oidc/corp/login", func(w http.ResponseWriter, r *http.Request) {
		to, cookie, err := corp.Login(r.Context(), oidc.Start{
			Callback: callback, Next: r.FormValue("next"), Secure: true, Cookies: r.Cookies(),
		})
		if err != nil {
			refuse(w, r, err)
			return
		}
		w.Header().Add("Set-Cookie", cookie)
		http.Redirect(w, r, to, http.StatusFound)
	})
	http.HandleFunc("GET /_oidc/corp/callback", func(w http.ResponseWriter, r *http.Request) {
		out, err := corp.Callback(r.Context(), r.URL.Query(), callback, r.Cookies())
		if err != nil {
			refuse(w, r, err)
			return
		}
		w.Header().Add("Set-Cookie", out.SetCookie)
		// Here a session of out.Who begins.
		http.Redirect(w, r, "https://my.example.com"+out.Next, http.StatusFound)
	})
}
