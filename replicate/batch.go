package replicate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// flushBytes is the size of documents at which a batch is written.
const flushBytes = 4 << 20

// batch is what is fetched and not yet written of a group of documents. It belongs to one goroutine.
type batch struct {
	*run
	wanted   []wanted
	docs     []document
	bytes    int
	attached []document // without their JSON: those with attachments, which are copied one by one
	living   map[string]int
	refusals []Refusal // counted once the group is done: one that is tried again meets them again
}

// document is a revision as the source shows it.
type document struct {
	id, rev  string
	json     jsontext.Value
	deleted  bool
	attached bool
}

// parseDocument reads what is needed of a document and keeps the rest as it is.
func parseDocument(value jsontext.Value) (document, error) {
	var meta struct {
		ID          string         `json:"_id"`
		Rev         string         `json:"_rev"`
		Deleted     bool           `json:"_deleted"`
		Attachments jsontext.Value `json:"_attachments"`
	}
	if err := json.Unmarshal(value, &meta, lenient); err != nil {
		return document{}, err
	}
	if meta.ID == "" || meta.Rev == "" {
		return document{}, errors.New("a document has no _id or no _rev")
	}
	attached := meta.Attachments.Kind() == '{' && string(meta.Attachments) != "{}"
	return document{meta.ID, meta.Rev, value, meta.Deleted, attached}, nil
}

// fetch reads the wanted revisions, and writes on the way what does not fit into memory.
func (b *batch) fetch(ctx context.Context) error {
	if !b.noBulkGet.Load() {
		err := b.bulkGet(ctx)
		if !isStatus(err, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType, http.StatusNotImplemented) {
			return err
		}
		b.noBulkGet.Store(true)
	}
	for _, w := range b.wanted {
		if err := b.openRevs(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) bulkGet(ctx context.Context) error {
	type asked struct {
		ID  string `json:"id"`
		Rev string `json:"rev"`
	}
	var docs []asked
	for _, w := range b.wanted {
		for _, id := range w.missing {
			docs = append(docs, asked{w.id, id})
		}
	}
	body, err := json.Marshal(map[string][]asked{"docs": docs})
	if err != nil {
		return err
	}
	res, err := b.source.do(ctx, request{method: http.MethodPost, path: "/_bulk_get", query: url.Values{"revs": {"true"}, "latest": {"true"}}, body: body})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return b.elements(res.Body, "results", func(value jsontext.Value) error {
		var result struct {
			ID   string         `json:"id"`
			Docs []bulkGetEntry `json:"docs"`
		}
		if err := json.Unmarshal(value, &result, lenient); err != nil {
			return b.source.nonsense(err)
		}
		for _, entry := range result.Docs {
			if err := b.entry(ctx, result.ID, entry); err != nil {
				return err
			}
		}
		return nil
	})
}

// bulkGetEntry is a revision, or why there is none.
type bulkGetEntry struct {
	OK      jsontext.Value `json:"ok"`
	Missing string         `json:"missing"` // of open_revs
	Error   *struct {
		Rev    string `json:"rev"`
		Error  string `json:"error"`
		Reason string `json:"reason"`
	} `json:"error"`
}

func (b *batch) entry(ctx context.Context, id string, e bulkGetEntry) error {
	switch {
	case e.OK != nil:
		return b.add(ctx, e.OK)
	case e.Error == nil || e.Error.Error == "not_found":
		return nil // purged since _changes told of it
	case isPassing(e.Error.Error):
		return &AnswerError{Side: b.source.side, Status: http.StatusServiceUnavailable, Kind: e.Error.Error, Reason: e.Error.Reason}
	}
	b.refusals = append(b.refusals, Refusal{id, e.Error.Rev, e.Error.Error, e.Error.Reason})
	return nil
}

// openRevs is bulkGet of one document, for servers without _bulk_get.
func (b *batch) openRevs(ctx context.Context, w wanted) error {
	revs, err := json.Marshal(w.missing)
	if err != nil {
		return err
	}
	q := request{method: http.MethodGet, path: documentPath(w.id), query: url.Values{"open_revs": {string(revs)}, "revs": {"true"}, "latest": {"true"}}}
	res, err := b.source.do(ctx, q)
	if isStatus(err, http.StatusNotFound) {
		return nil // purged since
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return b.elements(res.Body, "", func(value jsontext.Value) error {
		var entry bulkGetEntry
		if err := json.Unmarshal(value, &entry, lenient); err != nil {
			return b.source.nonsense(err)
		}
		return b.entry(ctx, w.id, entry)
	})
}

// elements calls do with each element of an array: of the whole body, or of that member of it. One is in memory at a time.
func (r *run) elements(body io.Reader, member string, do func(jsontext.Value) error) error {
	dec := jsontext.NewDecoder(body, lenient)
	if err := enter(dec, member); err != nil {
		return r.source.nonsense(err)
	}
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return r.source.nonsense(err)
		}
		if err := do(value.Clone()); err != nil {
			return err
		}
	}
	// An answer that was cut here has lost nothing, but its connection cannot be used again.
	_, err := io.Copy(io.Discard, body)
	return err
}

// enter reads up to the first element.
func enter(dec *jsontext.Decoder, member string) error {
	if member != "" {
		if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
			return cmp.Or(err, errNoArray)
		}
		for {
			name, err := dec.ReadToken()
			if err != nil || name.Kind() != '"' {
				return cmp.Or(err, errNoArray)
			}
			if name.String() == member {
				break
			}
			if err := dec.SkipValue(); err != nil {
				return err
			}
		}
	}
	t, err := dec.ReadToken()
	if err != nil || t.Kind() != '[' {
		return cmp.Or(err, errNoArray)
	}
	return nil
}

var errNoArray = errors.New("there is no array of documents in it")

// add takes a revision into the batch, and writes the batch when it is large.
func (b *batch) add(ctx context.Context, value jsontext.Value) error {
	d, err := parseDocument(value)
	if err != nil {
		return b.source.nonsense(err)
	}
	if d.attached {
		d.json = nil
		b.attached = append(b.attached, d)
		return nil
	}
	b.docs = append(b.docs, d)
	if b.bytes += len(d.json); b.bytes < flushBytes {
		return nil
	}
	return b.flush(ctx)
}

// flush writes what is in the batch.
func (b *batch) flush(ctx context.Context) error {
	docs := b.docs
	b.docs, b.bytes = nil, 0
	return b.write(ctx, docs)
}

// write stores revisions as they are. Where the server refuses the request as a whole for what is in it, halves are tried, down to the one
// document that it does not take.
func (b *batch) write(ctx context.Context, docs []document) error {
	if len(docs) == 0 {
		return nil
	}
	body := []byte(`{"new_edits":false,"docs":[`)
	for i, d := range docs {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, d.json...)
	}
	body = append(body, "]}"...)
	var rows []writeRow
	err := b.target.json(ctx, request{method: http.MethodPost, path: "/_bulk_docs", body: body}, &rows)
	if isStatus(err, http.StatusBadRequest, http.StatusRequestEntityTooLarge) {
		if len(docs) == 1 {
			b.refused(docs[0], err)
			return nil
		}
		return errors.Join(b.write(ctx, docs[:len(docs)/2]), b.write(ctx, docs[len(docs)/2:]))
	}
	if err != nil {
		return err
	}
	return b.judge(docs, rows)
}

// writeRow is an entry of _bulk_docs' answer. With new_edits=false those that were stored have none, or one without an error.
type writeRow struct {
	ID     string `json:"id"`
	Rev    string `json:"rev"`
	Error  string `json:"error"`
	Reason string `json:"reason"`
}

// judge counts what was stored and what was refused.
func (b *batch) judge(docs []document, rows []writeRow) error {
	for _, row := range rows {
		if row.Error == "" {
			continue
		}
		if isPassing(row.Error) {
			return &AnswerError{Side: b.target.side, Status: http.StatusServiceUnavailable, Kind: row.Error, Reason: row.Reason}
		}
		// CouchDB 1 tells no revision: then it is all of the document's.
		bad := func(d document) bool { return d.id == row.ID && (row.Rev == "" || d.rev == row.Rev) }
		if !slices.ContainsFunc(docs, bad) {
			return b.target.nonsense(fmt.Errorf("it refuses a document that was not sent: %s", row.Error))
		}
		docs = slices.DeleteFunc(slices.Clone(docs), bad)
		b.refusals = append(b.refusals, Refusal{row.ID, row.Rev, row.Error, row.Reason})
	}
	b.stored(docs...)
	return nil
}

// isPassing reports whether an error of one document among others may be gone when it is tried again.
func isPassing(kind string) bool {
	switch kind {
	case "internal_server_error", "unknown_error", "service_unavailable", "too_many_requests", "timeout", "busy", "error":
		return true
	}
	return false
}

// stored counts revisions that were written.
func (b *batch) stored(docs ...document) {
	if b.living == nil {
		b.living = map[string]int{}
	}
	deleted := 0
	for _, d := range docs {
		if d.deleted {
			deleted++
		} else {
			b.living[d.id]++
		}
	}
	b.count(func(p *Progress) {
		p.Written += int64(len(docs))
		p.Deletions += int64(deleted)
	})
}

func (b *batch) countConflicts() {
	n := 0
	for _, revs := range b.living {
		if revs > 1 {
			n++
		}
	}
	b.count(func(p *Progress) { p.Conflicts += int64(n) })
}

// refused notes a document whose request was answered with an error.
func (b *batch) refused(d document, err error) {
	var answer *AnswerError
	errors.As(err, &answer)
	b.refusals = append(b.refusals, Refusal{d.id, d.rev, answer.Kind, answer.Reason})
}
