package couchjs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestMalformedFrames(t *testing.T) {
	t.Parallel()
	whole := newFrame(opValidate, flagSet, []byte("one"), nil, []byte("three"))
	for n := range len(whole) {
		if _, _, _, err := readFrame(bufio.NewReader(bytes.NewReader(whole[:n])), 100); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for name, frame := range map[string][]byte{
		"too short":              {0, 0, 0, 1, 'v'},
		"too long":               {0, 0, 1, 0, 'v', 0},
		"much too long":          {255, 255, 255, 255, 'v', 0},
		"half a length":          {0, 0, 0, 4, 'v', 0, 0, 0},
		"a part beyond the end":  {0, 0, 0, 7, 'v', 0, 0, 0, 0, 2, 'x'},
		"a part of 4 GB or so":   {0, 0, 0, 7, 'v', 0, 255, 255, 255, 255, 'x'},
		"something after a part": {0, 0, 0, 8, 'v', 0, 0, 0, 0, 1, 'x', 'y'},
	} {
		if _, _, _, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), 100); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReadFrame asserts that what is read as a frame is written as the same bytes.
func FuzzReadFrame(f *testing.F) {
	f.Add(newFrame(opValidate, flagSet, []byte("one"), nil, []byte("three")))
	f.Add(newFrame(statusOK, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		op, flag, parts, err := readFrame(bufio.NewReader(bytes.NewReader(b)), 1<<20)
		if err != nil {
			return
		}
		if again := newFrame(op, flag, parts...); !bytes.HasPrefix(b, again) {
			t.Fatalf("%x was read, %x is written", b, again)
		}
	})
}
