package authtest

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	p.mu.Lock()
	p.requests[path]++
	broken := p.broken[path]
	if broken == nil {
		broken = p.broken[""]
	}
	p.mu.Unlock()
	if broken != nil {
		broken.ServeHTTP(w, r)
		return
	}
	p.answer(w, r)
}

func (p *Provider) answer(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	path := r.URL.Path
	p.last[path] = Request{Method: r.Method, Header: r.Header.Clone(), Form: r.Form}
	for name, value := range p.headers[path] {
		if value != "" {
			w.Header().Set(name, value)
		}
	}
	switch path {
	case DiscoveryPath:
		p.discovery(w)
	case KeysPath:
		p.keys(w)
	case AuthorizePath:
		p.authorize(w, r)
	case TokenPath:
		p.token(w, r)
	case EndSessionPath:
		p.endSession(w, r)
	default:
		http.NotFound(w, r)
	}
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone away does not wait for it
}

func (p *Provider) discovery(w http.ResponseWriter) {
	algorithms := make(map[string]bool)
	for _, s := range p.published {
		algorithms[s.Alg] = true
	}
	document := map[string]any{
		"issuer":                                         p.Issuer(),
		"authorization_endpoint":                         p.URL + AuthorizePath,
		"token_endpoint":                                 p.URL + TokenPath,
		"end_session_endpoint":                           p.URL + EndSessionPath,
		"jwks_uri":                                       p.URL + KeysPath,
		"response_types_supported":                       []string{"code"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          slices.Sorted(maps.Keys(algorithms)),
		"token_endpoint_auth_methods_supported":          []string{p.o.ClientAuth},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
		"backchannel_logout_supported":                   true,
		"backchannel_logout_session_supported":           true,
	}
	if p.wrong.Metadata != nil {
		p.wrong.Metadata(document)
	}
	answerJSON(w, http.StatusOK, document)
}

func (p *Provider) keys(w http.ResponseWriter) {
	keys := []any{}
	for _, s := range p.published {
		if public := s.Public(); public != nil { // a shared secret is not for publishing
			keys = append(keys, jose.JSONWebKey{Key: public, KeyID: s.Kid, Algorithm: s.Alg, Use: "sig"})
		}
	}
	if p.wrong.Keys != nil {
		keys = p.wrong.Keys(keys)
	}
	answerJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

// authorize is the authorization endpoint (OpenID Connect Core §3.1.2): it sends the browser back at once.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	form := r.Form
	back, err := url.Parse(form.Get("redirect_uri"))
	registered := len(p.o.RedirectURIs) == 0 || slices.Contains(p.o.RedirectURIs, form.Get("redirect_uri"))
	if err != nil || !back.IsAbs() || !registered || form.Get("client_id") != p.o.ClientID {
		http.Error(w, "unknown client_id or redirect_uri", http.StatusBadRequest) // to nowhere: RFC 6749 §4.1.2.1
		return
	}
	query := back.Query()
	query.Set("iss", p.Issuer())
	if form.Has("state") {
		query.Set("state", form.Get("state"))
	}
	scopes := strings.Fields(form.Get("scope"))
	switch {
	case form.Get("response_type") != "code":
		query.Set("error", "unsupported_response_type")
	case !slices.Contains(scopes, "openid"):
		query.Set("error", "invalid_scope")
	case form.Has("code_challenge") && form.Get("code_challenge_method") != "S256":
		query.Set("error", "invalid_request")
	case p.user == nil:
		query.Set("error", "access_denied")
		query.Set("error_description", "Nobody is signed in.")
	default:
		code := rand.Text()
		p.codes[code] = &grant{
			redirectURI: form.Get("redirect_uri"), challenge: form.Get("code_challenge"), nonce: form.Get("nonce"),
			sid: rand.Text(), user: maps.Clone(p.user), expires: p.o.Now().Add(time.Minute),
			offline: slices.Contains(scopes, "offline_access") || form.Get("access_type") == "offline",
		}
		query.Set("code", code)
	}
	if p.wrong.Redirect != nil {
		p.wrong.Redirect(query)
	}
	back.RawQuery = query.Encode()
	w.Header().Set("Location", back.String())
	w.WriteHeader(http.StatusFound)
}

// endSession is the end of a session at the provider (RP-Initiated Logout 1.0): nobody is signed in any more.
func (p *Provider) endSession(w http.ResponseWriter, r *http.Request) {
	if r.Form.Get("client_id") != p.o.ClientID {
		http.Error(w, "unknown client_id", http.StatusBadRequest)
		return
	}
	p.user = nil
	if back := r.Form.Get("post_logout_redirect_uri"); back != "" {
		w.Header().Set("Location", back)
		w.WriteHeader(http.StatusFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
