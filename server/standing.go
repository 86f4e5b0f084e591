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
	b := &judgedBody{ReadCloser: r.Body, s: s, r: r, act: act, judged: s.now()}
	if again := r.who.Method == "default" || r.who.Method == "cookie" && !r.oneTime; again && r.who.Scope == nil {
		b.present = b.authenticate // a session is in use while a body comes
	} else {
		var err error
		if b.present, err = s.holder(r); err != nil {
			return ended(err)
		}
	}
	r.Body = b
	return nil
}

// Read fails with what refuses the sender now.
func (b *judgedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
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

// authenticate is a holder for what a request can show again.
func (b *judgedBody) authenticate(context.Context) (auth.Identity, error) {
	who, err := b.s.auth.Authenticate(b.r.Request)
	if err == nil && (who.Name != b.r.who.Name || who.Credential != b.r.who.Credential) {
		err = auth.ErrRevoked
	}
	return who, err
}

// ended is the refusal for what a holder says.
func ended(err error) error {
	_, refused := errors.AsType[*auth.Refusal](err)
	if refused || errors.Is(err, auth.ErrRevoked) || errors.Is(err, auth.ErrNoRecord) || errors.Is(err, auth.ErrUnknownUser) {
		return errEnded
	}
	return err
}

// outliving makes what outlives the request that it is made by, unless what let the request in ends before it is made: then undo takes it back.
func (s *Server) outliving(r *request, create func() error, undo func(context.Context) error) error {
	var present holder
	if b, ok := r.Body.(*judgedBody); ok {
		present = b.present
	} else {
		var err error
		if present, err = s.holder(r); err != nil {
			return ended(err)
		}
	}
	if err := create(); err != nil {
		return err
	}
	if _, err := present(r.Context()); err != nil {
		return errors.Join(ended(err), undo(context.WithoutCancel(r.Context())))
	}
	return nil
}
