package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parlordb/parlor/auth"
)

func TestEnd(t *testing.T) {
	t.Parallel()
	type request struct {
		id       auth.Identity
		database string
	}
	session := request{auth.Identity{Name: "anna", Method: "cookie", Local: true}, "notes"}
	token := request{auth.Identity{Name: "anna", Method: "jwt", Credential: "ec:phone"}, "notes"}
	other := request{auth.Identity{Name: "bob", Method: "jwt", Credential: "ec:desk"}, "notes"}
	nobody := request{auth.Identity{}, "public"}
	tracked := request{auth.Identity{Name: "carl", Method: "cookie", Credential: "session:x", Provider: "clinic", Roles: []string{"a", "b"}, Granted: []string{"b"}}, "forms"}
	issued := request{auth.Identity{Name: "carl", Method: "jwt", Credential: "k1", Provider: "clinic"}, "forms"}
	narrow := request{auth.Identity{Name: "dora", Method: "jwt", Credential: "token:y", Scope: &auth.Scope{Databases: []string{"forms"}}}, "forms"}
	requests := []request{session, token, other, nobody, tracked, issued, narrow}
	tests := []struct {
		name  string
		match auth.Match
		ends  []request
	}{
		{"user deleted", auth.Match{User: "anna"}, []request{session, token}},
		{"password changed", auth.Match{User: "anna", Local: true}, []request{session}},
		{"key removed", auth.Match{Method: "jwt", Credential: "ec:desk"}, []request{other}},
		{"method removed", auth.Match{Method: "jwt"}, []request{token, other, issued, narrow}},
		{"provider removed", auth.Match{Provider: "clinic"}, []request{tracked, issued}},
		{"provider's bearer tokens", auth.Match{Provider: "clinic", Method: "jwt"}, []request{issued}},
		{"another provider", auth.Match{Provider: "clinics"}, nil},
		{"session ended", auth.Match{Credential: "session:x"}, []request{tracked}},
		{"the part of a handle", auth.Match{Credential: "session:"}, nil},
		{"access token revoked", auth.Match{Credential: "token:y"}, []request{narrow}},
		{"password of whom a provider vouches for", auth.Match{User: "carl", Local: true}, nil},
		{"user on a database", auth.Match{User: "anna", Database: "public"}, nil},
		{"database deleted", auth.Match{Database: "notes"}, []request{session, token, other}},
		{"nobody of that name", auth.Match{User: "ann"}, nil},
		{"all", auth.Match{}, requests},
	}
	for _, tt := range tests {
		var v auth.Revocations
		contexts := make(map[string]context.Context)
		for _, q := range requests {
			ctx, done := v.Register(t.Context(), q.id, q.database, nil)
			defer done()
			contexts[fmt.Sprint(q)] = ctx
		}
		if n := v.End(tt.match); n != len(tt.ends) {
			t.Errorf("%s: ended %d, want %d", tt.name, n, len(tt.ends))
		}
		for _, q := range requests {
			want := false
			for _, e := range tt.ends {
				want = want || fmt.Sprint(e) == fmt.Sprint(q)
			}
			ctx := contexts[fmt.Sprint(q)]
			if ended := errors.Is(context.Cause(ctx), auth.ErrRevoked); ended != want || (ctx.Err() != nil) != want {
				t.Errorf("%s: %v ended: %v, want %v", tt.name, q, ended, want)
			}
		}
	}
}

func TestRecheck(t *testing.T) {
	t.Parallel()
	var v auth.Revocations
	allowed := atomic.Bool{}
	allowed.Store(true)
	asked := 0
	authorize := func(ctx context.Context) error {
		asked++
		if !allowed.Load() {
			return errors.New("no longer a member")
		}
		return ctx.Err()
	}
	anna, done := v.Register(t.Context(), auth.Identity{Name: "anna"}, "notes", authorize)
	defer done()
	unable, done := v.Register(t.Context(), auth.Identity{Name: "bob"}, "other", nil)
	defer done()
	if asked != 1 || anna.Err() != nil {
		t.Fatalf("asked %d times when it registered: %v", asked, anna.Err())
	}
	if n := v.Recheck(auth.Match{Database: "notes"}); n != 0 || anna.Err() != nil || asked != 2 {
		t.Errorf("still allowed: ended %d, %v, asked %d times", n, anna.Err(), asked)
	}
	allowed.Store(false)
	if n := v.Recheck(auth.Match{Database: "elsewhere"}); n != 0 || anna.Err() != nil {
		t.Errorf("another database: ended %d, %v", n, anna.Err())
	}
	if n := v.Recheck(auth.Match{Database: "notes"}); n != 1 || !errors.Is(context.Cause(anna), auth.ErrRevoked) {
		t.Errorf("no longer allowed: ended %d, %v", n, context.Cause(anna))
	}
	if unable.Err() != nil {
		t.Error("another's request ended")
	}
	if n := v.Recheck(auth.Match{User: "bob"}); n != 1 || !errors.Is(context.Cause(unable), auth.ErrRevoked) {
		t.Errorf("one that cannot be asked: ended %d, %v", n, context.Cause(unable))
	}
}

// TestRegisterAfterTheChange: what changed between the request's own check and its registration ends it at once.
func TestRegisterAfterTheChange(t *testing.T) {
	t.Parallel()
	var v auth.Revocations
	ctx, done := v.Register(t.Context(), auth.Identity{Name: "anna"}, "notes", func(context.Context) error { return errors.New("no") })
	defer done()
	if !errors.Is(context.Cause(ctx), auth.ErrRevoked) {
		t.Errorf("%v", context.Cause(ctx))
	}
}

func TestDoneForgets(t *testing.T) {
	t.Parallel()
	var v auth.Revocations
	ctx, done := v.Register(t.Context(), auth.Identity{Name: "anna"}, "notes", nil)
	done()
	done()
	if ctx.Err() == nil || errors.Is(context.Cause(ctx), auth.ErrRevoked) {
		t.Errorf("after done: %v", context.Cause(ctx))
	}
	if n := v.End(auth.Match{}); n != 0 {
		t.Errorf("%d requests are still known", n)
	}
	parent, cancel := context.WithCancel(t.Context())
	ctx, done = v.Register(parent, auth.Identity{}, "", nil)
	defer done()
	cancel()
	if ctx.Err() == nil {
		t.Error("the context outlives its parent")
	}
}

func TestRevocationsConcurrently(t *testing.T) {
	t.Parallel()
	var v auth.Revocations
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 100 {
				ctx, done := v.Register(t.Context(), auth.Identity{Name: fmt.Sprint(i)}, "db", func(context.Context) error { return nil })
				v.Recheck(auth.Match{Database: "db"})
				v.End(auth.Match{User: fmt.Sprint(i)})
				if ctx.Err() == nil {
					t.Error("still there after End")
				}
				done()
			}
		})
	}
	wg.Wait()
	if n := v.End(auth.Match{}); n != 0 {
		t.Errorf("%d left", n)
	}
}
