package livesync_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/parlordb/parlor/livesync"
)

func TestVaultPrefix(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"":                  "",
		"alice":             "alice",
		"alice2":            "alice2",
		"Alice":             "u__41lice",
		"alice.b":           "alice_2eb",
		"alice-b":           "alice_2db",
		"alice_b":           "alice_5fb",
		"alice@example.org": "alice_40example_2eorg",
		"2pac":              "u_2pac",
		"7":                 "u_7",
		"éa":                "u__c3_a9a",
		"-a":                "u__2da",
		"\x00":              "u__00",
		"\xff":              "u__ff",
		"u@x":               "u_40x",
		"40x":               "u__340x", // not u_40x, which is the user u@x
		"61":                "u_61",    // no escape: "a" stands for itself
		"u":                 "u",
		"u_":                "u_5f",
		"5f":                "u__35f",
	} {
		if got := livesync.VaultPrefix(user); got != want {
			t.Errorf("VaultPrefix(%q) = %q, want %q", user, got, want)
		}
	}
}

// legalName is CouchDB's rule for the names of databases.
var legalName = regexp.MustCompile(`^[a-z][a-z0-9_$()+/-]*$`)

// hostile makes names whose escapes are as alike as can be.
func hostile() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringOfN(rapid.RuneFrom([]rune("uU_-0415faz@ .é")), 1, 6, -1), rapid.StringMatching(`u?_?[0-9a-f]{0,3}[@_]?`), rapid.String())
}

func TestVaultPrefixTellsUsersApart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		one, other := hostile().Draw(t, "one"), hostile().Draw(t, "other")
		p, q := livesync.VaultPrefix(one), livesync.VaultPrefix(other)
		if one != "" && !legalName.MatchString(p) {
			t.Fatalf("%q is no beginning of a database's name", p)
		}
		if strings.Contains(p, "-") {
			t.Fatalf("%q holds the separator", p)
		}
		if one != other && (p == q || strings.HasPrefix(p+"-", q+"-")) {
			t.Fatalf("%q and %q have the prefixes %q and %q", one, other, p, q)
		}
	})
}

// TestVaultPrefixOfShortNames compares all names of up to three bytes out of those that prefixes treat differently.
func TestVaultPrefixOfShortNames(t *testing.T) {
	t.Parallel()
	const bytes = "\x00\x0a\x1f+-./01234569:@AUZ_`abcfguz{\x7f\x80\xaf\xff"
	seen := map[string]string{}
	var add func(name string)
	add = func(name string) {
		p := livesync.VaultPrefix(name)
		if other, taken := seen[p]; taken {
			t.Fatalf("%q and %q have the same prefix %q", name, other, p)
		}
		seen[p] = name
		for i := range len(bytes) {
			if len(name) < 3 {
				add(name + bytes[i:i+1])
			}
		}
	}
	add("")
}
