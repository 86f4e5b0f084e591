package auth_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/password"
)

// slowRounds counts hashes by the Upgrade hook, which runs once for each slow verification of an outdated hash, and then no sooner than after an hour.
func slowRounds(o *auth.PasswordOptions) *atomic.Int32 {
	var n atomic.Int32
	o.Policy.PRF = "sha512" // so that every hash here is outdated
	o.Upgrade = func(context.Context, *auth.User, string) { n.Add(1) }
	return &n
}

func TestVerifiedPasswordsAreRemembered(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	users := people(t)
	o := auth.PasswordOptions{Policy: cheap, Now: clock.Now}
	slow := slowRounds(&o)
	p := auth.NewPasswords(users, o)
	verify := func(what, name, pass string, wantSlow int32) {
		t.Helper()
		before := slow.Load()
		if _, err := p.Verify(t.Context(), name, pass); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := slow.Load() - before; got != wantSlow {
			t.Errorf("%s: %d slow hashes, want %d", what, got, wantSlow)
		}
	}
	verify("first", "anna", "apple", 1)
	verify("again", "anna", "apple", 0)
	if _, err := p.Verify(t.Context(), "anna", "pear"); err == nil {
		t.Error("a wrong password beside the remembered one")
	}
	verify("after a wrong one", "anna", "apple", 0)
	clock.Advance(9 * time.Minute)
	verify("after 9 idle minutes", "anna", "apple", 0)
	clock.Advance(9 * time.Minute)
	verify("after 9 more", "anna", "apple", 0)
	clock.Advance(11 * time.Minute)
	verify("after 11 idle minutes", "anna", "apple", 1)
	p.Configure(o)
	verify("configured as before", "anna", "apple", 0)
	o.CacheSize = 5
	p.Configure(o)
	verify("another size", "anna", "apple", 1)
	o.Policy.Iterations++
	p.Configure(o)
	verify("another policy", "anna", "apple", 1)
	o.NoCache = true
	p.Configure(o)
	verify("without the cache", "anna", "apple", 1)
	verify("without the cache, again", "anna", "apple", 1)
}

func TestChangedUserIsNotRemembered(t *testing.T) {
	t.Parallel()
	users := people(t)
	p := auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap})
	ok := func(what, pass string) {
		t.Helper()
		if _, err := p.Verify(t.Context(), "anna", pass); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused := func(what, pass string) {
		t.Helper()
		_, err := p.Verify(t.Context(), "anna", pass)
		wantRefusal(t, what, err, 401, "Name or password is incorrect.")
	}
	ok("at first", "apple")

	// The same salt, as with preserve_salt: only the key tells that the password is another.
	changed, err := cheap.New("pear", annaSalt)
	if err != nil {
		t.Fatal(err)
	}
	users.Put(auth.User{Name: "anna", Password: changed})
	refused("the old password", "apple")
	ok("the new password", "pear")

	users.Delete("anna")
	refused("deleted", "pear")
	users.Put(auth.User{Name: "anna", Password: changed, TOTP: true})
	refused("with a second factor", "pear")
	users.Put(auth.User{Name: "anna", Password: changed, Disabled: true})
	_, err = p.Verify(t.Context(), "anna", "pear")
	wantRefusal(t, "disabled", err, 403, "This account is disabled.")
	refused("disabled, wrong password", "apple")
	users.Put(auth.User{Name: "anna", Password: changed})
	ok("enabled again", "pear")
}

func TestPolicyRefusals(t *testing.T) {
	t.Parallel()
	users := people(t)
	odd := hashOf(t, "apple")
	odd.PRF = "md5"
	users.Put(auth.User{Name: "odd", Password: odd})
	users.Put(auth.User{Name: "greedy", Password: password.Hash{Scheme: password.Argon2id, Salt: "x", Key: "00", Argon2: password.Argon2{Memory: 4 << 20, Time: 1, Parallelism: 1}}})
	p := auth.NewPasswords(users, auth.PasswordOptions{Policy: cheap})
	if _, err := p.Verify(t.Context(), "anna", "apple"); err != nil {
		t.Fatal(err)
	}
	_, err := p.Verify(t.Context(), "odd", "apple")
	wantRefusal(t, "unknown prf", err, 403, "PRF is invalid")
	_, err = p.Verify(t.Context(), "greedy", "apple")
	wantRefusal(t, "4 GiB of memory", err, 403, "Argon2 parameters are out of range for this server")
	p.Configure(auth.PasswordOptions{Policy: password.Policy{Iterations: 100, MinIterations: 11}})
	_, err = p.Verify(t.Context(), "anna", "apple")
	wantRefusal(t, "a remembered password under a stricter policy", err, 403, "Iteration count is too low for this server")
	p.Configure(auth.PasswordOptions{Policy: password.Policy{Iterations: 5, MaxIterations: 9}})
	_, err = p.Verify(t.Context(), "anna", "apple")
	wantRefusal(t, "too many iterations", err, 403, "Iteration count is too high for this server")
	if p.Policy().Iterations != 5 {
		t.Errorf("policy in force: %+v", p.Policy())
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	var upgraded []string
	users := people(t)
	p := auth.NewPasswords(users, auth.PasswordOptions{
		Policy:  password.Policy{Iterations: 20},
		Upgrade: func(_ context.Context, u *auth.User, pass string) { upgraded = append(upgraded, u.Name+":"+pass) },
	})
	for _, name := range []string{"anna", "root", "totpy", "gone", "nobody", "anna"} {
		p.Verify(t.Context(), name, "apple") // some are refused; what is asked is who is upgraded
		p.Verify(t.Context(), name, "pear")
	}
	if len(upgraded) != 1 || upgraded[0] != "anna:apple" {
		t.Errorf("upgraded: %q, want anna alone, once", upgraded)
	}
	argon2 := password.Policy{Scheme: password.Argon2id, Argon2: password.Argon2{Memory: 64, Time: 1, Parallelism: 1}}
	p.Configure(auth.PasswordOptions{Policy: argon2, Upgrade: func(_ context.Context, u *auth.User, pass string) {
		anna := auth.User{Name: u.Name, Roles: u.Roles}
		var err error
		if anna.Password, err = argon2.New(pass, u.Password.Salt); err != nil {
			t.Error(err)
		}
		users.Put(anna)
	}})
	for range 3 { // under the old hash, under the new one, remembered
		if u, err := p.Verify(t.Context(), "anna", "apple"); err != nil || u.Password.Salt != annaSalt {
			t.Errorf("upgraded to argon2id: %+v, %v", u, err)
		}
	}
	if u, _ := users.User(t.Context(), "anna"); u.Password.Scheme != password.Argon2id || argon2.Outdated(u.Password) {
		t.Errorf("after the upgrade: %+v", u.Password)
	}
	p = auth.NewPasswords(people(t), auth.PasswordOptions{})
	p.Configure(auth.PasswordOptions{Policy: cheap, Upgrade: func(_ context.Context, u *auth.User, _ string) { t.Errorf("%s has a hash as configured", u.Name) }})
	if _, err := p.Verify(t.Context(), "anna", "apple"); err != nil {
		t.Error(err)
	}
}

// TestUpgradeAfterSecondFactor: a user who has one is upgraded when both have been given, whether or not the password was remembered before.
func TestUpgradeAfterSecondFactor(t *testing.T) {
	t.Parallel()
	for _, noCache := range []bool{false, true} {
		o := auth.PasswordOptions{Policy: cheap, NoCache: noCache}
		upgrades := slowRounds(&o)
		p := auth.NewPasswords(people(t), o)
		sign := func(what, pass string, second error, want int32) {
			t.Helper()
			_, err := p.VerifyBoth(t.Context(), "totpy", pass, func(*auth.User) error { return second })
			if (err == nil) != (second == nil && pass == "apple") {
				t.Errorf("%s: %v", what, err)
			}
			if got := upgrades.Load(); got != want {
				t.Errorf("%s: %d upgrades, want %d", what, got, want)
			}
		}
		wrong := &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "wrong code"}
		sign("a wrong code", "apple", wrong, 0)
		sign("a wrong password", "pear", nil, 0)
		sign("both right", "apple", nil, 1)
		if !noCache {
			sign("again", "apple", nil, 1)
		}
	}
}

// TestUpgradeIsTriedAgain: one that did not come about is asked for again, though the password stays remembered.
func TestUpgradeIsTriedAgain(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	o := auth.PasswordOptions{Policy: cheap, CacheIdle: 24 * time.Hour, Now: clock.Now}
	upgrades := slowRounds(&o)
	p := auth.NewPasswords(people(t), o)
	for _, tt := range []struct {
		later time.Duration
		want  int32
	}{{0, 1}, {59 * time.Minute, 1}, {time.Minute, 2}, {time.Minute, 2}, {time.Hour, 3}} {
		clock.Advance(tt.later)
		if _, err := p.Verify(t.Context(), "anna", "apple"); err != nil {
			t.Error(err)
		}
		if got := upgrades.Load(); got != tt.want {
			t.Errorf("%v later: %d upgrades, want %d", tt.later, got, tt.want)
		}
	}
}

// TestOneHashForManyRequests has many present one password at once: whoever comes while it is hashed waits for it.
func TestOneHashForManyRequests(t *testing.T) {
	t.Parallel()
	o := auth.PasswordOptions{Policy: cheap}
	slow := slowRounds(&o)
	p := auth.NewPasswords(people(t), o)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := p.Verify(t.Context(), "anna", "apple"); err != nil {
				t.Error(err)
			}
			if _, err := p.Verify(t.Context(), "anna", "pear"); err == nil {
				t.Error("signed in with a wrong password")
			}
		})
	}
	wg.Wait()
	if n := slow.Load(); n != 1 {
		t.Errorf("%d slow hashes of the right password, want 1", n)
	}
}

type failing struct{ err error }

func (f failing) User(context.Context, string) (*auth.User, error) { return nil, f.err }

func TestFailingDirectory(t *testing.T) {
	t.Parallel()
	conflict := &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "User document conflicts must be resolved before the document is used for authentication purposes."}
	broken := errors.New("disk on fire")
	_, err := auth.NewPasswords(failing{conflict}, auth.PasswordOptions{Policy: cheap}).Verify(t.Context(), "anna", "apple")
	wantRefusal(t, "a directory that refuses", err, 401, conflict.Reason)
	if _, err := auth.NewPasswords(failing{broken}, auth.PasswordOptions{Policy: cheap}).Verify(t.Context(), "anna", "apple"); err != broken {
		t.Errorf("%v, want %v", err, broken)
	}
}
