package authtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"

	"github.com/go-jose/go-jose/v4"
)

// token is the token endpoint (OpenID Connect Core §3.1.3, §12).
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	status, body := p.trade(r)
	if p.wrong.Answer != nil {
		p.wrong.Answer(&status, &body)
	}
	w.Header().Set("Cache-Control", "no-store")
	answerJSON(w, status, body)
}

func tokenError(status int, code, description string) (int, map[string]any) {
	return status, map[string]any{"error": code, "error_description": description}
}

func (p *Provider) trade(r *http.Request) (status int, body map[string]any) {
	if r.Method != http.MethodPost {
		return tokenError(http.StatusMethodNotAllowed, "invalid_request", "POST alone")
	}
	if why := p.clientRefused(r); why != "" {
		return tokenError(http.StatusUnauthorized, "invalid_client", why)
	}
	form := r.PostForm
	var from *grant
	switch form.Get("grant_type") {
	case "authorization_code":
		code := form.Get("code")
		from = p.codes[code]
		delete(p.codes, code)
		if why := p.codeRefused(from, form); why != "" {
			return tokenError(http.StatusBadRequest, "invalid_grant", why)
		}
	case "refresh_token":
		from = p.refresh[form.Get("refresh_token")]
		if from == nil {
			return tokenError(http.StatusBadRequest, "invalid_grant", "unknown or used refresh token")
		}
		if !p.o.KeepRefreshTokens {
			delete(p.refresh, form.Get("refresh_token"))
		}
	default:
		return tokenError(http.StatusBadRequest, "unsupported_grant_type", "")
	}
	return p.tokens(from, form.Get("grant_type") == "refresh_token")
}

func (p *Provider) codeRefused(from *grant, form url.Values) (why string) {
	if from == nil {
		return "unknown or used code"
	}
	challenge := ""
	if form.Has("code_verifier") {
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		challenge = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	switch {
	case !p.o.Now().Before(from.expires):
		return "expired code"
	case form.Get("redirect_uri") != from.redirectURI:
		return "redirect_uri is not the one that the code was given for"
	case challenge != from.challenge:
		return "code_verifier does not fit code_challenge"
	}
	return ""
}

func (p *Provider) tokens(from *grant, refreshed bool) (status int, body map[string]any) {
	claims := p.claims(from)
	if refreshed {
		delete(claims, "nonce") // OpenID Connect Core §12.2
	}
	header := make(map[string]any)
	if p.wrong.IDToken != nil {
		p.wrong.IDToken(header, claims)
	}
	idToken, err := p.signer.token(header, claims)
	if err != nil {
		return tokenError(http.StatusInternalServerError, "server_error", err.Error())
	}
	body = map[string]any{
		"access_token": rand.Text(), "token_type": "Bearer", "expires_in": int(p.o.Lifetime.Seconds()), "id_token": idToken,
	}
	if from.offline && !(refreshed && p.o.KeepRefreshTokens) {
		next := rand.Text()
		p.refresh[next] = from
		body["refresh_token"] = next
	}
	return http.StatusOK, body
}

// claims are those of an ID token.
func (p *Provider) claims(from *grant) map[string]any {
	now := p.o.Now()
	claims := maps.Clone(from.user)
	if claims == nil {
		claims = make(map[string]any)
	}
	maps.Copy(claims, map[string]any{"iss": p.Issuer(), "aud": p.o.ClientID, "iat": now.Unix(), "exp": now.Add(p.o.Lifetime).Unix()})
	for name, value := range map[string]string{"nonce": from.nonce, "sid": from.sid} {
		if value != "" {
			claims[name] = value
		}
	}
	return claims
}

// clientRefused says why a client is not the one that it should be, "" when it is.
func (p *Provider) clientRefused(r *http.Request) (why string) {
	form := r.PostForm
	id, secret, basic := r.BasicAuth()
	ways := 0
	for _, is := range []bool{basic, form.Has("client_secret"), form.Has("client_assertion")} {
		if is {
			ways++
		}
	}
	if ways > 1 {
		return "more than one way of authentication" // RFC 6749 §2.3
	}
	switch p.o.ClientAuth {
	case "client_secret_basic":
		// RFC 6749 §2.3.1: both were form-encoded before they became a name and a password.
		name, errName := url.QueryUnescape(id)
		password, errPassword := url.QueryUnescape(secret)
		if !basic || errName != nil || errPassword != nil || name != p.o.ClientID || password != p.o.ClientSecret {
			return "client_secret_basic"
		}
	case "client_secret_post":
		if form.Get("client_id") != p.o.ClientID || form.Get("client_secret") != p.o.ClientSecret {
			return "client_secret_post"
		}
	case "private_key_jwt":
		return p.assertionRefused(form)
	default:
		if ways != 0 || form.Get("client_id") != p.o.ClientID {
			return "a public client has a client_id alone"
		}
	}
	return ""
}

// assertionRefused checks a client assertion (RFC 7523 §3).
func (p *Provider) assertionRefused(form url.Values) (why string) {
	if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return "client_assertion_type"
	}
	jws, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
	if err != nil {
		return "client_assertion is no JWT: " + err.Error()
	}
	payload, err := jws.Verify(p.o.ClientKey)
	if err != nil {
		return "client_assertion has another's signature"
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		Expires  int64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "client_assertion: " + err.Error()
	}
	left := claims.Expires - p.o.Now().Unix()
	switch {
	case claims.Issuer != p.o.ClientID || claims.Subject != p.o.ClientID:
		return "client_assertion: iss and sub are the client_id"
	case claims.Audience != p.Issuer() && claims.Audience != p.URL+TokenPath:
		return "client_assertion: aud is another's"
	case left <= 0 || left > 600:
		return "client_assertion: exp is past or far"
	case claims.ID == "" || p.jtis[claims.ID]:
		return "client_assertion: jti is missing or used"
	}
	p.jtis[claims.ID] = true
	return ""
}
