package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

// table is what was measured.
type table struct {
	compared []string
	figures  []string
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// compare adds a workload that was driven on both servers.
func (t *table) compare(l workload, r rates) {
	parlor, bare := median(r.parlor), median(r.bare)
	ratio := parlor / bare
	row := fmt.Sprintf("%-58s %6d %10.0f %10.0f %8.2f %8.1f", l.name, l.wire(), parlor, bare, ratio, median(r.cost))
	if l.target > 0 {
		row += fmt.Sprintf(" %8.2f  %s", l.target, verdict(ratio >= l.target))
	}
	t.compared = append(t.compared, row)
}

// figure adds one number; target 0 is none, and most says that the target is a limit from above.
func (t *table) figure(name string, v float64, unit string, target float64, most bool) {
	row := fmt.Sprintf("%-52s %10.0f %-12s", name, v, unit)
	if target > 0 {
		sign, reached := "≥", v >= target
		if most {
			sign, reached = "≤", v <= target
		}
		row += fmt.Sprintf(" %s %.0f  %s", sign, target, verdict(reached))
	}
	t.figures = append(t.figures, row)
}

// memory adds how many bytes the program holds at some moment, and at most how many MB that should be; 0: no limit.
func (t *table) memory(when string, bytes int64, most float64) {
	t.figure("memory, "+when, float64(bytes)/(1<<20), "MB", most, true)
}

func verdict(reached bool) string {
	if reached {
		return "reached"
	}
	return "MISSED"
}

func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %d cores, %s; the servers and wrk share the cores.\n", cpu(), runtime.NumCPU(), runtime.Version())
	fmt.Fprintf(w, "wrk: %d connections, %d threads; medians of requests/s, Parlor and bare net/http in turns.\n", connections, threads)
	fmt.Fprintf(w, "bytes: of the credential in a request, with its header's name. µs: of processor in Parlor, for one request.\n\n")
	fmt.Fprintf(w, "%-58s %6s %10s %10s %8s %8s %8s\n%s\n", "", "bytes", "Parlor", "bare", "ratio", "µs", "target", strings.Join(t.compared, "\n"))
	fmt.Fprintf(w, "\n%s\n", strings.Join(t.figures, "\n"))
}

// cpu is the model of the processor.
func cpu() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
