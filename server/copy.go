package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// copyDocument stores a document under another id, attachments included.
func (s *Server) copyDocument(r *request) error {
	to, base, err := r.destination()
	if err != nil {
		return err
	}
	var from rev.ID
	if r.hasParam("rev") {
		if from, err = rev.Parse(r.param("rev")); err != nil {
			return err
		}
	}
	source, err := s.copied(r, from)
	if err != nil {
		return err
	}
	doc := &incoming{ID: to, Rev: base, Body: source.Body}
	if strings.HasPrefix(to, "_local/") {
		stored, err := s.storeLocal(r, doc)
		if err != nil {
			return err
		}
		return r.written(http.StatusCreated, to, stored, true)
	}
	if err := s.permit(r, doc); err != nil {
		return err
	}
	w, err := s.edit(r, doc, false, nil, nil)
	if err != nil {
		return err
	}
	w.Doc.Attachments = source.Attachments
	stored, err := s.commit(r, w)
	if err != nil {
		return err
	}
	return r.written(http.StatusCreated, to, stored, true)
}

// copied reads what is to be copied.
func (s *Server) copied(r *request, from rev.ID) (*store.Doc, error) {
	if r.segments[1] == "_local" {
		local, err := r.db.Local(r.args[0])
		if err != nil {
			return nil, err
		}
		return localDoc(local), nil
	}
	doc, _, err := s.document(r, r.documentID(), from, false)
	return doc, err
}

// destination reads the Destination header: an id, percent-encoded, and perhaps "?rev=" and the revision to replace.
func (r *request) destination() (id string, base rev.ID, err error) {
	header := r.Header.Get("Destination")
	if header == "" {
		return "", base, badRequest("Destination header is mandatory for COPY.")
	}
	if strings.HasPrefix(header, "http://") || strings.HasPrefix(header, "https://") {
		return "", base, badRequest("Destination URL must be relative.")
	}
	raw, query, hasQuery := strings.Cut(header, "?")
	if id, err = url.PathUnescape(raw); err != nil {
		return "", base, badRequest("invalid_url_encoding")
	}
	if hasQuery {
		text, ok := strings.CutPrefix(query, "rev=")
		if !ok {
			return "", base, errBadRev
		}
		if base, err = rev.Parse(text); err != nil {
			return "", base, err
		}
	}
	return id, base, checkID(id, r.set.maxDocumentID)
}
