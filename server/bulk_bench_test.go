package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkBulkDocs stores 1,000 documents of 300 bytes in each request.
func BenchmarkBulkDocs(b *testing.B) {
	ts := newTestServer(b)
	ts.do("PUT", "/db", "")
	filler := strings.Repeat("x", 210)
	for request := 0; b.Loop(); request++ {
		b.StopTimer()
		var body strings.Builder
		body.WriteString(`{"docs":[`)
		for i := range 1000 {
			if i > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"_id":"d%06d%04d","type":"note","n":%d,"tags":["a","b"],"text":"%s"}`, request, i, i, filler)
		}
		body.WriteString("]}")
		b.StartTimer()
		if status, answer := ts.as("admin:secret", http.MethodPost, "/db/_bulk_docs", body.String()); status != http.StatusCreated {
			b.Fatal(status, answer)
		}
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "docs/s")
}
