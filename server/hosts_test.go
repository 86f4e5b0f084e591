package server

import (
	"net/http"
	"testing"
)

func TestFilterMinimal(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[chttpd]", "enable_xframe_options = true")
	for _, c := range []struct {
		prefer  string
		minimal bool
	}{{"return=minimal", true}, {"Return=MINIMAL", true}, {"return=minimal, wait=1", false}, {"minimal", false}, {"", false}} {
		res := ts.send("", "GET", "/", "", "Prefer", c.prefer)
		res.Body.Close()
		if minimal := res.Header.Get("X-Couch-Request-Id") == ""; minimal != c.minimal {
			t.Errorf("%q: %v", c.prefer, res.Header)
		}
		for _, name := range []string{"Content-Type", "X-Frame-Options", "Server"} {
			if res.Header.Get(name) == "" {
				t.Errorf("%q: no %s", c.prefer, name)
			}
		}
	}
}

func TestValidHosts(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t, "[chttpd]", "validate_host = true", "valid_hosts = couch.example, ::1, 127.0.0.1")
	for host, want := range map[string]int{
		"couch.example": 200, "couch.example:5984": 200, "127.0.0.1:80": 200,
		"evil.example": 400, "couch.example.evil.example": 400, "couch.example:x:5984": 400, "COUCH.example": 400,
	} {
		req, err := http.NewRequest(http.MethodGet, ts.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := ts.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, res.StatusCode, want)
		}
	}
}
