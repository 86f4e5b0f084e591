package replicate

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDocument bounds a document's JSON, without its attachments.
const maxDocument = 256 << 20

// attachment is an entry of _attachments.
type attachment struct {
	name    string
	raw     jsontext.Value // its members
	follows bool           // its bytes come with the document
	kind    string         // content_type
	packed  bool           // the bytes are in gzip
	length  int64          // of the bytes that follow; -1: unknown
}

// attachedDocument is a document with the bytes of its attachments.
type attachedDocument struct {
	document
	atts []attachment
	open func(attachment) (io.Reader, error) // to be called for those that follow, in order; each is read before the next is opened
}

// copyAttached copies the revision d, which has attachments. The target is sent those alone that the revisions that it has may not have.
func (b *batch) copyAttached(ctx context.Context, d document) error {
	var since []string
	for _, w := range b.wanted {
		if w.id == d.id {
			since = w.ancestors
		}
	}
	err := b.openAttached(ctx, d, since)
	if isStatus(err, http.StatusPreconditionFailed) && len(since) > 0 {
		err = b.openAttached(ctx, d, nil) // the ancestor that had them was compacted
	}
	var again *inlineError
	if errors.As(err, &again) {
		b.noMultipart.Store(true)
		err = b.openAttached(ctx, d, nil)
	}
	return err
}

// inlineError is a target's refusal of a multipart body, when it has never taken one.
type inlineError struct{ error }

func (e *inlineError) Unwrap() error { return e.error }

// openAttached asks the source for the document with its attachments.
func (b *batch) openAttached(ctx context.Context, d document, since []string) error {
	q := request{method: http.MethodGet, path: documentPath(d.id), accept: "multipart/mixed, application/json", query: url.Values{
		"open_revs": {`["` + d.rev + `"]`}, "revs": {"true"}, "latest": {"true"},
	}}
	if len(since) > 0 {
		revs, err := json.Marshal(since)
		if err != nil {
			return err
		}
		q.query.Set("atts_since", string(revs))
	}
	res, err := b.source.do(ctx, q)
	if isStatus(err, http.StatusNotFound) {
		return nil // purged since
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	kind, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err == nil && kind == "multipart/mixed" {
		return b.mixed(ctx, multipart.NewReader(res.Body, params["boundary"]))
	}
	return b.elements(res.Body, "", func(value jsontext.Value) error {
		var entry bulkGetEntry
		if err := json.Unmarshal(value, &entry, lenient); err != nil {
			return b.source.nonsense(err)
		}
		if entry.OK == nil {
			return b.entry(ctx, d.id, entry)
		}
		return b.oneByOne(ctx, entry.OK)
	})
}

// mixed copies the revisions of a multipart answer as they arrive.
func (b *batch) mixed(ctx context.Context, parts *multipart.Reader) error {
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return b.source.nonsense(err)
		}
		kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			return b.source.nonsense(err)
		}
		if kind == "multipart/related" {
			if err := b.related(ctx, multipart.NewReader(part, params["boundary"])); err != nil {
				return err
			}
			continue
		}
		if params["error"] != "" {
			continue // the revision is no longer there
		}
		value, err := readDocument(part)
		if err != nil {
			return b.source.nonsense(err)
		}
		d, err := parseDocument(value)
		if err != nil {
			return b.source.nonsense(err)
		}
		if err := b.write(ctx, []document{d}); err != nil {
			return err
		}
	}
}

func readDocument(from io.Reader) (jsontext.Value, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("a document is longer than %d bytes", maxDocument)
	}
	return data, err
}

// related copies a document whose attachments follow it.
func (b *batch) related(ctx context.Context, parts *multipart.Reader) error {
	first, err := parts.NextRawPart()
	if err != nil {
		return b.source.nonsense(err)
	}
	value, err := readDocument(first)
	if err != nil {
		return b.source.nonsense(err)
	}
	d, err := parseAttached(value)
	if err != nil {
		return b.source.nonsense(err)
	}
	d.open = func(attachment) (io.Reader, error) {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil, b.source.nonsense(fmt.Errorf("an attachment does not come: %w", noEOF(err)))
		}
		return part, nil
	}
	return b.send(ctx, d)
}

// noEOF is for an end that comes too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseAttached reads a document and its _attachments.
func parseAttached(value jsontext.Value) (d attachedDocument, err error) {
	if d.document, err = parseDocument(value); err != nil {
		return d, err
	}
	_, list, _, err := cutAttachments(value)
	if err != nil {
		return d, err
	}
	dec := jsontext.NewDecoder(bytes.NewReader(list), lenient)
	if _, err := dec.ReadToken(); err != nil {
		return d, err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return d, err
		}
		a := attachment{name: name.String()}
		raw, err := dec.ReadValue()
		if err != nil {
			return d, err
		}
		a.raw = raw.Clone()
		var meta struct {
			Follows       bool   `json:"follows"`
			Type          string `json:"content_type"`
			Encoding      string `json:"encoding"`
			Length        *int64 `json:"length"`
			EncodedLength *int64 `json:"encoded_length"`
		}
		if err := json.Unmarshal(a.raw, &meta, lenient); err != nil {
			return d, err
		}
		a.follows, a.kind, a.packed, a.length = meta.Follows, meta.Type, meta.Encoding == "gzip", -1
		switch {
		case a.packed && meta.EncodedLength != nil:
			a.length = *meta.EncodedLength
		case !a.packed && meta.Length != nil:
			a.length = *meta.Length
		}
		d.atts = append(d.atts, a)
	}
	return d, nil
}

// cutAttachments finds the value of _attachments in a document.
func cutAttachments(value jsontext.Value) (before, list, after jsontext.Value, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(value), lenient)
	if _, err := dec.ReadToken(); err != nil {
		return nil, nil, nil, err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, nil, nil, err
		}
		if name.String() != "_attachments" {
			if err := dec.SkipValue(); err != nil {
				return nil, nil, nil, err
			}
			continue
		}
		list, err := dec.ReadValue()
		if err != nil {
			return nil, nil, nil, err
		}
		end := dec.InputOffset()
		begin := end - int64(len(list))
		return value[:begin], value[begin:end], value[end:], nil
	}
	return nil, nil, nil, errors.New("a document has no _attachments")
}

// oneByOne copies a document from a source that sends no multipart: each attachment is asked for by itself, unpacked.
func (b *batch) oneByOne(ctx context.Context, value jsontext.Value) error {
	d, err := parseDocument(value)
	if err != nil {
		return b.source.nonsense(err)
	}
	if !d.attached {
		return b.write(ctx, []document{d})
	}
	if value, err = following(value); err != nil {
		return b.source.nonsense(err)
	}
	whole, err := parseAttached(value)
	if err != nil {
		return b.source.nonsense(err)
	}
	var last io.Closer
	defer func() {
		if last != nil {
			last.Close()
		}
	}()
	whole.open = func(a attachment) (io.Reader, error) {
		if last != nil {
			last.Close()
		}
		q := request{method: http.MethodGet, path: documentPath(d.id) + "/" + escape(a.name), query: url.Values{"rev": {d.rev}}, accept: "*/*", identity: true}
		res, err := b.source.do(ctx, q)
		if err != nil {
			return nil, err
		}
		last = res.Body
		return res.Body, nil
	}
	return b.send(ctx, whole)
}

// following says of all attachments that their bytes follow. What is said of the bytes as they are stored there no longer holds for unpacked ones.
func following(value jsontext.Value) (jsontext.Value, error) {
	before, list, after, err := cutAttachments(value)
	if err != nil {
		return nil, err
	}
	made := append(before.Clone(), '{')
	dec := jsontext.NewDecoder(bytes.NewReader(list), lenient)
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for first := true; dec.PeekKind() == '"'; first = false {
		name, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		if !first {
			made = append(made, ',')
		}
		made = append(append(made, name...), ':')
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		if made, err = appendMeta(made, raw, `"follows":true`); err != nil {
			return nil, err
		}
	}
	return append(append(made, '}'), after...), nil
}

// appendMeta appends an attachment's entry for bytes that are not packed, with one more member.
func appendMeta(dst []byte, raw jsontext.Value, member string) ([]byte, error) {
	var meta struct {
		Type   string `json:"content_type,omitzero"`
		RevPos int64  `json:"revpos,omitzero"`
		Length *int64 `json:"length,omitempty"`
	}
	if err := json.Unmarshal(raw, &meta, lenient); err != nil {
		return nil, err
	}
	entry, err := json.Marshal(&meta)
	if err != nil {
		return nil, err
	}
	dst = append(dst, entry[:len(entry)-1]...)
	if len(entry) > len("{}") {
		dst = append(dst, ',')
	}
	return append(append(dst, member...), '}'), nil
}

// send writes a document and its attachments while they come.
func (b *batch) send(ctx context.Context, d attachedDocument) error {
	inline := b.noMultipart.Load()
	body := b.relatedBody(d)
	q := request{method: http.MethodPut, path: documentPath(d.id), query: url.Values{"new_edits": {"false"}}}
	if inline {
		var err error
		if body, err = inlineBody(d); err != nil {
			return b.source.nonsense(err)
		}
	}
	q.stream, q.length, q.kind = body, body.length, body.kind
	err := b.target.json(ctx, q, nil)
	body.wait()
	if body.err != nil {
		return body.err // of the source, whatever the target made of it
	}
	switch {
	case err == nil:
		b.multipart.Store(b.multipart.Load() || !inline)
		b.stored(d.document)
		b.count(func(p *Progress) {
			p.Attachments += int64(body.done)
			p.AttachmentBytes += body.sent
		})
		return nil
	case isStatus(err, http.StatusBadRequest, http.StatusUnsupportedMediaType) && !inline && !b.multipart.Load():
		return &inlineError{err}
	case isStatus(err, http.StatusPreconditionFailed):
		return err
	case isStatus(err, http.StatusUnauthorized, http.StatusForbidden):
		// Of this document, or of everything? A credential that no longer holds must not look like a refused document.
		if lost := b.target.json(ctx, request{method: http.MethodPost, path: "/_revs_diff", body: []byte("{}")}, nil); lost != nil {
			return lost
		}
		b.refused(d.document, err)
		return nil
	case isStatus(err, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusConflict, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity):
		b.refused(d.document, err)
		return nil
	}
	return err
}

// relatedBody is a document and its attachments as multipart/related (RFC 2387).
func (b *batch) relatedBody(d attachedDocument) *body {
	boundary := multipart.NewWriter(io.Discard).Boundary()
	made := newBody(`multipart/related; boundary="` + boundary + `"`)
	made.text("--" + boundary + "\r\nContent-Type: application/json\r\n\r\n")
	made.text(string(d.json))
	for _, a := range d.atts {
		if !a.follows {
			continue
		}
		head := "\r\n--" + boundary + "\r\nContent-Disposition: attachment; filename=\"" + headerText(a.name) + "\"\r\nContent-Type: " +
			headerText(cmp.Or(a.kind, "application/octet-stream"))
		if a.packed {
			head += "\r\nContent-Encoding: gzip"
		}
		if a.length >= 0 {
			head += "\r\nContent-Length: " + strconv.FormatInt(a.length, 10)
		}
		made.text(head + "\r\n\r\n")
		made.attachment(a.length, func() (io.Reader, error) { return d.open(a) })
	}
	made.text("\r\n--" + boundary + "--")
	return made
}

// headerText keeps what others have named from ending the header line that it stands in.
func headerText(text string) string {
	return strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, "%22").Replace(text)
}

// inlineBody is a document with its attachments in base64 within, for targets that take no multipart.
func inlineBody(d attachedDocument) (*body, error) {
	before, _, after, err := cutAttachments(d.json)
	if err != nil {
		return nil, err
	}
	made := newBody("application/json")
	made.text(string(before) + "{")
	for i, a := range d.atts {
		name, err := json.Marshal(a.name, lenient)
		if err != nil {
			return nil, err
		}
		head := string(name) + ":"
		if i > 0 {
			head = "," + head
		}
		if !a.follows {
			made.text(head + string(a.raw))
			continue
		}
		entry, err := appendMeta(nil, a.raw, `"data":"`)
		if err != nil {
			return nil, err
		}
		made.text(head + strings.TrimSuffix(string(entry), "}"))
		made.attachment(-1, func() (io.Reader, error) {
			from, err := d.open(a)
			if err == nil && a.packed {
				from, err = gzip.NewReader(from)
			}
			return &base64Reader{from: from}, err
		})
		made.text(`"}`)
	}
	made.text("}" + string(after))
	made.length = -1
	return made, nil
}

// base64Reader encodes what it reads.
type base64Reader struct {
	from  io.Reader
	plain [3 << 10]byte
	coded []byte // what is left to give
	space [4 << 10]byte
	err   error
}

func (r *base64Reader) Read(data []byte) (int, error) {
	if len(r.coded) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		n, err := io.ReadFull(r.from, r.plain[:])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		r.err = err
		r.coded = r.space[:base64.StdEncoding.EncodedLen(n)]
		base64.StdEncoding.Encode(r.coded, r.plain[:n])
		if n == 0 {
			return 0, r.err
		}
	}
	n := copy(data, r.coded)
	r.coded = r.coded[n:]
	return n, nil
}
