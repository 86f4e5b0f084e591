package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/livesync"
	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// A document on its way in: parsed (parseDoc, settleRev), permitted (permit), its attachments uploaded (edit), judged and
// stored (put). Whatever fails before the last step leaves nothing behind.

// documentID is the id that the path names.
func (r *request) documentID() string {
	if id := r.args[0]; r.segments[1] != "_design" || len(r.segments) == 2 {
		return id
	}
	return "_design/" + r.args[0]
}

// parseDocument parses one document and refuses one above max_document_size.
func (r *request) parseDocument(value jsontext.Value) (*incoming, error) {
	doc, err := parseDoc(value)
	if err != nil {
		return nil, err
	}
	if int64(len(doc.Body)) > r.maxDocumentSize() {
		return nil, &Error{Status: 413, Kind: "document_too_large", Reason: doc.ID}
	}
	return doc, nil
}

// maxDocumentSize bounds a document's JSON. LiveSync's checker wants vaults to take so much, whatever the setting is.
func (r *request) maxDocumentSize() int64 {
	if r.sec.vault != nil {
		return max(r.set.maxDocumentSize, livesync.MaxDocumentSize)
	}
	return r.set.maxDocumentSize
}

// putDocument stores a document under the id of the path, whatever id it names itself.
func (s *Server) putDocument(r *request) error {
	id := r.documentID()
	if id == "_local" {
		return badRequest("Invalid _local document id.")
	}
	if err := checkID(id, r.set.maxDocumentID); err != nil {
		return err
	}
	if mediaType(r.Header.Get("Content-Type")) == "multipart/related" {
		return s.putRelated(r, id)
	}
	doc, release, err := s.sentDocument(r)
	if err != nil {
		return err
	}
	defer release()
	return s.putParsed(r, id, doc, nil)
}

// sentDocument reads the body as one document. The caller calls release when it no longer holds what is cut from the body.
func (s *Server) sentDocument(r *request) (doc *incoming, release func(), err error) {
	data, release, err := s.body(r, 0)
	if err != nil {
		return nil, nil, err
	}
	value, err := checkJSON(data)
	if err == nil {
		doc, err = r.parseDocument(value)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return doc, release, nil
}

// putParsed goes on with a PUT when its document has been read; attachments that follow come from next.
func (s *Server) putParsed(r *request, id string, doc *incoming, next follower) error {
	doc.ID = id
	if err := r.settleRev(doc); err != nil {
		return err
	}
	stored, err := s.put(r, doc, r.param("new_edits") == "false", next)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if doc.Deleted {
		status = http.StatusOK
	}
	return r.written(status, id, stored, true)
}

// settleRev finds the revision that a PUT replaces in the body, the query or If-Match, which must not contradict each other.
func (r *request) settleRev(doc *incoming) error {
	said := doc.parent()
	if r.hasParam("rev") {
		query, err := rev.Parse(r.param("rev"))
		if err != nil {
			return err
		}
		if !said.IsZero() && said != query {
			return badRequest("Document rev from request body and query string have different values")
		}
		said = query
	}
	if match := r.Header.Get("If-Match"); match != "" {
		tag, err := rev.Parse(strings.Trim(match, `"`))
		if err != nil {
			return err
		}
		if !said.IsZero() && said != tag {
			return badRequest("Document rev and etag have different values")
		}
		said = tag
	}
	doc.Rev = said
	return nil
}

// parent is the revision that a document says it replaces, or that it says it is. "_revisions" goes before "_rev".
func (doc *incoming) parent() rev.ID {
	if len(doc.Revisions) > 0 {
		return doc.Revisions[0]
	}
	return doc.Rev
}

// createDocument stores a document under the id that it names, or a new one. It knows no new_edits=false, as in CouchDB.
func (s *Server) createDocument(r *request) error {
	if err := r.needJSON(); err != nil {
		return err
	}
	doc, release, err := s.sentDocument(r)
	if err != nil {
		return err
	}
	defer release()
	if !doc.HasID {
		doc.ID = newUUID()
	}
	if err := checkID(doc.ID, r.set.maxDocumentID); err != nil {
		return err
	}
	stored, err := s.put(r, doc, false, nil)
	if err != nil {
		return err
	}
	return r.written(http.StatusCreated, doc.ID, stored, false)
}

// postDocument is CouchDB's form upload, which only its old web pages used.
func (s *Server) postDocument(*request) error {
	return &Error{Status: 415, Kind: "bad_content_type", Reason: "Forms are not taken here. PUT the document, and its attachments below it."}
}

// deleteDocument adds a tombstone to the revision that the query or If-Match names.
func (s *Server) deleteDocument(r *request) error {
	doc := &incoming{ID: r.documentID(), Deleted: true, Body: []byte("{}")}
	if err := checkID(doc.ID, r.set.maxDocumentID); err != nil {
		return err
	}
	if err := r.settleRev(doc); err != nil {
		return err
	}
	if _, err := r.db.Doc(doc.ID); err != nil {
		return err
	}
	stored, err := s.put(r, doc, false, nil)
	if err != nil {
		return err
	}
	h := r.w.Header()
	h.Set("Etag", `"`+stored.String()+`"`)
	return r.send(http.StatusOK, appendWritten(nil, doc.ID, stored))
}

// permit asks what a document needs beyond a member's rights, and applies what _users does to its documents. In a bulk its refusals, of type *Error,
// concern one row; other errors end the request.
func (s *Server) permit(r *request, doc *incoming) error {
	if strings.HasPrefix(doc.ID, "_design/") {
		if err := r.needDBAdmin(); err != nil {
			return err
		}
	}
	if r.db.Name() == usersDatabase && !strings.HasPrefix(doc.ID, "_local/") {
		return s.prepareUser(r, doc)
	}
	return nil
}

// edit makes what the store takes of a document, after its attachments have been uploaded.
func (s *Server) edit(r *request, doc *incoming, replicated bool, up *uploads, next follower) (store.Write, error) {
	w := store.Write{Doc: store.Doc{ID: doc.ID, Deleted: doc.Deleted, Body: doc.Body}}
	parent := doc.parent()
	if !parent.IsZero() && parent.Gen < 1 {
		return w, errBadRev
	}
	switch {
	case !replicated:
		w.Base = parent
	case parent.IsZero():
		return w, errNeedsRev
	case len(doc.Revisions) > 0:
		w.History = doc.Revisions
	default:
		w.History = []rev.ID{doc.Rev}
	}
	var err error
	w.Doc.Attachments, err = up.attachments(r, doc, next)
	return w, err
}

var errNeedsRev = badRequest("When `new_edits: false`, the document needs `_rev` or `_revisions` specified")

// put stores one document, also a _local one, and returns its new revision.
func (s *Server) put(r *request, doc *incoming, replicated bool, next follower) (rev.ID, error) {
	if strings.HasPrefix(doc.ID, "_local/") {
		return s.storeLocal(r, doc)
	}
	if err := s.permit(r, doc); err != nil {
		return rev.ID{}, err
	}
	up := &uploads{memory: s.bodies}
	defer up.discard()
	w, err := s.edit(r, doc, replicated, up, next)
	if err != nil {
		return rev.ID{}, err
	}
	return s.commit(r, w)
}

// commit judges one write and stores it.
func (s *Server) commit(r *request, w store.Write) (rev.ID, error) {
	check, err := s.judge(r, strings.HasPrefix(w.Doc.ID, "_design/"))
	if err != nil {
		return rev.ID{}, err
	}
	if err := precheck(r.db, &w, check); err != nil {
		return rev.ID{}, err
	}
	results, err := s.write(r, []store.Write{w}, check)
	if err != nil {
		return rev.ID{}, err
	}
	return results[0].Rev, results[0].Err
}

// judge returns the check of r's writes. Design documents are not shown to validation functions, but must be well-formed.
func (s *Server) judge(r *request, withDesign bool) (store.Check, error) {
	check, err := s.check(r)
	if err != nil || !withDesign {
		return check, err
	}
	return func(ctx context.Context, old, doc *store.Doc) error {
		if strings.HasPrefix(doc.ID, "_design/") {
			return s.checkDesign(ctx, doc)
		}
		if check == nil {
			return nil
		}
		return check(ctx, old, doc)
	}, nil
}

// precheck finds two conflicts that the store does not know: where writes are judged, CouchDB refuses a document with a revision that does
// not exist at all; and a stub that states its revpos must be right.
func precheck(db *store.DB, w *store.Write, check store.Check) error {
	stated := false
	for _, a := range w.Doc.Attachments {
		stated = stated || a.Stub && a.RevPos > 0
	}
	if w.Base.IsZero() || check == nil && !stated {
		return nil
	}
	rec, err := db.Record(w.Doc.ID)
	if errors.Is(err, store.ErrNotFound) && check != nil {
		return store.ErrConflict
	}
	if err != nil || !stated {
		return ignoreMissing(err)
	}
	i, ok := rec.Tree.Find(w.Base)
	if !ok {
		return store.ErrConflict
	}
	old, err := db.Revision(rec, i)
	if err != nil {
		return ignoreMissing(err)
	}
	for _, a := range w.Doc.Attachments {
		if !a.Stub || a.RevPos == 0 {
			continue
		}
		if before := findAttachment(old, a.Name); before != nil && before.RevPos != a.RevPos {
			return &store.StubError{ID: w.Doc.ID, Name: a.Name}
		}
	}
	return nil
}

// ignoreMissing leaves it to the write to say what the absence of a document means.
func ignoreMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrMissing) {
		return nil
	}
	return err
}

// written answers a successful write. batch=ok is answered as CouchDB does, though the document is stored already.
func (r *request) written(status int, id string, stored rev.ID, etag bool) error {
	if r.param("batch") == "ok" {
		body := appendString([]byte(`{"ok":true,"id":`), id)
		return r.send(http.StatusAccepted, append(body, '}'))
	}
	h := r.w.Header()
	if etag {
		h.Set("Etag", `"`+stored.String()+`"`)
	}
	h.Set("Location", r.absolute("/"+escapeAll(r.db.Name())+"/"+escapeAll(id)))
	return r.send(status, appendWritten(nil, id, stored))
}

// appendWritten writes {"ok":true,"id":…,"rev":…}.
func appendWritten(dst []byte, id string, stored rev.ID) []byte {
	dst = append(dst, `{"ok":true,"id":`...)
	dst = appendString(dst, id)
	dst = append(dst, `,"rev":"`...)
	dst = appendRev(dst, stored)
	return append(dst, `"}`...)
}
