package password

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// ParseAdmin reads a value of [admins]: "-hashed-KEY,SALT", "-pbkdf2-KEY,SALT,ITERATIONS", "-pbkdf2:PRF-…", and, beyond CouchDB,
// "-argon2id-KEY,SALT,MEMORY,TIME,PARALLELISM". ok is false for anything else, which is a plaintext password;
// a recognised prefix with bad fields is ErrBadHash (ok is true then: such a value must not be taken for a plaintext). A prefix with an
// unknown prf is not recognised (spec §7.1).
func ParseAdmin(value string) (h Hash, ok bool, err error) {
	if fields, found := strings.CutPrefix(value, "-hashed-"); found {
		h, err = parseFields(Hash{Scheme: Simple}, fields, 2)
		return h, true, err
	}
	if fields, found := strings.CutPrefix(value, "-argon2id-"); found {
		h, err = parseFields(Hash{Scheme: Argon2id}, fields, 5)
		return h, true, err
	}
	rest, found := strings.CutPrefix(value, "-pbkdf2")
	if !found {
		return Hash{}, false, nil
	}
	if fields, old := strings.CutPrefix(rest, "-"); old {
		h, err = parseFields(Hash{Scheme: PBKDF2, PRF: "sha"}, fields, 3)
		return h, true, err
	}
	prf, fields, found := strings.Cut(strings.TrimPrefix(rest, ":"), "-")
	if _, known := prfs[prf]; !found || !known || !strings.HasPrefix(rest, ":") {
		return Hash{}, false, nil
	}
	h, err = parseFields(Hash{Scheme: PBKDF2, PRF: prf}, fields, 3)
	return h, true, err
}

// parseFields fills in key, salt and the numbers that h's scheme has. Empty fields count for nothing, as in CouchDB.
func parseFields(h Hash, text string, want int) (Hash, error) {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
	if len(fields) != want {
		return Hash{}, fmt.Errorf("%w: %d fields where there should be %d", ErrBadHash, len(fields), want)
	}
	h.Key, h.Salt = fields[0], fields[1]
	if _, err := hex.DecodeString(h.Key); err != nil || h.Key != strings.ToLower(h.Key) {
		return Hash{}, fmt.Errorf("%w: the key is not lower-case hex", ErrBadHash)
	}
	var numbers [3]int
	for i, field := range fields[2:] {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return Hash{}, fmt.Errorf("%w: what it costs is not a positive number", ErrBadHash)
		}
		numbers[i] = n
	}
	switch h.Scheme {
	case PBKDF2:
		h.Iterations = numbers[0]
	case Argon2id:
		h.Argon2 = Argon2{Memory: numbers[0], Time: numbers[1], Parallelism: numbers[2]}
		if err := h.Argon2.check(); err != nil {
			return Hash{}, fmt.Errorf("%w: %w", ErrBadHash, err)
		}
	}
	return h, nil
}

// FormatAdmin writes what ParseAdmin reads. SimplePBKDF2 has no such form: the result is "" then.
func FormatAdmin(h Hash) string {
	switch h.Scheme {
	case Simple:
		return "-hashed-" + h.Key + "," + h.Salt
	case PBKDF2:
		prf := h.PRF
		if prf == "" {
			prf = "sha"
		}
		return "-pbkdf2:" + prf + "-" + h.Key + "," + h.Salt + "," + strconv.Itoa(h.Iterations)
	case Argon2id:
		return fmt.Sprintf("-argon2id-%s,%s,%d,%d,%d", h.Key, h.Salt, h.Argon2.Memory, h.Argon2.Time, h.Argon2.Parallelism)
	default:
		return ""
	}
}
