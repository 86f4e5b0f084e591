//go:build !unix

package couchjs

import "syscall"

func processAttributes() *syscall.SysProcAttr { return nil }

// confine does nothing here: functions are held by the engine's limit and the parent's clock.
func confine(int64) {}
