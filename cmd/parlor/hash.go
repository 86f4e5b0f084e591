package main

import (
	"context"
	"fmt"

	"github.com/parlordb/parlor/auth/password"
)

func (p *program) hash(_ context.Context, args []string) error {
	f := newFlags("hash", "", `Reads a password and prints its hash, as it may stand in the settings file:

  [admins]
  NAME = HASH

The password comes from a prompt, from standard input, or from PARLOR_PASSWORD.`)
	iterations := f.Int("iterations", 0, "how often to hash; 0 is the server's default, 600000")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	if *iterations < 0 {
		return &usageError{"hash", false, "-iterations is negative"}
	}
	secret, err := p.secret("Password")
	if err != nil {
		return err
	}
	h, err := password.Policy{Iterations: *iterations}.New(secret, "")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, password.FormatAdmin(h))
	return err
}
