package server

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/parlordb/parlor/store"
)

// BenchmarkChanges reads a whole feed of 200,000 documents over HTTP. rows/s is what the readers of a first synchronisation see.
func BenchmarkChanges(b *testing.B) {
	const n = 200_000
	ts := newTestServer(b)
	db, err := ts.store.Create(b.Context(), "db", nil)
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"type":"leaf","data":"` + strings.Repeat("x", 100) + `"}`)
	for i := 0; i < n; {
		writes := make([]store.Write, 0, 2000)
		for range cap(writes) {
			writes = append(writes, store.Write{Doc: store.Doc{ID: fmt.Sprintf("h:%012d", i*7919%n), Body: body}})
			i++
		}
		if _, err := db.Write(b.Context(), writes, nil); err != nil {
			b.Fatal(err)
		}
	}
	for _, query := range []string{"_changes", "_changes?style=all_docs&since=0", "_changes?include_docs=true", "_all_docs", "_all_docs?include_docs=true"} {
		b.Run(query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				res := ts.send("admin:secret", "GET", "/db/"+query, "")
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					b.Fatal(err)
				}
				res.Body.Close()
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	// What LiveSync asks for: of a vault of chunks, the few documents that are none.
	b.Run("_selector", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			res := ts.send("admin:secret", "POST", "/db/_changes?style=all_docs&filter=_selector&limit=25", `{"selector":{"type":{"$ne":"leaf"}}}`)
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				b.Fatal(err)
			}
			res.Body.Close()
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}
