package server

import (
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// bulkGet shows many revisions of many documents. The answer is written as it is read, in bounded memory.
func (s *Server) bulkGet(r *request) error {
	object, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	items, err := r.bulkGetItems(object)
	if err != nil {
		return err
	}
	v := r.shown()
	v = shown{revisions: v.revisions, attachments: v.attachments, attEncoding: v.attEncoding}
	latest := r.isTrue("latest")
	accept := r.Header.Get("Accept")
	switch {
	case strings.Contains(accept, "multipart/related"):
		return s.bulkGetMixed(r, items, v, latest, "multipart/related")
	case strings.Contains(accept, "multipart/mixed"):
		return s.bulkGetMixed(r, items, v, latest, "multipart/mixed")
	}
	return s.bulkGetJSON(r, items, v, latest)
}

// bulkItem is what _bulk_get is asked for one document.
type bulkItem struct {
	id, rev   jsontext.Value // as sent; nil when absent
	name      string         // the id
	revs      []rev.ID       // none: all leaves
	attsSince []rev.ID
	err       error // why it cannot be answered
}

func (r *request) bulkGetItems(object jsontext.Value) ([]bulkItem, error) {
	docs := objectMember(object, "docs")
	if docs == nil {
		return nil, badRequest("Missing JSON list of 'docs'.")
	}
	if docs[0] != '[' {
		return nil, badRequest("'docs' must be a JSON list.")
	}
	var items []bulkItem
	for value := range cutElements(docs) {
		if len(items) == r.set.maxBulkGet {
			return nil, &Error{Status: 413, Kind: "max_bulk_get_count_exceeded", Reason: strconv.Itoa(r.set.maxBulkGet)}
		}
		item, err := parseBulkItem(value)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// parseBulkItem reads an item. Most of what can be wrong concerns the item alone; an id that is no string refuses the request.
func parseBulkItem(value jsontext.Value) (item bulkItem, err error) {
	if value[0] != '{' {
		item.err = badRequest("document must be a JSON object")
		return item, nil
	}
	var since jsontext.Value
	var space [4]jsonMember
	for _, m := range cutMembers(space[:0], value) {
		switch string(m.name) {
		case "id":
			item.id = m.value
		case "rev":
			item.rev = m.value
		case "atts_since":
			since = m.value
		}
	}
	if item.id == nil {
		item.rev, item.err = nil, badRequest("document id missed")
		return item, nil
	}
	var ok bool
	if item.name, ok = text(item.id); !ok {
		return item, illegalID("Document id must be a string")
	}
	if item.err = checkID(item.name, 0); item.err != nil {
		item.rev = nil
		return item, nil
	}
	item.err = item.parseRevs(since)
	return item, nil
}

// parseRevs reads the revision that is asked for, and those that the client has.
func (item *bulkItem) parseRevs(since jsontext.Value) (err error) {
	if item.rev == nil {
		item.rev = jsontext.Value(`"undefined"`) // CouchDB's word
	} else {
		s, ok := text(item.rev)
		id, err := rev.Parse(s)
		if !ok || err != nil {
			return errBadRev
		}
		item.revs = []rev.ID{id}
	}
	if since != nil {
		item.attsSince, err = sinceRevs(since)
	}
	return err
}

func sinceRevs(value jsontext.Value) ([]rev.ID, error) {
	if value[0] != '[' {
		return nil, badRequest("Invalid list of revisions")
	}
	return revList(value)
}

// each calls show with every revision that an item asks for, or fail with why there is none.
func (s *Server) each(r *request, item *bulkItem, latest bool, show func(rec *store.Record, doc *store.Doc) error, fail func(rev jsontext.Value, err error) error) error {
	if item.err != nil {
		return fail(item.rev, item.err)
	}
	rec, err := r.db.Record(item.name)
	if errors.Is(err, store.ErrNotFound) {
		return fail(item.rev, errMissing)
	}
	if err != nil {
		return err
	}
	for _, o := range openRevisions(rec, item.revs, item.revs == nil, latest) {
		doc, err := s.open(r, rec, o)
		if isMissing(err) || errors.As(err, new(*Error)) {
			said := append(appendRev([]byte{'"'}, o.id), '"')
			if isMissing(err) {
				err = errMissing
			}
			err = fail(said, err)
		} else if err == nil {
			err = show(rec, doc)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shownFor is v with what an item asks for itself.
func (item *bulkItem) shownFor(v shown) shown {
	v.attsSince = item.attsSince
	v.attachments = v.attachments || item.attsSince != nil
	return v
}

// appendError writes why a revision is not there, its members in CouchDB's order.
func (item *bulkItem) appendError(dst []byte, rev jsontext.Value, err error) []byte {
	e := asError(err)
	reason, _ := e.Reason.(string)
	dst = appendOrNull(append(dst, `{"rev":`...), rev)
	dst = appendString(append(dst, `,"reason":`...), reason)
	dst = appendOrNull(append(dst, `,"id":`...), item.id)
	dst = appendString(append(dst, `,"error":`...), e.Kind)
	return append(dst, '}')
}

func appendOrNull(dst []byte, value jsontext.Value) []byte {
	if value == nil {
		return append(dst, "null"...)
	}
	return append(dst, value...)
}

func (s *Server) bulkGetJSON(r *request, items []bulkItem, v shown, latest bool) error {
	o := newOutput(r)
	o.text(`{"results":[`)
	for i := range items {
		item := &items[i]
		if i > 0 {
			o.text(",")
		}
		o.buf = appendOrNull(append(o.buf, `{"id":`...), item.id)
		o.text(`,"docs":[`)
		comma := ""
		err := s.each(r, item, latest, func(rec *store.Record, doc *store.Doc) error {
			o.text(comma + `{"ok":`)
			comma = ","
			err := o.doc(r.db, rec, doc, item.shownFor(v))
			o.text("}")
			return err
		}, func(rev jsontext.Value, err error) error {
			o.text(comma + `{"error":`)
			comma = ","
			o.buf = item.appendError(o.buf, rev, err)
			o.text("}")
			return nil
		})
		if err != nil {
			return err
		}
		o.text("]}")
		if err := o.spill(outputChunk); err != nil {
			return err
		}
	}
	return o.finish(r, "]}")
}

func (s *Server) bulkGetMixed(r *request, items []bulkItem, v shown, latest bool, kind string) error {
	m := newMixed(r, kind)
	for i := range items {
		item := &items[i]
		err := s.each(r, item, latest, func(rec *store.Record, doc *store.Doc) error {
			return m.document(r.db, rec, doc, item.shownFor(v), true)
		}, func(rev jsontext.Value, err error) error {
			return m.error(item.appendError(nil, rev, err))
		})
		if err != nil {
			return err
		}
	}
	return m.end("--")
}
