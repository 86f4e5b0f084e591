package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// tasks are compactions under way, for _active_tasks, and all work in the background, which Close waits for.
type tasks struct {
	mu      sync.Mutex
	running map[string]time.Time // database → since when
	wait    sync.WaitGroup
}

// compact starts a compaction and answers at once; compact_running of GET /{db} tells when it is done.
func (s *Server) compact(r *request) error {
	if err := r.needJSON(); err != nil {
		return err
	}
	db := r.db
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if _, ok := s.tasks.running[db.Name()]; ok || s.closing.Err() != nil {
		return r.ok(http.StatusAccepted)
	}
	if s.tasks.running == nil {
		s.tasks.running = map[string]time.Time{}
	}
	s.tasks.running[db.Name()] = s.now()
	s.tasks.wait.Go(func() {
		if err := db.Compact(s.closing); err != nil && context.Cause(s.closing) == nil {
			s.log.Warn("compaction failed", "db", db.Name(), "error", err)
		}
		s.tasks.mu.Lock()
		defer s.tasks.mu.Unlock()
		delete(s.tasks.running, db.Name())
	})
	return r.ok(http.StatusAccepted)
}

// compactViews answers for the indexes of a design document, of which there are none yet.
func (s *Server) compactViews(r *request) error {
	if err := r.needJSON(); err != nil {
		return err
	}
	return r.ok(http.StatusAccepted)
}

func (s *Server) viewCleanup(r *request) error {
	if err := r.needJSON(); err != nil {
		return err
	}
	return r.ok(http.StatusAccepted)
}

// ensureFullCommit has nothing to do: whatever was answered is on disk.
func (s *Server) ensureFullCommit(r *request) error {
	if err := r.needJSON(); err != nil {
		return err
	}
	info, err := r.db.Info()
	if err != nil {
		return err
	}
	return r.send(http.StatusCreated, append(appendUnix([]byte(`{"ok":true,"instance_start_time":"`), info.Created), `"}`...))
}

// shards tells of the one place where all documents are.
func (s *Server) shards(r *request) error {
	nodes := append(appendString([]byte{'['}, r.set.nodeName), ']')
	if len(r.args) == 1 {
		body := append([]byte(`{"range":"00000000-ffffffff","nodes":`), nodes...)
		return r.send(http.StatusOK, append(body, '}'))
	}
	body := append([]byte(`{"shards":{"00000000-ffffffff":`), nodes...)
	return r.send(http.StatusOK, append(body, "}}"...))
}

func (s *Server) syncShards(r *request) error { return r.ok(http.StatusAccepted) }

// autoPurge tells of the settings for purging tombstones by themselves, of which there are none.
func (s *Server) autoPurge(r *request) error { return r.send(http.StatusOK, []byte("{}")) }
