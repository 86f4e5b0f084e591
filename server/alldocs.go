package server

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// namespace is which of a database's ids a listing knows.
type namespace int

const (
	allIDs namespace = iota
	designIDs
	localIDs
)

const (
	designPrefix = "_design/"
	localPrefix  = "_local/"
)

// Bounds of what is read from the store at once: ids passed over, and documents that are held.
const (
	scanRows = 10_000
	docRows  = 100
	docBytes = 4 << 20
)

// maxOffset is how far "offset" is counted; a listing that begins further in has null there.
const maxOffset = 100_000

func (s *Server) allDocs(r *request) error    { return s.list(r, allIDs) }
func (s *Server) designDocs(r *request) error { return s.list(r, designIDs) }

func (s *Server) allDocsQueries(r *request) error    { return s.listQueries(r, allIDs) }
func (s *Server) designDocsQueries(r *request) error { return s.listQueries(r, designIDs) }

// list answers GET and POST of a listing. What the query says counts more than what the body says, as in CouchDB.
func (s *Server) list(r *request, ns namespace) error {
	l := listing{limit: -1}
	if r.Method == http.MethodPost {
		body, release, err := s.posted(r)
		if err != nil {
			return err
		}
		defer release()
		if err := l.setBody(body); err != nil {
			return err
		}
	}
	if err := l.setQuery(r); err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		r.w.WriteHeader(http.StatusOK)
		return nil
	}
	st := newStream(r)
	if err := s.writeListing(r, st, ns, &l); err != nil {
		return stopped(err)
	}
	st.buf = append(st.buf, '\n')
	return stopped(st.write())
}

// listQueries answers several listings in one.
func (s *Server) listQueries(r *request, ns namespace) error {
	body, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	// All are judged before the first is answered, and read again then, so that they need not all be held.
	if err := eachQuery(r, body, (*listing).check); err != nil {
		return err
	}
	st := newStream(r)
	st.buf = append(st.buf, `{"results":[`...)
	separator := "\r\n"
	err = eachQuery(r, body, func(l *listing) error {
		st.buf = append(st.buf, separator...)
		separator = ",\r\n"
		if len(l.keys) == 1 {
			// CouchDB takes a lone key of a query as "key" when it counts the offset.
			l.start, _ = paramValue{json: l.keys[0]}.bound()
		}
		return s.writeListing(r, st, ns, l)
	})
	if err != nil {
		return stopped(err)
	}
	st.buf = append(st.buf, "\r\n]}\n"...)
	return stopped(st.write())
}

// eachQuery calls fn with the queries in a body until it fails. What a query says counts more than the parameters of the request.
func eachQuery(r *request, body jsontext.Value, fn func(l *listing) error) error {
	queries := objectMember(body, "queries")
	if queries == nil {
		return badRequest("POST body must include `queries` parameter.")
	}
	if queries[0] != '[' {
		return badRequest("`queries` member must be an array.")
	}
	base := listing{limit: -1}
	if err := base.setQuery(r); err != nil {
		return err
	}
	return elements(queries, func(query jsontext.Value) error {
		if query[0] != '{' {
			return badRequest("`queries` member must be an array of objects.")
		}
		l := base
		if err := l.setBody(query); err != nil {
			return err
		}
		return fn(&l)
	})
}

// rowWriter writes the rows of one listing.
type rowWriter struct {
	s    *Server
	r    *request
	st   *stream
	ns   namespace
	l    *listing
	skip int
	left int // rows that may follow, -1 for any number
	rows int // written
}

// writeListing appends a listing as one JSON object. Pages go to the client as they fill.
func (s *Server) writeListing(r *request, st *stream, ns namespace, l *listing) error {
	out := &rowWriter{s: s, r: r, st: st, ns: ns, l: l, skip: l.skip, left: l.limit}
	if err := out.head(); err != nil {
		return err
	}
	var err error
	switch {
	case l.hasKeys:
		err = out.writeKeys()
	case ns == localIDs:
		err = out.writeLocals()
	default:
		err = out.writeRange()
	}
	st.buf = append(st.buf, "\r\n]}"...)
	return err
}

// head appends what precedes the rows.
func (out *rowWriter) head() error {
	total, offset := -1, -1
	switch out.ns {
	case allIDs:
		info, err := out.r.db.Info()
		if err != nil {
			return err
		}
		total = int(info.DocCount)
		if offset, err = out.offset(total); err != nil {
			return err
		}
	case designIDs:
		// CouchDB counts the design documents, and gives their number as the offset of every listing.
		rng, _ := within(store.Range{}, designPrefix)
		total = 0
		err := out.each(rng, func(*store.Row) bool {
			total++
			return true
		})
		if err != nil {
			return err
		}
		if !out.l.hasKeys || out.l.start.set {
			offset = total
		}
	}
	number := func(name string, n int) {
		out.st.buf = append(out.st.buf, name...)
		if n < 0 {
			out.st.buf = append(out.st.buf, "null"...)
			return
		}
		out.st.buf = strconv.AppendInt(out.st.buf, int64(n), 10)
	}
	number(`{"total_rows":`, total)
	number(`,"offset":`, offset)
	if out.l.updateSeq {
		out.st.buf = append(out.st.buf, `,"update_seq":"`...)
		out.st.buf = append(out.r.db.AppendSeq(out.st.buf, out.r.db.UpdateSeq()), '"')
	}
	out.st.buf = append(out.st.buf, `,"rows":[`+"\r\n"...)
	return nil
}

// offset counts the documents before the first row, -1 when they are too many to count or the listing has no order.
func (out *rowWriter) offset(total int) (int, error) {
	l := out.l
	before := 0
	switch {
	case l.hasKeys && !l.start.set:
		return -1, nil
	case l.start.low && l.descending:
		before = total
	case l.start.set && !l.start.low:
		n, ok, err := out.r.db.CountBefore(l.start.id, l.descending, maxOffset)
		if err != nil || !ok {
			return -1, err
		}
		before = n
	}
	return before + min(l.skip, max(total-before, 0)), nil
}

// each calls fn with the rows of a range until it returns false, and reads from the store in bounded portions. fn must only copy.
func (out *rowWriter) each(rng store.Range, fn func(*store.Row) bool) error {
	var last []byte
	for more := true; more; {
		more = false
		n := 0
		err := out.r.db.Docs(rng, func(row *store.Row) bool {
			n++
			last = append(last[:0], row.ID...)
			if !fn(row) {
				return false
			}
			more = n == scanRows
			return !more
		})
		if err != nil {
			return err
		}
		if err := out.r.Context().Err(); err != nil {
			return err
		}
		rng = after(rng, string(last))
	}
	return nil
}

// after is what is left of a range when it has been read up to id.
func after(rng store.Range, id string) store.Range {
	if rng.Descending {
		rng.To, rng.HasTo, rng.ExclusiveTo = id, true, true
	} else {
		rng.From, rng.ExclusiveFrom = id, true
	}
	return rng
}

// writeRange writes the documents between the bounds.
func (out *rowWriter) writeRange() error {
	rng, ok := out.l.span()
	if ok && out.ns == designIDs {
		rng, ok = within(rng, designPrefix)
	}
	if !ok {
		return nil
	}
	var (
		held []store.Row // rows whose documents are wanted
		last string
		full bool
	)
	for out.left != 0 {
		held, full = held[:0], false
		err := out.each(rng, func(row *store.Row) bool {
			if out.skip > 0 {
				out.skip--
				return true
			}
			if out.left > 0 {
				out.left--
			}
			if out.l.docs {
				held = append(held, store.Row{ID: strings.Clone(row.ID), Seq: row.Seq, Leaf: row.Leaf})
				full = len(held) == docRows
			} else {
				out.row(row.ID, row.Leaf.Rev, false)
				out.st.buf = append(out.st.buf, '}')
				full = len(out.st.buf) >= pageBytes
			}
			if full {
				last = strings.Clone(row.ID)
			}
			return !full && out.left != 0
		})
		if err != nil {
			return err
		}
		for i := range held {
			if err := out.docRow(&held[i]); err != nil {
				return err
			}
		}
		if err := out.st.spill(); err != nil || !full {
			return err
		}
		rng = after(rng, last)
	}
	return nil
}

// documentOf reads the document of a row; nil when it is gone.
func documentOf(db *store.DB, row *store.Row) (*store.Doc, error) {
	doc, err := db.LeafDoc(row.ID, row.Seq, row.Leaf)
	if errors.Is(err, store.ErrMissing) {
		// It was replaced meanwhile, and compaction has taken the old body: the newer one stands for it.
		doc, err = db.Doc(row.ID)
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDeleted) {
		return nil, nil
	}
	return doc, err
}

// docRow writes the row of a document that was seen in the store, with the document.
func (out *rowWriter) docRow(row *store.Row) error {
	doc, err := documentOf(out.r.db, row)
	if err != nil || doc == nil {
		return err
	}
	out.row(doc.ID, doc.Rev, false)
	return out.doc(doc)
}

// row appends a row but for its end.
func (out *rowWriter) row(id string, r rev.ID, deleted bool) {
	out.separate()
	out.st.buf = append(out.st.buf, `{"id":`...)
	from := len(out.st.buf)
	out.st.buf = appendString(out.st.buf, id)
	to := len(out.st.buf)
	out.st.buf = append(out.st.buf, `,"key":`...)
	out.st.buf = append(out.st.buf, out.st.buf[from:to]...)
	out.st.buf = append(out.st.buf, `,"value":{"rev":`...)
	out.st.buf = appendQuotedRev(out.st.buf, r)
	if deleted {
		out.st.buf = append(out.st.buf, `,"deleted":true`...)
	}
	out.st.buf = append(out.st.buf, '}')
}

func (out *rowWriter) separate() {
	if out.rows > 0 {
		out.st.buf = append(out.st.buf, ",\r\n"...)
	}
	out.rows++
}

// doc appends the document to a row and ends it. What the caller may not see is null.
func (out *rowWriter) doc(doc *store.Doc) (err error) {
	out.st.buf = append(out.st.buf, `,"doc":`...)
	if doc != nil {
		if doc, err = out.s.visible(out.r, doc); err != nil {
			doc = nil
		}
	}
	if doc == nil {
		out.st.buf = append(out.st.buf, "null}"...)
		return nil
	}
	if out.st.buf, err = out.s.appendShown(out.st.buf, out.r.db, doc, out.l.shown); err != nil {
		return err
	}
	out.st.buf = append(out.st.buf, '}')
	return out.st.spill()
}

// writeKeys writes a row for each key, in the order asked. Ids of another namespace are passed over.
func (out *rowWriter) writeKeys() error {
	keys := out.l.keys
	if out.l.descending {
		keys = slices.Clone(keys)
		slices.Reverse(keys)
	}
	prefix := [...]string{allIDs: "", designIDs: designPrefix, localIDs: localPrefix}[out.ns]
	for _, key := range keys {
		id, isText := text(key)
		if isText && !strings.HasPrefix(id, prefix) {
			continue
		}
		if out.skip > 0 {
			out.skip--
			continue
		}
		if out.left == 0 {
			break
		}
		out.left--
		if err := out.writeKey(key, id, isText); err != nil {
			return err
		}
		if err := out.st.spill(); err != nil {
			return err
		}
		if err := out.r.Context().Err(); err != nil {
			return err
		}
	}
	return nil
}

// writeKey writes the row of one key, which names no document when it is no string.
func (out *rowWriter) writeKey(key jsontext.Value, id string, isText bool) error {
	err := error(store.ErrNotFound)
	switch {
	case isText && out.ns == localIDs:
		err = out.localKey(strings.TrimPrefix(id, localPrefix))
	case isText:
		err = out.keyRow(id)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	out.separate()
	out.st.buf = append(out.st.buf, `{"key":`...)
	out.st.buf = append(out.st.buf, key...)
	out.st.buf = append(out.st.buf, `,"error":"not_found"}`...)
	return nil
}

// keyRow writes the row of a document that is asked for by its id, deleted ones too: store.ErrNotFound.
func (out *rowWriter) keyRow(id string) error {
	if out.l.docs {
		doc, err := out.r.db.Doc(id)
		if err == nil {
			out.row(id, doc.Rev, false)
			return out.doc(doc)
		}
		if !errors.Is(err, store.ErrDeleted) {
			return err
		}
	}
	rec, err := out.r.db.Record(id)
	if err != nil {
		return err
	}
	winner := rec.Tree.Node(rec.Tree.Winner())
	out.row(id, winner.ID, winner.Deleted)
	if out.l.docs {
		return out.doc(nil)
	}
	out.st.buf = append(out.st.buf, '}')
	return nil
}

// appendShown appends a document, with its history read from the store where what is shown needs it.
func (s *Server) appendShown(dst []byte, db *store.DB, doc *store.Doc, v shown) ([]byte, error) {
	var rec *store.Record
	if v.needsRecord() {
		var err error
		if rec, err = db.Record(doc.ID); err != nil {
			return dst, err
		}
	}
	return s.appendDoc(dst, db, rec, doc, v)
}

// appendQuotedRev appends a revision id as a JSON string.
func appendQuotedRev(dst []byte, id rev.ID) []byte {
	dst = append(dst, '"')
	dst = strconv.AppendInt(dst, int64(id.Gen), 10)
	dst = append(dst, '-')
	for i := range len(id.Hash) {
		if c := id.Hash[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted := appendString(nil, id.Hash)
			return append(dst, quoted[1:]...)
		}
	}
	return append(append(dst, id.Hash...), '"')
}
