package server

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// Vaults are bound to their users by name. So that a later user of the same name inherits nothing, a user who goes leaves them before the deletion is
// answered: they have no owner then, until a server admin gives them one. What a crash has left undone is done at the next start.

// orphanDeleted takes the users out of vaults whom these writes to _users have deleted.
func (s *Server) orphanDeleted(ctx context.Context, users *store.DB, writes []store.Write, results []store.Result) error {
	for i := range writes {
		name, isUser := strings.CutPrefix(writes[i].Doc.ID, userPrefix)
		if !isUser || !writes[i].Doc.Deleted || results[i].Err != nil {
			continue
		}
		gone, err := wasDeleted(users, writes[i].Doc.ID, results[i].Rev)
		if err == nil && gone {
			err = s.orphan(context.WithoutCancel(ctx), name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wasDeleted reports whether a tombstone has ended a document, though it may have been made again since. The tombstone of a conflict has not.
func wasDeleted(db *store.DB, id string, tombstone rev.ID) (bool, error) {
	record, err := db.Record(id)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil // purged meanwhile
	}
	if err != nil {
		return false, err
	}
	winner := record.Tree.Winner()
	return record.Tree.Node(winner).Deleted || slices.Contains(record.Tree.Path(winner), tombstone), nil
}

// orphanPurged does so for the users whose documents were purged.
func (s *Server) orphanPurged(ctx context.Context, users *store.DB, ids []string) error {
	for _, id := range ids {
		name, isUser := strings.CutPrefix(id, userPrefix)
		if !isUser {
			continue
		}
		_, err := users.Doc(id)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDeleted) {
			err = s.orphan(context.WithoutCancel(ctx), name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// orphan takes a user out of all vaults, deleted ones too: as owner, from their shares, and from the _security of those.
func (s *Server) orphan(ctx context.Context, user string) error {
	s.vaults.change.Lock()
	defer s.vaults.change.Unlock()
	changed := map[string]*vault{}
	err := s.vaultsOf(user, func(db *store.DB, sec *securityObject) error {
		changed[db.Name()] = sec.vault.without(user)
		security, properties, err := sec.vault.withoutUser(sec.raw, user)
		// _security first: as long as the vault says whose it was, the next start does this again.
		if err == nil && !bytes.Equal(security, sec.raw) {
			err = db.SetSecurity(ctx, security)
		}
		if err == nil {
			err = db.SetProperties(ctx, properties)
		}
		if errors.Is(err, store.ErrNoDatabase) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for name, v := range changed {
		s.vaults.leave(name, user)
		s.vaults.enter(name, v)
		s.revocations.Recheck(auth.Match{Database: name})
	}
	for k, err := range s.kept("") {
		if err != nil {
			return err
		}
		if !k.vault.concerns(user) {
			continue
		}
		security, properties, err := k.vault.withoutUser(k.Security, user)
		if err != nil {
			return err
		}
		if err := s.store.AmendTrashed(ctx, k.Name, security, properties); err != nil {
			return err
		}
	}
	return nil
}

// withoutUser returns _security and properties of the vault when a user has gone.
func (v *vault) withoutUser(security []byte, user string) (left, properties []byte, err error) {
	if left, err = withName(security, user, false); err != nil {
		return nil, nil, err
	}
	properties, err = v.without(user).properties()
	return left, properties, err
}

// configureVaults is done before settings come into force; old is nil at the start. Administrators who are removed leave their vaults too.
func (s *Server) configureVaults(set, old *settings) error {
	if old == nil {
		if err := s.loadVaults(); err != nil {
			return err
		}
	}
	if old == nil || !maps.Equal(set.snap.Section("admins"), old.snap.Section("admins")) {
		if err := s.orphanStrangers(set, false); err != nil {
			return err
		}
	}
	if old == nil || set.vaults.undelete != old.vaults.undelete {
		s.tasks.wait.Go(func() { s.expireNow(set) })
	}
	return nil
}

// loadVaults finds out which databases are vaults: once, before the first request.
func (s *Server) loadVaults() error {
	var broken error
	err := s.store.EachProperties(func(name string, properties []byte) bool {
		var v *vault
		if v, broken = parseVault(properties); broken == nil {
			s.vaults.enter(strings.Clone(name), v)
		}
		return broken == nil
	})
	return errors.Join(err, broken)
}

// orphanStrangers takes those users out of vaults who are there no longer: whose documents were deleted, and owners who are neither in _users nor server
// admins. A vault may be shared with somebody for whom only tokens vouch, so who was never there may stay, unless everyone goes whom _users does not hold, as
// when all of it was deleted.
func (s *Server) orphanStrangers(set *settings, everyone bool) error {
	users, err := s.store.DB(usersDatabase)
	if err != nil && !errors.Is(err, store.ErrNoDatabase) {
		return err
	}
	named := map[string]bool{} // whether as somebody who must be there
	s.vaults.mu.Lock()
	for name := range s.vaults.names {
		if name != "" {
			named[name] = everyone
		}
	}
	s.vaults.mu.Unlock()
	for k, err := range s.kept("") {
		if err != nil {
			return err
		}
		for user := range k.vault.Shares {
			named[user] = named[user] || everyone
		}
		if k.vault.Owner != "" {
			named[k.vault.Owner] = true
		}
	}
	for user := range maps.Keys(named) {
		err := s.vaultsOf(user, func(_ *store.DB, sec *securityObject) error {
			named[user] = named[user] || sec.vault.Owner == user
			return nil
		})
		if err == nil {
			err = s.orphanStranger(set, users, user, named[user])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// orphanStranger does so for one user. users is nil when there is no _users; a user who must be there goes also when there never was a document.
func (s *Server) orphanStranger(set *settings, users *store.DB, user string, must bool) error {
	if _, admin := set.snap.Section("admins")[user]; admin {
		return nil
	}
	err := error(store.ErrNotFound)
	if users != nil {
		_, err = users.Doc(userPrefix + user)
	}
	switch {
	case errors.Is(err, store.ErrDeleted), must && errors.Is(err, store.ErrNotFound):
		return s.orphan(context.Background(), user)
	case errors.Is(err, store.ErrNotFound):
		return nil
	}
	return err
}
