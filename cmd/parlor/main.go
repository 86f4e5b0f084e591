// Parlor is a document sync server that speaks CouchDB's HTTP protocol. This package is the program: its commands, and the
// wiring of settings to the packages that do the work.
//
//	main.go      the list of commands
//	serve.go     parlor serve: from a data directory and settings to a listening server, and back down again
//	wire.go      what a server is made of, and what each part is told when settings change
//	signon.go    settings → authentication methods, keys, secrets, password rules
//	settings.go  what a change of settings must satisfy
//	firststart.go  what a new data directory gets: an administrator, a secret, a uuid
//	socket.go    the socket in the data directory, whose requests are the administrator's
//	client.go    how the other commands talk to a running server
//
// Each further command has a file of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/parlordb/parlor/couchjs"
)

func main() {
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}

// program is what a command sees of the world. Data goes to stdout, everything else to stderr.
type program struct {
	stdin          *os.File
	stdout, stderr io.Writer
	getenv         func(string) string
}

// command is one word after "parlor".
type command struct {
	name  string
	about string
	run   func(p *program, ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "run the server", (*program).serve},
		{"user", "add, list and remove users, and change their passwords", (*program).user},
		{"vault", "list, share, delete and undelete users' databases", (*program).vault},
		{"livesync", "set up a device for Obsidian's Self-hosted LiveSync", (*program).livesync},
		{"keygen", "make a key that signs JSON Web Tokens", (*program).keygen},
		{"token", "make, list and revoke users' access tokens", (*program).token},
		{"hash", "make the hash of an administrator's password for the settings file", (*program).hash},
		{"backup", "copy a running server's data into a file", (*program).backup},
		{"restore", "make a data directory from a backup", (*program).restore},
		{"replicate", "copy a database from another server, or to one", (*program).replicate},
		{"doctor", "try what a LiveSync device would do at a server, and say what is wrong", (*program).doctor},
		{"check", "look for damage in a data directory", (*program).check},
		{"version", "tell which Parlor this is", (*program).version},
	}
}

// run runs one command and returns the exit code: 0, 1 for a failure, 2 for a command line that makes no sense.
func (p *program) run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(p.stderr, usage())
		return 2
	}
	name, args := args[0], args[1:]
	switch name {
	case "-h", "--help", "-help", "help":
		fmt.Fprint(p.stdout, usage())
		return 0
	case "couchjs": // for the server's own children
		return couchjs.Main()
	}
	for _, c := range commands() {
		if c.name == name {
			return p.report(name, c.run(p, ctx, args))
		}
	}
	fmt.Fprintf(p.stderr, "parlor: there is no command %q; 'parlor -h' lists them\n", name)
	return 2
}

// action is one word after a command, such as "add" after "parlor user".
type action struct {
	name string
	run  func(p *program, ctx context.Context, args []string) error
}

// choose runs the action that args begin with, or tells which there are.
func (p *program) choose(ctx context.Context, command, help string, actions []action, args []string) error {
	if len(args) == 0 {
		var names []string
		for _, a := range actions {
			names = append(names, a.name)
		}
		return &usageError{command, false, fmt.Sprintf("expected parlor %s %s", command, strings.Join(names, "|"))}
	}
	switch args[0] {
	case "-h", "--help", "-help", "help":
		return &usageError{command, true, help}
	}
	for _, a := range actions {
		if a.name == args[0] {
			return a.run(p, ctx, args[1:])
		}
	}
	return &usageError{command, false, fmt.Sprintf("there is no 'parlor %s %s'", command, args[0])}
}

// report tells of a command's failure and returns the exit code.
func (p *program) report(name string, err error) int {
	var bad *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &bad) && bad.help:
		fmt.Fprint(p.stdout, bad.text)
		return 0
	case errors.As(err, &bad):
		fmt.Fprintf(p.stderr, "parlor %s: %s; 'parlor %s -h' explains it\n", name, bad.text, bad.command)
		return 2
	case errors.Is(err, errFound):
		return 1
	}
	fmt.Fprintf(p.stderr, "parlor %s: %v\n", name, err)
	return 1
}

func usage() string {
	var b strings.Builder
	b.WriteString("Parlor is a document sync server that speaks CouchDB's HTTP protocol.\n\nUsage: parlor COMMAND [flags]\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %s\t%s\n", c.name, c.about)
	}
	w.Flush()
	b.WriteString("\n'parlor serve' starts a server with its data in ./parlor-data. 'parlor COMMAND -h' explains a command.\n")
	return b.String()
}

// usageError is a command line that makes no sense, or a request for help.
type usageError struct {
	command string
	help    bool
	text    string
}

func (e *usageError) Error() string { return e.text }

// flags are one command's flags and its help text.
type flags struct {
	*flag.FlagSet
	args, help string
}

// flags begins the flags of a command. args is what follows the flags in the usage line; help says what the command does.
func newFlags(name, args, help string) *flags {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return &flags{set, args, help}
}

// parse reads flags and arguments in any order, and returns the arguments, of which there must be between least and most.
func (f *flags) parse(args []string, least, most int) ([]string, error) {
	var rest []string
	for {
		err := f.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return nil, &usageError{f.Name(), true, f.usage()}
		}
		if err != nil {
			return nil, &usageError{f.Name(), false, err.Error()}
		}
		if f.NArg() == 0 {
			break
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
	if len(rest) < least || len(rest) > most {
		return nil, &usageError{f.Name(), false, "expected " + strings.TrimSpace("parlor "+f.Name()+" "+f.args)}
	}
	return rest, nil
}

// given reports whether a flag was on the command line.
func (f *flags) given(name string) bool {
	found := false
	f.Visit(func(set *flag.Flag) { found = found || set.Name == name })
	return found
}

func (f *flags) usage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s\n", strings.TrimSpace("parlor "+f.Name()+" [flags] "+f.args), f.help)
	any := false
	f.VisitAll(func(*flag.Flag) { any = true })
	if any {
		b.WriteString("\nFlags:\n")
		f.SetOutput(&b)
		f.PrintDefaults()
		f.SetOutput(io.Discard)
	}
	return b.String()
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ", ") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}
