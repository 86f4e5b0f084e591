package server

import (
	"strconv"
	"strings"

	"github.com/parlordb/parlor/store"
)

func (s *Server) localDocs(r *request) error        { return s.list(r, localIDs) }
func (s *Server) localDocsQueries(r *request) error { return s.listQueries(r, localIDs) }

// writeLocals writes the _local documents between the bounds.
func (out *rowWriter) writeLocals() error {
	rng, ok := out.l.span()
	if ok {
		rng, ok = within(rng, localPrefix)
	}
	if !ok {
		return nil
	}
	rng.From = strings.TrimPrefix(rng.From, localPrefix)
	if id, in := strings.CutPrefix(rng.To, localPrefix); in {
		rng.To = id
	} else {
		rng.To, rng.HasTo, rng.ExclusiveTo = "", false, false
	}
	var last string
	for full := true; full && out.left != 0; {
		full = false
		n := 0
		err := out.r.db.Locals(rng, func(doc *store.Local) bool {
			last = strings.Clone(doc.ID)
			n++
			if out.skip > 0 {
				out.skip--
			} else {
				out.left = max(out.left-1, -1)
				out.local(doc)
			}
			full = n == scanRows || len(out.st.buf) >= pageBytes
			return !full && out.left != 0
		})
		if err != nil {
			return err
		}
		if err := out.st.spill(); err != nil {
			return err
		}
		if err := out.r.Context().Err(); err != nil {
			return err
		}
		rng = after(rng, last)
	}
	return nil
}

func (out *rowWriter) localKey(id string) error {
	doc, err := out.r.db.Local(id)
	if err != nil {
		return err
	}
	out.local(doc)
	return nil
}

// local appends the row of a _local document.
func (out *rowWriter) local(doc *store.Local) {
	out.separate()
	dst := append(out.st.buf, `{"id":`...)
	dst = appendString(dst, localPrefix+doc.ID)
	dst = append(dst, `,"key":`...)
	dst = appendString(dst, localPrefix+doc.ID)
	dst = append(dst, `,"value":{"rev":"0-`...)
	dst = strconv.AppendUint(dst, doc.N, 10)
	dst = append(dst, `"}`...)
	if out.l.docs {
		dst = append(dst, `,"doc":{"_id":`...)
		dst = appendString(dst, localPrefix+doc.ID)
		dst = append(dst, `,"_rev":"0-`...)
		dst = strconv.AppendUint(dst, doc.N, 10)
		dst = append(dst, '"')
		if len(doc.Body) > len(`{}`) {
			dst = append(append(dst, ','), doc.Body[1:]...)
		} else {
			dst = append(dst, '}')
		}
	}
	out.st.buf = append(dst, '}')
}
