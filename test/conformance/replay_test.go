package conformance

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/test/program"
)

const (
	recordings = "../../testdata/conformance"
	page       = "../../docs/differences.md"
	begin      = "<!-- made from testdata/conformance/differences.json by go test ./test/conformance -update -->\n"
	end        = "<!-- end -->\n"
)

var (
	update     = flag.Bool("update", false, "write the table of docs/differences.md")
	reportFile = flag.String("report", "", "write what failed to this file, grouped by endpoint")
)

// TestReplay sends every recorded step to the program and compares the answers.
func TestReplay(t *testing.T) {
	t.Parallel()
	table, err := LoadTable(filepath.Join(recordings, "differences.json"))
	if err != nil {
		t.Fatal(err)
	}
	failures := &report{groups: make(map[string][]string)}
	// The steps of auth make over a hundred password hashes of 600,000 rounds, which the race detector makes ten times slower.
	for _, set := range []struct {
		name string
		race bool
	}{{"auth", false}, {"docs", program.Race}} {
		t.Run(set.name, func(t *testing.T) {
			bin, err := program.Build(t.Context(), t.TempDir(), set.race)
			if err != nil {
				t.Fatal(err)
			}
			replaySet(t, bin, set.name, table, failures)
		})
	}
	if *reportFile != "" {
		if err := os.WriteFile(*reportFile, []byte(failures.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// replaySet replays the files of one folder, in order, on one fresh server.
func replaySet(t *testing.T, bin, set string, table *Table, failures *report) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "server.ini")
	b, err := os.ReadFile(filepath.Join(recordings, "server.ini"))
	if err != nil {
		t.Fatal(err)
	}
	// A copy, because changes over HTTP are written back to it.
	if err := os.WriteFile(settings, b, 0o600); err != nil {
		t.Fatal(err)
	}
	srv, err := program.Start(context.Background(), program.Options{
		Binary: bin, Data: filepath.Join(dir, "data"), Config: []string{settings}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
	}()
	c := &Client{Addr: srv.Addr, User: "admin", Password: "secret", Secret: []byte("0c0ffee0c0ffee0c0ffee0c0ffee0c0f"), Now: time.Now}
	files, err := filepath.Glob(filepath.Join(recordings, set, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings in %s: %v", set, err)
	}
	for _, f := range files {
		name := set + "/" + strings.TrimSuffix(filepath.Base(f), ".jsonl")
		steps, err := Load(f)
		if err != nil {
			t.Fatal(err)
		}
		r := replay{file: name, client: c, table: table, failures: failures}
		start := time.Now()
		t.Run(filepath.Base(name), func(t *testing.T) {
			for i := range steps {
				r.step(t, &steps[i])
			}
		})
		t.Logf("%-32s %s, %.1f s", name, r.summary(), time.Since(start).Seconds())
	}
}

// replay is the replay of one file.
type replay struct {
	file     string
	client   *Client
	table    *Table
	failures *report

	as, own, notYet, notYetAs, wrong, prepared int
}

func (r *replay) summary() string {
	return fmt.Sprintf("%3d as recorded, %2d our own, %2d wrong, %2d only prepare, not yet: %d of %d as recorded",
		r.as, r.own, r.wrong, r.prepared, r.notYetAs, r.notYet)
}

func (r *replay) step(t *testing.T, s *Step) {
	own := r.table.difference(r.file, s)
	notYet, err := r.table.notYet(r.file, s)
	if err != nil {
		t.Fatal(err)
	}
	r.failures.replayed++
	patient := s.Check && own == nil && !notYet
	got, why := r.ask(t.Context(), s, patient)
	switch {
	case !s.Check && own == nil:
		r.prepared++
	case notYet:
		r.notYet++
		if len(why) == 0 {
			r.notYetAs++
		}
	case own != nil && len(why) == 0:
		r.fail(t, s, []string{"is answered as recorded now: differences.json need not list it"})
	case own != nil:
		if why := own.differences(got, s.Unordered); len(why) > 0 {
			r.fail(t, s, why)
		} else {
			r.own++
		}
	case len(why) > 0:
		r.fail(t, s, why)
	default:
		r.as++
	}
}

// ask sends a step's request, again while it is not answered as recorded and the step has patience.
func (r *replay) ask(ctx context.Context, s *Step, patient bool) (Answer, []string) {
	deadline := time.Now().Add(s.patience())
	for {
		res, err := r.client.do(ctx, s.Request)
		if err != nil {
			return Answer{}, []string{"no answer: " + err.Error()}
		}
		got := normalise(res.status, res.header, res.body, s.Exact)
		why := differences(s.Response, got, s.Unordered)
		if len(why) == 0 || !patient || !time.Now().Before(deadline) {
			r.client.save(s.Save, res)
			return got, why
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (r *replay) fail(t *testing.T, s *Step, why []string) {
	r.wrong++
	r.failures.add(r.file, s, why)
	t.Errorf("%s: %q no. %d: %s %s\n     %s", r.file, s.Title, s.Nth, s.Request.Method, s.Request.Path, strings.Join(why, "\n     "))
}

// TestDifferencesAreOfSteps refuses entries of differences.json that name no step.
func TestDifferencesAreOfSteps(t *testing.T) {
	t.Parallel()
	table, err := LoadTable(filepath.Join(recordings, "differences.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range table.Differences {
		if d.Why == "" || strings.Contains(d.Why, "\n") {
			t.Errorf("a difference without a reason in one line: %+v", d)
		}
		for _, own := range d.Steps {
			steps, err := Load(filepath.Join(recordings, own.File+".jsonl"))
			if err != nil {
				t.Error(err)
				continue
			}
			if !slices.ContainsFunc(steps, func(s Step) bool {
				return s.Title == own.Title && (own.Nth == 0 || own.Nth == s.Nth)
			}) {
				t.Errorf("%s has no step %q no. %d", own.File, own.Title, own.Nth)
			}
		}
	}
}

// TestPage fails when the table in docs/differences.md is not made from differences.json.
func TestPage(t *testing.T) {
	t.Parallel()
	table, err := LoadTable(filepath.Join(recordings, "differences.json"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has lost its marks %q and %q", page, begin, end)
	}
	want := head + begin + "\n" + table.Markdown() + "\n" + end + tail
	if want == string(b) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: run go test ./test/conformance -run TestPage -update", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// report collects failures by endpoint.
type report struct {
	replayed int // steps
	groups   map[string][]string
}

func (r *report) add(file string, s *Step, why []string) {
	g := endpoint(s.Request)
	r.groups[g] = append(r.groups[g], fmt.Sprintf("%s: %s (no. %d)\n     %s %s\n     %s",
		file, s.Title, s.Nth, s.Request.Method, s.Request.Path, strings.Join(why, "\n     ")))
}

func (r *report) String() string {
	var b strings.Builder
	n := 0
	for _, g := range r.groups {
		n += len(g)
	}
	fmt.Fprintf(&b, "%d of %d steps fail. %s\n", n, r.replayed, time.Now().Format(time.TimeOnly))
	for _, g := range slices.Sorted(maps.Keys(r.groups)) {
		fmt.Fprintf(&b, "\n== %s (%d)\n%s\n", g, len(r.groups[g]), strings.Join(r.groups[g], "\n"))
	}
	return b.String()
}

// endpoint is the method and the path of a request with names of databases and documents left out.
func endpoint(q Request) string {
	path, _, _ := strings.Cut(q.Path, "?")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range segments {
		switch {
		case s == "_users":
		case !strings.HasPrefix(s, "_") && i == 0 && s != "":
			segments[i] = "{db}"
		case !strings.HasPrefix(s, "_") && i > 0:
			segments[i] = "{…}"
		}
	}
	return "/" + strings.Join(segments, "/") + " " + q.Method
}
