package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/parlordb/parlor/config"
)

// doors are the listeners through which a server is served. The first, that of [chttpd], moves when its settings change; connections that it has
// accepted go on.
type doors struct {
	server *http.Server
	log    *slog.Logger
	failed chan error // the first failure of a listener that is still wanted

	mu   sync.Mutex
	open []net.Listener
	all  sync.WaitGroup // a goroutine for each listener that is served
}

func newDoors(hs *http.Server, log *slog.Logger, listeners []net.Listener) *doors {
	return &doors{server: hs, log: log, open: slices.Clone(listeners), failed: make(chan error, 1)}
}

// serve begins to serve all listeners.
func (d *doors) serve() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.open {
		d.serveOne(i)
	}
}

// serveOne serves a listener until it fails, is replaced, or the server stops. It is called with the lock held.
func (d *doors) serveOne(i int) {
	l := d.open[i]
	d.all.Go(func() {
		err := d.server.Serve(l)
		d.mu.Lock()
		defer d.mu.Unlock()
		if errors.Is(err, http.ErrServerClosed) || d.open[i] != l {
			return
		}
		select {
		case d.failed <- err:
		default: // one is enough to stop the server
		}
	})
}

// move listens where after says, when that is elsewhere than before did. The caller then calls settle: with true the new listener takes the place of
// the old one, with false all is as it was. A nil doors, of a server that is not served yet, moves nothing.
func (d *doors) move(before, after *config.Snapshot) (settle func(bool), err error) {
	if d == nil || before == nil || place(before) == place(after) {
		return func(bool) {}, nil
	}
	ctx := context.Background()
	next, err := listenMain(ctx, after)
	closed := false
	if taken := (*inUse)(nil); errors.As(err, &taken) && before.String("", "port", "chttpd") == after.String("", "port", "chttpd") {
		// It may be this server itself that has the port, at another address.
		d.replace(nil)
		closed = true
		next, err = listenMain(ctx, after)
	}
	back := func() {
		if !closed {
			return
		}
		old, err := listenMain(ctx, before)
		if err != nil {
			d.log.Error("the address before cannot be listened on again", "error", err)
			return
		}
		d.replace(old)
	}
	if err != nil {
		back()
		return nil, refused("chttpd", "bind_address and port", err)
	}
	return func(ok bool) {
		if !ok {
			next.Close()
			back()
			return
		}
		d.replace(next)
		d.log.Info("listening elsewhere", "address", next.Addr().String())
	}, nil
}

// place is where a snapshot wants [chttpd] to be.
func place(s *config.Snapshot) [2]string {
	return [2]string{s.String("", "bind_address", "chttpd"), s.String("", "port", "chttpd")}
}

// replace closes the first listener and serves l in its place; nil: none.
func (d *doors) replace(l net.Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.open[0]
	d.open[0] = l
	if old != nil {
		old.Close()
	}
	if l != nil {
		d.serveOne(0)
	}
}

// wait returns when no listener is served any more, after the server was shut down.
func (d *doors) wait() { d.all.Wait() }
