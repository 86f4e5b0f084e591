package replicate

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// body is the body of a request, made of texts and of attachments that are opened when they are reached. The transport may read on after it has
// answered; wait returns when it no longer does, and only then may what the attachments come from be used again.
type body struct {
	kind   string // Content-Type
	length int64  // -1: unknown
	pieces []piece
	closed chan struct{}
	once   sync.Once

	mu sync.Mutex // guards pieces and what follows, which may be read after wait

	err  error // why an attachment could not be read
	done int   // attachments that were read
	sent int64 // their bytes
}

// piece is a part of a body. Of an attachment, length says how many bytes must come; -1: any number.
type piece struct {
	open   func() (io.Reader, error)
	from   io.Reader
	length int64
	att    bool
}

func newBody(kind string) *body { return &body{kind: kind, closed: make(chan struct{})} }

func (b *body) text(s string) {
	b.pieces = append(b.pieces, piece{from: strings.NewReader(s)})
	if b.length >= 0 {
		b.length += int64(len(s))
	}
}

func (b *body) attachment(length int64, open func() (io.Reader, error)) {
	b.pieces = append(b.pieces, piece{open: open, length: length, att: true})
	if b.length >= 0 && length >= 0 {
		b.length += length
	} else {
		b.length = -1
	}
}

// Read implements io.Reader.
func (b *body) Read(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pieces) > 0 && b.err == nil {
		p := &b.pieces[0]
		if p.from == nil {
			if p.from, b.err = p.open(); b.err != nil {
				break
			}
		}
		n, err := p.from.Read(data)
		if p.att {
			b.sent += int64(n)
		}
		if p.att && p.length >= 0 {
			if p.length -= int64(n); p.length < 0 || errors.Is(err, io.EOF) && p.length > 0 {
				err = errLength
			}
		}
		if errors.Is(err, io.EOF) {
			if p.att {
				b.done++
			}
			b.pieces = b.pieces[1:]
		} else if err != nil {
			b.err = &NetworkError{"source", fmt.Errorf("an attachment: %w", err)}
			return n, b.err
		}
		if n > 0 {
			return n, nil
		}
	}
	if b.err != nil {
		return 0, b.err
	}
	return 0, io.EOF
}

var errLength = errors.New("it is not as long as the source says")

// Close implements io.Closer, for the transport.
func (b *body) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// wait waits for the transport, which closes the body even when the request fails, and for a Read that it may have left behind.
func (b *body) wait() {
	<-b.closed
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pieces = nil
}
