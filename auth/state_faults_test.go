package auth_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

// faultyState is a State whose disk can fail, for reading and for writing.
type faultyState struct {
	*auth.MemoryState
	unreadable, full atomic.Bool
}

var errDisk = errors.New("the disk has failed")

func (s *faultyState) Get(ctx context.Context, id string) (auth.Record, error) {
	if s.unreadable.Load() {
		return auth.Record{}, errDisk
	}
	return s.MemoryState.Get(ctx, id)
}

func (s *faultyState) Put(ctx context.Context, r auth.Record) (string, error) {
	if s.full.Load() {
		return "", errDisk
	}
	return s.MemoryState.Put(ctx, r)
}

func (s *faultyState) Delete(ctx context.Context, id string) error {
	if s.full.Load() {
		return errDisk
	}
	return s.MemoryState.Delete(ctx, id)
}

// TestSessionStateFails: a disk that cannot be read lets nobody in, as nobody either. One that is full keeps nobody out, but makes and ends nothing.
func TestSessionStateFails(t *testing.T) {
	t.Parallel()
	state, clock := &faultyState{MemoryState: new(auth.MemoryState)}, authtest.NewClock()
	s := auth.NewSessions(state, people(t), new(auth.Revocations))
	defer s.Close()
	if err := s.Configure(auth.SessionOptions{Now: clock.Now}); err != nil {
		t.Fatal(err)
	}
	secret, made, err := s.Create(t.Context(), local("anna"))
	if err != nil {
		t.Fatal(err)
	}
	once, _, err := s.Create(t.Context(), auth.NewSession{Who: local("anna").Who, OneTime: true})
	if err != nil {
		t.Fatal(err)
	}
	state.unreadable.Store(true)
	if id, err := present(s, "AuthSession="+secret); !errors.Is(err, errDisk) || id.Name != "" {
		t.Errorf("unreadable: %+v, %v", id, err)
	}
	state.unreadable.Store(false)
	state.full.Store(true)
	clock.Advance(2 * time.Minute)
	for range 2 {
		if id, err := present(s, "AuthSession="+secret); err != nil || id.Name != "anna" || id.SetCookie != "" || !id.Expires.Equal(made.Expires) {
			t.Errorf("full, when it was to be renewed: %+v, %v", id, err)
		}
	}
	if id, err := present(s, "AuthSession="+once); !errors.Is(err, errDisk) || id.Name != "" {
		t.Errorf("full, a one-time session: %+v, %v", id, err)
	}
	if secret, _, err := s.Create(t.Context(), local("anna")); !errors.Is(err, errDisk) || secret != "" {
		t.Errorf("full, a new one: %v", err)
	}
	if err := s.End(t.Context(), made.ID); !errors.Is(err, errDisk) {
		t.Errorf("full, the end of one: %v", err)
	}
	if n, err := s.EndWhere(t.Context(), "anna", nil); !errors.Is(err, errDisk) || n != 0 {
		t.Errorf("full, the end of all: %d, %v", n, err)
	}
	state.full.Store(false)
	if id, err := present(s, "AuthSession="+secret); err != nil || id.SetCookie == "" {
		t.Errorf("when there is room again: %+v, %v", id, err)
	}
	if id, err := present(s, "AuthSession="+once); err != nil || id.Name != "anna" {
		t.Errorf("the one-time session: %+v, %v", id, err)
	}
}

func TestTokenStateFails(t *testing.T) {
	t.Parallel()
	state, clock := &faultyState{MemoryState: new(auth.MemoryState)}, authtest.NewClock()
	budget := auth.NewBudget(auth.BudgetOptions{Failures: 1, Now: clock.Now})
	c := auth.NewTokens(state, people(t), new(auth.Revocations), auth.TokenOptions{Now: clock.Now, Budget: budget})
	defer c.Close()
	secret, made, err := c.Create(t.Context(), auth.NewToken{User: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	state.unreadable.Store(true)
	for range 3 { // which is nobody's failure
		if id, err := c.Bearer().Authenticate(requestWith("Bearer " + secret)); !errors.Is(err, errDisk) || id.Name != "" {
			t.Errorf("unreadable: %+v, %v", id, err)
		}
	}
	state.unreadable.Store(false)
	state.full.Store(true)
	if id, err := c.Bearer().Authenticate(requestWith("Bearer " + secret)); err != nil || id.Name != "anna" {
		t.Errorf("full: %+v, %v", id, err)
	}
	if err := c.RevokeAll(t.Context(), "anna"); !errors.Is(err, errDisk) {
		t.Errorf("full, revoked: %v", err)
	}
	state.full.Store(false)
	if _, err := c.Get(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
}

// departing is a directory whose users are there when they are first asked for, and gone then.
type departing struct{ asked atomic.Int32 }

func (d *departing) User(_ context.Context, name string) (*auth.User, error) {
	if d.asked.Add(1) > 1 {
		return nil, auth.ErrUnknownUser
	}
	return &auth.User{Name: name}, nil
}

// TestUserDeletedMeanwhile: whoever is deleted while a credential of his is made is left with none.
func TestUserDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	for what, create := range map[string]func(state auth.State) (string, error){
		"a password's session": func(state auth.State) (string, error) {
			s := auth.NewSessions(state, new(departing), new(auth.Revocations))
			defer s.Close()
			if err := s.Configure(auth.SessionOptions{}); err != nil {
				return "", err
			}
			secret, _, err := s.Create(context.Background(), local("anna"))
			return secret, err
		},
		"a provider's session": func(state auth.State) (string, error) {
			s := auth.NewSessions(state, new(departing), new(auth.Revocations))
			defer s.Close()
			if err := s.Configure(auth.SessionOptions{Providers: []string{"clinic"}}); err != nil {
				return "", err
			}
			secret, _, err := s.Create(context.Background(), foreign("anna"))
			return secret, err
		},
		"an access token": func(state auth.State) (string, error) {
			c := auth.NewTokens(state, new(departing), new(auth.Revocations), auth.TokenOptions{})
			defer c.Close()
			secret, _, err := c.Create(context.Background(), auth.NewToken{User: "anna"})
			return secret, err
		},
		"a device's key": func(state auth.State) (string, error) {
			c := auth.NewTokens(state, new(departing), new(auth.Revocations), auth.TokenOptions{})
			defer c.Close()
			key, err := c.AddKey(context.Background(), auth.NewToken{User: "anna", Algorithm: "HS256", Secret: []byte(strings.Repeat("s", 32))})
			return key.ID, err
		},
	} {
		state := new(auth.MemoryState)
		if secret, err := create(state); !errors.Is(err, auth.ErrUnknownUser) || secret != "" {
			t.Errorf("%s: %q, %v", what, secret, err)
		}
		if left, err := state.List(t.Context(), "", "", 10); err != nil || len(left) != 0 {
			t.Errorf("%s: %v are left, %v", what, left, err)
		}
	}
}
