package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Lookup is the ID of the session whose cookie holds secret. The session need not exist.
func (s *Sessions) Lookup(secret string) (id string) { return hashKey(secret).id() }

// Check returns who a session is from now, by its ID, without using it: ErrNoRecord when it has ended. A OneTime session that was used ends with the request that
// it let in.
func (s *Sessions) Check(ctx context.Context, id string) (Identity, error) {
	_, who, err := s.find(ctx, id)
	return who, err
}

// Get returns a session that has not ended, or ErrNoRecord.
func (s *Sessions) Get(ctx context.Context, id string) (Session, error) {
	v, who, err := s.find(ctx, id)
	if err != nil {
		return Session{}, err
	}
	return v.now(&who), nil
}

func (s *Sessions) find(ctx context.Context, id string) (*storedSession, Identity, error) {
	c := s.settings.Load()
	key, ok := idKey(id)
	if c == nil || !ok {
		return nil, Identity{}, ErrNoRecord
	}
	k, err := s.kept.get(ctx, key)
	if errors.Is(err, ErrNoRecord) {
		return s.findSpent(ctx, c, id)
	}
	if err != nil {
		return nil, Identity{}, err
	}
	who, err := s.identity(ctx, c, k.value, c.Now())
	return k.value, who, err
}

// now is the session as whoever has it is seen now.
func (v *storedSession) now(who *Identity) Session {
	session := v.Session
	session.Roles, session.Granted, session.Expires = who.Roles, who.Granted, who.Expires
	return session
}

// List returns at most limit sessions that have not ended, of one user, or of all for "", after a Session.ID ("" for the first). They are in the
// order of IDs. One whose user the directory has a Refusal for is listed, without roles.
func (s *Sessions) List(ctx context.Context, user, after string, limit int) ([]Session, error) {
	c := s.settings.Load()
	if c == nil || limit <= 0 {
		return nil, nil
	}
	now, spent := c.Now(), s.spent.of(user)
	var found []Session
	for k, err := range s.kept.each(ctx, user, after) {
		// One that is being used this moment is in both places.
		if err == nil && !slices.ContainsFunc(spent, func(v *storedSession) bool { return v.ID == k.id }) {
			found, err = s.list(ctx, c, found, k.value, now)
		}
		if err != nil {
			return nil, err
		}
		if len(found) == limit {
			break
		}
	}
	for _, v := range spent {
		if v.ID <= after {
			continue
		}
		var err error
		if found, err = s.list(ctx, c, found, v, v.Created); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b Session) int { return strings.Compare(a.ID, b.ID) })
	return found[:min(limit, len(found))], nil
}

// list adds a session to a list, unless it has ended.
func (s *Sessions) list(ctx context.Context, c *sessionSettings, list []Session, v *storedSession, now time.Time) ([]Session, error) {
	who, err := s.identity(ctx, c, v, now)
	if _, refused := errors.AsType[*Refusal](err); refused {
		who, err = Identity{Expires: v.ends(c.Timeout)}, nil
	}
	if errors.Is(err, ErrNoRecord) {
		return list, nil
	}
	if err != nil {
		return nil, err
	}
	return append(list, v.now(&who)), nil
}

// End ends a session and cuts its feeds: ErrNoRecord when there is none.
func (s *Sessions) End(ctx context.Context, id string) error {
	if _, ok := idKey(id); !ok {
		return ErrNoRecord
	}
	k, err := s.kept.load(ctx, id)
	if errors.Is(err, ErrNoRecord) {
		return s.endSpent(id)
	}
	if err != nil {
		return err
	}
	return s.end(ctx, id, k.value.User)
}

// end cuts the feeds as soon as the session can no longer be used, whatever becomes of its index entry.
func (s *Sessions) end(ctx context.Context, id, user string) error {
	err := s.kept.remove(ctx, id)
	if errors.Is(err, ErrNoRecord) {
		return s.endSpent(id)
	}
	if err != nil {
		return err
	}
	s.revocations.End(Match{Credential: "session:" + id})
	return s.kept.forget(ctx, id, user)
}

// EndWhere ends the sessions of a user for which which is true (nil: all), and returns how many there were; user "" means everyone's. With a nil
// which the feeds of sessions that have expired, and so are no longer kept, are cut too. Sessions that are made while it runs may stay.
func (s *Sessions) EndWhere(ctx context.Context, user string, which func(*Session) bool) (int, error) {
	var now time.Time
	if c := s.settings.Load(); c != nil {
		now = c.Now()
	}
	ended := 0
	var failed error
	for k, err := range s.kept.each(ctx, user, "") {
		if err != nil {
			failed = err // the others are ended all the same
			continue
		}
		if which != nil && !which(&k.value.Session) {
			continue
		}
		switch err := s.end(ctx, k.id, k.value.User); {
		case errors.Is(err, ErrNoRecord):
		case err != nil:
			failed = err
		case now.Before(k.value.Expires):
			ended++
		}
	}
	for _, v := range s.spent.of(user) {
		if (which == nil || which(&v.Session)) && s.endSpent(v.ID) == nil {
			ended++
		}
	}
	if which == nil {
		s.revocations.End(Match{User: user, Method: s.Name()})
	}
	return ended, failed
}

// Sweep removes sessions that have ended, and those of users who are gone. It cuts no feeds: an answer that was begun in time may end in its own. Until then its
// session stays, so that EndWhere finds it.
// Call it now and then; every ten minutes is often enough. removed counts index entries without a session too. What cannot be read stays, and is
// reported when the rest is done.
func (s *Sessions) Sweep(ctx context.Context) (removed int, err error) {
	c := s.settings.Load()
	if c == nil {
		return 0, nil
	}
	// One that expires this very moment may be renewed by a request that came in time.
	now, inUse := c.Now().Add(-time.Minute), s.revocations.credentials()
	var failed error
	for k, err := range s.kept.each(ctx, "", "") {
		if err == nil {
			_, err = s.identity(ctx, c, k.value, now)
		}
		if !errors.Is(err, ErrNoRecord) {
			if _, refused := errors.AsType[*Refusal](err); err != nil && !refused {
				failed = err
			}
			continue
		}
		if inUse[k.value.credential] {
			continue
		}
		if err = ignoreNoRecord(s.kept.remove(ctx, k.id)); err == nil {
			removed++
			err = s.kept.forget(ctx, k.id, k.value.User)
		}
		if err != nil {
			return removed, err
		}
	}
	orphans, err := s.kept.sweepIndex(ctx, c.Now())
	if err == nil {
		err = failed
	}
	return removed + orphans, err
}
