package server

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// stillAllowed returns what auth.Revocations asks about a request that lives long: whether its caller may still read its database.
func (s *Server) stillAllowed(r *request) func(context.Context) error {
	db := r.db
	present, err := s.holder(r)
	if err != nil {
		return func(context.Context) error { return err }
	}
	return func(ctx context.Context) error {
		who, err := present(ctx)
		if err != nil {
			return err
		}
		if db == nil || db.Name() == usersDatabase || db.Name() == "_replicator" {
			// The feeds of all databases, of users and of replications are for server admins.
			if !who.Admin() {
				return auth.ErrRevoked
			}
			return nil
		}
		sec, err := s.security.of(db)
		if err != nil {
			return err
		}
		if !sec.isMember(&who) {
			return auth.ErrRevoked
		}
		return nil
	}
}

// holder says who a request is from as time goes by: with the roles of then, or auth.ErrRevoked when what let it in has ended.
type holder func(ctx context.Context) (auth.Identity, error)

// holder returns the one for a request's credential. What has ended between the judgement of the request and this call it may miss: that is a matter for proven.
func (s *Server) holder(r *request) (holder, error) {
	who := r.who
	kind, id, _ := strings.Cut(who.Credential, ":")
	switch {
	case who.Anonymous() || who.Method == "socket":
		return func(context.Context) (auth.Identity, error) { return who, nil }, nil
	case kind == "session" && who.Method == "cookie":
		return s.enabledHolder(func(ctx context.Context) (auth.Identity, error) {
			sessions := s.settings.Load().sessions
			if sessions == nil {
				return auth.Identity{}, auth.ErrRevoked
			}
			return sessions.Check(ctx, id)
		}), nil
	case (kind == "token" || kind == "device") && who.Scope != nil:
		return s.enabledHolder(func(ctx context.Context) (auth.Identity, error) {
			token, err := s.tokens.Get(ctx, id)
			if err != nil {
				return auth.Identity{}, err
			}
			return s.tokens.Identity(ctx, &token, who.Method)
		}), nil
	case !who.Local:
		return s.foreignHolder(r.Context(), who)
	}
	return s.localHolder(r)
}

// proven asks once more for what let a request in, by what it brought. A request that lives long asks when it has registered: whatever ends from then on ends it, and
// what has ended before is refused here, however long the request took to come. So it is strict: what has expired meanwhile, or gives a role less, is refused too.
func (s *Server) proven(r *request) error {
	who := r.who
	if who.Anonymous() || who.Method == "socket" {
		return nil
	}
	now, err := s.present(r)
	if err == nil && (now.Name != who.Name || now.Credential != who.Credential) {
		err = auth.ErrRevoked
	}
	// Those of who.Local are read anew as time goes by.
	if err == nil && !who.Local && slices.ContainsFunc(who.Roles, func(role string) bool { return !now.HasRole(role) }) {
		err = auth.ErrRevoked
	}
	if err != nil {
		return ended(err)
	}
	return nil
}

// present is who a request is from now. A session is asked for by its ID, for one that serves once has served.
func (s *Server) present(r *request) (auth.Identity, error) {
	id, kept := strings.CutPrefix(r.who.Credential, sessionCredential)
	if !kept || r.who.Method != "cookie" {
		return s.auth.Authenticate(r.WithContext(auth.Repeat(r.Context())))
	}
	sessions := s.settings.Load().sessions
	if sessions == nil || !slices.Contains(s.auth.Names(), r.who.Method) {
		return auth.Identity{}, auth.ErrRevoked
	}
	return sessions.Check(r.Context(), id)
}

// enabledHolder is a holder whose users must not be disabled.
func (s *Server) enabledHolder(present holder) holder {
	return func(ctx context.Context) (auth.Identity, error) {
		who, err := present(ctx)
		if err == nil {
			err = s.enabled(ctx, who.Name)
		}
		return who, err
	}
}

// foreignHolder is that of a name which a token, a proxy or a provider vouches for. It need not be in the directory; but where a provider's is, it ends with
// its entry there, and with the link to it.
func (s *Server) foreignHolder(ctx context.Context, who auth.Identity) (holder, error) {
	before, err := s.users.User(ctx, who.Name)
	if err != nil && !errors.Is(err, auth.ErrUnknownUser) {
		return nil, err
	}
	return func(ctx context.Context) (auth.Identity, error) {
		user, err := s.users.User(ctx, who.Name)
		switch {
		case errors.Is(err, auth.ErrUnknownUser) && (who.Provider == "" || before == nil):
			user = nil
		case err != nil:
			return auth.Identity{}, err
		case user.Disabled:
			return auth.Identity{}, auth.ErrRevoked
		case who.Provider != "" && (before == nil || user.Admin):
			return auth.Identity{}, auth.ErrRevoked // somebody else has the name now
		case who.Provider != "" && before != nil && slices.ContainsFunc(before.Identities, func(id auth.ForeignIdentity) bool {
			return !slices.Contains(user.Identities, id)
		}):
			return auth.Identity{}, auth.ErrRevoked
		}
		now := who
		now.Roles = slices.DeleteFunc(slices.Clone(who.Roles), func(role string) bool {
			return slices.Contains(who.Granted, role) && (user == nil || !slices.Contains(user.Roles, role))
		})
		return now, nil
	}, nil
}

// localHolder is that of a user who signed in with a password, a cookie that is a session by itself, or a signature: he must still be there, with the same password
// (a hash that was upgraded keeps its salt), which must be enough by itself where it comes with each request.
func (s *Server) localHolder(r *request) (holder, error) {
	who := r.who
	before, err := s.users.User(r.Context(), who.Name)
	var tokens string
	if err == nil && who.Method == "oauth" {
		tokens, err = s.users.tokensOf(who.Name)
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (auth.Identity, error) {
		user, err := s.users.User(ctx, who.Name)
		switch {
		case err != nil:
			return auth.Identity{}, err
		case user.Disabled:
			return auth.Identity{}, auth.ErrRevoked
		case who.Method == "oauth":
			if held, err := s.users.tokensOf(who.Name); err != nil || held != tokens {
				return auth.Identity{}, auth.ErrRevoked
			}
		case user.Password.Salt != before.Password.Salt, who.Method == "default" && !s.passwords.Suffices(user):
			return auth.Identity{}, auth.ErrRevoked
		}
		now := who
		now.Roles = user.Roles
		return now, nil
	}, nil
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
