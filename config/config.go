// Package config reads and writes settings in CouchDB's ini dialect: files in layers, later over earlier, changes written
// back to the last with its comments kept.
//
// It does not know what any key means. What a change must satisfy, and what is to be done when settings change, are two
// functions that the program hands to [Open].
//
// # Dialect
//
// A line ends with \n, \r\n, \r or the byte 0x1A. White space around it does not count. A line that begins with ";" is a
// comment, and so is what follows the first " ;" or tab and ";" of any other line. "#" begins no comment; there are no quotes,
// no escapes and no continued lines.
//
//	[section]      opens a section. The name is kept as it is. "[]", and text after the "]", void the line: the section before goes on.
//	key = value    is split at the first " = " if there is one, else at the first "=". Both sides are trimmed.
//	key =          has no value and counts for nothing: it does not hide the value of an earlier file.
//
// All else, and everything before the first section, is passed over in silence, as CouchDB does. Of a key that is written twice in a
// file the last counts. Files are UTF-8; a byte order mark at the start is passed over. What is not UTF-8 is an error.
//
// # Layers
//
// Lowest first: the built-in defaults, the files in order, and what the command line said or was changed in memory alone. [Settings.Snapshot] is all of
// them laid over each other: immutable, and read without a lock.
//
// # Changes
//
// [Settings.Set], [Settings.Delete] and [Settings.Reload] are done when they return, or have changed nothing. Prepare has judged the
// change and Apply has put the result into force before the caller has an answer. When Apply fails, neither the file nor the
// snapshot has changed.
//
// A change that is kept is written into the last file as it is on disk at that moment, so that an operator's edits
// survive. One line changes; all others keep every byte. The file is replaced whole: a power cut leaves the old text or the new. It keeps
// its mode, and is made with mode 0600, because hashes and secrets are in it. A file that is a symbolic link is replaced where the link points.
//
// A value that the dialect cannot hold is refused rather than read back as something else.
package config

import (
	"errors"
	"maps"
	"slices"
	"strconv"
)

// ErrNotFound says that a key has no value. Its text is CouchDB's.
var ErrNotFound = errors.New("unknown_config_value")

// ValueError refuses a change; Reason is the client's text.
type ValueError struct{ Reason string }

func (e *ValueError) Error() string { return e.Reason }

// Snapshot is the settings at one moment. It is immutable, safe for concurrent use and cheap to read. The zero Snapshot has no settings.
type Snapshot struct {
	sections values
}

// values are settings by section and key.
type values map[string]map[string]string

func (v values) put(section, key, value string) {
	keys := v[section]
	if keys == nil {
		keys = make(map[string]string)
		v[section] = keys
	}
	keys[key] = value
}

// Get returns the value of a key, and whether it has one.
func (s *Snapshot) Get(section, key string) (string, bool) {
	value, ok := s.sections[section][key]
	return value, ok
}

// String returns the value of key in the first of sections that has one, else fallback.
func (s *Snapshot) String(fallback, key string, sections ...string) string {
	for _, section := range sections {
		if value, ok := s.Get(section, key); ok {
			return value
		}
	}
	return fallback
}

// Bool is String for booleans: exactly "true" and "false" count, anything else is the fallback.
func (s *Snapshot) Bool(fallback bool, key string, sections ...string) bool {
	switch s.String("", key, sections...) {
	case "true":
		return true
	case "false":
		return false
	}
	return fallback
}

// Int is String for decimal integers: a sign and leading zeros are taken, anything else is the fallback.
func (s *Snapshot) Int(fallback int64, key string, sections ...string) int64 {
	n, err := strconv.ParseInt(s.String("", key, sections...), 10, 64)
	if err != nil {
		return fallback
	}
	return n
}

// Section returns a copy of one section, empty when there is none.
func (s *Snapshot) Section(section string) map[string]string {
	keys := maps.Clone(s.sections[section])
	if keys == nil {
		keys = make(map[string]string)
	}
	return keys
}

// Sections returns the names of all sections that hold a value, sorted.
func (s *Snapshot) Sections() []string {
	return slices.Sorted(maps.Keys(s.sections))
}

// All returns a copy of all sections.
func (s *Snapshot) All() map[string]map[string]string {
	all := make(map[string]map[string]string, len(s.sections))
	for section, keys := range s.sections {
		all[section] = maps.Clone(keys)
	}
	return all
}
