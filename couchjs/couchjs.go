// Package couchjs runs users' JavaScript functions (validate_doc_update, filters, maps used as filters) in child processes
// with limits on time and memory, as CouchDB runs its couchjs.
//
// # The two sides
//
// A Pool keeps a few children, which are this same program started with the argument "couchjs": it must call Main then and exit with
// what that returns. A program's TestMain that wants to use a pool does so too:
//
//	func TestMain(m *testing.M) {
//		if len(os.Args) > 1 && os.Args[1] == "couchjs" {
//			os.Exit(couchjs.Main())
//		}
//		os.Exit(m.Run())
//	}
//
// Children are started as they are needed, kept while they are used, and ended after a minute without work. One call at a time goes to
// a child, as a frame over its standard input, and its answer comes back over its standard output. What a child writes is not
// trusted: it is bounded and checked.
//
// # What functions see
//
// A function is the text of a JavaScript function expression. It runs in QuickJS (ECMAScript 2023, no Intl) with CouchDB's helpers
// emit, sum, log, toJSON and isArray, and with require for the CommonJS modules of its design document, of which "this" is a frozen copy.
// There is nothing else: no files, no network, no timers, no modules of QuickJS. Each call gets documents of its own; the request
// object of a filter is shared by the documents of one call, and frozen.
//
// # What keeps functions apart
//
// Each function has an engine of its own (heap and global object), made for one scope, function text and design document. So one that
// replaces JSON.parse or keeps what it saw in a global variable does that to its own later calls only. A scope is what Pool.In
// names, such as a database: the same text in two databases never shares an engine.
//
// # What limits them
//
// A call that takes longer than the limit, or whose context ends, gets its child killed; the next call starts another. An engine's
// heap is limited (the function sees an InternalError), and after that the child is replaced. On Linux the child's whole data segment is
// limited too, system calls that it does not need are refused (it can open no file or socket and start no program), and if it was
// started by root it becomes "nobody". A child ends when its
// standard input does, so that none outlives its parent. Calls of one scope occupy at most half of the children, so that a database's endless
// function holds up none but its own calls.
package couchjs

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Options configures NewPool. The zero value is usable.
type Options struct {
	// Command starts a child: a program that calls Main. nil: this program with the argument "couchjs".
	Command   []string
	Processes int              // children at most; 0: the number of CPUs, but two at least
	Timeout   time.Duration    // of one call; 0: 5 s, CouchDB's os_process_timeout
	Idle      time.Duration    // how long a child without work is kept; 0: a minute
	Memory    int64            // bytes of JavaScript heap of a child; 0: 64 MiB
	Log       *slog.Logger     // what functions log(); nil: discard
	Now       func() time.Time // nil: time.Now; for Idle
}

// ErrClosed is what calls of a closed pool fail with.
var ErrClosed = errors.New("couchjs: the pool is closed")

// Thrown is an error that a validation function threw: {forbidden: …} or {unauthorized: …}.
type Thrown struct {
	Kind   string // "forbidden" or "unauthorized"
	Reason []byte // JSON, any value
}

func (e *Thrown) Error() string { return e.Kind + ": " + string(e.Reason) }

// Error is any other failure of a function: it does not compile, threw something else, ran out of time or memory.
//
// Name is "compilation_error" for a text that is no function, "os_process_error" for one that took too long or killed its process,
// "unknown_error" for a thrown value that is no error, and otherwise the name of the error that was thrown, such as "TypeError";
// "InternalError" with the reason "out of memory" tells of the heap's limit.
type Error struct {
	Name   string // CouchDB's "error" member, such as "compilation_error", "TypeError", "os_process_error"
	Reason string
}

func (e *Error) Error() string { return e.Name + ": " + e.Reason }

// Scope is a pool as one user of it sees it, such as a database. Functions of different scopes never share an engine. It is safe for
// concurrent use.
type Scope struct {
	pool *Pool
	name string
}

// In returns the pool for a scope.
func (p *Pool) In(name string) Scope { return Scope{pool: p, name: name} }

// Validate is Scope.Validate in the scope "".
func (p *Pool) Validate(ctx context.Context, function string, modules []byte, newDoc, oldDoc, userCtx, secObj []byte) error {
	return p.In("").Validate(ctx, function, modules, newDoc, oldDoc, userCtx, secObj)
}

// Filter is Scope.Filter in the scope "".
func (p *Pool) Filter(ctx context.Context, function string, modules []byte, docs [][]byte, req []byte) ([]bool, error) {
	return p.In("").Filter(ctx, function, modules, docs, req)
}

// Emits is Scope.Emits in the scope "".
func (p *Pool) Emits(ctx context.Context, function string, modules []byte, docs [][]byte) ([]bool, error) {
	return p.In("").Emits(ctx, function, modules, docs)
}

// Validate calls the function with (newDoc, oldDoc, userCtx, secObj), each JSON; oldDoc may be "null". It returns nil, *Thrown, *Error,
// ErrClosed or ctx's error. modules is the design document, for require(); it may be nil.
func (s Scope) Validate(ctx context.Context, function string, modules []byte, newDoc, oldDoc, userCtx, secObj []byte) error {
	_, err := s.pool.call(ctx, newRequest(opValidate, s.name, function, modules, newDoc, oldDoc, userCtx, secObj))
	return err
}

// Filter calls the filter function with each document and the request object, and returns a truth value for each. It fails like Validate,
// but for *Thrown.
func (s Scope) Filter(ctx context.Context, function string, modules []byte, docs [][]byte, req []byte) ([]bool, error) {
	return s.perDocument(ctx, docs, func(some [][]byte) request {
		return newRequest(opFilter, s.name, function, modules, append([][]byte{req}, some...)...)
	})
}

// Emits calls the map function with each document and tells of each whether it emitted anything (filter=_view). It fails like Filter.
func (s Scope) Emits(ctx context.Context, function string, modules []byte, docs [][]byte) ([]bool, error) {
	return s.perDocument(ctx, docs, func(some [][]byte) request {
		return newRequest(opEmits, s.name, function, modules, some...)
	})
}

// Compile reports whether a text compiles to a function: nil or *Error.
func (p *Pool) Compile(ctx context.Context, function string) error {
	_, err := p.call(ctx, newRequest(opCompile, "", function, nil))
	return err
}

// batchBytes is how much of documents goes to a child at once.
const batchBytes = 1 << 20

// perDocument makes calls that answer with one truth value for each document.
func (s Scope) perDocument(ctx context.Context, docs [][]byte, make func(some [][]byte) request) ([]bool, error) {
	var truths []bool
	for len(docs) > 0 {
		n, size := 0, 0
		for n < len(docs) && (n == 0 || size+len(docs[n]) <= batchBytes) {
			size += len(docs[n])
			n++
		}
		answer, err := s.pool.call(ctx, make(docs[:n]))
		if err != nil {
			return nil, err
		}
		if len(answer) != n {
			return nil, &Error{Name: processError, Reason: "the process gave an answer of the wrong length"}
		}
		for _, c := range answer {
			truths = append(truths, c == '1')
		}
		docs = docs[n:]
	}
	return truths, nil
}
