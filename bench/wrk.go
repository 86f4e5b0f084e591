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
)

const (
	connections = 16
	threads     = 2
)

//go:embed put.lua
var putScript []byte

// A workload is one kind of request that wrk sends again and again.
type workload struct {
	name    string
	path    string
	headers []string
	put     bool    // a PUT with an id of its own each time
	target  float64 // of the bare server's figure
}

func workloads(c *client, k *keys) []workload {
	bearer := "Authorization: " + k.bearer
	return []workload{
		{name: "/_session with an ES256 token", path: "/_session", headers: []string{bearer}, target: 0.70},
		{name: "/_session with Basic", path: "/_session", headers: []string{"Authorization: " + userBasic}, target: 0.70},
		{name: "/_session with a cookie", path: "/_session", headers: []string{"Cookie: " + c.cookie}, target: 0.70},
		{name: "GET one document, ES256", path: "/bench/one", headers: []string{bearer}, target: 0.50},
		{name: "PUT one document, durable", path: "/bench/", headers: []string{bearer, "Content-Type: application/json"}, put: true, target: 0.20},
	}
}

// wrk runs the program wrk.
type wrk struct {
	dir    string
	length time.Duration
	runs   int
}

func (w *wrk) script() string { return filepath.Join(w.dir, "put.lua") }

func (w *wrk) writeScripts() error { return os.WriteFile(w.script(), putScript, 0o600) }

// rates are requests per second, one for each round.
type rates struct {
	parlor, bare []float64
}

// alternate drives the two servers in turns. The first turn of each is not counted.
func (w *wrk) alternate(ctx context.Context, l workload, parlor, bare string, rounds int) (rates, error) {
	var r rates
	if _, err := w.run(ctx, l, parlor, time.Second); err != nil {
		return r, err
	}
	plain := workload{name: "bare", path: "/", headers: l.headers}
	for range rounds {
		b, err := w.run(ctx, plain, bare, w.length)
		if err != nil {
			return r, err
		}
		p, err := w.run(ctx, l, parlor, w.length)
		if err != nil {
			return r, err
		}
		r.parlor, r.bare = append(r.parlor, p), append(r.bare, b)
	}
	return r, nil
}

var (
	requestsPerSecond = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	failed            = regexp.MustCompile(`(?m)^\s*(Non-2xx or 3xx responses: .*|Socket errors: .*)$`)
)

func (w *wrk) run(ctx context.Context, l workload, url string, length time.Duration) (float64, error) {
	w.runs++
	// wrk counts whole seconds.
	seconds := max(1, int(length.Round(time.Second)/time.Second))
	args := []string{"-c", strconv.Itoa(connections), "-t", strconv.Itoa(threads), "-d", fmt.Sprintf("%ds", seconds)}
	for _, h := range l.headers {
		args = append(args, "-H", h)
	}
	if l.put {
		args = append(args, "-s", w.script())
	}
	cmd := exec.CommandContext(ctx, "wrk", append(args, url+l.path)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("BENCH_PREFIX=%s%d-", l.path, w.runs))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if bad := failed.FindString(string(out)); bad != "" {
		return 0, fmt.Errorf("%s: %s", l.name, strings.TrimSpace(bad))
	}
	m := requestsPerSecond.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("wrk tells no rate:\n%s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
