package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// entryOf is one entry of a tar file made by hand.
type entryOf struct {
	name, body string
	kind       byte
	link       string
}

func makeTar(t *testing.T, entries ...entryOf) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Size: int64(len(e.body)), Mode: 0o777}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// manifest is the entry that goes with the others.
func manifest(entries ...entryOf) entryOf {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%x  %d  %s\n", sha256.Sum256([]byte(e.body)), len(e.body), e.name)
	}
	return entryOf{name: manifestName, body: b.String()}
}

func extractAll(t *testing.T, dir string, archive []byte) ([]string, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return extract(bytes.NewReader(archive), int64(len(archive)), root)
}

func TestExtractRefuses(t *testing.T) {
	t.Parallel()
	a, b := entryOf{name: "store/a", body: "aaa"}, entryOf{name: "store/b", body: "bbb"}
	whole := makeTar(t, a, b, manifest(a, b))
	outside := func(name string) []byte {
		e := entryOf{name: name, body: "x"}
		return makeTar(t, e, manifest(e))
	}
	tests := map[string][]byte{
		"nothing":                 nil,
		"no tar":                  []byte(strings.Repeat("junk", 1000)),
		"cut in an entry":         whole[:600],
		"cut before the manifest": whole[:2048],
		"no manifest":             makeTar(t, a, b),
		"changed byte":            bytes.Replace(whole, []byte("bbb"), []byte("bxb"), 1),
		"missing file":            makeTar(t, a, manifest(a, b)),
		"added file":              makeTar(t, a, b, manifest(a)),
		"other order":             makeTar(t, b, a, manifest(a, b)),
		"something after":         makeTar(t, a, manifest(a), b),
		"twice":                   makeTar(t, a, a, manifest(a, a)),
		"parent":                  outside("../x"),
		"parent inside":           outside("store/../../x"),
		"unclean":                 outside("store/./x"),
		"absolute":                outside("/tmp/x"),
		"another place":           outside("elsewhere/x"),
		"the root":                outside("."),
		"symbolic link":           makeTar(t, entryOf{name: "store/l", kind: tar.TypeSymlink, link: "/etc"}),
		"hard link":               makeTar(t, entryOf{name: "store/l", kind: tar.TypeLink, link: "store/a"}),
		"device":                  makeTar(t, entryOf{name: "store/d", kind: tar.TypeChar}),
		"directory":               makeTar(t, entryOf{name: "store/d/", kind: tar.TypeDir}),
	}
	for name, archive := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			above := t.TempDir()
			dir := filepath.Join(above, "in")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := extractAll(t, dir, archive)
			if name == "twice" {
				if !errors.Is(err, fs.ErrExist) {
					t.Errorf("got %v", err)
				}
			} else if !errors.Is(err, errBroken) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Lstat(filepath.Join(above, "x")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a file appeared outside")
			}
		})
	}
}

// A link that is in the way already, however it came there, is not followed out of the directory.
func TestExtractStaysInside(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, storeDir)); err != nil {
		t.Fatal(err)
	}
	a := entryOf{name: "store/a", body: "aaa"}
	if _, err := extractAll(t, dir, makeTar(t, a, manifest(a))); err == nil {
		t.Error("extracted through a link")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("outside there is now %v", entries)
	}
}

func TestArchiveRoundTrip(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	files := map[string]string{"store/CURRENT": "one", "store/sub/empty": "", "parlor.ini": "[s]\n", "config/00-a  b.ini": "x"}
	for name, body := range files {
		file := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	a := newArchiveWriter(&archive, time.Unix(1, 0))
	for _, err := range []error{
		a.addDir("store", filepath.Join(from, "store")),
		a.addFile("config/00-a  b.ini", filepath.Join(from, "config/00-a  b.ini")),
		a.addFile("parlor.ini", filepath.Join(from, "parlor.ini")),
		a.close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	names, err := extractAll(t, to, archive.Bytes())
	if err != nil || !slices.Equal(names, []string{"store/CURRENT", "store/sub/empty", "config/00-a  b.ini", "parlor.ini"}) {
		t.Errorf("names %q, error %v", names, err)
	}
	for name, body := range files {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != body {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// FuzzExtract asserts that an archive that is taken has put exactly the files it names into the directory, and that none, taken or not, puts
// anything elsewhere or more than its own size.
func FuzzExtract(f *testing.F) {
	var archive bytes.Buffer
	w := newArchiveWriter(&archive, time.Unix(1, 0))
	if err := errors.Join(w.add("store/a", 3, strings.NewReader("aaa")), w.add("parlor.ini", 4, strings.NewReader("[s]\n")), w.close()); err != nil {
		f.Fatal(err)
	}
	f.Add(archive.Bytes())
	f.Add(archive.Bytes()[:1600])
	f.Fuzz(func(t *testing.T, archive []byte) {
		above := t.TempDir()
		dir := filepath.Join(above, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		names, err := extractAll(t, dir, archive)
		var found []string
		size := int64(0)
		walk := filepath.WalkDir(above, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			size += info.Size()
			found = append(found, filepath.ToSlash(strings.TrimPrefix(file, dir+string(filepath.Separator))))
			return err
		})
		slices.Sort(names)
		slices.Sort(found)
		if walk != nil || err == nil && !slices.Equal(names, found) || size > int64(len(archive)) {
			t.Fatalf("names %q, files %q of %d bytes, %v, %v", names, found, size, err, walk)
		}
	})
}
