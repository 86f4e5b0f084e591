// Package password makes, checks and reads password hashes in CouchDB's schemes.
//
// (The manual goes here.)
package password

import "errors"

// Errors that callers branch on; their texts are CouchDB's.
var (
	ErrMismatch = errors.New("Name or password is incorrect.")
	ErrIterLow  = errors.New("Iteration count is too low for this server")
	ErrIterHigh = errors.New("Iteration count is too high for this server")
	ErrPRF      = errors.New("PRF is invalid")
	ErrBadHash  = errors.New("malformed password hash")
)

// Scheme names how a hash is made.
type Scheme string

const (
	Simple       Scheme = "simple"        // hex(SHA1(password ‖ salt))
	PBKDF2       Scheme = "pbkdf2"        // hex(PBKDF2(prf, password, salt, iterations))
	SimplePBKDF2 Scheme = "simple+pbkdf2" // PBKDF2 over the hex text of the simple hash
)

// Hash is a stored password. The zero Hash matches no password.
type Hash struct {
	Scheme     Scheme
	PRF        string // "sha", "sha224", "sha256", "sha384", "sha512"; pbkdf2 schemes only
	Iterations int
	Salt       string // used as raw bytes
	Key        string // lower-case hex
}

// Policy says how new hashes are made and which old ones are taken.
type Policy struct {
	Scheme                       Scheme // "": PBKDF2
	PRF                          string // "": sha256
	Iterations                   int    // 0: 600000
	MinIterations, MaxIterations int    // 0: 1 and 1,000,000,000
}

// New hashes a password under p, with the given salt or, for "", a fresh one of 32 hex digits.
func (p Policy) New(password, salt string) (Hash, error) { panic("todo") }

// Verify compares in constant time. It fails with ErrMismatch, ErrIterLow, ErrIterHigh, ErrPRF or ErrBadHash.
func (p Policy) Verify(h Hash, password string) error { panic("todo") }

// Outdated reports whether a hash that verified should be made anew under p (spec §7.5).
func (p Policy) Outdated(h Hash) bool { panic("todo") }

// ParseAdmin reads a value of [admins]: "-hashed-…", "-pbkdf2-…", "-pbkdf2:prf-…". ok is false for anything else, which is a plaintext password;
// a recognised prefix with bad fields is ErrBadHash.
func ParseAdmin(value string) (h Hash, ok bool, err error) { panic("todo") }

// FormatAdmin writes what ParseAdmin reads.
func FormatAdmin(h Hash) string { panic("todo") }
