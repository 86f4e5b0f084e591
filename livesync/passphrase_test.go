package livesync_test

import (
	"regexp"
	"testing"

	"github.com/parlordb/parlor/livesync"
)

func TestPassphrases(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func() string
		form string
	}{
		"URI":   {livesync.URIPassphrase, `^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){3}$`},   // 80 bits
		"vault": {livesync.VaultPassphrase, `^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){6}$`}, // 140 bits
	} {
		form, seen, letters := regexp.MustCompile(c.form), map[string]bool{}, map[rune]bool{}
		for range 200 {
			p := c.make()
			if !form.MatchString(p) || seen[p] {
				t.Fatalf("%s: %q", name, p)
			}
			seen[p] = true
			for _, letter := range p {
				letters[letter] = true
			}
		}
		if len(letters) != 33 {
			t.Errorf("%s: %d different characters in 200 passphrases, want 32 and the hyphen", name, len(letters))
		}
	}
}
