package server

import (
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// revsDiff tells a replicator which of its revisions are not here, and which leaves here they may be edits of.
func (s *Server) revsDiff(r *request) error {
	return s.compareRevs(r, func(dst []byte, missing, ancestors []rev.ID) []byte {
		dst = appendRevList(append(dst, `{"missing":`...), missing)
		if len(ancestors) > 0 {
			dst = appendRevList(append(dst, `,"possible_ancestors":`...), ancestors)
		}
		return append(dst, '}')
	}, "{", "}")
}

// missingRevs is the older form of revsDiff, without the ancestors.
func (s *Server) missingRevs(r *request) error {
	return s.compareRevs(r, func(dst []byte, missing, _ []rev.ID) []byte {
		return appendRevList(dst, missing)
	}, `{"missing_revs":{`, "}}")
}

// compareRevs reads {id: [rev, …], …} and writes an entry for each document that lacks some.
func (s *Server) compareRevs(r *request, entry func(dst []byte, missing, ancestors []rev.ID) []byte, head, tail string) error {
	object, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	asked, err := revsByID(object, "Invalid revisions, must be a list")
	if err != nil {
		return err
	}
	o := newOutput(r)
	o.text(head)
	first := true
	for _, a := range asked {
		missing, ancestors, err := lacking(r.db, a.id, a.revs)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			continue
		}
		if !first {
			o.text(",")
		}
		first = false
		o.buf = append(appendString(o.buf, a.id), ':')
		o.buf = entry(o.buf, missing, ancestors)
		if err := o.spill(outputChunk); err != nil {
			return err
		}
	}
	return o.finish(r, tail)
}

// idRevs are revisions of a document that a client names.
type idRevs struct {
	id   string
	revs []rev.ID
}

// revsByID reads an object of lists of revisions, in its order; notList is said of a value that is none.
func revsByID(object jsontext.Value, notList string) ([]idRevs, error) {
	list := cutMembers(nil, object)
	markDuplicates(list)
	asked := make([]idRevs, 0, len(list))
	for _, m := range list {
		if m.dropped {
			continue
		}
		if m.value[0] != '[' {
			return nil, badRequest(notList)
		}
		revs, err := revList(m.value)
		if err != nil {
			return nil, err
		}
		asked = append(asked, idRevs{string(m.name), revs})
	}
	return asked, nil
}

// lacking returns those revisions that a document does not know, and the leaves that may be their ancestors.
func lacking(db *store.DB, id string, revs []rev.ID) (missing, ancestors []rev.ID, err error) {
	if len(revs) == 0 {
		return nil, nil, nil
	}
	rec, err := db.Record(id)
	if errors.Is(err, store.ErrNotFound) {
		return revs, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	highest := rev.ID{}
	for _, id := range revs {
		if _, ok := rec.Tree.Find(id); ok {
			continue
		}
		missing = append(missing, id)
		if id.Gen > highest.Gen {
			highest = id
		}
	}
	if len(missing) == 0 {
		return nil, nil, nil
	}
	// Those of the highest generation are possible ancestors of one at least.
	return missing, rec.Tree.PossibleAncestors(highest), nil
}

func appendRevList(dst []byte, ids []rev.ID) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(appendRev(dst, id), '"')
	}
	return append(dst, ']')
}
