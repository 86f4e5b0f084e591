package mango

import (
	"github.com/go-json-experiment/json/jsontext"
)

// Projection is a compiled "fields" member. The zero value keeps documents whole. It is immutable and safe for concurrent use.
type Projection struct{ paths []path }

// ParseFields compiles field names, which may have dots and backslashes as in selectors. It fails with *SelectorError.
func ParseFields(fields []string) (Projection, error) {
	var p Projection
	for _, field := range fields {
		at, err := parsePath(field)
		if err != nil {
			return Projection{}, err
		}
		p.paths = append(p.paths, at)
	}
	return p, nil
}

// Apply returns the document reduced to the fields, member order as asked; nested fields keep their parents: "o.in" gives
// {"o":{"in":…}}, and a step into an array becomes a member, "tags.0" gives {"tags":{"0":…}}, as in CouchDB. Fields that the document
// lacks are left out. Without fields it returns doc itself.
func (p Projection) Apply(doc []byte) []byte {
	if len(p.paths) == 0 {
		return doc
	}
	doc = trim(doc)
	var root branch
	for _, at := range p.paths {
		if value, where := follow(doc, at.steps); where == present {
			root.put(at.steps, value)
		}
	}
	return root.append(make([]byte, 0, min(len(doc), 512)))
}

// branch is an object that is being put together.
type branch struct{ members []branchMember }

type branchMember struct {
	name  string
	value []byte  // the whole value, or nil
	parts *branch // what has been asked of it so far
}

func (b *branch) put(steps []string, value []byte) {
	m := b.at(steps[0])
	switch {
	case m.value != nil:
		// The whole value is there already, and this is a part of it.
	case len(steps) == 1:
		m.value, m.parts = value, nil
	default:
		if m.parts == nil {
			m.parts = new(branch)
		}
		m.parts.put(steps[1:], value)
	}
}

func (b *branch) at(name string) *branchMember {
	for i := range b.members {
		if b.members[i].name == name {
			return &b.members[i]
		}
	}
	b.members = append(b.members, branchMember{name: name})
	return &b.members[len(b.members)-1]
}

func (b *branch) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range b.members {
		if i > 0 {
			dst = append(dst, ',')
		}
		// Names come from a query that was checked to be UTF-8; of any other the bad bytes are replaced.
		dst, _ = jsontext.AppendQuote(dst, m.name)
		dst = append(dst, ':')
		if m.value != nil {
			dst = append(dst, m.value...)
			continue
		}
		dst = m.parts.append(dst)
	}
	return append(dst, '}')
}
