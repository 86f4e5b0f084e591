package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/parlordb/parlor/auth/password"
)

// Whose passwords are not taken is refused in the same words and after the same work, be the password right or wrong and the user there or not.
func TestPasswordLogin(t *testing.T) {
	t.Parallel()
	policy := password.Policy{Iterations: 10}
	hash, err := policy.New("apple", "")
	if err != nil {
		t.Fatal(err)
	}
	users := new(Memory)
	users.Put(User{Name: "ann", Password: hash})
	users.Put(User{Name: "root", Password: hash, Admin: true})
	passwords := NewPasswords(users, PasswordOptions{Policy: policy})
	ctx := context.Background()
	// What verified before is remembered, and must not let in afterwards.
	for _, name := range []string{"ann", "root"} {
		if _, err := passwords.Verify(ctx, name, "apple"); err != nil {
			t.Fatal(name, err)
		}
	}
	const (
		wrong      = "Name or password is incorrect."
		adminsOnly = wrong + " Only administrators sign in with a password here."
		off        = "Passwords are switched off on this server. Sign in at a provider, or with an access token; administrators also through the socket in the data directory."
	)
	for _, c := range []struct {
		login      PasswordLogin
		name, pass string
		status     int // 200: let in
		reason     string
	}{
		{PasswordsForAdmins, "ann", "apple", 401, adminsOnly},
		{PasswordsForAdmins, "ann", "pear", 401, adminsOnly},
		{PasswordsForAdmins, "nobody", "apple", 401, adminsOnly},
		{PasswordsForAdmins, "", "apple", 401, adminsOnly},
		{PasswordsForAdmins, "root", "pear", 401, adminsOnly},
		{PasswordsForAdmins, "root", "apple", 200, ""},
		{PasswordsForNobody, "ann", "apple", 403, off},
		{PasswordsForNobody, "nobody", "x", 403, off},
		{PasswordsForNobody, "", "", 403, off},
		{PasswordsForNobody, "root", "apple", 403, off},
		{PasswordsForAll, "ann", "pear", 401, wrong},
		{PasswordsForAll, "ann", "apple", 200, ""},
	} {
		passwords.Configure(PasswordOptions{Policy: policy, Login: c.login})
		_, err := passwords.Verify(ctx, c.name, c.pass)
		got, reason := 200, ""
		if refusal, ok := errors.AsType[*Refusal](err); ok {
			got, reason = refusal.Status, refusal.Reason
		} else if err != nil {
			t.Fatal(err)
		}
		if got != c.status || reason != c.reason {
			t.Errorf("login %d, %s:%s: %d %q, want %d %q", c.login, c.name, c.pass, got, reason, c.status, c.reason)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(c.name, c.pass)
		if _, err := NewBasic(passwords).Authenticate(r); (err == nil) != (c.status == 200) {
			t.Errorf("login %d, %s:%s by Basic: %v", c.login, c.name, c.pass, err)
		}
	}
	for _, text := range []string{"", "None", "some", "true"} {
		if _, err := ParsePasswordLogin(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
