package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/term"

	"github.com/parlordb/parlor/livesync"
)

const livesyncHelp = `Usage: parlor livesync add|uri [flags]

Sets up devices for Obsidian's plugin Self-hosted LiveSync.

  parlor livesync add -user NAME -vault NAME -device LABEL   give a device its way into a vault, as a Setup URI
  parlor livesync uri [FILE]                                 print the settings in a Setup URI, or draw its QR code

'parlor livesync add -h' and 'parlor livesync uri -h' say more.
`

func (p *program) livesync(ctx context.Context, args []string) error {
	return p.choose(ctx, "livesync", livesyncHelp, []action{
		{"add", (*program).livesyncAdd},
		{"uri", (*program).livesyncURI},
	}, args)
}

// What names the parts of a setup where it is printed, and where it is read again.
const (
	setupURILabel        = "Setup URI: "
	setupPassphraseLabel = "Passphrase of the URI: "
	vaultPassphraseLabel = "Passphrase of the vault: "
)

// Where secrets come from when not from a prompt or standard input.
const (
	setupPassphraseEnv = "PARLOR_URI_PASSPHRASE"
	vaultPassphraseEnv = "PARLOR_VAULT_PASSPHRASE"
)

const livesyncURIHelp = `Prints the settings in a Setup URI, as JSON. They are printed whole, with the password or the key of the device and the passphrase of the vault.

The Setup URI comes from FILE, from a prompt, or from the first line of standard input; a file that 'parlor livesync add' has printed will do.
Its passphrase comes from PARLOR_URI_PASSPHRASE, from the same file or the next line, or from a prompt.

With -qr or -png its QR code is drawn instead, for which no passphrase is needed.`

func (p *program) livesyncURI(_ context.Context, args []string) error {
	f := newFlags("livesync uri", "[FILE]", livesyncURIHelp)
	var qr qrFlags
	f.BoolVar(&qr.text, "qr", false, "draw the QR code of the Setup URI on standard output")
	f.StringVar(&qr.file, "png", "", "write the QR code as a picture to this new `FILE`")
	args, err := f.parse(args, 0, 1)
	if err != nil {
		return err
	}
	file := append(args, "-")[0]
	if qr.text || qr.file != "" {
		return p.drawSetup(qr, file)
	}
	settings, err := p.setupSettings(file)
	if err != nil {
		return err
	}
	if err := settings.Indent(jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", settings)
	return err
}

// setupSettings reads a Setup URI from a file, or for "-" from a prompt or standard input, and its passphrase; it returns the settings in it.
func (p *program) setupSettings(file string) (jsontext.Value, error) {
	text, err := p.setupText(file)
	if err != nil {
		return nil, err
	}
	uri, passphrase := findSetup(text)
	if uri == "" {
		return livesync.Decode(text, passphrase) // which says what it is instead
	}
	switch given := p.getenv(setupPassphraseEnv); {
	case given != "":
		passphrase = given
	case passphrase != "":
	case file == "-" && !term.IsTerminal(int(p.stdin.Fd())):
		return nil, errors.New("there is no passphrase behind the Setup URI on standard input; write it on the next line, or set " + setupPassphraseEnv)
	default:
		if passphrase, err = p.known(setupPassphraseEnv, "Passphrase of the Setup URI"); err != nil {
			return nil, err
		}
	}
	return livesync.Decode(uri, passphrase)
}

// maxSetup bounds a text that holds a Setup URI.
const maxSetup = 1 << 20

// setupText returns the text in which a Setup URI is.
func (p *program) setupText(file string) (string, error) {
	if fd := int(p.stdin.Fd()); file == "-" && term.IsTerminal(fd) {
		return p.prompt(fd, setupURILabel)
	}
	in := io.Reader(p.stdin)
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer opened.Close()
		in = opened
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSetup+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxSetup:
		return "", fmt.Errorf("a Setup URI is not as long as %d bytes", maxSetup)
	case len(bytes.TrimSpace(b)) == 0:
		return "", errors.New("there is no Setup URI")
	}
	return string(b), nil
}

// findSetup finds a Setup URI in a text, and its passphrase: on the line with its name, else on the line behind the URI; "" when there is none.
func findSetup(text string) (uri, passphrase string) {
	behind := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		at := strings.Index(line, "obsidian://")
		switch named, ok := strings.CutPrefix(line, setupPassphraseLabel); {
		case ok:
			return uri, named
		case at >= 0 && uri == "":
			uri, behind = line[at:], true
			continue
		case behind && passphrase == "" && !strings.HasPrefix(line, vaultPassphraseLabel):
			passphrase = line
		}
		behind = false
	}
	return uri, passphrase
}
