package replicate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// checkpoint is a _local document of both databases, in CouchDB's form.
type checkpoint struct {
	ID      string            `json:"_id,omitempty"`
	Rev     string            `json:"_rev,omitempty"`
	Session string            `json:"session_id"`
	Seq     jsontext.Value    `json:"source_last_seq,omitempty"`
	Version int               `json:"replication_id_version"`
	History []session         `json:"history"`
	Locals  map[string]string `json:"copied_local,omitempty"` // digests of the _local documents that were written, in the target's
}

// session is a run that came some way.
type session struct {
	ID       string         `json:"session_id"`
	Start    string         `json:"start_time"`
	End      string         `json:"end_time"`
	StartSeq jsontext.Value `json:"start_last_seq"`
	EndSeq   jsontext.Value `json:"end_last_seq"`
	Recorded jsontext.Value `json:"recorded_seq"`
	Checked  int64          `json:"missing_checked"`
	Found    int64          `json:"missing_found"`
	Read     int64          `json:"docs_read"`
	Written  int64          `json:"docs_written"`
	Failed   int64          `json:"doc_write_failures"`
}

const (
	idVersion  = 4  // of the form
	maxHistory = 50 // sessions that are kept
	maxLocals  = 1000
)

var start = jsontext.Value("0")

// readCheckpoints finds where to begin.
func (r *run) readCheckpoints(ctx context.Context) (err error) {
	if r.sourceLog, err = r.readCheckpoint(ctx, r.source); err != nil {
		return err
	}
	if r.targetLog, err = r.readCheckpoint(ctx, r.target); err != nil {
		return err
	}
	r.begun = common(&r.sourceLog, &r.targetLog)
	r.since, r.stored, r.result.Resumed = r.begun, r.begun, string(r.begun) != string(start)
	return nil
}

func (r *run) readCheckpoint(ctx context.Context, p *peer) (log checkpoint, err error) {
	err = r.retry(ctx, func() error {
		log = checkpoint{}
		return p.json(ctx, request{method: http.MethodGet, path: r.id}.local(), &log)
	})
	if isStatus(err, http.StatusNotFound) || p == r.source && isStatus(err, http.StatusForbidden, http.StatusUnauthorized) {
		return checkpoint{}, nil // a source that shows none has none
	}
	return log, err
}

// local makes the path of an id that begins with "_local/".
func (q request) local() request {
	q.path = documentPath(q.path)
	return q
}

// common is the newest position that both logs vouch for, or the start. A database that was restored from a backup, or whose last
// checkpoint was not written, is behind the other within a session: then the session's beginning counts.
func common(source, target *checkpoint) jsontext.Value {
	if source.Session != "" && source.Session == target.Session && known(source.Seq) && string(source.Seq) == string(target.Seq) {
		return source.Seq
	}
	for _, s := range source.History {
		at := slices.IndexFunc(target.History, func(t session) bool { return t.ID == s.ID && s.ID != "" })
		switch {
		case at < 0:
		case known(s.Recorded) && string(s.Recorded) == string(target.History[at].Recorded):
			return s.Recorded
		case known(s.StartSeq) && string(s.StartSeq) == string(target.History[at].StartSeq):
			return s.StartSeq
		}
	}
	return start
}

func known(seq jsontext.Value) bool { return len(seq) > 0 && seq.Kind() != 'n' }

// sequenceText is a position as a query's since takes it: servers' are strings, numbers, or arrays.
func sequenceText(seq jsontext.Value) string {
	if seq.Kind() == '"' {
		var text string
		if json.Unmarshal(seq, &text, lenient) == nil {
			return text
		}
	}
	return string(seq)
}

// advance says that everything up to seq is stored or refused. A checkpoint is written when it is time, and never covers what was refused.
func (r *run) advance(ctx context.Context, seq jsontext.Value) error {
	r.since = seq.Clone()
	if r.result.Refused == 0 && string(seq) != string(r.stored) {
		r.stored, r.unrecorded = r.since, true
	}
	if r.o.Now().Sub(r.recorded) < r.o.Checkpoint {
		return nil
	}
	return r.writeCheckpoints(ctx)
}

// writeCheckpoints records stored in both databases, once what it covers is on disk.
func (r *run) writeCheckpoints(ctx context.Context) error {
	if !r.unrecorded {
		return nil
	}
	for _, p := range []*peer{r.target, r.source} {
		// CouchDB 1 answers before it has synced; servers that know no such request have done so already.
		err := r.retry(ctx, func() error {
			return p.json(ctx, request{method: http.MethodPost, path: "/_ensure_full_commit", body: []byte("{}")}, nil)
		})
		if answer := (*AnswerError)(nil); err != nil && (!errors.As(err, &answer) || passing(err)) {
			return err
		}
	}
	if err := r.writeCheckpoint(ctx, r.target, &r.targetLog); err != nil {
		return err
	}
	if !r.result.ReadOnly {
		err := r.writeCheckpoint(ctx, r.source, &r.sourceLog)
		if isStatus(err, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed) {
			r.result.ReadOnly, err = true, nil
		}
		if err != nil {
			return err
		}
	}
	r.recorded, r.unrecorded = r.o.Now(), false
	return nil
}

// writeCheckpoint brings a log to stored. A conflict is an attempt whose answer was lost, or another run of the same replication; either way
// this run's own session is what the next will look for.
func (r *run) writeCheckpoint(ctx context.Context, p *peer, log *checkpoint) error {
	r.record(log)
	var wrote struct {
		Rev string `json:"rev"`
	}
	put := func() error {
		body, err := json.Marshal(log)
		if err != nil {
			return err
		}
		return p.json(ctx, request{method: http.MethodPut, path: r.id, body: body}.local(), &wrote)
	}
	err := r.retry(ctx, put)
	for range 5 {
		if !isStatus(err, http.StatusConflict) {
			break
		}
		there, readErr := r.readCheckpoint(ctx, p)
		if readErr != nil {
			return readErr
		}
		log.Rev = there.Rev
		err = r.retry(ctx, put)
	}
	if err == nil {
		log.Rev = wrote.Rev
	}
	return err
}

func (r *run) record(log *checkpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := session{
		ID: r.session, Start: r.started.UTC().Format(time.RFC1123), End: r.o.Now().UTC().Format(time.RFC1123),
		StartSeq: r.begun, EndSeq: r.since, Recorded: r.stored,
		Checked: r.result.Checked, Found: r.result.Written + r.result.Refused, Read: r.result.Written + r.result.Refused,
		Written: r.result.Written, Failed: r.result.Refused,
	}
	log.ID, log.Session, log.Seq, log.Version = r.id, r.session, r.stored, idVersion
	log.History = slices.DeleteFunc(log.History, func(s session) bool { return s.ID == r.session })
	log.History = slices.Insert(log.History, 0, now)
	log.History = log.History[:min(len(log.History), maxHistory)]
}
