package server

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	m := newMemory(100, 60)
	one, two := party{user: "one"}, party{user: "two"}
	for _, step := range []struct {
		by   party
		take int64
		want bool
	}{
		{one, 50, true}, {one, 11, false}, {one, 10, true}, {one, 1, false}, {two, 41, false}, {two, 40, true}, {party{}, 1, false},
	} {
		if got := m.take(step.by, step.take); got != step.want {
			t.Errorf("%v takes %d: %v", step.by, step.take, got)
		}
	}
	m.give(one, 60)
	m.give(two, 40)
	if m.left != 100 || len(m.held) != 0 {
		t.Errorf("%d left, held %v", m.left, m.held)
	}
}

// Memory is for bytes that have come, not for those that were announced.
func TestAnnouncedBodies(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	for _, size := range []int{250_000_000, 250_000_000, 36_860_000} {
		in := ts.dial(fmt.Sprintf("POST /db/_bulk_docs HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\nContent-Type: application/json\r\n"+
			"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", size))
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatal(line, err)
		}
	}
	if status, text := ts.as("admin:secret", "PUT", "/db/x", `{"text":"`+strings.Repeat("x", 2_000_000)+`"}`); status != 201 {
		t.Errorf("%d %s", status, text)
	}
}

// Whoever holds his share of memory is told to come again; others are not.
func TestShareOfBodies(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	ts.do("PUT", "/db/_security", `{}`)
	large := `{"text":"` + strings.Repeat("x", 2_000_000) + `"}`
	if !ts.s.bodies.take(party{user: "admin"}, maxJSON) {
		t.Fatal("something is held")
	}
	ts.refuses(t, []refusal{{"too much", "PUT", "/db/x", large, 503, "service_unavailable", nil}})
	if status, text := ts.as("", "PUT", "/db/y", large); status != 201 {
		t.Errorf("%d %s", status, text)
	}
	ts.s.bodies.give(party{user: "admin"}, maxJSON)
	ts.do("PUT", "/db/x", large)
}

// A feed gives its body back, and counts what it keeps of it.
func TestHeldFilters(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/db", "")
	var ids strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&ids, `"%036d",`, i)
	}
	large := `{"doc_ids":[` + ids.String() + `"x"]}`
	const path = "/db/_changes?feed=longpoll&filter=_doc_ids"
	f := ts.follow("admin:secret", "POST", path, large)
	if left := ts.s.bodies.left; left != bufferedBodies {
		t.Errorf("%d bytes of bodies are held", bufferedBodies-left)
	}
	if held := heldFilters - ts.s.filters.left; held < 60_000*36 {
		t.Errorf("%d bytes of filters are held", held)
	}
	ts.do("PUT", "/db/x", `{}`)
	if rows, err := io.ReadAll(f); err != nil || !strings.Contains(string(rows), `"id":"x"`) {
		t.Errorf("%s %v", rows, err)
	}
	if left := ts.s.filters.left; left != heldFilters {
		t.Errorf("%d bytes of filters are still held", heldFilters-left)
	}

	if !ts.s.filters.take(party{user: "admin"}, heldFilters/4) {
		t.Fatal("something is held")
	}
	ts.refuses(t, []refusal{{"too much", "POST", path, large, 503, "service_unavailable", nil}})
	ts.do("POST", path, `{"doc_ids":["x"]}`)
}
