package store

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Backup writes a consistent copy of the store, which Open can open, to the new directory dir, while readers and writers go on.
// Everything that was durable when Backup was called is in it. On the file system of the store it costs little: files that never change are linked, not copied.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.readOnly {
		return ErrReadOnly
	}
	s.writing.RLock()
	defer s.writing.RUnlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.pebble.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("writing the backup %s: %w", dir, err)
	}
	return nil
}
