package server

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/store"
)

// uploads are attachments that were stored ahead of the documents that refer to them. A request that makes one must call discard in the
// end: what no document has taken goes.
type uploads struct {
	writers []*store.AttachmentWriter
	memory  *memory      // of the server, for the packer
	packer  *gzip.Writer // used again for the next attachment
	by      party        // who has memory for the packer
}

// packerMemory is about what a gzip.Writer takes.
const packerMemory = 1 << 20

func (u *uploads) discard() {
	for _, w := range u.writers {
		w.Discard()
	}
	if u.packer != nil {
		u.memory.give(u.by, packerMemory)
	}
}

// source is where an attachment's bytes come from. blame turns an error of reading into what the client is told.
type source struct {
	io.Reader
	blame func(error) error
}

// bounded reads at most left bytes; more are an attachment_too_large.
type bounded struct {
	source
	left int64
	name string
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errAttachmentTooLarge(b.name)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.blame(err)
	}
	return n, err
}

func errAttachmentTooLarge(name string) *Error {
	return &Error{Status: 413, Kind: "attachment_too_large", Reason: name}
}

// add stores an attachment. Of a it takes Name, Type, RevPos and Encoding, which says how the source's bytes are encoded already; what compresses well is
// packed on the way. Memory is bounded by a chunk. sent is the MD5 of the source's bytes.
func (u *uploads) add(r *request, a store.Attachment, from source) (stored store.Attachment, sent [md5.Size]byte, err error) {
	w, err := r.db.NewAttachment(r.Context())
	if err != nil {
		return a, sent, err
	}
	u.writers = append(u.writers, w)
	body := &bounded{source: from, left: r.set.maxAttachmentSize, name: a.Name}
	var length int64
	packs := a.Encoding == "" && r.set.compresses(a.Type)
	sum := md5.New()
	switch {
	case a.Encoding != "":
		length, err = copyPacked(w, body, r.set.maxAttachmentSize)
	case packs:
		a.Encoding = "gzip"
		length, err = u.pack(r, w, io.TeeReader(body, sum))
	default:
		length, err = io.Copy(w, body)
	}
	if err != nil {
		return a, sent, err
	}
	if stored, err = w.Close(); err != nil {
		return a, sent, err
	}
	if sent = stored.Digest; packs {
		sum.Sum(sent[:0])
	}
	stored.Name, stored.Type, stored.RevPos, stored.Encoding, stored.Length = a.Name, a.Type, a.RevPos, a.Encoding, length
	return stored, sent, nil
}

// pack copies and compresses. It returns the number of bytes before that, or errBusy when requests hold too much memory already.
func (u *uploads) pack(r *request, w io.Writer, body io.Reader) (int64, error) {
	if u.packer == nil {
		packer, err := gzip.NewWriterLevel(nil, r.set.compressionLevel)
		if err != nil {
			return 0, err
		}
		if u.by = r.party(); !u.memory.take(u.by, packerMemory) {
			return 0, errBusy
		}
		u.packer = packer
	}
	u.packer.Reset(w)
	n, err := io.Copy(u.packer, body)
	if err != nil {
		return n, err
	}
	return n, u.packer.Close()
}

// copyPacked copies what a client has compressed, and unpacks it beside: what is not gzip is refused, since nobody could read it later, and the length is
// known for certain.
func copyPacked(w io.Writer, body *bounded, max int64) (int64, error) {
	both := io.TeeReader(body, w)
	notGzip := func(err error) error {
		if own := (*Error)(nil); errors.As(err, &own) {
			return err
		}
		return badRequest("The attachment " + body.name + " is not encoded with gzip.")
	}
	z, err := gzip.NewReader(both)
	if err != nil {
		return 0, notGzip(err)
	}
	return io.Copy(io.Discard, &bounded{source: source{z, notGzip}, left: max, name: body.name})
}

// inlineSource reads the base64 of an inline attachment.
func inlineSource(name string, data jsontext.Value) (source, error) {
	coded := []byte(data[1 : len(data)-1])
	if bytes.IndexByte(coded, '\\') >= 0 {
		var err error
		if coded, err = jsontext.AppendUnquote(nil, data); err != nil {
			return source{}, errAttachmentData(name)
		}
	}
	// As in CouchDB, white space counts for nothing; Go's decoder passes over line ends alone.
	if bytes.ContainsAny(coded, " \t") {
		coded = bytes.Map(func(c rune) rune {
			if c == ' ' || c == '\t' {
				return -1
			}
			return c
		}, coded)
	}
	return source{base64.NewDecoder(base64.StdEncoding, bytes.NewReader(coded)), func(error) error { return errAttachmentData(name) }}, nil
}

// follower yields the next attachment of a multipart body.
type follower func() (source, error)

// attachments stores what a document brings and returns the list that belongs into the store. Stubs are left to the store.
func (u *uploads) attachments(r *request, doc *incoming, next follower) ([]store.Attachment, error) {
	if len(doc.Attachments) == 0 {
		return nil, nil
	}
	list := make([]store.Attachment, 0, len(doc.Attachments))
	for _, a := range doc.Attachments {
		if a.Stub {
			list = append(list, store.Attachment{Name: a.Name, RevPos: a.RevPos, Stub: true})
			continue
		}
		from, err := a.source(next)
		if err != nil {
			return nil, err
		}
		if a.Data != nil {
			a.Encoding = "" // inline data is never packed
		}
		stored, sent, err := u.add(r, a.Attachment, from)
		if err != nil {
			return nil, err
		}
		if err := a.verify(stored, sent); err != nil {
			return nil, err
		}
		list = append(list, stored)
	}
	return list, nil
}

func (a *incomingAttachment) source(next follower) (source, error) {
	if !a.Follows {
		return inlineSource(a.Name, a.Data)
	}
	if next == nil {
		return source{}, badRequest("The attachment " + a.Name + " does not follow: the request is not multipart/related.")
	}
	return next()
}

// verify compares what came, of which sent is the MD5, with what the document said about it. Of inline data CouchDB believes the data.
func (a *incomingAttachment) verify(stored store.Attachment, sent [md5.Size]byte) error {
	if !a.Follows {
		return nil
	}
	var wrong []string
	if a.Length >= 0 && a.Length != stored.Length {
		wrong = append(wrong, "length")
	}
	if a.Encoding != "" && a.Stored >= 0 && a.Stored != stored.Stored {
		wrong = append(wrong, "encoded_length")
	}
	// What was packed here and is sent back unpacked still has the digest that was told of it.
	if a.Digest != [md5.Size]byte{} && a.Digest != sent && a.Digest != stored.Digest {
		wrong = append(wrong, "digest")
	}
	if wrong != nil {
		return badRequest("The attachment " + a.Name + " has another " + strings.Join(wrong, ", another ") + " than was said.")
	}
	return nil
}
