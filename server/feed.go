package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// feedKind is how a feed is written, and when it ends.
type feedKind int

const (
	normalFeed      feedKind = iota // one object of what there is
	longpollFeed                    // as normal, but waits for the first row
	continuousFeed                  // a line for each row, for as long as the client stays
	eventsourceFeed                 // as continuous, in the form of server-sent events (WHATWG HTML §9.2)
)

// feedSource is what a feed tells of.
type feedSource interface {
	// newest is the sequence that read, called now, comes to at least.
	newest() uint64
	// read adds rows after the sequence since to a feed, until the feed is full or there are no more. It returns how far it came and
	// whether there may be more, and never returns without having come further, unless there is no more.
	read(ctx context.Context, f *feed, since uint64) (at uint64, more bool, err error)
	// wait returns when there may be rows after since; with ctx's error, or store.ErrNoDatabase.
	wait(ctx context.Context, since uint64) error
	// appendSeq appends a sequence as clients see it, which needs no escapes in a JSON string.
	appendSeq(dst []byte, seq uint64) []byte
	// appendPending appends the member that tells how many rows follow a sequence, with a comma before it.
	appendPending(dst []byte, seq uint64) ([]byte, error)
}

// feed is an answer that grows by rows: of _changes or _db_updates.
type feed struct {
	*stream
	kind      feedKind
	left      int           // rows that may follow, -1 for any number
	rows      int           // written
	heartbeat time.Duration // between signs of life, as the client asked; 0: it asked for none, and the feed ends after timeout without a row
	silence   time.Duration // the longest without a sign of life, whatever the client asked; 0: any
	timeout   time.Duration
	now       func() time.Time
	last      time.Time // when something was written
}

// newFeed returns the feed of a request, with the defaults of what its parameters leave open.
func (s *Server) newFeed(r *request) *feed {
	timeout := milliseconds(int(positive(r.set.changesTimeout, 60_000)))
	return &feed{stream: newStream(r), left: -1, silence: r.set.feedSilence, timeout: timeout, now: s.now}
}

// full reports whether a source must stop adding rows.
func (f *feed) full() bool { return f.left == 0 || len(f.buf) >= pageBytes }

// open begins a row: the source appends one JSON object to buf, then calls shut.
func (f *feed) open() {
	switch {
	case f.kind == eventsourceFeed:
		f.buf = append(f.buf, "data: "...)
	case f.kind != continuousFeed && f.rows > 0:
		f.buf = append(f.buf, ",\r\n"...)
	}
}

func (f *feed) shut(src feedSource, seq uint64) {
	switch f.kind {
	case continuousFeed:
		f.buf = append(f.buf, '\n')
	case eventsourceFeed:
		f.buf = src.appendSeq(append(f.buf, "\nid: \""...), seq)
		f.buf = append(f.buf, "\"\n\n"...)
	}
	f.rows++
	f.left = max(f.left-1, -1)
}

// pulse is the time between signs of life; 0: there are none.
func (f *feed) pulse() time.Duration {
	if f.heartbeat == 0 || f.silence > 0 && f.silence < f.heartbeat {
		return f.silence
	}
	return f.heartbeat
}

// overdue reports whether the client should have had a sign of life.
func (f *feed) overdue() bool {
	pulse := f.pulse()
	return pulse > 0 && f.now().Sub(f.last) >= pulse
}

// beat writes a sign of life.
func (f *feed) beat() error {
	if f.kind == eventsourceFeed {
		f.buf = append(f.buf, "event: heartbeat\ndata: \n\n"...)
	} else {
		f.buf = append(f.buf, '\n')
	}
	return f.send()
}

// send writes what is gathered, and sees that it leaves.
func (f *feed) send() error {
	f.last = f.now()
	return f.flush()
}

// end writes what follows the last row.
func (f *feed) end(src feedSource, at uint64) (err error) {
	switch f.kind {
	case eventsourceFeed:
		f.buf = append(f.buf, '\n')
		return f.write()
	case continuousFeed:
		f.buf = append(f.buf, `{"last_seq":"`...)
	default:
		f.buf = append(f.buf, "\n],\n\"last_seq\":\""...)
	}
	f.buf = append(src.appendSeq(f.buf, at), '"')
	if f.buf, err = src.appendPending(f.buf, at); err != nil {
		return err
	}
	f.buf = append(f.buf, "}\n\n"...)
	return f.write()
}

// runFeed writes a feed from the sequence since on. It ends well when the feed has told what it should, after its timeout, when the server
// closes and when the database is deleted. When the caller's right to read it ends, or the client does not take it, the connection is cut.
func (s *Server) runFeed(r *request, f *feed, src feedSource, since uint64) error {
	h := r.w.Header()
	if f.kind == eventsourceFeed {
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-cache")
	}
	if r.Method == http.MethodHead {
		r.w.WriteHeader(http.StatusOK)
		return nil
	}
	right, release := s.revocations.Register(r.Context(), r.who, databaseOf(r), s.stillAllowed(r))
	defer release()
	if err := s.proven(r); err != nil {
		return err
	}
	r.watched = true // by cutOff
	defer f.cutOff(right, func() bool { return gone(r) })()
	ctx, cancel := context.WithCancel(right)
	defer cancel()
	if f.kind != normalFeed {
		// A normal feed is finished: clients take one that is short for the end of the changes.
		defer context.AfterFunc(s.closing, cancel)()
	}

	f.last = f.now()
	if f.kind == normalFeed || f.kind == longpollFeed {
		f.buf = append(f.buf, "{\"results\":[\n"...)
	}
	at, err := f.run(ctx, src, since)
	if right.Err() != nil && !(errors.Is(context.Cause(right), auth.ErrRevoked) && gone(r)) {
		panic(http.ErrAbortHandler)
	}
	if err != nil && ctx.Err() == nil && !(r.w.began && errors.Is(err, store.ErrNoDatabase)) {
		return stopped(err)
	}
	f.w.cut = nil
	return stopped(f.end(src, at))
}

// databaseOf is the name of the database that a request is for, "" for none.
func databaseOf(r *request) string {
	if r.db == nil {
		return ""
	}
	return r.db.Name()
}

// gone reports whether the request's database was deleted, which ends a feed well though nobody may read the database any more.
func gone(r *request) bool {
	if r.db == nil {
		return false
	}
	_, err := r.db.Security()
	return errors.Is(err, store.ErrNoDatabase)
}

// run writes rows until the feed should end, and returns how far it came. When ctx has ended the error says nothing of itself.
func (f *feed) run(ctx context.Context, src feedSource, at uint64) (uint64, error) {
	quiet := f.now() // since when there has been no row
	for {
		newest, rows := src.newest(), f.rows
		for more := true; more && f.left != 0; {
			var err error
			if at, more, err = src.read(ctx, f, at); err != nil {
				return at, err
			}
			if len(f.buf) >= pageBytes {
				f.last = f.now()
				if err := f.write(); err != nil {
					return at, err
				}
			}
			if f.overdue() {
				if err := f.beat(); err != nil {
					return at, err
				}
			}
			if err := ctx.Err(); err != nil {
				return at, err
			}
		}
		if f.left == 0 || f.kind == normalFeed || f.kind == longpollFeed && f.rows > 0 {
			return at, nil
		}
		at = max(at, newest)
		if f.rows > rows {
			quiet = f.now()
		}
		if err := f.send(); err != nil {
			return at, err
		}
		if again, err := f.wait(ctx, src, at, quiet); !again {
			return at, err
		}
	}
}

// wait returns true when there may be rows after the sequence at. A feed whose client asked for no heartbeats waits until its timeout after quiet.
func (f *feed) wait(ctx context.Context, src feedSource, at uint64, quiet time.Time) (again bool, err error) {
	for {
		now, pulse := f.now(), f.pulse()
		pause, ends := pulse-now.Sub(f.last), false
		if left := f.timeout - now.Sub(quiet); f.heartbeat == 0 && (pulse == 0 || left <= pause) {
			pause, ends = left, true
		}
		err := context.DeadlineExceeded
		if pause > 0 {
			limited, cancel := context.WithTimeout(ctx, pause)
			err = src.wait(limited, at)
			cancel()
		}
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, store.ErrNoDatabase):
			return false, nil
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return false, err
		case ends:
			return false, nil
		}
		if err := f.beat(); err != nil {
			return false, err
		}
	}
}

// setParam reads a parameter that all feeds take. Others are passed over.
func (f *feed) setParam(name, value string, defaultTimeout time.Duration) error {
	switch name {
	case "feed":
		kinds := map[string]feedKind{"normal": normalFeed, "longpoll": longpollFeed, "continuous": continuousFeed, "live": continuousFeed, "eventsource": eventsourceFeed}
		kind, ok := kinds[value]
		if !ok {
			return badRequest("Supported `feed` types: normal, continuous, live, longpoll, eventsource")
		}
		f.kind = kind
	case "limit":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return badRequest("The limit parameter should be a non-negative integer")
		}
		f.left = n
	case "timeout":
		n, err := strconv.Atoi(value)
		if value != "infinity" && (err != nil || n < 0) {
			return badRequest("The timeout parameter should be a non-negative integer")
		}
		f.timeout = defaultTimeout
		if err == nil {
			f.timeout = min(f.timeout, milliseconds(n))
		}
	case "heartbeat":
		n, err := strconv.Atoi(value)
		if value != "true" && (err != nil || n <= 0) {
			return badRequest("The heartbeat value should be a positive integer (in milliseconds).")
		}
		f.heartbeat = defaultTimeout
		if err == nil {
			f.heartbeat = min(f.heartbeat, milliseconds(n))
		}
	}
	return nil
}

// milliseconds is n milliseconds, n >= 0, or the longest duration.
func milliseconds(n int) time.Duration {
	const most = 1<<63 - 1
	if n > most/int(time.Millisecond) {
		return most
	}
	return time.Duration(n) * time.Millisecond
}
