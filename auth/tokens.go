package auth

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TokenPrefix begins every access token, so that it is known as one wherever it turns up.
const TokenPrefix = "parlor_"

// KeyPrefix begins the id (kid) of every device's key.
const KeyPrefix = "dev_"

// Token is an access token, or a device's key that the device signs tokens with. It holds no secret. The members' names are those under which a State
// keeps it.
type Token struct {
	ID        string     `json:"-"` // the handle by which it is listed and revoked; a device key's is its kid
	User      string     `json:"user"`
	Label     string     `json:"label,omitempty"`
	Scope     Scope      `json:"scope"`
	Admin     bool       `json:"admin,omitzero"` // made for a server admin; another's never has the role _admin, whoever becomes one later
	Created   time.Time  `json:"created"`
	Expires   time.Time  `json:"expires,omitzero"`     // zero: never
	LastUsed  time.Time  `json:"last_used,omitzero"`   // to the minute; zero: never
	LastFrom  netip.Addr `json:"last_from,omitzero"`   // where it was last used from
	Algorithm string     `json:"algorithm,omitempty"`  // of a device key: ES256, ES512, HS256 or HS512; "" for an access token
	PublicKey string     `json:"public_key,omitempty"` // of a device key that has one: SPKI in PEM
}

// Tokens keeps the access tokens and device keys of the directory's users in a State. A user who is gone or disabled has none; a new password spares
// them. It is safe for concurrent use.
//
// An access token is the text "parlor_" and 256 random bits in base64url; only its SHA-256 is kept, which is its ID. It is good as a bearer token and
// in place of the password in Basic. A device's key is kept with what verifies its signatures, under a random kid; who checks those signatures asks
// [Tokens.DeviceKey].
//
// Whoever deletes a user calls RevokeAll, so that a later user of that name does not have them.
type Tokens struct {
	users       Users
	revocations *Revocations
	access      *records[storedToken]
	keys        *records[storedToken]
	options     atomic.Pointer[TokenOptions]
	notes       *backlog
	unwatch     func()

	creating sync.Mutex // no two at once, so that MaxPerUser holds
}

// TokenOptions say how Tokens works.
type TokenOptions struct {
	MaxPerUser int                              // access tokens and device keys together; 0: 200
	Client     func(r *http.Request) netip.Addr // who a request is from, for the record and for Budget; nil: the connection's peer
	Budget     *Budget                          // of wrong secrets; nil: nothing is bounded
	Now        func() time.Time                 // nil: time.Now
}

// storedToken is a token as a State keeps it.
type storedToken struct {
	Token
	Secret []byte `json:"secret,omitempty"` // of a device key that is a shared secret

	credential string
	public     any // what verifies a device key's signatures
}

// NewTokens returns a Tokens over a State. Close must be called in the end.
func NewTokens(state State, users Users, revocations *Revocations, o TokenOptions) *Tokens {
	t := &Tokens{
		users: users, revocations: revocations, notes: newBacklog(),
		access: newRecords(state, "token", finishToken),
		keys:   newRecords(state, "device", finishKey),
	}
	t.Configure(o)
	t.unwatch = state.Watch(func(id string) {
		t.access.changed(id)
		t.keys.changed(id)
	})
	return t
}

// finishToken completes a token that was read. One of nobody's is none.
func finishToken(id string, v *storedToken) error {
	if v.ID, v.credential = id, credentialOf(id); v.User == "" {
		return errNobodys
	}
	return nil
}

// finishKey completes a device's key that was read.
func finishKey(id string, v *storedToken) error {
	if err := finishToken(id, v); err != nil {
		return err
	}
	var err error
	v.public, err = verifyingKey(v.Algorithm, v.PublicKey, v.Secret)
	return err
}

// Configure replaces the options.
func (t *Tokens) Configure(o TokenOptions) {
	if o.MaxPerUser <= 0 {
		o.MaxPerUser = 200
	}
	if o.Client == nil {
		o.Client = Peer
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t.options.Store(&o)
}

// Close stops watching the State and waits for what is under way.
func (t *Tokens) Close() {
	t.unwatch()
	t.notes.close()
}

// isKey reports whether an ID is a device key's. The ID of an access token is longer.
func isKey(id string) bool { return len(id) == kidLength && strings.HasPrefix(id, KeyPrefix) }

// kindOf is where the record of an ID is kept.
func (t *Tokens) kindOf(id string) *records[storedToken] {
	if isKey(id) {
		return t.keys
	}
	return t.access
}

// find returns the record of an ID that has neither expired nor lost its user, or ErrNoRecord.
func (t *Tokens) find(ctx context.Context, id string) (*kept[storedToken], error) {
	key, ok := idKey(id)
	if !ok {
		return nil, ErrNoRecord
	}
	k, err := t.kindOf(id).get(ctx, key)
	if err != nil {
		return nil, err
	}
	return k, t.alive(ctx, &k.value.Token)
}

// alive fails with ErrNoRecord for a token that is no longer good, or with the directory's own error.
func (t *Tokens) alive(ctx context.Context, token *Token) error {
	if t.expired(token) {
		return ErrNoRecord
	}
	_, err := t.users.User(ctx, token.User)
	if errors.Is(err, ErrUnknownUser) {
		return ErrNoRecord
	}
	return err
}

func (t *Tokens) expired(token *Token) bool {
	return !token.Expires.IsZero() && !t.options.Load().Now().Before(token.Expires)
}

// DeviceKey returns a device's key with what verifies its signatures: an *ecdsa.PublicKey or a []byte, which must not be changed; ErrNoRecord when
// there is none, it has expired, or its user is gone. A disabled user is the Authenticator's business.
func (t *Tokens) DeviceKey(ctx context.Context, kid string) (Token, any, error) {
	if !isKey(kid) {
		return Token{}, nil, ErrNoRecord
	}
	k, err := t.find(ctx, kid)
	if err != nil {
		return Token{}, nil, err
	}
	return k.value.Token, k.value.public, nil
}

// Used notes that a token was used by a request, at most once a minute and without waiting.
func (t *Tokens) Used(r *http.Request, id string) {
	key, ok := idKey(id)
	if !ok {
		return
	}
	kind := t.kindOf(id)
	k, ok := kind.remembered(key)
	if !ok {
		return // it was used before there was time to remember it, or has just changed; the next use is noted
	}
	o := t.options.Load()
	now := o.Now()
	if now.Sub(k.value.LastUsed) < noteEvery || !k.writing.CompareAndSwap(false, true) {
		return
	}
	next := *k.value
	next.LastUsed, next.LastFrom = now.UTC().Truncate(time.Second), o.Client(r)
	if !t.notes.add(func(ctx context.Context) {
		if kind.replace(ctx, k, &next) != nil {
			k.writing.Store(false)
		}
	}) {
		k.writing.Store(false)
	}
}

// Identity is who a request with that token is from: the user with the roles of the directory, but _admin only if the user
// was a server admin when it was made, and the token's Scope. method is the Method's name.
// The Credential is "token:" or, for a device's key, "device:" and the ID. It fails with ErrUnknownUser, and with the directory's own errors.
func (t *Tokens) Identity(ctx context.Context, token *Token, method string) (Identity, error) {
	u, err := t.users.User(ctx, token.User)
	if err != nil {
		return Identity{}, err
	}
	id := u.identity(method)
	if !token.Admin && id.HasRole("_admin") {
		id.Roles = slices.DeleteFunc(slices.Clone(id.Roles), func(role string) bool { return role == "_admin" })
	}
	id.Local, id.Expires, id.Credential = false, token.Expires, credentialOf(token.ID)
	id.Scope = &Scope{Write: token.Scope.Write, Databases: token.Scope.Databases}
	return id, nil
}

func credentialOf(id string) string {
	if isKey(id) {
		return "device:" + id
	}
	return "token:" + id
}

// Get returns one that has not expired, or ErrNoRecord.
func (t *Tokens) Get(ctx context.Context, id string) (Token, error) {
	k, err := t.find(ctx, id)
	if err != nil {
		return Token{}, err
	}
	return k.value.Token, nil
}

// List returns at most limit of a user's, or of everyone's for "", after an ID ("" for the first), in the order of IDs. Those that have expired and
// those of users who are gone are left out.
func (t *Tokens) List(ctx context.Context, user, after string, limit int) ([]Token, error) {
	var found []Token
	for _, kind := range []*records[storedToken]{t.access, t.keys} {
		some, err := t.list(ctx, kind.each(ctx, user, after), limit)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	slices.SortFunc(found, func(a, b Token) int { return cmp.Compare(a.ID, b.ID) })
	return found[:max(0, min(limit, len(found)))], nil
}

func (t *Tokens) list(ctx context.Context, all iter.Seq2[*kept[storedToken], error], limit int) ([]Token, error) {
	var found []Token
	for k, err := range all {
		if err != nil || len(found) >= limit {
			return found, err
		}
		err := t.alive(ctx, &k.value.Token)
		if _, refused := errors.AsType[*Refusal](err); err == nil || refused {
			found = append(found, k.value.Token)
		} else if !errors.Is(err, ErrNoRecord) {
			return nil, err
		}
	}
	return found, nil
}

// Revoke removes one and cuts its feeds: ErrNoRecord when there is none.
func (t *Tokens) Revoke(ctx context.Context, id string) error {
	if _, ok := idKey(id); !ok {
		return ErrNoRecord
	}
	k, err := t.kindOf(id).load(ctx, id)
	if err != nil {
		return err
	}
	return t.revoke(ctx, id, k.value.User)
}

// revoke cuts the feeds as soon as the token can no longer be used, whatever becomes of its index entry.
func (t *Tokens) revoke(ctx context.Context, id, user string) error {
	kind := t.kindOf(id)
	if err := kind.remove(ctx, id); err != nil {
		return err
	}
	t.revocations.End(Match{Credential: credentialOf(id)})
	return kind.forget(ctx, id, user)
}

// RevokeAll removes all of a user's and cuts their feeds.
func (t *Tokens) RevokeAll(ctx context.Context, user string) error {
	if user == "" {
		return nil
	}
	var failed error
	for _, kind := range []*records[storedToken]{t.access, t.keys} {
		places, err := kind.places(ctx, user)
		if err != nil {
			failed = err
		}
		for _, p := range places {
			if err := ignoreNoRecord(t.revoke(ctx, p.id, user)); err != nil {
				failed = err // the others are revoked all the same
			}
		}
	}
	return failed
}

// Sweep removes those that have expired and those of users who are gone, whose feeds it cuts. removed counts index entries without a token too. What
// cannot be read stays, and is reported when the rest is done.
func (t *Tokens) Sweep(ctx context.Context) (removed int, err error) {
	var failed error
	for _, kind := range []*records[storedToken]{t.access, t.keys} {
		n, err := t.sweep(ctx, kind)
		if removed += n; err != nil {
			failed = err
		}
		n, err = kind.sweepIndex(ctx, t.options.Load().Now())
		if removed += n; err != nil {
			failed = err
		}
	}
	return removed, failed
}

func (t *Tokens) sweep(ctx context.Context, kind *records[storedToken]) (removed int, failed error) {
	for k, err := range kind.each(ctx, "", "") {
		if err != nil {
			failed = err
			continue
		}
		switch err := t.alive(ctx, &k.value.Token); {
		case err == nil:
			continue
		case !errors.Is(err, ErrNoRecord):
			if _, refused := errors.AsType[*Refusal](err); !refused {
				failed = err
			}
			continue
		case t.expired(&k.value.Token):
			err = ignoreNoRecord(kind.remove(ctx, k.id)) // an answer that was begun in time may end in its own
			if err == nil {
				err = kind.forget(ctx, k.id, k.value.User)
			}
			if err != nil {
				return removed, err
			}
		default:
			if err := ignoreNoRecord(t.revoke(ctx, k.id, k.value.User)); err != nil {
				return removed, err
			}
		}
		removed++
	}
	return removed, failed
}
