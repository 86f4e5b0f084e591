package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/parlordb/parlor/auth/password"
)

// busyPasswords has a user anna whose password is apple, and no room for another slow hash until free is called.
func busyPasswords(t *testing.T) (p *Passwords, free func()) {
	t.Helper()
	policy := password.Policy{Iterations: 10}
	h, err := policy.New("apple", "")
	if err != nil {
		t.Fatal(err)
	}
	users := new(Memory)
	users.Put(User{Name: "anna", Password: h})
	p = NewPasswords(users, PasswordOptions{Policy: policy})
	var slots []func()
	for p.hashing.free > 0 {
		release, err := p.hashing.take(t.Context(), netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		slots = append(slots, release)
	}
	return p, func() {
		for _, release := range slots {
			release()
		}
	}
}

func TestWaitingEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, free := busyPasswords(t)
		ctx, giveUp := context.WithCancel(t.Context())
		results := make(chan error, 3)
		verify := func(ctx context.Context, pass string) {
			_, err := p.Verify(ctx, "anna", pass)
			results <- err
		}
		go verify(ctx, "apple")
		synctest.Wait() // it waits for its turn
		go verify(t.Context(), "apple")
		synctest.Wait() // it waits for the first
		giveUp()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that was given up: %v", err)
		}
		synctest.Wait() // the second has taken over
		if n := p.hashing.waiting; n != 1 {
			t.Errorf("%d wait, want 1", n)
		}
		given, giveUp := context.WithCancel(t.Context())
		go verify(given, "apple")
		synctest.Wait()
		giveUp()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("one that was given up while it waited for another: %v", err)
		}
		free()
		if err := <-results; err != nil {
			t.Errorf("the one that stayed: %v", err)
		}
		synctest.Wait()
		if len(p.flights) != 0 || p.hashing.waiting != 0 || p.hashing.free != runtime.GOMAXPROCS(0) {
			t.Errorf("left behind: %d flights, %d waiting, %d free", len(p.flights), p.hashing.waiting, p.hashing.free)
		}
	})
}

// TestClientsTakeTurns: who comes after a flood from elsewhere waits for one hash, not for the flood.
func TestClientsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, free := busyPasswords(t)
		first := make(chan string, 20)
		verify := func(address, pass string) {
			ctx := WithClient(t.Context(), netip.MustParseAddr(address))
			_, _ = p.Verify(ctx, "anna", pass)
			first <- address
		}
		for i := range 19 {
			go verify("192.0.2.1", fmt.Sprint("guess", i))
		}
		synctest.Wait()
		go verify("192.0.2.2", "apple")
		synctest.Wait()
		p.hashing.mu.Lock()
		waiting, next := len(p.hashing.order), p.hashing.order[1].Addr().String()
		p.hashing.mu.Unlock()
		if waiting != 2 || next != "192.0.2.2" {
			t.Errorf("%d addresses wait, %s is second", waiting, next)
		}
		free()
		for range 20 {
			<-first
		}
	})
}

// TestNewPasswordsTakeTurns: hashes of new passwords wait with the sign-ons, as their client's, and no longer than their request lasts.
func TestNewPasswordsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, free := busyPasswords(t)
		flood := WithClient(t.Context(), netip.MustParseAddr("192.0.2.1"))
		closed, closeIt := context.WithCancel(flood)
		results := make(chan error, 20)
		for range 10 {
			go func() {
				_, err := p.Hash(closed, "plum", "")
				results <- err
			}()
		}
		for range 9 {
			go func() {
				h, err := p.Hash(flood, "plum", "salt")
				if err == nil && (h.Salt != "salt" || p.Policy().Verify(h, "plum") != nil) {
					err = fmt.Errorf("%+v is no hash of plum", h)
				}
				results <- err
			}()
		}
		synctest.Wait()
		go func() {
			_, err := p.Verify(WithClient(t.Context(), netip.MustParseAddr("192.0.2.2")), "anna", "apple")
			results <- err
		}()
		synctest.Wait()
		closeIt()
		for range 10 {
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Errorf("for a closed connection: %v", err)
			}
		}
		synctest.Wait()
		if n, addresses := p.hashing.waiting, len(p.hashing.order); n != 10 || addresses != 2 {
			t.Errorf("%d wait, at %d addresses", n, addresses)
		}
		free()
		for range 10 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestTooManyWaiting(t *testing.T) {
	t.Parallel()
	p, free := busyPasswords(t)
	p.hashing.waiting = maxWaiting
	_, verified := p.Verify(t.Context(), "anna", "apple")
	_, hashed := p.Hash(t.Context(), "plum", "")
	for _, err := range []error{verified, hashed} {
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok || refusal.Status != 503 || refusal.Header.Get("Retry-After") == "" {
			t.Errorf("%v, want 503 with Retry-After", err)
		}
	}
	if n := p.hashing.waiting; n != maxWaiting {
		t.Errorf("%d waiting after one was turned away", n)
	}
	p.hashing.waiting = 0
	free()
	if _, err := p.Verify(t.Context(), "anna", "apple"); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// TestKeyKeepsFieldsApart: no two of these may be taken for one another, whatever bytes the names and passwords hold.
func TestKeyKeepsFieldsApart(t *testing.T) {
	t.Parallel()
	p := NewPasswords(new(Memory), PasswordOptions{})
	h := password.Hash{Scheme: password.PBKDF2, PRF: "sha", Iterations: 10, Salt: "salt", Key: "key"}
	change := func(f func(*password.Hash)) *password.Hash {
		c := h
		f(&c)
		return &c
	}
	keys := map[credentialKey]string{}
	for what, key := range map[string]credentialKey{
		"ab c":         p.key("ab", "c", &h),
		"a bc":         p.key("a", "bc", &h),
		"a\\0b c":      p.key("a\x00b", "c", &h),
		"a b\\0c":      p.key("a", "b\x00c", &h),
		"scheme":       p.key("a", "bc", change(func(h *password.Hash) { h.Scheme = password.Simple })),
		"prf":          p.key("a", "bc", change(func(h *password.Hash) { h.PRF = "sha256" })),
		"iterations":   p.key("a", "bc", change(func(h *password.Hash) { h.Iterations = 11 })),
		"memory":       p.key("a", "bc", change(func(h *password.Hash) { h.Argon2.Memory = 10 })),
		"time":         p.key("a", "bc", change(func(h *password.Hash) { h.Argon2.Time = 10 })),
		"lanes":        p.key("a", "bc", change(func(h *password.Hash) { h.Argon2.Parallelism = 10 })),
		"salt":         p.key("a", "bc", change(func(h *password.Hash) { h.Salt = "sal" })),
		"key":          p.key("a", "bc", change(func(h *password.Hash) { h.Key = "kez" })),
		"salt and key": p.key("a", "bc", change(func(h *password.Hash) { h.Salt, h.Key = "saltk", "ey" })),
	} {
		if other, taken := keys[key]; taken {
			t.Errorf("%s and %s are one", what, other)
		}
		keys[key] = what
	}
	same := h
	if keys[p.key("ab", "c", &same)] != "ab c" {
		t.Error("the key of one password changes")
	}
	if NewPasswords(new(Memory), PasswordOptions{}).key("ab", "c", &h) == p.key("ab", "c", &h) {
		t.Error("two processes share a key")
	}
}

// TestRest: whatever the stored hash costs up to the policy's, a refusal costs as many iterations as one of an unknown name.
func TestRest(t *testing.T) {
	t.Parallel()
	p := NewPasswords(new(Memory), PasswordOptions{Policy: password.Policy{Iterations: 1000}})
	s := p.settings.Load()
	for _, tt := range []struct {
		stored password.Hash
		want   int // 0 or less: nothing more is done
	}{
		{s.decoy, 0},
		{password.Hash{Scheme: password.PBKDF2, Iterations: 10}, 990},
		{password.Hash{Scheme: password.SimplePBKDF2, Iterations: 999}, 1},
		{password.Hash{Scheme: password.PBKDF2, Iterations: 5000}, -4000},
		{password.Hash{Scheme: password.Simple}, 1000},
		{password.Hash{Scheme: "rot13", Iterations: 1000}, 1000},
		{password.Hash{Scheme: password.Argon2id, Iterations: 1000, Argon2: password.Argon2{Memory: 64, Time: 1, Parallelism: 1}}, 1000},
	} {
		if got, more := s.rest(&tt.stored); got.Iterations != tt.want || more != (tt.want > 0) {
			t.Errorf("%+v: %d more iterations, want %d", tt.stored, got.Iterations, tt.want)
		}
	}
	p.Configure(PasswordOptions{Policy: password.Policy{Scheme: password.Simple}})
	if rest, more := p.settings.Load().rest(&password.Hash{Scheme: password.Simple}); more {
		t.Errorf("under simple: %+v", rest)
	}
	p.Configure(PasswordOptions{Policy: password.Policy{Scheme: password.Argon2id, Argon2: password.Argon2{Memory: 64, Time: 2, Parallelism: 1}}})
	s = p.settings.Load()
	for _, tt := range []struct {
		stored password.Hash
		more   bool
	}{
		{s.decoy, false},
		{password.Hash{Scheme: password.Argon2id, Argon2: password.Argon2{Memory: 128, Time: 1, Parallelism: 2}}, false},
		{password.Hash{Scheme: password.Argon2id, Argon2: password.Argon2{Memory: 64, Time: 1, Parallelism: 1}}, true},
		{password.Hash{Scheme: password.PBKDF2, PRF: "sha", Iterations: 1000}, true},
		{password.Hash{Scheme: password.Simple}, true},
		{password.Hash{Scheme: "rot13"}, true},
	} {
		if rest, more := s.rest(&tt.stored); more != tt.more || rest != s.decoy {
			t.Errorf("under argon2id, %+v: %+v, %v, want %v", tt.stored, rest, more, tt.more)
		}
	}
}
