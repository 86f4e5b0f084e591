package server

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/parlordb/parlor/store"
)

// databaseUpdates answers GET /_db_updates: what last happened to each database. CouchDB reads it from the database _global_changes and
// has none where that is missing; here it is always there.
func (s *Server) databaseUpdates(r *request) error {
	f := s.newFeed(r)
	since, defaultTimeout := "0", f.timeout
	for _, name := range slices.Sorted(maps.Keys(r.params)) {
		value := r.params.Get(name)
		switch {
		case name == "since":
			since = value
		case name == "heartbeat" && value == "false":
		case name == "feed" && value == "live":
			return badRequest("Supported `feed` types: normal, continuous, longpoll, eventsource")
		default:
			if err := f.setParam(name, value, defaultTimeout); err != nil {
				if name == "feed" {
					err = badRequest("Supported `feed` types: normal, continuous, longpoll, eventsource")
				}
				return err
			}
		}
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" && f.kind == eventsourceFeed {
		since = last
	}
	src := updatesSource{s.store}
	at, err := src.start(since)
	if err != nil {
		return err
	}
	if f.kind == normalFeed {
		tag := etag(src.appendSeq([]byte(r.URL.RawQuery+" "), s.store.UpdateSeq()))
		r.w.Header().Set("Etag", tag)
		if r.Method == http.MethodGet && r.matches(tag) {
			return r.notModified()
		}
	}
	return s.runFeed(r, f, src, at)
}

// updatesSource reads the server-wide log of what happened to databases.
type updatesSource struct{ store *store.Store }

// start finds the sequence to begin after.
func (src updatesSource) start(since string) (uint64, error) {
	newest := src.store.UpdateSeq()
	since = unquoteSeq(since)
	if since == "now" {
		return newest, nil
	}
	number, _, _ := strings.Cut(since, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0, errSince
	}
	return min(seq, newest), nil
}

func (src updatesSource) newest() uint64 { return src.store.UpdateSeq() }

func (src updatesSource) wait(ctx context.Context, since uint64) error {
	return src.store.WaitUpdate(ctx, since)
}

func (src updatesSource) appendSeq(dst []byte, seq uint64) []byte {
	return append(strconv.AppendUint(dst, seq, 10), "-0"...)
}

// appendPending appends nothing: CouchDB does not count the updates to come.
func (src updatesSource) appendPending(dst []byte, _ uint64) ([]byte, error) { return dst, nil }

// read implements feedSource. Databases that have no route are not told of.
func (src updatesSource) read(_ context.Context, f *feed, since uint64) (at uint64, more bool, err error) {
	const page = 500
	updates, err := src.store.Updates(since, page)
	if err != nil {
		return since, false, err
	}
	for i := range updates {
		if f.full() {
			return since, true, nil
		}
		u := &updates[i]
		since = u.Seq
		if isHidden(u.Name) {
			continue
		}
		f.open()
		f.buf = append(f.buf, `{"db_name":`...)
		f.buf = appendString(f.buf, u.Name)
		f.buf = append(f.buf, `,"type":"`...)
		f.buf = append(f.buf, u.Type...)
		f.buf = append(f.buf, `","seq":"`...)
		f.buf = append(src.appendSeq(f.buf, u.Seq), `"}`...)
		f.shut(src, u.Seq)
	}
	return since, len(updates) == page, nil
}
