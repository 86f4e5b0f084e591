package authtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/password"
)

// UsersCase is a directory without the users that the test makes, and the ways to change it. A change is in force when the function returns.
type UsersCase struct {
	Users  auth.Users
	Put    func(t *testing.T, u auth.User)
	Delete func(t *testing.T, name string)
}

// TestUsers tests the contract of auth.Users.
func TestUsers(t *testing.T, c UsersCase) {
	t.Helper()
	unknown := func(t *testing.T, name string) {
		t.Helper()
		if u, err := c.Users.User(t.Context(), name); !errors.Is(err, auth.ErrUnknownUser) || u != nil {
			t.Errorf("%q: %+v, %v, want ErrUnknownUser", name, u, err)
		}
	}
	hash, err := password.Policy{Iterations: 10}.New("apple", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("unknown", func(t *testing.T) {
		c.Put(t, auth.User{Name: "Zoë", Roles: []string{"x"}, Password: hash})
		// Another case, another normal form of the same letters, parts, and what an id or a path could be confused by.
		for _, name := range []string{"", "nobody", "zoë", "ZOË", "Zoe\u0308", "Zo", "Zoë ", " Zoë", "Zoë\x00", "org.couchdb.user:Zoë", "../Zoë", "_design/_auth", "%", "_admin"} {
			unknown(t, name)
		}
	})
	t.Run("known", func(t *testing.T) {
		want := auth.User{Name: "Zoë", Roles: []string{"b", "a"}, Password: hash}
		c.Put(t, want)
		c.check(t, want)
		want.Roles, want.Disabled = []string{}, true
		c.Put(t, want)
		c.check(t, want)
	})
	t.Run("deleted", func(t *testing.T) {
		c.Put(t, auth.User{Name: "brief", Password: hash})
		c.Delete(t, "brief")
		unknown(t, "brief")
		c.Delete(t, "Zoë")
		unknown(t, "Zoë")
	})
	t.Run("at the same time", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 8 {
			name := fmt.Sprintf("user %d", i)
			c.Put(t, auth.User{Name: name, Roles: []string{name}, Password: hash})
			wg.Go(func() {
				for range 50 {
					if u, err := c.Users.User(t.Context(), name); err != nil || u.Name != name || !slices.Equal(u.Roles, []string{name}) {
						t.Errorf("%s: %+v, %v", name, u, err)
					}
				}
			})
			c.Put(t, auth.User{Name: name, Roles: []string{name}, Password: hash})
		}
		wg.Wait()
	})
}

func (c UsersCase) check(t *testing.T, want auth.User) {
	t.Helper()
	got, err := c.Users.User(t.Context(), want.Name)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != want.Name || !slices.Equal(got.Roles, want.Roles) || got.Password != want.Password || got.Disabled != want.Disabled || got.TOTP != want.TOTP {
		t.Errorf("%+v, want %+v", got, want)
	}
}
