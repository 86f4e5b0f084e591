package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Table says where the program does not answer as CouchDB did: on purpose, or not yet.
type Table struct {
	Differences []Difference `json:"differences"`
	NotYet      []NotYet     `json:"not_yet"`
}

// Difference is one reason for which the program answers otherwise, with all the steps to which it applies.
type Difference struct {
	Why   string      `json:"why"` // one sentence
	Steps []OwnAnswer `json:"steps"`
}

// OwnAnswer is what the program answers to a step instead.
type OwnAnswer struct {
	File    string            `json:"file"`  // such as docs/05-local-and-design
	Title   string            `json:"title"` // of the step
	Nth     int               `json:"nth"`   // of the steps with this title, from 1; 0: all of them
	Status  int               `json:"status"`
	Body    any               `json:"body"`    // the members that count, with placeholders; null: any body
	Headers map[string]string `json:"headers"` // those that count
}

// NotYet is an area that is not built. Its steps are sent, since later ones may need them, and not judged.
type NotYet struct {
	Why   string    `json:"why"`
	Steps []Pattern `json:"steps"`
}

// Pattern names steps of files. An empty expression fits all.
type Pattern struct {
	File  string `json:"file"`  // regular expression
	Title string `json:"title"` // regular expression
	Path  string `json:"path"`  // regular expression, for the path of the request with its templates
}

// LoadTable reads differences.json. A member that it does not know is an error.
func LoadTable(path string) (*Table, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	d.UseNumber()
	t := new(Table)
	if err := d.Decode(t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// difference returns the answer that the program gives to a step on purpose, or nil.
func (t *Table) difference(file string, s *Step) *OwnAnswer {
	for i := range t.Differences {
		for j := range t.Differences[i].Steps {
			o := &t.Differences[i].Steps[j]
			if o.File == file && o.Title == s.Title && (o.Nth == 0 || o.Nth == s.Nth) {
				return o
			}
		}
	}
	return nil
}

// notYet reports whether a step belongs to an area that is not built.
func (t *Table) notYet(file string, s *Step) (bool, error) {
	for _, n := range t.NotYet {
		for _, p := range n.Steps {
			fits, err := p.fits(file, s)
			if fits || err != nil {
				return fits, err
			}
		}
	}
	return false, nil
}

func (p Pattern) fits(file string, s *Step) (bool, error) {
	for _, m := range [...]struct{ re, in string }{{p.File, file}, {p.Title, s.Title}, {p.Path, s.Request.Path}} {
		ok, err := regexp.MatchString(m.re, m.in)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// differences tells in what an answer is not the program's own; nothing when it is.
func (o *OwnAnswer) differences(got Answer, unordered []string) []string {
	var why []string
	if got.Status != o.Status {
		why = append(why, fmt.Sprintf("status %d, want our own %d", got.Status, o.Status))
	}
	if o.Body != nil && !(comparison{unordered: unordered, subset: true}).same(o.Body, got.Body, "") {
		why = append(why, fmt.Sprintf("body %s\n         want our own %s", show(got.Body), show(o.Body)))
	}
	return append(why, headerDifferences(o.Headers, got.Headers)...)
}

// Markdown is the table for docs/differences.md.
func (t *Table) Markdown() string {
	var b strings.Builder
	b.WriteString("| Recorded step | Parlor answers | Why |\n|---|---|---|\n")
	for _, d := range t.Differences {
		for i, s := range d.Steps {
			why := d.Why
			if i > 0 {
				why = "as above"
			}
			fmt.Fprintf(&b, "| %s: %s | %d%s | %s |\n", s.File, cell(s.label()), s.Status, reason(s.Body), cell(why))
		}
	}
	b.WriteString("\nNot built yet, so not compared:\n\n")
	for _, n := range t.NotYet {
		fmt.Fprintf(&b, "- %s\n", n.Why)
	}
	return b.String()
}

func (o *OwnAnswer) label() string {
	if o.Nth > 0 {
		return fmt.Sprintf("%s (no. %d)", o.Title, o.Nth)
	}
	return o.Title
}

// reason is what a person reads first in an error's body.
func reason(body any) string {
	m, _ := body.(map[string]any)
	if s, ok := m["reason"].(string); ok {
		return " " + cell(s)
	}
	return ""
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}
