//go:build linux && (amd64 || arm64)

package couchjs

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allowedCalls is what the Go runtime, a blocked read and a write need after the start. All other system calls fail with EPERM: no
// files, no sockets, no programs, no signals to others.
var allowedCalls = append([]uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_FCNTL,
	unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
	unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MREMAP, unix.SYS_BRK, unix.SYS_MINCORE,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_TGKILL,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETRANDOM, unix.SYS_RESTART_SYSCALL,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER,
}, allowedCallsOfArch...)

// Offsets in struct seccomp_data, of which the architectures here keep the low half of an argument first.
const (
	dataCall      = 0
	dataArch      = 4
	dataArgument0 = 16
	dataArgument2 = 32
)

const (
	load       = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal      = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	anyBit     = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	answerWith = unix.BPF_RET | unix.BPF_K
)

// filterCalls lets this process make no system calls but the allowed ones, in all its threads, and forbids it to gain rights. Memory
// cannot be made executable, and clone makes threads only.
func filterCalls() {
	allow := unix.SockFilter{Code: answerWith, K: unix.SECCOMP_RET_ALLOW}
	refuse := unix.SockFilter{Code: answerWith, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	program := []unix.SockFilter{
		{Code: load, K: dataArch},
		{Code: equal, K: auditArch, Jt: 1},
		{Code: answerWith, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: load, K: dataCall},
		// The C library asks for clone3 first, whose flags cannot be seen here, and takes this for an older kernel.
		{Code: equal, K: unix.SYS_CLONE3, Jf: 1},
		{Code: answerWith, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: equal, K: unix.SYS_CLONE, Jf: 4},
		{Code: load, K: dataArgument0},
		{Code: anyBit, K: unix.CLONE_THREAD, Jt: 1},
		refuse,
		allow,
	}
	for _, call := range []uint32{unix.SYS_MMAP, unix.SYS_MPROTECT} {
		program = append(program,
			unix.SockFilter{Code: equal, K: call, Jf: 4},
			unix.SockFilter{Code: load, K: dataArgument2},
			unix.SockFilter{Code: anyBit, K: unix.PROT_EXEC, Jf: 1},
			refuse,
			allow)
	}
	for _, call := range allowedCalls {
		program = append(program, unix.SockFilter{Code: equal, K: call, Jf: 1}, allow)
	}
	program = append(program, refuse)

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != nil {
		return
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, _ = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
}
