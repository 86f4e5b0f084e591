package server

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// bulkDocs stores many documents in one batch. What makes the request malformed refuses it whole, before anything is written;
// what is wrong with a document alone is told in its row.
func (s *Server) bulkDocs(r *request) error {
	object, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	b := &bulk{uploads: uploads{memory: s.bodies}}
	defer b.uploads.discard()
	if err := b.parse(r, object); err != nil {
		return err
	}
	if err := s.prepareBulk(r, b); err != nil {
		return err
	}
	if err := s.storeBulk(r, b); err != nil {
		return err
	}
	return r.send(http.StatusCreated, b.answer())
}

// bulk is a _bulk_docs request on its way.
type bulk struct {
	replicated bool // new_edits=false
	docs       []*incoming
	results    []store.Result // of each document
	writes     []store.Write
	rows       []int // of each write, the document's index
	uploads    uploads
}

// parse reads the request: every document must be well-formed.
func (b *bulk) parse(r *request, object jsontext.Value) error {
	var docs jsontext.Value
	for _, m := range cutMembers(nil, object) {
		switch string(m.name) {
		case "docs":
			docs = m.value
		case "new_edits":
			b.replicated = string(m.value) == "false"
		}
	}
	if docs == nil {
		return badRequest("POST body must include `docs` parameter.")
	}
	if docs[0] != '[' {
		return badRequest("`docs` parameter must be an array.")
	}
	for value := range cutElements(docs) {
		if len(b.docs) == r.set.maxBulkDocs {
			return &Error{Status: 413, Kind: "max_bulk_docs_count_exceeded", Reason: strconv.Itoa(r.set.maxBulkDocs)}
		}
		doc, err := r.parseDocument(value)
		if err != nil {
			return err
		}
		if !doc.HasID {
			doc.ID = newUUID()
		}
		if err := checkID(doc.ID, r.set.maxDocumentID); err != nil {
			return err
		}
		if b.replicated && doc.parent().IsZero() {
			return errNeedsRev
		}
		b.docs = append(b.docs, doc)
	}
	return nil
}

// prepareBulk makes the writes of those documents that the caller may write.
func (s *Server) prepareBulk(r *request, b *bulk) error {
	b.results = make([]store.Result, len(b.docs))
	b.writes, b.rows = make([]store.Write, 0, len(b.docs)), make([]int, 0, len(b.docs))
	for i, doc := range b.docs {
		if strings.HasPrefix(doc.ID, "_local/") {
			continue
		}
		if err := s.permit(r, doc); err != nil {
			if _, refused := errors.AsType[*Error](err); !refused {
				return err
			}
			b.results[i].Err = err
			continue
		}
		w, err := s.edit(r, doc, b.replicated, &b.uploads, nil)
		if err != nil {
			return err
		}
		b.writes, b.rows = append(b.writes, w), append(b.rows, i)
	}
	return nil
}

// storeBulk writes, the _local documents one by one.
func (s *Server) storeBulk(r *request, b *bulk) error {
	design := false
	for i := range b.writes {
		design = design || strings.HasPrefix(b.writes[i].Doc.ID, "_design/")
	}
	check, err := s.judge(r, design)
	if err != nil {
		return err
	}
	if err := b.precheck(r.db, check); err != nil {
		return err
	}
	if len(b.writes) > 0 {
		results, err := s.write(r, b.writes, check)
		if err != nil {
			return err
		}
		for i, row := range b.rows {
			b.results[row] = results[i]
		}
	}
	for i, doc := range b.docs {
		if strings.HasPrefix(doc.ID, "_local/") {
			b.results[i].Rev, b.results[i].Err = s.storeLocal(r, doc)
		}
	}
	return nil
}

// precheck takes out the writes that precheck refuses.
func (b *bulk) precheck(db *store.DB, check store.Check) error {
	kept := 0
	for i := range b.writes {
		err := precheck(db, &b.writes[i], check)
		if stub := (*store.StubError)(nil); errors.Is(err, store.ErrConflict) || errors.As(err, &stub) {
			b.results[b.rows[i]].Err = err
			continue
		}
		if err != nil {
			return err
		}
		b.writes[kept], b.rows[kept] = b.writes[i], b.rows[i]
		kept++
	}
	b.writes, b.rows = b.writes[:kept], b.rows[:kept]
	return nil
}

// answer has a row for each document; for replicated ones only where something failed.
func (b *bulk) answer() []byte {
	body := append(make([]byte, 0, 32+96*len(b.docs)), '[')
	for i, doc := range b.docs {
		result := &b.results[i]
		if result.Err == nil && b.replicated {
			continue
		}
		if len(body) > 1 {
			body = append(body, ',')
		}
		if result.Err == nil {
			body = appendWritten(body, doc.ID, result.Rev)
			continue
		}
		var said rev.ID
		if b.replicated {
			said = doc.parent()
		}
		body = appendFailed(body, doc.ID, said, result.Err)
	}
	return append(body, ']')
}

// appendFailed writes {"id":…,"rev":…,"error":…,"reason":…}, without rev when it is zero.
func appendFailed(dst []byte, id string, said rev.ID, err error) []byte {
	dst = appendString(append(dst, `{"id":`...), id)
	if !said.IsZero() {
		dst = append(appendRev(append(dst, `,"rev":"`...), said), '"')
	}
	dst = append(dst, ',')
	at := len(dst)
	dst = asError(err).append(dst)
	copy(dst[at:], dst[at+1:]) // without the brace that begins the error's object
	return dst[:len(dst)-1]
}
