// Package password makes, checks and reads password hashes in CouchDB's schemes, and in Argon2id.
//
// A [Hash] is what a directory stores of a password: a [Scheme], its parameters, a salt and a key. A [Policy] says how new
// hashes are made and which old ones are still taken:
//
//	var policy password.Policy // PBKDF2 with SHA-256, 600,000 iterations
//	h, err := policy.New("correct horse", "")
//	…
//	err = policy.Verify(h, "correct horse")
//
// Verify is slow on purpose: about 100 ms of one core under the default policy. A server that checks the same password at each
// request wants the cache of auth.Passwords in front of it, and a bound on how many run at once.
//
// When a hash that verified is [Policy.Outdated], make it anew with the password just given and its own salt: cookies are signed
// with the salt, so sessions survive the upgrade.
//
// [Argon2id] makes guessing much dearer than PBKDF2 does in the same time, for it needs memory too: 19 MiB for each hash under way. CouchDB cannot read
// such hashes, so it is for users who will never be replicated there.
//
// [ParseAdmin] and [FormatAdmin] read and write the one-line form of the [admins] section of CouchDB's configuration.
//
// The primitives are the standard library's and golang.org/x/crypto's. All functions may be called concurrently.
package password

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// Errors that callers branch on; their texts are CouchDB's.
var (
	//lint:ignore ST1005 CouchDB's text
	ErrMismatch = errors.New("Name or password is incorrect.")
	//lint:ignore ST1005 CouchDB's text
	ErrIterLow = errors.New("Iteration count is too low for this server")
	//lint:ignore ST1005 CouchDB's text
	ErrIterHigh = errors.New("Iteration count is too high for this server")
	ErrPRF      = errors.New("PRF is invalid")
	ErrBadHash  = errors.New("malformed password hash")
)

// ErrScheme is New's answer to a Policy whose Scheme is none of the constants.
var ErrScheme = errors.New("unknown password scheme")

// Scheme names how a hash is made.
type Scheme string

const (
	Simple       Scheme = "simple"        // hex(SHA1(password ‖ salt))
	PBKDF2       Scheme = "pbkdf2"        // hex(PBKDF2(prf, password, salt, iterations))
	SimplePBKDF2 Scheme = "simple+pbkdf2" // PBKDF2 over the hex text of the simple hash
	Argon2id     Scheme = "argon2id"      // hex(Argon2id(password, salt, memory, time, parallelism)), RFC 9106 with a key of 32 bytes; not in CouchDB
)

// Hash is a stored password. The zero Hash matches no password. In a user's document the members of an Argon2id hash are password_scheme, salt, derived_key,
// argon2_memory, argon2_time and argon2_parallelism.
type Hash struct {
	Scheme     Scheme
	PRF        string // "sha", "sha224", "sha256", "sha384", "sha512"; pbkdf2 schemes only
	Iterations int    // pbkdf2 schemes only
	Argon2     Argon2 // Argon2id only
	Salt       string // used as raw bytes
	Key        string // lower-case hex
}

// Policy says how new hashes are made and which old ones are taken.
type Policy struct {
	Scheme                       Scheme // "": PBKDF2
	PRF                          string // "": sha256
	Iterations                   int    // 0: 600000
	MinIterations, MaxIterations int    // 0: 1 and 1,000,000,000
	Argon2                       Argon2 // Argon2id only
}

// prfs are the digests that a PBKDF2 hash may name.
var prfs = map[string]func() hash.Hash{
	"sha":    sha1.New,
	"sha224": sha256.New224,
	"sha256": sha256.New,
	"sha384": sha512.New384,
	"sha512": sha512.New,
}

func (p Policy) withDefaults() Policy {
	if p.Scheme == "" {
		p.Scheme = PBKDF2
	}
	if p.PRF == "" {
		p.PRF = "sha256"
	}
	if p.Iterations == 0 {
		p.Iterations = 600_000
	}
	if p.MinIterations == 0 {
		p.MinIterations = 1
	}
	if p.MaxIterations == 0 {
		p.MaxIterations = 1_000_000_000
	}
	p.Argon2 = p.Argon2.withDefaults()
	return p
}

// New hashes a password under p, with the given salt or, for "", a fresh one of 32 hex digits.
// It fails with ErrScheme or ErrPRF when p names what does not exist, and with ErrIterLow, ErrIterHigh or ErrArgon2 when p would not take its own hash.
func (p Policy) New(password, salt string) (Hash, error) {
	p = p.withDefaults()
	if salt == "" {
		salt = NewSalt()
	}
	h, err := p.blank(salt)
	if err != nil {
		return Hash{}, err
	}
	key, err := p.derive(h, password)
	if err != nil {
		return Hash{}, err
	}
	h.Key = key
	return h, nil
}

// blank is a hash of p's scheme and parameters, without a key. p has its defaults.
func (p Policy) blank(salt string) (Hash, error) {
	h := Hash{Scheme: p.Scheme, Salt: salt}
	switch p.Scheme {
	case Simple:
	case PBKDF2, SimplePBKDF2:
		h.PRF, h.Iterations = p.PRF, p.Iterations
	case Argon2id:
		h.Argon2 = p.Argon2
	default:
		return h, fmt.Errorf("%w %q", ErrScheme, p.Scheme)
	}
	return h, nil
}

// Verify compares in constant time. It fails with ErrMismatch, ErrIterLow, ErrIterHigh, ErrPRF, ErrArgon2 or ErrBadHash.
// An empty PRF means "sha", as in a user document without one.
func (p Policy) Verify(h Hash, password string) error {
	key, err := p.withDefaults().derive(h, password)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(key), []byte(h.Key)) != 1 {
		return ErrMismatch
	}
	return nil
}

// Outdated reports whether a hash that verified should be made anew under p (spec §7.5): its scheme or that scheme's parameters are not
// exactly p's, be they weaker or stronger.
func (p Policy) Outdated(h Hash) bool {
	p = p.withDefaults()
	switch {
	case h.Scheme != p.Scheme:
		return true
	case h.Scheme == Simple:
		return false
	case h.Scheme == Argon2id:
		return h.Argon2 != p.Argon2
	default:
		return h.Iterations != p.Iterations || h.PRF != p.PRF
	}
}

// Decoy returns a hash that no password matches and that takes as long to verify as one made under p. Checking it for a name that
// does not exist hides that it does not.
func (p Policy) Decoy() Hash {
	h, _ := p.withDefaults().blank(NewSalt()) // under an unknown scheme it is as unknown
	return h
}

// NewSalt returns 32 random hex digits.
func NewSalt() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// derive computes the key that h would hold if it was made of password. p has its defaults.
func (p Policy) derive(h Hash, password string) (string, error) {
	switch h.Scheme {
	case Simple:
		return simple(password, h.Salt), nil
	case Argon2id:
		return h.Argon2.derive(password, h.Salt)
	case SimplePBKDF2:
		password = simple(password, h.Salt)
	case PBKDF2:
	default:
		return "", ErrBadHash
	}
	switch {
	case h.Iterations < p.MinIterations || h.Iterations < 1:
		return "", ErrIterLow
	case h.Iterations > p.MaxIterations:
		return "", ErrIterHigh
	}
	name := h.PRF
	if name == "" {
		name = "sha"
	}
	digest, ok := prfs[name]
	if !ok {
		return "", ErrPRF
	}
	key, err := pbkdf2.Key(digest, password, []byte(h.Salt), h.Iterations, digest().Size())
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrPRF, err) // FIPS mode refuses some
	}
	return hex.EncodeToString(key), nil
}

func simple(password, salt string) string {
	b := make([]byte, 0, len(password)+len(salt))
	sum := sha1.Sum(append(append(b, password...), salt...))
	return hex.EncodeToString(sum[:])
}
