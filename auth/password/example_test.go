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
