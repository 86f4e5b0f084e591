package livesync

import (
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"strings"

	"github.com/skip2/go-qrcode"
)

// ErrQRTooLong says that a text does not fit into one QR code, which holds 2,953 bytes.
var ErrQRTooLong = errors.New("the text is too long for one QR code")

// QR is a QR code with the quiet zone around it that readers need.
type QR struct{ dots [][]bool } // rows; true is dark

// NewQR makes the smallest QR code of a text, with as much error correction as fits into that size: what is read off a screen suffers
// more from small dots than from lost ones. It fails with [ErrQRTooLong].
func NewQR(text string) (*QR, error) {
	code, err := qrcode.New(text, qrcode.Low)
	if err != nil {
		return nil, ErrQRTooLong
	}
	for _, level := range []qrcode.RecoveryLevel{qrcode.Highest, qrcode.High, qrcode.Medium} {
		if better, err := qrcode.NewWithForcedVersion(text, code.VersionNumber, level); err == nil {
			code = better
			break
		}
	}
	return &QR{code.Bitmap()}, nil
}

// Columns is how wide the code is, in characters of [QR.Text].
func (q *QR) Columns() int { return len(q.dots) }

// Text draws the code for a terminal that writes light on dark, two rows of dots to a line. Light dots are drawn and dark ones left out.
func (q *QR) Text() string {
	var b strings.Builder
	for y := 0; y < len(q.dots); y += 2 {
		for x := range q.dots[y] {
			upper, lower := !q.dots[y][x], y+1 < len(q.dots) && !q.dots[y+1][x]
			switch {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// dotPixels is the side of a dot in a picture, which a phone's camera tells apart on any screen.
const dotPixels = 6

// WritePNG draws the code as a picture.
func (q *QR) WritePNG(w io.Writer) error {
	side := dotPixels * len(q.dots)
	picture := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if q.dots[y/dotPixels][x/dotPixels] {
				picture.SetColorIndex(x, y, 1)
			}
		}
	}
	return png.Encode(w, picture)
}
