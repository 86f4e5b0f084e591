package server

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// attachmentPath splits the path of an attachment: a document's id, and all that follows as the name.
func (r *request) attachmentPath() (id, name string, err error) {
	id, name = r.documentID(), strings.Join(r.args[1:], "/")
	if id == "_local" || strings.HasPrefix(id, "_local/") {
		return "", "", badRequest("_local documents do not accept attachments.")
	}
	return id, name, checkID(id, r.set.maxDocumentID)
}

// findAttachment returns a document's attachment of this name, or nil.
func findAttachment(doc *store.Doc, name string) *store.Attachment {
	for i := range doc.Attachments {
		if doc.Attachments[i].Name == name {
			return &doc.Attachments[i]
		}
	}
	return nil
}

var errMissingRev = &Error{Status: 409, Kind: "not_found", Reason: "missing_rev"}

// attached reads the revision to which an attachment is put or from which it is taken. Without a revision that is a new
// document: if there is one, it is a conflict, which is better told before the bytes arrive than after.
func (s *Server) attached(r *request, id string) (*incoming, *store.Doc, error) {
	doc := &incoming{ID: id, Body: []byte("{}")}
	if err := r.settleRev(doc); err != nil {
		return nil, nil, err
	}
	if doc.Rev.IsZero() {
		switch _, err := r.db.Doc(id); {
		case err == nil:
			return nil, nil, errConflict
		case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDeleted):
			return nil, nil, err
		}
		return doc, &store.Doc{ID: id}, nil
	}
	old, _, err := s.document(r, id, doc.Rev, false)
	if isMissing(err) {
		err = errMissingRev
	}
	if err != nil {
		return nil, nil, err
	}
	doc.Body, doc.Deleted = old.Body, old.Deleted
	return doc, old, nil
}

// replaceAttachment stores the document of an attachment anew: first, if any, then the attachments that stay.
func (s *Server) replaceAttachment(r *request, doc *incoming, old *store.Doc, name string, first []store.Attachment) (rev.ID, error) {
	w := store.Write{Doc: store.Doc{ID: doc.ID, Body: doc.Body, Attachments: first}, Base: doc.Rev}
	for _, a := range old.Attachments {
		if a.Name != name {
			w.Doc.Attachments = append(w.Doc.Attachments, store.Attachment{Name: a.Name, Stub: true})
		}
	}
	return s.commit(r, w)
}

// putAttachment stores the body as an attachment, in constant memory, and makes the document if there is none.
func (s *Server) putAttachment(r *request) error {
	id, name, err := r.attachmentPath()
	if err != nil {
		return err
	}
	if err := checkAttachmentName(name); err != nil {
		return err
	}
	a := store.Attachment{Name: name, Type: r.Header.Get("Content-Type")}
	if a.Type == "" {
		a.Type = "application/octet-stream"
	}
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		a.Encoding = "gzip"
	default:
		return &Error{Status: 415, Kind: "bad_content_type", Reason: "Only gzip and identity content-encodings are supported"}
	}
	if r.ContentLength > r.set.maxAttachmentSize {
		return errAttachmentTooLarge(name)
	}
	doc, old, err := s.attached(r, id)
	if err != nil {
		return err
	}
	if err := s.permit(r, doc); err != nil {
		return err
	}
	up := &uploads{memory: s.bodies}
	defer up.discard()
	stored, _, err := up.add(r, a, source{r.Body, readError})
	if err != nil {
		return err
	}
	next, err := s.replaceAttachment(r, doc, old, name, []store.Attachment{stored})
	if err != nil {
		return err
	}
	r.w.Header().Set("Location", r.absolute("/"+escapeAll(r.db.Name())+"/"+escapeAll(id)+"/"+escapeAll(name)))
	return r.send(http.StatusCreated, appendWritten(nil, id, next))
}

// deleteAttachment stores the document again without one of its attachments.
func (s *Server) deleteAttachment(r *request) error {
	id, name, err := r.attachmentPath()
	if err != nil {
		return err
	}
	doc, old, err := s.attached(r, id)
	if err != nil {
		return err
	}
	if err := s.permit(r, doc); err != nil {
		return err
	}
	if findAttachment(old, name) == nil {
		return store.ErrNoAttachment
	}
	next, err := s.replaceAttachment(r, doc, old, name, nil)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, appendWritten(nil, id, next))
}

// getAttachment sends an attachment: packed to those who take gzip, parts of it where it is not packed.
func (s *Server) getAttachment(r *request) error {
	id, name, err := r.attachmentPath()
	if err != nil {
		return err
	}
	var want rev.ID
	if r.hasParam("rev") {
		if want, err = rev.Parse(r.param("rev")); err != nil {
			return err
		}
	}
	doc, _, err := s.document(r, id, want, false)
	if err != nil {
		return err
	}
	a := findAttachment(doc, name)
	if a == nil {
		return store.ErrNoAttachment
	}
	if r.unchanged(base64.StdEncoding.EncodeToString(a.Digest[:])) {
		return nil
	}
	h := r.w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if r.set.sandbox != "" {
		h.Set("Content-Security-Policy", r.set.sandbox)
	}
	if a.Encoding == "" {
		h.Set("Accept-Ranges", "bytes")
		return r.sendRanges(a)
	}
	h.Set("Accept-Ranges", "none")
	h.Add("Vary", "Accept-Encoding")
	h.Set("Content-Type", a.Type)
	if !acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Length", strconv.FormatInt(a.Length, 10))
		return r.sendBody(http.StatusOK, func() (io.ReadCloser, error) { return openDecoded(r.db, *a) })
	}
	h.Set("Content-Encoding", a.Encoding)
	h.Set("Content-Length", strconv.FormatInt(a.Stored, 10))
	return r.sendBody(http.StatusOK, func() (io.ReadCloser, error) { return r.db.OpenAttachment(*a, 0) })
}

// sendBody answers with what open gives, in constant memory. The headers must be set.
func (r *request) sendBody(status int, open func() (io.ReadCloser, error)) error {
	if r.Method == http.MethodHead {
		r.w.WriteHeader(status)
		return nil
	}
	body, err := open()
	if err != nil {
		return err
	}
	defer body.Close()
	r.w.WriteHeader(status)
	_, err = io.Copy(&r.w, body)
	return err
}

// byteRange is part of an attachment, both ends included.
type byteRange struct{ first, last int64 }

func (b byteRange) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(b.first, 10) + "-" + strconv.FormatInt(b.last, 10) + "/" + strconv.FormatInt(size, 10)
}

// maxRanges is how many ranges are sent apart; who asks for more gets the whole.
const maxRanges = 9

// parseRanges reads a Range header (RFC 9110 §14.2). No ranges: the whole is to be sent, for the header asks for something
// else or makes no sense. ok is false when all that is asked for lies outside.
func parseRanges(header string, size int64) (ranges []byteRange, ok bool) {
	list, isBytes := strings.CutPrefix(header, "bytes=")
	if !isBytes || strings.Count(list, ",") >= maxRanges {
		return nil, true
	}
	for item := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(item), "-")
		if !isRange {
			return nil, true
		}
		first, errFirst := strconv.ParseUint(from, 10, 63)
		last, errLast := strconv.ParseUint(to, 10, 63)
		b := byteRange{int64(first), int64(last)}
		switch {
		case from == "" && errLast == nil: // the last so many
			b = byteRange{max(size-int64(last), 0), size - 1}
			if last == 0 {
				continue
			}
		case errFirst != nil, errLast != nil && to != "", to != "" && last < first:
			return nil, true
		case to == "" || int64(last) >= size:
			b.last = size - 1
		}
		if b.first < size {
			ranges = append(ranges, b)
		}
	}
	return ranges, len(ranges) > 0
}

// sendRanges answers with an attachment that is not packed, or with the parts asked for.
func (r *request) sendRanges(a *store.Attachment) error {
	header := r.Header.Get("Range")
	if cond := r.Header.Get("If-Range"); cond != "" && cond != r.w.Header().Get("Etag") {
		header = ""
	}
	ranges, ok := parseRanges(header, a.Length)
	h := r.w.Header()
	switch {
	case !ok:
		return &Error{Status: 416, Kind: "requested_range_not_satisfiable", Reason: "Requested range not satisfiable",
			Header: http.Header{"Content-Range": {"bytes */" + strconv.FormatInt(a.Length, 10)}}}
	case len(ranges) > 1:
		return r.sendManyRanges(a, ranges)
	}
	h.Set("Content-Type", a.Type)
	status, part := http.StatusOK, byteRange{0, a.Length - 1}
	if len(ranges) == 1 {
		status, part = http.StatusPartialContent, ranges[0]
		h.Set("Content-Range", part.contentRange(a.Length))
	}
	h.Set("Content-Length", strconv.FormatInt(part.last-part.first+1, 10))
	return r.sendBody(status, func() (io.ReadCloser, error) { return openRange(r.db, *a, part) })
}

// openRange reads part of an attachment.
func openRange(db *store.DB, a store.Attachment, part byteRange) (io.ReadCloser, error) {
	body, err := db.OpenAttachment(a, part.first)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, part.last-part.first+1), body}, nil
}

// sendManyRanges answers with multipart/byteranges (RFC 9110 §14.6).
func (r *request) sendManyRanges(a *store.Attachment, ranges []byteRange) error {
	boundary := newBoundary()
	head := func(b byteRange) string {
		return "\r\nContent-Type: " + headerText(a.Type) + "\r\nContent-Range: " + b.contentRange(a.Length) + "\r\n\r\n"
	}
	h := r.w.Header()
	h.Del("Cache-Control")
	h.Set("Content-Type", `multipart/byteranges; boundary="`+boundary+`"`)
	length := int64(2 + len(boundary) + 2)
	for _, b := range ranges {
		length += int64(len(head(b))) + b.last - b.first + 1 + int64(len("\r\n--")+len(boundary))
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	r.w.WriteHeader(http.StatusPartialContent)
	if r.Method == http.MethodHead {
		return nil
	}
	o := newOutput(r)
	o.text("--" + boundary)
	for _, b := range ranges {
		o.text(head(b))
		if err := o.stored(r.db, *a, b.first, b.last-b.first+1); err != nil {
			return err
		}
		o.text("\r\n--" + boundary)
	}
	return o.end("--")
}
