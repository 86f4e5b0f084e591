package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/couchjs"
	"github.com/parlordb/parlor/mango"
	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// validator is the validate_doc_update of one design document. One of function, selector and broken is set.
type validator struct {
	id       string // of the design document
	rev      rev.ID
	function string
	modules  []byte           // the design document, for require()
	selector *mango.Validator // of a design document whose language is "query"
	broken   error            // why no write passes
}

// validators are those of one database, in the order of their ids, as of an update sequence.
type validators struct {
	instance string // a database that has the name later has another
	seq      uint64
	purges   uint64 // a purged document leaves no change behind
	list     []validator
	size     int // bytes of their design documents
}

// Bounds of the cache, which is emptied when it exceeds one.
const (
	maxValidatorCache = 10_000
	maxValidatorBytes = 64 << 20
)

// validatorCache keeps the validators of databases. The design documents' revisions are read again whenever a database has changed, and
// those that are new are read anew: a write is judged by every design document that was there when it came.
type validatorCache struct {
	mu   sync.Mutex
	by   map[string]*validators // by database
	size int
}

// of returns the validators of db.
func (c *validatorCache) of(s *Server, db *store.DB) ([]validator, error) {
	instance, seq := db.FormatSeq(0), db.UpdateSeq()
	info, err := db.Info()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	known := c.by[db.Name()]
	c.mu.Unlock()
	if known != nil && known.instance != instance {
		known = nil
	}
	if known != nil && known.seq == seq && known.purges == info.PurgeSeq {
		return known.list, nil
	}
	now, err := s.readValidators(db, known)
	if err != nil {
		return nil, err
	}
	now.instance, now.seq, now.purges = instance, seq, info.PurgeSeq
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.by[db.Name()]; before != nil {
		c.size -= before.size
	}
	c.size += now.size
	if c.by == nil || len(c.by) >= maxValidatorCache || c.size > maxValidatorBytes {
		c.by, c.size = map[string]*validators{}, now.size
	}
	c.by[db.Name()] = now
	return now.list, nil
}

// readValidators reads the validators of db, but for those that are known already.
func (s *Server) readValidators(db *store.DB, known *validators) (*validators, error) {
	byRevision := map[string]*validator{}
	if known != nil {
		for i := range known.list {
			byRevision[known.list[i].id] = &known.list[i]
		}
	}
	now := &validators{}
	rng, _ := within(store.Range{}, designPrefix)
	for more := true; more; {
		var rows []store.Row
		err := db.Docs(rng, func(row *store.Row) bool {
			rows = append(rows, store.Row{ID: strings.Clone(row.ID), Seq: row.Seq, Leaf: row.Leaf})
			return len(rows) < scanRows
		})
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if old := byRevision[rows[i].ID]; old != nil && old.rev == rows[i].Leaf.Rev {
				now.add(*old)
				continue
			}
			if err := s.readValidator(db, &rows[i], now); err != nil {
				return nil, err
			}
		}
		if more = len(rows) == scanRows; more {
			rng = after(rng, rows[len(rows)-1].ID)
		}
	}
	return now, nil
}

func (v *validators) add(one validator) {
	v.list = append(v.list, one)
	v.size += len(one.function) + len(one.modules)
}

// readValidator adds the validator of a design document, if it has one.
func (s *Server) readValidator(db *store.DB, row *store.Row, to *validators) error {
	if db.Name() == usersDatabase && row.ID == "_design/_auth" {
		return nil // userRules stand for it
	}
	doc, err := db.LeafDoc(row.ID, row.Seq, row.Leaf)
	if errors.Is(err, store.ErrMissing) {
		doc, err = db.Doc(row.ID)
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDeleted) {
		return nil
	}
	if err != nil {
		return err
	}
	source := objectMember(doc.Body, "validate_doc_update")
	if source == nil {
		return nil
	}
	one := validator{id: strings.Clone(doc.ID), rev: doc.Rev}
	language, ok := text(objectMember(doc.Body, "language"))
	code, isText := text(source)
	switch {
	case (!ok || language == "javascript") && isText:
		one.function = code
		if one.modules, err = s.appendDoc(nil, db, nil, doc, shown{}); err != nil {
			return err
		}
	case language == "query" && source[0] == '{':
		if one.selector, err = mango.ParseValidator(source); err != nil {
			one.broken = brokenValidator("compilation_error", err.Error(), doc.ID)
		}
	default:
		one.broken = brokenValidator("unknown_query_language", "Only JavaScript functions and Mango selectors are known", doc.ID)
	}
	to.add(one)
	return nil
}

// check returns what judges writes of r: the rules of _users, and the validate_doc_update of every design document. It is nil where there
// is nothing to judge by. Design documents are not judged by validate_doc_update, as in CouchDB.
func (s *Server) check(r *request) (store.Check, error) {
	var rules store.Check
	if r.db.Name() == usersDatabase {
		rules = s.userRules(r)
	}
	list, err := s.validators.of(s, r.db)
	if err != nil || len(list) == 0 {
		return rules, err
	}
	userCtx, secObj, db := appendUserCtx(nil, r), r.sec.raw, r.db
	return func(ctx context.Context, old, doc *store.Doc) error {
		if rules != nil {
			if err := rules(ctx, old, doc); err != nil {
				return err
			}
		}
		if strings.HasPrefix(doc.ID, designPrefix) {
			return nil
		}
		newDoc, oldDoc, err := s.validated(db, old, doc)
		if err != nil {
			return err
		}
		for i := range list {
			if err := s.validate(ctx, db, &list[i], newDoc, oldDoc, userCtx, secObj); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// validated renders the two documents that a validator sees. A new edit has the revision that it replaces as its "_rev"; oldDoc is null where
// nothing is replaced, or a deleted document is made anew.
func (s *Server) validated(db *store.DB, old, doc *store.Doc) (newDoc, oldDoc []byte, err error) {
	if doc.Rev.IsZero() {
		old = nil
	}
	oldDoc = []byte("null")
	view := shown{}
	if old != nil {
		if oldDoc, err = s.appendShown(nil, db, old, shown{revisions: true}); err != nil {
			return nil, nil, err
		}
		// The history of a revision that comes from elsewhere is not in the store yet.
		view.revisions = doc.Rev == old.Rev
	}
	if newDoc, err = s.appendShown(nil, db, doc, view); err != nil {
		return nil, nil, err
	}
	if doc.Rev.IsZero() {
		before, rest, ok := bytes.Cut(newDoc, []byte(`,"_rev":"0-"`))
		if ok {
			newDoc = append(before[:len(before):len(before)], rest...)
		}
	}
	return newDoc, oldDoc, nil
}

// validate asks one validator. A function that fails refuses the document with 403, but does not say "forbidden": replicators pass over what is
// forbidden for good, and here the function is to blame. A child process that fails refuses the write with a 500.
func (s *Server) validate(ctx context.Context, db *store.DB, v *validator, newDoc, oldDoc, userCtx, secObj []byte) error {
	if v.broken != nil {
		return v.broken
	}
	if v.selector != nil {
		if err := v.selector.Validate(newDoc, oldDoc); err != nil {
			return forbidden(err.Error())
		}
		return nil
	}
	err := s.js.In(db.Name()).Validate(ctx, v.function, v.modules, newDoc, oldDoc, userCtx, secObj)
	var failed *couchjs.Error
	switch {
	case !errors.As(err, &failed) || processFailed(failed):
		return err
	case failed.Name == unknownError:
		return &Error{Status: http.StatusForbidden, Kind: unknownError, Reason: oddlyThrown(failed.Reason)}
	}
	return brokenValidator(failed.Name, failed.Reason, v.id)
}

// brokenValidator is the answer for a validator that cannot judge.
func brokenValidator(kind, reason, id string) *Error {
	return &Error{Status: http.StatusForbidden, Kind: kind, Reason: reason + " (validate_doc_update of " + id + ")"}
}

// unknownError is the kind of what a function throws that is neither an error nor a refusal.
const unknownError = "unknown_error"

// oddlyThrown is the reason for such a value: of an object the first member, as in CouchDB.
func oddlyThrown(thrown string) any {
	value, err := checkJSON([]byte(thrown))
	if err != nil {
		return thrown
	}
	first := value
	if value[0] == '{' {
		_ = members(value, func(_ string, v jsontext.Value) error {
			first = v
			return errBadJSON // the first is enough
		})
	}
	return first
}

// processFailed tells a failure of the child process, such as a function that took too long, from what a function threw.
func processFailed(err *couchjs.Error) bool { return err.Name == "os_process_error" }

// thrownError is the answer for what a validation function threw.
func thrownError(t *couchjs.Thrown) *Error {
	e := &Error{Status: http.StatusForbidden, Kind: "forbidden", Reason: jsontext.Value(t.Reason)}
	if t.Kind == "unauthorized" {
		e.Status, e.Kind = http.StatusUnauthorized, "unauthorized"
	}
	return e
}
