package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A backup is a tar file:
//
//	store/…         a consistent copy of the store's directory
//	parlor.ini      the settings file that changes are written to
//	config/N-NAME   the settings files before it, if there are any
//	MANIFEST        the last entry: "SHA-256  size  name" of each of the others, in order, a line each
//
// A file without its MANIFEST is one that broke off. The sums find damage, not forgery: whoever can write the file can write them too.

// manifestName is the archive's last entry.
const manifestName = "MANIFEST"

// maxManifest bounds the manifest's bytes: some hundred thousand files.
const maxManifest = 64 << 20

// archiveWriter writes a backup.
type archiveWriter struct {
	tar      *tar.Writer
	manifest bytes.Buffer
	now      time.Time
}

func newArchiveWriter(w io.Writer, now time.Time) *archiveWriter {
	return &archiveWriter{tar: tar.NewWriter(w), now: now}
}

// add writes one file, of exactly size bytes.
func (a *archiveWriter) add(name string, size int64, r io.Reader) error {
	if err := a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: a.now, Format: tar.FormatPAX}); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(a.tar, sum), r, size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(&a.manifest, "%x  %d  %s\n", sum.Sum(nil), size, name)
	return nil
}

// addFile writes the file at file under name.
func (a *archiveWriter) addFile(name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return a.add(name, info.Size(), f)
}

// addDir writes the files below dir under name.
func (a *archiveWriter) addDir(name, dir string) error {
	return filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		below, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return a.addFile(path.Join(name, filepath.ToSlash(below)), file)
	})
}

// close writes the manifest and the archive's end.
func (a *archiveWriter) close() error {
	err := a.tar.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(a.manifest.Len()), ModTime: a.now, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	if _, err := a.tar.Write(a.manifest.Bytes()); err != nil {
		return err
	}
	return a.tar.Close()
}

// errBroken says that a backup is not whole.
var errBroken = errors.New("the backup is damaged or did not end")

// extract writes the files of a backup of size bytes into root, which should be empty, and checks each against the manifest. It fails with
// errBroken when one is missing, added or changed; what it has written by then is for the caller to remove. Names that lead out of root, links
// and devices are refused, and so are sparse files, which would unpack to more than the backup's size.
func extract(r io.Reader, size int64, root *os.Root) (names []string, err error) {
	in := tar.NewReader(bufio.NewReaderSize(r, 1<<20))
	left := size
	var found []string // the manifest's lines, as they should be
	for {
		header, err := in.Next()
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errBroken, err)
		}
		if header.Name == manifestName {
			break
		}
		if header.Typeflag != tar.TypeReg || !backupName(header.Name) {
			return nil, fmt.Errorf("%w: it holds %q, which is no part of a backup", errBroken, header.Name)
		}
		if left -= header.Size; left < 0 {
			return nil, fmt.Errorf("%w: %s is larger than the backup", errBroken, header.Name)
		}
		sum, size, err := extractFile(root, header.Name, in)
		if err != nil {
			return nil, err
		}
		names = append(names, header.Name)
		found = append(found, fmt.Sprintf("%s  %d  %s", sum, size, header.Name))
	}
	if err := checkManifest(in, found); err != nil {
		return nil, err
	}
	if _, err := in.Next(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows its manifest", errBroken)
	}
	return names, nil
}

// backupName reports whether name is one that a backup holds.
func backupName(name string) bool {
	dir, _, below := strings.Cut(name, "/")
	return filepath.IsLocal(name) && path.Clean(name) == name && !strings.Contains(name, "\n") &&
		(name == settingsFile || below && (dir == storeDir || dir == "config"))
}

func extractFile(root *os.Root, name string, r io.Reader) (sum string, size int64, err error) {
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return "", 0, err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, hash), r)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %s ends early", errBroken, name)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	return hex.EncodeToString(hash.Sum(nil)), size, err
}

// checkManifest reads the manifest and compares it with what was found.
func checkManifest(r io.Reader, found []string) error {
	text, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return fmt.Errorf("%w: %v", errBroken, err)
	}
	want := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if slices.Equal(found, want) {
		return nil
	}
	for i, line := range found {
		if i >= len(want) || want[i] != line {
			return fmt.Errorf("%w: %s is not as the manifest says", errBroken, strings.SplitN(line, "  ", 3)[2])
		}
	}
	return fmt.Errorf("%w: the manifest names more files than there are", errBroken)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
