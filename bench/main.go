// Command bench measures Parlor beside a bare net/http server, and prints a table.
//
//	make bench-quick
//	go run ./bench [-rounds 3] [-seconds 2] [-documents 200000]
//
// It builds the program, starts it on a new directory, and starts itself again as a server that answers every request
// with 150 bytes of JSON: the most that net/http gives on this machine. wrk drives both in turns, with 16 connections
// and 2 threads, in several short rounds, so that what else the machine does falls on both. The table shows the medians and, for what wrk
// measures, their ratio. What wrk cannot do (bulk writes, long answers, new databases, a new token for each request)
// is measured by a plain Go client.
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
	if err := os.WriteFile(settings, []byte(keys.settings()), 0o600); err != nil {
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

	t, err := measure(ctx, o, dir, keys, srv, bare.url)
	if err != nil {
		return err
	}
	t.print(os.Stdout)
	fmt.Printf("\n%.0f s in all.\n", time.Since(start).Seconds())
	return nil
}

// measure takes all figures, in an order that leaves memory to the last.
func measure(ctx context.Context, o options, dir string, k *keys, srv *program.Server, bare string) (*table, error) {
	t := newTable()
	c := newClient(srv.URL)
	if err := c.prepare(ctx, k); err != nil {
		return nil, err
	}
	idle, err := srv.Memory("VmRSS")
	if err != nil {
		return nil, err
	}
	w := wrk{dir: dir, length: o.length}
	if err := w.writeScripts(); err != nil {
		return nil, err
	}
	for _, l := range workloads(c, k) {
		row, err := w.alternate(ctx, l, srv.URL, bare, o.rounds)
		if err != nil {
			return nil, err
		}
		t.compare(l, row)
	}
	for _, m := range []func(context.Context, options, *keys, *table) error{c.newTokens, c.bulk, c.changes, c.create} {
		if err := m(ctx, o, k, t); err != nil {
			return nil, err
		}
	}
	after, err := srv.Memory("VmRSS")
	if err != nil {
		return nil, err
	}
	if err := c.refused(ctx, o, k, t); err != nil {
		return nil, err
	}
	t.figure("memory, idle", float64(idle)/(1<<20), "MB", 40, true)
	t.figure("memory, after the above", float64(after)/(1<<20), "MB", 300, true)
	return t, nil
}
