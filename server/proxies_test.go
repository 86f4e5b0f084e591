package server

import (
	"net/http/httptest"
	"testing"

	"github.com/parlordb/parlor/config"
)

// snapshot is what settings text gives.
func snapshot(t *testing.T, ini string) *config.Snapshot {
	t.Helper()
	c, err := config.Open(config.Options{Defaults: ini, Files: []string{t.TempDir() + "/parlor.ini"}})
	if err != nil {
		t.Fatal(err)
	}
	return c.Snapshot()
}

func TestProxies(t *testing.T) {
	const defaults, one = "", "[parlor]\ntrusted_proxies = 198.51.100.7\n"
	for _, c := range []struct {
		name, ini, remote string
		headers           map[string]string
		address           string
		secure            bool
	}{
		{"a stranger's headers", defaults, "203.0.113.9:4000", map[string]string{"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}, "203.0.113.9", false},
		{"a proxy on this machine", defaults, "127.0.0.1:4000", map[string]string{"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}, "1.2.3.4", true},
		{"only the last element is the proxy's", defaults, "10.1.1.1:4000", map[string]string{"X-Forwarded-For": "6.6.6.6, 1.2.3.4"}, "1.2.3.4", false},
		{"an element that is no address", defaults, "10.1.1.1:4000", map[string]string{"X-Forwarded-For": "evil"}, "10.1.1.1", false},
		{"IPv6 loopback", defaults, "[::1]:4000", map[string]string{"X-Forwarded-For": "2001:db8::1", "X-Forwarded-Ssl": "on"}, "2001:db8::1", true},
		{"IPv4 in IPv6", defaults, "[::ffff:127.0.0.1]:4000", map[string]string{"X-Forwarded-For": "1.2.3.4"}, "1.2.3.4", false},
		{"loopback is not in the list", one, "127.0.0.1:4000", map[string]string{"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}, "127.0.0.1", false},
		{"one address", one, "198.51.100.7:4000", map[string]string{"X-Forwarded-For": "1.2.3.4"}, "1.2.3.4", false},
		{"a header of its own", "[chttpd]\npeer_header = X-Real-IP\n", "127.0.0.1:4000", map[string]string{"X-Real-IP": "9.9.9.9", "X-Forwarded-For": "1.2.3.4"}, "9.9.9.9", false},
		{"no port", defaults, "@", nil, "@", false},
	} {
		p, err := ReadProxies(snapshot(t, c.ini))
		if err != nil {
			t.Fatal(c.name, err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		for name, value := range c.headers {
			r.Header.Set(name, value)
		}
		if got := p.Address(r); got != c.address {
			t.Errorf("%s: address %q, want %q", c.name, got, c.address)
		}
		if got := p.Secure(r); got != c.secure {
			t.Errorf("%s: secure %v", c.name, got)
		}
	}
}

func TestProxiesRefused(t *testing.T) {
	for _, text := range []string{"everyone", "10.0.0.0/99", "fe80::1%eth0"} {
		if _, err := ReadProxies(snapshot(t, "[parlor]\ntrusted_proxies = "+text+"\n")); err == nil {
			t.Errorf("%s was taken for a network", text)
		}
	}
}
