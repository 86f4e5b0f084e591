package password_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth/password"
)

const salt = "7f4a3e05e0cbc6f48a0035e3508eef90"

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	good, err := password.Policy{Iterations: 10}.New("apple", salt)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*password.Hash)) password.Hash {
		h := good
		f(&h)
		return h
	}
	tests := []struct {
		name     string
		policy   password.Policy
		hash     password.Hash
		password string
		want     error
	}{
		{"wrong password", password.Policy{}, good, "apples", password.ErrMismatch},
		{"empty password", password.Policy{}, good, "", password.ErrMismatch},
		{"zero hash, empty password", password.Policy{}, password.Hash{}, "", password.ErrBadHash},
		{"unknown scheme", password.Policy{}, change(func(h *password.Hash) { h.Scheme = "argon3" }), "apple", password.ErrBadHash},
		{"no key", password.Policy{}, change(func(h *password.Hash) { h.Key = "" }), "apple", password.ErrMismatch},
		{"key in upper case", password.Policy{}, change(func(h *password.Hash) { h.Key = strings.ToUpper(h.Key) }), "apple", password.ErrMismatch},
		{"key cut short", password.Policy{}, change(func(h *password.Hash) { h.Key = h.Key[:40] }), "apple", password.ErrMismatch},
		{"other salt", password.Policy{}, change(func(h *password.Hash) { h.Salt = "x" }), "apple", password.ErrMismatch},
		{"too few iterations", password.Policy{MinIterations: 11}, good, "apple", password.ErrIterLow},
		{"no iterations", password.Policy{}, change(func(h *password.Hash) { h.Iterations = 0 }), "apple", password.ErrIterLow},
		{"negative iterations", password.Policy{MinIterations: -5}, change(func(h *password.Hash) { h.Iterations = -1 }), "apple", password.ErrIterLow},
		{"too many iterations", password.Policy{MaxIterations: 9}, good, "apple", password.ErrIterHigh},
		{"above the default maximum", password.Policy{}, change(func(h *password.Hash) { h.Iterations = 1_000_000_001 }), "apple", password.ErrIterHigh},
		{"unknown prf", password.Policy{}, change(func(h *password.Hash) { h.PRF = "md5" }), "apple", password.ErrPRF},
		{"simple without key", password.Policy{}, password.Hash{Scheme: password.Simple, Salt: salt}, "apple", password.ErrMismatch},
	}
	for _, tt := range tests {
		if err := tt.policy.Verify(tt.hash, tt.password); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := (password.Policy{}).Verify(good, "apple"); err != nil {
		t.Errorf("the right password: %v", err)
	}
}

// TestCouchDBVectors holds the hashes of spec §16.
func TestCouchDBVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		policy password.Policy
		want   string
	}{
		{password.Policy{Scheme: password.Simple}, "c6cbbc2d3759a9930f6041ea0096d68c70bb2ea7"},
		{password.Policy{PRF: "sha", Iterations: 10}, "6c1577aac51ea5f9509d1de7db6b9fabd6d6432d"},
		{password.Policy{PRF: "sha256", Iterations: 10}, "02f79d60dca16f5e176f87ff07d14ad3d3f0e3cb7ce598daddac98d37eed68a6"},
		{password.Policy{Scheme: password.SimplePBKDF2, PRF: "sha256", Iterations: 10}, "fca87417728a51464619b2acfceba3fde92ff8c9bd7807015441d0c44374cbc7"},
	}
	for _, tt := range tests {
		h, err := tt.policy.New("apple", salt)
		if err != nil || h.Key != tt.want {
			t.Errorf("%+v: %s, %v, want %s", tt.policy, h.Key, err, tt.want)
		}
		if err := tt.policy.Verify(h, "apple"); err != nil {
			t.Errorf("%+v does not take its own hash: %v", tt.policy, err)
		}
	}
}

// TestRFCVectors holds those of RFC 6070 (SHA-1) and RFC 7914 §11 (SHA-256), but for the one of 16,777,216 iterations, which takes seconds.
// PBKDF2 makes the key digest by digest, so a longer key begins with the shorter one.
func TestRFCVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		prf, password, salt string
		iterations          int
		want                string
	}{
		{"sha", "password", "salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"},
		{"sha", "password", "salt", 2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"},
		{"sha", "password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1"},
		{"sha", "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096, "3d2eec4fe41c849b80c8d83662c0e44a8b291a96"},
		{"sha", "pass\x00word", "sa\x00lt", 4096, "56fa6aa75548099dcc37d7f03425e0c3"},
		{"sha256", "passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"},
		{"sha256", "Password", "NaCl", 80000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"},
	}
	for _, tt := range tests {
		h, err := password.Policy{PRF: tt.prf, Iterations: tt.iterations}.New(tt.password, tt.salt)
		if err != nil || !strings.HasPrefix(h.Key, tt.want) {
			t.Errorf("%s %s %d: %s, %v, want %s", tt.prf, tt.password, tt.iterations, h.Key, err, tt.want)
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for prf, size := range map[string]int{"sha": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64} {
		for _, scheme := range []password.Scheme{password.PBKDF2, password.SimplePBKDF2} {
			p := password.Policy{Scheme: scheme, PRF: prf, Iterations: 2}
			h, err := p.New("pass\x00wörd", "")
			if err != nil {
				t.Fatalf("%s %s: %v", scheme, prf, err)
			}
			if len(h.Key) != 2*size || len(h.Salt) != 32 || h.PRF != prf {
				t.Errorf("%s %s: %+v", scheme, prf, h)
			}
			if _, err := hex.DecodeString(h.Salt); err != nil {
				t.Errorf("salt %q is not hex", h.Salt)
			}
			if err := p.Verify(h, "pass\x00wörd"); err != nil {
				t.Errorf("%s %s: %v", scheme, prf, err)
			}
			if err := p.Verify(h, "pass"); !errors.Is(err, password.ErrMismatch) {
				t.Errorf("%s %s, the part before NUL: %v", scheme, prf, err)
			}
		}
	}
	a, _ := password.Policy{Iterations: 1}.New("x", "")
	b, _ := password.Policy{Iterations: 1}.New("x", "")
	if a.Salt == b.Salt {
		t.Error("two hashes share a salt")
	}
	refused := map[error]password.Policy{
		password.ErrScheme:   {Scheme: "md5"},
		password.ErrPRF:      {PRF: "md5"},
		password.ErrIterLow:  {Iterations: 5, MinIterations: 6},
		password.ErrIterHigh: {Iterations: 7, MaxIterations: 6},
	}
	for want, p := range refused {
		if _, err := p.New("x", ""); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", p, err, want)
		}
	}
}

func TestDecoyMatchesNothing(t *testing.T) {
	t.Parallel()
	for _, p := range []password.Policy{{Iterations: 10}, {Scheme: password.Simple}, {Scheme: password.SimplePBKDF2, Iterations: 10, PRF: "sha512"}} {
		h := p.Decoy()
		if p.Outdated(h) {
			t.Errorf("%+v: the decoy costs otherwise than a real hash: %+v", p, h)
		}
		for _, guess := range []string{"", "apple", h.Salt} {
			if err := p.Verify(h, guess); !errors.Is(err, password.ErrMismatch) {
				t.Errorf("%+v, %q: %v", p, guess, err)
			}
		}
	}
}

func TestOutdated(t *testing.T) {
	t.Parallel()
	current := password.Hash{Scheme: password.PBKDF2, PRF: "sha256", Iterations: 600_000}
	tests := []struct {
		name   string
		policy password.Policy
		hash   password.Hash
		want   bool
	}{
		{"as the default", password.Policy{}, current, false},
		{"weaker", password.Policy{}, password.Hash{Scheme: password.PBKDF2, PRF: "sha256", Iterations: 10}, true},
		{"stronger", password.Policy{Iterations: 10}, current, true},
		{"other prf", password.Policy{PRF: "sha512"}, current, true},
		{"no prf", password.Policy{PRF: "sha", Iterations: 10}, password.Hash{Scheme: password.PBKDF2, Iterations: 10}, true},
		{"simple under simple", password.Policy{Scheme: password.Simple}, password.Hash{Scheme: password.Simple}, false},
		{"simple under pbkdf2", password.Policy{}, password.Hash{Scheme: password.Simple}, true},
		{"pbkdf2 under simple", password.Policy{Scheme: password.Simple}, current, true},
		{"wrapped under pbkdf2", password.Policy{}, password.Hash{Scheme: password.SimplePBKDF2, PRF: "sha256", Iterations: 600_000}, true},
	}
	for _, tt := range tests {
		if got := tt.policy.Outdated(tt.hash); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestParseAdmin(t *testing.T) {
	t.Parallel()
	const key = "e1f04c45434837e9f7938d5e9a849363bdccb74e21a64aeabfa1857645e97a1d"
	good := map[string]password.Hash{
		"-hashed-c6cbbc,7f4a":                        {Scheme: password.Simple, Key: "c6cbbc", Salt: "7f4a"},
		"-pbkdf2-6c1577,7f4a,10":                     {Scheme: password.PBKDF2, PRF: "sha", Key: "6c1577", Salt: "7f4a", Iterations: 10},
		"-pbkdf2-,6c1577,,7f4a,10,":                  {Scheme: password.PBKDF2, PRF: "sha", Key: "6c1577", Salt: "7f4a", Iterations: 10},
		"-pbkdf2:sha256-" + key + ",0123456789,1000": {Scheme: password.PBKDF2, PRF: "sha256", Key: key, Salt: "0123456789", Iterations: 1000},
	}
	for value, want := range good {
		h, ok, err := password.ParseAdmin(value)
		if !ok || err != nil || h != want {
			t.Errorf("%s: %+v %v %v", value, h, ok, err)
		}
	}
	for _, plain := range []string{"", "secret", "-", "-hashed", "-pbkdf2", "-pbkdf2:", "-pbkdf2:md5-aa,bb,10", "-pbkdf2:sha256", "-pbkdf2sha256-aa,bb,1", "hashed-aa,bb", "-pbkdf2x-aa,bb,1"} {
		if _, ok, err := password.ParseAdmin(plain); ok || err != nil {
			t.Errorf("%q: %v %v, want a plaintext", plain, ok, err)
		}
	}
	for _, bad := range []string{"-hashed-", "-hashed-aa", "-hashed-aa,bb,cc", "-hashed-zz,salt", "-pbkdf2-aa,bb", "-pbkdf2-aa,bb,ten", "-pbkdf2-aa,bb,0",
		"-pbkdf2-aa,bb,10,11", "-pbkdf2:sha256-AA,bb,10", "-pbkdf2:sha-aa,bb,99999999999999999999"} {
		h, ok, err := password.ParseAdmin(bad)
		if !ok || !errors.Is(err, password.ErrBadHash) || h != (password.Hash{}) {
			t.Errorf("%q: %+v %v %v, want ErrBadHash", bad, h, ok, err)
		}
		if err != nil && strings.Contains(err.Error(), "aa") {
			t.Errorf("the error shows the hash: %v", err)
		}
	}
	if s := password.FormatAdmin(password.Hash{Scheme: password.SimplePBKDF2}); s != "" {
		t.Errorf("simple+pbkdf2 written as %q", s)
	}
}

// FuzzParseAdmin: what parses as a hash is written and read back as the same hash, and parsing never says both plaintext and error.
func FuzzParseAdmin(f *testing.F) {
	for _, s := range []string{"", "secret", "-hashed-aa,bb", "-pbkdf2-aa,bb,10", "-pbkdf2:sha512-aa,bb,10", "-pbkdf2:-aa,bb,10", "-pbkdf2-aa,,bb,-1", "-argon2id-aa,bb,64,1,2", "-argon2id-aa,bb,1,1,1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h, ok, err := password.ParseAdmin(value)
		if !ok {
			if err != nil || h != (password.Hash{}) {
				t.Fatalf("plaintext with %+v, %v", h, err)
			}
			return
		}
		if err != nil {
			return
		}
		again, ok, err := password.ParseAdmin(password.FormatAdmin(h))
		if !ok || err != nil || again != h {
			t.Fatalf("%+v came back as %+v, %v, %v", h, again, ok, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	var p password.Policy
	h, err := p.New("apple", salt)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := p.Verify(h, "apple"); err != nil {
			b.Fatal(err)
		}
	}
}
