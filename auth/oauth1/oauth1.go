// Package oauth1 signs users on with signed requests: OAuth 1.0a (RFC 5849), as CouchDB 1.x took them, checked as strictly as they should be.
//
//	credentials, bad := oauth1.NewStatic(oauth1.Sections{
//		ConsumerSecrets: map[string]string{"consumer1": "sekr1t"},
//		TokenSecrets:    map[string]string{"token1": "tokensekr1t"},
//		TokenUsers:      map[string]string{"token1": "anna"},
//	})
//	// bad says which entries cannot be used, and why
//	verifier, err := oauth1.NewVerifier(oauth1.Options{Credentials: credentials, Users: users})
//	…
//	authenticator.Configure([]auth.Method{verifier, cookies, basic})
//
// # What a request must be
//
// Its OAuth parameters are in the Authorization header or in the query, each once; the scheme may be spelled in any letters, and realm is not
// signed. oauth_signature_method is HMAC-SHA1, HMAC-SHA256, RSA-SHA1 or, over TLS alone, PLAINTEXT. Which of them a consumer may use is said by
// its credential: one with an RSA key signs with that and nothing else, so that nobody can use a public key as a shared secret.
//
// What is signed is the method, the address that the client asked (see Options.Origin, behind a proxy), and the parameters of header, query and
// form. The body of a form is read only when Options.Form is given; without it a form's own parameters are taken as not signed.
// Other bodies are not covered by any signature: use TLS.
//
// # Replay
//
// A signed request is good once. Its timestamp must be within five minutes of the clock, and its nonce must be new. Nonces are
// remembered by [Nonces], in memory; timestamps from before it was made are refused, since what was used then is not known. A client whose clock is
// ahead defeats that for as long as it is ahead. Keep one Nonces for the whole life of the process, and give it to each Verifier that is
// made when settings change. When it is full, requests are refused; nothing is forgotten before its time.
//
// # Answers
//
// A request without OAuth parameters is left to other methods. Refusals have CouchDB's words where it had some; a bad signature is 401 with a challenge,
// where CouchDB 1.x went on with nobody. The endpoints of /_oauth are not part of this package: tokens are made by the operator.
package oauth1

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
)

var _ auth.Method = (*Verifier)(nil)

const (
	maxHeader     = 8 << 10 // bytes of the Authorization header
	maxParameters = 1000
	maxValue      = 1 << 10 // bytes of an OAuth parameter's value
)

// Options say which signed requests a Verifier takes. Credentials and Users are required.
type Options struct {
	Credentials Credentials
	Users       auth.Users // where the user of a credential must be

	// Nonces remembers what was used. nil: one of the Verifier's own, which a next Verifier knows nothing of.
	Nonces *Nonces

	// Origin returns the scheme, "http" or "https", and the host with its port, if any, that the client asked. Whose X-Forwarded headers are believed
	// is its business. nil: r.TLS and the Host header.
	Origin func(r *http.Request) (scheme, host string)

	// Form returns the body of a request whose Content-Type is application/x-www-form-urlencoded, and leaves r with a body that can be read anew;
	// see FormBody. It is asked after all checks that do not need it. nil: parameters of forms are not signed.
	Form func(r *http.Request) (string, error)

	Realm string           // of the challenge; "": server
	Now   func() time.Time // nil: time.Now
}

// Verifier is the Method "oauth". It is immutable but for its Nonces, and safe for concurrent use.
type Verifier struct {
	o         Options
	challenge string
}

// NewVerifier returns a Verifier. It fails without Credentials or Users, and when Realm cannot stand in a header.
func NewVerifier(o Options) (*Verifier, error) {
	if o.Credentials == nil || o.Users == nil {
		return nil, errors.New("oauth1: no Credentials or no Users")
	}
	if o.Realm == "" {
		o.Realm = "server"
	}
	if strings.ContainsFunc(o.Realm, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		return nil, fmt.Errorf("oauth1: realm %q cannot be quoted", o.Realm)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Nonces == nil {
		o.Nonces = NewNonces(NonceOptions{Now: o.Now})
	}
	if o.Origin == nil {
		o.Origin = func(r *http.Request) (string, string) {
			if r.TLS != nil {
				return "https", r.Host
			}
			return "http", r.Host
		}
	}
	return &Verifier{o: o, challenge: `OAuth realm="` + o.Realm + `"`}, nil
}

// Name implements auth.Method.
func (v *Verifier) Name() string { return "oauth" }

// Authenticate implements auth.Method. It reads the body of a form when Options.Form is given, and no other. The Identity's Credential is the consumer
// key and, after a slash, the token. A request that is auth.Repeated has used its nonce.
func (v *Verifier) Authenticate(r *http.Request) (auth.Identity, error) {
	params, err := requestParameters(r)
	if err != nil {
		return auth.Identity{}, err
	}
	if params == nil {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	claim, err := readClaim(params)
	if err != nil {
		return auth.Identity{}, err
	}
	id, err := v.verify(r, params, &claim)
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		err = refusal.About(v.Name(), "", claim.credential())
	}
	return id, err
}

// verify goes from the cheap checks to the costly ones, and uses the nonce up when all but the user is right.
func (v *Verifier) verify(r *http.Request, params []parameter, claim *claim) (auth.Identity, error) {
	credential, err := v.lookup(r.Context(), claim)
	if err != nil {
		return auth.Identity{}, err
	}
	scheme, host := v.o.Origin(r)
	if claim.method == plaintext && !strings.EqualFold(scheme, "https") {
		return auth.Identity{}, badRequest("PLAINTEXT signatures are taken over TLS only.")
	}
	if claim.once {
		if err := v.o.Nonces.inTime(claim.timestamp); err != nil {
			return auth.Identity{}, v.unauthorized(err.Error())
		}
	}
	if v.o.Form != nil && isForm(r) {
		form, err := v.form(r)
		if err != nil {
			return auth.Identity{}, err
		}
		params = append(params, form...)
	}
	base, err := baseString(r.Method, scheme, host, r.URL.EscapedPath(), params)
	if err != nil {
		return auth.Identity{}, err
	}
	if !credential.verify(claim.method, base, claim.signature) {
		return auth.Identity{}, v.unauthorized("Invalid signature value.")
	}
	if claim.once && !auth.Repeated(r.Context()) {
		if err := v.use(claim); err != nil {
			return auth.Identity{}, err
		}
	}
	return v.identity(r.Context(), claim, credential.User)
}

// claim is what the OAuth parameters of a request say.
type claim struct {
	consumer, token  string
	method           method
	signature, nonce string
	timestamp        int64
	once             bool // there are a timestamp and a nonce; only PLAINTEXT may go without
}

// credential names the consumer and the token, for logs and revocation.
func (c *claim) credential() string {
	if c.token == "" {
		return c.consumer
	}
	return c.consumer + "/" + c.token
}

// readClaim takes the OAuth parameters apart (RFC 5849 §3.1 and §3.2).
func readClaim(params []parameter) (c claim, err error) {
	given := make(map[string]string)
	for _, p := range params {
		if !strings.HasPrefix(p.name, "oauth_") {
			continue
		}
		if _, twice := given[p.name]; twice {
			return c, badRequest("Parameter " + strconv.Quote(p.name) + " is there twice.")
		}
		if len(p.value) > maxValue {
			return c, badRequest("Parameter " + strconv.Quote(p.name) + " is too long.")
		}
		given[p.name] = p.value
	}
	if version, ok := given["oauth_version"]; ok && version != "1.0" {
		return c, &auth.Refusal{Status: http.StatusBadRequest, Kind: "invalid_oauth_version", Reason: "Invalid OAuth version."}
	}
	for _, name := range []string{"oauth_consumer_key", "oauth_signature_method", "oauth_signature"} {
		if given[name] == "" {
			return c, badRequest("Parameter " + name + " is missing.")
		}
	}
	c.consumer, c.token = given["oauth_consumer_key"], given["oauth_token"]
	c.method, c.signature, c.nonce = method(given["oauth_signature_method"]), given["oauth_signature"], given["oauth_nonce"]
	if !slices.Contains(methods, c.method) {
		return c, badRequest("Unsupported oauth_signature_method.")
	}
	timestamp, timed := given["oauth_timestamp"]
	if c.method == plaintext && !timed && c.nonce == "" {
		return c, nil
	}
	if c.nonce == "" {
		return c, badRequest("Parameter oauth_nonce is missing.")
	}
	if !timed || strings.Trim(timestamp, "0123456789") != "" {
		return c, badRequest("Parameter oauth_timestamp is missing or no number of seconds.")
	}
	if c.timestamp, err = strconv.ParseInt(timestamp, 10, 64); err != nil {
		return c, badRequest("Parameter oauth_timestamp is missing or no number of seconds.")
	}
	c.once = true
	return c, nil
}

// lookup finds the secrets that the request must be signed with.
func (v *Verifier) lookup(ctx context.Context, c *claim) (Credential, error) {
	credential, err := v.o.Credentials.Lookup(ctx, c.consumer, c.token)
	if errors.Is(err, ErrUnknownPair) || err == nil && !credential.usable() {
		return Credential{}, &auth.Refusal{
			Status: http.StatusBadRequest, Kind: "invalid_consumer_token_pair", Reason: "Invalid consumer and token pair.",
		}
	}
	return credential, err
}

// form adds the body's parameters, among which may be none of OAuth's own.
func (v *Verifier) form(r *http.Request) ([]parameter, error) {
	body, err := v.o.Form(r)
	if err != nil {
		return nil, err
	}
	params, err := parseForm(body)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(params, func(p parameter) bool { return strings.HasPrefix(p.name, "oauth_") }) {
		return nil, badRequest("OAuth parameters belong into the Authorization header or the query.")
	}
	return params, nil
}

// use makes the request the last with its nonce.
func (v *Verifier) use(c *claim) error {
	switch err := v.o.Nonces.use(c); {
	case errors.Is(err, errFull):
		return &auth.Refusal{
			Status: http.StatusServiceUnavailable, Kind: "service_unavailable", Reason: "Too many signed requests. Try again later.",
			Header: http.Header{"Retry-After": {"60"}},
		}
	case err != nil:
		return v.unauthorized(err.Error())
	default:
		return nil
	}
}

// identity signs in the user of a credential, who must be in the directory.
func (v *Verifier) identity(ctx context.Context, c *claim, name string) (auth.Identity, error) {
	u, err := v.o.Users.User(ctx, name)
	if errors.Is(err, auth.ErrUnknownUser) {
		return auth.Identity{}, v.unauthorized("The user of this token does not exist.")
	} else if err != nil {
		return auth.Identity{}, err
	}
	roles := u.Roles
	if u.Admin && !slices.Contains(roles, "_admin") {
		roles = append([]string{"_admin"}, roles...)
	}
	return auth.Identity{Name: u.Name, Roles: roles, Method: v.Name(), Credential: c.credential(), Local: true}, nil
}

func (v *Verifier) unauthorized(reason string) *auth.Refusal {
	return &auth.Refusal{
		Status: http.StatusUnauthorized, Kind: "unauthorized", Reason: reason,
		Header: http.Header{"Www-Authenticate": {v.challenge}},
	}
}

func badRequest(reason string) *auth.Refusal {
	return &auth.Refusal{Status: http.StatusBadRequest, Kind: "bad_request", Reason: reason}
}
