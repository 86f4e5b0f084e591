package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// readFile returns the text of a settings file. Its error matches fs.ErrNotExist when there is none.
func readFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for i, l := range strings.Split(string(b), "\n") {
		if !utf8.ValidString(l) {
			return "", fmt.Errorf("%s: line %d is not UTF-8; save the file in that encoding", path, i+1)
		}
	}
	return string(b), nil
}

// replacement is the new text of a file, safe on disk under a name of its own.
type replacement struct {
	temp, path string
}

// stageFile writes text beside the file at path, or beside the one that path links to.
func stageFile(path, text string) (*replacement, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	mode, err := writable(path)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		os.Remove(f.Name())
		return nil, err
	}
	return &replacement{temp: f.Name(), path: path}, nil
}

// writable returns the mode of a file that may be written, 0600 for one that is not there. A rename would not ask for the
// permission to write the file, only for that of its directory.
func writable(path string) (fs.FileMode, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0o600, nil
	}
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return info.Mode().Perm(), nil
}

// commit puts the text in place of the file, durably. When it fails, the file is as it was.
func (r *replacement) commit() error {
	before, readErr := os.ReadFile(r.path)
	if err := os.Rename(r.temp, r.path); err != nil {
		return err
	}
	r.temp = ""
	err := syncDir(filepath.Dir(r.path))
	if err == nil {
		return nil
	}
	// The new text is in place but may not outlive a power cut, and the caller is about to say that nothing changed.
	if readErr != nil {
		return errors.Join(err, os.Remove(r.path))
	}
	back, stageErr := stageFile(r.path, string(before))
	if stageErr != nil {
		return errors.Join(err, stageErr)
	}
	return errors.Join(err, os.Rename(back.temp, r.path))
}

// discard removes a replacement that was not committed.
func (r *replacement) discard() {
	if r.temp != "" {
		os.Remove(r.temp)
	}
}

func replaceFile(path, text string) error {
	r, err := stageFile(path, text)
	if err != nil {
		return err
	}
	defer r.discard()
	return r.commit()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
