package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"math"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/store"
)

// maxChangesBody bounds the body of POST /{db}/_changes, since a feed may hold what it says for hours. It is enough for a hundred thousand ids.
const maxChangesBody = 4 << 20

// freeFilter is what a feed may hold of a filter without asking for a share of heldFilters.
const freeFilter = 16 << 10

// changes answers GET and POST /{db}/_changes.
func (s *Server) changes(r *request) error {
	f := s.newFeed(r)
	q := changesQuery{since: "0"}
	src, since, err := s.askedChanges(r, f, &q)
	if err != nil {
		return err
	}
	if size := src.filter.size; size > freeFilter {
		by := r.party()
		if !s.filters.take(by, size) {
			return errBusyFilters
		}
		defer s.filters.give(by, size)
	}
	if q.tag != "" {
		r.w.Header().Set("Etag", q.tag)
		if r.Method != http.MethodPost && r.matches(q.tag) {
			return r.notModified()
		}
	}
	return s.runFeed(r, f, src, since)
}

var errBusyFilters = &Error{Status: 503, Kind: "service_unavailable", Reason: "The filters of open feeds are too large; close some, or try again."}

// askedChanges reads what a request for changes asks for, query and body, and where the feed begins. The body is done with when it returns: what the source
// holds of it is copied.
func (s *Server) askedChanges(r *request, f *feed, q *changesQuery) (src *changesSource, since uint64, err error) {
	var body jsontext.Value
	if r.Method == http.MethodPost {
		data, release, err := s.changesBody(r)
		if err != nil {
			return nil, 0, err
		}
		defer release()
		body = data
	}
	if err := q.read(r, f); err != nil {
		return nil, 0, err
	}
	src = &changesSource{s: s, db: r.db, allLeaves: q.allLeaves, docs: q.docs, shown: q.shown, descending: q.descending, below: math.MaxUint64}
	if since, err = q.start(r.db); err != nil {
		return nil, 0, err
	}
	if src.filter, err = s.changesFilter(r, *q, body); err != nil {
		return nil, 0, err
	}
	if q.descending {
		since = 0
	}
	if f.kind == normalFeed {
		q.tag, err = changesTag(r, body)
	}
	return src, since, err
}

// changesBody reads the body of POST /{db}/_changes: a JSON object, or nothing, for which it returns nil.
func (s *Server) changesBody(r *request) (value jsontext.Value, release func(), err error) {
	if err := r.needJSON(); err != nil {
		return nil, nil, err
	}
	data, release, err := s.body(r, maxChangesBody)
	if err != nil || len(data) == 0 {
		return nil, release, err
	}
	return objectOf(data, release)
}

// changesQuery is what the query asks for beside what all feeds take.
type changesQuery struct {
	since      string
	filter     string
	view       string
	descending bool
	allLeaves  bool // style=all_docs
	docs       bool
	shown      shown
	tag        string // of a normal feed, a validator
}

// read reads the query. The names of parameters are taken in any case, and flags count when they are exactly "true", as in CouchDB.
func (q *changesQuery) read(r *request, f *feed) error {
	defaultTimeout := f.timeout
	for _, given := range slices.Sorted(maps.Keys(r.params)) {
		name, value := strings.ToLower(given), r.params.Get(given)
		flag := value == "true"
		switch name {
		case "since", "last-event-id":
			q.since = value
		case "filter":
			q.filter = value
		case "view":
			q.view = value
		case "descending":
			q.descending = flag
		case "include_docs":
			q.docs = flag
		case "conflicts":
			q.shown.conflicts = flag
		case "attachments":
			q.shown.attachments = flag
		case "att_encoding_info":
			q.shown.attEncoding = flag
		case "style":
			if value != "main_only" && value != "all_docs" {
				return badRequest("The style parameter should be main_only or all_docs")
			}
			q.allLeaves = value == "all_docs"
		default:
			if err := f.setParam(name, value, defaultTimeout); err != nil {
				return err
			}
		}
	}
	// A browser that connects again tells so where it was, whatever the address says that it was given.
	if last := r.Header.Get("Last-Event-ID"); last != "" && f.kind == eventsourceFeed {
		q.since = last
	}
	return nil
}

// errSince is the answer to a sequence that this server never gave.
var errSince = badRequest("Malformed sequence supplied in 'since' parameter.")

// start finds the sequence to begin after. One that lies in the future is as good as the present.
func (q *changesQuery) start(db *store.DB) (uint64, error) {
	since := unquoteSeq(q.since)
	if since == "now" {
		return db.UpdateSeq(), nil
	}
	seq, ok := db.ParseSeq(since)
	if !ok || !isSeq(since) {
		return 0, errSince
	}
	return min(seq, db.UpdateSeq()), nil
}

// isSeq reports whether a text can be a sequence that some server gave: a number, and after a "-" at least as much as this server or
// CouchDB write there. Its holder may have synced with another server under this address.
func isSeq(since string) bool {
	_, opaque, found := strings.Cut(since, "-")
	if !found {
		return true
	}
	return len(opaque) >= 16 && strings.Trim(opaque, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == ""
}

// unquoteSeq takes a sequence out of a JSON string, as which some clients send it.
func unquoteSeq(since string) string {
	if strings.HasPrefix(since, `"`) {
		if value, err := checkJSON([]byte(since)); err == nil {
			since, _ = text(value)
		}
	}
	return since
}

// changesTag is a validator of a normal feed: what it would show depends on the state of the database, on what is asked and on who asks.
func changesTag(r *request, body []byte) (string, error) {
	info, err := r.db.Info()
	if err != nil {
		return "", err
	}
	state := r.db.AppendSeq(nil, info.UpdateSeq)
	state = strconv.AppendUint(append(state, 0), info.PurgeSeq, 10)
	for _, part := range []string{r.URL.RawQuery, r.who.Name, strings.Join(r.who.Roles, ","), string(body)} {
		state = append(append(state, 0), part...)
	}
	sum := sha256.Sum256(state)
	tag := strings.ToUpper(new(big.Int).SetBytes(sum[:16]).Text(36))
	return `"` + strings.Repeat("0", 25-len(tag)) + tag + `"`, nil
}

// changesSource reads the changes of a database.
type changesSource struct {
	s          *Server
	db         *store.DB
	filter     changesFilter
	allLeaves  bool
	docs       bool // include_docs
	shown      shown
	descending bool
	top        uint64 // descending: the newest sequence when it began
	below      uint64 // descending: rows from this sequence on have been read
	batch      []heldChange
	leaves     []store.Leaf // of the batch
}

// heldChange is a change copied from the store.
type heldChange struct {
	seq    uint64
	id     string
	winner store.Leaf
	leaves []store.Leaf // to be shown
	doc    *store.Doc   // of the winner, or nil until it is needed
}

func (src *changesSource) newest() uint64 { return src.db.UpdateSeq() }

func (src *changesSource) wait(ctx context.Context, since uint64) error {
	return src.db.WaitChange(ctx, since)
}

func (src *changesSource) appendSeq(dst []byte, seq uint64) []byte { return src.db.AppendSeq(dst, seq) }

func (src *changesSource) appendPending(dst []byte, seq uint64) ([]byte, error) {
	n, err := src.pending(seq)
	if err != nil && !errors.Is(err, store.ErrNoDatabase) {
		return dst, err
	}
	return strconv.AppendUint(append(dst, `,"pending":`...), n, 10), nil
}

// pending counts the rows that a feed which has come to seq has yet to tell of.
func (src *changesSource) pending(seq uint64) (uint64, error) {
	if !src.descending {
		return src.db.ChangesAfter(seq)
	}
	all, err := src.db.ChangesAfter(0)
	if err != nil || src.below == math.MaxUint64 {
		return all, err
	}
	told, err := src.db.ChangesAfter(src.below - 1)
	return all - min(told, all), err
}

// read implements feedSource.
func (src *changesSource) read(ctx context.Context, f *feed, since uint64) (at uint64, more bool, err error) {
	if src.descending && src.top == 0 {
		src.top = src.db.UpdateSeq()
	}
	if src.docs || src.filter.byDoc != nil {
		at, more, err = src.readDocs(ctx, f, since)
	} else {
		at, more, err = src.readRows(f, since)
	}
	if err == nil && !more && f.left != 0 && src.descending {
		// All that there was has been told: what is new comes forwards.
		src.descending, at = false, src.top
	}
	return at, more, err
}

// scan calls fn with changes after since until it returns false, or enough have been read.
func (src *changesSource) scan(since uint64, fn func(*store.Change) bool) (at uint64, more bool, err error) {
	at = since
	n, from := 0, since
	if src.descending {
		from = src.below
	}
	err = src.db.Changes(from, src.descending, scanRows, func(c *store.Change) bool {
		n++
		at, src.below = c.Seq, min(src.below, c.Seq)
		if src.filter.byID != nil && !src.filter.byID(c.ID) {
			return true
		}
		more = !fn(c)
		return !more
	})
	return at, more || n == scanRows, err
}

// readRows writes rows that need no documents straight from the store.
func (src *changesSource) readRows(f *feed, since uint64) (uint64, bool, error) {
	return src.scan(since, func(c *store.Change) bool {
		leaves := c.Leaves
		if !src.allLeaves {
			leaves = leaves[:1]
		}
		src.row(f, c.Seq, c.ID, c.Leaves[0].Deleted, leaves)
		f.buf = append(f.buf, '}')
		f.shut(src, c.Seq)
		return !f.full()
	})
}

// readDocs writes rows that are judged by their documents or hold them.
func (src *changesSource) readDocs(ctx context.Context, f *feed, since uint64) (uint64, bool, error) {
	src.batch, src.leaves = src.batch[:0], src.leaves[:0]
	start := src.below
	at, more, err := src.scan(since, func(c *store.Change) bool {
		leaves := c.Leaves
		if !src.allLeaves {
			leaves = leaves[:1]
		}
		from := len(src.leaves)
		src.leaves = append(src.leaves, leaves...)
		src.batch = append(src.batch, heldChange{seq: c.Seq, id: strings.Clone(c.ID), winner: c.Leaves[0], leaves: src.leaves[from:len(src.leaves):len(src.leaves)]})
		return len(src.batch) < docRows
	})
	if err != nil {
		return at, false, err
	}
	told := 0
	for told < len(src.batch) && f.left != 0 {
		n, err := src.tell(ctx, f, src.batch[told:])
		if err != nil {
			return at, false, err
		}
		told += n
	}
	if told < len(src.batch) {
		// The limit was reached before the end of what was read.
		at, src.below, more = since, start, true
		if told > 0 {
			at = src.batch[told-1].seq
			src.below = min(start, at)
		}
	}
	// What waits for the next change must not keep documents in memory.
	clear(src.batch)
	return at, more, nil
}

// tell judges a first part of the changes, as many as fit in memory, and writes the rows of those that pass. It returns how many
// changes are done with.
func (src *changesSource) tell(ctx context.Context, f *feed, batch []heldChange) (n int, err error) {
	n = 1
	if src.filter.byDoc != nil {
		if n, err = src.judge(ctx, batch); err != nil {
			return 0, err
		}
	}
	for i := range batch[:n] {
		if f.left == 0 {
			return i, nil
		}
		if len(batch[i].leaves) == 0 {
			continue
		}
		if err := src.docRow(f, &batch[i]); err != nil {
			return i, err
		}
		if err := f.spill(); err != nil {
			return i, err
		}
	}
	return n, nil
}

// judge asks the filter about the documents of a first part of the changes and leaves each with the leaves that pass. It returns how many
// it has judged.
func (src *changesSource) judge(ctx context.Context, batch []heldChange) (n int, err error) {
	text, ends := make([]byte, 0, 32<<10), make([]int, 0, docRows)
	for n = 0; n < len(batch) && (n == 0 || len(text) < docBytes); n++ {
		if text, ends, err = src.render(text, ends, &batch[n]); err != nil {
			return n, err
		}
	}
	if len(ends) == 0 {
		return n, nil
	}
	docs, from := make([][]byte, len(ends)), 0
	for i, end := range ends {
		docs[i], from = text[from:end:end], end
	}
	passed, err := src.filter.byDoc(ctx, docs)
	if err != nil {
		return n, err
	}
	for i := range batch[:n] {
		kept := batch[i].leaves[:0]
		for _, leaf := range batch[i].leaves {
			if passed[0] {
				kept = append(kept, leaf)
			}
			passed = passed[1:]
		}
		batch[i].leaves = kept
	}
	return n, nil
}

// render appends the documents of a change to text, and where each ends to ends. Leaves that are gone are taken out of the change: a document
// that was replaced meanwhile, and compacted, is told of by a later change.
func (src *changesSource) render(text []byte, ends []int, held *heldChange) ([]byte, []int, error) {
	known := held.leaves[:0]
	for i, leaf := range held.leaves {
		doc, err := src.db.LeafDoc(held.id, held.seq, leaf)
		if errors.Is(err, store.ErrMissing) {
			continue
		}
		if err != nil {
			return text, ends, err
		}
		from := len(text)
		text, err = src.s.appendShown(text, src.db, doc, src.filter.shown)
		if errors.Is(err, store.ErrNotFound) {
			text = text[:from] // purged meanwhile
			continue
		}
		if err != nil {
			return text, ends, err
		}
		if i == 0 && src.docs {
			held.doc = doc
		}
		known, ends = append(known, leaf), append(ends, len(text))
	}
	held.leaves = known
	return text, ends, nil
}

// docRow writes a row, with the winner where documents are wanted.
func (src *changesSource) docRow(f *feed, held *heldChange) (err error) {
	if src.docs && held.doc == nil {
		held.doc, err = src.db.LeafDoc(held.id, held.seq, held.winner)
		if errors.Is(err, store.ErrMissing) {
			return nil // as in render
		}
		if err != nil {
			return err
		}
	}
	from, rows, left := len(f.buf), f.rows, f.left
	src.row(f, held.seq, held.id, held.winner.Deleted, held.leaves)
	if src.docs {
		if err := src.appendWinner(f, held); errors.Is(err, store.ErrNotFound) {
			f.buf, f.rows, f.left = f.buf[:from], rows, left
			return nil
		} else if err != nil {
			return err
		}
	}
	f.buf = append(f.buf, '}')
	f.shut(src, held.seq)
	return nil
}

func (src *changesSource) appendWinner(f *feed, held *heldChange) (err error) {
	f.buf = append(f.buf, `,"doc":`...)
	if !src.filter.projects {
		f.buf, err = src.s.appendShown(f.buf, src.db, held.doc, src.shown)
		return err
	}
	doc, err := src.s.appendShown(nil, src.db, held.doc, src.shown)
	f.buf = append(f.buf, src.filter.fields.Apply(doc)...)
	return err
}

// row begins a row: {"seq":…,"id":…,"changes":[…],"deleted":true, without the brace that ends it.
func (src *changesSource) row(f *feed, seq uint64, id string, deleted bool, leaves []store.Leaf) {
	f.open()
	f.buf = append(f.buf, `{"seq":"`...)
	f.buf = src.db.AppendSeq(f.buf, seq)
	f.buf = append(f.buf, `","id":`...)
	f.buf = appendString(f.buf, id)
	f.buf = append(f.buf, `,"changes":[`...)
	for i := range leaves {
		if i > 0 {
			f.buf = append(f.buf, ',')
		}
		f.buf = append(f.buf, `{"rev":`...)
		f.buf = appendQuotedRev(f.buf, leaves[i].Rev)
		f.buf = append(f.buf, '}')
	}
	f.buf = append(f.buf, ']')
	if deleted {
		f.buf = append(f.buf, `,"deleted":true`...)
	}
}
