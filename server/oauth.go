package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oauth1"
	"github.com/parlordb/parlor/store"
)

// UserTokens are the OAuth credentials that stand in the documents of _users (spec §15.1):
//
//	"oauth": {"consumer_keys": {"KEY": "SECRET", …}, "tokens": {"TOKEN": "SECRET", …}}
//
// Every key of a document goes with every token of it. A pair that is in two documents is nobody's. Only admins can write this member, so what it
// costs to remember is theirs to bound.
//
// The credentials are kept in memory with the update sequence of _users that they are from, and brought up to it by each Lookup. It is safe for
// concurrent use.
type UserTokens struct {
	store *store.Store

	mu     sync.Mutex
	db     *store.DB // that the rest is from; nil before the first Lookup
	since  uint64
	purges uint64 // a purged document leaves no change behind
	users  map[string]userTokens
	owners map[string]map[string]struct{} // names of the users who have a consumer key
}

var _ oauth1.Credentials = (*UserTokens)(nil)

// userTokens are the secrets of one user, by consumer key and by token.
type userTokens struct{ consumers, tokens map[string]string }

// NewUserTokens returns the credentials in the _users of a store.
func NewUserTokens(s *store.Store) *UserTokens { return &UserTokens{store: s} }

// Lookup implements oauth1.Credentials.
func (t *UserTokens) Lookup(ctx context.Context, consumerKey, token string) (oauth1.Credential, error) {
	db, err := t.store.DB(usersDatabase)
	if errors.Is(err, store.ErrNoDatabase) {
		return oauth1.Credential{}, oauth1.ErrUnknownPair
	}
	if err != nil {
		return oauth1.Credential{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.update(ctx, db); err != nil {
		return oauth1.Credential{}, err
	}
	var found oauth1.Credential
	for name := range t.owners[consumerKey] {
		secret, ok := t.users[name].tokens[token]
		if !ok {
			continue
		}
		if found.User != "" {
			return oauth1.Credential{}, &auth.Refusal{Status: http.StatusBadRequest, Kind: "oauth_token_consumer_key_pair",
				Reason: "Found multiple OAuth credentials for the pair  (consumer_key: `" + consumerKey + "`, token: `" + token + "`)"}
		}
		found = oauth1.Credential{User: name, ConsumerSecret: t.users[name].consumers[consumerKey], TokenSecret: secret}
	}
	if found.User == "" {
		return oauth1.Credential{}, oauth1.ErrUnknownPair
	}
	return found, nil
}

// update reads what has changed in _users.
func (t *UserTokens) update(ctx context.Context, db *store.DB) error {
	const page = 1000
	info, err := db.Info()
	if err != nil {
		return err
	}
	if t.db != db || t.purges != info.PurgeSeq {
		t.db, t.since, t.purges = db, 0, info.PurgeSeq
		t.users, t.owners = map[string]userTokens{}, map[string]map[string]struct{}{}
	}
	for t.since < db.UpdateSeq() {
		if err := ctx.Err(); err != nil {
			return err
		}
		var names []string
		since, changes := t.since, 0
		err := db.Changes(t.since, false, page, func(c *store.Change) bool {
			if name, ok := strings.CutPrefix(c.ID, userPrefix); ok {
				names = append(names, strings.Clone(name))
			}
			since, changes = c.Seq, changes+1
			return true
		})
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := t.read(db, name); err != nil {
				return err
			}
		}
		t.since = since
		if changes < page {
			return nil
		}
	}
	return nil
}

// read takes one document's credentials in place of those that it had before.
func (t *UserTokens) read(db *store.DB, name string) error {
	for key := range t.users[name].consumers {
		delete(t.owners[key], name)
		if len(t.owners[key]) == 0 {
			delete(t.owners, key)
		}
	}
	delete(t.users, name)
	doc, err := db.Doc(userPrefix + name)
	if errors.Is(err, store.ErrDeleted) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	tokens, ok := parseTokens(doc.Body)
	if !ok {
		return nil
	}
	t.users[name] = tokens
	for key := range tokens.consumers {
		if t.owners[key] == nil {
			t.owners[key] = map[string]struct{}{}
		}
		t.owners[key][name] = struct{}{}
	}
	return nil
}

// parseTokens reads a user document. Secrets that are empty, and what is of a wrong type, count as absent: they let nobody in.
func parseTokens(body []byte) (tokens userTokens, ok bool) {
	member := objectMember(body, "oauth")
	if kind, _ := text(objectMember(body, "type")); member == nil || member[0] != '{' || kind != "user" {
		return userTokens{}, false
	}
	tokens = userTokens{secretsOf(objectMember(member, "consumer_keys")), secretsOf(objectMember(member, "tokens"))}
	return tokens, len(tokens.consumers) > 0 && len(tokens.tokens) > 0
}

func secretsOf(object jsontext.Value) map[string]string {
	if object == nil || object[0] != '{' {
		return nil
	}
	secrets := map[string]string{}
	err := members(object, func(name string, value jsontext.Value) error {
		if secret, ok := text(value); ok && name != "" && secret != "" {
			secrets[strings.Clone(name)] = strings.Clone(secret)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return secrets
}
