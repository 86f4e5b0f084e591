package server

import (
	"net/http"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/rev"
)

// purge removes leaf revisions as if they had never been. What is no leaf is passed over.
func (s *Server) purge(r *request) error {
	object, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	asked, err := revsByID(object, "Invalid list of revisions")
	if err != nil {
		return err
	}
	ids, revs := make([]string, len(asked)), make([][]rev.ID, len(asked))
	for i, a := range asked {
		ids[i], revs[i] = a.id, a.revs
	}
	purged, seq, err := r.db.Purge(r.Context(), ids, revs)
	if err != nil {
		return err
	}
	if r.db.Name() == usersDatabase {
		// A purged user leaves no change that watchUsers would see.
		s.revocations.Recheck(auth.Match{})
		s.audit(r, "users purged", "documents", len(ids))
		if err := s.orphanPurged(r.Context(), r.db, ids); err != nil {
			return err
		}
		if err := s.endGone(r.Context(), ids); err != nil {
			return err
		}
	}
	body := append([]byte(`{"purge_seq":"`), r.db.FormatSeq(seq)...)
	body = append(body, `","purged":{`...)
	for i, id := range ids {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(appendString(body, id), ':')
		body = appendRevList(body, purged[i])
	}
	return r.send(http.StatusCreated, append(body, "}}"...))
}

// purgedInfos lists what was purged, as far back as _purged_infos_limit says.
func (s *Server) purgedInfos(r *request) error {
	body := []byte(`{"purged_infos":[`)
	err := r.db.Purges(func(id string, purged []rev.ID) bool {
		body = appendString(append(appendComma(body), `{"id":`...), id)
		body = append(appendRevList(append(body, `,"revs":`...), purged), '}')
		return true
	})
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, append(body, "]}"...))
}
