package server

import (
	"context"
	"errors"
	"strings"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// stillAllowed returns what auth.Revocations asks about a request that lives long: whether its caller may still read its database. A user who
// signed in with a password or session must still be there, with the same password (a hash that was upgraded keeps its salt).
func (s *Server) stillAllowed(r *request) func(context.Context) error {
	who, db := r.who, r.db
	var salt, tokens string
	if who.Local {
		user, err := s.users.User(r.Context(), who.Name)
		switch {
		case err != nil:
		case who.Method == "oauth":
			// A signed request is good once, so it cannot be asked again who it is from.
			tokens, err = s.users.tokensOf(who.Name)
		default:
			salt = user.Password.Salt
			// The password may have changed since the request was let in: what it brought must be right for this salt.
			_, err = s.auth.Authenticate(r.Request)
		}
		if err != nil {
			return func(context.Context) error { return err }
		}
	}
	return func(ctx context.Context) error {
		now := who
		user, err := s.users.User(ctx, who.Name)
		switch {
		case who.Anonymous():
		case err == nil && user.Disabled:
			return auth.ErrRevoked
		case who.Local && err != nil:
			return err
		case who.Method == "oauth":
			if held, err := s.users.tokensOf(who.Name); err != nil || held != tokens {
				return auth.ErrRevoked
			}
			now.Roles = user.Roles
		case who.Local && user.Password.Salt != salt:
			return auth.ErrRevoked
		case who.Local:
			now.Roles = user.Roles
		}
		if db == nil || db.Name() == usersDatabase || db.Name() == "_replicator" {
			// The feeds of all databases, of users and of replications are for server admins.
			if !now.Admin() {
				return auth.ErrRevoked
			}
			return nil
		}
		sec, err := s.security.of(db)
		if err != nil {
			return err
		}
		if !sec.isMember(&now) {
			return auth.ErrRevoked
		}
		return nil
	}
}

// watchUsers has feeds judged again when their user's document changes. It returns when the server closes.
func (s *Server) watchUsers() {
	var since, updates uint64
	var watched *store.DB
	for s.closing.Err() == nil {
		db, err := s.store.DB(usersDatabase)
		if err != nil {
			// No such database yet, or no longer: the next that is made will show among the updates.
			if s.store.WaitUpdate(s.closing, updates) != nil {
				return
			}
			updates, watched = s.store.UpdateSeq(), nil
			continue
		}
		if db != watched {
			watched, since = db, db.UpdateSeq()
			s.revocations.Recheck(auth.Match{})
		}
		if err := db.WaitChange(s.closing, since); err != nil {
			if !errors.Is(err, store.ErrNoDatabase) {
				return
			}
			s.revocations.Recheck(auth.Match{})
			continue
		}
		since = s.recheckChanged(db, since)
	}
}

// recheckChanged has the feeds of users whose documents changed after since judged again, and returns how far it came.
func (s *Server) recheckChanged(db *store.DB, since uint64) uint64 {
	const page = 1000
	var names []string
	err := db.Changes(since, false, page, func(c *store.Change) bool {
		if name, ok := strings.CutPrefix(c.ID, userPrefix); ok {
			names = append(names, strings.Clone(name))
		}
		since = c.Seq
		return true
	})
	if err != nil {
		// What cannot be told apart is judged as a whole.
		s.revocations.Recheck(auth.Match{})
		return db.UpdateSeq()
	}
	for _, name := range names {
		s.revocations.Recheck(auth.Match{User: name})
	}
	return since
}
