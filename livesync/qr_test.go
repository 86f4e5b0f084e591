package livesync_test

import (
	"bytes"
	"errors"
	"image/png"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parlordb/parlor/livesync"
)

func TestQRTooLong(t *testing.T) {
	t.Parallel()
	if _, err := livesync.NewQR(strings.Repeat("a", 2953)); err != nil {
		t.Errorf("the longest text: %v", err)
	}
	if _, err := livesync.NewQR(strings.Repeat("a", 2954)); !errors.Is(err, livesync.ErrQRTooLong) {
		t.Errorf("a longer text: %v", err)
	}
}

// TestQRForms compares the two drawings of a code, dot by dot.
func TestQRForms(t *testing.T) {
	t.Parallel()
	q, err := livesync.NewQR("obsidian://setuplivesync?settings=%25%24" + strings.Repeat("Aa0%2B", 150))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := q.WritePNG(&b); err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	side := picture.Bounds().Dx() / q.Columns()
	if side < 4 || picture.Bounds().Dx() != side*q.Columns() || picture.Bounds().Dy() != picture.Bounds().Dx() {
		t.Fatalf("a picture of %v for %d columns", picture.Bounds(), q.Columns())
	}
	light := func(x, y int) bool {
		r, _, _, _ := picture.At(x*side+side/2, y*side+side/2).RGBA()
		return r == 0xffff
	}
	lines := strings.Split(strings.TrimSuffix(q.Text(), "\n"), "\n")
	if len(lines) != (q.Columns()+1)/2 {
		t.Fatalf("%d lines for %d columns", len(lines), q.Columns())
	}
	dark := 0
	for row, line := range lines {
		if utf8.RuneCountInString(line) != q.Columns() {
			t.Fatalf("line %d has %d columns", row, utf8.RuneCountInString(line))
		}
		for x, c := range []rune(line) {
			upper, lower := strings.ContainsRune("█▀", c), strings.ContainsRune("█▄", c)
			if upper != light(x, 2*row) || 2*row+1 < q.Columns() && lower != light(x, 2*row+1) {
				t.Fatalf("line %d, column %d: %q", row, x, c)
			}
			if !upper {
				dark++
			}
			if edge := row < 2 || row >= len(lines)-2 || x < 4 || x >= q.Columns()-4; edge && (!upper || !lower && 2*row+1 < q.Columns()) {
				t.Fatalf("the quiet zone has a dark dot at line %d, column %d", row, x)
			}
		}
	}
	if dark == 0 {
		t.Error("there is no dark dot")
	}
}
