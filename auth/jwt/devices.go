package jwt

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
)

// deviceLeeway is how far a device's clock may differ at least: phones sign their own tokens, for some minutes each.
const deviceLeeway = 2 * time.Minute

var _ auth.Method = (*Devices)(nil)

// DeviceOptions say how Devices works. The zero value is ready for use.
type DeviceOptions struct {
	Leeway time.Duration    // for exp and nbf; less than two minutes counts as two minutes
	Now    func() time.Time // nil: time.Now

	Budget *auth.Budget                     // as in Options
	Client func(r *http.Request) netip.Addr // as in Options
}

// Devices is the Method "jwt" for tokens that devices sign with keys of their own, which an auth.Tokens keeps: a token is one of these when its kid
// begins with auth.KeyPrefix, and others are not its own. It is immutable and safe for concurrent use.
//
// exp is required, and sub must be the key's user. Who that is and what the key is good for is the directory's and the key's to say: roles in the token
// count for nothing. A token that verified is remembered, but its key is asked for at each request, so a revoked key is refused at once.
type Devices struct {
	tokens *auth.Tokens
	o      DeviceOptions
	rules  rules
	memory memory[*fromDevice]
}

// fromDevice is a token whose signature was right.
type fromDevice struct {
	user, kid string
	exp, nbf  float64
	key       any
}

// NewDevices returns the Method for the device keys of tokens. It fails for a negative leeway.
func NewDevices(tokens *auth.Tokens, o DeviceOptions) (*Devices, error) {
	if o.Leeway < 0 {
		return nil, fmt.Errorf("leeway %v is negative", o.Leeway)
	}
	o.Leeway = max(o.Leeway, deviceLeeway)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Client == nil {
		o.Client = auth.Peer
	}
	return &Devices{tokens: tokens, o: o, rules: rules{required: DefaultClaims(), leeway: o.Leeway}, memory: newMemory[*fromDevice]()}, nil
}

// Name implements auth.Method.
func (d *Devices) Name() string { return "jwt" }

// Authenticate implements auth.Method. Refusals are CouchDB's, as Bearer's are.
func (d *Devices) Authenticate(r *http.Request) (auth.Identity, error) {
	token, ok := auth.Credentials(r.Header, "Bearer ")
	if !ok || !signedByDevice(token) {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	hash, err := hashToken(token)
	if err != nil {
		return auth.Identity{}, err
	}
	now := d.o.Now().Unix()
	t, remembered := d.memory.recall(hash, now)
	if !remembered {
		if err := d.memory.refusal(hash, now); err != nil {
			return auth.Identity{}, err
		}
		var said claimed
		if t, err = d.verify(r, token, now, &said); err != nil {
			return auth.Identity{}, d.memory.refused(hash, now, said, err)
		}
		d.memory.keep(hash, now, t, 0)
	}
	id, err := d.identity(r, t, now)
	if err != nil {
		return auth.Identity{}, claimed{t.user, deviceCredential(t.kid)}.in(err)
	}
	return id, nil
}

// signedByDevice reports whether a token's header selects a device's key. It is asked of every bearer token, whoever signed it, at each request: a header is
// taken apart only when it can name such a key, which it does in plain letters or with an escape.
func signedByDevice(token string) bool {
	head, _, _, ok := split(token)
	if !ok || len(token) > maxToken {
		return false
	}
	var stack [256]byte
	text, err := base64.RawURLEncoding.AppendDecode(stack[:0], []byte(head))
	if err != nil || !bytes.Contains(text, []byte(auth.KeyPrefix)) && bytes.IndexByte(text, '\\') < 0 {
		return false
	}
	h, err := decodePart(head)
	if err != nil {
		return false
	}
	kid, _ := str(h.get("kid"))
	return strings.HasPrefix(kid, auth.KeyPrefix)
}

// deviceCredential is how an Identity's Credential names a device's key.
func deviceCredential(kid string) string { return "device:" + kid }

func (d *Devices) verify(r *http.Request, token string, now int64, said *claimed) (*fromDevice, error) {
	head, payload, signature, _ := split(token)
	h, err := parseHeader(head, nil)
	if err != nil {
		return nil, err
	}
	said.key = deviceCredential(h.kid)
	claims, err := decodePart(payload)
	if err != nil {
		return nil, err
	}
	said.user, _ = str(claims.get("sub"))
	exp, nbf, err := d.rules.check(&h, claims, now)
	if err != nil {
		return nil, err
	}
	sub, err := subject(claims)
	if err != nil {
		return nil, err
	}
	kept, key, err := d.key(r.Context(), h.kid)
	if err != nil {
		return nil, err
	}
	if kept.Algorithm != h.algName || !h.alg.takes(key) {
		return nil, refuse(http.StatusBadRequest, "Key is not for this alg")
	}
	_, err = atCost(d.o.Budget, d.o.Client(r), func() (any, error) {
		sig, err := decodeBase64(signature)
		if err != nil || h.alg.method.Verify(token[:len(head)+1+len(payload)], sig, key) != nil {
			return nil, &signatureError{refuse(http.StatusBadRequest, h.alg.mismatch)}
		}
		return key, nil
	})
	if err != nil {
		return nil, err
	}
	// Who does not hold the key does not learn whose it is.
	if kept.User != sub {
		return nil, refuse(http.StatusUnauthorized, "The key is not this user's")
	}
	return &fromDevice{sub, h.kid, exp, nbf, key}, nil
}

func (d *Devices) key(ctx context.Context, kid string) (auth.Token, any, error) {
	kept, key, err := d.tokens.DeviceKey(ctx, kid)
	if errors.Is(err, auth.ErrNoRecord) {
		return kept, nil, refuse(http.StatusUnauthorized, "The device's key is unknown, revoked or expired")
	}
	return kept, key, err
}

// identity asks for what may have changed since a token verified.
func (d *Devices) identity(r *http.Request, t *fromDevice, now int64) (auth.Identity, error) {
	if err := d.rules.inTime(t.exp, t.nbf, now); err != nil {
		return auth.Identity{}, err
	}
	kept, key, err := d.key(r.Context(), t.kid)
	if err != nil {
		return auth.Identity{}, err
	}
	if kept.User != t.user || !sameSecret(key, t.key) {
		return auth.Identity{}, refuse(http.StatusUnauthorized, "The device's key has been replaced")
	}
	id, err := d.tokens.Identity(r.Context(), &kept, d.Name())
	if errors.Is(err, auth.ErrUnknownUser) {
		return auth.Identity{}, refuse(http.StatusUnauthorized, "The key's user is gone")
	}
	if err != nil {
		return auth.Identity{}, err
	}
	if expires := d.rules.expires(t.exp); id.Expires.IsZero() || (!expires.IsZero() && expires.Before(id.Expires)) {
		id.Expires = expires
	}
	d.tokens.Used(r, kept.ID)
	return id, nil
}

// sameSecret is sameKey for shared secrets too. Both are the server's own, so how long it takes tells nothing.
func sameSecret(a, b any) bool {
	secret, ok := a.([]byte)
	if !ok {
		return sameKey(a, b)
	}
	other, ok := b.([]byte)
	return ok && bytes.Equal(secret, other)
}
