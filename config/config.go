// Package config reads and writes CouchDB's ini settings: files in layers, later over earlier, changes written back to the last
// with its comments kept.
//
// It does not know what any key means. (The manual goes here: dialect, layers, persistence, watching.)
package config

import "errors"

// ErrNotFound says that a key has no value.
var ErrNotFound = errors.New("unknown_config_value")

// ValueError refuses a change; Reason is the client's text.
type ValueError struct{ Reason string }

func (e *ValueError) Error() string { return e.Reason }

// Snapshot is the settings at one moment. It is immutable, safe for concurrent use and cheap to read.
type Snapshot struct{}

// Get returns the value of a key, and whether it has one.
func (s *Snapshot) Get(section, key string) (string, bool) { panic("todo") }

// String returns the value of key in the first of sections that has one, else fallback.
func (s *Snapshot) String(fallback, key string, sections ...string) string { panic("todo") }

// Bool is String for booleans: exactly "true" and "false" count, anything else is the fallback.
func (s *Snapshot) Bool(fallback bool, key string, sections ...string) bool { panic("todo") }

// Int is String for decimal integers: a sign and leading zeros are taken, anything else is the fallback.
func (s *Snapshot) Int(fallback int64, key string, sections ...string) int64 { panic("todo") }

// Section returns a copy of one section, empty when there is none.
func (s *Snapshot) Section(section string) map[string]string { panic("todo") }

// Sections returns the names of all sections, sorted.
func (s *Snapshot) Sections() []string { panic("todo") }

// Options configures Open.
type Options struct {
	Defaults string   // ini text below all files
	Files    []string // in order; changes are written to the last. A missing file is an error, but for the last, which is made at the first change
	// Prepare judges a change before anything is stored, and may replace the value (a password by its hash). deleted: the key is removed and
	// value is "". It sees the settings as they are. A *ValueError refuses. nil allows all.
	Prepare func(s *Snapshot, section, key, value string, deleted bool) (string, error)
	// Apply puts settings into force. It is called by Open once, and within every change before it is answered; an error refuses the change, which is
	// then as if never made. Calls do not overlap.
	Apply func(s *Snapshot) error
}

// Settings are the layered files and the changes kept in memory alone. It is safe for concurrent use.
type Settings struct{}

// Open reads the files. Plaintext values that Prepare replaces are replaced in the file that held them, before Apply is called.
func Open(o Options) (*Settings, error) { panic("todo") }

// Snapshot returns the settings in force: an atomic load.
func (c *Settings) Snapshot() *Snapshot { panic("todo") }

// Set changes a key and returns its old value ("" for none). persist writes it to the last file, else it lives until the process ends or Reload.
// It fails with *ValueError, or with what writing or Apply gave; nothing is changed then.
func (c *Settings) Set(section, key, value string, persist bool) (old string, err error) {
	panic("todo")
}

// Delete removes a key and returns its old value, or ErrNotFound. A value in an earlier file comes back into force.
func (c *Settings) Delete(section, key string, persist bool) (old string, err error) { panic("todo") }

// Reload reads the files again and drops what lives in memory alone.
func (c *Settings) Reload() error { panic("todo") }
