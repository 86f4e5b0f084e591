package auth

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth/password"
)

// guarded is a Passwords with a Lockout over anna, whose password is apple, and tess, who has a second factor besides.
type guarded struct {
	*Passwords
	lockout *Lockout
	totp    TOTP
	now     time.Time
}

const totpSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	policy := password.Policy{Iterations: 10}
	h, err := policy.New("apple", "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseTOTPKey(totpSecret, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	users := new(Memory)
	users.Put(User{Name: "anna", Password: h})
	users.Put(User{Name: "tess", Password: h, TOTP: true, TOTPKey: key})
	g := &guarded{now: time.Unix(59, 0)}
	now := func() time.Time { return g.now }
	g.totp.Now = now
	g.lockout = NewLockout(LockoutOptions{Now: now})
	g.Passwords = NewPasswords(users, PasswordOptions{Policy: policy, Lockout: g.lockout})
	return g
}

// try signs in and returns the status of the refusal, 200 for none.
func (g *guarded) try(ctx context.Context, name, pass, code string) int {
	_, err := g.VerifyBoth(ctx, name, pass, func(u *User) error { return g.totp.Verify(u.Name, u.TOTPKey, code) })
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal.Status
	}
	if err != nil {
		return 500
	}
	return 200
}

func TestWrongPasswordsLock(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"anna", "nobody"} {
		g := newGuarded(t)
		ctx := WithClient(t.Context(), netip.MustParseAddr("192.0.2.1"))
		for i := range 5 {
			if got := g.try(ctx, name, "pear", ""); got != 401 {
				t.Fatalf("%s: failure %d: %d", name, i+1, got)
			}
		}
		_, err := g.Verify(ctx, name, "apple")
		if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Status != 403 || refusal.Header.Get("Retry-After") != "300" || refusal.User != name {
			t.Errorf("%s: the right password of one who is locked: %v", name, err)
		}
		if got := g.try(ctx, "anna", "apple", ""); name != "anna" && got != 200 {
			t.Errorf("another user at the same address: %d", got)
		}
	}
	g := newGuarded(t)
	for range 5 {
		g.try(WithClient(t.Context(), netip.MustParseAddr("192.0.2.1")), "anna", "pear", "")
	}
	if got := g.try(WithClient(t.Context(), netip.MustParseAddr("192.0.2.2")), "anna", "apple", ""); got != 200 {
		t.Errorf("the same user at another address: %d", got)
	}
}

// TestSuccessUnlocks tries it with a hash that is computed and with a password that is remembered.
func TestSuccessUnlocks(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for round := range 3 {
		for i := range 4 {
			if got := g.try(t.Context(), "anna", "pear", ""); got != 401 {
				t.Fatalf("round %d, failure %d: %d", round, i+1, got)
			}
		}
		if got := g.try(t.Context(), "anna", "apple", ""); got != 200 {
			t.Fatalf("round %d: %d", round, got)
		}
	}
}

func TestWrongCodesLock(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for i := range 5 {
		code := []string{"", "000000"}[i%2]
		if got := g.try(t.Context(), "tess", "apple", code); got != 401 {
			t.Fatalf("code %q, failure %d: %d", code, i+1, got)
		}
	}
	if got := g.try(t.Context(), "tess", "apple", "287082"); got != 403 {
		t.Errorf("the right password and code of one who is locked: %d", got)
	}
}

// TestPasswordAloneCounts: who has a second factor cannot sign in without it, and cannot find out the password that way either.
func TestPasswordAloneCounts(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for i := range 5 {
		_, err := g.Verify(t.Context(), "tess", "apple")
		if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Status != 401 {
			t.Fatalf("%d: %v", i+1, err)
		}
	}
	if got := g.try(t.Context(), "tess", "apple", "287082"); got != 403 {
		t.Errorf("after five of them: %d", got)
	}
}

func TestSecondFactorResetsAndIsUsedUp(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for range 4 {
		g.try(t.Context(), "tess", "apple", "000000")
	}
	if got := g.try(t.Context(), "tess", "apple", "287082"); got != 200 {
		t.Fatalf("both right: %d", got)
	}
	if got := g.try(t.Context(), "tess", "apple", "287082"); got != 401 {
		t.Errorf("the same code again: %d", got)
	}
	for i := range 3 { // the used code was the first failure
		if got := g.try(t.Context(), "tess", "apple", ""); got != 401 {
			t.Errorf("failure %d after a success: %d", i+2, got)
		}
	}
	if got := g.try(t.Context(), "anna", "apple", ""); got != 200 {
		t.Errorf("one who has no second factor is asked for none: %d", got)
	}
}

// TestManyAtOnceAreOneAttempt: a client whose requests all come at once, none remembered yet, is not locked out by their number.
func TestManyAtOnceAreOneAttempt(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if got := g.try(t.Context(), "anna", "apple", ""); got != 200 {
				t.Errorf("%d", got)
			}
		})
	}
	wait.Wait()
}

func TestBasicSaysWhoTheClientIs(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	basic := NewBasic(g.Passwords)
	try := func(peer, pass string) error {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.SetBasicAuth("anna", pass)
		_, err := basic.Authenticate(r)
		return err
	}
	for range 5 {
		if try("192.0.2.1:1000", "pear") == nil {
			t.Fatal("a wrong password is taken")
		}
	}
	if err := try("192.0.2.2:1000", "apple"); err != nil {
		t.Errorf("another address: %v", err)
	}
	if refusal, ok := errors.AsType[*Refusal](try("192.0.2.1:1001", "apple")); !ok || refusal.Status != 403 {
		t.Error("the address that failed is not locked")
	}
	if locks := g.lockout.List(); len(locks) != 1 || locks[0].Address.String() != "192.0.2.1/32" {
		t.Errorf("locks %v", locks)
	}
}
