package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parlordb/parlor/store"
)

// usage is how much the vaults of an owner hold, as it was found at some time, and what was written since.
type usage struct {
	bytes  int64
	locals map[string]int // _local documents of each vault
	at     time.Time
}

// usageFor is how long a usage is taken for true. What others than this process's writes do to it, such as compaction, is seen that late.
const usageFor = 10 * time.Second

// anotherVault refuses an owner who has as many vaults as he may have.
func (s *Server) anotherVault(r *request, name, owner string) error {
	limit := r.set.vaults.maxVaults
	if limit == 0 {
		return nil
	}
	count := 0
	err := s.vaultsOf(owner, func(db *store.DB, sec *securityObject) error {
		if sec.vault.Owner == owner && db.Name() != name {
			count++
		}
		return nil
	})
	if err == nil && count >= limit {
		err = &Error{Status: 413, Kind: "too_many_vaults", Reason: "You have as many vaults as you may have, which is " + strconv.Itoa(limit) + ". Delete one first."}
	}
	return err
}

// room refuses writes to a vault whose owner holds as much as [parlor_vaults] max_bytes allows. Deletions are not refused.
func (s *Server) room(r *request, writes []store.Write) error {
	const tombstone = 1 << 10 // a larger one is as good as a document
	var more int64
	for i := range writes {
		doc := &writes[i].Doc
		if doc.Deleted && len(doc.Body) <= tombstone && len(doc.Attachments) == 0 {
			continue
		}
		more += int64(len(doc.Body))
		for _, a := range doc.Attachments {
			if !a.Stub {
				more += a.Stored
			}
		}
	}
	if more == 0 {
		return nil
	}
	return s.roomFor(r, more)
}

// roomFor refuses so many bytes more in the vault that a request is about, and counts them otherwise.
func (s *Server) roomFor(r *request, more int64) error {
	limit := r.set.vaults.maxBytes
	if limit == 0 || r.sec.vault == nil || r.sec.vault.Owner == "" {
		return nil
	}
	owner := r.sec.vault.Owner
	if err := s.measure(owner); err != nil {
		return err
	}
	s.vaults.mu.Lock()
	defer s.vaults.mu.Unlock()
	u := s.vaults.usage[owner]
	if u.bytes+more > limit {
		return overQuota(u.bytes, limit)
	}
	u.bytes += more
	s.vaults.usage[owner] = u
	return nil
}

// errOverQuota is the Cause of refusals for want of room in a quota: no fault of the server's, though their status says so.
var errOverQuota = errors.New("the owner's quota is used up")

func overQuota(held, limit int64) *Error {
	return &Error{Status: 507, Kind: "insufficient_storage", Reason: "The vaults of the owner of this one hold " + strconv.FormatInt(held, 10) +
		" bytes, and may hold " + strconv.FormatInt(limit, 10) + ". Delete something first.", Cause: errOverQuota}
}

const (
	// A _local document up to this size is written when there is no room, so that replication goes on.
	checkpointBytes = 64 << 10
	// But one that is new only to a vault that has no more than so many.
	checkpointCount = 1000
)

// roomForLocal is room for a _local document.
func (s *Server) roomForLocal(r *request, id string, body []byte) error {
	err := s.roomFor(r, int64(len(body)))
	if !errors.Is(err, errOverQuota) || len(body) > checkpointBytes {
		return err
	}
	if _, missing := r.db.Local(id); missing == nil {
		return nil
	}
	s.vaults.mu.Lock()
	defer s.vaults.mu.Unlock()
	u := s.vaults.usage[r.sec.vault.Owner]
	if u.locals == nil || u.locals[r.db.Name()] >= checkpointCount {
		return err
	}
	u.locals[r.db.Name()]++
	return nil
}

// measure finds out how much the vaults of an owner hold, unless that is known.
func (s *Server) measure(owner string) error {
	now := s.now()
	s.vaults.mu.Lock()
	u, ok := s.vaults.usage[owner]
	s.vaults.mu.Unlock()
	if ok && now.Sub(u.at) < usageFor && !now.Before(u.at) {
		return nil
	}
	u = usage{at: now, locals: map[string]int{}}
	err := s.vaultsOf(owner, func(db *store.DB, sec *securityObject) error {
		if sec.vault.Owner != owner {
			return nil
		}
		info, err := db.Info()
		if err != nil {
			return err
		}
		u.bytes += int64(info.ActiveBytes)
		return db.Locals(store.Range{}, func(l *store.Local) bool {
			u.bytes += int64(len(l.Body))
			u.locals[db.Name()]++
			return true
		})
	})
	if err != nil {
		return err
	}
	s.vaults.mu.Lock()
	defer s.vaults.mu.Unlock()
	s.vaults.usage[owner] = u
	return nil
}

// prune keeps no more of an owner's deleted vaults than he may have vaults and bytes, the newest first: they are not to be a way around the quotas. The newest
// stays however large it is, so that a rebuild can be undone.
func (s *Server) prune(ctx context.Context, set *settings, owner string) error {
	limits := &set.vaults
	if owner == "" || limits.maxVaults == 0 && limits.maxBytes == 0 {
		return nil
	}
	var copies []keptVault
	for k, err := range s.kept("") {
		if err != nil {
			return err
		}
		if k.vault.Owner == owner {
			copies = append(copies, k)
		}
	}
	slices.SortFunc(copies, func(a, b keptVault) int {
		return cmp.Or(b.Discarded.Compare(a.Discarded), strings.Compare(a.Name, b.Name))
	})
	count, bytes := 0, int64(0) // of those that stay
	for _, k := range copies {
		over := limits.maxVaults > 0 && count == limits.maxVaults || limits.maxBytes > 0 && bytes+int64(k.Bytes) > limits.maxBytes
		if count == 0 || !over {
			count, bytes = count+1, bytes+int64(k.Bytes)
			continue
		}
		if err := s.store.Expunge(ctx, k.Name); err != nil && !errors.Is(err, store.ErrNoDatabase) {
			return err
		}
	}
	return nil
}
