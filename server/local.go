package server

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// _local documents are replicators' checkpoints and clients' own notes: without history, never replicated. Their revision is "0-N".
//
// CouchDB stores them whatever revision comes along, so that of two clients which write at the same time one loses its work unaware.
// Here a revision that is missing or wrong is a conflict. A document that is not there takes any revision: a client that knows an
// older database under the same name may go on.

func localDoc(l *store.Local) *store.Doc {
	return &store.Doc{ID: "_local/" + l.ID, Rev: localRev(l.N), Body: l.Body}
}

func localRev(n uint64) rev.ID { return rev.ID{Hash: strconv.FormatUint(n, 10)} }

// localBase is the N of a _local document's revision, 0 for none: errBadRev.
func localBase(id rev.ID) (uint64, error) {
	if id.IsZero() {
		return 0, nil
	}
	n, err := strconv.ParseUint(id.Hash, 10, 63)
	if err != nil || id.Gen != 0 {
		return 0, errBadRev
	}
	return n, nil
}

// storeLocal writes a _local document, or deletes it where doc says so. Attachments are dropped, as in CouchDB.
func (s *Server) storeLocal(r *request, doc *incoming) (rev.ID, error) {
	base, err := localBase(doc.parent())
	if err != nil {
		return rev.ID{}, err
	}
	id, body := strings.TrimPrefix(doc.ID, "_local/"), doc.Body
	if doc.Deleted {
		body = nil
	}
	if err := s.mayStoreLocal(r, id, body); err != nil {
		return rev.ID{}, err
	}
	n, err := r.db.PutLocal(r.Context(), id, base, body)
	if errors.Is(err, store.ErrConflict) && base != 0 {
		if _, absent := r.db.Local(id); errors.Is(absent, store.ErrNotFound) && body != nil {
			n, err = r.db.PutLocal(r.Context(), id, 0, body)
		}
	}
	if err != nil {
		return rev.ID{}, err
	}
	if doc.Deleted {
		n = 0
	}
	return localRev(n), nil
}

// saltDocument holds the salt of a LiveSync vault's encryption. All devices rely on it: without it nothing can be read any more.
const saltDocument = "obsidian_livesync_sync_parameters"

// mayStoreLocal judges a change of the _local document id, whose new body is nil when it is to be deleted. That a document's revision must be right
// is not enough to protect a salt: one that is deleted could be made anew without naming any.
func (s *Server) mayStoreLocal(r *request, id string, body []byte) error {
	if body != nil {
		if !r.mayWrite() {
			if err := r.mayCheckpoint(id, body); err != nil {
				return err
			}
		}
		return s.roomForLocal(r, id, body)
	}
	if id != saltDocument || r.sec.isAdmin(&r.who) {
		return nil
	}
	held, err := r.db.Local(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if salt, isText := text(objectMember(held.Body, "pbkdf2salt")); isText && salt != "" {
		return forbidden("This document holds the salt of the vault's encryption. Only an admin of the database may delete it.")
	}
	return nil
}

// mayWrite reports whether the caller may write documents: who may not writes checkpoints all the same.
func (r *request) mayWrite() bool {
	return r.who.Scope.Allows(r.db.Name(), true) && r.sec.mayWrite(&r.who)
}

// mayCheckpoint judges what a caller who only reads puts into a _local document: no more than a checkpoint takes, with the 50 entries that its history may
// have, and into a vault only as long as it has no more of them than its devices need. Other databases may have any number of readers, as in CouchDB.
func (r *request) mayCheckpoint(id string, body []byte) error {
	if len(id)+len(body) > checkpointBytes {
		return &Error{Status: 413, Kind: "too_large", Reason: "You may only read this database, and write checkpoints of replications. With its id one has " +
			strconv.Itoa(checkpointBytes) + " bytes at most."}
	}
	if r.sec.vault == nil {
		return nil
	}
	few, err := hasFewLocals(r.db, id)
	if err == nil && !few {
		err = &Error{Status: 413, Kind: "too_many_checkpoints", Reason: "This vault has " + strconv.Itoa(checkpointCount) +
			" _local documents. Its owner may delete those that are of no use any more."}
	}
	return err
}

// localTag is the ETag of a _local document. Revisions start again after a deletion, so it is made of the content too.
func localTag(id rev.ID, body []byte) string {
	h := sha256.New()
	h.Write([]byte(id.Hash + " "))
	h.Write(body)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

func (s *Server) getLocal(r *request) error {
	local, err := r.db.Local(r.args[0])
	if err != nil {
		return err
	}
	doc := localDoc(local)
	if r.unchanged(localTag(doc.Rev, doc.Body)) {
		return nil
	}
	return r.sendDocument(nil, doc, shown{})
}

func (s *Server) putLocal(r *request) error {
	id := "_local/" + r.args[0]
	if err := checkID(id, r.set.maxDocumentID); err != nil {
		return err
	}
	doc, release, err := s.sentDocument(r)
	if err != nil {
		return err
	}
	defer release()
	doc.ID = id
	if err := r.settleRev(doc); err != nil {
		return err
	}
	stored, err := s.storeLocal(r, doc)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if doc.Deleted {
		status = http.StatusOK
	}
	r.w.Header().Set("Etag", `"`+localTag(stored, doc.Body)+`"`)
	return r.written(status, id, stored, false)
}

func (s *Server) deleteLocal(r *request) error {
	doc := &incoming{ID: "_local/" + r.args[0], Deleted: true}
	if err := r.settleRev(doc); err != nil {
		return err
	}
	if _, err := r.db.Local(r.args[0]); err != nil {
		return err
	}
	stored, err := s.storeLocal(r, doc)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, appendWritten(nil, doc.ID, stored))
}
