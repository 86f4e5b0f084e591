// Package node has what the tests need that run JavaScript on Node: the programs, and the npm packages of the working directory.
package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Need returns the path of the first of these programs that is installed. When none is, it skips the test; with CI set it fails it, for a test that is always
// skipped tests nothing.
func Need(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("CI is set and %s is not installed", names[0])
	}
	t.Skipf("%s is not installed", names[0])
	return ""
}

// Install makes node_modules, in the working directory, what package-lock.json there says: by npm ci, unless it is so already.
func Install(ctx context.Context) error {
	lock, err := os.Stat("package-lock.json")
	if err != nil {
		return err
	}
	// npm writes this file last.
	done, err := os.Stat(filepath.Join("node_modules", ".package-lock.json"))
	if err == nil && !done.ModTime().Before(lock.ModTime()) {
		return nil
	}
	if out, err := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts").CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
}
