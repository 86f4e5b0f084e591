package server

import (
	"strings"
	"testing"
)

func TestPrometheus(t *testing.T) {
	ts := newTestServer(t)
	if status, _ := ts.as("", "GET", "/_node/_local/_prometheus", ""); status != 401 {
		t.Errorf("a stranger got %d", status)
	}
	for range 2 { // the second shows that nothing is registered twice
		text := ts.do("GET", "/_node/_local/_prometheus", "")
		for _, want := range []string{
			"\ncouchdb_httpd_request_methods{method=\"GET\"} ", "\ncouchdb_httpd_status_codes{code=\"401\"} 1\n",
			"\n# TYPE couchdb_open_databases gauge\n", "\ngo_goroutines ",
		} {
			if !strings.Contains("\n"+text, want) {
				t.Errorf("%q is not in %s", want, text)
			}
		}
	}
}
