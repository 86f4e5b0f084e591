package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func write(t *testing.T, path, text string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func open(t *testing.T, o Options) *Settings {
	t.Helper()
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// value is what s holds under [s] k, "<none>" for nothing.
func value(s *Snapshot) string {
	if v, ok := s.Get("s", "k"); ok {
		return v
	}
	return "<none>"
}

// checkAlone asserts that dir holds the named files and no leavings.
func checkAlone(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(names) {
		t.Errorf("the directory holds %v, want %v", entries, names)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := write(t, filepath.Join(dir, "good.ini"), "[s]\nk = v\n", 0o600)
	latin := write(t, filepath.Join(dir, "latin.ini"), "[s]\nk = caf\xe9\n", 0o600)
	refusal := errors.New("not with me")
	for _, test := range []struct {
		name string
		o    Options
		want string
	}{
		{"missing file", Options{Files: []string{filepath.Join(dir, "none.ini"), good}}, "none.ini"},
		{"a directory", Options{Files: []string{dir}}, "directory"},
		{"not UTF-8", Options{Files: []string{latin}}, "line 2 is not UTF-8"},
		{"Apply", Options{Files: []string{good}, Apply: func(*Snapshot) error { return refusal }}, "not with me"},
		{"Prepare", Options{Files: []string{good}, Prepare: func(*Snapshot, string, string, string, bool) (string, error) {
			return "", refusal
		}}, "good.ini: line 2, [s] k: not with me"},
	} {
		if _, err := Open(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q in it", test.name, err, test.want)
		}
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := write(t, filepath.Join(dir, "1.ini"), "[s]\nk = first\na = first\n", 0o600)
	last := filepath.Join(dir, "2.ini")
	c := open(t, Options{Defaults: "[s]\nk = default\nd = default\n[e]\nx = y\n", Files: []string{first, last}})
	if got := value(c.Snapshot()); got != "first" {
		t.Errorf("got %s", got)
	}
	if _, err := os.Stat(last); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open made the last file: %v", err)
	}
	before := c.Snapshot()
	if old, err := c.Set("s", "k", "  last ", true); err != nil || old != "first" {
		t.Errorf("old %q, error %v", old, err)
	}
	if value(before) != "first" || value(c.Snapshot()) != "last" {
		t.Error("a snapshot changed, or the settings did not")
	}
	if info, err := os.Stat(last); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("made with mode %v, error %v", info.Mode(), err)
	}
	if old, err := c.Delete("s", "k", true); err != nil || old != "last" {
		t.Errorf("old %q, error %v", old, err)
	}
	if got := value(c.Snapshot()); got != "first" {
		t.Errorf("the earlier file's value did not come back: %s", got)
	}
	if old, err := c.Delete("s", "d", true); err != nil || old != "default" || c.Snapshot().Section("s")["d"] != "default" {
		t.Errorf("a default was deleted: %q, %v", old, err)
	}
	if _, err := c.Delete("s", "none", true); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(c.Snapshot().Sections(), " "); got != "e s" {
		t.Errorf("sections %q", got)
	}
}

func TestMemoryAlone(t *testing.T) {
	t.Parallel()
	path := write(t, filepath.Join(t.TempDir(), "a.ini"), "[s]\nk = disk\n", 0o600)
	c := open(t, Options{Files: []string{path}})
	if old, err := c.Set("s", "k", "a ;b", false); err != nil || old != "disk" {
		t.Fatalf("old %q, error %v", old, err)
	}
	if got := read(t, path); got != "[s]\nk = disk\n" || value(c.Snapshot()) != "a ;b" {
		t.Errorf("file %q, value %q", got, value(c.Snapshot()))
	}
	if old, err := c.Delete("s", "k", false); err != nil || old != "a ;b" || value(c.Snapshot()) != "disk" {
		t.Errorf("old %q, value %q, error %v", old, value(c.Snapshot()), err)
	}
	if _, err := c.Set("s", "k", "memory", false); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err != nil || value(c.Snapshot()) != "disk" {
		t.Errorf("after Reload: %q, %v", value(c.Snapshot()), err)
	}
	if _, err := c.Set("s", "k", "memory", false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Set("s", "k", "kept", true); err != nil || value(c.Snapshot()) != "kept" {
		t.Errorf("what is kept is hidden by what is in memory: %q, %v", value(c.Snapshot()), err)
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	path := write(t, filepath.Join(t.TempDir(), "a.ini"), "[s]\nk = disk\n", 0o600)
	c := open(t, Options{Files: []string{path}, Overrides: "[s]\nk = flag\n"})
	if value(c.Snapshot()) != "flag" || read(t, path) != "[s]\nk = disk\n" {
		t.Errorf("value %q, file %q", value(c.Snapshot()), read(t, path))
	}
	if old, err := c.Set("s", "k", "new", true); err != nil || old != "flag" || value(c.Snapshot()) != "new" {
		t.Errorf("old %q, value %q, error %v", old, value(c.Snapshot()), err)
	}
	if err := c.Reload(); err != nil || value(c.Snapshot()) != "flag" {
		t.Errorf("after Reload: %q, %v", value(c.Snapshot()), err)
	}
	if old, err := c.Delete("s", "k", false); err != nil || old != "flag" || value(c.Snapshot()) != "new" {
		t.Errorf("old %q, value %q, error %v", old, value(c.Snapshot()), err)
	}
}

func TestEmptyValue(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.ini")
	c := open(t, Options{Defaults: "[s]\nd = default\n", Files: []string{path}})
	var refused *ValueError
	if _, err := c.Set("s", "d", "", true); !errors.As(err, &refused) {
		t.Errorf("a value that would come back at the next start: got %v", err)
	}
	if _, err := c.Set("s", "d", "", false); err != nil || c.Snapshot().String("x", "d", "s") != "" {
		t.Errorf("in memory: %v", err)
	}
	for range 2 {
		if old, err := c.Set("s", "k", " ", true); err != nil || old != "" || value(c.Snapshot()) != "" {
			t.Errorf("old %q, value %q, error %v", old, value(c.Snapshot()), err)
		}
	}
	if old, err := c.Delete("s", "k", true); err != nil || old != "" || value(c.Snapshot()) != "<none>" {
		t.Errorf("old %q, value %q, error %v", old, value(c.Snapshot()), err)
	}
}

func TestRefusalChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const text = "; mine\n[s]\nk = old\n"
	path := write(t, filepath.Join(dir, "a.ini"), text, 0o640)
	refuse := errors.New("refused")
	var prepare, apply error
	var applied string
	c := open(t, Options{
		Files:   []string{path},
		Prepare: func(_ *Snapshot, _, _, value string, _ bool) (string, error) { return value, prepare },
		Apply: func(s *Snapshot) error {
			if apply == nil {
				applied = value(s)
			}
			return apply
		},
	})
	check := func(name string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || read(t, path) != text || value(c.Snapshot()) != "old" || applied != "old" {
			t.Errorf("%s: error %v, file %q, value %q, applied %q", name, err, read(t, path), value(c.Snapshot()), applied)
		}
		checkAlone(t, dir, "a.ini")
	}
	for _, persist := range []bool{true, false} {
		prepare, apply = refuse, nil
		_, err := c.Set("s", "k", "new", persist)
		check("Set, Prepare", err, refuse)
		_, err = c.Delete("s", "k", persist)
		check("Delete, Prepare", err, refuse)
		check("Reload, Prepare", c.Reload(), refuse)
		prepare, apply = nil, refuse
		_, err = c.Set("s", "k", "new", persist)
		check("Set, Apply", err, refuse)
		_, err = c.Delete("s", "k", persist)
		check("Delete, Apply", err, refuse)
		check("Reload, Apply", c.Reload(), refuse)
	}
	prepare, apply = nil, nil
	for _, bad := range []string{"a ;b", "a\nb"} {
		var refused *ValueError
		if _, err := c.Set("s", "k", bad, true); !errors.As(err, &refused) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	check("bad value", nil, nil)
}

// A file that cannot be replaced leaves memory as it is too, and Apply hears of the old settings again.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "gone", "a.ini")
	var applied []string
	c := open(t, Options{Files: []string{path}, Apply: func(s *Snapshot) error {
		applied = append(applied, value(s))
		return nil
	}})
	if _, err := c.Set("s", "k", "new", true); !errors.Is(err, fs.ErrNotExist) || value(c.Snapshot()) != "<none>" {
		t.Errorf("error %v, value %q", err, value(c.Snapshot()))
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	c = open(t, Options{Files: []string{path}, Apply: func(s *Snapshot) error {
		applied = append(applied, value(s))
		if value(s) == "new" { // the rename that follows finds a directory in its way
			return os.MkdirAll(filepath.Join(path, "full"), 0o700)
		}
		return nil
	}})
	applied = nil
	if _, err := c.Set("s", "k", "new", true); err == nil || value(c.Snapshot()) != "<none>" {
		t.Errorf("error %v, value %q", err, value(c.Snapshot()))
	}
	if got := strings.Join(applied, " "); got != "new <none>" {
		t.Errorf("applied %q", got)
	}
	checkAlone(t, filepath.Dir(path), "a.ini")
}

// A file that may not be written is not replaced either, though its directory would allow it.
func TestReadOnlyFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may write every file")
	}
	path := write(t, filepath.Join(t.TempDir(), "a.ini"), "[s]\nk = old\n", 0o400)
	c := open(t, Options{Files: []string{path}})
	if _, err := c.Set("s", "k", "new", true); !errors.Is(err, fs.ErrPermission) || value(c.Snapshot()) != "old" || read(t, path) != "[s]\nk = old\n" {
		t.Errorf("error %v, value %q, file %q", err, value(c.Snapshot()), read(t, path))
	}
}

func TestFileKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real := write(t, filepath.Join(dir, "real.ini"), "[s]\r\nk = old ; why\r\n", 0o640)
	link := filepath.Join(dir, "link.ini")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	c := open(t, Options{Files: []string{link}})
	// An operator's edit after the start is not in force yet, and not lost either.
	write(t, real, "; mine\r\n[s]\r\nother = 1\r\nk = old ; why\r\n", 0o640)
	if _, err := c.Set("s", "k", "new", true); err != nil {
		t.Fatal(err)
	}
	if got := read(t, real); got != "; mine\r\n[s]\r\nother = 1\r\nk = new ; why\r\n" {
		t.Errorf("got %q", got)
	}
	if _, ok := c.Snapshot().Get("s", "other"); ok {
		t.Error("an edit on disk came into force without Reload")
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	checkAlone(t, dir, "real.ini", "link.ini")
}

// hash stands in for the hashing of passwords.
func hash(_ *Snapshot, section, _, value string, deleted bool) (string, error) {
	if section != "admins" || deleted || strings.HasPrefix(value, "#") {
		return value, nil
	}
	return "#" + strings.ToUpper(value), nil
}

func TestPlaintextIsReplacedWhereItStood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := write(t, filepath.Join(dir, "1.ini"), "[admins]\nann = one ; hers\nann = two\n; ann = three\n", 0o644)
	last := write(t, filepath.Join(dir, "2.ini"), "[admins]\nbob = #X\n", 0o600)
	c := open(t, Options{Files: []string{first, last}, Prepare: hash, Apply: func(s *Snapshot) error {
		if v, _ := s.Get("admins", "ann"); v != "#TWO" {
			t.Errorf("applied %q", v)
		}
		return nil
	}})
	if got := read(t, first); got != "[admins]\nann = #ONE ; hers\nann = #TWO\n; ann = three\n" {
		t.Errorf("got %q", got)
	}
	if got := read(t, last); got != "[admins]\nbob = #X\n" {
		t.Errorf("got %q", got)
	}
	if _, err := c.Set("admins", "bob", "secret", true); err != nil || read(t, last) != "[admins]\nbob = #SECRET\n" {
		t.Errorf("file %q, error %v", read(t, last), err)
	}
	if _, err := c.Set("admins", "eve", "secret", false); err != nil || c.Snapshot().Section("admins")["eve"] != "#SECRET" {
		t.Errorf("in memory: %v", err)
	}
	write(t, last, "[admins]\ncy = plain\n", 0o600)
	if err := c.Reload(); err != nil || read(t, last) != "[admins]\ncy = #PLAIN\n" {
		t.Errorf("after Reload: file %q, error %v", read(t, last), err)
	}
}

func TestSnapshotValues(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Defaults: "[a]\nt = true\nf = false\nyes = yes\nn = -007\np = +5\nx = 0x10\nbig = 9223372036854775808\n[b]\nt = false\nonly = 9\n"}).Snapshot()
	if !s.Bool(false, "t", "a", "b") || s.Bool(true, "f", "a") || !s.Bool(true, "yes", "a") || s.Bool(false, "none", "a") || s.Bool(true, "t", "b") {
		t.Error("booleans")
	}
	for key, want := range map[string]int64{"n": -7, "p": 5, "x": 1, "big": 1, "none": 1, "only": 9} {
		if got := s.Int(1, key, "a", "b"); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
	if got := s.String("fallback", "none", "a", "b"); got != "fallback" {
		t.Errorf("got %q", got)
	}
	s.All()["a"]["t"] = "changed"
	s.Section("a")["t"] = "changed"
	s.Section("none")["t"] = "changed"
	if !s.Bool(false, "t", "a") || len(s.Section("none")) != 0 {
		t.Error("a copy reached the snapshot")
	}
}

func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.ini")
	inApply := 0
	c := open(t, Options{Files: []string{path}, Apply: func(*Snapshot) error {
		if inApply++; inApply != 1 {
			t.Error("calls of Apply overlap")
		}
		inApply--
		return nil
	}})
	var wait sync.WaitGroup
	for _, key := range []string{"a", "b", "c", "d"} {
		wait.Go(func() {
			for range 5 {
				if _, err := c.Set("s", key, key, true); err != nil {
					t.Error(err)
				}
				c.Snapshot().Get("s", key)
			}
		})
	}
	wait.Wait()
	if got := len(c.Snapshot().Section("s")); got != 4 {
		t.Errorf("%d keys in force", got)
	}
	if got := len(flat(read(t, path))); got != 4 {
		t.Errorf("%d keys in the file", got)
	}
}
