package server

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/parlordb/parlor/store"
)

// keptVault is the copy of a vault that was deleted.
type keptVault struct {
	store.Trashed
	vault *vault // nil when there is no copy
}

// keptPage is how many copies are read at a time.
const keptPage = 200

// keptVault returns the kept copy of a name, the zero keptVault where there is none or its time is over.
func (s *Server) keptVault(set *settings, name string) (keptVault, error) {
	t, err := s.store.TrashedCopy(name)
	if errors.Is(err, store.ErrNoDatabase) {
		return keptVault{}, nil
	}
	if err != nil {
		return keptVault{}, err
	}
	v, err := parseVault(t.Properties)
	if err != nil || v == nil || !s.now().Before(set.expiry(&t)) {
		return keptVault{}, err
	}
	return keptVault{t, v}, nil
}

// expiry is when a copy goes.
func (set *settings) expiry(t *store.Trashed) time.Time {
	keep := set.vaults.undelete
	if t.Hollow {
		keep = max(keep, rightsKept)
	}
	return t.Discarded.Add(keep)
}

// kept yields all kept copies whose names come after a name, in the order of names, those whose time is over too. One that was no vault has an empty one.
func (s *Server) kept(after string) iter.Seq2[keptVault, error] {
	return func(yield func(keptVault, error) bool) {
		for {
			page, err := s.store.Trashed(after, keptPage)
			if err != nil {
				yield(keptVault{}, err)
				return
			}
			for _, t := range page {
				v, err := parseVault(t.Properties)
				if v == nil {
					v = new(vault)
				}
				if !yield(keptVault{t, v}, err) {
					return
				}
			}
			if len(page) < keptPage {
				return
			}
			after = page[len(page)-1].Name
		}
	}
}

// expireVaults removes the copies whose time is over.
func (s *Server) expireVaults(ctx context.Context, set *settings) error {
	s.vaults.change.Lock()
	defer s.vaults.change.Unlock()
	for k, err := range s.kept("") {
		if err != nil {
			return err
		}
		if s.now().Before(set.expiry(&k.Trashed)) {
			continue
		}
		s.log.Info("a deleted vault is no longer kept", "database", k.Name, "owner", k.vault.Owner, "deleted", k.Discarded, "bytes", k.Bytes)
		if err := s.store.Expunge(ctx, k.Name); err != nil {
			return err
		}
	}
	return nil
}

// expireNow is expireVaults in the background.
func (s *Server) expireNow(set *settings) {
	if err := s.expireVaults(s.closing, set); err != nil && s.closing.Err() == nil {
		s.log.Warn("deleted vaults could not be removed", "error", err)
	}
}

// expireLoop removes copies now and then, until the server closes.
func (s *Server) expireLoop() {
	const every = 10 * time.Minute
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if set := s.settings.Load(); set != nil {
				s.expireNow(set)
			}
		case <-s.closing.Done():
			return
		}
	}
}

// undelete makes the kept copy of a vault a database again, under its own name or another. The caller has looked at whose it is.
func (s *Server) undelete(r *request, kept keptVault, as string) error {
	if _, err := s.store.Restore(r.Context(), kept.Name, as); err != nil {
		switch {
		case errors.Is(err, store.ErrDatabaseExists):
			return &Error{Status: 412, Kind: "file_exists", Reason: "There is a database " + as + ". Say under which other name the copy is to come back, in the member \"as\"."}
		case errors.Is(err, store.ErrMissing):
			return errHollow
		}
		return err
	}
	s.vaults.enter(as, kept.vault)
	return nil
}

var errHollow = &Error{Status: 410, Kind: "gone", Reason: "The documents of this vault are no longer kept."}
