package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Options configures Open.
type Options struct {
	Defaults string   // ini text below all files
	Files    []string // in order; changes are written to the last. A missing file is an error, but for the last, which is made at the first change
	// Overrides is ini text for what the command line says. It lies over the files like changes in memory, so a later Set or Delete of such
	// a key has its effect at once, but Reload keeps it, and it is never written.
	Overrides string
	// Prepare judges a change before anything is stored, and may replace the value (a password by its hash). deleted: the key is removed and
	// value is "". It sees the settings as they are, and the value as it was sent, which may hold line ends: what it returns is then held against the
	// dialect. A *ValueError refuses. nil allows all.
	Prepare func(s *Snapshot, section, key, value string, deleted bool) (string, error)
	// Apply puts settings into force. It is called by Open once, and within every change before it is answered; an error refuses the change, which is
	// then as if never made: Apply must leave in force what was. When a file cannot be written after all, it is called once more with the settings
	// before. Calls do not overlap.
	Apply func(s *Snapshot) error
}

// Settings are the layered files and the changes kept in memory alone. It is safe for concurrent use.
type Settings struct {
	o       Options
	current atomic.Pointer[Snapshot]

	mu    sync.Mutex // held by one change at a time
	state state
}

// state is what a Snapshot is made of. It is replaced, never changed.
type state struct {
	files  []document           // as read, with the changes since
	memory map[[2]string]string // by section and key
}

// Open reads the files. Plaintext values that Prepare replaces are replaced in the file that held them, before Apply is called.
// A value that Prepare refuses is an error that names file and line.
func Open(o Options) (*Settings, error) {
	c := &Settings{o: o}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Snapshot returns the settings in force: an atomic load.
func (c *Settings) Snapshot() *Snapshot { return c.current.Load() }

// Set changes a key and returns its old value ("" for none). White space around the value is dropped. persist writes it to
// the last file, else it lives until the process ends or Reload. Without files everything lives in memory.
// It fails with *ValueError, or with what writing or Apply gave; nothing is changed then.
//
// An empty value stands in a file for none, so it is refused when persisted where an earlier file or the defaults have another value, which would
// come back at the next start.
func (c *Settings) Set(section, key, value string, persist bool) (old string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := checkNames(section, key); err != nil {
		return "", err
	}
	value = strings.TrimSpace(value)
	now := c.Snapshot()
	if c.o.Prepare != nil {
		if value, err = c.o.Prepare(now, section, key, value, false); err != nil {
			return "", err
		}
	}
	if err := checkValue(section, key, value, persist); err != nil {
		return "", err
	}
	old, _ = now.Get(section, key)
	entry := [2]string{section, key}
	if !persist || len(c.o.Files) == 0 {
		next := c.state.clone()
		next.memory[entry] = value
		return old, c.change(next, nil)
	}
	edit := func(d document) document { return d.set(section, key, value) }
	next := c.state.edit(edit)
	delete(next.memory, entry)
	if value == "" {
		if _, ok := c.snapshot(next).Get(section, key); ok {
			return "", &ValueError{invalidValue + ": an empty value does not hide the one of an earlier settings file, write a value in its place"}
		}
		next.memory[entry] = ""
	}
	return old, c.change(next, edit)
}

// Delete removes a key and returns its old value, or ErrNotFound. A value in an earlier file comes back into force, and so does the one in the
// last file when persist is not set.
func (c *Settings) Delete(section, key string, persist bool) (old string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Snapshot()
	old, ok := now.Get(section, key)
	if !ok {
		return "", ErrNotFound
	}
	if c.o.Prepare != nil {
		if _, err := c.o.Prepare(now, section, key, "", true); err != nil {
			return "", err
		}
	}
	entry := [2]string{section, key}
	if !persist || len(c.o.Files) == 0 {
		next := c.state.clone()
		delete(next.memory, entry)
		return old, c.change(next, nil)
	}
	edit := func(d document) document { return d.remove(section, key) }
	next := c.state.edit(edit)
	delete(next.memory, entry)
	return old, c.change(next, edit)
}

// Reload reads the files again and drops what lives in memory alone, the overrides excepted. Plaintext values are replaced in their files as in Open, and
// stay so when Apply then refuses the rest.
func (c *Settings) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := state{memory: make(map[[2]string]string)}
	for _, l := range parse(c.o.Overrides).lines {
		if l.value != "" {
			next.memory[[2]string{l.section, l.key}] = l.value
		}
	}
	for i, path := range c.o.Files {
		text, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) && i == len(c.o.Files)-1 {
			text, err = "", nil
		}
		if err != nil {
			return err
		}
		next.files = append(next.files, parse(text))
	}
	if c.o.Prepare != nil {
		if err := c.prepareFiles(next); err != nil {
			return err
		}
	}
	return c.change(next, nil)
}

// prepareFiles shows every entry to Prepare, and writes the files in which it replaced something.
func (c *Settings) prepareFiles(s state) error {
	read := c.snapshot(s)
	for i, path := range c.o.Files {
		d, changed, err := s.files[i].rewrite(func(section, key, value string) (string, error) {
			value, err := c.o.Prepare(read, section, key, value, false)
			if err != nil {
				return "", err
			}
			return value, checkValue(section, key, value, true)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !changed {
			continue
		}
		if err := replaceFile(path, d.String()); err != nil {
			return fmt.Errorf("a plaintext secret cannot be replaced by its hash; make the file writable or write the hash into it yourself: %w", err)
		}
		s.files[i] = d
	}
	return nil
}

// change puts next into force. edit, if any, is first made in the last file.
func (c *Settings) change(next state, edit func(document) document) error {
	var staged *replacement
	if edit != nil {
		path := c.o.Files[len(c.o.Files)-1]
		text, err := readFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if staged, err = stageFile(path, edit(parse(text)).String()); err != nil {
			return err
		}
		defer staged.discard()
	}
	snapshot := c.snapshot(next)
	if c.o.Apply != nil {
		if err := c.o.Apply(snapshot); err != nil {
			return err
		}
	}
	if staged != nil {
		if err := staged.commit(); err != nil {
			if c.o.Apply != nil {
				err = errors.Join(err, c.o.Apply(c.Snapshot()))
			}
			return err
		}
	}
	c.state = next
	c.current.Store(snapshot)
	return nil
}

// snapshot lays the layers over each other.
func (c *Settings) snapshot(s state) *Snapshot {
	v := make(values)
	parse(c.o.Defaults).lay(v)
	for _, d := range s.files {
		d.lay(v)
	}
	for entry, value := range s.memory {
		v.put(entry[0], entry[1], value)
	}
	return &Snapshot{sections: v}
}

func (s state) clone() state {
	return state{files: slices.Clone(s.files), memory: maps.Clone(s.memory)}
}

// edit returns s with the last file changed.
func (s state) edit(fn func(document) document) state {
	s = s.clone()
	last := len(s.files) - 1
	s.files[last] = fn(s.files[last])
	return s
}
