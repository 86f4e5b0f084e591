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
	hash, err := password.Policy{Iterations: 10}.New("apple", "")
	if err != nil {
		t.Fatal(err)
	}
	d := directory{
		Users: c.Users,
		put:   func(u auth.User) { c.Put(t, u) },
		del:   func(name string) { c.Delete(t, name) },
		hash:  hash,
	}
	t.Run("unknown", func(t *testing.T) { d.testUnknown(t) })
	t.Run("known", func(t *testing.T) { d.testKnown(t) })
	t.Run("deleted", func(t *testing.T) { d.testDeleted(t) })
	t.Run("at the same time", func(t *testing.T) { d.testConcurrent(t) })
}

// directory is what is tested, and hash the password of whom the test puts there.
type directory struct {
	auth.Users
	put  func(auth.User)
	del  func(name string)
	hash password.Hash
}

func (d directory) testUnknown(t testing.TB) {
	d.put(auth.User{Name: "Zoë", Roles: []string{"x"}, Password: d.hash})
	// Another case, another normal form of the same letters, parts, and what an id or a path could be confused by.
	for _, name := range []string{"", "nobody", "zoë", "ZOË", "Zoe\u0308", "Zo", "Zoë ", " Zoë", "Zoë\x00", "org.couchdb.user:Zoë", "../Zoë", "_design/_auth", "%", "_admin"} {
		d.wantUnknown(t, name)
	}
}

func (d directory) testKnown(t testing.TB) {
	want := auth.User{Name: "Zoë", Roles: []string{"b", "a"}, Password: d.hash}
	d.put(want)
	d.want(t, want)
	want.Roles, want.Disabled = []string{}, true
	d.put(want)
	d.want(t, want)
}

func (d directory) testDeleted(t testing.TB) {
	d.put(auth.User{Name: "brief", Password: d.hash})
	d.del("brief")
	d.wantUnknown(t, "brief")
	d.del("Zoë")
	d.wantUnknown(t, "Zoë")
}

func (d directory) testConcurrent(t testing.TB) {
	var wg sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprintf("user %d", i)
		d.put(auth.User{Name: name, Roles: []string{name}, Password: d.hash})
		wg.Go(func() {
			for range 50 {
				if u, err := d.User(t.Context(), name); err != nil || u == nil || u.Name != name || !slices.Equal(u.Roles, []string{name}) {
					t.Errorf("%s: %+v, %v", name, u, err)
				}
			}
		})
		d.put(auth.User{Name: name, Roles: []string{name}, Password: d.hash})
	}
	wg.Wait()
}

func (d directory) wantUnknown(t testing.TB, name string) {
	t.Helper()
	if u, err := d.User(t.Context(), name); !errors.Is(err, auth.ErrUnknownUser) || u != nil {
		t.Errorf("%q: %+v, %v, want ErrUnknownUser", name, u, err)
	}
}

func (d directory) want(t testing.TB, want auth.User) {
	t.Helper()
	got, err := d.User(t.Context(), want.Name)
	switch {
	case err != nil:
		t.Errorf("%q: %v", want.Name, err)
	case got == nil:
		t.Errorf("%q: neither a user nor an error", want.Name)
	case got.Name != want.Name || !slices.Equal(got.Roles, want.Roles) || got.Password != want.Password || got.Disabled != want.Disabled || got.TOTP != want.TOTP:
		t.Errorf("%+v, want %+v", got, want)
	}
}
