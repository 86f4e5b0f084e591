package server

import (
	"strings"
	"testing"
)

// The database of sign-on's records is nowhere to be seen, and no route leads into it, not even an administrator's.
func TestStateIsHidden(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for _, path := range []string{"/_all_dbs", "/_all_dbs?descending=true", "/_all_dbs?startkey=%22_parlor%22&endkey=%22_parlor%22", "/_dbs_info", "/_db_updates"} {
		if got := ts.do("GET", path, ""); strings.Contains(got, "_parlor") {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got, want := ts.do("GET", "/_all_dbs?limit=1", ""), "[\"db\"]\n"; got != want {
		t.Errorf("a limit counts what is hidden: %s", got)
	}
	if got, want := ts.do("POST", "/_dbs_info", `{"keys":["_parlor"]}`), "[{\"key\":\"_parlor\",\"error\":\"not_found\"}]\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "COPY"} {
		for _, path := range []string{"/_parlor", "/_parlor/", "/%5Fparlor", "/_parlor/_all_docs", "/_parlor/_local_docs", "/_parlor/_local/x", "/_parlor/_security", "/_parlor/_changes"} {
			if status, body := ts.as("admin:secret", method, path, "{}"); status < 400 {
				t.Errorf("%s %s: %d %s", method, path, status, body)
			}
		}
	}
}
