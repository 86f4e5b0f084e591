package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

type addressKey struct{}

// from is a context of a request from an address; "" is an unknown one.
func from(address string) context.Context {
	addr, _ := netip.ParseAddr(address)
	return context.WithValue(context.Background(), addressKey{}, addr)
}

func addressOf(ctx context.Context) netip.Addr {
	addr, _ := ctx.Value(addressKey{}).(netip.Addr)
	return addr
}

var wrong = &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "Name or password is incorrect."}

// attempt is one sign-on; it reports whether it was let through to the password.
func attempt(t *testing.T, l *auth.Lockout, ctx context.Context, user, salt string, right bool) bool {
	t.Helper()
	err := l.Check(ctx, user, salt)
	if err == nil {
		var end func(error)
		if end, err = l.Begin(ctx, user, salt); err == nil {
			if right {
				end(nil)
			} else {
				end(wrong)
			}
			return true
		}
		t.Errorf("Check let %s through, Begin did not: %v", user, err)
	}
	refusal, ok := errors.AsType[*auth.Refusal](err)
	if !ok || refusal.Status != 403 || refusal.Kind != "forbidden" ||
		refusal.Reason != "Account is temporarily locked due to multiple authentication failures" || refusal.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %v", user, err)
	}
	return false
}

func fail(t *testing.T, l *auth.Lockout, ctx context.Context, user, salt string, times int) {
	t.Helper()
	for i := range times {
		if !attempt(t, l, ctx, user, salt, false) {
			t.Fatalf("%s is locked after %d failures", user, i)
		}
	}
}

func newLockout(clock *authtest.Clock, change func(*auth.LockoutOptions)) *auth.Lockout {
	o := auth.LockoutOptions{Address: addressOf, Now: clock.Now}
	if change != nil {
		change(&o)
	}
	return auth.NewLockout(o)
}

func TestLockoutLocks(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	l := newLockout(clock, nil)
	home := from("192.0.2.1")
	fail(t, l, home, "anna", "s", 4)
	clock.Advance(time.Minute)
	fail(t, l, home, "anna", "s", 1)
	for _, right := range []bool{false, true} {
		if attempt(t, l, home, "anna", "s", right) {
			t.Errorf("let through after 5 failures (right password: %v)", right)
		}
	}
	refusal, _ := errors.AsType[*auth.Refusal](l.Check(home, "anna", "s"))
	if got := refusal.Header.Get("Retry-After"); got != "240" {
		t.Errorf("Retry-After %s, want 4 minutes: the window began with the first failure", got)
	}
	for name, free := range map[string]func() bool{
		"another user":          func() bool { return attempt(t, l, home, "bert", "s", true) },
		"another address":       func() bool { return attempt(t, l, from("192.0.2.2"), "anna", "s", true) },
		"an unknown address":    func() bool { return attempt(t, l, from(""), "anna", "s", true) },
		"with a new password":   func() bool { return attempt(t, l, home, "anna", "t", true) },
		"name in other letters": func() bool { return attempt(t, l, home, "Anna", "s", true) },
	} {
		if !free() {
			t.Errorf("%s is locked too", name)
		}
	}
	clock.Advance(4*time.Minute - time.Millisecond)
	if attempt(t, l, home, "anna", "s", true) {
		t.Error("let through a millisecond too early")
	}
	clock.Advance(time.Millisecond)
	fail(t, l, home, "anna", "s", 5)
}

func TestLockoutSuccessResets(t *testing.T) {
	t.Parallel()
	l := newLockout(authtest.NewClock(), nil)
	home := from("192.0.2.1")
	for range 3 {
		fail(t, l, home, "anna", "s", 4)
		if !attempt(t, l, home, "anna", "s", true) {
			t.Fatal("the right password is refused after 4 failures")
		}
		fail(t, l, home, "anna", "s", 4)
		l.Succeeded(home, "bert", "s") // another's success is no one else's
		l.Succeeded(home, "anna", "s")
	}
	fail(t, l, home, "anna", "s", 4)
	l.Succeeded(home, "bert", "s")
	fail(t, l, home, "anna", "s", 1)
	if attempt(t, l, home, "anna", "s", true) {
		t.Error("another user's success unlocked")
	}
}

func TestLockoutOutcomes(t *testing.T) {
	t.Parallel()
	l := newLockout(authtest.NewClock(), nil)
	home := from("192.0.2.1")
	for range 3 {
		l.Failed(home, "anna", "s")
	}
	for name, outcome := range map[string]error{
		"client that went away": context.Canceled,
		"server at its limit":   &auth.Refusal{Status: 503},
		"disabled user":         &auth.Refusal{Status: 403},
		"directory that fails":  errors.New("disk"),
	} {
		for range 10 {
			end, err := l.Begin(home, "anna", "s")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			end(outcome)
		}
	}
	l.Failed(home, "anna", "s")
	end, err := l.Begin(home, "anna", "s")
	if err != nil {
		t.Fatalf("after 4 failures: %v", err)
	}
	end(fmt.Errorf("wrapped: %w", wrong))
	if attempt(t, l, home, "anna", "s", true) {
		t.Error("outcomes that are none forgot the failures")
	}
}

func TestNoLockout(t *testing.T) {
	t.Parallel()
	var l *auth.Lockout
	for range 10 {
		l.Failed(from(""), "anna", "s")
		if !attempt(t, l, from(""), "anna", "s", false) {
			t.Fatal("a nil Lockout locks")
		}
	}
	l.Succeeded(from(""), "anna", "s")
	var b *auth.Budget
	giveBack, err := b.Take(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	giveBack()
}

func TestLockoutModes(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	home := from("192.0.2.1")
	type report struct {
		lock auth.Lock
		mode auth.LockoutMode
	}
	for mode, want := range map[auth.LockoutMode]int{auth.LockoutEnforce: 1, auth.LockoutWarn: 1, auth.LockoutOff: 0} {
		var reports []report
		l := newLockout(clock, func(o *auth.LockoutOptions) {
			o.Mode = mode
			o.Threshold = 3
			o.Report = func(_ context.Context, l auth.Lock, m auth.LockoutMode) { reports = append(reports, report{l, m}) }
		})
		fail(t, l, home, "anna", "s", 3)
		if free := attempt(t, l, home, "anna", "s", false); free != (mode != auth.LockoutEnforce) {
			t.Errorf("mode %d: let through: %v", mode, free)
		}
		if len(reports) != want {
			t.Errorf("mode %d: %d reports, want %d", mode, len(reports), want)
		}
		for _, r := range reports {
			wantLock := auth.Lock{User: "anna", Address: netip.MustParsePrefix("192.0.2.1/32"), Failures: 3, Until: clock.Now().Add(5 * time.Minute)}
			if r.lock != wantLock || r.mode != mode {
				t.Errorf("mode %d: reported %+v", mode, r)
			}
		}
	}
	for text, want := range map[string]auth.LockoutMode{"enforce": auth.LockoutEnforce, "warn": auth.LockoutWarn, "off": auth.LockoutOff} {
		if got, err := auth.ParseLockoutMode(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "Enforce", "false", "on", " off"} {
		if got, err := auth.ParseLockoutMode(text); err == nil || got != auth.LockoutEnforce {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestLockoutConfigureAppliesAtOnce(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	home := from("192.0.2.1")
	l := newLockout(clock, nil)
	o := auth.LockoutOptions{Address: addressOf, Now: clock.Now}
	fail(t, l, home, "anna", "s", 4)
	o.Threshold = 4
	l.Configure(o)
	if attempt(t, l, home, "anna", "s", true) {
		t.Error("a lower threshold does not lock")
	}
	o.Mode = auth.LockoutOff
	l.Configure(o)
	if !attempt(t, l, home, "anna", "s", false) {
		t.Error("mode off locks")
	}
	o.Mode, o.Threshold = auth.LockoutEnforce, 5
	l.Configure(o)
	fail(t, l, home, "anna", "s", 1)
	if attempt(t, l, home, "anna", "s", true) {
		t.Error("the counter was lost")
	}
	o.MaxLifetime = time.Second
	clock.Advance(time.Second)
	l.Configure(o)
	fail(t, l, home, "anna", "s", 1)
}

func TestLockoutCountsClientsOnce(t *testing.T) {
	t.Parallel()
	l := newLockout(authtest.NewClock(), nil)
	for i := range 5 {
		fail(t, l, from(fmt.Sprintf("2001:db8:1:1::%d", i)), "anna", "s", 1)
	}
	if attempt(t, l, from("2001:db8:1:1:ffff::%eth0"), "anna", "s", true) {
		t.Error("another address of the same /64 is let through")
	}
	if !attempt(t, l, from("2001:db8:1:2::1"), "anna", "s", true) {
		t.Error("another /64 is locked")
	}
	fail(t, l, from("::ffff:192.0.2.1"), "anna", "s", 5)
	if attempt(t, l, from("192.0.2.1"), "anna", "s", true) {
		t.Error("an IPv4 address written as IPv6 is another client")
	}
}

func TestLockoutManyAtOnce(t *testing.T) {
	t.Parallel()
	l := newLockout(authtest.NewClock(), nil)
	home := from("192.0.2.1")
	var begun atomic.Int32
	var wg sync.WaitGroup
	ends := make(chan func(error), 100)
	for range 100 {
		wg.Go(func() {
			if end, err := l.Begin(home, "anna", "s"); err == nil {
				begun.Add(1)
				ends <- end
			}
		})
	}
	wg.Wait()
	close(ends)
	if n := begun.Load(); n != 5 {
		t.Fatalf("%d guesses at the same time, want 5", n)
	}
	if err := l.Check(home, "anna", "s"); err != nil {
		t.Errorf("locked before anything failed: %v", err)
	}
	for end := range ends {
		end(wrong)
	}
	if attempt(t, l, home, "anna", "s", true) {
		t.Error("not locked")
	}
}

func TestLockoutMemoryIsBounded(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	l := newLockout(clock, func(o *auth.LockoutOptions) { o.MaxObjects, o.Threshold = 3, 1 })
	home := from("192.0.2.1")
	for _, user := range []string{"a", "b", "c", "d"} {
		fail(t, l, home, user, "", 1)
		clock.Advance(time.Second)
	}
	if !attempt(t, l, home, "a", "", true) {
		t.Error("the oldest was kept")
	}
	if locks := l.List(); len(locks) != 3 || locks[0].User != "b" {
		t.Errorf("%+v", locks)
	}
	long := strings.Repeat("x", 1<<20)
	fail(t, l, home, long, "", 1)
	if attempt(t, l, home, long, "", true) || !attempt(t, l, home, long+"y", "", true) {
		t.Error("long names are not told apart")
	}
	for _, lock := range l.List() {
		if len(lock.User) > 256 {
			t.Errorf("a name of %d bytes is kept", len(lock.User))
		}
	}
}

func TestLockoutListAndClear(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	l := newLockout(clock, func(o *auth.LockoutOptions) { o.Threshold = 2 })
	fail(t, l, from("192.0.2.2"), "bert", "s", 2)
	fail(t, l, from("192.0.2.9"), "anna", "s", 2)
	fail(t, l, from("192.0.2.1"), "anna", "s", 2)
	fail(t, l, from(""), "anna", "s", 1) // not locked yet
	var got []string
	for _, lock := range l.List() {
		got = append(got, lock.User+" "+lock.Address.String())
	}
	if want := "anna 192.0.2.1/32, anna 192.0.2.9/32, bert 192.0.2.2/32"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %s", got, want)
	}
	if n := l.Clear("nobody"); n != 0 {
		t.Errorf("%d counters of nobody", n)
	}
	if n := l.Clear("anna"); n != 3 {
		t.Errorf("%d counters of anna cleared, want 3", n)
	}
	fail(t, l, from("192.0.2.1"), "anna", "s", 1)
	if n := l.Clear(""); n != 2 || len(l.List()) != 0 {
		t.Errorf("%d cleared, %+v left", n, l.List())
	}
	fail(t, l, from("192.0.2.1"), "anna", "s", 2)
	clock.Advance(5 * time.Minute)
	if locks := l.List(); len(locks) != 0 {
		t.Errorf("locks that have ended: %+v", locks)
	}
}

func TestLockoutClockSetBack(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	l := newLockout(clock, func(o *auth.LockoutOptions) { o.Threshold = 1 })
	home := from("192.0.2.1")
	fail(t, l, home, "anna", "s", 1)
	clock.Advance(-time.Hour)
	fail(t, l, home, "bert", "s", 1)
	clock.Advance(6 * time.Minute)
	if locks := l.List(); len(locks) != 1 || locks[0].User != "anna" {
		t.Errorf("%+v", locks)
	}
	fail(t, l, home, "bert", "s", 1)
}

func TestBudget(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	b := auth.NewBudget(auth.BudgetOptions{Failures: 3, Per: 30 * time.Second, Now: clock.Now})
	home, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	take := func(a netip.Addr) func() {
		t.Helper()
		giveBack, err := b.Take(a)
		if err != nil {
			t.Fatal(err)
		}
		return giveBack
	}
	for range 10 {
		take(home)() // successes cost nothing
	}
	for range 3 {
		take(home)
	}
	for _, a := range []netip.Addr{home, netip.MustParseAddr("::ffff:192.0.2.1")} {
		_, err := b.Take(a)
		refusal, ok := errors.AsType[*auth.Refusal](err)
		if !ok || refusal.Status != 429 || refusal.Header.Get("Retry-After") != "10" {
			t.Fatalf("%v", err)
		}
	}
	take(other)
	take(netip.Addr{})
	clock.Advance(10*time.Second - 1)
	if _, err := b.Take(home); err == nil {
		t.Error("let through a nanosecond early")
	}
	clock.Advance(1)
	take(home)
	if _, err := b.Take(home); err == nil {
		t.Error("two came back in the time of one")
	}
	clock.Advance(time.Hour)
	for range 3 {
		take(home)
	}
	if _, err := b.Take(home); err == nil {
		t.Error("more than the burst came back")
	}
}

func TestBudgetMemoryIsBounded(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	b := auth.NewBudget(auth.BudgetOptions{Failures: 1, MaxAddresses: 2, Now: clock.Now})
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")}
	for _, a := range addresses {
		if _, err := b.Take(a); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Take(addresses[2]); err == nil {
		t.Error("the newest was forgotten")
	}
	if _, err := b.Take(addresses[0]); err != nil {
		t.Errorf("the oldest is kept: %v", err)
	}
}
