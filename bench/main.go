// Command bench measures Parlor beside a bare net/http server, and prints a table.
//
//	make bench-quick
//	go run ./bench [-rounds 3] [-seconds 2] [-documents 200000]
//	make bench-sessions
//	go run ./bench -sessions 100000
//
// It builds the program, starts it on a new directory, and starts itself again as a server that answers every request
// with 150 bytes of JSON: the most that net/http gives on this machine. wrk drives both in turns, with 16 connections
// and 2 threads, in several short rounds, so that what else the machine does falls on both. The table shows the medians and, for what wrk
// measures, their ratio. What wrk cannot do (bulk writes, long answers, new databases, a new token for each request)
// is measured by a plain Go client. Beside the rates stands what a request costs Parlor in time of processor, which depends less on what else the machine does.
//
// With -sessions it measures something else: what the first use of a token costs, how long it takes to find one of so many sessions, and what they cost in memory.
//
// The servers, wrk and the client share the machine's cores, so the figures say how the two compare, not what a
// machine can serve. Nothing here is a test: no figure fails a build.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/parlordb/parlor/test/program"
)

type options struct {
	rounds    int
	length    time.Duration // of one run of wrk
	documents int
	databases int
	sessions  int // 0: the other workloads
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == bareCommand {
		if err := serveBare(); err != nil {
			fatal(err)
		}
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each workload")
	seconds := flag.Float64("seconds", 2, "length of one run of wrk")
	flag.IntVar(&o.documents, "documents", 200_000, "documents for _bulk_docs and _changes, a multiple of 1000")
	flag.IntVar(&o.databases, "databases", 4000, "databases to create")
	flag.IntVar(&o.sessions, "sessions", 0, "measure first uses of tokens and the look-up of so many sessions, and nothing else")
	flag.Parse()
	o.length = time.Duration(*seconds * float64(time.Second))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		stop()
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func run(ctx context.Context, o options) (err error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("%w: install it with apt-get install wrk, or run make bench-quick", err)
	}
	start := time.Now()
	dir, err := os.MkdirTemp("", "parlor-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin, err := program.Build(ctx, dir, false)
	if err != nil {
		return err
	}
	keys, err := newKeys()
	if err != nil {
		return err
	}
	settings := filepath.Join(dir, "parlor.ini")
	text, err := keys.settings()
	if err != nil {
		return err
	}
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		return err
	}
	srv, err := program.Start(ctx, program.Options{Binary: bin, Data: filepath.Join(dir, "data"), Config: []string{settings}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Stop()) }()
	bare, err := startBare(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()

	b := &bench{options: o, keys: keys, srv: srv, bare: bare.url, c: newClient(srv.URL), wrk: wrk{dir: dir, length: o.length}, t: new(table)}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.t.print(os.Stdout)
	fmt.Printf("\n%.0f s in all.\n", time.Since(start).Seconds())
	return nil
}

// bench is a run.
type bench struct {
	options
	keys *keys
	srv  *program.Server
	bare string // its URL
	c    *client
	wrk  wrk
	t    *table
}

// measure takes all figures.
func (b *bench) measure(ctx context.Context) error {
	if err := b.c.prepare(ctx, b.keys); err != nil {
		return err
	}
	if err := b.wrk.writeScripts(); err != nil {
		return err
	}
	idle, err := b.srv.Memory("VmRSS")
	if err != nil {
		return err
	}
	b.t.memory("idle", idle, 40)
	if b.sessions == 0 {
		return b.all(ctx)
	}
	if err := b.firstUse(ctx); err != nil {
		return err
	}
	return b.manySessions(ctx)
}

// all measures everything but first uses and many sessions, in an order that leaves memory to the last.
func (b *bench) all(ctx context.Context) error {
	more, err := b.c.remembered(ctx, b.keys)
	if err != nil {
		return err
	}
	if err := b.compare(ctx, append(workloads(b.c, b.keys), more...)...); err != nil {
		return err
	}
	if err := b.stateless(ctx); err != nil {
		return err
	}
	for _, m := range []func(context.Context, options, *table) error{b.c.bulk, b.c.changes, b.c.create} {
		if err := m(ctx, b.options, b.t); err != nil {
			return err
		}
	}
	after, err := b.srv.Memory("VmRSS")
	if err != nil {
		return err
	}
	b.t.memory("after the above", after, 300)
	return b.c.refused(ctx, b.t)
}

// compare drives both servers with each workload.
func (b *bench) compare(ctx context.Context, workloads ...workload) error {
	for _, l := range workloads {
		if err := b.c.signsIn(ctx, l); err != nil {
			return err
		}
		r, err := b.wrk.alternate(ctx, l, b.srv, b.bare, b.rounds)
		if err != nil {
			return err
		}
		b.t.compare(l, r)
	}
	return nil
}
