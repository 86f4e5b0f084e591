package jwt

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
)

// maxCandidates bounds how many keys a signature is tried with: a token without a kid is no way to have a hundred checked.
const maxCandidates = 8

// KeySource finds the keys that may have signed a token. *Set is one; auth/oidc has one that fetches. It is safe for concurrent use.
type KeySource interface {
	// Candidates returns the public keys (*rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey) that are fit for alg and have that kid; all that are fit
	// for alg when kid is "". No key is not an error. An error is the source's own: the token cannot be judged now.
	Candidates(ctx context.Context, alg, kid string) ([]any, error)
}

// Refetcher is a KeySource that can look for keys again. It is asked when none of its keys has made the signature of a token that does not say which did: the issuer may
// have others by now, and there is no kid to miss one by.
type Refetcher interface {
	KeySource
	// Refetch reports whether there may be other keys than before. How often it really looks is its own business.
	Refetch(ctx context.Context) bool
}

// SigningAlgorithms are those that a Verifier knows, in order: all but HS, whose keys are no public ones.
func SigningAlgorithms() []string {
	names := slices.Sorted(maps.Keys(algorithms))
	return slices.DeleteFunc(names, func(name string) bool { return algorithms[name].family == familyHMAC })
}

// VerifierOptions say which tokens a Verifier takes: those of one issuer.
type VerifierOptions struct {
	Keys       KeySource
	Issuer     string           // the only iss, compared exactly
	Audience   []string         // aud must hold one of them; none: no token is taken
	Algorithms []string         // nil: SigningAlgorithms; HS is never taken from a KeySource
	Required   Claims           // besides iss, aud, sub and exp, which are always required
	Leeway     time.Duration    // for exp and nbf
	Now        func() time.Time // nil: time.Now

	// Budget bounds how many tokens with wrong signatures may come from the auth.Client of a context; nil: nothing is bounded.
	Budget *auth.Budget
}

// Verified is a token whose signature, issuer, audience and times are right. It may be shared, and must not be changed.
type Verified struct {
	Subject   string         // sub, never empty
	KeyID     string         // the header's kid, "" for none
	Algorithm string         // the header's alg
	Expires   time.Time      // exp and the leeway, as in an Identity
	Claims    jsontext.Value // the payload, one JSON object without duplicate members

	members object // of Claims; nil when nobody has taken it apart yet
}

// Claim returns the value at a path in Claims, nil when there is none.
func (v *Verified) Claim(path Path) jsontext.Value {
	members := v.members
	if members == nil {
		var err error
		if members, err = parseObject(v.Claims); err != nil {
			return nil
		}
	}
	if len(path) == 0 {
		return nil
	}
	found, err := path.find(members)
	if err != nil {
		return nil
	}
	return found
}

// Verifier checks the tokens of one issuer, as strictly as Bearer does. It remembers what verified as Bearer does, but no longer than its key is
// among the KeySource's. It is immutable and safe for concurrent use.
//
// Beside what VerifierOptions say, a token must be one that speaks for its subject: a logout token, a security event (RFC 8417) and whatever else has
// a type of its own (RFC 8725 §3.11) is refused, although the same key signed it.
type Verifier struct {
	o      VerifierOptions
	rules  rules
	memory memory[*fromOutside]
}

// fromOutside is a token whose signature was right.
type fromOutside struct {
	Verified
	exp, nbf float64
	key      any
}

// NewVerifier fails where options cannot be meant: no keys, no issuer, no audience, an unknown algorithm.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	switch {
	case o.Keys == nil:
		return nil, errors.New("no keys")
	case o.Issuer == "":
		return nil, errors.New("no issuer")
	case len(o.Audience) == 0 || slices.Contains(o.Audience, ""):
		return nil, errors.New("no audience: tokens that are meant for others would be taken")
	case o.Leeway < 0:
		return nil, fmt.Errorf("leeway %v is negative", o.Leeway)
	}
	if o.Algorithms == nil {
		o.Algorithms = SigningAlgorithms()
	}
	for _, name := range o.Algorithms {
		if !slices.Contains(SigningAlgorithms(), name) {
			return nil, fmt.Errorf("algorithm %q is none of %s", name, strings.Join(SigningAlgorithms(), ", "))
		}
	}
	for _, claim := range o.Required {
		if claim.Name == "iss" && claim.Values != nil {
			return nil, errors.New("required claims: iss is the issuer's alone")
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	required := append(Claims{{Name: "iss", Values: []string{o.Issuer}}, {Name: "aud", Values: o.Audience}, {Name: "exp"}}, o.Required...)
	return &Verifier{o: o, rules: rules{required: required, leeway: o.Leeway, nbfNow: true}, memory: newMemory[*fromOutside]()}, nil
}

// Verify checks a token. It fails with an *auth.Refusal (401 with RFC 6750's challenge; 429 when the Budget is used up), or with the KeySource's error.
func (v *Verifier) Verify(ctx context.Context, token string) (*Verified, error) {
	t, err := v.check(ctx, token)
	if err != nil {
		return nil, unauthorized(err)
	}
	return &t.Verified, nil
}

// unauthorized gives refusals the status that RFC 6750 §3.1 has for tokens; CouchDB's 400 is for its own.
func unauthorized(err error) error {
	refusal, ok := err.(*auth.Refusal)
	if !ok || (refusal.Status != http.StatusBadRequest && refusal.Status != http.StatusNotFound) {
		return err
	}
	told := *refusal
	told.Status, told.Kind = http.StatusUnauthorized, "unauthorized"
	return &told
}

func (v *Verifier) check(ctx context.Context, token string) (*fromOutside, error) {
	hash, err := hashToken(token)
	if err != nil {
		return nil, err
	}
	now := v.o.Now().Unix()
	if t, ok := v.memory.recall(hash, now); ok {
		if err := v.rules.inTime(t.exp, t.nbf, now); err != nil {
			return nil, claimed{t.Subject, t.KeyID}.in(err)
		}
		keys, err := v.o.Keys.Candidates(ctx, t.Algorithm, t.KeyID)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k any) bool { return sameKey(k, t.key) }) {
			return t, nil
		}
		return nil, claimed{t.Subject, t.KeyID}.in(refuse(http.StatusUnauthorized, unknownKid))
	}
	if err := v.memory.refusal(hash, now); err != nil {
		return nil, err
	}
	var said claimed
	t, err := v.verify(ctx, token, now, &said)
	if err != nil {
		return nil, v.memory.refused(hash, now, said, err)
	}
	v.memory.keep(hash, now, t, len(t.Claims)+memberBytes*len(t.members))
	return t, nil
}

func (v *Verifier) verify(ctx context.Context, token string, now int64, said *claimed) (*fromOutside, error) {
	head, payload, signature, ok := split(token)
	if !ok {
		return nil, refuse(http.StatusBadRequest, malformed)
	}
	h, err := parseHeader(head, v.o.Required)
	if err != nil {
		return nil, err
	}
	said.key = h.given()
	if !slices.Contains(v.o.Algorithms, h.algName) {
		return nil, refuse(http.StatusBadRequest, "Invalid alg header parameter")
	}
	claims, data, err := decodeWhole(payload)
	if err != nil {
		return nil, err
	}
	said.user, _ = str(claims.get("sub"))
	if err := speaksForSubject(&h, claims); err != nil {
		return nil, err
	}
	exp, nbf, err := v.rules.check(&h, claims, now)
	if err != nil {
		return nil, err
	}
	sub, err := subject(claims)
	if err != nil {
		return nil, err
	}
	signed := token[:len(head)+1+len(payload)]
	key, err := atCost(v.o.Budget, auth.Client(ctx), func() (any, error) { return verifyWith(ctx, v.o.Keys, &h, signed, signature) })
	if err != nil {
		return nil, err
	}
	t := Verified{Subject: sub, KeyID: h.given(), Algorithm: h.algName, Expires: v.rules.expires(exp), Claims: data, members: claims}
	return &fromOutside{t, exp, nbf, key}, nil
}

// speaksForSubject refuses tokens that an issuer signs for another end with the same keys, such as one that says that somebody has logged out.
func speaksForSubject(h *header, claims object) error {
	if v := h.members.get("typ"); v != nil {
		typ, ok := str(v)
		// Types are media types (RFC 7515 §4.1.9), whose letters' case does not count; "at+jwt" is RFC 9068's access token.
		typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
		if !ok || (strings.HasSuffix(typ, "+jwt") && typ != "at+jwt") {
			return refuse(http.StatusBadRequest, "Invalid typ header parameter")
		}
	}
	if claims.get("events") != nil {
		return refuse(http.StatusBadRequest, "Invalid events claim")
	}
	return nil
}

const unknownKid = "Unknown kid"

// verifyWith checks a signature with the keys of a source that the header selects, and returns the one that made it.
func verifyWith(ctx context.Context, source KeySource, h *header, signed, signature string) (any, error) {
	key, err := verifyWithPresent(ctx, source, h, signed, signature)
	if _, wrong := err.(*signatureError); !wrong || h.given() != "" {
		return key, err
	}
	if r, ok := source.(Refetcher); !ok || !r.Refetch(ctx) {
		return nil, err
	}
	return verifyWithPresent(ctx, source, h, signed, signature)
}

func verifyWithPresent(ctx context.Context, source KeySource, h *header, signed, signature string) (any, error) {
	keys, err := source.Candidates(ctx, h.algName, h.given())
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, refuse(http.StatusBadRequest, unknownKid)
	case len(keys) > maxCandidates:
		return nil, refuse(http.StatusBadRequest, "Missing kid header parameter")
	}
	sig, err := decodeBase64(signature)
	if err == nil {
		for _, key := range keys {
			if h.alg.takes(key) && h.alg.family != familyHMAC && h.alg.method.Verify(signed, sig, key) == nil {
				return key, nil
			}
		}
	}
	return nil, &signatureError{refuse(http.StatusBadRequest, h.alg.mismatch)}
}

// VerifySignature checks a token's form and its signature, and returns its payload. Nothing that it claims is looked at. It fails as Verifier.Verify does.
func VerifySignature(ctx context.Context, keys KeySource, token string) (payload []byte, err error) {
	head, body, signature, ok := split(token)
	if !ok || len(token) > maxToken {
		return nil, unauthorized(refuse(http.StatusBadRequest, malformed))
	}
	h, err := parseHeader(head, nil)
	if err != nil {
		return nil, unauthorized(err)
	}
	_, err = verifyWith(ctx, keys, &h, token[:len(head)+1+len(body)], signature)
	if wrong, ok := err.(*signatureError); ok {
		err = wrong.Refusal
	}
	if err != nil {
		return nil, unauthorized(err)
	}
	if _, err := decodePart(body); err != nil {
		return nil, unauthorized(err)
	}
	return decodeBase64(body)
}

// sameKey compares public keys: those of a set that was fetched again are others in memory.
func sameKey(a, b any) bool {
	if _, slice := a.(ed25519.PublicKey); !slice && a == b {
		return true
	}
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// Peek reads what a token says of its issuer, audience and kid. Nothing is verified: it is for choosing who verifies. ok is false for what is no JWS with a JSON payload.
func Peek(token string) (issuer string, audience []string, kid string, ok bool) {
	head, payload, _, ok := split(token)
	if !ok || len(token) > maxToken {
		return "", nil, "", false
	}
	h, err := decodePart(head)
	if err != nil {
		return "", nil, "", false
	}
	claims, err := decodePart(payload)
	if err != nil {
		return "", nil, "", false
	}
	issuer, _ = str(claims.get("iss"))
	kid, _ = str(h.get("kid"))
	aud := claims.get("aud")
	if one, ok := str(aud); ok {
		audience = []string{one}
	} else {
		audience, _ = strs(aud)
	}
	return issuer, audience, kid, true
}
