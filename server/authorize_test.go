package server

import (
	"errors"
	"testing"

	"github.com/parlordb/parlor/auth"
)

func TestParseSecurity(t *testing.T) {
	for _, bad := range []string{
		``, `[]`, `null`, `"x"`, `{`, `{"admins":[]}`, `{"admins":null}`, `{"admins":{"names":"alice"}}`, `{"members":{"roles":"dev"}}`,
		`{"members":{"roles":[1,null]}}`, `{"members":null}`, `{"readers":{"names":[{}]}}`,
	} {
		var e *Error
		if _, err := parseSecurity([]byte(bad)); !errors.As(err, &e) || e.Status != 400 {
			t.Errorf("%s: got %v, want a 400", bad, err)
		}
	}
}

func TestMembership(t *testing.T) {
	nobody := auth.Identity{}
	alice := auth.Identity{Name: "alice", Roles: []string{"dev"}}
	admin := auth.Identity{Name: "root", Roles: []string{"_admin"}}
	for _, c := range []struct {
		security                  string
		nobody, alice, aliceAdmin bool
	}{
		{`{}`, true, true, false},
		{`{"admins":{"names":["bob"]}}`, true, true, false}, // public, whoever its admins are
		{`{"members":{"names":["alice"]}}`, false, true, false},
		{`{"members":{"names":["bob"]}}`, false, false, false},
		{`{"members":{"roles":["dev"]}}`, false, true, false},
		{`{"members":{"names":["bob"]},"admins":{"roles":["dev"]}}`, false, true, true},
		{`{"members":{"names":["bob"]},"admins":{"names":["alice"]}}`, false, true, true},
		{`{"readers":{"names":["bob"]}}`, false, false, false},
		{`{"members":{},"readers":{"names":["bob"]}}`, true, true, false},
		{`{"members":{"names":[""]}}`, false, false, false}, // nobody has no name
		{`{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`, false, false, false},
	} {
		sec, err := parseSecurity([]byte(c.security))
		if err != nil {
			t.Fatal(c.security, err)
		}
		if got := sec.isMember(&nobody); got != c.nobody {
			t.Errorf("%s: nobody is a member: %v", c.security, got)
		}
		if got := sec.isMember(&alice); got != c.alice {
			t.Errorf("%s: alice is a member: %v", c.security, got)
		}
		if got := sec.isAdmin(&alice); got != c.aliceAdmin {
			t.Errorf("%s: alice is an admin: %v", c.security, got)
		}
		if sec.isAdmin(&nobody) || !sec.isAdmin(&admin) {
			t.Errorf("%s: nobody is an admin, or a server admin is none", c.security)
		}
	}
}
