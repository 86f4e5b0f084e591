// Package replicate copies a database to another, as CouchDB's replicator does, over HTTP. It speaks the replication protocol (CouchDB's
// documentation, "CouchDB Replication Protocol") to any two servers that know it: CouchDB 1 to 3, PouchDB Server, Parlor.
//
//	result, err := replicate.Replicate(ctx, replicate.Options{
//		Source:       replicate.Peer{URL: "https://old.example.org:6984/notes", User: "admin", Password: secret},
//		Target:       replicate.Peer{URL: "http://127.0.0.1:5984/notes", Token: token},
//		CreateTarget: true,
//	})
//
// Every leaf revision of every document comes along with its history and its attachments: conflicts stay conflicts, deletions stay
// deletions. What the target has is asked for first (_revs_diff), so that nothing is copied twice and a run may be repeated at will.
//
// # How far it has come
//
// After some seconds of work, and in the end, the position in the source's changes is written into a checkpoint: a _local document of the
// same id in both databases. The next run between the two with the same selection goes on from the newest position that both remember.
// A checkpoint is written when what it covers is stored, to the target first; a run that is cut off at any moment does a part of its
// work again and loses nothing. Where the source cannot be written, each run compares everything, and copies what is new.
//
// A document that the target refuses, and only it, is passed over: it is counted and told to Options.OnRefused, and stays behind. From then on the run
// records no further position, so that the next one compares what follows again, sends what was refused once more, and nothing else twice: a
// document that is too large today may be welcome tomorrow, and none is forgotten without a word. This holds for continuous runs too, which would
// otherwise vouch to all that come later for what they have passed over; CouchDB's replicator does so. Everything else that keeps a document from
// being stored ends the run before a checkpoint could cover it.
//
// # Failures
//
// Network errors, and the statuses 408, 429 and 5xx other than 501 and 507, are tried again after a growing pause, the rest of 4xx is final. Redirects
// are not followed, so that no password goes where it was not meant to. Cancelling the context ends the run after a last checkpoint.
//
// # Memory
//
// Documents are held in memory one by one and in batches of some megabytes, attachments never: they stream from server to server,
// with multipart bodies where the servers know them.
//
// # _local documents
//
// Replication leaves _local documents behind, and some applications keep there what the documents are worthless without: Self-hosted LiveSync
// its salt, of which the vault's key is made. LocalAll and LocalIDs copy them too. The salt is copied before any document, and when the
// target has a salt of its own the run ends with ErrSalt before anything is copied.
package replicate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Options say what is copied where. Source and Target are needed, everything else has a useful zero value.
type Options struct {
	Source, Target Peer

	CreateTarget bool           // make the target's database when it is not there
	Owner        string         // the user of a Parlor server whose vault the target is, and is made as; "": it may be any database
	Continuous   bool           // go on with changes as they come, until the context is cancelled
	Security     bool           // copy the _security object first, over the target's own
	Selector     jsontext.Value // copy the documents that this Mango selector matches alone; the source must know the filter _selector
	DocIDs       []string       // copy these documents alone; not together with Selector

	LocalAll bool     // copy all _local documents but replicators' checkpoints; where the source cannot list them, LiveSync's
	LocalIDs []string // copy these _local documents, ids with "_local/"

	BatchSize   int           // changes that are read at a time; 0: 500
	Concurrency int           // groups of documents that are copied at a time; 0: 4
	Retries     int           // how often a request is tried again; 0: 8, the first 2, negative: never. Continuous: without end
	Timeout     time.Duration // how long a server may neither send nor take a byte; 0: two minutes
	Checkpoint  time.Duration // the time between checkpoints; 0: five seconds

	Backoff func(attempt int) time.Duration // the pause before attempt 1, 2, …; nil: from 250 ms, doubling up to 30 s, with some chance
	Now     func() time.Time                // nil: time.Now

	// These are called by one goroutine at a time, and the run waits for them. Any may be nil.
	OnProgress func(Progress)
	OnRefused  func(Refusal)
	OnRetry    func(err error, pause time.Duration)
}

// Progress are the counts of a run so far.
type Progress struct {
	Checked         int64 // changes that are done with: their documents are in the target, or refused
	Total           int64 // changes that are to be done in all, as far as the source tells; 0: unknown
	Written         int64 // revisions that were written
	Deletions       int64 // those of them that are deletions
	Conflicts       int64 // documents of which more than one revision was written that is no deletion
	Attachments     int64 // that were sent
	AttachmentBytes int64
	Refused         int64 // revisions that the target refused, or the source would not show
	Local           int64 // _local documents that were written
}

// Result is what a run has done.
type Result struct {
	Progress
	Created   bool     // the target's database was made
	Resumed   bool     // from a checkpoint of an earlier run
	ReadOnly  bool     // the source takes no checkpoint: the next run compares everything again
	LastSeq   string   // the position in the source's changes that the run has come to
	LocalKept []string // _local documents that the target has otherwise, and that were not touched
}

// Refusal is a revision that was not copied.
type Refusal struct {
	ID, Rev      string
	Kind, Reason string // the server's words
}

const (
	defaultBatch       = 500
	defaultConcurrency = 4
	defaultRetries     = 8
	defaultTimeout     = 2 * time.Minute
	defaultCheckpoint  = 5 * time.Second
	lastCheckpoint     = 10 * time.Second // what a cancelled run may take for it
)

// run is one replication on its way.
type run struct {
	o              Options
	source, target *peer
	id, session    string
	started        time.Time

	noBulkGet   atomic.Bool // the source does not know it
	noMultipart atomic.Bool // the target does not take it
	multipart   atomic.Bool // the target has taken it

	firstRetries int
	missing      bool // the target's database is to be made

	since      jsontext.Value // up to here everything is stored or refused
	stored     jsontext.Value // up to here everything is stored: what a checkpoint records
	begun      jsontext.Value // where this run began
	sourceLog  checkpoint
	targetLog  checkpoint
	recorded   time.Time // of the last checkpoint
	unrecorded bool      // stored, or what is known of _local documents, has changed after it

	mu     sync.Mutex // guards result, and the callbacks
	result Result
}

// Replicate copies what the target lacks. The Result tells what was done even when there is an error. Errors to branch on: *AnswerError, a server's refusal;
// *NetworkError, when trying again did not help; ErrNoTarget; ErrOwner; ErrNoOwners; ErrSalt; and the context's error after it was cancelled.
func Replicate(ctx context.Context, o Options) (Result, error) {
	r, err := newRun(o)
	if err != nil {
		return Result{}, err
	}
	defer r.source.http.CloseIdleConnections()
	defer r.target.http.CloseIdleConnections()
	err = r.all(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	r.result.LastSeq = sequenceText(r.since)
	return r.result, err
}

func newRun(o Options) (*run, error) {
	if o.Selector != nil && o.DocIDs != nil {
		return nil, errors.New("a replication is of a selector or of document ids, not of both")
	}
	if o.BatchSize <= 0 {
		o.BatchSize = defaultBatch
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	first := o.Retries
	if o.Retries == 0 {
		first, o.Retries = firstRetries, defaultRetries
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Checkpoint <= 0 {
		o.Checkpoint = defaultCheckpoint
	}
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	source, err := newPeer("source", o.Source, o)
	if err != nil {
		return nil, err
	}
	target, err := newPeer("target", o.Target, o)
	if err != nil {
		return nil, err
	}
	var session [16]byte
	rand.Read(session[:])
	now := o.Now()
	return &run{o: o, source: source, target: target, session: hex.EncodeToString(session[:]), started: now, recorded: now, firstRetries: first}, nil
}

// all is the order of things. What comes later must not make sense of what comes first undone: nothing is written before the salts are
// compared, and no document is copied to a database that lacks the salt.
func (r *run) all(ctx context.Context) error {
	source, err := r.verify(ctx)
	if err != nil {
		return err
	}
	if err := r.checkSalt(ctx); err != nil {
		return err
	}
	if err := r.createTarget(ctx); err != nil {
		return err
	}
	if err := r.checkOwner(ctx); err != nil {
		return err
	}
	if err := r.identify(ctx); err != nil {
		return err
	}
	if err := r.readCheckpoints(ctx); err != nil {
		return err
	}
	if r.o.Security {
		if err := r.copySecurity(ctx); err != nil {
			return err
		}
	}
	if err := r.copyLocals(ctx, isSalt); err != nil {
		return err
	}
	if !r.result.Resumed {
		r.count(func(p *Progress) { p.Total = source.DocCount + source.DelCount })
	}
	err = r.copyChanges(ctx)
	if err == nil {
		err = r.copyLocals(ctx, func(id string) bool { return !isSalt(id) })
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCheckpoint)
	defer cancel()
	if ctx.Err() == nil {
		last = ctx
	}
	if unwritten := r.writeCheckpoints(last); err == nil {
		err = unwritten
	}
	return err
}

// count changes the counts and reports them.
func (r *run) count(change func(*Progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.result.Progress)
	if r.o.OnProgress != nil {
		r.o.OnProgress(r.result.Progress)
	}
}

// refuse counts revisions that are not copied.
func (r *run) refuse(list []Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Refused += int64(len(list))
	if r.o.OnRefused != nil {
		for _, refused := range list {
			r.o.OnRefused(refused)
		}
	}
}
