package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/parlordb/parlor/test/program"
)

const (
	connections = 16
	threads     = 2
)

// Scripts of wrk, by their names in a workload.
const (
	putScript   = "put.lua"   // a PUT with an id of its own each time
	turnsScript = "turns.lua" // one credential after another
)

//go:embed put.lua
var putText []byte

//go:embed turns.lua
var turnsText []byte

// A workload is one kind of request that wrk sends again and again.
type workload struct {
	name    string
	path    string
	headers []string // as they stand in the request; the first is the credential
	turns   string   // a file with a credential in each line, to be sent in turns with the first header's name; "": the same each time
	script  string   // "" for none
	brief   bool     // two runs of one second will do
	nobody  bool     // the credential is nobody's
	target  float64  // of the bare server's figure; 0: none
}

// wire is how many bytes of a request the credential takes, with the end of its line.
func (l *workload) wire() int { return len(l.headers[0]) + len("\r\n") }

func workloads(c *client, k *keys) []workload {
	return []workload{
		session("ES256 token of [jwt_keys]", "Authorization: "+k.bearer).full(),
		session("Basic, a password", "Authorization: "+userBasic).full(),
		session("cookie, tracked", "Cookie: "+c.cookie).full(),
		{name: "GET one document, ES256", path: "/bench/one", headers: []string{"Authorization: " + k.bearer}, target: 0.50},
		{name: "PUT one document, durable", path: "/bench/", headers: []string{"Authorization: " + k.bearer, "Content-Type: application/json"}, script: putScript, target: 0.20},
	}
}

// session is a workload that asks who it is, with one credential.
func session(name, header string) workload {
	return workload{name: "/_session, " + name, path: "/_session", headers: []string{header}, brief: true, target: 0.70}
}

// full gives a workload runs of the whole length.
func (l workload) full() workload {
	l.brief = false
	return l
}

// wrk runs the program wrk.
type wrk struct {
	dir    string
	length time.Duration
	runs   int
}

func (w *wrk) writeScripts() error {
	for name, text := range map[string][]byte{putScript: putText, turnsScript: turnsText} {
		if err := os.WriteFile(filepath.Join(w.dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// rates are requests per second, one for each round, and what a request cost Parlor in microseconds of processor.
type rates struct {
	parlor, bare, cost []float64
}

// alternate drives the two servers in turns. A turn before is not counted, which brief workloads with one credential do without.
func (w *wrk) alternate(ctx context.Context, l workload, parlor *program.Server, bare string, rounds int) (rates, error) {
	var r rates
	length := w.length
	if l.brief {
		length, rounds = time.Second, min(rounds, 2)
	}
	if !l.brief || l.turns != "" {
		if _, err := w.run(ctx, l, parlor.URL, time.Second); err != nil {
			return r, err
		}
	}
	plain := workload{name: "bare", path: "/", headers: l.headers, turns: l.turns}
	if l.turns != "" {
		plain.script = l.script
	}
	for range rounds {
		b, err := w.run(ctx, plain, bare, length)
		if err != nil {
			return r, err
		}
		before, err := parlor.Processor()
		if err != nil {
			return r, err
		}
		p, err := w.run(ctx, l, parlor.URL, length)
		if err != nil {
			return r, err
		}
		after, err := parlor.Processor()
		if err != nil {
			return r, err
		}
		r.bare, r.parlor = append(r.bare, b.rate), append(r.parlor, p.rate)
		r.cost = append(r.cost, microseconds(after-before)/p.requests)
	}
	return r, nil
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// ran is what wrk says of one run.
type ran struct {
	requests, rate float64 // in all, and per second
}

var (
	requestsInAll     = regexp.MustCompile(`([0-9]+) requests in`)
	requestsPerSecond = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	failed            = regexp.MustCompile(`(?m)^\s*(Non-2xx or 3xx responses: .*|Socket errors: .*)$`)
)

func (w *wrk) run(ctx context.Context, l workload, url string, length time.Duration) (ran, error) {
	w.runs++
	// wrk counts whole seconds.
	seconds := max(1, int(length.Round(time.Second)/time.Second))
	args := []string{"-c", strconv.Itoa(connections), "-t", strconv.Itoa(threads), "-d", fmt.Sprintf("%ds", seconds)}
	headers := l.headers
	if l.turns != "" {
		headers = headers[1:]
	}
	for _, h := range headers {
		args = append(args, "-H", h)
	}
	if l.script != "" {
		args = append(args, "-s", filepath.Join(w.dir, l.script))
	}
	cmd := exec.CommandContext(ctx, "wrk", append(args, url+l.path)...)
	name, _, _ := strings.Cut(l.headers[0], ":")
	cmd.Env = append(os.Environ(), fmt.Sprintf("BENCH_PREFIX=%s%d-", l.path, w.runs), "BENCH_HEADER="+name, "BENCH_VALUES="+l.turns)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return ran{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if bad := failed.FindString(string(out)); bad != "" {
		return ran{}, fmt.Errorf("%s: %s", l.name, strings.TrimSpace(bad))
	}
	all, rate := requestsInAll.FindSubmatch(out), requestsPerSecond.FindSubmatch(out)
	if all == nil || rate == nil {
		return ran{}, fmt.Errorf("wrk tells no rate:\n%s", out)
	}
	var r ran
	if r.requests, err = strconv.ParseFloat(string(all[1]), 64); err != nil {
		return ran{}, err
	}
	r.rate, err = strconv.ParseFloat(string(rate[1]), 64)
	return r, err
}
