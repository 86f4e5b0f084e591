package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
)

// feed registers a long request of a session and returns whether it has been cut.
func (c *sessionsCase) feed(t testing.TB, secret string) (cut func() bool) {
	t.Helper()
	id, err := c.with(secret)
	if err != nil {
		t.Fatal(err)
	}
	ctx, done := c.revocations.Register(t.Context(), id, "notes", nil)
	t.Cleanup(done)
	return func() bool { return ctx.Err() != nil }
}

func TestSessionEnd(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	secret, made := c.create(t, local("anna"))
	other, _ := c.create(t, local("anna"))
	cut, otherCut := c.feed(t, secret), c.feed(t, other)
	for _, id := range []string{"", "x", strings.Repeat("A", 43), "../" + made.ID, made.ID + "/", made.ID + "A", secret} {
		if err := c.End(t.Context(), id); !errors.Is(err, auth.ErrNoRecord) {
			t.Errorf("end %q: %v", id, err)
		}
	}
	if err := c.End(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	c.wantNone(t, "ended", secret)
	c.wantUser(t, "the other", other, "anna", "dev", "ops")
	if !cut() || otherCut() {
		t.Errorf("its feed was cut: %v, the other's: %v", cut(), otherCut())
	}
	if err := c.End(t.Context(), made.ID); !errors.Is(err, auth.ErrNoRecord) {
		t.Errorf("ended again: %v", err)
	}
	if ids := c.ids(t, ""); len(ids) != 2 {
		t.Errorf("%q are left", ids)
	}
}

func TestSessionEndWhere(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	phone := local("anna")
	phone.Label = "phone"
	onPhone, _ := c.create(t, phone)
	elsewhere, _ := c.create(t, local("anna"))
	roots, _ := c.create(t, local("root"))
	expired, _ := c.create(t, auth.NewSession{Who: local("anna").Who, TTL: time.Second})
	once, _ := c.create(t, auth.NewSession{Who: local("anna").Who, OneTime: true})
	onceCut := c.feed(t, once) // used, so it is no longer kept
	c.clock.Advance(time.Second)
	c.wantNone(t, "expired", expired)
	if n, err := c.EndWhere(t.Context(), "anna", func(s *auth.Session) bool { return s.Label == "phone" }); n != 1 || err != nil {
		t.Errorf("%d with that label, %v", n, err)
	}
	c.wantNone(t, "that label", onPhone)
	cut, rootsCut := c.feed(t, elsewhere), c.feed(t, roots)
	if n, err := c.EndWhere(t.Context(), "nobody", nil); n != 0 || err != nil || onceCut() {
		t.Errorf("%d of nobody, %v", n, err)
	}
	if n, err := c.EndWhere(t.Context(), "anna", nil); n != 2 || err != nil || !cut() || !onceCut() || rootsCut() {
		t.Errorf("%d of anna, %v; cut: %v, %v, another's: %v", n, err, cut(), onceCut(), rootsCut())
	}
	c.wantNone(t, "all of anna", elsewhere)
	c.wantUser(t, "another's", roots, "root", "_admin")
	if n, err := c.EndWhere(t.Context(), "", nil); n != 1 || err != nil || !rootsCut() {
		t.Errorf("%d of all, %v", n, err)
	}
	if ids := c.ids(t, "session/"); len(ids) != 0 {
		t.Errorf("%q are left", ids)
	}
}

// TestSessionOfOneUser: neither a name that begins another, nor one that looks like a path or an id, shares anything with it.
func TestSessionOfOneUser(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	names := []string{"a", "a/", "a/b", "a%2Fb", "a%", "A", "ab", "a\x00", "é", "e\u0301", "..", "session/", strings.Repeat("a", 5000)}
	for _, name := range names {
		c.create(t, foreign(name))
		c.create(t, foreign(name))
	}
	for _, name := range names {
		list, err := c.List(t.Context(), name, "", 100)
		if err != nil || len(list) != 2 || list[0].User != name || list[1].User != name || list[0].ID >= list[1].ID {
			t.Errorf("%.20q: %d sessions, %v", name, len(list), err)
		}
	}
	for i, name := range names {
		if n, err := c.EndWhere(t.Context(), name, nil); n != 2 || err != nil {
			t.Errorf("%.20q: ended %d, %v", name, n, err)
		}
		if list, err := c.List(t.Context(), "", "", 100); len(list) != 2*(len(names)-i-1) || err != nil {
			t.Errorf("%.20q: %d are left, %v", name, len(list), err)
		}
	}
	for _, id := range c.ids(t, "") {
		t.Errorf("%s is left", id)
	}
}

func TestSessionList(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	var all, annas []string
	for i := range 450 { // more than are read at once
		n := foreign("zoe", "nurse")
		if i%3 == 0 {
			n = local("anna")
		}
		if i%10 == 0 {
			n.TTL = time.Second
		}
		_, made := c.create(t, n)
		if i%10 != 0 {
			all = append(all, made.ID)
			if i%3 == 0 {
				annas = append(annas, made.ID)
			}
		}
	}
	c.clock.Advance(time.Second)
	for user, want := range map[string][]string{"": all, "anna": annas, "ann": nil} {
		slices.Sort(want)
		var got []string
		for after := ""; ; {
			page, err := c.List(t.Context(), user, after, 70)
			if err != nil || len(page) > 70 {
				t.Fatalf("%d, %v", len(page), err)
			}
			for _, s := range page {
				if s.User == "anna" && !slices.Equal(s.Roles, []string{"dev", "ops"}) || s.User == "zoe" && !slices.Equal(s.Roles, []string{"nurse"}) {
					t.Errorf("%s has %q", s.User, s.Roles)
				}
				got, after = append(got, s.ID), s.ID
			}
			if len(page) < 70 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %q: %d sessions, want %d", user, len(got), len(want))
		}
	}
	if page, err := c.List(t.Context(), "", "", 0); err != nil || page != nil {
		t.Errorf("none: %v, %v", page, err)
	}
}

func TestSessionMaxPerUser(t *testing.T) {
	t.Parallel()
	c := newSessions(t, func(o *auth.SessionOptions) { o.MaxPerUser = 3 })
	others, _ := c.create(t, foreign("zoe"))
	var secrets []string
	for range 5 {
		secret, _ := c.create(t, local("anna"))
		secrets = append(secrets, secret)
		c.clock.Advance(time.Second)
	}
	for i, secret := range secrets {
		if i < 2 {
			c.wantNone(t, fmt.Sprint("the oldest but ", i), secret)
		} else {
			c.wantUser(t, fmt.Sprint("number ", i), secret, "anna", "dev", "ops")
		}
	}
	c.wantUser(t, "another's", others, "zoe")
	cut := c.feed(t, secrets[2])
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { c.create(t, local("anna")) })
	}
	wg.Wait()
	if list, err := c.List(t.Context(), "anna", "", 100); err != nil || len(list) != 3 || !cut() {
		t.Errorf("%d sessions, %v; the feed of one that ended was cut: %v", len(list), err, cut())
	}
	if ids := c.ids(t, "session-user/"); len(ids) != 4 {
		t.Errorf("%d index entries", len(ids))
	}
}

func TestSessionSweep(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	anna, _ := c.users.User(t.Context(), "anna")
	kept, _ := c.create(t, auth.NewSession{Who: local("root").Who, TTL: 24 * time.Hour})
	stranger, _ := c.create(t, auth.NewSession{Who: foreign("zoe").Who, TTL: 24 * time.Hour})
	expired, _ := c.create(t, local("root"))
	c.create(t, auth.NewSession{Who: local("anna").Who, TTL: 24 * time.Hour})
	c.create(t, auth.NewSession{Who: foreign("anna").Who, TTL: 24 * time.Hour})
	gone := foreign("zoe")
	gone.Who.Provider = "closed"
	c.create(t, auth.NewSession{Who: gone.Who, TTL: 24 * time.Hour})
	cut := c.feed(t, expired)
	if n, err := c.Sweep(t.Context()); n != 1 || err != nil { // that of the provider which is not there
		t.Errorf("%d swept at first, %v", n, err)
	}
	c.users.Delete("anna")
	if n, err := c.Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("%d of a user who is gone, %v", n, err)
	}
	c.users.Put(*anna)
	c.clock.Advance(10*time.Minute + 59*time.Second)
	if n, err := c.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("%d swept within a minute, %v", n, err)
	}
	c.clock.Advance(time.Second)
	if n, err := c.Sweep(t.Context()); n != 0 || err != nil || cut() {
		t.Errorf("%d swept, %v; the feed of one that has aged was cut: %v", n, err, cut())
	}
	c.wantNone(t, "one that has aged", expired)
	if n, err := c.EndWhere(t.Context(), "", func(s *auth.Session) bool { return s.ID == c.Lookup(expired) }); n != 0 || err != nil || !cut() {
		t.Errorf("%d ended, %v; the feed of one that has aged was cut: %v", n, err, cut())
	}
	c.wantUser(t, "one that lives on", kept, "root", "_admin")
	c.wantUser(t, "a stranger's", stranger, "zoe")
	if ids := c.ids(t, ""); len(ids) != 4 {
		t.Errorf("%q are left", ids)
	}
}

// TestSessionOrphans: what a crash leaves, between the index entry and its session or the other way round, is swept, and in nobody's way before.
func TestSessionOrphans(t *testing.T) {
	t.Parallel()
	c := newSessions(t, func(o *auth.SessionOptions) { o.Timeout = time.Hour })
	secret, made := c.create(t, local("anna"))
	other, _ := c.create(t, local("anna"))
	if err := c.state.Delete(t.Context(), "session/"+made.ID); err != nil {
		t.Fatal(err)
	}
	c.wantNone(t, "removed behind its back", secret)
	if list, err := c.List(t.Context(), "anna", "", 10); len(list) != 1 || err != nil {
		t.Errorf("%d listed, %v", len(list), err)
	}
	if n, err := c.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("%d swept while it may be one that is being made, %v", n, err)
	}
	c.clock.Advance(10 * time.Minute)
	if n, err := c.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("%d orphans swept, %v", n, err)
	}
	c.wantUser(t, "the other", other, "anna", "dev", "ops")
	if ids := c.ids(t, "session-user/"); len(ids) != 1 {
		t.Errorf("%q are left", ids)
	}
}

// TestSessionUnreadable: a record that somebody spoiled lets nobody in, and keeps neither the sweep nor the end of others from their work.
func TestSessionUnreadable(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `[]`, `{"user":"anna","user":"root"}`, `{"user":1}`, `{"user":"anna","local":tru`} {
		c := newSessions(t, nil)
		secret, made := c.create(t, local("anna"))
		expired, _ := c.create(t, auth.NewSession{Who: local("anna").Who, TTL: time.Second})
		record, err := c.state.Get(t.Context(), "session/"+made.ID)
		if err != nil {
			t.Fatal(err)
		}
		record.Body = []byte(body)
		if _, err := c.state.Put(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		if id, err := c.with(secret); err == nil || errors.Is(err, auth.ErrNoCredentials) || id.Name != "" || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %+v, %v", body, id, err)
		}
		c.clock.Advance(2 * time.Minute)
		if n, err := c.Sweep(t.Context()); n != 1 || err == nil {
			t.Errorf("%s: %d swept, %v", body, n, err)
		}
		c.wantNone(t, "expired", expired)
		other, _ := c.create(t, local("anna"))
		if n, err := c.EndWhere(t.Context(), "anna", nil); n != 1 || err == nil {
			t.Errorf("%s: %d ended, %v", body, n, err)
		}
		c.wantNone(t, "ended beside it", other)
	}
}

// TestSessionChangedElsewhere: another Sessions over the same State ends and renews them too, as a second process does.
func TestSessionChangedElsewhere(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	other := auth.NewSessions(c.state, c.users, new(auth.Revocations))
	defer other.Close()
	if err := other.Configure(auth.SessionOptions{Now: c.clock.Now}); err != nil {
		t.Fatal(err)
	}
	secret, made := c.create(t, local("anna"))
	c.wantUser(t, "here", secret, "anna", "dev", "ops")
	c.clock.Advance(9 * time.Minute)
	if id, err := present(other, "AuthSession="+secret); err != nil || id.SetCookie == "" {
		t.Errorf("there: %+v, %v", id, err)
	}
	c.clock.Advance(5 * time.Minute)
	c.wantUser(t, "renewed there", secret, "anna", "dev", "ops")
	if err := other.End(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	c.wantNone(t, "ended there", secret)
}

// TestSessionEndedInUse: once End has returned no use succeeds, whatever was being read, renewed or noted at the time.
func TestSessionEndedInUse(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	for range 50 {
		secret, made := c.create(t, local("anna"))
		c.clock.Advance(2 * time.Minute) // so that it is to be renewed
		var ended atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for over := false; !over; {
					over = ended.Load()
					if id, err := c.with(secret); err == nil && over {
						t.Errorf("let in after it was ended: %+v", id)
					}
				}
			})
		}
		if err := c.End(t.Context(), made.ID); err != nil {
			t.Error(err)
		}
		ended.Store(true)
		wg.Wait()
		if ids := c.ids(t, ""); len(ids) != 0 {
			t.Fatalf("%q are left", ids)
		}
	}
}

// TestSessionsOfStrangers: guesses are neither stored nor remembered, and push nobody's session out.
func TestSessionsOfStrangers(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	secret, _ := c.create(t, local("anna"))
	c.wantUser(t, "before", secret, "anna", "dev", "ops")
	var reads atomic.Int32
	counted := auth.NewSessions(countingState{c.state, &reads}, c.users, c.revocations)
	defer counted.Close()
	if err := counted.Configure(auth.SessionOptions{Now: c.clock.Now}); err != nil {
		t.Fatal(err)
	}
	if _, err := present(counted, "AuthSession="+secret); err != nil || reads.Load() != 1 {
		t.Fatalf("%v after %d reads", err, reads.Load())
	}
	for i := range 20_000 {
		if _, err := present(counted, fmt.Sprintf("AuthSession=%043d", i)); !errors.Is(err, auth.ErrNoCredentials) {
			t.Fatal(err)
		}
	}
	before := reads.Load()
	if _, err := present(counted, "AuthSession="+secret); err != nil || reads.Load() != before {
		t.Errorf("it was read again: %v", err)
	}
	for _, malformed := range []string{"", "x", strings.Repeat("A", 42), strings.Repeat("A", 44), strings.Repeat("A", 4000)} {
		if _, err := present(counted, "AuthSession="+malformed); !errors.Is(err, auth.ErrNoCredentials) || reads.Load() != before {
			t.Errorf("%.50q: %v, read %d times", malformed, err, reads.Load()-before)
		}
	}
	if ids := c.ids(t, ""); len(ids) != 2 {
		t.Errorf("%q are stored", ids)
	}
}
