package auth

import (
	"encoding/base64"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth/password"
)

// FuzzBasic: what a client writes is what is read, and what is read, written again, is the same.
func FuzzBasic(f *testing.F) {
	for _, s := range []string{"", "YW5uYTphcHBsZQ==", "_:_", "Xzpf", "Og==", "YW5u YTph\tcHBsZQ==", "!!!", "YWxpY2U"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := base64.StdEncoding.EncodeToString([]byte(text))
		if name, pass, err := parseBasic(encoded); err == nil && name+":"+pass != text {
			t.Fatalf("%q was read as %q and %q", text, name, pass)
		} else if refusal, ok := errors.AsType[*Refusal](err); ok {
			t.Fatalf("%q: %v for good base64", text, refusal)
		}
		name, pass, err := parseBasic(text)
		if err != nil {
			if name+pass != "" {
				t.Fatalf("%q: %q, %q beside %v", text, name, pass, err)
			}
			return
		}
		again, pass2, err := parseBasic(base64.StdEncoding.EncodeToString([]byte(name + ":" + pass)))
		if err != nil || again != name || pass2 != pass {
			t.Fatalf("%q, %q came back as %q, %q, %v", name, pass, again, pass2, err)
		}
	})
}

// FuzzCookie: a cookie that can be read, written again, reads the same; and none that was not signed signs anyone in.
func FuzzCookie(f *testing.F) {
	users := new(Memory)
	hash, err := password.Policy{Iterations: 1}.New("apple", "7f4a3e05e0cbc6f48a0035e3508eef90")
	if err != nil {
		f.Fatal(err)
	}
	users.Put(User{Name: "anna", Password: hash})
	now := time.Unix(0x4AB397EB, 0)
	c, err := NewCookies(users, CookieOptions{
		Secrets: []Secret{{Value: "a secret that no fuzzer guesses"}}, Algorithms: DigestNames(), Now: func() time.Time { return now },
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "YW5uYTo0QUIzOTdFQjoBKVlBoz_X9PkaOa4YKUSGVMnZdNIijNtjlSM6n9ywOQ", "%%%", "YW5uYTo6", "Ojo", "YW5uYTotMTph"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if token, ok := parseCookie(text); ok {
			content := append(append(append([]byte(nil), token.signed...), ':'), token.mac...)
			again, ok := parseCookie(base64.RawURLEncoding.EncodeToString(content))
			if !ok || again.name != token.name || string(again.time) != string(token.time) || string(again.mac) != string(token.mac) {
				t.Fatalf("%+v came back as %+v, %v", token, again, ok)
			}
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = []string{"AuthSession=" + text}
		if id, err := c.Authenticate(r); err == nil {
			t.Fatalf("%q signed in %+v", text, id)
		}
	})
}
