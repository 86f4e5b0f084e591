package couchjs

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes makes a child that gets no signals meant for its parent's terminal, and dies with its parent.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

const nobody = 65534

// confine takes away from this process what it does not need. The engine's own limit and the parent's clock are what functions
// are held by; this is for the case that one breaks out of the engine. So a refusal, as in a container that forbids it already, is no error.
func confine(memory int64) {
	if os.Geteuid() == 0 {
		_ = syscall.Setgroups(nil)
		_ = syscall.Setgid(nobody)
		_ = syscall.Setuid(nobody)
		// A change of user takes the parent-death signal away.
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0)
	}
	// What the process has now (the Go runtime's own), the heap of the engine, and as much again for other engines and for documents on
	// their way.
	limit(unix.RLIMIT_DATA, dataSize()+2*uint64(memory)+128<<20+raceMemory)
	limit(unix.RLIMIT_CORE, 0)
	limit(unix.RLIMIT_FSIZE, 0)
	limit(unix.RLIMIT_NOFILE, 0)
	filterCalls()
}

func limit(resource int, n uint64) {
	_ = unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
}

// dataSize returns the size of the data segment as RLIMIT_DATA counts it, or a guess that is large enough.
func dataSize() uint64 {
	const guess = 1 << 30
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return guess
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 6 {
		return guess
	}
	pages, err := strconv.ParseUint(fields[5], 10, 64)
	if err != nil {
		return guess
	}
	return pages * uint64(os.Getpagesize())
}
