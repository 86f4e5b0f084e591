package server

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/mango"
	"github.com/parlordb/parlor/store"
)

// The warnings of _find, in CouchDB's words.
const (
	noIndexWarning   = "No matching index found, create an index to optimize query time."
	ratioWarning     = "The number of documents examined is high in proportion to the number of results returned. Consider adding a more specific index to improve this."
	maxExaminedRatio = 10
)

// find answers POST /{db}/_find by reading every document in the order of ids: there are no indexes.
func (s *Server) find(r *request) error {
	body, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	q, err := mango.ParseQuery(body)
	if err != nil {
		return err
	}
	f := &finder{s: s, r: r, st: newStream(r), q: q, skip: q.Skip, started: s.now()}
	if f.rng, err = findRange(q); err != nil {
		return err
	}
	f.st.buf = append(f.st.buf, `{"docs":[`...)
	if selectsNothing(q.Source) {
		// CouchDB sees that without looking, and says nothing more.
		f.st.buf = append(f.st.buf, "\r\n]}\n"...)
		return stopped(f.st.write())
	}
	if err := f.scan(); err != nil {
		return stopped(err)
	}
	f.tail()
	return stopped(f.st.write())
}

// findRange is the range of ids that a query reads: what follows its bookmark, in the order of its sort.
func findRange(q *mango.Query) (rng store.Range, err error) {
	for _, field := range q.Sort.Fields {
		if field != "_id" {
			return rng, &Error{Status: http.StatusBadRequest, Kind: "no_usable_index", Reason: "No index exists for this sort, try indexing by the sort fields."}
		}
	}
	if !q.AllowFallback {
		return rng, &Error{Status: http.StatusBadRequest, Kind: "invalid_index", Reason: "You must specify an index with the `use_index` parameter."}
	}
	rng.Descending = q.Sort.Descending
	if q.Bookmark == "" || q.Bookmark == emptyBookmark {
		return rng, nil
	}
	id, ok := parseBookmark(q.Bookmark)
	if !ok {
		return rng, &Error{Status: http.StatusBadRequest, Kind: "invalid_bookmark", Reason: "Invalid bookmark value: " + string(appendString(nil, q.Bookmark))}
	}
	return after(rng, id), nil
}

// emptyBookmark is the bookmark of an answer without documents that had none itself, as in CouchDB.
const emptyBookmark = "nil"

// bookmarkMark begins every bookmark, before the id of the last document.
const bookmarkMark = "id:"

func bookmark(id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(bookmarkMark + id))
}

func parseBookmark(mark string) (id string, ok bool) {
	plain, err := base64.RawURLEncoding.DecodeString(mark)
	if err != nil {
		return "", false
	}
	id, ok = strings.CutPrefix(string(plain), bookmarkMark)
	// One id has one bookmark, though base64 has several texts for some bytes.
	return id, ok && bookmark(id) == mark
}

// selectsNothing reports whether a selector is one of $and, $or and $nor of nothing.
func selectsNothing(selector jsontext.Value) bool {
	n, empty := 0, false
	err := members(selector, func(name string, value jsontext.Value) error {
		n++
		empty = (name == "$and" || name == "$or" || name == "$nor") && value[0] == '[' && strings.TrimSpace(string(value[1:len(value)-1])) == ""
		return nil
	})
	return err == nil && n == 1 && empty
}

// finder reads documents and writes those that a query selects.
type finder struct {
	s        *Server
	r        *request
	st       *stream
	q        *mango.Query
	rng      store.Range
	skip     int
	found    int
	examined int
	last     string // the id of the last document written
	started  time.Time
}

// scan writes the selected documents, at most as many as the query says.
func (f *finder) scan() error {
	var rows []store.Row
	for more := true; more && f.found < f.q.Limit; {
		rows = rows[:0]
		n, last := 0, ""
		err := f.r.db.Docs(f.rng, func(row *store.Row) bool {
			n++
			if !strings.HasPrefix(row.ID, designPrefix) {
				rows = append(rows, store.Row{ID: strings.Clone(row.ID), Seq: row.Seq, Leaf: row.Leaf})
			}
			more = n < scanRows && len(rows) < docRows
			if !more {
				last = strings.Clone(row.ID)
			}
			return more
		})
		if err != nil {
			return err
		}
		more = last != ""
		f.rng = after(f.rng, last)
		for i := range rows {
			if f.found == f.q.Limit {
				return nil
			}
			if err := f.examine(&rows[i]); err != nil {
				return err
			}
		}
		if err := f.st.spill(); err != nil {
			return err
		}
		if err := f.r.Context().Err(); err != nil {
			return err
		}
	}
	return nil
}

// examine writes a document if it is selected. What the caller may not see cannot be selected by either.
func (f *finder) examine(row *store.Row) error {
	f.examined++
	doc, err := documentOf(f.r.db, row)
	if err != nil || doc == nil {
		return err
	}
	if doc, err = f.s.visible(f.r, doc); err != nil {
		return nil
	}
	text, err := f.s.appendShown(nil, f.r.db, doc, shown{conflicts: f.q.Conflicts})
	if err != nil || !f.q.Selector.Match(text) {
		return err
	}
	if f.skip > 0 {
		f.skip--
		return nil
	}
	if f.found > 0 {
		f.st.buf = append(f.st.buf, ',')
	}
	f.found++
	f.last = row.ID
	f.st.buf = append(f.st.buf, "\r\n"...)
	f.st.buf = append(f.st.buf, f.q.Projection.Apply(text)...)
	return f.st.spill()
}

// tail appends what follows the documents.
func (f *finder) tail() {
	mark := f.q.Bookmark
	switch {
	case f.found > 0:
		mark = bookmark(f.last)
	case mark == "":
		mark = emptyBookmark
	}
	dst := append(f.st.buf, "\r\n],\r\n\"bookmark\": "...)
	dst = appendString(dst, mark)
	if f.q.ExecutionStats {
		dst = append(dst, ",\r\n\"execution_stats\": {\"total_keys_examined\":0,\"total_docs_examined\":"...)
		dst = strconv.AppendInt(dst, int64(f.examined), 10)
		dst = append(dst, `,"total_quorum_docs_examined":0,"results_returned":`...)
		dst = strconv.AppendInt(dst, int64(f.found), 10)
		dst = append(dst, `,"execution_time_ms":`...)
		dst = strconv.AppendFloat(dst, float64(f.s.now().Sub(f.started).Microseconds())/1000, 'f', -1, 64)
		dst = append(dst, '}')
	}
	warning := noIndexWarning
	if len(f.q.UseIndex) > 0 {
		warning = "_design/" + strings.Join(f.q.UseIndex, ", ") + " was not used because it does not contain a valid index for this query.\n" + warning
	}
	if f.examined > maxExaminedRatio*max(f.found, 1) {
		warning += "\n" + ratioWarning
	}
	dst = append(dst, ",\r\n\"warning\": "...)
	dst = appendString(dst, warning)
	f.st.buf = append(dst, "}\n"...)
}
