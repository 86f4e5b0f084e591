package server

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// vaults knows which databases have an owner, and how much of them each owner has.
type vaults struct {
	// change is held by whoever makes, deletes, restores or gives away a vault, so that what they have looked at stays as it is.
	change sync.Mutex

	// counting is held by whoever counts what an owner's vaults hold: of many writes that wait for it, one does it.
	counting sync.Mutex

	mu    sync.Mutex
	names map[string]map[string]struct{} // of databases, by the users whom they belong to or are shared with, "" for those of nobody. The databases' properties decide
	usage map[string]usage               // by owner
}

// enter notes for whom a vault is of interest. Names that it is no longer of interest to are found out when they ask.
func (v *vaults) enter(name string, is *vault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.names == nil {
		v.names, v.usage = map[string]map[string]struct{}{}, map[string]usage{}
	}
	add := func(user string) {
		if v.names[user] == nil {
			v.names[user] = map[string]struct{}{}
		}
		v.names[user][name] = struct{}{}
	}
	add(is.Owner)
	delete(v.usage, is.Owner)
	for user := range is.Shares {
		add(user)
	}
}

// leave forgets a vault that is of no interest to a user any more.
func (v *vaults) leave(name, user string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.names[user], name)
	if len(v.names[user]) == 0 {
		delete(v.names, user)
	}
	delete(v.usage, user)
}

// of returns the names of databases that may be a user's, or be shared with one, in order.
func (v *vaults) of(user string) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.names[user]))
}

// all returns the names of all databases that may be vaults of anybody, in order. A vault without an owner that is shared with nobody is found under "".
func (v *vaults) all() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen := map[string]struct{}{}
	for _, names := range v.names {
		maps.Copy(seen, names)
	}
	return slices.Sorted(maps.Keys(seen))
}

// vaultNamed opens a vault; db is nil when there is none of the name.
func (s *Server) vaultNamed(name string) (db *store.DB, sec *securityObject, err error) {
	if db, err = s.store.DB(name); err == nil {
		sec, err = s.security.of(db)
	}
	if errors.Is(err, store.ErrNoDatabase) || err == nil && sec.vault == nil {
		return nil, nil, nil
	}
	return db, sec, err
}

// vaultsOf calls fn for the vaults that belong to a user or are shared with one, in the order of names.
func (s *Server) vaultsOf(user string, fn func(db *store.DB, sec *securityObject) error) error {
	for _, name := range s.vaults.of(user) {
		db, sec, err := s.vaultNamed(name)
		if err != nil {
			return err
		}
		if db == nil || !sec.vault.concerns(user) {
			s.vaults.leave(name, user)
			continue
		}
		if err := fn(db, sec); err != nil {
			return err
		}
	}
	return nil
}

// hasVault reports whether a user owns a vault, or one is shared with the user.
func (s *Server) hasVault(user string) (bool, error) {
	found := false
	err := s.vaultsOf(user, func(*store.DB, *securityObject) error {
		found = true
		return nil
	})
	return found, err
}

// mayMake reports whether the caller, no server admin, may make a database of a name: one of those that are his, or one that was. A name that only a token
// vouches for, and no directory holds, owns nothing.
func (s *Server) mayMake(r *request, name string) (bool, error) {
	if r.who.Anonymous() {
		return false, nil
	}
	user, err := s.users.User(r.Context(), r.who.Name)
	switch {
	case errors.Is(err, auth.ErrUnknownUser):
		return false, nil
	case err != nil:
		return false, err
	case user.Disabled:
		return false, nil
	case r.set.vaults.of(r.who.Name, name):
		// Users' own databases that CouchDB's names for them lead to are not for others to make first.
		return !r.set.perUser.enabled || !strings.HasPrefix(name, r.set.perUser.prefix), nil
	}
	kept, err := s.keptVault(r.set, name)
	return err == nil && kept.vault.ownedBy(&r.who), err
}

// ownsDatabase reports whether the caller, no server admin, may do with a database what its owner may. One that is not there is the caller's if it
// could be: then it is no secret that it is missing.
func (s *Server) ownsDatabase(r *request, name string) (bool, error) {
	db, err := s.store.DB(name)
	if errors.Is(err, store.ErrNoDatabase) {
		return s.mayMake(r, name)
	}
	if err != nil {
		return false, err
	}
	sec, err := s.security.of(db)
	return err == nil && sec.vault.ownedBy(&r.who), err
}

// makeDatabase makes a database, and a vault where it is to be one: for an owner always, for a server admin when the query names an owner, or when a vault of
// this name was deleted and its copy is still kept. That vault's _security and shares come back, as LiveSync's "overwrite server data" has it, which deletes a
// database and makes it again.
func (s *Server) makeDatabase(r *request, name string) error {
	owner, err := s.futureOwner(r)
	if err != nil {
		return err
	}
	kept, err := s.keptVault(r.set, name)
	if err != nil {
		return err
	}
	if owner == "" && (kept.vault == nil || kept.vault.Owner == "") {
		_, err := s.store.Create(r.Context(), name, r.set.defaultSecurity)
		return err
	}
	return s.makeVault(r, name, owner)
}

// makeVault makes a vault for owner, or for the owner of the kept copy of that name when owner is "".
func (s *Server) makeVault(r *request, name, owner string) error {
	s.vaults.change.Lock()
	defer s.vaults.change.Unlock()
	kept, err := s.keptVault(r.set, name)
	if err != nil {
		return err
	}
	is, security := &vault{Owner: owner}, newVaultSecurity(owner)
	if kept.vault != nil && kept.vault.Owner != "" && (owner == "" || owner == kept.vault.Owner) {
		is, security = kept.vault, kept.Security
	}
	if is.Owner == "" {
		return errConflict // the copy has gone meanwhile
	}
	if !r.who.Admin() {
		if err := s.anotherVault(r, name, owner); err != nil {
			return err
		}
	}
	properties, err := is.properties()
	if err != nil {
		return err
	}
	if _, err := s.store.CreateWith(r.Context(), name, security, properties); err != nil {
		return err
	}
	s.vaults.enter(name, is)
	s.audit(r, "vault made", "database", name, "owner", is.Owner)
	return nil
}

// futureOwner is who is to own the database that a request makes, "" for nobody.
func (s *Server) futureOwner(r *request) (string, error) {
	owner := r.param("owner")
	switch {
	case !r.who.Admin() && r.hasParam("owner") && owner != r.who.Name:
		return "", forbidden("Only a server admin makes a database for somebody else.")
	case !r.who.Admin():
		return r.who.Name, nil
	case !r.hasParam("owner"):
		return "", nil
	case isSystemDatabase(r.segments[0]):
		return "", badRequest("A system database has no owner.")
	}
	return owner, s.mustExist(r, owner)
}

// mustExist refuses the name of a user who is not in the directory, for admins.
func (s *Server) mustExist(r *request, name string) error {
	_, err := s.users.User(r.Context(), name)
	if errors.Is(err, auth.ErrUnknownUser) {
		return badRequest("There is no user " + strconv.Quote(name) + ".")
	}
	return err
}

// removeDatabase deletes a database. A vault is kept for as long as [parlor_vaults] undelete_days says, unless the copy of its name that is kept already is the
// better one: that one gets the _security and shares of what is deleted.
func (s *Server) removeDatabase(r *request) error {
	ctx, name := r.Context(), r.db.Name()
	if r.sec.vault == nil {
		return s.store.Delete(ctx, name)
	}
	s.vaults.change.Lock()
	defer s.vaults.change.Unlock()
	sec, err := s.security.of(r.db)
	if err != nil {
		return err
	}
	info, err := r.db.Info()
	if err != nil {
		return err
	}
	kept, err := s.keptVault(r.set, name)
	switch {
	case err != nil:
	case kept.vault != nil && kept.vault.Owner == sec.vault.Owner && s.isFailedRebuild(&info, &kept):
		if err = s.store.AmendTrashed(ctx, name, sec.raw, sec.properties); err == nil {
			err = s.store.Delete(ctx, name)
		}
	default:
		err = s.store.Discard(ctx, name, r.set.vaults.undelete > 0)
	}
	if err != nil {
		return err
	}
	s.audit(r, "vault deleted", "database", name, "owner", sec.vault.Owner)
	s.vaults.leave(name, sec.vault.Owner)
	for user := range sec.vault.Shares {
		s.vaults.leave(name, user)
	}
	return s.prune(ctx, r.set, sec.vault.Owner)
}

// rebuildTime is within what time a rebuild that failed is tried again. What is older has been in use.
const rebuildTime = 24 * time.Hour

// isFailedRebuild reports whether a vault is what a rebuild has left that came to nothing, while the kept copy of its name is what there was before. LiveSync
// deletes a vault, makes it again, writes its version document and then pushes the notes; whoever sees that fail tries again, which deletes what is there: often
// that document alone, or some of the notes. The copy with all of them is not to give way to it. But a vault that has been in use for longer is what its owner
// had last, so it does take the place of a larger copy.
func (s *Server) isFailedRebuild(vault *store.Info, kept *keptVault) bool {
	young := s.now().Sub(vault.Created) < rebuildTime
	return !kept.Hollow && (vault.DocCount == 0 || young && vault.DocCount < kept.DocCount)
}
