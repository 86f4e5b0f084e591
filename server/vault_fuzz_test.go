package server

import (
	"testing"

	"github.com/parlordb/parlor/livesync"
)

// FuzzVaultNames: whatever pattern is taken, no database is one that two users may make, and each name that a user may make can be a database's.
func FuzzVaultNames(f *testing.F) {
	for _, pattern := range []string{"{user}-*", "{user}", "{user}/*-x", "v{user}+*", "vault/{user}$*"} {
		f.Add(pattern, "ann", "ann-b", "notes")
		f.Add(pattern, "a", "a-b", "-b-notes")
		f.Add(pattern, "u@x", "40x", "x")
		f.Add(pattern, "", "Ä\xff", "")
	}
	f.Fuzz(func(t *testing.T, pattern, one, other, rest string) {
		v, err := newVaultSettings(settingsOf(t, "pattern = "+pattern))
		if err != nil || v.off || one == other {
			return
		}
		name := v.prefix + livesync.VaultPrefix(one) + v.infix + rest + v.suffix
		if !v.any {
			name = v.prefix + livesync.VaultPrefix(one) + v.infix
		}
		if v.of(one, name) && v.of(other, name) {
			t.Errorf("under %q the name %q is both %q's and %q's", pattern, name, one, other)
		}
		if v.of(one, name) && len(name) <= maxDatabaseName && databaseName.MatchString("x"+rest) && checkDatabaseName(name) != nil {
			t.Errorf("under %q the name %q of %q is no database's", pattern, name, one)
		}
	})
}
