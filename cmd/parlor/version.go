package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is the version of sources that no version control vouches for.
const release = "0.1.0"

func (p *program) version(_ context.Context, args []string) error {
	f := newFlags("version", "", "Prints the version of this program, and of the Go that built it.")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				revision = " (" + s.Value[:12] + ")"
			}
		}
	}
	_, err := fmt.Fprintf(p.stdout, "parlor %s%s %s %s/%s\n", release, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
