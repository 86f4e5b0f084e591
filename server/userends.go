package server

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
	"github.com/parlordb/parlor/store"
)

// What a user has to sign in with ends before a change of his document is answered: with the user, so that a later one of his name inherits nothing, his sessions,
// access tokens and device keys, and the logins that apps have not fetched yet; with the password the sessions that it began; when he is disabled all sessions; with
// an identity at a provider the sessions that it began.

// endCredentials does so for the writes that succeeded.
func (s *Server) endCredentials(ctx context.Context, events userEvents, writes []store.Write, results []store.Result) error {
	ctx = context.WithoutCancel(ctx) // what has been written is written
	for i := range results {
		name, isUser := strings.CutPrefix(writes[i].Doc.ID, userPrefix)
		if results[i].Err != nil || !isUser {
			continue
		}
		if err := s.endCredentialsOf(ctx, name, events[writes[i].Doc.ID]); err != nil {
			return err
		}
	}
	return nil
}

// endCredentialsOf does so for one user, to whom events happened. Nobody has the name "", which would mean everyone.
func (s *Server) endCredentialsOf(ctx context.Context, name string, events []string) error {
	if name == "" {
		return nil
	}
	user, err := s.users.User(ctx, name)
	refusal := (*auth.Refusal)(nil)
	switch {
	case errors.Is(err, auth.ErrUnknownUser):
		return s.endAll(ctx, name)
	case errors.As(err, &refusal):
		// A document with conflicts lets nobody in until they are resolved.
	case err != nil:
		return err
	case user.Admin:
		return nil // it is [admins] that says who he is
	}
	if slices.Contains(events, "user removed") || slices.Contains(events, "user added") {
		return s.endAll(ctx, name)
	}
	disabled := user != nil && user.Disabled
	password := slices.Contains(events, "password changed")
	unlinked := user != nil && slices.Contains(events, "credentials changed")
	if !disabled && !password && !unlinked {
		return nil
	}
	if disabled || unlinked {
		s.logins.dropOf(name)
	}
	_, err = s.sessions.EndWhere(ctx, name, func(session *auth.Session) bool {
		return disabled || password && session.Local || unlinked && session.Provider != "" && !slices.Contains(user.Identities, auth.ForeignIdentity{Issuer: session.Issuer, Subject: session.Subject})
	})
	return err
}

// endAll ends all that lets a user in.
func (s *Server) endAll(ctx context.Context, name string) error {
	s.logins.dropOf(name)
	_, err := s.sessions.EndWhere(ctx, name, nil)
	return errors.Join(err, s.tokens.RevokeAll(ctx, name))
}

// endGone does so for those users of documents' ids who are there no longer.
func (s *Server) endGone(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if name, isUser := strings.CutPrefix(id, userPrefix); isUser {
			if err := s.endCredentialsOf(context.WithoutCancel(ctx), name, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// endStrays ends all that lets in users who are there no longer.
func (s *Server) endStrays(ctx context.Context) error {
	s.logins.drop(func(*oidc.Provider, *oidc.Outcome) bool { return true }) // whoever is not among them logs in anew
	_, err1 := s.sessions.Sweep(ctx)
	_, err2 := s.tokens.Sweep(ctx)
	return errors.Join(err1, err2)
}
