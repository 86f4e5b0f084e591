package replicate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// What Self-hosted LiveSync keeps in _local documents: the salt of its vault's key, and which devices may sync.
const (
	liveSyncSalt      = "_local/obsidian_livesync_sync_parameters"
	liveSyncMilestone = "_local/obsydian_livesync_milestone"
)

// ErrSalt is a target that has another LiveSync salt than the source: documents of the one vault cannot be read with the other's key.
var ErrSalt = errors.New("the target has a LiveSync encryption salt of its own: documents of the source would be unreadable there, so nothing was copied; copy into an empty database, or leave _local documents out")

func isSalt(id string) bool { return id == liveSyncSalt }

// localDoc is a _local document without its _id and _rev.
type localDoc struct {
	rev  string
	body jsontext.Value // canonical; nil: there is none
}

func (d localDoc) digest() string {
	sum := sha256.Sum256(d.body)
	return hex.EncodeToString(sum[:])
}

// salt is LiveSync's; "" for none. A device stores the document without one before it stores the salt.
func (d localDoc) salt() string {
	var doc struct {
		Salt string `json:"pbkdf2salt"`
	}
	if d.body == nil || json.Unmarshal(d.body, &doc, lenient) != nil {
		return ""
	}
	return doc.Salt
}

// local reads a _local document.
func (r *run) local(ctx context.Context, p *peer, id string) (doc localDoc, err error) {
	var value jsontext.Value
	err = r.retry(ctx, func() error {
		value = nil
		return p.json(ctx, request{method: http.MethodGet, path: id}.local(), &value)
	})
	if isStatus(err, http.StatusNotFound) {
		return localDoc{}, nil
	}
	if err != nil {
		return localDoc{}, err
	}
	if doc, err = parseLocal(value); err != nil {
		err = p.nonsense(err)
	}
	return doc, err
}

func parseLocal(value jsontext.Value) (doc localDoc, err error) {
	members := map[string]jsontext.Value{}
	if err := json.Unmarshal(value, &members, lenient); err != nil {
		return doc, err
	}
	if err := json.Unmarshal(members["_rev"], &doc.rev); err != nil {
		return doc, err
	}
	delete(members, "_id")
	delete(members, "_rev")
	doc.body, err = json.Marshal(members, lenient, json.Deterministic(true))
	return doc, err
}

// wantsLocal reports whether a _local document is to be copied.
func (r *run) wantsLocal(id string) bool { return r.o.LocalAll || slices.Contains(r.o.LocalIDs, id) }

// checkSalt compares the salts before anything is written. Documents that were encrypted with one cannot be read with another.
func (r *run) checkSalt(ctx context.Context) error {
	if !r.wantsLocal(liveSyncSalt) || r.missing {
		return nil
	}
	from, err := r.local(ctx, r.source, liveSyncSalt)
	if err != nil || from.salt() == "" {
		return err
	}
	to, err := r.local(ctx, r.target, liveSyncSalt)
	if err == nil && to.salt() != "" && !sameSalt(to.salt(), from.salt()) {
		err = ErrSalt
	}
	return err
}

// sameSalt compares salts as the bytes that they are.
func sameSalt(a, b string) bool {
	x, errA := base64.StdEncoding.DecodeString(a)
	y, errB := base64.StdEncoding.DecodeString(b)
	return a == b || errA == nil && errB == nil && string(x) == string(y)
}

// copyLocals copies those _local documents that want is true of.
func (r *run) copyLocals(ctx context.Context, want func(id string) bool) error {
	ids := r.o.LocalIDs
	if r.o.LocalAll {
		ids = []string{liveSyncSalt, liveSyncMilestone}
		listed, err := r.listLocals(ctx)
		if err != nil {
			return err
		}
		if listed != nil {
			ids = listed
		}
	}
	for _, id := range ids {
		if !want(id) {
			continue
		}
		if err := r.copyLocal(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// localsPage is how many _local documents are listed at a time, without their bodies.
const localsPage = 500

// listLocals returns the ids of the source's _local documents; nil when it does not tell.
func (r *run) listLocals(ctx context.Context) ([]string, error) {
	ids := []string{}
	for {
		query := url.Values{"limit": {"500"}}
		if len(ids) > 0 {
			last, err := json.Marshal(ids[len(ids)-1], lenient)
			if err != nil {
				return nil, err
			}
			query.Set("startkey", string(last))
			query.Set("skip", "1")
		}
		var page struct {
			Rows []struct {
				ID string `json:"id"`
			} `json:"rows"`
		}
		err := r.retry(ctx, func() error {
			return r.source.json(ctx, request{method: http.MethodGet, path: "/_local_docs", query: query}, &page)
		})
		if answer := (*AnswerError)(nil); errors.As(err, &answer) && !passing(err) && answer.Status != http.StatusUnauthorized {
			return nil, nil // CouchDB 1 and PouchDB Server know no such list
		}
		if err != nil {
			return nil, err
		}
		for _, row := range page.Rows {
			ids = append(ids, row.ID)
		}
		if len(page.Rows) < localsPage {
			return ids, nil
		}
	}
}

// copyLocal copies one. What the target has of its own is not overwritten: only what an earlier run has put there, and an empty salt.
func (r *run) copyLocal(ctx context.Context, id string) error {
	from, err := r.local(ctx, r.source, id)
	if err != nil || from.body == nil || !slices.Contains(r.o.LocalIDs, id) && isCheckpoint(id, from.body) {
		return err
	}
	to, err := r.local(ctx, r.target, id)
	if err != nil || string(to.body) == string(from.body) {
		return err
	}
	switch {
	case to.body == nil:
	case isSalt(id) && to.salt() != "":
		if from.salt() != "" && !sameSalt(from.salt(), to.salt()) {
			return ErrSalt // a device was faster than this run
		}
		return nil
	case isSalt(id), r.targetLog.Locals[id] == to.digest():
	default:
		r.keep(id)
		return nil
	}
	body := from.body
	if to.rev != "" {
		if body, err = withRev(body, to.rev); err != nil {
			return err
		}
	}
	err = r.retry(ctx, func() error {
		return r.target.json(ctx, request{method: http.MethodPut, path: id, body: body}.local(), nil)
	})
	if isStatus(err, http.StatusConflict) {
		return r.lostLocal(ctx, id, from)
	}
	if err != nil {
		return err
	}
	r.wroteLocal(id, from)
	return nil
}

// lostLocal says what a conflict means: an attempt of this run whose answer was lost, or a device that was faster.
func (r *run) lostLocal(ctx context.Context, id string, from localDoc) error {
	to, err := r.local(ctx, r.target, id)
	switch {
	case err != nil:
		return err
	case string(to.body) == string(from.body):
		r.wroteLocal(id, from)
	case isSalt(id):
		return ErrSalt
	default:
		r.keep(id)
	}
	return nil
}

func (r *run) wroteLocal(id string, doc localDoc) {
	if r.targetLog.Locals == nil {
		r.targetLog.Locals = map[string]string{}
	}
	if len(r.targetLog.Locals) < maxLocals {
		r.targetLog.Locals[id] = doc.digest()
	}
	r.unrecorded = true
	r.count(func(p *Progress) { p.Local++ })
}

// keep notes a _local document that the target has otherwise.
func (r *run) keep(id string) {
	if len(r.result.LocalKept) < maxLocals {
		r.result.LocalKept = append(r.result.LocalKept, id)
	}
}

// withRev puts the revision that is replaced into a document.
func withRev(body jsontext.Value, id string) (jsontext.Value, error) {
	members := map[string]jsontext.Value{}
	if err := json.Unmarshal(body, &members, lenient); err != nil {
		return nil, err
	}
	quoted, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	members["_rev"] = quoted
	return json.Marshal(members, lenient)
}

// isCheckpoint reports whether a _local document is a replicator's or the server's own: CouchDB's and PouchDB's checkpoints name a session,
// Couchbase Lite's a lastSequence, and CouchDB notes there how far purges and shards' copies have come.
func isCheckpoint(id string, body jsontext.Value) bool {
	if strings.HasPrefix(id, "_local/purge-") || strings.HasPrefix(id, "_local/shard-sync-") {
		return true
	}
	var doc struct {
		Session  jsontext.Value `json:"session_id"`
		History  jsontext.Value `json:"history"`
		LastSeq  jsontext.Value `json:"last_seq"`
		LastSync jsontext.Value `json:"lastSequence"`
	}
	if json.Unmarshal(body, &doc, lenient) != nil {
		return false
	}
	return doc.Session != nil && (doc.History != nil || doc.LastSeq != nil) || doc.LastSync != nil
}
