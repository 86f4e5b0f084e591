package auth_test

import (
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/password"
)

// cheap makes hashes that tests can afford.
var cheap = password.Policy{Iterations: 10}

// annaSalt is the salt of spec §16.
const annaSalt = "7f4a3e05e0cbc6f48a0035e3508eef90"

func hashOf(t testing.TB, pass string) password.Hash {
	t.Helper()
	h, err := cheap.New(pass, "")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// people is a directory with one user of each kind; the password of all is "apple".
func people(t testing.TB) *auth.Memory {
	t.Helper()
	users := new(auth.Memory)
	salted, err := cheap.New("apple", annaSalt)
	if err != nil {
		t.Fatal(err)
	}
	users.Put(auth.User{Name: "anna", Roles: []string{"dev", "ops"}, Password: salted})
	users.Put(auth.User{Name: "root", Admin: true, Roles: []string{"_admin"}, Password: hashOf(t, "apple")})
	users.Put(auth.User{Name: "boss", Admin: true, Roles: []string{"x"}, Password: hashOf(t, "apple")})
	users.Put(auth.User{Name: "totpy", TOTP: true, Password: hashOf(t, "apple")})
	users.Put(auth.User{Name: "gone", Disabled: true, Password: hashOf(t, "apple")})
	users.Put(auth.User{Name: "unié", Roles: []string{"rôle"}, Password: hashOf(t, "päss")})
	users.Put(auth.User{Name: "blank"}) // no password at all
	users.Put(auth.User{Name: "broken", Password: password.Hash{Scheme: "rot13", Key: "nccyr"}})
	return users
}

func wantRefusal(t testing.TB, what string, err error, status int, reason string) {
	t.Helper()
	refusal, ok := err.(*auth.Refusal)
	if !ok || refusal.Status != status || refusal.Reason != reason {
		t.Errorf("%s: %v, want %d %q", what, err, status, reason)
	}
}
