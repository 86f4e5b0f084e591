package password_test

import (
	"fmt"

	"github.com/parlordb/parlor/auth/password"
)

func ExamplePolicy_Verify() {
	policy := password.Policy{Iterations: 1000} // an example must not take long; leave it 0 in earnest
	h, err := policy.New("correct horse", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Scheme, h.PRF, h.Iterations)
	fmt.Println(policy.Verify(h, "correct horse"))
	fmt.Println(policy.Verify(h, "battery staple"))
	// Output:
	// pbkdf2 sha256 1000
	// <nil>
	// Name or password is incorrect.
}

func ExampleParseAdmin() {
	h, hashed, err := password.ParseAdmin("-hashed-c6cbbc2d3759a9930f6041ea0096d68c70bb2ea7,7f4a3e05e0cbc6f48a0035e3508eef90")
	fmt.Println(h.Scheme, hashed, err)
	_, hashed, err = password.ParseAdmin("apple")
	fmt.Println(hashed, err)
	// Output:
	// simple true <nil>
	// false <nil>
}

// A hash that is not as the policy would make it is made anew when its password is known: at the next sign-on.
func ExamplePolicy_Outdated() {
	old, err := password.Policy{Iterations: 1000}.New("correct horse", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := password.Policy{Scheme: password.Argon2id} // for users who are never replicated to a CouchDB
	if policy.Verify(old, "correct horse") == nil && policy.Outdated(old) {
		anew, err := policy.New("correct horse", old.Salt) // the same salt: sessions go on
		fmt.Println(anew.Scheme, anew.Argon2.Memory, anew.Argon2.Time, anew.Argon2.Parallelism, err)
		fmt.Println(policy.Outdated(anew), policy.Verify(anew, "correct horse"))
	}
	// Output:
	// argon2id 19456 2 1 <nil>
	// false <nil>
}
