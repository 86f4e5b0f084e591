package store

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	defaultReserve = 64 << 20
	ballastName    = "BALLAST"
	ballastBytes   = 16 << 20
	// The disk is short when less than this many reserves are free: copies of deleted databases then go, before writes are refused.
	shortReserves = 4
)

// disk watches over the free space. Pebble cannot go on after a failed write to its log, so writes are refused while there is still
// room for what Pebble itself has to write; and should the space vanish beneath it all the same (another process took it), a ballast file is
// removed and the write tried again.
type disk struct {
	fs      vfs.FS // not wrapped: the ballast must go while writes wait
	dir     string
	reserve uint64
	log     *slog.Logger
	full    atomic.Bool
	ballast atomic.Bool   // the file is there, or cannot be made
	short   chan struct{} // gets a value when the disk is found short
}

// wrap returns the file system that Pebble is to use.
func (d *disk) wrap() vfs.FS { return vfs.OnDiskFull(d.fs, d.dropBallast) }

// check returns ErrFull unless n more bytes leave the reserve free. A write that frees space in the end may use half of the reserve.
func (d *disk) check(n int, frees bool) error {
	usage, err := d.fs.GetDiskUsage(d.dir)
	if err != nil {
		// A file system that cannot tell is not refused for it.
		return nil
	}
	reserve := d.reserve
	if frees {
		reserve /= 2
	}
	if usage.AvailBytes < shortReserves*d.reserve {
		select {
		case d.short <- struct{}{}:
		default:
		}
	}
	// What is written to the log is written again to a table.
	if need := reserve + 2*uint64(n); usage.AvailBytes < need {
		if !d.full.Swap(true) {
			d.log.Error("the disk is full: writes are refused", "free", usage.AvailBytes, "needed", need)
		}
		return fmt.Errorf("%w: %d MiB are free", ErrFull, usage.AvailBytes>>20)
	}
	if !frees && d.full.Swap(false) {
		d.log.Info("the disk has room again", "free", usage.AvailBytes)
	}
	// Made once is enough: a file system that fails to make it would fail each time.
	if usage.AvailBytes > 2*d.reserve+ballastBytes && d.ballast.CompareAndSwap(false, true) {
		d.makeBallast()
	}
	return nil
}

// lacks is how many bytes more must be free for the disk not to be short.
func (d *disk) lacks() uint64 {
	usage, err := d.fs.GetDiskUsage(d.dir)
	if err != nil {
		return 0
	}
	return shortReserves*d.reserve - min(shortReserves*d.reserve, usage.AvailBytes)
}

// makeBallast sets the file's space aside. Where that is not possible there is none.
func (d *disk) makeBallast() {
	f, err := d.fs.Create(d.fs.PathJoin(d.dir, ballastName), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = f.Preallocate(0, ballastBytes)
		if closing := f.Close(); err == nil {
			err = closing
		}
	}
	if err != nil {
		d.log.Warn("no ballast file against a full disk", "error", err)
	}
}

func (d *disk) dropBallast() {
	d.log.Error("the disk is full: giving up the ballast file")
	if err := d.fs.Remove(d.fs.PathJoin(d.dir, ballastName)); err != nil {
		d.log.Error("removing the ballast file", "error", err)
	}
	d.full.Store(true)
	d.ballast.Store(false)
}

// Full reports whether writes are refused because the disk is full.
func (s *Store) Full() bool {
	if s.disk.full.Load() {
		// Nobody may have tried to write since space came back.
		_ = s.disk.check(0, false)
	}
	return s.disk.full.Load()
}
