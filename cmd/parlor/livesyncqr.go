package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/parlordb/parlor/livesync"
)

// qrFlags say where a QR code is drawn.
type qrFlags struct {
	text, none bool   // on standard output whatever it is, or not there
	file       string // a new picture
}

// newPicture makes the file of the picture; nil for none.
func (f qrFlags) newPicture() (*os.File, error) {
	if f.file == "" {
		return nil, nil
	}
	return os.OpenFile(f.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// drawSetup draws the QR code of the Setup URI in a file, or for "-" from a prompt or standard input.
func (p *program) drawSetup(qr qrFlags, file string) error {
	text, err := p.setupText(file)
	if err != nil {
		return err
	}
	uri, _ := findSetup(text)
	if uri == "" {
		_, err := livesync.Decode(text, "") // which says what it is instead
		return err
	}
	picture, err := qr.newPicture()
	if err != nil {
		return err
	}
	if picture != nil {
		defer picture.Close()
	}
	return p.drawQR(qr, uri, picture)
}

// drawQR draws the code of a Setup URI where it was asked for, and on a terminal that has room for it. picture is nil for none.
func (p *program) drawQR(f qrFlags, uri string, picture *os.File) error {
	columns, lines, isTerminal := 0, 0, false
	if out, ok := p.stdout.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		isTerminal = true
		columns, lines, _ = term.GetSize(int(out.Fd())) // 0 when it does not say
	}
	if picture == nil && !f.text && (f.none || !isTerminal) {
		return nil
	}
	code, err := livesync.NewQR(uri)
	if errors.Is(err, livesync.ErrQRTooLong) {
		fmt.Fprintln(p.stderr, "the Setup URI is too long for a QR code: copy it to the device instead")
		return nil
	}
	if err != nil {
		return err
	}
	if picture != nil {
		if err := code.WritePNG(picture); err != nil {
			return err
		}
		if err := picture.Close(); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "the QR code is in %s; whoever has it and the passphrase has the vault\n", f.file)
	}
	height := (code.Columns() + 1) / 2
	switch {
	case f.text || isTerminal && !f.none && picture == nil && columns >= code.Columns():
		if _, err = fmt.Fprint(p.stdout, onBlack(code.Text(), isTerminal)); err == nil && isTerminal && lines < height {
			fmt.Fprintf(p.stderr, "the QR code has %d lines: make the terminal larger, or its letters smaller, until all of it is seen\n", height)
		}
	case isTerminal && !f.none && picture == nil:
		fmt.Fprintf(p.stderr, "the QR code needs %d columns and %d lines. Make the terminal larger, or its letters smaller, and run 'parlor livesync uri -qr',\n"+
			"or 'parlor livesync uri -png FILE' for a picture: both ask for the Setup URI\n", code.Columns(), height)
	}
	return err
}

// onBlack sets a drawing of light dots in white on black, whatever the terminal's own colours are.
func onBlack(drawing string, isTerminal bool) string {
	if !isTerminal {
		return drawing
	}
	const white, reset = "\x1b[38;5;231;48;5;16m", "\x1b[0m"
	return white + strings.ReplaceAll(strings.TrimSuffix(drawing, "\n"), "\n", reset+"\n"+white) + reset + "\n"
}
