package server

import (
	"encoding/base64"
	"io"
	"net/http"
	"strconv"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

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
	follows          bool     // with attachments: their bodies follow in a multipart body
}

// needsRecord reports whether rendering needs the document's history beside the revision.
func (v shown) needsRecord() bool {
	return v.revisions || v.revsInfo || v.conflicts || v.deletedConflicts || v.attsSince != nil
}

// maxInline bounds the attachments that one document may bring into memory as base64. Answers that are streamed know no such bound.
const maxInline = 64 << 20

// appendDoc renders a revision as CouchDB does: _id, _rev, the body's members, _deleted, _revisions, the other members asked for, _attachments. rec may be nil
// unless v.needsRecord. It fails when an attachment cannot be read, or with a 413 when the attachments asked for are too large to be held in memory.
func (s *Server) appendDoc(dst []byte, db *store.DB, rec *store.Record, doc *store.Doc, v shown) ([]byte, error) {
	if v.attachments && !v.follows {
		var total int64
		for _, a := range doc.Attachments {
			total += a.Length
		}
		if total > maxInline {
			return dst, &Error{Status: 413, Kind: "too_large", Reason: "The attachments of " + doc.ID + " are too large to be sent within a list."}
		}
	}
	o := output{buf: dst}
	err := o.doc(db, rec, doc, v)
	return o.buf, err
}

// output gathers an answer. With out set, what exceeds a chunk is passed on; else all stays in buf.
type output struct {
	buf     []byte
	out     io.Writer
	spilled bool // something was passed on
}

// outputChunk is what an output holds before it passes it on.
const outputChunk = 64 << 10

// newOutput returns an output that writes to the client; to nobody, for HEAD.
func newOutput(r *request) *output {
	o := &output{out: &r.w}
	if r.Method == http.MethodHead {
		o.out = io.Discard
	}
	return o
}

// Write makes an output the end of an encoder.
func (o *output) Write(p []byte) (int, error) {
	o.buf = append(o.buf, p...)
	return len(p), o.spill(outputChunk)
}

// text appends plain text, such as JSON's punctuation.
func (o *output) text(s string) { o.buf = append(o.buf, s...) }

// spill passes on what is gathered if there is as much as least. It never fails without out.
func (o *output) spill(least int) error {
	if o.out == nil || len(o.buf) < least || len(o.buf) == 0 {
		return nil
	}
	o.spilled = true
	_, err := o.out.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}

// end appends the last of an answer and passes all on. The header is sent if nothing else was.
func (o *output) end(last string) error {
	o.text(last)
	return o.spill(0)
}

// finish ends an answer in JSON: with its length in front, if nothing was passed on yet.
func (o *output) finish(r *request, last string) error {
	o.text(last)
	if !o.spilled {
		return r.send(http.StatusOK, o.buf)
	}
	if r.Method == http.MethodHead {
		r.w.WriteHeader(http.StatusOK)
		return nil
	}
	return o.end("\n")
}

// doc writes a document as appendDoc says.
func (o *output) doc(db *store.DB, rec *store.Record, doc *store.Doc, v shown) error {
	dst := append(o.buf, `{"_id":`...)
	dst = appendString(dst, doc.ID)
	dst = append(dst, `,"_rev":"`...)
	dst = appendRev(dst, doc.Rev)
	dst = append(dst, '"')
	if len(doc.Body) > 2 {
		dst = append(dst, ',')
		dst = append(dst, doc.Body[1:len(doc.Body)-1]...)
	}
	if doc.Deleted {
		dst = append(dst, `,"_deleted":true`...)
	}
	if v.revisions {
		dst = appendRevisions(dst, rec, doc.Rev)
	}
	if v.revsInfo {
		dst = appendRevsInfo(dst, rec, doc.Rev)
	}
	if v.conflicts {
		dst = appendLeaves(dst, `,"_conflicts":[`, rec, doc.Rev, false)
	}
	if v.deletedConflicts {
		dst = appendLeaves(dst, `,"_deleted_conflicts":[`, rec, doc.Rev, true)
	}
	if v.localSeq {
		dst = append(dst, `,"_local_seq":`...)
		dst = strconv.AppendUint(dst, doc.Seq, 10)
	}
	o.buf = dst
	if len(doc.Attachments) > 0 {
		if err := o.attachments(db, rec, doc, v); err != nil {
			return err
		}
	}
	o.text("}")
	return o.spill(outputChunk)
}

// appendRev appends a revision id, as it stands between the quotes of a JSON string.
func appendRev(dst []byte, id rev.ID) []byte {
	dst = strconv.AppendInt(dst, int64(id.Gen), 10)
	dst = append(dst, '-')
	return appendHash(dst, id.Hash)
}

// appendHash appends a hash likewise. Few are anything but hex, and those are escaped.
func appendHash(dst []byte, hash string) []byte {
	for i := range len(hash) {
		if c := hash[i]; c < '-' || c > 'z' || c == '\\' {
			quoted := appendString(nil, hash)
			return append(dst, quoted[1:len(quoted)-1]...)
		}
	}
	return append(dst, hash...)
}

// history is the path of a revision, newest first; itself alone when it has been purged since the record was read.
func history(rec *store.Record, id rev.ID) []rev.ID {
	if i, ok := rec.Tree.Find(id); ok {
		return rec.Tree.Path(i)
	}
	return []rev.ID{id}
}

func appendRevisions(dst []byte, rec *store.Record, id rev.ID) []byte {
	dst = append(dst, `,"_revisions":{"start":`...)
	dst = strconv.AppendInt(dst, int64(id.Gen), 10)
	dst = append(dst, `,"ids":[`...)
	for i, id := range history(rec, id) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = appendHash(dst, id.Hash)
		dst = append(dst, '"')
	}
	return append(dst, `]}`...)
}

func appendRevsInfo(dst []byte, rec *store.Record, id rev.ID) []byte {
	dst = append(dst, `,"_revs_info":[`...)
	i, ok := rec.Tree.Find(id)
	if !ok {
		return append(dst, ']')
	}
	for first := true; i >= 0; first = false {
		node := rec.Tree.Node(i)
		if !first {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"rev":"`...)
		dst = appendRev(dst, node.ID)
		switch {
		case node.Deleted:
			dst = append(dst, `","status":"deleted"}`...)
		case node.Ref == 0:
			dst = append(dst, `","status":"missing"}`...)
		default:
			dst = append(dst, `","status":"available"}`...)
		}
		i = node.Parent
	}
	return append(dst, ']')
}

// otherLeaves are the leaves beside a revision, deleted ones or the others, in the order of preference.
func otherLeaves(rec *store.Record, id rev.ID, deleted bool) (ids []rev.ID) {
	for _, i := range rec.Tree.Leaves() {
		if node := rec.Tree.Node(i); node.ID != id && node.Deleted == deleted {
			ids = append(ids, node.ID)
		}
	}
	return ids
}

// appendLeaves writes a member that lists other leaves, or nothing when there are none.
func appendLeaves(dst []byte, name string, rec *store.Record, id rev.ID, deleted bool) []byte {
	ids := otherLeaves(rec, id, deleted)
	if len(ids) == 0 {
		return dst
	}
	dst = append(dst, name...)
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = appendRev(dst, id)
		dst = append(dst, '"')
	}
	return append(dst, ']')
}

// newerThan is the generation above which attachments are shown with their bodies: that of the newest of v.attsSince that
// is in the revision's history.
func (v shown) newerThan(rec *store.Record, id rev.ID) int {
	if len(v.attsSince) == 0 {
		return 0
	}
	since := make(map[rev.ID]bool, len(v.attsSince))
	for _, known := range v.attsSince {
		since[known] = true
	}
	for _, known := range history(rec, id) {
		if since[known] {
			return known.Gen
		}
	}
	return 0
}

func (o *output) attachments(db *store.DB, rec *store.Record, doc *store.Doc, v shown) error {
	newerThan := v.newerThan(rec, doc.Rev)
	o.text(`,"_attachments":{`)
	for i, a := range doc.Attachments {
		if i > 0 {
			o.text(`,`)
		}
		o.buf = appendString(o.buf, a.Name)
		o.text(`:{"content_type":`)
		o.buf = appendString(o.buf, a.Type)
		o.text(`,"revpos":`)
		o.buf = strconv.AppendInt(o.buf, int64(a.RevPos), 10)
		o.text(`,"digest":"md5-`)
		o.buf = base64.StdEncoding.AppendEncode(o.buf, a.Digest[:])
		withBody := v.attachments && a.RevPos > newerThan
		if withBody && !v.follows {
			o.text(`","data":"`)
			if err := o.inline(db, a); err != nil {
				return err
			}
			o.text(`"`)
		} else {
			o.text(`","length":`)
			o.buf = strconv.AppendInt(o.buf, a.Length, 10)
			if withBody {
				o.text(`,"follows":true`)
			} else {
				o.text(`,"stub":true`)
			}
		}
		if v.attEncoding && a.Encoding != "" {
			o.text(`,"encoding":`)
			o.buf = appendString(o.buf, a.Encoding)
			o.text(`,"encoded_length":`)
			o.buf = strconv.AppendInt(o.buf, a.Stored, 10)
		}
		o.text(`}`)
	}
	o.text(`}`)
	return nil
}

// inline writes an attachment in base64, decoded.
func (o *output) inline(db *store.DB, a store.Attachment) error {
	body, err := openDecoded(db, a)
	if err != nil {
		return err
	}
	defer body.Close()
	enc := base64.NewEncoder(base64.StdEncoding, o)
	if _, err := io.Copy(enc, body); err != nil {
		return err
	}
	return enc.Close()
}
