package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/password"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/store"
)

const (
	usersDatabase = "_users"
	userPrefix    = "org.couchdb.user:"
)

// Users is the directory of server admins ([admins]) and of the documents in _users (spec §7.6). It is safe for concurrent use.
//
// An entry is remembered together with the update sequence of _users, so that every change of that database is seen by the
// next request.
type Users struct {
	store *store.Store
	log   *slog.Logger
	rules atomic.Pointer[userSettings]

	mu    sync.RWMutex
	known map[string]knownUser

	upgrades upgrades

	// settle gives a user who was registered or linked what [couch_peruser] promises. New sets it before the first request.
	settle func(ctx context.Context, name string) error
}

// userSettings are the settings that the directory needs.
type userSettings struct {
	admins     map[string]password.Hash
	names      map[string]string // [admins] as it stands
	conflicted bool              // conflicted documents are taken
	policy     password.Policy
	maxKnown   int
}

// knownUser is a remembered entry; user is nil for a name that nobody has.
type knownUser struct {
	db     *store.DB
	seq    uint64
	purges uint64 // a purged document leaves no change behind
	user   *auth.User
}

// maxKnownUsers bounds the entries remembered, unless [chttpd_auth_cache] max_objects does; they are all dropped when there are more.
const maxKnownUsers = 10_000

// NewUsers returns a directory that knows nobody until Configure.
func NewUsers(s *store.Store, log *slog.Logger) *Users {
	u := &Users{store: s, log: log, known: map[string]knownUser{}}
	u.rules.Store(&userSettings{})
	u.upgrades.run = u.upgrade
	return u
}

// Configure takes the server admins from a snapshot. Values of [admins] that are no hash let nobody in.
func (u *Users) Configure(snap *config.Snapshot) {
	rules := &userSettings{
		admins:     map[string]password.Hash{},
		names:      snap.Section("admins"),
		conflicted: snap.Bool(false, "allow_conflicted_user_docs", "chttpd_auth"),
		policy:     PasswordPolicy(snap),
		maxKnown:   int(positive(snap.Int(0, "max_objects", "chttpd_auth_cache"), maxKnownUsers)),
	}
	for name, value := range rules.names {
		if h, ok, err := password.ParseAdmin(value); ok && err == nil {
			rules.admins[name] = h
		}
	}
	u.rules.Store(rules)
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.known)
}

// Close ends upgrades of hashes; it waits for the one under way. The directory can still be asked.
func (u *Users) Close() { u.upgrades.close() }

// User returns the entry of name: a server admin, with the roles of a document of the same name added, or a document.
// It fails with auth.ErrUnknownUser, or with a Refusal for a document with conflicts.
func (u *Users) User(ctx context.Context, name string) (*auth.User, error) {
	db, err := u.store.DB(usersDatabase)
	if errors.Is(err, store.ErrNoDatabase) {
		return u.entry(u.rules.Load(), nil, name)
	}
	if err != nil {
		return nil, err
	}
	seq := db.UpdateSeq()
	info, err := db.Info()
	if err != nil {
		return nil, err
	}
	u.mu.RLock()
	k, ok := u.known[name]
	u.mu.RUnlock()
	if !ok || k.db != db || k.seq != seq || k.purges != info.PurgeSeq {
		rules := u.rules.Load()
		user, err := u.entry(rules, db, name)
		if err != nil && !errors.Is(err, auth.ErrUnknownUser) {
			return nil, err
		}
		k = knownUser{db: db, seq: seq, purges: info.PurgeSeq, user: user}
		u.remember(rules, name, k)
	}
	if k.user == nil {
		return nil, auth.ErrUnknownUser
	}
	return k.user, nil
}

// remember keeps an entry that was made under rules, unless the rules have changed meanwhile.
func (u *Users) remember(rules *userSettings, name string, k knownUser) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.rules.Load() != rules {
		return
	}
	if len(u.known) >= rules.maxKnown {
		clear(u.known)
	}
	u.known[strings.Clone(name)] = k
}

// entry looks a name up. db is nil when there is no _users.
func (u *Users) entry(rules *userSettings, db *store.DB, name string) (*auth.User, error) {
	var doc *userDoc
	if db != nil {
		var err error
		if doc, err = readUser(db, name, rules.conflicted); err != nil {
			return nil, err
		}
	}
	if h, ok := rules.admins[name]; ok {
		admin := &auth.User{Name: name, Roles: []string{"_admin"}, Password: h, Admin: true}
		if doc != nil {
			admin.Roles = append(admin.Roles, doc.roles...)
		}
		return admin, nil
	}
	if doc == nil {
		return nil, auth.ErrUnknownUser
	}
	return &auth.User{Name: name, Roles: doc.roles, Password: doc.hash, TOTP: doc.totp, TOTPKey: doc.totpKey(), Disabled: doc.disabled,
		Identities: doc.identities}, nil
}

// tokensOf is the member oauth of a user's document, as it stands; "" for none.
func (u *Users) tokensOf(name string) (string, error) {
	db, err := u.store.DB(usersDatabase)
	if errors.Is(err, store.ErrNoDatabase) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	doc, err := readUser(db, name, true)
	if doc == nil || err != nil {
		return "", err
	}
	return doc.oauth, nil
}

// userDoc is what sign-on needs of a document in _users.
type userDoc struct {
	roles    []string
	hash     password.Hash
	totp     bool   // there is a second factor, be it one that matches no code
	second   string // the member totp, as it stands
	oauth    string // the member oauth, as it stands
	disabled bool

	identities []auth.ForeignIdentity
}

// totpKey is the key of the second factor; one that cannot be read is the zero key, which matches no code.
func (u *userDoc) totpKey() auth.TOTPKey {
	if !u.totp {
		return auth.TOTPKey{}
	}
	key, err := parseTOTP(jsontext.Value(u.second))
	if err != nil {
		return auth.TOTPKey{}
	}
	return key
}

// parseTOTP reads the member totp of a user document (spec §7.7): {"key":…,"algorithm":…,"length":…}.
func parseTOTP(value jsontext.Value) (auth.TOTPKey, error) {
	if len(value) == 0 || value[0] != '{' {
		return auth.TOTPKey{}, errors.New("totp must be an object")
	}
	algorithm, isText := text(objectMember(value, "algorithm"))
	if !isText && objectMember(value, "algorithm") != nil {
		return auth.TOTPKey{}, errors.New("totp algorithm must be a string")
	}
	length := 0
	if n := objectMember(value, "length"); n != nil {
		if length = whole(n); length == 0 {
			length = -1
		}
	}
	key, _ := text(objectMember(value, "key"))
	return auth.ParseTOTPKey(key, algorithm, length)
}

// readUser reads the document of a name; nil when there is none.
func readUser(db *store.DB, name string, conflicted bool) (*userDoc, error) {
	rec, err := db.Record(userPrefix + name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	leaves := rec.Tree.Leaves()
	if rec.Tree.Node(leaves[0]).Deleted {
		return nil, nil
	}
	if len(leaves) > 1 && !rec.Tree.Node(leaves[1]).Deleted && !conflicted {
		return nil, &auth.Refusal{Status: http.StatusUnauthorized, Kind: "unauthorized",
			Reason: "User document conflicts must be resolved before the document is used for authentication purposes."}
	}
	doc, err := db.Revision(rec, leaves[0])
	if err != nil {
		return nil, err
	}
	return parseUser(doc.Body)
}

// parseUser reads a user document. Members of a wrong type count as absent, which lets nobody in; disabled counts as true.
func parseUser(body []byte) (*userDoc, error) {
	u := &userDoc{hash: password.Hash{Scheme: password.Simple}}
	var derived, sha string
	err := members(body, func(name string, value jsontext.Value) error {
		s, _ := text(value)
		switch name {
		case "roles":
			u.roles, _ = parseStrings(value, "")
		case "password_scheme":
			u.hash.Scheme = password.Scheme(s)
		case "pbkdf2_prf":
			u.hash.PRF = s
		case "salt":
			u.hash.Salt = s
		case "iterations":
			u.hash.Iterations = whole(value)
		case "argon2_memory":
			u.hash.Argon2.Memory = whole(value)
		case "argon2_time":
			u.hash.Argon2.Time = whole(value)
		case "argon2_parallelism":
			u.hash.Argon2.Parallelism = whole(value)
		case "derived_key":
			derived = s
		case "password_sha":
			sha = s
		case "totp":
			u.totp, u.second = true, string(value)
		case "oauth":
			u.oauth = string(value)
		case "disabled":
			u.disabled = string(value) != "false" && string(value) != "null"
		case "identities":
			u.identities, _ = parseIdentities(value)
		}
		return nil
	})
	u.hash.Key = derived
	switch u.hash.Scheme {
	case password.Simple:
		u.hash.Key = sha
	case password.PBKDF2, password.SimplePBKDF2:
		if u.hash.PRF == "" {
			u.hash.PRF = "sha"
		}
		if u.hash.Iterations == 0 {
			u.hash.Iterations = 10_000
		}
	}
	if u.hash.Key == "" {
		// No password lets this user in, but the salt still makes his cookies.
		u.hash = password.Hash{Salt: u.hash.Salt}
	}
	return u, err
}

// whole reads an integer; what is none is -1, which no hash has.
func whole(value jsontext.Value) int {
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return -1
	}
	return n
}

// Upgrade makes the hash of a password that has just verified anew under the policy in force, with the same salt, so that sessions survive
// (spec §7.5). It returns at once: the work is done in the background, one user after the other, and dropped when too many wait.
// A document that changed meanwhile is left alone.
func (u *Users) Upgrade(_ context.Context, user *auth.User, pass string) {
	if !user.Admin {
		u.upgrades.add(upgrade{user, pass})
	}
}

func (u *Users) upgrade(up upgrade) {
	if err := u.rehash(up.user, up.password); err != nil && !errors.Is(err, store.ErrConflict) {
		u.log.Warn("the password hash could not be upgraded", "user", up.user.Name, "error", err)
	}
}

// rehash stores a user's document with a new hash, unless it is no longer the one that verified.
func (u *Users) rehash(user *auth.User, pass string) error {
	db, err := u.store.DB(usersDatabase)
	if err != nil {
		return err
	}
	doc, err := db.Doc(userPrefix + user.Name)
	if err != nil {
		return err
	}
	if parsed, err := parseUser(doc.Body); err != nil || parsed.hash != user.Password {
		return err
	}
	h, err := u.rules.Load().policy.New(pass, user.Password.Salt)
	if err != nil {
		return err
	}
	body, err := withHash(doc.Body, h)
	if err != nil {
		return err
	}
	_, err = db.Put(context.Background(), store.Write{
		Doc:  store.Doc{ID: doc.ID, Body: body, Attachments: keepAttachments(doc.Attachments)},
		Base: doc.Rev,
	}, nil)
	return err
}

// keepAttachments are stubs for all attachments of the revision that an edit replaces.
func keepAttachments(attachments []store.Attachment) []store.Attachment {
	kept := slices.Clone(attachments)
	for i := range kept {
		kept[i].Stub = true
	}
	return kept
}
