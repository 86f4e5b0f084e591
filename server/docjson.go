package server

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// incoming is a document as a client sent it, taken apart.
type incoming struct {
	ID        string // "" when the body names none
	HasID     bool
	Rev       rev.ID   // "_rev", zero when absent
	Revisions []rev.ID // "_revisions", newest first; nil when absent
	Deleted   bool
	Body      []byte // the members that do not begin with an underscore, as one JSON object, byte for byte
	// Attachments in the order sent; Data of each is where its content comes from.
	Attachments []incomingAttachment
}

// incomingAttachment is a member of "_attachments".
type incomingAttachment struct {
	store.Attachment
	Data    jsontext.Value // base64 in a JSON string; nil for stubs and for what follows in a multipart body
	Follows bool
}

// parseDoc takes a document apart, in CouchDB's words where it is malformed (doc_validation and others). value has passed checkJSON.
func parseDoc(value jsontext.Value) (*incoming, error) { panic("todo") }

// shown says which members a document is rendered with beside its own.
type shown struct {
	revisions        bool     // _revisions
	revsInfo         bool     // _revs_info
	conflicts        bool     // _conflicts
	deletedConflicts bool     // _deleted_conflicts
	localSeq         bool     // _local_seq
	attachments      bool     // bodies of attachments in base64, else stubs
	attEncoding      bool     // att_encoding_info
	attsSince        []rev.ID // with bodies of those attachments alone that are newer than the newest of these
}

// needsRecord reports whether rendering needs the document's history beside the revision.
func (v shown) needsRecord() bool {
	return v.revisions || v.revsInfo || v.conflicts || v.deletedConflicts || v.attsSince != nil
}

// appendDoc renders a revision as CouchDB does: _id, _rev, the body's members, _deleted, _revisions, the other members asked for, _attachments. rec may be nil
// unless v.needsRecord.
func (s *Server) appendDoc(dst []byte, db *store.DB, rec *store.Record, doc *store.Doc, v shown) ([]byte, error) {
	panic("todo")
}
