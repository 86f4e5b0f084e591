package livesync

import (
	"crypto/rand"
	"strings"
)

// passphraseAlphabet is Crockford's base 32: no two characters of it look alike, and a phone types them without Shift.
const passphraseAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// URIPassphrase makes the passphrase of a Setup URI: 80 random bits, as four groups of letters and digits with hyphens between. It is typed
// once, on the device.
func URIPassphrase() string { return passphrase(4) }

// VaultPassphrase makes the passphrase that a vault is encrypted with from end to end: 140 random bits, as seven groups.
func VaultPassphrase() string { return passphrase(7) }

// passphrase makes so many groups of four characters, 20 bits each.
func passphrase(groups int) string {
	random := make([]byte, 4*groups)
	rand.Read(random) // never fails
	var b strings.Builder
	for i, r := range random {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(passphraseAlphabet[r%32])
	}
	return b.String()
}
