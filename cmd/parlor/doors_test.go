package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
)

// TestMoveOnOnePort: the server's own listener is in the way of the new one, and comes back when the new one cannot be had.
func TestMoveOnOnePort(t *testing.T) {
	t.Parallel()
	first := snapshot(t, "[chttpd]\nport = 0\n")
	l, err := listenMain(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	at := func(host string) string { return fmt.Sprintf("[chttpd]\nbind_address = %s\nport = %s\n", host, port) }
	hs := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	d := newDoors(hs, slog.New(slog.DiscardHandler), []net.Listener{l})
	d.serve()
	answers := func(what string) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get("http://127.0.0.1:" + port)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		res.Body.Close()
	}
	here := snapshot(t, at("127.0.0.1"))
	settle, err := d.move(here, snapshot(t, at("localhost")))
	if err != nil {
		t.Fatal(err)
	}
	settle(true)
	answers("moved on one port")
	if settle, err = d.move(here, snapshot(t, at("localhost"))); err != nil {
		t.Fatal(err)
	}
	settle(false)
	answers("moved and taken back")
	if _, err := d.move(here, snapshot(t, at("192.0.2.1"))); err == nil {
		t.Error("an address of another machine was taken")
	}
	answers("refused")
	if _, err := d.move(nil, here); err != nil {
		t.Errorf("the first settings: %v", err)
	}
	if err := hs.Close(); err != nil {
		t.Error(err)
	}
	d.wait()
	select {
	case err := <-d.failed:
		t.Errorf("a listener that was replaced has failed: %v", err)
	default:
	}
}
