package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/parlordb/parlor/store"
)

// partialDir is where restore unpacks, inside the new data directory.
const partialDir = "restoring"

func (p *program) restore(ctx context.Context, args []string) error {
	f := newFlags("restore", "FILE", `Makes a data directory from a backup, and checks all that is in it. The directory must be empty or not there yet. Clients that know
later changes than the backup holds read all changes from the start.`)
	data := f.String("data", defaultData, "the data directory to make")
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	made, err := emptyDir(*data)
	if err != nil {
		return err
	}
	names, err := restoreInto(ctx, args[0], *data)
	if err != nil {
		if made {
			os.Remove(*data)
		}
		return err
	}
	fmt.Fprintf(p.stderr, "%s restored and checked; start it with 'parlor serve -data %[1]s'\n", *data)
	for _, name := range names {
		if strings.HasPrefix(name, "config/") {
			fmt.Fprintf(p.stderr, "the server had read %s before its settings file; give it with -config if it is still wanted\n", filepath.Join(*data, name))
		}
	}
	return nil
}

// emptyDir makes sure that dir is there and empty; made tells whether it made it.
func emptyDir(dir string) (made bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return true, os.MkdirAll(dir, 0o700)
	case err != nil:
		return false, err
	case len(entries) > 0:
		return false, fmt.Errorf("%s is not empty; name a new directory with -data", dir)
	}
	return false, nil
}

// restoreInto fills the empty data directory, or leaves it empty.
func restoreInto(ctx context.Context, file, data string) (names []string, err error) {
	partial := filepath.Join(data, partialDir)
	if err := os.Mkdir(partial, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(partial)
	if names, err = unpack(file, partial); err != nil {
		return nil, err
	}
	if err := renew(ctx, partial); err != nil {
		return nil, err
	}
	problems, err := checkStore(ctx, partial)
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("nothing is restored, for the data in the backup is damaged: %s (one of %d problems); try an earlier one", problems[0], len(problems))
	}
	entries, err := os.ReadDir(partial)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if err := os.Rename(filepath.Join(partial, entry.Name()), filepath.Join(data, entry.Name())); err != nil {
			return nil, err
		}
	}
	return names, syncDir(data)
}

// renew tells apart the sequences of the restored store from those that the old one went on to hand out.
func renew(ctx context.Context, data string) (err error) {
	s, err := store.Open(filepath.Join(data, storeDir), store.Options{})
	if err != nil {
		return storeError(data, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Renew(ctx)
}
