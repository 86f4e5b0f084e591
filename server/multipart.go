package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"github.com/parlordb/parlor/store"
)

// putRelated takes a PUT whose body is multipart/related (RFC 2387): the document, then the attachments that it says follow, in its order. They
// go to the store as they arrive.
func (s *Server) putRelated(r *request, id string) error {
	parts, err := relatedParts(r.Header.Get("Content-Type"), http.MaxBytesReader(nil, r.Body, r.set.maxRequestSize))
	if err != nil {
		return err
	}
	first, err := parts.NextRawPart()
	if err != nil {
		return partError(err)
	}
	data, release, err := s.read(r, first, -1, min(r.set.maxRequestSize, maxJSON))
	if err != nil {
		return err
	}
	defer release()
	value, err := checkJSON(data)
	if err != nil {
		return err
	}
	doc, err := r.parseDocument(value)
	if err != nil {
		return err
	}
	left := 0
	for _, a := range doc.Attachments {
		if a.Follows && !a.Stub {
			left++
		}
	}
	if left == 0 {
		if err := atEnd(parts); err != nil {
			return partError(err)
		}
	}
	return s.putParsed(r, id, doc, func() (source, error) {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return source{}, badRequest("The multipart body has fewer parts than attachments that follow.")
		}
		if err != nil {
			return source{}, partError(err)
		}
		if left--; left > 0 {
			return source{part, partError}, nil
		}
		return source{&lastPart{part, parts}, partError}, nil
	})
}

// lastPart is the last part that was announced; with its end the body must end.
type lastPart struct {
	io.Reader
	parts *multipart.Reader
}

func (l *lastPart) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if err := atEnd(l.parts); err != nil {
		return n, err
	}
	return n, io.EOF
}

// atEnd fails unless no part comes any more.
func atEnd(parts *multipart.Reader) error {
	switch _, err := parts.NextRawPart(); {
	case err == nil:
		return errMoreParts
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

var errMoreParts = badRequest("The multipart body has more parts than attachments that follow.")

// relatedParts reads the parts of a body that has this Content-Type.
func relatedParts(contentType string, body io.Reader) (*multipart.Reader, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil, badRequest("The multipart/related body has no boundary.")
	}
	return multipart.NewReader(body, params["boundary"]), nil
}

// partError is the answer for a multipart body that cannot be read.
func partError(err error) error {
	var own *Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &large):
		return errTooLarge
	}
	return &Error{Status: 400, Kind: "bad_request", Reason: "The multipart body is malformed or ended early.", Cause: err}
}

// newBoundary makes a boundary that no body holds by chance.
func newBoundary() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// related is a document and its attachments as multipart/related, of a length that is known beforehand.
type related struct {
	boundary string
	json     []byte
	atts     []store.Attachment // those that follow
}

// relate renders a document for multipart/related. As in CouchDB packed attachments go out packed, and the document says so.
func relate(db *store.DB, rec *store.Record, doc *store.Doc, v shown) (*related, error) {
	v.attachments, v.follows, v.attEncoding = true, true, true
	o := &output{}
	if err := o.doc(db, rec, doc, v); err != nil {
		return nil, err
	}
	m := &related{boundary: newBoundary(), json: o.buf}
	newerThan := v.newerThan(rec, doc.Rev)
	for _, a := range doc.Attachments {
		if a.RevPos > newerThan {
			m.atts = append(m.atts, a)
		}
	}
	return m, nil
}

func (m *related) contentType() string { return `multipart/related; boundary="` + m.boundary + `"` }

const partJSON = "\r\nContent-Type: application/json\r\n\r\n"

// partHead is what stands between the boundary and the bytes of an attachment.
func partHead(a store.Attachment) string {
	head := "\r\nContent-Disposition: attachment; filename=\"" + headerText(a.Name) + "\"\r\nContent-Type: " + headerText(a.Type) +
		"\r\nContent-Length: " + strconv.FormatInt(a.Stored, 10)
	if a.Encoding != "" {
		head += "\r\nContent-Encoding: " + a.Encoding
	}
	return head + "\r\n\r\n"
}

// headerText keeps names and types that clients have made up from ending the header line that they stand in.
func headerText(text string) string {
	return strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, "%22").Replace(text)
}

// length is the number of bytes that writeTo writes.
func (m *related) length() int64 {
	boundary := int64(len("\r\n--") + len(m.boundary))
	n := boundary - 2 + int64(len(partJSON)+len(m.json)) + boundary
	for _, a := range m.atts {
		n += int64(len(partHead(a))) + a.Stored + boundary
	}
	return n + 2
}

// writeTo writes the whole body.
func (m *related) writeTo(o *output, db *store.DB) error {
	o.text("--" + m.boundary + partJSON)
	o.buf = append(o.buf, m.json...)
	o.text("\r\n--" + m.boundary)
	for _, a := range m.atts {
		o.text(partHead(a))
		if err := o.stored(db, a, 0, a.Stored); err != nil {
			return err
		}
		o.text("\r\n--" + m.boundary)
	}
	o.text("--")
	return o.spill(outputChunk)
}

// stored copies n stored bytes of an attachment from an offset.
func (o *output) stored(db *store.DB, a store.Attachment, offset, n int64) error {
	body, err := db.OpenAttachment(a, offset)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.CopyN(o, body, n)
	return err
}

// sendRelated answers with a document and its attachments as multipart/related.
func (s *Server) sendRelated(r *request, rec *store.Record, doc *store.Doc, v shown) error {
	m, err := relate(r.db, rec, doc, v)
	if err != nil {
		return err
	}
	h := r.w.Header()
	h.Del("Cache-Control")
	h.Set("Content-Type", m.contentType())
	h.Set("Content-Length", strconv.FormatInt(m.length(), 10))
	r.w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	o := newOutput(r)
	if err := m.writeTo(o, r.db); err != nil {
		return err
	}
	return o.end("")
}

// mixed writes documents as the parts of a multipart body, one after the other.
type mixed struct {
	*output
	boundary string
}

// newMixed begins an answer of a multipart type.
func newMixed(r *request, kind string) *mixed {
	m := &mixed{output: newOutput(r), boundary: newBoundary()}
	h := r.w.Header()
	h.Del("Cache-Control")
	h.Set("Content-Type", kind+`; boundary="`+m.boundary+`"`)
	r.w.WriteHeader(http.StatusOK)
	m.text("--" + m.boundary)
	return m
}

// error writes a part that says why there is no document.
func (m *mixed) error(json []byte) error {
	m.text("\r\nContent-Type: application/json; error=\"true\"\r\n\r\n")
	m.buf = append(m.buf, json...)
	return m.next()
}

// document writes a part for a document; one with attachments is multipart/related itself.
func (m *mixed) document(db *store.DB, rec *store.Record, doc *store.Doc, v shown, named bool) error {
	if len(doc.Attachments) == 0 || !v.attachments {
		m.text(partJSON)
		if err := m.doc(db, rec, doc, v); err != nil {
			return err
		}
		return m.next()
	}
	inner, err := relate(db, rec, doc, v)
	if err != nil {
		return err
	}
	if named {
		m.text("\r\nX-Doc-Id: " + headerText(doc.ID) + "\r\nX-Rev-Id: " + headerText(doc.Rev.String()))
	}
	m.text("\r\nContent-Type: " + inner.contentType() + "\r\n\r\n")
	if err := inner.writeTo(m.output, db); err != nil {
		return err
	}
	return m.next()
}

func (m *mixed) next() error {
	m.text("\r\n--" + m.boundary)
	return m.spill(outputChunk)
}
