package auth_test

import (
	"testing"

	"github.com/parlordb/parlor/auth"
)

// TestSessionStamps: a session is of what vouched for its user as it did then.
func TestSessionStamps(t *testing.T) {
	t.Parallel()
	stamped := func(stamps map[string]string) func(*auth.SessionOptions) {
		return func(o *auth.SessionOptions) { o.Stamps = stamps }
	}
	c := newSessions(t, stamped(map[string]string{"clinic": "1", "hmac:k": "2", "": "x"}))
	byKey := auth.NewSession{Who: auth.Identity{Name: "eve", Roles: []string{"_admin"}, Method: "jwt", Credential: "hmac:k"}}
	copied := foreign("eve")
	copied.Who.Method, copied.Who.Credential, copied.Source = "cookie", "session:x", "clinic"
	secrets := map[string]string{}
	for what, n := range map[string]auth.NewSession{"password": local("anna"), "provider": foreign("eve"), "key": byKey, "copy": copied} {
		secrets[what], _ = c.create(t, n)
	}
	for _, tt := range []struct {
		what   string
		stamps map[string]string
		good   []string
	}{
		{"as it was", map[string]string{"clinic": "1", "hmac:k": "2"}, []string{"password", "provider", "key", "copy"}},
		{"another key", map[string]string{"clinic": "1", "hmac:k": "3"}, []string{"password", "provider", "copy"}},
		{"no key", map[string]string{"clinic": "1", "hmac:l": "2"}, []string{"password", "provider", "copy"}},
		{"another provider of the name", map[string]string{"clinic": "2", "hmac:k": "2"}, []string{"password", "key"}},
		{"nothing", nil, []string{"password"}},
	} {
		c.configure(t, stamped(tt.stamps))
		good := map[string]bool{}
		for _, what := range tt.good {
			good[what] = true
		}
		for what, secret := range secrets {
			if id, err := c.with(secret); (err == nil && id.Name != "") != good[what] {
				t.Errorf("%s: of a %s: %+v, %v", tt.what, what, id, err)
			}
		}
	}
}

// TestSessionOfANameThatIsTakenLater: whom a provider vouches for is nobody else, whoever gets the name here.
func TestSessionOfANameThatIsTakenLater(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	unknown, _ := c.create(t, foreign("eve"))
	c.users.Put(auth.User{Name: "bob"})
	known, _ := c.create(t, foreign("bob"))
	for _, secret := range []string{unknown, known} {
		if id, err := c.with(secret); err != nil || id.Name == "" {
			t.Fatalf("%+v, %v", id, err)
		}
	}
	c.users.Put(auth.User{Name: "eve"})
	c.wantNone(t, "another user has the name", unknown)
	c.users.Put(auth.User{Name: "bob", Admin: true})
	c.wantNone(t, "a server admin has the name", known)
}

// TestSessionOfALink: whom a provider vouches for by a link is nobody when the link is gone, whether or not somebody got to end the session.
func TestSessionOfALink(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	link := auth.ForeignIdentity{Issuer: "https://id.example", Subject: "1"}
	linked := func(name string) auth.NewSession {
		n := foreign(name)
		n.Issuer = link.Issuer
		return n
	}
	c.users.Put(auth.User{Name: "eve", Identities: []auth.ForeignIdentity{{Issuer: link.Issuer, Subject: "2"}, link}})
	eves, _ := c.create(t, linked("eve"))
	strangers, _ := c.create(t, linked("zoe"))
	c.wantUser(t, "linked", eves, "eve")
	c.users.Put(auth.User{Name: "eve", Identities: []auth.ForeignIdentity{{Issuer: link.Issuer, Subject: "2"}, {Issuer: "https://other.example", Subject: "1"}}})
	c.wantNone(t, "without the link", eves)
	late, _ := c.create(t, linked("eve"))
	c.wantNone(t, "of a login that was under way", late)
	c.wantUser(t, "of somebody who needs no entry", strangers, "zoe")
	if n, err := c.Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("%d swept, %v", n, err)
	}
}

// TestSessionOfATokenNotTaken: where bearer tokens are not taken, neither is what was traded for one.
func TestSessionOfATokenNotTaken(t *testing.T) {
	t.Parallel()
	c := newSessions(t, nil)
	login := foreign("zoe")
	login.Who.Method = "oidc"
	traded, _ := c.create(t, foreign("zoe"))
	byLogin, _ := c.create(t, login)
	byPassword, _ := c.create(t, local("anna"))
	c.configure(t, func(o *auth.SessionOptions) { o.NoTokens = true })
	c.wantNone(t, "traded for a token", traded)
	c.wantUser(t, "of a login", byLogin, "zoe")
	c.wantUser(t, "of a password", byPassword, "anna", "dev", "ops")
}
