package store

// publishLoop is the publisher. It waits until a group that was applied is durable, shows it to readers and answers its callers. It ends when the
// committer has ended and all is answered.
func (s *Store) publishLoop() {
	for g := range s.applied {
		g.sync()
		s.files.settle(g.claimed, g.shown != nil)
		if g.shown != nil {
			g.publish()
		}
		s.finishRemoval(g.removed, g.shown != nil)
		for _, o := range g.ops {
			if o.err == nil {
				o.err = g.err
			}
			close(o.done)
		}
		s.turn <- struct{}{}
	}
}

// sync waits until the group is durable. There is nothing to wait for when it changes nothing, or has failed.
func (g *group) sync() {
	s := g.store
	if g.shown != nil {
		if err := g.batch.SyncWait(); err != nil {
			// The log is broken: what was applied may be lost, and later groups build upon it.
			pebbleLog{s.log}.Fatalf("syncing the log: %v", err)
		}
		s.inFlight.Add(-int64(g.bytes))
	}
	if err := g.batch.Close(); err != nil {
		s.log.Error("closing a batch", "error", err)
	}
}

// publish shows the group, which is durable, to readers and to those who wait.
func (g *group) publish() {
	s := g.store
	s.commits.Add(1)
	s.revisions.Add(g.written)
	// A database is known to be gone before its documents vanish: readers must not take them for deleted.
	for _, w := range g.order {
		if w.gone {
			w.db.deleted.Store(true)
		}
	}
	g.publishNames()
	s.updates.publish(g.update)
	for _, w := range g.order {
		w.db.publish(w)
	}
}

// publishNames shows the group's snapshot, and brings the map of open databases in line with it in one step.
func (g *group) publishNames() {
	s := g.store
	if len(g.names)+len(g.renewed) == 0 {
		s.show(g.shown)
		return
	}
	s.databases.mu.Lock()
	defer s.databases.mu.Unlock()
	s.show(g.shown)
	for name, db := range g.names {
		s.databases.forget(name)
		if db != nil {
			s.databases.keep(db)
		}
	}
	for name, instance := range g.renewed {
		if db := s.databases.open[name].Value(); db != nil {
			db.instance.Store(instance)
		}
	}
}
