// Package jwt signs users on with bearer tokens: JSON Web Tokens (RFC 7519) as CouchDB takes them, checked as strictly as
// they should be.
//
//	keys, bad := jwt.ParseKeys(map[string]string{"ec:phone": pem, "hmac:_default": base64Secret})
//	// bad says which entries cannot be used, and why
//	bearer, err := jwt.NewBearer(jwt.Options{Keys: keys})
//	…
//	authenticator.Configure([]auth.Method{bearer, cookies, basic})
//
// # What a token must be
//
// Three parts in base64url, a header whose alg is HS, RS, PS or ES with 256, 384 or 512, or EdDSA, and claims with a non-empty string sub, which is
// the user's name. The key is looked up under the alg's family and the header's kid ("_default" without one), so a token cannot have its
// HMAC checked with a public key, and ES256 goes with P-256 alone, ES384 with P-384, ES512 with P-521. exp and nbf count whenever they are
// there. What else is required is said by [Claims]. Members that are there twice, critical extensions, unencoded payloads, tokens over 32 KiB and nesting
// over 32 levels are refused; keys inside of a token, and addresses of keys, are not looked at. "none" is no algorithm.
//
// Roles are in the claim "_couchdb.roles" or wherever [Options] says. The role "_admin" makes a server admin: whoever holds a key of the set can
// make one. The Users directory is not asked for roles, and a token's user need not be in it.
//
// # Remembered tokens
//
// A token that verified is remembered by its SHA-256, so that the next request with it costs a hash and not a signature; its times are
// checked each time. The memory belongs to the [Bearer], which is immutable: new keys or rules mean a new Bearer, to which no token is known.
// Tokens with a wrong signature are remembered for some seconds in a place of their own, and an [auth.Budget] in [Options] bounds how many of them
// a client may send.
//
// Refusals have CouchDB's status and text (mostly 400), and WWW-Authenticate as in RFC 6750.
package jwt

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/parlordb/parlor/auth"
)

var _ auth.Method = (*Bearer)(nil)

// Options say which tokens a Bearer takes. The zero value takes none, for want of keys.
type Options struct {
	Keys      *Keys
	Required  Claims           // nil: DefaultClaims; an empty one asks for nothing
	RolesName string           // the claim that holds the roles; "": _couchdb.roles
	RolesPath string           // where they are in nested objects, such as `realm_access.roles`; it wins over RolesName
	Leeway    time.Duration    // how far clocks may differ where exp and nbf are checked, to the second; an Identity's Expires includes it
	Now       func() time.Time // nil: time.Now

	// Budget bounds how many tokens with wrong signatures a client may send; it lives longer than one Bearer. nil: nothing is bounded.
	Budget *auth.Budget
	// Client returns who a request is from, for Budget; who is believed about that is its business. nil: the peer of the connection.
	Client func(r *http.Request) netip.Addr
}

// Bearer is the Method "jwt". It is immutable and safe for concurrent use.
type Bearer struct {
	o      Options
	rules  rules
	path   Path
	memory memory[*verified]
}

// verified is a token whose signature was right.
type verified struct {
	id       auth.Identity
	exp, nbf float64 // Unix seconds; NaN when the token does not say
}

// NewBearer returns a Bearer. It fails when RolesPath or Leeway cannot be meant.
func NewBearer(o Options) (*Bearer, error) {
	path, err := ParsePath(o.RolesPath)
	if err != nil {
		return nil, err
	}
	if o.Leeway < 0 {
		return nil, fmt.Errorf("leeway %v is negative", o.Leeway)
	}
	if o.Required == nil {
		o.Required = DefaultClaims()
	}
	if o.RolesName == "" {
		o.RolesName = "_couchdb.roles"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Client == nil {
		o.Client = auth.Peer
	}
	return &Bearer{o: o, rules: rules{required: o.Required, leeway: o.Leeway}, path: path, memory: newMemory[*verified]()}, nil
}

// Name implements auth.Method.
func (b *Bearer) Name() string { return "jwt" }

// Authenticate implements auth.Method. The scheme must be spelled "Bearer " exactly; anything else counts as no credentials.
func (b *Bearer) Authenticate(r *http.Request) (auth.Identity, error) {
	token, ok := auth.Credentials(r.Header, "Bearer ")
	if !ok {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	return b.check(token, r)
}

// Verify returns who a token is from. It fails with an *auth.Refusal. The Identity's Credential is the name of the key that signed it; a Refusal's
// is that of the key which the token selects, and its User the sub that the token claims, as far as it could be read. It is nobody's Budget.
func (b *Bearer) Verify(token string) (auth.Identity, error) { return b.check(token, nil) }

// check verifies a token that came with r, nil for one that came otherwise.
func (b *Bearer) check(token string, r *http.Request) (auth.Identity, error) {
	hash, err := hashToken(token)
	if err != nil {
		return auth.Identity{}, err
	}
	now := b.o.Now().Unix()
	if v, ok := b.memory.recall(hash, now); ok {
		if err := b.rules.inTime(v.exp, v.nbf, now); err != nil {
			return auth.Identity{}, claimed{v.id.Name, v.id.Credential}.in(err)
		}
		return v.id, nil
	}
	if err := b.memory.refusal(hash, now); err != nil {
		return auth.Identity{}, err
	}
	var said claimed
	v, err := b.verify(token, now, r, &said)
	if err != nil {
		return auth.Identity{}, b.memory.refused(hash, now, said, err)
	}
	b.memory.keep(hash, now, v, len(token))
	return v.id, nil
}

// verify goes through spec §4.2 step by step, and notes what the token says of itself as soon as that is known.
func (b *Bearer) verify(token string, now int64, r *http.Request, said *claimed) (*verified, error) {
	head, payload, signature, ok := split(token)
	if !ok {
		return nil, refuse(http.StatusBadRequest, malformed)
	}
	h, err := parseHeader(head, b.o.Required)
	if err != nil {
		return nil, err
	}
	said.key = h.keyName()
	claims, err := decodePart(payload)
	if err != nil {
		return nil, err
	}
	said.user, _ = str(claims.get("sub"))
	exp, nbf, err := b.rules.check(&h, claims, now)
	if err != nil {
		return nil, err
	}
	k, err := b.verifySignature(&h, token[:len(head)+1+len(payload)], signature, r)
	if err != nil {
		return nil, err
	}
	roles, err := b.roles(claims)
	if err != nil {
		return nil, err
	}
	sub, err := subject(claims)
	if err != nil {
		return nil, err
	}
	id := auth.Identity{Name: sub, Roles: roles, Method: b.Name(), Credential: k.name, Expires: b.rules.expires(exp)}
	return &verified{id: id, exp: exp, nbf: nbf}, nil
}

// verifySignature checks a signature at the cost of the client's budget.
func (b *Bearer) verifySignature(h *header, signed, signature string, r *http.Request) (*key, error) {
	if b.o.Budget == nil || r == nil {
		return b.o.Keys.verify(h, signed, signature)
	}
	return atCost(b.o.Budget, b.o.Client(r), func() (*key, error) { return b.o.Keys.verify(h, signed, signature) })
}

// verify checks a signature with the key that the header selects, and returns that key.
func (k *Keys) verify(h *header, signed, signature string) (*key, error) {
	found, err := k.find(h)
	if err != nil {
		return nil, err
	}
	sig, err := decodeBase64(signature)
	if err != nil || h.alg.method.Verify(signed, sig, found.public) != nil {
		return nil, &signatureError{refuse(http.StatusBadRequest, h.alg.mismatch)}
	}
	return found, nil
}

// find returns the key that a token selects.
func (k *Keys) find(h *header) (*key, error) {
	found := k.lookup(h.keyName())
	switch {
	case found == nil:
		return nil, refuse(http.StatusBadRequest, "Unknown kid")
	case found.bad != "":
		return nil, refuse(http.StatusBadRequest, found.bad)
	case found.alg != "" && found.alg != h.algName:
		return nil, refuse(http.StatusBadRequest, "Key is not for this alg")
	}
	if !h.alg.takes(found.public) {
		return nil, refuse(http.StatusBadRequest, "Key is not for this alg")
	}
	return found, nil
}
