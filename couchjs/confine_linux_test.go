package couchjs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChildIsConfined(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	if err := validate(p, "function(n) {}", "{}"); err != nil {
		t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d/", idlePIDs(p)[0])
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Max core file size 0 0 bytes", "Max open files 0 0 files", "Max file size 0 0 bytes"} {
		if !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), want) {
			t.Errorf("no %q in %s", want, limits)
		}
	}
	if strings.Contains(string(limits), "Max data size             unlimited") {
		t.Errorf("the data segment is not limited: %s", limits)
	}
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 && !strings.Contains(string(status), "Uid:\t65534\t65534\t65534\t65534") {
		t.Errorf("the child has root's rights: %s", status)
	}
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in %s", want, status)
		}
	}
	// Every thread must be held, also those that were there before.
	tasks, err := filepath.Glob(proc + "task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("threads %v, %v", tasks, err)
	}
	for _, task := range tasks {
		if status, err := os.ReadFile(task); err == nil && !strings.Contains(string(status), "Seccomp:\t2") {
			t.Errorf("%s is not held", task)
		}
	}
	if environ, err := os.ReadFile(proc + "environ"); err == nil && len(environ) > 0 {
		t.Errorf("environment %q", environ)
	}
}
