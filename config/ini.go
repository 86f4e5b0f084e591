package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CouchDB's texts for names and values that no ini file can hold.
const (
	invalidSection = "Invalid configuration section"
	invalidKey     = "Invalid configuration key"
	invalidValue   = "Invalid configuration value"
)

// document is the text of an ini file, line by line. Its methods return new documents and leave the old as they are.
type document struct {
	lines []line
}

// line is one line as written, and what it means.
type line struct {
	text    string // without its end
	end     string // "\n", "\r\n", "\r", "\x1a"; "" for a last line that has none
	section string // the section in force, after this line if it is a header
	header  bool
	key     string // "" unless the line is an entry
	value   string // "" for an entry without effect
}

// parse reads any text. The lines put together again are that text.
func parse(text string) document {
	var d document
	section := ""
	for first := true; text != ""; first = false {
		var l line
		l.text, l.end, text = cutLine(text)
		meaning := l.text
		if first {
			meaning = strings.TrimPrefix(meaning, "\ufeff")
		}
		l.read(meaning, section)
		section = l.section
		d.lines = append(d.lines, l)
	}
	return d
}

// cutLine splits text behind its first line end.
func cutLine(text string) (line, end, rest string) {
	i := strings.IndexAny(text, "\n\r\x1a")
	if i < 0 {
		return text, "", ""
	}
	n := 1
	if strings.HasPrefix(text[i:], "\r\n") {
		n = 2
	}
	return text[:i], text[i : i+n], text[i+n:]
}

// read finds out what a line means that stands in section.
func (l *line) read(text, section string) {
	l.section = section
	text, _ = cutComment(text)
	text = strings.TrimSpace(text)
	if name, ok := strings.CutPrefix(text, "["); ok {
		name, rest, closed := strings.Cut(name, "]")
		if closed && rest == "" && name != "" {
			l.section, l.header = name, true
		}
		return
	}
	if section == "" {
		return
	}
	key, value, ok := strings.Cut(text, " = ")
	if !ok {
		key, value, ok = strings.Cut(text, "=")
	}
	if key = strings.TrimSpace(key); ok && key != "" {
		l.key, l.value = key, strings.TrimSpace(value)
	}
}

// cutComment splits a line before its comment; the blank before an inline comment's ";" belongs to the comment.
func cutComment(text string) (rest, comment string) {
	trimmed := strings.TrimLeftFunc(text, unicode.IsSpace)
	if strings.HasPrefix(trimmed, ";") {
		return "", text
	}
	indent := len(text) - len(trimmed)
	for i := indent + 1; i < len(text); i++ {
		if text[i] == ';' && (text[i-1] == ' ' || text[i-1] == '\t') {
			return text[:i-1], text[i-1:]
		}
	}
	return text, ""
}

func (d document) String() string {
	var b strings.Builder
	for _, l := range d.lines {
		b.WriteString(l.text)
		b.WriteString(l.end)
	}
	return b.String()
}

// lay puts the document's entries over those in v.
func (d document) lay(v values) {
	for _, l := range d.lines {
		if l.key != "" && l.value != "" {
			v.put(l.section, l.key, l.value)
		}
	}
}

// set gives key a value: in the line that counts now, or in a new line behind the section's last entry, or in a new section at
// the end. The names and the value must have passed checkNames and checkValue.
func (d document) set(section, key, value string) document {
	last, room := -1, -1 // the line that counts, and the one behind which a new one belongs
	for i, l := range d.lines {
		if l.section != section {
			continue
		}
		if l.key == key {
			last = i
		}
		if l.key != "" || l.header {
			room = i
		}
	}
	switch {
	case last >= 0:
		lines := slices.Clone(d.lines)
		lines[last] = lines[last].with(value)
		return document{lines}
	case room >= 0:
		return d.insert(room+1, entry(section, key, value))
	}
	lines := []line{{text: "[" + section + "]", section: section, header: true}, entry(section, key, value)}
	if n := len(d.lines); n > 0 && strings.TrimSpace(d.lines[n-1].text) != "" {
		lines = slices.Insert(lines, 0, line{section: d.lines[n-1].section})
	}
	return d.insert(len(d.lines), lines...)
}

// remove drops every line that names key, or the value of an earlier one would come into force.
func (d document) remove(section, key string) document {
	return document{slices.DeleteFunc(slices.Clone(d.lines), func(l line) bool {
		return l.section == section && l.key == key
	})}
}

// rewrite offers every entry that counts for something, shadowed ones too, to fn, and takes what it returns.
func (d document) rewrite(fn func(section, key, value string) (string, error)) (document, bool, error) {
	lines, changed := d.lines, false
	for i, l := range d.lines {
		if l.key == "" || l.value == "" {
			continue
		}
		value, err := fn(l.section, l.key, l.value)
		if err != nil {
			return d, false, fmt.Errorf("line %d, [%s] %s: %w", i+1, l.section, l.key, err)
		}
		if value == l.value {
			continue
		}
		if !changed {
			lines, changed = slices.Clone(lines), true
		}
		lines[i] = l.with(value)
	}
	return document{lines}, changed, nil
}

// insert puts lines before index i, with the line ends that the document uses.
func (d document) insert(i int, add ...line) document {
	end := "\n"
	if len(d.lines) > 0 && d.lines[0].end != "" && d.lines[0].end != "\x1a" {
		end = d.lines[0].end
	}
	for j := range add {
		add[j].end = end
	}
	lines := slices.Clone(d.lines)
	if i > 0 && lines[i-1].end == "" {
		lines[i-1].end = end
	}
	return document{slices.Insert(lines, i, add...)}
}

// with returns the line with another value, its indent and comment kept. The separator becomes " = ", because behind a plain "=" a value
// that holds " = " would be split there.
func (l line) with(value string) line {
	_, comment := cutComment(l.text)
	indent := l.text[:len(l.text)-len(strings.TrimLeftFunc(l.text, unicode.IsSpace))]
	l.text = strings.TrimRight(indent+l.key+" = "+value, " ") + comment
	l.value = value
	return l
}

func entry(section, key, value string) line {
	return line{section: section, key: key}.with(value)
}

// checkNames refuses a section or key that no ini file can hold.
func checkNames(section, key string) error {
	if !graphic(section) || strings.ContainsAny(section, "[]") {
		return &ValueError{invalidSection}
	}
	var l line
	if l.read("["+section+"]", ""); l.section != section || section == "" {
		return &ValueError{invalidSection}
	}
	if !graphic(key) || strings.ContainsAny(key, "[]") {
		return &ValueError{invalidKey}
	}
	if l.read(key+" = x", section); l.key != key || l.value != "x" {
		return &ValueError{invalidKey}
	}
	return nil
}

// checkValue refuses a value that CouchDB refuses and, if it is to be written, one that would be read back as another.
func checkValue(section, key, value string, persist bool) error {
	if !graphic(value) {
		return &ValueError{invalidValue}
	}
	if !persist {
		return nil
	}
	var l line
	if l.read(entry(section, key, value).text, section); l.key != key || l.value != value {
		return &ValueError{invalidValue + `: a ";" that follows a blank begins a comment in the settings file`}
	}
	return nil
}

// graphic reports whether text is UTF-8 of visible characters, spaces and tabs.
func graphic(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '\t' && !unicode.IsGraphic(r)
	})
}
