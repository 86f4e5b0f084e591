package main

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeNamesCommands: README.md lists the commands as 'parlor -h' does.
func TestReadmeNamesCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "    parlor "); ok {
			listed[strings.Join(strings.Fields(command), " ")] = true
		}
	}
	var out strings.Builder
	p := &program{stdout: &out, stderr: &out}
	p.run(t.Context(), []string{"-h"})
	commands := 0
	for line := range strings.Lines(out.String()) {
		command, ok := strings.CutPrefix(line, "  ")
		if !ok {
			continue
		}
		commands++
		if said := strings.Join(strings.Fields(command), " "); !listed[said] {
			t.Errorf("README.md does not list: %s", said)
		}
	}
	if commands < 10 {
		t.Errorf("'parlor -h' lists %d commands: %s", commands, &out)
	}
}
