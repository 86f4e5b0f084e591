package password

import (
	"encoding/hex"
	"errors"

	"golang.org/x/crypto/argon2"
)

// Argon2 is what an [Argon2id] hash costs (RFC 9106 §3.1). As part of a [Policy] its zero fields stand for 19,456 KiB, 2 passes and 1 lane, the least
// that OWASP recommends: about 20 ms where PBKDF2's default takes 100. In a [Hash] each must be within the bounds.
type Argon2 struct {
	Memory      int // in KiB, from 8 for each lane to 262,144
	Time        int // passes over the memory, from 1 to 16
	Parallelism int // lanes, from 1 to 16; each is computed by a goroutine of its own
}

// ErrArgon2 is the answer to a hash or Policy whose Argon2 parameters are not within the bounds. They are fixed: a directory's entry, which its user may be
// able to write, must not have the server take more memory than it has.
var ErrArgon2 = errors.New("Argon2 parameters are out of range for this server")

const (
	maxArgon2Memory      = 256 << 10
	maxArgon2Time        = 16
	maxArgon2Parallelism = 16

	argon2KeySize = 32
)

func (a Argon2) withDefaults() Argon2 {
	if a.Memory == 0 {
		a.Memory = 19 << 10
	}
	if a.Time == 0 {
		a.Time = 2
	}
	if a.Parallelism == 0 {
		a.Parallelism = 1
	}
	return a
}

// check fails with ErrArgon2.
func (a Argon2) check() error {
	if a.Time < 1 || a.Time > maxArgon2Time || a.Parallelism < 1 || a.Parallelism > maxArgon2Parallelism ||
		a.Memory < 8*a.Parallelism || a.Memory > maxArgon2Memory {
		return ErrArgon2
	}
	return nil
}

// derive computes the key in hex.
func (a Argon2) derive(password, salt string) (string, error) {
	if err := a.check(); err != nil {
		return "", err
	}
	key := argon2.IDKey([]byte(password), []byte(salt), uint32(a.Time), uint32(a.Memory), uint8(a.Parallelism), argon2KeySize)
	return hex.EncodeToString(key), nil
}
