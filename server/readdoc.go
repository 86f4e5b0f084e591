package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// docQuery is what the parameters of a GET of a document ask for.
type docQuery struct {
	rev      rev.ID // zero: the winner
	openRevs bool
	all      bool     // open_revs=all
	revs     []rev.ID // open_revs=[…]
	latest   bool
	shown    shown
}

func (r *request) docQuery() (q docQuery, err error) {
	if r.hasParam("rev") {
		if q.rev, err = rev.Parse(r.param("rev")); err != nil {
			return q, err
		}
	}
	q.latest = r.isTrue("latest")
	q.shown = r.shown()
	if since := r.param("atts_since"); r.hasParam("atts_since") {
		if q.shown.attsSince, err = parseRevs([]byte(since)); err != nil {
			return q, err
		}
		q.shown.attachments = true
	}
	switch open := r.param("open_revs"); {
	case open == "all":
		q.openRevs, q.all = true, true
	case r.hasParam("open_revs"):
		q.revs, err = parseRevs([]byte(open))
		q.openRevs = len(q.revs) > 0 // CouchDB takes an empty list for none
	}
	return q, err
}

// shown reads the parameters that say what a document is shown with.
func (r *request) shown() shown {
	meta := r.isTrue("meta")
	return shown{
		revisions:        r.isTrue("revs"),
		revsInfo:         meta || r.isTrue("revs_info"),
		conflicts:        meta || r.isTrue("conflicts"),
		deletedConflicts: meta || r.isTrue("deleted_conflicts"),
		localSeq:         r.isTrue("local_seq"),
		attachments:      r.isTrue("attachments"),
		attEncoding:      r.isTrue("att_encoding_info"),
	}
}

// parseRevs reads a JSON array of revisions. It is never nil without an error.
func parseRevs(data []byte) ([]rev.ID, error) {
	value, err := checkJSON(data)
	if err != nil {
		return nil, err
	}
	if value[0] != '[' {
		return nil, badRequest("Invalid list of revisions")
	}
	return revList(value)
}

// revList reads the elements of a JSON array as revisions: errBadRev. It is never nil without an error.
func revList(array jsontext.Value) ([]rev.ID, error) {
	ids := []rev.ID{}
	for v := range cutElements(array) {
		s, ok := text(v)
		if !ok {
			return nil, errBadRev
		}
		id, err := rev.Parse(s)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// getDocument shows a revision, or several with open_revs.
func (s *Server) getDocument(r *request) error {
	id := r.documentID()
	if checkID(id, 0) != nil {
		return errMissing // no document can have it
	}
	q, err := r.docQuery()
	if err != nil {
		return err
	}
	if q.openRevs {
		return s.openRevs(r, id, q)
	}
	if q.latest {
		q.rev = rev.ID{} // as in CouchDB, which shows the winner whatever revision is asked for
	}
	v := q.shown
	if !q.rev.IsZero() {
		// These tell about the document as a whole; CouchDB shows them with the winner alone.
		v.revsInfo, v.conflicts, v.deletedConflicts, v.localSeq = false, false, false, false
	}
	doc, rec, err := s.document(r, id, q.rev, v.needsRecord())
	if err != nil {
		return err
	}
	if !v.tellsMore(rec, doc) && r.unchanged(doc.Rev.String()) {
		return nil
	}
	if v.attachments && len(doc.Attachments) > 0 && acceptsType(r.Header.Get("Accept"), "multipart/related") {
		return s.sendRelated(r, rec, doc, v)
	}
	return r.sendDocument(rec, doc, v)
}

// tellsMore reports whether an answer says what can change while the revision stays: then it has no ETag.
func (v shown) tellsMore(rec *store.Record, doc *store.Doc) bool {
	return v.revsInfo || v.localSeq ||
		v.conflicts && len(otherLeaves(rec, doc.Rev, false)) > 0 ||
		v.deletedConflicts && len(otherLeaves(rec, doc.Rev, true)) > 0
}

// unchanged sets the ETag, and answers 304 when the client has the same already. A proxy that packs the answer calls the tag weak.
func (r *request) unchanged(tag string) bool {
	h := r.w.Header()
	tag = `"` + tag + `"`
	h.Set("Etag", tag)
	for item := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(item), "W/") == tag {
			h.Del("Content-Type")
			h.Del("Cache-Control")
			r.w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

// sendDocument answers with a document as JSON: in one piece, unless attachments make it large.
func (r *request) sendDocument(rec *store.Record, doc *store.Doc, v shown) error {
	var inline int64
	if v.attachments {
		for _, a := range doc.Attachments {
			inline += a.Length
		}
	}
	if inline <= freeBody {
		o := &output{}
		if err := o.doc(r.db, rec, doc, v); err != nil {
			return err
		}
		return r.send(http.StatusOK, o.buf)
	}
	if r.Method == http.MethodHead {
		r.w.WriteHeader(http.StatusOK)
		return nil
	}
	o := newOutput(r)
	if err := o.doc(r.db, rec, doc, v); err != nil {
		return err
	}
	return o.finish(r, "")
}

// document reads a revision as the caller may see it: the winner for the zero id. The record comes with it when it is wanted or had to be
// read anyway.
func (s *Server) document(r *request, id string, want rev.ID, withRecord bool) (doc *store.Doc, rec *store.Record, err error) {
	if want.IsZero() && !withRecord {
		doc, err = r.db.Doc(id)
	} else {
		doc, rec, err = revision(r.db, id, want)
	}
	if err == nil {
		doc, err = s.visible(r, doc)
	}
	return doc, rec, err
}

// revision reads a document's revision, the winner for the zero id, and the document's record.
func revision(db *store.DB, id string, want rev.ID) (*store.Doc, *store.Record, error) {
	rec, err := db.Record(id)
	if err != nil {
		return nil, nil, err
	}
	i := rec.Tree.Winner()
	if want.IsZero() {
		if rec.Tree.Node(i).Deleted {
			return nil, nil, store.ErrDeleted
		}
	} else {
		var ok bool
		if i, ok = rec.Tree.Find(want); !ok {
			return nil, nil, store.ErrMissing
		}
	}
	doc, err := db.Revision(rec, i)
	return doc, rec, err
}

// visible is what the caller may see of a document that the store gave out; all that reads single documents asks it.
func (s *Server) visible(r *request, doc *store.Doc) (*store.Doc, error) {
	if r.db.Name() != usersDatabase {
		return doc, nil
	}
	return s.userView(r, doc)
}

// isMissing reports whether an error means that there is no such revision to be seen.
func isMissing(err error) bool {
	return errors.Is(err, store.ErrMissing) || errors.Is(err, store.ErrNotFound) || errors.Is(err, errMissing)
}
