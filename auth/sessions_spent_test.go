package auth_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
)

// spend makes a OneTime session and uses it for a long request. over ends that request.
func (c *sessionsCase) spend(t *testing.T, n auth.NewSession) (made auth.Session, cut func() bool, over func()) {
	t.Helper()
	n.OneTime = true
	secret, made := c.create(t, n)
	ctx, over := context.WithCancel(t.Context())
	t.Cleanup(over)
	id, err := c.Authenticate(httptest.NewRequestWithContext(ctx, "GET", "/?one_time_session="+secret, nil))
	if err != nil {
		t.Fatal(err)
	}
	right, done := c.revocations.Register(ctx, id, "notes", nil)
	t.Cleanup(done)
	return made, func() bool { return context.Cause(right) == auth.ErrRevoked }, over
}

// TestSessionSpent: a OneTime session that has been used is like others until its request is over, however long that takes.
func TestSessionSpent(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	var all []auth.Session
	var overs []func()
	for range 5 {
		made, _, over := c.spend(t, foreign("zoe"))
		_, kept := c.create(t, auth.NewSession{Who: foreign("zoe").Who, TTL: time.Hour})
		all, overs = append(all, made, kept), append(overs, over)
	}
	c.clock.Advance(6 * time.Minute)
	listed, after := map[string]bool{}, ""
	for len(listed) <= len(all) {
		page, err := c.List(t.Context(), "zoe", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page {
			if s.ID <= after {
				t.Errorf("%s is listed after %s", s.ID, after)
			}
			listed[s.ID], after = true, s.ID
		}
		if len(page) < 3 {
			break
		}
	}
	for _, s := range all {
		if _, err := c.Check(t.Context(), s.ID); err != nil || !listed[s.ID] || len(listed) != len(all) {
			t.Errorf("one for one request %v: listed %v, %v", s.OneTime, listed[s.ID], err)
		}
	}
	for _, over := range overs {
		over()
	}
	// What follows the end of a context is done soon.
	for list := all; len(list) > len(all)/2; runtime.Gosched() {
		var err error
		if list, err = c.List(t.Context(), "", "", 100); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Check(t.Context(), all[0].ID); !errors.Is(err, auth.ErrNoRecord) {
		t.Errorf("when its request is over: %v", err)
	}
}

// TestSessionSpentEnds: whatever ends sessions ends one that has been used too, and cuts its feed.
func TestSessionSpentEnds(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(c *sessionsCase, made auth.Session) (err error){
		"by its ID": func(c *sessionsCase, made auth.Session) error { return c.End(t.Context(), made.ID) },
		"by its subject": func(c *sessionsCase, _ auth.Session) error {
			n, err := c.EndWhere(t.Context(), "", func(s *auth.Session) bool { return s.Subject == "1" })
			if n != 1 {
				t.Errorf("%d ended", n)
			}
			return err
		},
		"with all of its user's": func(c *sessionsCase, _ auth.Session) error {
			_, err := c.EndWhere(t.Context(), "zoe", nil)
			return err
		},
	} {
		c := newSessions(t, nil)
		made, cut, _ := c.spend(t, foreign("zoe"))
		other := foreign("zoe")
		other.Subject = "2"
		if _, othersCut, _ := c.spend(t, other); cut() || othersCut() {
			t.Errorf("%s: cut before", what)
		}
		if err := end(c, made); err != nil || !cut() {
			t.Errorf("%s: %v; cut: %v", what, err, cut())
		}
		if _, err := c.Check(t.Context(), made.ID); !errors.Is(err, auth.ErrNoRecord) {
			t.Errorf("%s: checked: %v", what, err)
		}
		if err := c.End(t.Context(), made.ID); !errors.Is(err, auth.ErrNoRecord) {
			t.Errorf("%s: ended again: %v", what, err)
		}
	}
	c := newSessions(t, nil)
	made, _, _ := c.spend(t, foreign("zoe"))
	c.configure(t, func(o *auth.SessionOptions) { o.Providers = nil })
	if _, err := c.Check(t.Context(), made.ID); !errors.Is(err, auth.ErrNoRecord) {
		t.Errorf("without its provider: %v", err)
	}
}

// TestSessionEndedInUseOnce: of the end of all and the use of one at the same time, the end wins, or comes too late for none: nobody is let in and spared.
func TestSessionEndedInUseOnce(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	for range 100 {
		n := local("anna")
		n.OneTime = true
		secret, made := c.create(t, n)
		var wg sync.WaitGroup
		var in atomic.Int32
		for range 3 {
			wg.Go(func() {
				if _, err := c.with(secret); err == nil {
					in.Add(1)
				}
			})
		}
		ended, err := c.EndWhere(t.Context(), "anna", func(*auth.Session) bool { return true })
		wg.Wait()
		if _, still := c.Check(t.Context(), made.ID); !errors.Is(still, auth.ErrNoRecord) || err != nil || ended != 1 || in.Load() > 1 {
			t.Fatalf("%d ended, %v; %d let in; checked: %v", ended, err, in.Load(), still)
		}
	}
}
