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
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/parlordb/parlor/auth"
)

const (
	maxRemembered = 10_000
	maxFailures   = 1_000

	rememberFor        = 5 * time.Minute
	rememberFailureFor = 5 * time.Second
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
	o        Options
	path     []string
	verified *otter.Cache[tokenHash, *verified]
	failed   *otter.Cache[tokenHash, *failure]
}

type tokenHash [sha256.Size]byte

// verified is a token whose signature was right. Its times are to be checked at each use.
type verified struct {
	id       auth.Identity
	exp, nbf float64 // Unix seconds; NaN when the token does not say
	until    int64   // Unix seconds
}

// failure is a token whose signature was wrong.
type failure struct {
	refusal error
	until   int64 // Unix seconds
}

// NewBearer returns a Bearer. It fails when RolesPath or Leeway cannot be meant.
func NewBearer(o Options) (*Bearer, error) {
	path, err := parsePath(o.RolesPath)
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
	// Entries carry their own age, so the caches need no goroutine: not to expire them, and not to keep their bounds.
	here := func(f func()) { f() }
	return &Bearer{
		o:        o,
		path:     path,
		verified: otter.Must(&otter.Options[tokenHash, *verified]{MaximumSize: maxRemembered, Executor: here}),
		failed:   otter.Must(&otter.Options[tokenHash, *failure]{MaximumSize: maxFailures, Executor: here}),
	}, nil
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
	if len(token) > maxToken {
		return auth.Identity{}, refuse(http.StatusBadRequest, "Authentication token is too long").About(b.Name(), "", "")
	}
	var stack [1024]byte
	hash := tokenHash(sha256.Sum256(append(stack[:0], token...)))
	now := b.o.Now().Unix()
	if v, ok := b.verified.GetIfPresent(hash); ok && now < v.until {
		if err := b.inTime(v.exp, v.nbf, now); err != nil {
			return auth.Identity{}, claimed{v.id.Name, v.id.Credential}.in(err)
		}
		return v.id, nil
	}
	if f, ok := b.failed.GetIfPresent(hash); ok && now < f.until {
		return auth.Identity{}, f.refusal
	}
	var said claimed
	v, err := b.verify(token, now, r, &said)
	if wrong, ok := errors.AsType[*signatureError](err); ok {
		err = said.in(wrong.Refusal)
		b.failed.Set(hash, &failure{err, now + int64(rememberFailureFor/time.Second)})
		return auth.Identity{}, err
	}
	if err != nil {
		return auth.Identity{}, said.in(err)
	}
	v.until = now + int64(rememberFor/time.Second)
	b.verified.Set(hash, v)
	return v.id, nil
}

// signatureError is the one failure that costs enough to be remembered. It does not depend on the time.
type signatureError struct{ *auth.Refusal }

// claimed is what a token says of itself, for the operator to read when it is refused. Nothing has proved it.
type claimed struct{ user, key string }

// in puts it into a refusal.
func (c claimed) in(err error) error {
	if refusal, ok := err.(*auth.Refusal); ok {
		return refusal.About("jwt", c.user, c.key)
	}
	return err
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
	sub := claims.get("sub")
	said.user, _ = str(sub)
	exp, nbf, err := b.checkClaims(&h, claims, now)
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
	switch {
	case sub == nil:
		return nil, refuse(http.StatusUnauthorized, "Token missing sub claim.")
	case said.user == "": // or no string at all
		return nil, refuse(http.StatusBadRequest, "Invalid sub claim")
	}
	expires := expiry(exp + b.leeway())
	id := auth.Identity{Name: said.user, Roles: roles, Method: b.Name(), Credential: k.name, Expires: expires}
	return &verified{id: id, exp: exp, nbf: nbf}, nil
}

// verifySignature checks a signature at the cost of the client's budget, which a right one gets back.
func (b *Bearer) verifySignature(h *header, signed, signature string, r *http.Request) (*key, error) {
	if b.o.Budget == nil || r == nil {
		return b.o.Keys.verify(h, signed, signature)
	}
	giveBack, err := b.o.Budget.Take(b.o.Client(r))
	if err != nil {
		return nil, err
	}
	k, err := b.o.Keys.verify(h, signed, signature)
	if wrong := (*signatureError)(nil); !errors.As(err, &wrong) {
		giveBack()
	}
	return k, err
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
	if public, ok := found.public.(*ecdsa.PublicKey); ok && public.Curve != h.alg.curve {
		return nil, refuse(http.StatusBadRequest, "Key is not for this alg")
	}
	return found, nil
}

// checkClaims is steps 8 to 12 of spec §4.2, then the claims that only Parlor can require. A claim that is not there has the time NaN.
func (b *Bearer) checkClaims(h *header, claims object, now int64) (exp, nbf float64, err error) {
	if claim := b.o.Required.find("iss"); claim != nil {
		if err := checkClaim(claims.get("iss"), claim); err != nil {
			return 0, 0, err
		}
	}
	if b.o.Required.find("iat") != nil {
		switch v := claims.get("iat"); {
		case v == nil:
			return 0, 0, refuse(http.StatusBadRequest, "Missing iat claim")
		case !integer(v):
			return 0, 0, refuse(http.StatusBadRequest, "Invalid iat claim")
		}
	}
	if nbf, err = b.time(claims, "nbf"); err != nil {
		return 0, 0, err
	}
	if err := b.inTime(math.NaN(), nbf, now); err != nil {
		return 0, 0, err
	}
	if exp, err = b.time(claims, "exp"); err != nil {
		return 0, 0, err
	}
	if err := b.inTime(exp, math.NaN(), now); err != nil {
		return 0, 0, err
	}
	if claim := b.o.Required.find("kid"); claim != nil {
		if !h.hasKid {
			return 0, 0, refuse(http.StatusBadRequest, "Missing kid claim")
		}
		if claim.Values != nil && !oneOf(h.members.get("kid"), claim.Values, false) {
			return 0, 0, refuse(http.StatusBadRequest, "Invalid kid claim")
		}
	}
	for i := range b.o.Required {
		switch claim := &b.o.Required[i]; claim.Name {
		case "typ", "iss", "iat", "nbf", "exp", "kid":
		default:
			if err := checkClaim(claims.get(claim.Name), claim); err != nil {
				return 0, 0, err
			}
		}
	}
	return exp, nbf, nil
}

// checkClaim holds a claim's value against what is required of it.
func checkClaim(v []byte, claim *Claim) error {
	if v == nil {
		return refuse(http.StatusBadRequest, "Missing "+claim.Name+" claim")
	}
	valid := string(v) != "null"
	if claim.Name == "iss" {
		issuer, ok := str(v)
		valid = ok && issuer != ""
	}
	if claim.Values != nil {
		valid = oneOf(v, claim.Values, claim.Name == "aud")
	}
	if !valid {
		return refuse(http.StatusBadRequest, "Invalid "+claim.Name+" claim")
	}
	return nil
}

// time reads a NumericDate (RFC 7519 §2), NaN when it is neither there nor required.
func (b *Bearer) time(claims object, name string) (float64, error) {
	v := claims.get(name)
	if v == nil {
		if b.o.Required.find(name) != nil {
			return 0, refuse(http.StatusBadRequest, "Missing "+name+" claim")
		}
		return math.NaN(), nil
	}
	seconds, ok := number(v)
	if !ok {
		return 0, refuse(http.StatusBadRequest, "Invalid "+name+" claim")
	}
	return seconds, nil
}

// inTime compares with whole seconds, strictly on both sides, as CouchDB does. No comparison with NaN holds.
func (b *Bearer) inTime(exp, nbf float64, now int64) error {
	leeway := b.leeway()
	if nbf >= float64(now)+leeway {
		// CouchDB's nbf must be before now; with a leeway, before now and the leeway.
		return refuse(http.StatusUnauthorized, "nbf not in past")
	}
	if exp <= float64(now)-leeway {
		return refuse(http.StatusUnauthorized, "exp not in future")
	}
	return nil
}

// leeway is in whole seconds, as the times that it is added to.
func (b *Bearer) leeway() float64 { return float64(b.o.Leeway / time.Second) }

// expiry is a NumericDate as a time; none, and one beyond the year 9999, is the zero Time: it does not end.
func expiry(exp float64) time.Time {
	const year10000 = 253402300800
	if math.IsNaN(exp) || exp >= year10000 {
		return time.Time{}
	}
	whole, fraction := math.Modf(exp)
	return time.Unix(int64(whole), int64(fraction*1e9))
}
