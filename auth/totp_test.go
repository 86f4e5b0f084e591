package auth_test

import (
	"encoding/base32"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

const totpSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // "12345678901234567890"

func totpKey(t *testing.T, key, algorithm string, length int) auth.TOTPKey {
	t.Helper()
	k, err := auth.ParseTOTPKey(key, algorithm, length)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// totpAt is a verifier whose clock stands at so many seconds.
func totpAt(seconds int64) *auth.TOTP {
	return &auth.TOTP{Now: func() time.Time { return time.Unix(seconds, 0) }}
}

func TestParseTOTPKeyRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, key, algorithm string
		length               int
	}{
		{"no key", "", "", 0},
		{"short key", "GEZDGNBVGY3TQOI=", "", 0},
		{"not base32", "01890189018901890189", "", 0},
		{"line end", "GEZDGNBVGY3TQOJQ\nGEZDGNBVGY3TQOJQ", "", 0},
		{"padding inside", "GEZDGNBV=Y3TQOJQ", "", 0},
		{"too long", strings.Repeat("A", 2000), "", 0},
		{"md5 is too short to truncate", totpSecret, "md5", 0},
		{"unknown algorithm", totpSecret, "SHA1", 0},
		{"sha3", totpSecret, "sha3_256", 0},
		{"five digits", totpSecret, "sha", 5},
		{"nine digits", totpSecret, "sha", 9},
		{"negative", totpSecret, "sha", -6},
	}
	for _, tt := range tests {
		_, err := auth.ParseTOTPKey(tt.key, tt.algorithm, tt.length)
		if err == nil {
			t.Errorf("%s: taken", tt.name)
		} else if tt.key != "" && strings.Contains(err.Error(), tt.key) {
			t.Errorf("%s: the error shows the key", tt.name)
		}
	}
}

func TestTOTPRefuses(t *testing.T) {
	t.Parallel()
	key := totpKey(t, totpSecret, "", 0)
	tests := []struct {
		name string
		now  int64
		user string
		key  auth.TOTPKey
		code string
	}{
		{"no code", 59, "anna", key, ""},
		{"wrong code", 59, "anna", key, "287083"},
		{"more digits", 59, "anna", key, "94287082"},
		{"blank before", 59, "anna", key, " 287082"},
		{"other digits", 59, "anna", key, "２８７０８２"},
		{"of two steps ago", 90, "anna", key, "287082"},
		{"of the step after the next", -31, "anna", key, "287082"},
		{"no user", 59, "", key, "287082"},
		{"zero key, empty code", 59, "anna", auth.TOTPKey{}, ""},
	}
	for _, tt := range tests {
		err := totpAt(tt.now).Verify(tt.user, tt.key, tt.code)
		refusal, ok := errors.AsType[*auth.Refusal](err)
		if !ok || refusal.Status != 401 || refusal.Reason != "Name or password is incorrect." {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestTOTPVectors holds RFC 6238 appendix B, whose codes have 8 digits, and with them the vector of spec §16.
func TestTOTPVectors(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("1234567890", 7)
	keys := map[string]string{"sha": digits[:20], "sha256": digits[:32], "sha512": digits[:64]}
	tests := []struct {
		time             int64
		sha1, sha2, sha5 string
	}{
		{59, "94287082", "46119246", "90693936"},
		{1111111109, "07081804", "68084774", "25091201"},
		{1111111111, "14050471", "67062674", "99943326"},
		{1234567890, "89005924", "91819424", "93441116"},
		{2000000000, "69279037", "90698825", "38618901"},
		{20000000000, "65353130", "77737706", "47863826"},
	}
	for _, tt := range tests {
		for algorithm, code := range map[string]string{"sha": tt.sha1, "sha256": tt.sha2, "sha512": tt.sha5} {
			encoded := base32.StdEncoding.EncodeToString([]byte(keys[algorithm]))
			for length := 6; length <= 8; length++ {
				key := totpKey(t, encoded, algorithm, length)
				for _, skew := range []int64{-30, 0, 30} {
					if err := totpAt(tt.time+skew).Verify("anna", key, code[8-length:]); err != nil {
						t.Errorf("%s, %d digits, at %d%+d: %v", algorithm, length, tt.time, skew, err)
					}
				}
			}
		}
	}
}

func TestTOTPKeysAsAppsShowThem(t *testing.T) {
	t.Parallel()
	for _, key := range []string{totpSecret, strings.ToLower(totpSecret), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"} {
		if err := totpAt(59).Verify("anna", totpKey(t, key, "sha", 6), "287082"); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range []string{"GEZDGNBVGY3TQOJQGE", "GEZDGNBVGY3TQOJQGE======"} { // "12345678901"
		totpKey(t, key, "", 0)
	}
}

func TestTOTPCodeIsUsedOnce(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	clock.Advance(time.Unix(59, 0).Sub(clock.Now()))
	v := &auth.TOTP{Now: clock.Now}
	key := totpKey(t, totpSecret, "", 0)
	must := func(user, code string, want bool) {
		t.Helper()
		if err := v.Verify(user, key, code); (err == nil) != want {
			t.Errorf("%s at %d: %v", user, clock.Now().Unix(), err)
		}
	}
	must("anna", "287082", true)
	must("anna", "287082", false)
	must("bert", "287082", true) // each user's own
	clock.Advance(30 * time.Second)
	must("anna", "287082", false)
	clock.Advance(90 * time.Second)
	must("bert", "000000", false) // the used step leaves the window
	clock.Advance(-120 * time.Second)
	must("anna", "287082", false) // the clock is set back
	must("anna", "755224", true)  // the step before: RFC 4226 appendix D, count 0
	must("anna", "755224", false)
}

func TestTOTPTakesOneOfManyAtOnce(t *testing.T) {
	t.Parallel()
	v := totpAt(59)
	key := totpKey(t, totpSecret, "", 0)
	var taken atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if v.Verify("anna", key, "287082") == nil {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 1 {
		t.Errorf("one code signed in %d times", n)
	}
}
