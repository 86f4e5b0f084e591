package main

import (
	"net/http/httptest"
	"testing"

	"github.com/parlordb/parlor/config"
)

func snapshot(t *testing.T, text string) *config.Snapshot {
	t.Helper()
	c, err := config.Open(config.Options{Defaults: text})
	if err != nil {
		t.Fatal(err)
	}
	return c.Snapshot()
}

func TestForwardedHeadersOfStrangers(t *testing.T) {
	t.Parallel()
	if _, err := newProxies(snapshot(t, "[parlor]\ntrusted_proxies = 10.0.0.0/33\n")); err == nil {
		t.Error("a network that is none was taken")
	}
	p, err := newProxies(snapshot(t, defaults))
	if err != nil {
		t.Fatal(err)
	}
	for peer, want := range map[string]bool{
		"":                       false,
		"@":                      false, // the socket's
		"8.8.8.8:1":              false,
		"11.0.0.1:1":             false,
		"[2001:db8::1]:1":        false,
		"127.0.0.1:1":            true,
		"[::1]:1":                true,
		"[::ffff:192.168.1.1]:1": true,
		"[::ffff:8.8.8.8]:1":     false,
		"10.1.2.3:1":             true,
		"172.31.0.1:1":           true,
		"172.32.0.1:1":           false,
		"100.64.0.1:1":           true,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-Host", "evil.example")
		p.strip(r)
		if got := p.secure(r); got != want {
			t.Errorf("%q: over TLS: %v", peer, got)
		}
		if got := r.Header.Get("X-Forwarded-Host") != ""; got != want {
			t.Errorf("%q: host kept: %v", peer, got)
		}
	}
	// Without a list nobody is believed.
	none, err := newProxies(snapshot(t, ""))
	if err != nil || none.trusts("127.0.0.1:1") {
		t.Errorf("trusted without a setting: %v", err)
	}
}
