// Package couchjs runs users' JavaScript functions (validate_doc_update, filters, maps used as filters) in child processes
// with limits on time and memory, as CouchDB runs its couchjs.
//
// (The manual goes here.)
package couchjs

import (
	"context"
	"log/slog"
	"time"
)

// Options configures NewPool. The zero value is usable.
type Options struct {
	// Command starts a child: a program that calls Main. nil: this program with the argument "couchjs".
	Command   []string
	Processes int           // children at most; 0: the number of CPUs
	Timeout   time.Duration // of one call; 0: 5 s, CouchDB's os_process_timeout
	Memory    int64         // bytes of JavaScript heap of a child; 0: 64 MiB
	Log       *slog.Logger  // what functions log(); nil: discard
}

// Pool is a bounded set of children, started as they are needed, killed and replaced when one misbehaves. It is safe for concurrent use.
type Pool struct{}

// NewPool returns a pool with no child yet.
func NewPool(o Options) *Pool { panic("todo") }

// SetTimeout changes the limit of calls that begin from now on.
func (p *Pool) SetTimeout(d time.Duration) { panic("todo") }

// Close kills the children, waits for them, and fails calls under way.
func (p *Pool) Close() error { panic("todo") }

// Thrown is an error that a validation function threw: {forbidden: …} or {unauthorized: …}.
type Thrown struct {
	Kind   string // "forbidden" or "unauthorized"
	Reason []byte // JSON, any value
}

func (e *Thrown) Error() string { return e.Kind + ": " + string(e.Reason) }

// Error is any other failure of a function: it does not compile, threw something else, ran out of time or memory.
type Error struct {
	Name   string // CouchDB's "error" member, such as "compilation_error", "TypeError", "os_process_error"
	Reason string
}

func (e *Error) Error() string { return e.Name + ": " + e.Reason }

// Validate calls the function with (newDoc, oldDoc, userCtx, secObj), each JSON; oldDoc may be "null". It returns nil, *Thrown, *Error or ctx's error.
// modules is the design document, for require(); it may be nil.
func (p *Pool) Validate(ctx context.Context, function string, modules []byte, newDoc, oldDoc, userCtx, secObj []byte) error {
	panic("todo")
}

// Filter calls the filter function with each document and the request object, and returns a truth value for each.
func (p *Pool) Filter(ctx context.Context, function string, modules []byte, docs [][]byte, req []byte) ([]bool, error) {
	panic("todo")
}

// Emits calls the map function with each document and tells of each whether it emitted anything (filter=_view).
func (p *Pool) Emits(ctx context.Context, function string, modules []byte, docs [][]byte) ([]bool, error) {
	panic("todo")
}

// Compile reports whether a text compiles to a function: nil or *Error.
func (p *Pool) Compile(ctx context.Context, function string) error { panic("todo") }

// Main is the child's program: it serves calls on standard input and output until the input ends, and returns the exit code.
func Main() int { panic("todo") }
