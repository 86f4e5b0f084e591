package couchjs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the child's program, in several kinds: a good one and some that misbehave.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "couchjs":
			os.Exit(Main())
		case "garbage":
			os.Stdout.WriteString("hello, I am not a couchjs\n")
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		case "huge":
			_, _ = os.Stdout.Write(binary.BigEndian.AppendUint32(nil, 1<<31))
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		case "babble":
			_, _ = os.Stderr.Write(bytes.Repeat([]byte("x"), 1<<20))
			os.Exit(3)
		case "liar":
			lie()
		}
	}
	goleak.VerifyTestMain(m)
}

// lie greets well and then answers with what is no JSON, under statuses that exist and one that does not.
func lie() {
	_, _ = os.Stdout.Write(newFrame(statusOK, 0, nil, nil))
	var head [4]byte
	for i := 0; ; i++ {
		if _, err := io.ReadFull(os.Stdin, head[:]); err != nil {
			os.Exit(0)
		}
		_, _ = io.CopyN(io.Discard, os.Stdin, int64(binary.BigEndian.Uint32(head[:])))
		switch i {
		case 0: // the greeting was sent before it was asked for
		case 1:
			_, _ = os.Stdout.Write(newFrame(statusThrown, 0, []byte("fnot json"), nil))
		case 2:
			_, _ = os.Stdout.Write(newFrame('?', 0, nil, nil))
		default:
			_, _ = os.Stdout.Write(newFrame(statusOK, 0, []byte("1111"), nil))
		}
	}
}

func newPool(t testing.TB, o Options) *Pool {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = time.Minute // of a slow machine; what runs into a limit sets its own
	}
	p := NewPool(o)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// validate calls a function with a document and little else.
func validate(p *Pool, function, doc string) error {
	return p.Validate(context.Background(), function, nil, []byte(doc), []byte("null"), []byte(`{"db":"d","name":"ann","roles":[]}`), []byte("{}"))
}

func wantError(t *testing.T, err error, name, reason string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Name != name || !strings.Contains(e.Reason, reason) {
		t.Errorf("got error %v, want %s: …%s…", err, name, reason)
	}
}

func wantThrown(t *testing.T, err error, kind, reason string) {
	t.Helper()
	var e *Thrown
	if !errors.As(err, &e) || e.Kind != kind || string(e.Reason) != reason {
		t.Errorf("got error %v, want %s: %s", err, kind, reason)
	}
}
