package mango

import (
	"fmt"
	"strings"
	"testing"
)

// leafDoc is a document of 300 bytes, as LiveSync writes them.
var leafDoc = []byte(fmt.Sprintf(`{"_id":"h:%s","_rev":"1-%s","data":"%s","type":"leaf"}`,
	strings.Repeat("a", 40), strings.Repeat("0", 32), strings.Repeat("x", 180)))

func BenchmarkMatch(b *testing.B) {
	for _, selector := range []string{
		`{"type":{"$ne":"leaf"}}`,
		`{"_id":{"$gt":"h:","$lt":"h;"},"type":"leaf"}`,
		`{"type":{"$gt":"aé"}}`,
		`{"data":{"$regex":"y$"}}`,
	} {
		s, err := Parse([]byte(selector))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(selector, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Match(leafDoc)
			}
		})
	}
}
