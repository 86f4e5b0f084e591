package server

import (
	"bufio"
	"compress/gzip"
	"io"
	"strconv"
	"strings"

	"github.com/parlordb/parlor/store"
)

// openDecoded reads an attachment as it was before it was packed.
func openDecoded(db *store.DB, a store.Attachment) (io.ReadCloser, error) {
	stored, err := db.OpenAttachment(a, 0)
	if err != nil || a.Encoding == "" {
		return stored, err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(stored, 32<<10))
	if err != nil {
		_ = stored.Close()
		return nil, err
	}
	return &decoded{Reader: z, stored: stored}, nil
}

// decoded is an unpacked attachment over its stored bytes.
type decoded struct {
	*gzip.Reader
	stored io.Closer
}

func (d *decoded) Close() error {
	_ = d.Reader.Close()
	return d.stored.Close()
}

// compresses reports whether attachments of a type are packed when they are stored ([attachments] compressible_types).
func (set *settings) compresses(contentType string) bool {
	if set.compressionLevel == 0 {
		return false
	}
	kind := mediaType(contentType)
	for _, pattern := range set.compressible {
		pattern = strings.ToLower(pattern)
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(kind, prefix) || kind == pattern {
			return true
		}
	}
	return false
}

// acceptsGzip reports whether an Accept-Encoding header allows gzip (RFC 9110 §12.5.3). Without the header nothing is packed: CouchDB's
// clients that say nothing cannot unpack.
func acceptsGzip(header string) bool {
	accepted := false
	for item := range strings.SplitSeq(header, ",") {
		coding, quality := quality(item)
		switch coding {
		case "gzip", "x-gzip":
			return quality > 0
		case "*":
			accepted = quality > 0
		}
	}
	return accepted
}

// quality splits an item of an Accept header into what is accepted, in lower case, and its q; 1 where there is none that can be read.
func quality(item string) (name string, q float64) {
	name, params, _ := strings.Cut(item, ";")
	q = 1
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(strings.TrimSpace(key), "q") {
			if n, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				q = n
			}
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), q
}

// acceptsType reports whether an Accept header allows a media type; a request without one takes anything.
func acceptsType(header, kind string) bool {
	if header == "" {
		return true
	}
	major, _, _ := strings.Cut(kind, "/")
	best, accepted := 0, false
	for item := range strings.SplitSeq(header, ",") {
		name, q := quality(item)
		rank := 0
		switch name {
		case kind:
			rank = 3
		case major + "/*":
			rank = 2
		case "*/*", "*":
			rank = 1
		}
		if rank > best {
			best, accepted = rank, q > 0
		}
	}
	return accepted
}
