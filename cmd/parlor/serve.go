package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/store"
)

// What is in a data directory.
const (
	defaultData  = "parlor-data"
	storeDir     = "store"
	settingsFile = "parlor.ini"
)

//go:embed defaults.ini
var defaults string

// stopTime is how long requests under way may take to finish when the server stops.
const stopTime = 30 * time.Second

func (p *program) serve(ctx context.Context, args []string) error {
	f := newFlags("serve", "", `Runs the server until it is interrupted. Data and, unless -config says otherwise, settings are kept in the data directory. A server that has
no administrator yet makes one, and prints the password once.`)
	var files list
	f.Var(&files, "config", "a settings file in CouchDB's ini dialect; may be given several times. Later files win, and changes made over HTTP are\nwritten to the last (default parlor.ini in the data directory)")
	data := f.String("data", defaultData, "the data directory")
	addr := f.String("addr", "", "HOST:PORT to listen on, in place of what the settings say; port 0 takes a free one")
	public := f.String("public-url", "", "the URL by which clients reach this server, if that is another")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	overrides, err := overrides(*addr, *public)
	if err != nil {
		return &usageError{"serve", false, err.Error()}
	}
	if files == nil {
		files = list{filepath.Join(*data, settingsFile)}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return p.runServer(ctx, stop, *data, config.Options{Defaults: defaults, Files: files, Overrides: overrides, Prepare: prepare})
}

// overrides is what flags say, as ini text.
func overrides(addr, public string) (string, error) {
	var b strings.Builder
	if addr != "" {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || port == "" || strings.Trim(port, "0123456789") != "" || strings.ContainsAny(host, " \t\r\n;") {
			return "", fmt.Errorf("-addr %q is not of the form HOST:PORT", addr)
		}
		if host == "" {
			host = "any"
		}
		fmt.Fprintf(&b, "[chttpd]\nbind_address = %s\nport = %s\n", host, port)
	}
	if public != "" {
		u, err := url.Parse(public)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return "", errors.New("-public-url is not of the form https://HOST/")
		}
		fmt.Fprintf(&b, "[parlor]\npublic_url = %s\n", u)
	}
	return b.String(), nil
}

// runServer serves a data directory until ctx ends. It calls stopping before it says that it stops.
func (p *program) runServer(ctx context.Context, stopping func(), data string, o config.Options) (err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	first, err := config.Open(o)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	log, err := newLogger(p.stderr, first.Snapshot(), level)
	if err != nil {
		return err
	}
	// Made here, because the store would let everyone read it.
	if err := os.MkdirAll(filepath.Join(data, storeDir), 0o700); err != nil {
		return err
	}
	st, err := store.Open(filepath.Join(data, storeDir), store.Options{Log: log})
	if err != nil {
		return storeError(data, err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	removeScratch(data)

	certificates, err := newACME(first.Snapshot(), data)
	if err != nil {
		return err
	}
	listeners, err := listenAll(ctx, first.Snapshot(), certificates, log)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	addr := listeners[0].Addr()

	// The administrator is made when nothing but the settings can still fail, so that the password is not lost with a server that does not start.
	password, err := firstStart(first)
	if err != nil {
		return err
	}
	p.welcome(first.Snapshot(), addr, password)

	w := newWiring(st, log, level, &backupHandler{store: st, data: data, files: o.Files, log: log, now: time.Now})
	defer func() { err = errors.Join(err, w.close()) }()
	o.Apply = w.apply
	if w.settings, err = config.Open(o); err != nil {
		return err
	}
	if err := furnish(ctx, st); err != nil {
		return err
	}
	stopSweeping := w.sweepOften(ctx)
	defer stopSweeping()
	obtaining, err := announceTLS(ctx, first.Snapshot(), certificates, listeners[1:], log)
	if err != nil {
		return err
	}
	defer obtaining.close()
	socket, err := listenSocket(data)
	if err != nil {
		log.Warn("there is no socket; commands need -url", "error", err)
	} else {
		defer os.Remove(filepath.Join(data, socketName))
		listeners = append(listeners, socket)
	}
	w.doors = newDoors(newHTTPServer(w), log, listeners)
	stopReloading := w.reloadOften(ctx)
	defer stopReloading()
	log.Info("started", "version", release, "data", data, "address", addr.String())
	fmt.Fprintf(p.stderr, "parlor: listening on http://%s\n", addr)
	return serveHTTP(ctx, stopping, w)
}

// welcome prints a new administrator's password.
func (p *program) welcome(s *config.Snapshot, addr net.Addr, password string) {
	if password == "" {
		return
	}
	fmt.Fprintf(p.stdout, `This server has a new administrator. The password is shown this once:

  address   %s
  name      %s
  password  %s

`, strings.TrimSuffix(s.String("http://"+addr.String(), "public_url", "parlor"), "/")+"/", firstAdmin, password)
}

// newHTTPServer makes the server of all listeners, as [parlor_http] says.
func newHTTPServer(w *wiring) *http.Server {
	s := w.settings.Snapshot()
	seconds := func(fallback int64, key string) time.Duration {
		return time.Duration(max(s.Int(fallback, key, "parlor_http"), 1)) * time.Second
	}
	hs := &http.Server{
		Handler:           w.server,
		ReadHeaderTimeout: seconds(30, "header_timeout"),
		IdleTimeout:       seconds(300, "idle_timeout"),
		MaxHeaderBytes:    int(max(s.Int(64<<10, "max_header_size", "parlor_http"), 4<<10)),
		ErrorLog:          slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // OPTIONS * is answered like all else
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c.LocalAddr().Network() == "unix" {
				return throughSocket(ctx)
			}
			return ctx
		},
	}
	hs.RegisterOnShutdown(w.server.Close)
	return hs
}

// serveHTTP serves until ctx ends, or a listener fails. When it returns, no request is under way.
func serveHTTP(ctx context.Context, stopping func(), w *wiring) (err error) {
	d := w.doors
	d.serve()
	select {
	case <-ctx.Done():
		stopping()
		w.log.Info("stopping")
	case err = <-d.failed:
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if d.server.Shutdown(late) != nil {
		w.log.Warn("requests were cut off", "after", stopTime)
		d.server.Close()
	}
	d.wait()
	return err
}

// storeError explains why a store cannot be opened.
func storeError(data string, err error) error {
	if errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "lock held by current process") {
		return fmt.Errorf("another Parlor has the data directory %s open; stop it, or name another directory", data)
	}
	return fmt.Errorf("the data directory %s cannot be opened: %w", data, err)
}

// removeScratch removes what a killed server left of a backup under way. The caller has the data directory's lock.
func removeScratch(data string) {
	left, _ := filepath.Glob(filepath.Join(data, scratchPattern))
	for _, dir := range left {
		os.RemoveAll(dir)
	}
}
