package password_test

import (
	"errors"
	"math"
	"testing"

	"github.com/parlordb/parlor/auth/password"
)

// light is a policy that tests can afford.
var light = password.Policy{Scheme: password.Argon2id, Argon2: password.Argon2{Memory: 64, Time: 1, Parallelism: 2}}

func TestArgon2Refuses(t *testing.T) {
	t.Parallel()
	good, err := light.New("apple", salt)
	if err != nil {
		t.Fatal(err)
	}
	for what, a := range map[string]password.Argon2{
		"nothing said":         {},
		"no memory":            {Time: 1, Parallelism: 2},
		"too little for lanes": {Memory: 15, Time: 1, Parallelism: 2},
		"too much memory":      {Memory: 256<<10 + 1, Time: 1, Parallelism: 2},
		"all memory":           {Memory: math.MaxInt, Time: 1, Parallelism: 2},
		"negative memory":      {Memory: -64, Time: 1, Parallelism: 2},
		"wraps to 64 KiB":      {Memory: 1<<32 + 64, Time: 1, Parallelism: 2},
		"no passes":            {Memory: 64, Parallelism: 2},
		"negative passes":      {Memory: 64, Time: -1, Parallelism: 2},
		"too many passes":      {Memory: 64, Time: 17, Parallelism: 2},
		"wraps to one pass":    {Memory: 64, Time: 1<<32 + 1, Parallelism: 2},
		"no lanes":             {Memory: 64, Time: 1},
		"negative lanes":       {Memory: 64, Time: 1, Parallelism: -2},
		"too many lanes":       {Memory: 1024, Time: 1, Parallelism: 17},
		"wraps to two lanes":   {Memory: 64, Time: 1, Parallelism: 258},
	} {
		h := good
		h.Argon2 = a
		if err := light.Verify(h, "apple"); !errors.Is(err, password.ErrArgon2) {
			t.Errorf("%s: %v, want ErrArgon2", what, err)
		}
		if a == (password.Argon2{}) || a.Memory == 0 || a.Time == 0 || a.Parallelism == 0 {
			continue // a default of the Policy
		}
		if _, err := (password.Policy{Scheme: password.Argon2id, Argon2: a}).New("apple", ""); !errors.Is(err, password.ErrArgon2) {
			t.Errorf("a policy with %s: %v, want ErrArgon2", what, err)
		}
	}
	for what, change := range map[string]func(*password.Hash){
		"another salt":    func(h *password.Hash) { h.Salt = "x" },
		"more memory":     func(h *password.Hash) { h.Argon2.Memory = 72 },
		"another pass":    func(h *password.Hash) { h.Argon2.Time = 2 },
		"another lane":    func(h *password.Hash) { h.Argon2.Parallelism = 1 },
		"no key":          func(h *password.Hash) { h.Key = "" },
		"key cut short":   func(h *password.Hash) { h.Key = h.Key[:32] },
		"PBKDF2's member": func(h *password.Hash) { h.Scheme, h.PRF, h.Iterations = password.PBKDF2, "sha256", 1 },
	} {
		h := good
		change(&h)
		if err := light.Verify(h, "apple"); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("%s: %v, want ErrMismatch", what, err)
		}
	}
	for _, wrong := range []string{"", "apples", "apple\x00", "Apple"} {
		if err := light.Verify(good, wrong); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("%q: %v, want ErrMismatch", wrong, err)
		}
	}
	if err := (password.Policy{}).Verify(good, "apple"); err != nil {
		t.Errorf("the right password, under a policy of another scheme: %v", err)
	}
}

// TestArgon2Vectors holds known answers of the reference implementation (its test.c, version 0x13). RFC 9106's own example uses a secret and associated data,
// which no password has.
func TestArgon2Vectors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		argon2         password.Argon2
		password, salt string
		want           string
	}{
		{password.Argon2{Memory: 1 << 16, Time: 2, Parallelism: 1}, "password", "somesalt", "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"},
		{password.Argon2{Memory: 1 << 8, Time: 2, Parallelism: 1}, "password", "somesalt", "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"},
		{password.Argon2{Memory: 1 << 8, Time: 2, Parallelism: 2}, "password", "somesalt", "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"},
		{password.Argon2{Memory: 1 << 16, Time: 1, Parallelism: 1}, "password", "somesalt", "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98"},
		{password.Argon2{Memory: 1 << 16, Time: 4, Parallelism: 1}, "password", "somesalt", "9025d48e68ef7395cca9079da4c4ec3affb3c8911fe4f86d1a2520856f63172c"},
		{password.Argon2{Memory: 1 << 16, Time: 2, Parallelism: 1}, "differentpassword", "somesalt", "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"},
		{password.Argon2{Memory: 1 << 16, Time: 2, Parallelism: 1}, "password", "diffsalt", "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"},
	} {
		p := password.Policy{Scheme: password.Argon2id, Argon2: tt.argon2}
		h, err := p.New(tt.password, tt.salt)
		if err != nil || h.Key != tt.want {
			t.Errorf("%+v %s %s: %s, %v, want %s", tt.argon2, tt.password, tt.salt, h.Key, err, tt.want)
		}
	}
}

func TestArgon2Policy(t *testing.T) {
	t.Parallel()
	p := password.Policy{Scheme: password.Argon2id}
	h, err := p.New("apple", "")
	if err != nil || h.Argon2 != (password.Argon2{Memory: 19456, Time: 2, Parallelism: 1}) || h.Iterations != 0 || h.PRF != "" || len(h.Salt) != 32 || len(h.Key) != 64 {
		t.Fatalf("the default: %+v, %v", h, err)
	}
	if err := p.Verify(h, "apple"); err != nil || p.Outdated(h) {
		t.Errorf("its own hash: %v, outdated %v", err, p.Outdated(h))
	}
	for what, other := range map[string]password.Policy{
		"PBKDF2":       {},
		"simple":       {Scheme: password.Simple},
		"more memory":  {Scheme: password.Argon2id, Argon2: password.Argon2{Memory: 20000}},
		"less memory":  {Scheme: password.Argon2id, Argon2: password.Argon2{Memory: 64}},
		"another pass": {Scheme: password.Argon2id, Argon2: password.Argon2{Time: 3}},
		"another lane": {Scheme: password.Argon2id, Argon2: password.Argon2{Parallelism: 2}},
	} {
		if !other.Outdated(h) {
			t.Errorf("%s: the hash is not outdated", what)
		}
	}
	if !p.Outdated(password.Hash{Scheme: password.PBKDF2, PRF: "sha256", Iterations: 600_000}) {
		t.Error("a PBKDF2 hash is not outdated under Argon2id")
	}
	if (password.Policy{Scheme: password.Argon2id, Iterations: 5, PRF: "sha512"}).Outdated(h) {
		t.Error("PBKDF2's parameters make an Argon2id hash outdated")
	}
	decoy := light.Decoy()
	if light.Outdated(decoy) {
		t.Errorf("the decoy costs otherwise than a real hash: %+v", decoy)
	}
	for _, guess := range []string{"", "apple", decoy.Salt} {
		if err := light.Verify(decoy, guess); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("the decoy and %q: %v", guess, err)
		}
	}
}

func TestArgon2Admin(t *testing.T) {
	t.Parallel()
	h, err := light.New("apple", salt)
	if err != nil {
		t.Fatal(err)
	}
	text := password.FormatAdmin(h)
	if want := "-argon2id-" + h.Key + "," + salt + ",64,1,2"; text != want {
		t.Errorf("%s, want %s", text, want)
	}
	again, ok, err := password.ParseAdmin(text)
	if !ok || err != nil || again != h {
		t.Errorf("%+v came back as %+v, %v, %v", h, again, ok, err)
	}
	for _, bad := range []string{
		"-argon2id-", "-argon2id-aa,bb", "-argon2id-aa,bb,64,1", "-argon2id-aa,bb,64,1,2,3", "-argon2id-AA,bb,64,1,2", "-argon2id-zz,bb,64,1,2",
		"-argon2id-aa,bb,x,1,2", "-argon2id-aa,bb,64,0,2", "-argon2id-aa,bb,64,1,-2", "-argon2id-aa,bb,8,1,2", "-argon2id-aa,bb,999999999,1,2", "-argon2id-aa,bb,64,17,2",
	} {
		if h, ok, err := password.ParseAdmin(bad); !ok || !errors.Is(err, password.ErrBadHash) || h != (password.Hash{}) {
			t.Errorf("%q: %+v, %v, %v, want ErrBadHash", bad, h, ok, err)
		}
	}
	for _, plain := range []string{"-argon2id", "argon2id-aa,bb,64,1,2", "-argon2i-aa,bb,64,1,2", "-argon2id:aa,bb,64,1,2"} {
		if _, ok, err := password.ParseAdmin(plain); ok || err != nil {
			t.Errorf("%q: %v, %v, want a plaintext", plain, ok, err)
		}
	}
}

func BenchmarkVerifyArgon2id(b *testing.B) {
	p := password.Policy{Scheme: password.Argon2id}
	h, err := p.New("apple", salt)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Verify(h, "apple"); err != nil {
			b.Fatal(err)
		}
	}
}
