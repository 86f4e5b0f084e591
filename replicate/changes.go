package replicate

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"
)

// heartbeat, in milliseconds, keeps a connection from being taken for dead while the source has nothing to say.
const heartbeat = "30000"

// changesPage is an answer of _changes.
type changesPage struct {
	Results []change       `json:"results"`
	LastSeq jsontext.Value `json:"last_seq"`
	Pending *int64         `json:"pending"` // CouchDB 1 and PouchDB Server tell none
}

type change struct {
	ID      string         `json:"id"`
	Seq     jsontext.Value `json:"seq"`
	Changes []struct {
		Rev string `json:"rev"`
	} `json:"changes"`
}

// copyChanges copies page after page, to the end or, when it is continuous, without end.
func (r *run) copyChanges(ctx context.Context) error {
	waiting := false
	for {
		page, err := r.changes(ctx, waiting)
		if err != nil {
			return err
		}
		r.count(func(p *Progress) {
			if page.Pending != nil {
				p.Total = p.Checked + int64(len(page.Results)) + *page.Pending
			}
		})
		if err := r.copyPage(ctx, page); err != nil {
			return err
		}
		next := page.LastSeq
		if !known(next) && len(page.Results) > 0 {
			next = page.Results[len(page.Results)-1].Seq
		}
		if known(next) {
			if err := r.advance(ctx, next); err != nil {
				return err
			}
		}
		if done := len(page.Results) == 0 || page.Pending != nil && *page.Pending == 0; done && !r.o.Continuous {
			return nil
		} else if done && r.unrecorded {
			// A feed may be silent for days.
			if err := r.writeCheckpoints(ctx); err != nil {
				return err
			}
		}
		waiting = len(page.Results) == 0
	}
}

// changes reads the page after since. With wait it comes when there is something in it.
func (r *run) changes(ctx context.Context, wait bool) (page changesPage, err error) {
	q := request{method: http.MethodGet, path: "/_changes", query: url.Values{
		"style":     {"all_docs"},
		"since":     {sequenceText(r.since)},
		"limit":     {strconv.Itoa(r.o.BatchSize)},
		"heartbeat": {heartbeat},
	}}
	if wait {
		q.query.Set("feed", "longpoll")
	}
	var body any
	switch {
	case r.o.Selector != nil:
		q.query.Set("filter", "_selector")
		body = map[string]jsontext.Value{"selector": r.o.Selector}
	case r.o.DocIDs != nil:
		q.query.Set("filter", "_doc_ids")
		body = map[string][]string{"doc_ids": r.o.DocIDs}
	}
	if body != nil {
		q.method = http.MethodPost
		if q.body, err = json.Marshal(body); err != nil {
			return page, err
		}
	}
	err = r.retry(ctx, func() error {
		page = changesPage{}
		return r.source.json(ctx, q, &page)
	})
	return page, err
}

// wanted are revisions of a document that the target lacks.
type wanted struct {
	id        string
	missing   []string
	ancestors []string // the target has these, and perhaps the attachments with them
}

// groupSize is how many documents are fetched and written together.
const groupSize = 50

// copyPage copies what the target lacks of a page, a group of documents at a time and several at once. A group is tried again as a whole: the target
// is asked anew what it lacks, so that what was stored is not sent twice.
func (r *run) copyPage(ctx context.Context, page changesPage) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.o.Concurrency)
	for from := 0; from < len(page.Results); from += groupSize {
		part := page.Results[from:min(from+groupSize, len(page.Results))]
		group.Go(func() error {
			err := r.retry(ctx, func() error { return r.copyGroup(ctx, part) })
			if err == nil {
				r.count(func(p *Progress) { p.Checked += int64(len(part)) })
			}
			return err
		})
	}
	return group.Wait()
}

func (r *run) copyGroup(ctx context.Context, part []change) error {
	list, err := r.revsDiff(ctx, part)
	if err != nil || len(list) == 0 {
		return err
	}
	b := &batch{run: r, wanted: list}
	if err := b.fetch(ctx); err != nil {
		return err
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	for _, d := range b.attached {
		if err := b.copyAttached(ctx, d); err != nil {
			return err
		}
	}
	b.countConflicts()
	r.refuse(b.refusals)
	return nil
}

// revsDiff asks what the target lacks.
func (r *run) revsDiff(ctx context.Context, part []change) ([]wanted, error) {
	asked := make(map[string][]string, len(part))
	for _, c := range part {
		for _, at := range c.Changes {
			asked[c.ID] = append(asked[c.ID], at.Rev)
		}
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	var answer map[string]struct {
		Missing   []string `json:"missing"`
		Ancestors []string `json:"possible_ancestors"`
	}
	if err := r.target.json(ctx, request{method: http.MethodPost, path: "/_revs_diff", body: body}, &answer); err != nil {
		return nil, err
	}
	var list []wanted
	for _, c := range part {
		if lacks, ok := answer[c.ID]; ok && len(lacks.Missing) > 0 {
			list = append(list, wanted{c.ID, lacks.Missing, lacks.Ancestors})
			delete(answer, c.ID)
		}
	}
	return list, nil
}
