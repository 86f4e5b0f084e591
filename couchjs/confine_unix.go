//go:build unix && !linux

package couchjs

import "syscall"

// processAttributes makes a child that gets no signals meant for its parent's terminal.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// confine does nothing here: functions are held by the engine's limit and the parent's clock.
func confine(int64) {}
