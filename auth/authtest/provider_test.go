package authtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B

func authorizeURL(p *Provider, change url.Values) string {
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {"client"}, "redirect_uri": {"http://app.example/callback"}, "scope": {"openid offline_access"},
		"state": {"s1"}, "nonce": {"n1"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for name, values := range change {
		query[name] = values
	}
	return p.URL + AuthorizePath + "?" + query.Encode()
}

// trade posts to the token endpoint as the client with its secret.
func trade(t *testing.T, p *Provider, secret string, form url.Values) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", p.URL+TokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("client", secret)
	return ask(t, p, r)
}

func ask(t *testing.T, p *Provider, r *http.Request) (int, map[string]any) {
	t.Helper()
	response, err := p.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

func codeForm(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"http://app.example/callback"}, "code_verifier": {verifier},
	}
}

// TestProviderIsStrict shows that a client which does not do its part gets no token: else a test against the Provider would prove nothing.
func TestProviderIsStrict(t *testing.T) {
	t.Parallel()
	clock := NewClock()
	p := NewProvider(t, ProviderOptions{Now: clock.Now})
	if code := p.SignIn(t, authorizeURL(p, nil)).Query(); code.Get("error") != "access_denied" {
		t.Errorf("nobody signed in: %v", code)
	}
	p.SetUser(map[string]any{"sub": "anna"})
	if q := p.SignIn(t, authorizeURL(p, url.Values{"code_challenge_method": {"plain"}})).Query(); q.Get("error") != "invalid_request" {
		t.Errorf("plain code_challenge: %v", q)
	}
	for name, c := range map[string]struct {
		secret, want string
		change       func(form url.Values)
	}{
		"another's secret":     {"guess", "invalid_client", func(url.Values) {}},
		"unknown code":         {"secret", "invalid_grant", func(f url.Values) { f.Set("code", "x") }},
		"another redirect_uri": {"secret", "invalid_grant", func(f url.Values) { f.Set("redirect_uri", "http://app.example/") }},
		"no code_verifier":     {"secret", "invalid_grant", func(f url.Values) { f.Del("code_verifier") }},
		"wrong code_verifier":  {"secret", "invalid_grant", func(f url.Values) { f.Set("code_verifier", "x") }},
		"two secrets":          {"secret", "invalid_client", func(f url.Values) { f.Set("client_secret", "secret") }},
		"another grant":        {"secret", "unsupported_grant_type", func(f url.Values) { f.Set("grant_type", "password") }},
	} {
		form := codeForm(p.SignIn(t, authorizeURL(p, nil)).Query().Get("code"))
		c.change(form)
		if status, body := trade(t, p, c.secret, form); status == 200 || body["error"] != c.want {
			t.Errorf("%s: %d %v, want %s", name, status, body, c.want)
		}
	}
	late := codeForm(p.SignIn(t, authorizeURL(p, nil)).Query().Get("code"))
	clock.Advance(2 * time.Minute)
	if status, body := trade(t, p, "secret", late); body["error"] != "invalid_grant" {
		t.Errorf("an expired code: %d %v", status, body)
	}
}

func TestProviderSignsIn(t *testing.T) {
	t.Parallel()
	p := NewProvider(t, ProviderOptions{TLS: true})
	p.SetUser(map[string]any{"sub": "anna"})
	back := p.SignIn(t, authorizeURL(p, nil)).Query()
	if back.Get("state") != "s1" || back.Get("iss") != p.URL {
		t.Errorf("sent back with %v", back)
	}
	status, body := trade(t, p, "secret", codeForm(back.Get("code")))
	if status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	idToken := body["id_token"].(string)
	if claims := verified(t, p, idToken); claims["sub"] != "anna" || claims["nonce"] != "n1" || claims["aud"] != "client" || claims["sid"] == "" {
		t.Errorf("claims %v", claims)
	}
	if status, body := trade(t, p, "secret", codeForm(back.Get("code"))); body["error"] != "invalid_grant" {
		t.Errorf("the code served twice: %d %v", status, body)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {body["refresh_token"].(string)}}
	_, refreshed := trade(t, p, "secret", refresh)
	if claims := verified(t, p, refreshed["id_token"].(string)); claims["sub"] != "anna" || claims["nonce"] != nil {
		t.Errorf("refreshed claims %v", claims)
	}
	if refreshed["refresh_token"] == body["refresh_token"] {
		t.Error("the refresh token was not replaced")
	}
	if _, body := trade(t, p, "secret", refresh); body["error"] != "invalid_grant" {
		t.Errorf("the refresh token served twice: %v", body)
	}
	if n := p.Requests(TokenPath); n != 4 {
		t.Errorf("%d token requests were counted, want 4", n)
	}
}

// verified checks a token with the published keys.
func verified(t *testing.T, p *Provider, token string) map[string]any {
	t.Helper()
	response, err := p.Client().Get(p.URL + KeysPath)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(set)
	if err != nil {
		t.Fatalf("with the published keys: %v", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestProviderMisbehaves(t *testing.T) {
	t.Parallel()
	p := NewProvider(t, ProviderOptions{})
	p.SetUser(map[string]any{"sub": "anna"})
	second := p.Rotate(t, "EdDSA")
	if claims := verified(t, p, p.IDToken(t, nil)); claims["sub"] != "anna" {
		t.Errorf("claims %v", claims)
	}
	p.Remove(second.Kid)
	get := func(path string) (int, int64) {
		response, err := p.Client().Get(p.URL + path)
		if err != nil {
			return 0, 0
		}
		defer response.Body.Close()
		n, _ := io.Copy(io.Discard, response.Body)
		return response.StatusCode, n
	}
	p.SetHeader(KeysPath, "Cache-Control", "max-age=60")
	response, err := p.Client().Get(p.URL + KeysPath)
	if err != nil {
		t.Fatal(err)
	}
	set, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if strings.Contains(string(set), second.Kid) || response.Header.Get("Cache-Control") != "max-age=60" {
		t.Errorf("after %s was removed: %v %s", second.Kid, response.Header, set)
	}
	p.Break(KeysPath, Garbage(1_000_000))
	if status, n := get(KeysPath); status != 200 || n != 1_000_000 {
		t.Errorf("garbage: %d, %d bytes", status, n)
	}
	p.Break("", Down())
	if status, _ := get(DiscoveryPath); status != 0 {
		t.Errorf("down: %d", status)
	}
	p.Break("", nil)
	p.Break(KeysPath, nil)
	p.Misbehave(Misbehaviour{Metadata: func(document map[string]any) { document["issuer"] = "https://evil.example" }})
	r, _ := http.NewRequestWithContext(t.Context(), "GET", p.URL+DiscoveryPath, nil)
	if _, document := ask(t, p, r); document["issuer"] != "https://evil.example" {
		t.Errorf("metadata %v", document)
	}
	jws, err := jose.ParseSignedCompact(p.LogoutToken(t, "anna", "", nil), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || jws.Signatures[0].Header.ExtraHeaders["typ"] != "logout+jwt" {
		t.Errorf("logout token: %v", err)
	}
}
