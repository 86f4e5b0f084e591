package oidc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
)

var (
	_ auth.Method = (*Issuer)(nil)
	_ auth.Method = (*Issuers)(nil)
)

// IssuerOptions say which tokens an Issuer takes and who their subjects are.
type IssuerOptions struct {
	Name       string // the section's name: [jwt_issuer:NAME] or [oidc:NAME]
	Issuer     string
	Audience   []string // mandatory
	Keys       *KeySet
	Algorithms []string // as in jwt.VerifierOptions
	Required   jwt.Claims
	Leeway     time.Duration
	Mapping    Mapping
	Directory  Directory
	Budget     *auth.Budget                     // of tokens with wrong signatures, as in jwt.Options; also of logout tokens
	Client     func(r *http.Request) netip.Addr // as in jwt.Options
	Now        func() time.Time                 // nil: time.Now
}

// Issuer is the Method "jwt" for the bearer tokens of one issuer and audience. Tokens of others are not its own: Issuers is the Method that refuses those of a known
// issuer that are meant for nobody here. It is immutable and safe for concurrent use.
type Issuer struct {
	o        IssuerOptions
	prefix   string   // of names
	roles    jwt.Path // nil: the token gives none
	verifier *jwt.Verifier
}

// NewIssuer fails where options cannot be meant.
func NewIssuer(o IssuerOptions) (*Issuer, error) {
	if o.Keys == nil || o.Directory == nil {
		return nil, errors.New("an issuer needs keys and a directory")
	}
	if o.Client == nil {
		o.Client = auth.Peer
	}
	prefix, err := o.Mapping.prefix(o.Name)
	if err != nil {
		return nil, err
	}
	roles, err := jwt.ParsePath(o.Mapping.RolesPath)
	if err != nil {
		return nil, err
	}
	verifier, err := jwt.NewVerifier(jwt.VerifierOptions{
		Keys: o.Keys, Issuer: o.Issuer, Audience: o.Audience, Algorithms: o.Algorithms, Required: o.Required, Leeway: o.Leeway, Now: o.Now, Budget: o.Budget,
	})
	if err != nil {
		return nil, err
	}
	return &Issuer{o: o, prefix: prefix, roles: roles, verifier: verifier}, nil
}

// Name implements auth.Method: "jwt".
func (i *Issuer) Name() string { return "jwt" }

// Authenticate implements auth.Method. While the issuer's keys cannot be had it refuses with 503 and Retry-After; why is for the KeySet to log.
func (i *Issuer) Authenticate(r *http.Request) (auth.Identity, error) {
	token, ok := auth.Credentials(r.Header, "Bearer ")
	if !ok {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	issuer, audience, _, ok := jwt.Peek(token)
	if !ok || issuer != i.o.Issuer || !i.meant(audience) {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	return i.authenticate(r, token)
}

// meant reports whether a token is for an audience of this Issuer.
func (i *Issuer) meant(audience []string) bool {
	return slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(i.o.Audience, a) })
}

func (i *Issuer) authenticate(r *http.Request, token string) (auth.Identity, error) {
	ctx := auth.WithClient(r.Context(), i.o.Client(r))
	verified, err := i.verifier.Verify(ctx, token)
	if err != nil {
		return auth.Identity{}, unreachable(err)
	}
	return i.Identify(ctx, verified)
}

// unreachable tells a client that a provider's document cannot be had now. What the operator should know has been logged where it was fetched.
func unreachable(err error) error {
	missing, ok := errors.AsType[*unavailableError](err)
	if !ok {
		return err
	}
	return &auth.Refusal{
		Status: http.StatusServiceUnavailable, Kind: "service_unavailable", Reason: "The sign-on provider cannot be reached. Try again later.",
		Header: http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(missing.after.Seconds())))}},
	}
}

// Issuers is the Method "jwt" for the bearer tokens of several issuers. A token is one of these when its iss is a configured one; whose it is of them, its aud says. One
// that is meant for none of them is refused, so that no other Method takes it for one of its own. Where a token is meant for several, the first decides. It is immutable and safe for
// concurrent use.
type Issuers struct {
	byIssuer map[string][]*Issuer
	// chosen remembers whose a token is (nil: nobody's here), which depends on nothing but the token: it is read at each request with it.
	chosen *otter.Cache[[sha256.Size]byte, *Issuer]
}

const (
	maxChosen = 10_000
	maxToken  = 32 << 10 // longer ones are no tokens to jwt.Peek either
)

// NewIssuers fails where two of the list claim the same tokens (one issuer, one audience), and where two could give one name to two people: because two issuers have the same Name
// or because, with Allow, the names that they make may be the same.
func NewIssuers(list []*Issuer) (*Issuers, error) {
	m := &Issuers{
		byIssuer: make(map[string][]*Issuer),
		// Its upkeep is done by whoever calls: it needs no goroutine.
		chosen: otter.Must(&otter.Options[[sha256.Size]byte, *Issuer]{MaximumSize: maxChosen, Executor: func(f func()) { f() }}),
	}
	for n, i := range list {
		for _, other := range list[:n] {
			if err := i.collides(other); err != nil {
				return nil, err
			}
		}
		m.byIssuer[i.o.Issuer] = append(m.byIssuer[i.o.Issuer], i)
	}
	return m, nil
}

func (i *Issuer) collides(other *Issuer) error {
	same := i.o.Issuer == other.o.Issuer
	if !same && i.o.Name == other.o.Name {
		return fmt.Errorf("%s is the name of two issuers, %s and %s: their users' names could be the same", i.o.Name, other.o.Issuer, i.o.Issuer)
	}
	for _, audience := range i.o.Audience {
		if same && slices.Contains(other.o.Audience, audience) {
			return fmt.Errorf("%s and %s both take the tokens of %s for %q", other.o.Name, i.o.Name, i.o.Issuer, audience)
		}
	}
	if !i.mayMeet(other) {
		return nil
	}
	hint := ""
	if same {
		hint = ", or both the same username_claim and user_prefix"
	}
	return fmt.Errorf("%s and %s could give one name to two unknown users: give each a user_prefix of its own, none of which begins with the other%s", other.o.Name, i.o.Name, hint)
}

// mayMeet reports whether one could let somebody unknown in by a name that is somebody else's at the other. A registered user is known by issuer and subject, and nobody
// else comes in under that name; who is merely allowed is known by the name alone, and would lose it, and all that it may enter, to one who registers.
func (i *Issuer) mayMeet(other *Issuer) bool {
	m, o := i.o.Mapping, other.o.Mapping
	lets := func(u UnknownUsers) bool { return u == Allow || u == Register }
	if !lets(m.Unknown) || !lets(o.Unknown) || m.Unknown == Register && o.Unknown == Register {
		return false
	}
	if i.o.Issuer == other.o.Issuer && i.prefix == other.prefix && cmp.Or(m.UsernameClaim, "sub") == cmp.Or(o.UsernameClaim, "sub") {
		return false // one name is one person's
	}
	return strings.HasPrefix(i.prefix, other.prefix) || strings.HasPrefix(other.prefix, i.prefix)
}

// Name implements auth.Method: "jwt".
func (m *Issuers) Name() string { return "jwt" }

// Authenticate implements auth.Method, as Issuer does.
func (m *Issuers) Authenticate(r *http.Request) (auth.Identity, error) {
	if len(m.byIssuer) == 0 {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	token, ok := auth.Credentials(r.Header, "Bearer ")
	if !ok || len(token) > maxToken {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	i, err := m.choose(token)
	if err != nil {
		return auth.Identity{}, err
	}
	return i.authenticate(r, token)
}

// choose returns who judges a token, auth.ErrNoCredentials for one that is not of a configured issuer, or the refusal of one that is meant for nobody here.
func (m *Issuers) choose(token string) (*Issuer, error) {
	var stack [2048]byte // ID tokens fit
	hash := sha256.Sum256(append(stack[:0], token...))
	if i, ok := m.chosen.GetIfPresent(hash); ok {
		if i == nil {
			return nil, auth.ErrNoCredentials
		}
		return i, nil
	}
	issuer, audience, kid, ok := jwt.Peek(token)
	if !ok || m.byIssuer[issuer] == nil {
		m.chosen.Set(hash, nil)
		return nil, auth.ErrNoCredentials
	}
	for _, i := range m.byIssuer[issuer] {
		if i.meant(audience) {
			m.chosen.Set(hash, i)
			return i, nil
		}
	}
	const reason = "Invalid aud claim"
	refusal := &auth.Refusal{
		Status: http.StatusUnauthorized, Kind: "unauthorized", Reason: reason,
		Header: http.Header{"Www-Authenticate": {`Bearer error="invalid_token", error_description="` + reason + `"`}},
	}
	return nil, refusal.About("jwt", "", kid)
}

// Identify returns who a token that verified speaks of: Name, Roles, Granted, Provider, Expires; Credential is "issuer:NAME:kid". It links and registers as the
// Mapping says, and fails with an *auth.Refusal (403: the provider has said who it is, and that is nobody here), or with the Directory's error.
func (i *Issuer) Identify(ctx context.Context, token *jwt.Verified) (auth.Identity, error) {
	id := auth.Identity{Method: i.Name(), Provider: i.o.Name, Credential: "issuer:" + i.o.Name + ":" + token.KeyID, Expires: token.Expires}
	name, err := i.nameOf(token)
	if err == nil {
		id.Name = name
		id.Roles, err = i.rolesOf(token)
	}
	var user *auth.User
	if err == nil {
		user, err = i.account(ctx, name, token)
	}
	if err != nil {
		if refusal, ok := err.(*auth.Refusal); ok {
			err = refusal.About(id.Method, i.o.Name+": "+token.Subject, id.Credential)
		}
		return auth.Identity{}, err
	}
	if user != nil {
		i.grant(&id, user.Roles)
	}
	return id, nil
}
