package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Create makes a session and returns what its cookie holds, which is kept nowhere. When the user has more than MaxPerUser then, the oldest end. It
// fails with ErrUnknownUser for a Local identity that the directory does not hold, and for one that is deleted meanwhile; with a *Refusal, 400 for
// what cannot be meant, 401 for an identity that has expired; and with the State's and the directory's own errors.
func (s *Sessions) Create(ctx context.Context, n NewSession) (secret string, made Session, err error) {
	c := s.settings.Load()
	if c == nil {
		return "", Session{}, errNoSessions
	}
	v, err := s.newSession(ctx, c, &n)
	if err != nil {
		return "", Session{}, err
	}
	secret = newSecret()
	v.ID = hashKey(secret).id()
	if err := s.kept.create(ctx, v.ID, v.User, v.Created, v); err != nil {
		return "", Session{}, err
	}
	if err := s.settle(ctx, c, v); err != nil {
		return "", Session{}, errors.Join(err, ignoreNoRecord(s.end(ctx, v.ID, v.User)))
	}
	made = v.Session
	if made.Local {
		made.Roles = n.Who.Roles
	}
	return secret, made, nil
}

// newSession judges what a session is to be made of.
func (s *Sessions) newSession(ctx context.Context, c *sessionSettings, n *NewSession) (*storedSession, error) {
	now := c.Now().UTC()
	v := &storedSession{Renewed: now, Fixed: n.OneTime || n.TTL != 0, Session: Session{
		User: n.Who.Name, Scope: n.Who.Scope, Local: n.Who.Local, Method: n.Who.Method, Provider: n.Who.Provider, Issuer: n.Issuer, Subject: n.Subject, SID: n.SID,
		Created: now, LastUsed: now.Truncate(time.Second), Address: n.Address, UserAgent: cut(n.UserAgent, maxUserAgent), Label: n.Label, OneTime: n.OneTime,
	}}
	switch {
	case v.User == "" || !utf8.ValidString(v.User):
		return nil, badRequest("A session needs a user's name, in UTF-8.")
	case n.TTL < 0:
		return nil, badRequest("A session's time to live must be positive.")
	case !plainText(n.Label, maxSessionLabel):
		return nil, badRequest("A session's label must be at most 256 bytes of text without control characters.")
	case !n.Who.Expires.IsZero() && !now.Before(n.Who.Expires):
		return nil, unauthorized("What the session was to be made from has expired.")
	}
	lifetime := c.Timeout
	if n.OneTime {
		lifetime = oneTimeout
	} else if n.TTL != 0 {
		lifetime = n.TTL
	}
	if v.Source = n.source(); v.Source != "" {
		v.Stamp = c.Stamps[v.Source]
	}
	if c.BindToToken {
		v.Limit = n.Who.Expires
	}
	v.Expires = bounded(now.Add(lifetime), v.Limit).UTC()
	u, err := s.users.User(ctx, v.User)
	if err != nil && (v.Local || !errors.Is(err, ErrUnknownUser)) {
		return nil, err
	}
	v.Known = err == nil
	if !v.Local {
		v.Roles, v.Granted = n.Who.Roles, n.Who.Granted
		return v, nil
	}
	if n.User != nil {
		u = n.User
	}
	v.Salt = saltPrint(u.Password.Salt)
	return v, nil
}

// source is the Session.Source of what is made.
func (n *NewSession) source() string {
	switch {
	case n.Source != "":
		return n.Source
	case n.Who.Provider == "" && n.Who.Method == "jwt":
		return n.Who.Credential
	}
	return n.Who.Provider
}

// settle sees to it that what is true of all sessions is true with one more.
func (s *Sessions) settle(ctx context.Context, c *sessionSettings, v *storedSession) error {
	if v.Known {
		// Whoever deletes a user ends the sessions that he finds then. He may not have found this one.
		if _, err := s.users.User(ctx, v.User); err != nil {
			return err
		}
	}
	places, err := s.kept.places(ctx, v.User)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(places, func(p place) bool { return p.id == v.ID }) {
		// So late did the record follow its entry that the entry was taken for an orphan.
		return errors.New("the session's index entry was swept")
	}
	if len(places) <= c.MaxPerUser {
		return nil
	}
	places = slices.DeleteFunc(places, func(p place) bool { return p.id == v.ID })
	slices.SortStableFunc(places, func(a, b place) int { return a.created.Compare(b.created) })
	for _, p := range places[:len(places)+1-c.MaxPerUser] {
		if err := ignoreNoRecord(s.end(ctx, p.id, v.User)); err != nil {
			return err
		}
	}
	return nil
}

func ignoreNoRecord(err error) error {
	if errors.Is(err, ErrNoRecord) {
		return nil
	}
	return err
}

// cut shortens a text that came from elsewhere, and drops what is not UTF-8. The copy lets go of the rest.
func cut(text string, n int) string {
	return strings.Clone(strings.ToValidUTF8(text[:min(n, len(text))], ""))
}

// plainText reports whether a text is one that can be shown in a line of a list.
func plainText(text string, n int) bool {
	return len(text) <= n && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
