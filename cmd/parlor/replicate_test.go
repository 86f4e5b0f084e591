package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/replicate"
)

// A copy that was interrupted goes on where it was: the same command, and nothing twice.
func TestReplicateGoesOn(t *testing.T) {
	t.Parallel()
	c := startWithDatabase(t)
	defer c.kill()
	const docs = 1200
	var body strings.Builder
	body.WriteString(`{"docs":[`)
	for i := range docs {
		if i > 0 {
			body.WriteString(",")
		}
		fmt.Fprintf(&body, `{"_id":"doc%d"}`, i)
	}
	body.WriteString("]}")
	r := adminRequest(t, c, http.MethodPost, "/db/_bulk_docs", strings.NewReader(body.String()))
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()

	ctx, interrupt := context.WithCancel(t.Context())
	to, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if since := r.URL.Query().Get("since"); strings.HasSuffix(r.URL.Path, "/_changes") && since != "0" && ctx.Err() == nil {
			interrupt() // after the first page
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	command := func(ctx context.Context) (code int, stdout, stderr string) {
		var out, told bytes.Buffer
		p := &program{stdout: &out, stderr: &told, getenv: func(name string) string {
			return map[string]string{"PARLOR_SOURCE_PASSWORD": "secret", "PARLOR_TARGET_PASSWORD": "secret"}[name]
		}}
		code = p.run(ctx, []string{"replicate", "-create-target", strings.Replace(front.URL, "//", "//admin@", 1) + "/db", strings.Replace(c.url, "//", "//admin@", 1) + "/copy"})
		return code, out.String(), told.String()
	}
	code, out, told := command(ctx)
	if code != 1 || !strings.Contains(out, "revisions 500\n") || !strings.Contains(told, "interrupted; the same command goes on from here") {
		t.Errorf("interrupted: %d\n%s%s", code, out, told)
	}
	code, out, told = command(t.Context())
	if code != 0 || !strings.Contains(out, "revisions 700\n") || !strings.Contains(told, "went on from where an earlier copy had come") {
		t.Errorf("the second: %d\n%s%s", code, out, told)
	}
}

func TestReplicationShowsLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := newReplicationShow(&out)
	s.progress(replicate.Progress{Checked: 1, Total: 4})
	if out.Len() > 0 {
		t.Errorf("a line came at once: %s", out.String())
	}
	s.last = time.Time{}
	s.progress(replicate.Progress{Checked: 1, Total: 4, Written: 3, Attachments: 2})
	for range maxToldRefusals + 5 {
		s.refused(replicate.Refusal{ID: "a\x1b[2J", Rev: "1-b", Kind: "forbidden", Reason: "no"})
	}
	s.end()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if lines[0] != "1 changes of 4 (25 %) done, 3 revisions and 2 attachments written" || lines[1] != `refused: "a\x1b[2J" 1-b: forbidden: no` ||
		len(lines) != maxToldRefusals+2 || lines[len(lines)-1] != "further refused documents are only counted" {
		t.Errorf("%d lines: %q", len(lines), lines[:2])
	}
}
