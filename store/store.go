// Package store keeps databases of documents on Pebble: documents and their revision trees, the order of changes,
// attachments, _local documents, and the small objects beside a database (_security and others).
//
// Start with [Open], take a database with [Store.DB] or [Store.Create], write with [DB.Write] and read with [DB.Doc], [DB.Changes]
// and [DB.Docs].
//
// # Keys
//
// All databases share one Pebble instance. A name leads to a number, and that number begins every key of the database, so that a database costs a
// few hundred bytes and is deleted with one range. Within it there are, by kind (keys.go names them all, record.go their values):
//
//	document id     → record: its sequence, its winner, its whole revision tree
//	update sequence → row: the document, its leaves. A document has one row, at its newest change
//	body number     → one revision's attachment metadata and JSON
//	attachment      → its owner; and its bytes, in chunks
//
// Reading a document takes its record and one body; the changes feed and _all_docs take no second look anywhere.
//
// # Writing
//
// One goroutine writes: the committer. It gathers the operations that wait, does them on records in memory, gives out
// sequences, and applies them to Pebble as one batch. Another, the publisher, waits for the batch's sync. Then it publishes a Pebble snapshot that holds
// the batch, wakes whoever waits, and answers. Meanwhile the committer does what comes, for the next batch; it applies that one when
// the callers of this one are answered. Readers use the newest snapshot and nothing else, so what has been seen survives a crash: no sequence is ever given twice.
//
// So there are two views of a database. The committer builds upon what is applied: Pebble itself, the head of the store and of each database.
// Everyone else sees what is published: the newest snapshot, the state of each database, the map of open databases. Nothing but the publisher
// carries anything from the first to the second, and refusals go the same way: a caller that is told of a conflict can read what was in the way.
//
// What can be prepared by the caller (hashes, checks, stubs) is prepared on the caller's goroutine; where the document has
// changed meanwhile, the committer hands the edit back and it is prepared again.
//
// The bytes of an attachment are written, without a sync, as they come, under a number that is marked as pending. The batch of the revision that refers to them removes
// the mark, and its sync makes them durable, because they precede it in the same log. Open removes what is still marked.
//
// # Room
//
// Bodies of revisions that were replaced stay readable until compaction ([DB.Compact]), which also runs by itself when a database holds more stale than
// living bytes. Writes are refused with [ErrFull] before the disk is full, so that reads go on.
//
// A database can be discarded instead of deleted ([Store.Discard]): it is out of the name space, and kept until it is restored or expunged. When the
// disk is short the documents of such copies go, the oldest copy's first, before writes are refused.
package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
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
	ErrReadOnly       = errors.New("the store is open for reading only")
	ErrCorrupt        = errors.New("the store is damaged")
)

// Options configures Open. The zero value is usable.
type Options struct {
	FS         vfs.FS           // nil: the real file system
	Log        *slog.Logger     // nil: discard
	Now        func() time.Time // nil: time.Now
	CacheBytes int64            // Pebble's block cache; 0: 64 MiB, which fill with use
	ReadOnly   bool             // open without writing a byte, for Check: what would write answers ErrReadOnly
	// ReserveBytes of disk are kept free: a write that would use them gets ErrFull. 0: 64 MiB.
	ReserveBytes uint64
}

const defaultCache = 64 << 20

// withDefaults fills in what the zero value leaves open.
func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = defaultReserve
	}
	return o
}

// Store is all databases of one data directory. It is safe for concurrent use.
type Store struct {
	pebble   *pebble.DB
	log      *slog.Logger
	now      func() time.Time
	readOnly bool
	disk     disk

	newest    atomic.Pointer[snapshot] // nil once closed
	snapshots sync.WaitGroup           // those not yet closed

	// writing is held for reading by everyone who hands something to the committer or writes to Pebble, and for writing by Close.
	writing sync.RWMutex
	closed  bool
	closing chan struct{} // closed when Close begins
	queue   chan *op
	work    sync.WaitGroup // the committer, the publisher, and compactions

	head     head
	turn     chan struct{} // holds a value while no group is between being applied and being answered
	applied  chan *group   // that group, from the committer to the publisher
	inFlight atomic.Int64  // its bytes, until they are on the disk

	databases databases
	updates   updates
	files     files
	compactor compactor

	commits, revisions atomic.Uint64
}

// head is where the committer stands: what the next group builds upon. It is ahead of what readers see while a group is applied and not durable yet. The
// rest of it is in each DB, and in Pebble itself, which shows a batch as soon as it is applied. The committer alone reads and changes it.
type head struct {
	nextID uint64 // of a new database
	update uint64 // the newest update sequence
}

// Open opens the store in dir, making it when it is not there. One process may have it open.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{
		log:      o.Log,
		now:      o.Now,
		readOnly: o.ReadOnly,
		disk:     disk{fs: o.FS, dir: dir, reserve: o.ReserveBytes, log: o.Log, short: make(chan struct{}, 1)},
		closing:  make(chan struct{}),
		queue:    make(chan *op, 256),
		turn:     make(chan struct{}, 1),
		applied:  make(chan *group, 1),
	}
	s.databases.open = make(map[string]weak.Pointer[DB])
	s.files.init()
	if !o.ReadOnly {
		// Pebble would make it readable by everyone.
		if err := o.FS.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	if s.pebble, err = pebble.Open(dir, s.pebbleOptions(o)); err != nil {
		return nil, fmt.Errorf("opening the store in %s: %w", dir, err)
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.pebble.Close())
	}
	return s, nil
}

// pebbleOptions are chosen for little memory when idle: memtables and cache grow with use.
func (s *Store) pebbleOptions(o Options) *pebble.Options {
	p := &pebble.Options{
		FS:                          s.disk.wrap(),
		Logger:                      pebbleLog{s.log},
		ReadOnly:                    o.ReadOnly,
		ErrorIfNotExists:            o.ReadOnly,
		FormatMajorVersion:          pebble.FormatColumnarBlocks,
		CacheSize:                   o.CacheBytes,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                1000,
		// A deleted database gives its space back soon, also when nothing else is written.
		FlushDelayDeleteRange: 10 * time.Second,
	}
	for i := range p.Levels {
		p.Levels[i].BlockSize = 8 << 10
		p.Levels[i].IndexBlockSize = 64 << 10
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	p.Experimental.FileCacheShards = 2
	return p
}

// start reads what the store must know, removes what a crash left behind, and starts the committer.
func (s *Store) start() error {
	if err := s.readFormat(); err != nil {
		return err
	}
	next, err := read(s.pebble, []byte{keyNextID})
	if err != nil {
		return err
	}
	s.head.nextID = 1
	if len(next) == 8 {
		s.head.nextID = binary.BigEndian.Uint64(next)
	}
	if err := s.updates.load(s.pebble); err != nil {
		return err
	}
	s.head.update = s.updates.newest()
	if !s.readOnly {
		if err := s.sweepUploads(); err != nil {
			return err
		}
		// Whether there is a ballast file is for check to say.
		_ = s.disk.check(0, false)
	}
	s.show(s.capture())
	if !s.readOnly {
		s.turn <- struct{}{}
		s.work.Go(s.commitLoop)
		s.work.Go(s.publishLoop)
		s.work.Go(s.compactLoop)
	}
	return nil
}

// readFormat refuses a store of another layout, and marks a new one.
func (s *Store) readFormat() error {
	v, err := read(s.pebble, []byte{keyFormat})
	switch {
	case err != nil:
		return err
	case v == nil && s.readOnly:
		return damaged("it has no format")
	case v == nil:
		return s.pebble.Set([]byte{keyFormat}, []byte{format}, pebble.Sync)
	case len(v) != 1 || v[0] != format:
		return fmt.Errorf("the store has format %d, this program reads %d", v, format)
	}
	return nil
}

// Close ends background work, waits for writes under way and closes the files. Later calls answer ErrClosed.
func (s *Store) Close() error {
	// Before the lock: a compaction between two steps must not begin another.
	s.writing.RLock()
	already := s.closed
	s.writing.RUnlock()
	if already {
		return nil
	}
	s.writing.Lock()
	if s.closed {
		s.writing.Unlock()
		return nil
	}
	s.closed = true
	close(s.closing)
	close(s.queue)
	s.writing.Unlock()
	s.work.Wait()
	if last := s.newest.Swap(nil); last != nil {
		last.release()
	}
	s.snapshots.Wait()
	var flushed error
	if !s.readOnly {
		// Opening is then quick: there is no log to replay.
		flushed = s.pebble.Flush()
	}
	return errors.Join(flushed, s.pebble.Close())
}

// Metrics are figures for operators.
type Metrics struct {
	OpenDatabases int
	Commits       uint64 // synced batches
	Documents     uint64 // revisions written
	DiskBytes     uint64
	MemoryBytes   uint64
}

// Metrics returns the present figures. All are 0 but for the counters once the store is closed.
func (s *Store) Metrics() Metrics {
	m := Metrics{Commits: s.commits.Load(), Documents: s.revisions.Load()}
	sn, err := s.snapshot()
	if err != nil {
		return m
	}
	// Close waits for the snapshot, so Pebble stays open.
	defer sn.release()
	p := s.pebble.Metrics()
	m.OpenDatabases = s.databases.count()
	m.DiskBytes = p.DiskSpaceUsage()
	m.MemoryBytes = uint64(p.BlockCache.Size) + p.MemTable.Size + p.MemTable.ZombieSize
	return m
}

// pebbleLog passes on what Pebble reports.
type pebbleLog struct{ log *slog.Logger }

func (l pebbleLog) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called when Pebble cannot know any longer what is on the disk, such as after a failed sync. Going on could lose acknowledged writes, so the process
// ends, with a trace; opening the store again recovers.
func (l pebbleLog) Fatalf(format string, args ...any) {
	text := "pebble: " + fmt.Sprintf(format, args...)
	l.log.Error(text)
	panic(text)
}
