package auth

import (
	"crypto/hmac"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	totpStep  = 30 * time.Second
	minTOTP   = 10      // bytes of a key: what common apps make
	maxTOTP   = 1024    // characters of a key
	totpKept  = 10      // steps that are remembered beyond those that are taken, for clocks that are set back
	maxUsed   = 100_000 // remembered codes
	normalLen = 6
)

// TOTPKey is the secret that a user's app makes codes with. The zero TOTPKey matches no code.
type TOTPKey struct {
	secret []byte
	digest digest
	digits int
}

// ParseTOTPKey reads the member "totp" of a CouchDB user (spec §7.7): a key in base32, an algorithm (sha, sha224, sha256, sha384, sha512; "": sha)
// and a length (6, 7 or 8; 0: 6). Blanks, small letters and missing padding in the key are taken. It fails on keys under 80 bits. No error
// shows the key.
func ParseTOTPKey(key, algorithm string, length int) (TOTPKey, error) {
	if algorithm == "" {
		algorithm = "sha"
	}
	if length == 0 {
		length = normalLen
	}
	k := TOTPKey{digits: length}
	for _, d := range digests[:5] { // SHA-1 and SHA-2; truncation needs digests of 20 bytes
		if d.name == algorithm {
			k.digest = d
		}
	}
	if k.digest.new == nil {
		return TOTPKey{}, fmt.Errorf("totp algorithm %q is unknown", algorithm)
	}
	if length < 6 || length > 8 {
		return TOTPKey{}, fmt.Errorf("totp length %d is not 6, 7 or 8", length)
	}
	if len(key) > maxTOTP {
		return TOTPKey{}, errors.New("totp key is too long")
	}
	key = strings.TrimRight(strings.ToUpper(strings.ReplaceAll(key, " ", "")), "=")
	if strings.ContainsAny(key, "\r\n") { // Go's decoder would skip line ends
		return TOTPKey{}, errors.New("totp key is not base32")
	}
	var err error
	if k.secret, err = base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key); err != nil {
		return TOTPKey{}, errors.New("totp key is not base32")
	}
	if len(k.secret) < minTOTP {
		return TOTPKey{}, fmt.Errorf("totp key is shorter than %d bytes", minTOTP)
	}
	return k, nil
}

// code is RFC 4226 §5.3 for a counter.
func (k *TOTPKey) code(step int64) string {
	mac := hmac.New(k.digest.new, k.secret)
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	text := fmt.Sprintf("%010d", n)
	return text[len(text)-k.digits:]
}

// TOTP verifies second factors: time-based one-time passwords (RFC 6238) in steps of 30 seconds. The code of the present step is taken and, for clocks
// that differ, those of the one before and the one after; each once (§5.2), which is remembered in this process's memory. The zero TOTP is ready for
// use. It is safe for concurrent use.
//
// Six digits can be guessed: the caller counts what Verify refuses towards the user's [Lockout].
type TOTP struct {
	Now func() time.Time // nil: time.Now; not to be changed once in use

	mu   sync.Mutex
	used map[int64]map[string]struct{} // users by the step whose code they have used
	n    int                           // how many in all
}

// Verify checks a user's code and uses it up. It fails with a *Refusal: 401 with the text of a wrong password, whatever is wrong; 503 when too many
// codes have been used in the last minutes to remember one more.
func (t *TOTP) Verify(user string, key TOTPKey, code string) error {
	now := time.Now
	if t.Now != nil {
		now = t.Now
	}
	step := now().Unix() / int64(totpStep/time.Second)
	if key.digits == 0 || user == "" {
		return incorrect()
	}
	matches := [3]int{}
	for i := range matches {
		matches[i] = subtle.ConstantTimeCompare([]byte(key.code(step-1+int64(i))), []byte(code))
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(step)
	for i, match := range matches {
		at := step - 1 + int64(i)
		if _, used := t.used[at][user]; match != 1 || used {
			continue
		}
		if t.n >= maxUsed {
			return &Refusal{
				Status: http.StatusServiceUnavailable, Kind: "service_unavailable", Reason: "Too many sign-ons. Try again.",
				Header: http.Header{"Retry-After": {"30"}},
			}
		}
		if t.used[at] == nil {
			if t.used == nil {
				t.used = make(map[int64]map[string]struct{})
			}
			t.used[at] = make(map[string]struct{})
		}
		t.used[at][strings.Clone(user)] = struct{}{} // not with the text that it was cut from, which may hold the password
		t.n++
		return nil
	}
	return incorrect()
}

// forget drops the steps that are long gone. They are few: the map has one entry for each.
func (t *TOTP) forget(step int64) {
	for at, users := range t.used {
		if at < step-totpKept {
			t.n -= len(users)
			delete(t.used, at)
		}
	}
}
