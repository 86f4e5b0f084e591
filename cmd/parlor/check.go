package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parlordb/parlor/store"
)

// errFound ends a command with exit code 1 after it has printed what it found.
var errFound = errors.New("problems were found")

func (p *program) check(ctx context.Context, args []string) error {
	f := newFlags("check", "DIR", `Reads everything in the data directory DIR and prints each problem on a line of its own. Nothing is written. The server
must not be running. The exit code is 1 when there is a problem.`)
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	problems, err := checkStore(ctx, args[0])
	if err != nil {
		return err
	}
	for _, problem := range problems {
		fmt.Fprintln(p.stdout, problem)
	}
	if len(problems) > 0 {
		fmt.Fprintf(p.stderr, "parlor check: %d problems; keep a copy of the directory, and restore your last good backup\n", len(problems))
		return errFound
	}
	fmt.Fprintln(p.stderr, "parlor check: no problems")
	return nil
}

// checkStore opens a data directory's store without writing to it, and returns what is wrong with it.
func checkStore(ctx context.Context, data string) (problems []string, err error) {
	dir := filepath.Join(data, storeDir)
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("%s is no data directory of Parlor: %w", data, err)
	}
	s, err := store.Open(dir, store.Options{ReadOnly: true})
	if err != nil {
		return nil, storeError(data, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Check(ctx)
}
