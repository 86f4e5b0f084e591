package main

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
)

// TestSessionsOfOthersWord: what no longer vouches for users, or does so otherwise, leaves no session behind, and none comes back with it.
func TestSessionsOfOthersWord(t *testing.T) {
	t.Parallel()
	const clinic = `
[oidc:clinic]
issuer = http://127.0.0.1:1
insecure = true
allow_private = true
client_id = parlor
allow_server_admin = true
unknown_users = allow
user_prefix = clinic.
[jwt_keys]
hmac:k = c2VjcmV0
hmac:other = b3RoZXI=
`
	noTokens := []string{"[jwt_keys]", "[chttpd]\nauthentication_handlers = {chttpd_auth, cookie_authentication_handler}, {chttpd_auth, default_authentication_handler}\n[jwt_keys]"}
	for what, c := range map[string]struct {
		source  string
		change  []string // of the settings: old and new
		survive bool
	}{
		"provider, another issuer":   {"clinic", []string{"127.0.0.1:1", "127.0.0.1:2"}, false},
		"provider, fewer rights":     {"clinic", []string{"allow_server_admin = true", ""}, false},
		"provider, another audience": {"clinic", []string{"client_id = parlor", "client_id = another"}, false},
		"provider, stricter":         {"clinic", []string{"client_id", "required_claims = {hd, \"x\"}\nclient_id"}, false},
		"provider, gone":             {"clinic", []string{"issuer =", "was ="}, false},
		"provider, another label":    {"clinic", []string{"client_id", "label = Ours\nclient_id"}, true},
		"provider, another key gone": {"clinic", []string{"hmac:k", "hmac:l"}, true},
		"provider, issuer beside it": {"clinic", []string{"[jwt_keys]", "[jwt_issuer:clinic]\nissuer = http://127.0.0.1:1\ninsecure = true\nallow_private = true\naudience = x\n[jwt_keys]"}, false},
		"key gone":                   {"hmac:k", []string{"hmac:k", "hmac:l"}, false},
		"key replaced":               {"hmac:k", []string{"c2VjcmV0", "c2VjcmV1"}, false},
		"key, stricter":              {"hmac:k", []string{"[jwt_keys]", "[jwt_auth]\nrequired_claims = {iss, \"x\"}\n[jwt_keys]"}, false},
		"key, no tokens at all":      {"hmac:k", noTokens, false},
		"provider, no tokens at all": {"clinic", noTokens, false},
		"key, another gone":          {"hmac:k", []string{"hmac:other", "hmac:another"}, true},
		"key, provider gone":         {"hmac:k", []string{"issuer =", "was ="}, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for _, restart := range []bool{false, true} {
				w := wire(t)
				before := snapshot(t, basicSettings+clinic)
				after := snapshot(t, basicSettings+strings.Replace(clinic, c.change[0], c.change[1], 1))
				if err := w.apply(before); err != nil {
					t.Fatal(err)
				}
				who := auth.Identity{Name: "eve", Roles: []string{"_admin"}, Method: "jwt", Provider: "clinic", Credential: "issuer:clinic:1"}
				if c.source != "clinic" {
					who.Provider, who.Credential = "", c.source
				}
				_, made, err := w.sessions.Create(t.Context(), auth.NewSession{Who: who, Subject: "1"})
				if err != nil {
					t.Fatal(err)
				}
				if restart {
					w.snapshot = nil // as if nothing had been in force before
				}
				if err := w.apply(after); err != nil {
					t.Fatal(err)
				}
				if _, err := w.sessions.Check(t.Context(), made.ID); (err == nil) != c.survive || err != nil && !errors.Is(err, auth.ErrNoRecord) {
					t.Errorf("restart %v: %v", restart, err)
				}
				if restart {
					continue
				}
				if err := w.apply(before); err != nil {
					t.Fatal(err)
				}
				if _, err := w.sessions.Check(t.Context(), made.ID); (err == nil) != c.survive {
					t.Errorf("when all is as it was: %v", err)
				}
			}
		})
	}
}

// TestStampsStay: as long as the settings are the same, so are the stamps, also where an issuer and a provider have one name.
func TestStampsStay(t *testing.T) {
	t.Parallel()
	w := wire(t)
	settings := snapshot(t, basicSettings+`
[oidc:clinic]
issuer = http://127.0.0.1:1
insecure = true
allow_private = true
client_id = parlor
[jwt_issuer:clinic]
issuer = http://127.0.0.1:1
insecure = true
allow_private = true
audience = other
`)
	if err := w.apply(settings); err != nil {
		t.Fatal(err)
	}
	first := w.stamps()
	for range 20 {
		if now := w.stamps(); len(now) != 1 || !maps.Equal(first, now) {
			t.Fatalf("%v, then %v", first, now)
		}
	}
}
