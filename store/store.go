// Package store keeps databases of documents on Pebble: documents and their revision trees, the order of changes,
// attachments, _local documents, and the small objects beside a database (_security and others).
//
// (The store's manual goes here: keys, the group committer, what is durable when.)
package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Errors that callers branch on. Each is wrapped with the noun that the caller does not know.
var (
	ErrNoDatabase     = errors.New("no such database")
	ErrDatabaseExists = errors.New("the database exists")
	ErrNotFound       = errors.New("no such document")
	ErrDeleted        = errors.New("the document is deleted")
	ErrMissing        = errors.New("the revision's body is not kept")
	ErrConflict       = errors.New("document update conflict")
	ErrNoAttachment   = errors.New("no such attachment")
	ErrFull           = errors.New("the disk is full")
	ErrClosed         = errors.New("the store is closed")
	ErrCorrupt        = errors.New("the store is damaged")
)

// Options configures Open. The zero value is usable.
type Options struct {
	FS         vfs.FS           // nil: the real file system
	Log        *slog.Logger     // nil: discard
	Now        func() time.Time // nil: time.Now
	CacheBytes int64            // Pebble's block cache; 0: a default that fits the memory floors
	ReadOnly   bool             // open without writing a byte: for Check
	// ReserveBytes of disk are kept free: a write that would use them gets ErrFull. 0: 64 MiB.
	ReserveBytes uint64
}

// Store is all databases of one data directory. It is safe for concurrent use.
type Store struct{}

// Open opens the store in dir, making it when it is not there. One process may have it open.
func Open(dir string, o Options) (*Store, error) { panic("todo") }

// Close ends background work, waits for writes under way and closes the files. Later calls answer ErrClosed.
func (s *Store) Close() error { panic("todo") }

// Create makes the database name with the given _security object (JSON, kept as it is; nil means "{}"), durable when it returns.
// The name is not judged here. It fails with ErrDatabaseExists.
func (s *Store) Create(ctx context.Context, name string, security []byte) (*DB, error) { panic("todo") }

// DB returns the database name, or ErrNoDatabase. A DB stays usable after its deletion: every call then answers ErrNoDatabase.
func (s *Store) DB(name string) (*DB, error) { panic("todo") }

// Delete removes the database name and everything in it, durable when it returns, or fails with ErrNoDatabase.
func (s *Store) Delete(ctx context.Context, name string) error { panic("todo") }

// Names returns at most limit names of databases n with from <= n (from < n when after is set), in bytewise order.
func (s *Store) Names(from string, after bool, limit int) ([]string, error) { panic("todo") }

// Check verifies every invariant of the store and returns one line for each that is broken. It may run beside
// readers and writers.
func (s *Store) Check(ctx context.Context) (problems []string, err error) { panic("todo") }

// Backup writes a consistent copy of the store, which Open can open, to the new directory dir, while readers and writers go on.
// Everything that was durable when Backup was called is in it.
func (s *Store) Backup(ctx context.Context, dir string) error { panic("todo") }

// Renew gives every database a new instance, so that sequences handed out before are answered from the start: for a
// data directory that was restored from a backup.
func (s *Store) Renew(ctx context.Context) error { panic("todo") }

// Full reports whether writes are refused because the disk is full.
func (s *Store) Full() bool { panic("todo") }

// Metrics are figures for operators.
type Metrics struct {
	OpenDatabases int
	Commits       uint64 // synced batches
	Documents     uint64 // revisions written
	DiskBytes     uint64
	MemoryBytes   uint64
}

// Metrics returns the present figures.
func (s *Store) Metrics() Metrics { panic("todo") }

// Update is one entry of the server-wide log behind _db_updates: the last thing that happened to a database.
type Update struct {
	Seq  uint64
	Name string
	Type string // "created", "updated" or "deleted"
}

// Updates returns at most limit entries with Seq > since, in order. A database has one entry, its newest.
func (s *Store) Updates(since uint64, limit int) ([]Update, error) { panic("todo") }

// UpdateSeq is the Seq of the newest entry that Updates can return.
func (s *Store) UpdateSeq() uint64 { panic("todo") }

// WaitUpdate returns when UpdateSeq exceeds since, or with ctx's error, or ErrClosed.
func (s *Store) WaitUpdate(ctx context.Context, since uint64) error { panic("todo") }
