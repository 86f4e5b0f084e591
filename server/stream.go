package server

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// stream writes an answer of any length through one small buffer. Whoever fills it appends to buf, and calls spill between rows, never
// while the store runs a callback.
type stream struct {
	buf []byte
	w   *response
	ctl *http.ResponseController
}

func newStream(r *request) *stream {
	return &stream{w: &r.w, ctl: http.NewResponseController(&r.w)}
}

// spill writes the buffer when it has grown to a page.
func (st *stream) spill() error {
	if len(st.buf) < pageBytes {
		return nil
	}
	return st.write()
}

// write hands the buffer to the connection. It fails with errGone.
func (st *stream) write() error {
	if len(st.buf) == 0 {
		return nil
	}
	_, err := st.w.Write(st.buf)
	st.buf = st.buf[:0]
	return err
}

// flush sends everything on its way. A buffer that has grown is given back, since the next row may be hours away.
func (st *stream) flush() error {
	if err := st.write(); err != nil {
		return err
	}
	if cap(st.buf) > 4<<10 {
		st.buf = nil
	}
	st.w.WriteHeader(http.StatusOK)
	if err := st.ctl.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return errGone
	}
	return nil
}

// cutOff makes writes fail as soon as ctx ends, also one that waits for a client that does not read, unless spare says then that the
// answer may be ended well. The function that it returns undoes this.
func (st *stream) cutOff(ctx context.Context, spare func() bool) (undo func()) {
	st.w.cut = ctx.Done()
	stop := context.AfterFunc(ctx, func() {
		if !spare() {
			_ = st.ctl.SetWriteDeadline(time.Now())
		}
	})
	return func() {
		stop()
		st.w.cut = nil
	}
}

// stopped turns errGone into what a handler returns: the connection is cut, so that a half answer does not look whole.
func stopped(err error) error {
	if errors.Is(err, errGone) {
		panic(http.ErrAbortHandler)
	}
	return err
}
