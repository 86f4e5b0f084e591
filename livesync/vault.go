package livesync

import (
	"fmt"
	"strings"
)

// VaultPrefix is what stands for a user in the names of that user's databases. Every byte outside a–z and 0–9 becomes "_" and two lower-case
// hexadecimal digits, and a first byte outside a–z is preceded by "u_". A first digit that would then read as the escape of another user's
// second byte is escaped too: "u@x" is u_40x, so "40x" is u__340x.
//
// It is a legal beginning of a database's name and no two users have the same. It holds no "-", so that with "-" behind it none begins
// another's. The prefix of "" is "".
func VaultPrefix(user string) string {
	if user == "" {
		return ""
	}
	var b strings.Builder
	for i := range len(user) {
		c := user[i]
		escaped := !unescaped(c)
		if i == 0 && (c < 'a' || c > 'z') {
			b.WriteString("u_")
			escaped = escaped || readsAsEscape(user)
		}
		if escaped {
			fmt.Fprintf(&b, "_%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescaped reports whether a byte stands for itself in a prefix.
func unescaped(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// readsAsEscape reports whether a name begins with the two digits of a byte that is escaped.
func readsAsEscape(name string) bool {
	if len(name) < 2 {
		return false
	}
	high, low := strings.IndexByte(hexDigits, name[0]), strings.IndexByte(hexDigits, name[1])
	return high >= 0 && low >= 0 && !unescaped(byte(high<<4|low))
}

const hexDigits = "0123456789abcdef"
