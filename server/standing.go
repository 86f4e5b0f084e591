package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/parlordb/parlor/auth"
)

// Whoever sends a request decides how long its body takes. So that nobody keeps requests in hand for the time after his password was changed, his session ended or
// a database was closed to him, he is judged again while a body comes, and whatever makes a credential judges him once more when it is made.

// judgeEvery is how long a judgement holds while a body comes.
const judgeEvery = time.Second

var errEnded = unauthorized("What let this request in has ended.")

// judgedBody is a body whose sender is judged again.
type judgedBody struct {
	io.ReadCloser
	s       *Server
	r       *request
	act     action
	present holder
	judged  time.Time
}

// judgeBody has a request's body judged while it is read.
func (s *Server) judgeBody(r *request, act action) error {
	if r.who.Anonymous() || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	present, err := s.sender(r)
	if err != nil {
		return ended(err)
	}
	r.Body = &judgedBody{ReadCloser: r.Body, s: s, r: r, act: act, present: present, judged: s.now()}
	return nil
}

// sender is the holder of a request's credential while its body comes. What can be shown again is: a session is in use meanwhile. A token may age.
func (s *Server) sender(r *request) (holder, error) {
	who := r.who
	again := func(ctx context.Context) (auth.Identity, error) {
		now, err := s.auth.Authenticate(r.Request)
		if err == nil && (now.Name != who.Name || now.Credential != who.Credential) {
			err = auth.ErrRevoked
		}
		return now, err
	}
	switch {
	case who.Scope != nil || r.oneTime:
	case who.Method == "default" || who.Method == "cookie":
		return again, nil
	case who.Method == "jwt":
		aged, err := s.holder(r)
		return func(ctx context.Context) (auth.Identity, error) {
			if !who.Expires.IsZero() && !s.now().Before(who.Expires) {
				return aged(ctx)
			}
			return again(ctx)
		}, err
	}
	return s.holder(r)
}

// Read fails with what refuses the sender now.
func (b *judgedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, err // the request's context has ended, with which nobody can be judged
	}
	if now := b.s.now(); now.Sub(b.judged) >= judgeEvery {
		b.judged = now
		if refused := b.judge(); refused != nil {
			return 0, refused
		}
	}
	return n, err
}

// judge puts the sender's roles and the database's rules as they are now in the place of those that the request came with.
func (b *judgedBody) judge() error {
	r := b.r
	who, err := b.present(r.Context())
	if err != nil {
		return ended(err)
	}
	if r.who.Admin() && !who.Admin() {
		return errEnded
	}
	db := r.db
	r.who = who
	err = b.s.authorize(r, b.act)
	if db != nil {
		r.db = db // another of the name is not the one that was asked for
	}
	return err
}

// ended is the refusal for what a holder says. That it cannot say now is not that something has ended.
func ended(err error) error {
	refusal, refused := errors.AsType[*auth.Refusal](err)
	switch {
	case refused && (refusal.Status == http.StatusTooManyRequests || refusal.Status >= 500):
		return asError(err)
	case refused, errors.Is(err, auth.ErrRevoked), errors.Is(err, auth.ErrNoRecord), errors.Is(err, auth.ErrUnknownUser):
		return errEnded
	}
	return err
}

// standing is the holder for what a request makes that outlives it.
func (s *Server) standing(r *request) (holder, error) {
	if b, ok := r.Body.(*judgedBody); ok {
		return b.present, nil
	}
	present, err := s.sender(r)
	if err != nil {
		err = ended(err)
	}
	return present, err
}

// outliving creates what outlives a request, and what of present must hold when it is there; else undo takes it back.
func (r *request) outliving(present holder, create func() error, undo func(context.Context) error) error {
	if err := create(); err != nil {
		return err
	}
	if _, err := present(r.Context()); err != nil {
		return errors.Join(ended(err), undo(context.WithoutCancel(r.Context())))
	}
	return nil
}
