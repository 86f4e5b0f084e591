package replicate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// databaseInfo is what the run needs of GET /db.
type databaseInfo struct {
	DocCount int64 `json:"doc_count"`
	DelCount int64 `json:"doc_del_count"`
}

// verify asks both databases who they are. The target may be missing when it is to be made.
func (r *run) verify(ctx context.Context) (source databaseInfo, err error) {
	if source, err = r.info(ctx, r.source); err != nil {
		if isStatus(err, http.StatusNotFound) {
			err = fmt.Errorf("there is no such database at the source: %w", err)
		}
		return source, err
	}
	_, err = r.info(ctx, r.target)
	if isStatus(err, http.StatusNotFound) {
		if !r.o.CreateTarget {
			return source, ErrNoTarget
		}
		r.missing, err = true, nil
	}
	return source, err
}

// ErrNoTarget is a target that is not there and may not be made.
var ErrNoTarget = errors.New("there is no such database at the target, and it was not asked to be made")

func (r *run) info(ctx context.Context, p *peer) (info databaseInfo, err error) {
	err = r.retryUpTo(ctx, r.firstRetries, func() error {
		return p.json(ctx, request{method: http.MethodGet}, &info)
	})
	return info, err
}

// createTarget makes the database that verify has missed.
func (r *run) createTarget(ctx context.Context) error {
	if !r.missing {
		return nil
	}
	q := request{method: http.MethodPut}
	if r.o.Owner != "" {
		if err := r.checkOwners(ctx); err != nil {
			return err
		}
		q.query = url.Values{"owner": {r.o.Owner}}
	}
	err := r.retry(ctx, func() error { return r.target.json(ctx, q, nil) })
	if isStatus(err, http.StatusPreconditionFailed) {
		err = nil // an attempt whose answer was lost, or someone else
	}
	if err != nil {
		return fmt.Errorf("the target's database cannot be made: %w", err)
	}
	r.result.Created = true
	return nil
}

// ErrNoOwners is a target's server whose databases have no owners.
var ErrNoOwners = errors.New("databases have no owners at the target: its server is not Parlor")

// checkOwners asks the target's server for what only a server has whose databases have owners. Others would make the database all the same.
func (r *run) checkOwners(ctx context.Context) error {
	root, _ := r.target.root()
	err := r.retry(ctx, func() error {
		return r.target.json(ctx, request{method: http.MethodGet, absolute: root + "/_vaults", query: url.Values{"limit": {"1"}}}, nil)
	})
	if isStatus(err, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed) {
		return ErrNoOwners
	}
	return err
}

// ErrOwner is a target that is no vault of the owner who was named.
var ErrOwner = errors.New("the target is there already, and is no vault of the owner who was named")

// checkOwner refuses a target that is not the owner's.
func (r *run) checkOwner(ctx context.Context) error {
	if r.o.Owner == "" {
		return nil
	}
	var vault struct {
		Owner string `json:"owner"`
	}
	err := r.retry(ctx, func() error {
		return r.target.json(ctx, request{method: http.MethodGet, path: "/_vault"}, &vault)
	})
	if isStatus(err, http.StatusNotFound) || err == nil && vault.Owner != r.o.Owner {
		return ErrOwner
	}
	return err
}

func isStatus(err error, statuses ...int) bool {
	var answer *AnswerError
	return errors.As(err, &answer) && slices.Contains(statuses, answer.Status)
}

// identify makes the id of the replication: that of the checkpoints. It is made of the two databases and of what is selected. A server is known by
// its uuid where it tells one, so that a checkpoint is found again whatever address the server is reached at.
func (r *run) identify(ctx context.Context) error {
	source, err := r.identity(ctx, r.source)
	if err != nil {
		return err
	}
	target, err := r.identity(ctx, r.target)
	if err != nil {
		return err
	}
	selector := r.o.Selector.Clone()
	if selector != nil {
		if err := selector.Canonicalize(); err != nil {
			return fmt.Errorf("the selector: %w", err)
		}
	}
	ids := slices.Sorted(slices.Values(r.o.DocIDs))
	told, err := json.Marshal([]any{"parlor", 1, source, target, selector, ids})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(told)
	r.id = "_local/" + hex.EncodeToString(sum[:16])
	return nil
}

func (r *run) identity(ctx context.Context, p *peer) (string, error) {
	var welcome struct {
		UUID string `json:"uuid"`
	}
	root, name := p.root()
	err := r.retry(ctx, func() error { return p.json(ctx, request{method: http.MethodGet, absolute: root + "/"}, &welcome) })
	if answer := (*AnswerError)(nil); err != nil && !errors.As(err, &answer) {
		return "", err
	}
	if welcome.UUID == "" {
		return p.base, nil
	}
	return welcome.UUID + "/" + name, nil
}

// copySecurity copies _security, before any document comes that it protects.
func (r *run) copySecurity(ctx context.Context) error {
	var security jsontext.Value
	err := r.retry(ctx, func() error {
		return r.source.json(ctx, request{method: http.MethodGet, path: "/_security"}, &security)
	})
	if err == nil {
		err = r.retry(ctx, func() error {
			return r.target.json(ctx, request{method: http.MethodPut, path: "/_security", body: security}, nil)
		})
	}
	if err != nil {
		return fmt.Errorf("_security: %w", err)
	}
	return nil
}
