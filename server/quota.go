package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// size is how many bytes something has: what the store counts as it is written, and what it does not.
type size struct {
	bodies int64 // and attachments
	others int64 // ids and histories of documents, and _local documents
}

// usage is how much the vaults of an owner hold: what was found at some time, and what was written since, though some of that has replaced other bytes.
type usage struct {
	size
	measured time.Time // when bodies was found
	counted  time.Time // when others was
}

const (
	// measuredFor is how long bodies is taken for true. What others than this process's writes do to it, such as compaction, is seen that late.
	measuredFor = 10 * time.Second
	// countedFor is the same for others, which is found by reading them all. It is done sooner, but not before measuredFor, for a write that would be refused.
	countedFor = 10 * time.Minute
)

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
	if r.maxBytes() == 0 {
		return nil
	}
	var more size
	for i := range writes {
		more.add(sizeOf(&writes[i]))
	}
	full := s.roomFor(r, more)
	if !errors.Is(full, errOverQuota) {
		return full
	}
	more = size{}
	deleted := map[string]bool{}
	for i := range writes {
		deletes, err := isDeletion(r.db, &writes[i])
		if err != nil {
			return err
		}
		// A second tombstone of a document in one request deletes nothing more.
		if id := writes[i].Doc.ID; deletes && !deleted[id] {
			deleted[id] = true
			continue
		}
		more.add(sizeOf(&writes[i]))
	}
	if more == (size{}) {
		return nil
	}
	return s.roomFor(r, more)
}

func (n *size) add(more size) {
	n.bodies += more.bodies
	n.others += more.others
}

// sizeOf is what a write adds at most.
func sizeOf(w *store.Write) size {
	n := size{bodies: int64(len(w.Doc.Body)), others: int64(len(w.Doc.ID))}
	for _, a := range w.Doc.Attachments {
		if !a.Stub {
			n.bodies += a.Stored
		}
	}
	for _, id := range w.History {
		n.others += int64(len(id.Hash))
	}
	return n
}

// isDeletion reports whether a write does no more than end a living revision. A tombstone of anything else is as good as a document: they could be without
// number, while of living revisions there are only as many as there was room for.
func isDeletion(db *store.DB, w *store.Write) (bool, error) {
	const tombstone = 1 << 10 // a larger one is as good as a document too
	if !w.Doc.Deleted || len(w.Doc.Attachments) > 0 {
		return false, nil
	}
	record, err := db.Record(w.Doc.ID)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	bytes, ancestors := len(w.Doc.Body), []rev.ID{w.Base}
	if w.History != nil {
		bytes, ancestors = bytes+len(w.History[0].Hash), w.History[1:]
	}
	for _, id := range ancestors {
		if at, known := record.Tree.Find(id); known {
			return bytes <= tombstone && record.Tree.IsLeaf(at) && !record.Tree.Node(at).Deleted, nil
		}
		bytes += len(id.Hash)
	}
	return false, nil
}

// maxBytes is the quota that writes to r's database fall under, 0 for none.
func (r *request) maxBytes() int64 {
	if r.sec.vault == nil || r.sec.vault.Owner == "" {
		return 0
	}
	return r.set.vaults.maxBytes
}

// roomFor refuses so much more in the vault that a request is about, and counts it otherwise.
func (s *Server) roomFor(r *request, more size) error {
	limit := r.maxBytes()
	if limit == 0 {
		return nil
	}
	owner := r.sec.vault.Owner
	var held int64
	for _, counted := range []time.Duration{countedFor, measuredFor} {
		if err := s.measure(owner); err != nil {
			return err
		}
		if err := s.countOthers(owner, counted); err != nil {
			return err
		}
		ok := false
		if held, ok = s.vaults.charge(owner, more, limit); ok {
			return nil
		}
	}
	return overQuota(held, limit)
}

// used is what is known of how much an owner holds.
func (v *vaults) used(owner string) usage {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.usage[owner]
}

// charge adds to what an owner holds, unless it is more than limit then. It returns what the owner held.
func (v *vaults) charge(owner string, more size, limit int64) (held int64, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	u := v.usage[owner]
	held = u.bodies + u.others
	if held+more.bodies+more.others > limit {
		return held, false
	}
	u.add(more)
	v.usage[owner] = u
	return held, true
}

// errOverQuota is the Cause of refusals for want of room in a quota: no fault of the server's, though their status says so.
var errOverQuota = errors.New("the owner's quota is used up")

func overQuota(held, limit int64) *Error {
	return &Error{Status: 507, Kind: "insufficient_storage", Reason: "The vaults of the owner of this one hold " + strconv.FormatInt(held, 10) +
		" bytes, and may hold " + strconv.FormatInt(limit, 10) + ". Delete something first.", Cause: errOverQuota}
}

const (
	// A _local document up to this size, with its id, is a checkpoint: it is written when there is no room, so that replication goes on.
	checkpointBytes = 64 << 10
	// But only to a vault that has less than so many others.
	checkpointCount = 1000
)

// roomForLocal is room for a _local document.
func (s *Server) roomForLocal(r *request, id string, body []byte) error {
	full := s.roomFor(r, size{others: int64(len(id) + len(body))})
	if !errors.Is(full, errOverQuota) || len(id)+len(body) > checkpointBytes {
		return full
	}
	few, err := hasFewLocals(r.db, id)
	if err != nil || few {
		return err
	}
	return full
}

// hasFewLocals reports whether a database has less than checkpointCount _local documents beside one.
func hasFewLocals(db *store.DB, id string) (bool, error) {
	others := 0
	err := db.Locals(store.Range{}, func(l *store.Local) bool {
		if l.ID != id {
			others++
		}
		return others < checkpointCount
	})
	return others < checkpointCount, err
}

// measure finds out how many bytes of bodies and attachments the vaults of an owner hold, unless that is known.
func (s *Server) measure(owner string) error {
	now := s.now()
	if isWithin(s.vaults.used(owner).measured, now, measuredFor) {
		return nil
	}
	bodies, err := s.sumVaults(owner, func(db *store.DB) (uint64, error) {
		info, err := db.Info()
		return info.ActiveBytes, err
	})
	if err != nil {
		return err
	}
	s.vaults.mu.Lock()
	defer s.vaults.mu.Unlock()
	u := s.vaults.usage[owner]
	u.bodies, u.measured = bodies, now
	s.vaults.usage[owner] = u
	return nil
}

// countOthers counts the other bytes of the vaults of an owner, unless that was done within a time.
func (s *Server) countOthers(owner string, within time.Duration) error {
	now := s.now()
	if isWithin(s.vaults.used(owner).counted, now, within) {
		return nil
	}
	s.vaults.counting.Lock()
	defer s.vaults.counting.Unlock()
	before := s.vaults.used(owner)
	if isWithin(before.counted, now, within) {
		return nil
	}
	others, err := s.sumVaults(owner, (*store.DB).OtherBytes)
	if err != nil {
		return err
	}
	s.vaults.mu.Lock()
	defer s.vaults.mu.Unlock()
	u := s.vaults.usage[owner]
	// What was written meanwhile may not have been seen.
	u.others, u.counted = others+max(u.others-before.others, 0), now
	s.vaults.usage[owner] = u
	return nil
}

// isWithin reports whether a time is so recent. One to come, as when the clock was set back, is not.
func isWithin(at, now time.Time, limit time.Duration) bool {
	return !now.Before(at) && now.Sub(at) < limit
}

// sumVaults adds up something of the vaults that an owner has.
func (s *Server) sumVaults(owner string, of func(*store.DB) (uint64, error)) (int64, error) {
	var sum int64
	err := s.vaultsOf(owner, func(db *store.DB, sec *securityObject) error {
		if sec.vault.Owner != owner {
			return nil
		}
		n, err := of(db)
		if errors.Is(err, store.ErrNoDatabase) {
			return nil // deleted meanwhile
		}
		sum += int64(n)
		return err
	})
	return sum, err
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
		if limits.maxBytes > 0 {
			others, err := s.store.TrashedOtherBytes(&k.Trashed)
			if err != nil {
				return err
			}
			k.Bytes += others
		}
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
