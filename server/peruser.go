package server

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/store"
)

// perUserSettings are [couch_peruser]: a database for each user, which is his alone (spec §13).
type perUserSettings struct {
	enabled   bool
	deleteDBs bool
	prefix    string
	padded    bool // every byte is two hex digits; CouchDB writes one below 16
}

func newPerUser(snap *config.Snapshot) (p perUserSettings, err error) {
	p = perUserSettings{
		enabled:   snap.Bool(false, "enable", "couch_peruser"),
		deleteDBs: snap.Bool(false, "delete_dbs", "couch_peruser"),
		prefix:    snap.String("userdb-", "database_prefix", "couch_peruser"),
		padded:    snap.Bool(false, "zero_padding", "couch_peruser"),
	}
	if !databaseName.MatchString(p.prefix + "0") {
		err = &config.ValueError{Reason: "[couch_peruser] database_prefix: no database's name can begin with " + p.prefix}
	}
	return p, err
}

// database is the name of a user's database.
func (p perUserSettings) database(user string) string {
	const digits = "0123456789abcdef"
	name := []byte(p.prefix)
	for i := 0; i < len(user); i++ {
		if user[i] >= 16 || p.padded {
			name = append(name, digits[user[i]>>4])
		}
		name = append(name, digits[user[i]&15])
	}
	return string(name)
}

// ambiguous reports whether the digits of a user's name can be those of another: where a byte is written with one digit. All other names are told apart.
func (p perUserSettings) ambiguous(user string) bool {
	return !p.padded && strings.ContainsFunc(user, func(c rune) bool { return c < 16 })
}

// write stores r's documents. Of _users, the end of what let users in, the audit trail and the users' own databases follow before the request is answered.
func (s *Server) write(r *request, writes []store.Write, check store.Check) ([]store.Result, error) {
	if r.db.Name() != usersDatabase {
		if err := s.room(r, writes); err != nil {
			return nil, err
		}
		return r.db.Write(r.Context(), writes, check)
	}
	if r.set.perUser.enabled {
		check = s.withPerUser(r.set.perUser, check)
	}
	events := userEvents{}
	results, err := r.db.Write(r.Context(), writes, events.over(check))
	if err != nil {
		return results, err
	}
	if err := s.orphanDeleted(r.Context(), r.db, writes, results); err != nil {
		return nil, err
	}
	if err := s.endCredentials(r.Context(), events, writes, results); err != nil {
		return nil, err
	}
	events.note(s, r, writes, results)
	if !r.set.perUser.enabled {
		return results, nil
	}
	for i := range results {
		name, isUser := strings.CutPrefix(writes[i].Doc.ID, userPrefix)
		if results[i].Err != nil || !isUser {
			continue
		}
		if err := s.settleUser(context.WithoutCancel(r.Context()), r.set, r.db, name); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// withPerUser returns check with a further rule: nobody is made whose database would not be his alone.
func (s *Server) withPerUser(p perUserSettings, check store.Check) store.Check {
	return func(ctx context.Context, old, doc *store.Doc) error {
		if check != nil {
			if err := check(ctx, old, doc); err != nil {
				return err
			}
		}
		user, isUser := strings.CutPrefix(doc.ID, userPrefix)
		if !isUser || doc.Deleted || old != nil && !old.Deleted {
			return nil
		}
		return s.perUserAlone(p, user)
	}
}

// perUserAlone fails with an *Error for a user whose database would not be his alone: another's name may have the same digits, or what is there belongs to
// somebody else.
func (s *Server) perUserAlone(p perUserSettings, user string) error {
	if p.ambiguous(user) {
		return forbidden("A user's name has no control characters here: the user's database could be another user's.")
	}
	name := p.database(user)
	_, sec, err := s.vaultNamed(name)
	if err == nil && sec != nil && sec.vault.Owner != user {
		err = forbidden("The database that would be this user's, " + name + ", is a vault of somebody else.")
	}
	return err
}

// settleAllUsers does for every user what write does for one: for the time when [couch_peruser] was off.
func (s *Server) settleAllUsers(set *settings) {
	db, err := s.store.DB(usersDatabase)
	if err != nil {
		return
	}
	last := userPrefix
	for s.closing.Err() == nil {
		var names []string
		err := db.Docs(store.Range{From: last, ExclusiveFrom: true, To: userPrefix + "\xff", HasTo: true}, func(row *store.Row) bool {
			last = strings.Clone(row.ID)
			names = append(names, strings.TrimPrefix(last, userPrefix))
			return len(names) < namesPage
		})
		for _, name := range names {
			if err == nil {
				err = s.settleUser(s.closing, set, db, name)
			}
		}
		if err != nil {
			s.log.Warn("users' databases could not be made", "error", err)
			return
		}
		if len(names) < namesPage {
			return
		}
	}
}

// settleRegistered does for a user whom the directory wrote itself what write does for others.
func (s *Server) settleRegistered(ctx context.Context, name string) error {
	set := s.settings.Load()
	if set == nil || !set.perUser.enabled {
		return nil
	}
	db, err := s.store.DB(usersDatabase)
	if err != nil {
		return err
	}
	return s.settleUser(ctx, set, db, name)
}

// settleUser gives a user his database, or takes it away when he has gone. One that is not his alone is left as it is.
func (s *Server) settleUser(ctx context.Context, set *settings, users *store.DB, user string) error {
	name := set.perUser.database(user)
	if err := checkDatabaseName(name); err != nil {
		s.log.Warn("a user's name is too long for a database", "user", user)
		return nil
	}
	// What is found to be nobody's vault stays so until this is done.
	s.vaults.change.Lock()
	defer s.vaults.change.Unlock()
	_, err := users.Doc(userPrefix + user)
	gone := errors.Is(err, store.ErrDeleted) || errors.Is(err, store.ErrNotFound)
	if err != nil && !gone {
		return err
	}
	if err := s.perUserAlone(set.perUser, user); err != nil {
		if _, refused := errors.AsType[*Error](err); !refused {
			return err
		}
		if !gone {
			s.log.Warn("a user has no database of his own", "user", user, "reason", err)
		}
		return nil
	}
	if gone && set.perUser.deleteDBs {
		err := s.store.Delete(ctx, name)
		if errors.Is(err, store.ErrNoDatabase) {
			return nil
		}
		return err
	}
	db, err := s.store.DB(name)
	if errors.Is(err, store.ErrNoDatabase) {
		if gone {
			return nil
		}
		if db, err = s.store.Create(ctx, name, set.defaultSecurity); errors.Is(err, store.ErrDatabaseExists) {
			db, err = s.store.DB(name)
		}
	}
	if err != nil {
		return err
	}
	before, err := db.Security()
	if err != nil {
		return err
	}
	after, err := withName(before, user, !gone)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	return db.SetSecurity(ctx, after)
}

// withName returns a _security object in which a name is among the admins' and the members' names, or is not. All else stays as it is.
func withName(security []byte, name string, in bool) ([]byte, error) {
	out := []byte{'{'}
	add := func(member string, value []byte) {
		out = append(appendString(appendComma(out), member), ':')
		out = append(out, value...)
	}
	seen := map[string]bool{}
	err := members(security, func(member string, value jsontext.Value) error {
		seen[member] = true
		if member != "admins" && member != "members" {
			add(member, value)
			return nil
		}
		group, err := groupWithName(value, name, in)
		add(member, group)
		return err
	})
	for _, member := range []string{"members", "admins"} {
		if err == nil && in && !seen[member] {
			var group []byte
			group, err = groupWithName(jsontext.Value("{}"), name, in)
			add(member, group)
		}
	}
	return append(out, '}'), err
}

func groupWithName(group jsontext.Value, name string, in bool) ([]byte, error) {
	out := []byte{'{'}
	listed := false
	err := members(group, func(member string, value jsontext.Value) error {
		out = append(appendString(appendComma(out), member), ':')
		if member != "names" {
			out = append(out, value...)
			return nil
		}
		listed = true
		names, err := parseStrings(value, "names must be a JSON list of strings")
		switch has := slices.Contains(names, name); {
		case in && !has:
			names = slices.Insert(names, 0, name)
		case !in && has:
			names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		}
		out = appendStrings(out, names)
		return err
	})
	if in && !listed {
		out = append(appendString(appendComma(out), "names"), ':')
		out = appendStrings(out, []string{name})
	}
	return append(out, '}'), err
}
