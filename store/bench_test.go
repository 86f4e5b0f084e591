package store

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parlordb/parlor/rev"
)

// openDisk returns a store on the real disk, where syncs cost what they cost.
func openDisk(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func body300(n int) []byte {
	return fmt.Appendf(nil, `{"type":"note","n":%d,"text":%q}`, n, strings.Repeat("ab cd ef ", 29))
}

// BenchmarkPut is 16 writers, each waiting for its own durable document.
func BenchmarkPut(b *testing.B) {
	db := create(b, openDisk(b), "db")
	var n atomic.Int64
	b.SetParallelism(8)
	b.ReportAllocs()
	before := db.store.commits.Load()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			w := Write{Doc: Doc{ID: fmt.Sprintf("doc-%09d", i*7919%1e9), Body: body300(int(i))}}
			if _, err := db.Put(context.Background(), w, nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "docs/s")
	b.ReportMetric(float64(b.N)/float64(db.store.commits.Load()-before), "docs/commit")
}

func bulk(n, size int) []Write {
	writes := make([]Write, size)
	for i := range writes {
		writes[i].Doc = Doc{ID: fmt.Sprintf("doc-%09d", (n*size+i)*7919%1e9), Body: body300(i)}
	}
	return writes
}

func BenchmarkBulk1000(b *testing.B) {
	db := create(b, openDisk(b), "db")
	batches := make([][]Write, 32)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%len(batches) == 0 {
			b.StopTimer()
			for i := range batches {
				batches[i] = bulk(n+i, 1000)
			}
			b.StartTimer()
		}
		if _, err := db.Write(context.Background(), batches[n%len(batches)], nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "docs/s")
}

// filled returns a database of n documents, and their number.
func filled(b *testing.B, n int) *DB {
	b.Helper()
	db := create(b, openDisk(b), "db")
	for i := range n / 1000 {
		if _, err := db.Write(context.Background(), bulk(i, 1000), nil); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

// BenchmarkChanges reads pages of 25 rows with their "pending" count out of 200,000.
func BenchmarkChanges(b *testing.B) {
	db := filled(b, 200_000)
	if _, err := db.ChangesAfter(1); err != nil {
		b.Fatal(err)
	}
	since := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		rows := 0
		last := since
		err := db.Changes(since, false, 25, func(c *Change) bool {
			rows++
			last = c.Seq
			return true
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := db.ChangesAfter(last); err != nil {
			b.Fatal(err)
		}
		if since = last; rows < 25 {
			since = 0
		}
	}
	b.ReportMetric(25*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkDoc(b *testing.B) {
	const n = 100_000
	db := filled(b, n)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := int(next.Add(7)) % n
			if _, err := db.Doc(fmt.Sprintf("doc-%09d", i*7919%1e9)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	db := create(b, openDisk(b), "db")
	var base rev.ID
	b.ReportAllocs()
	for b.Loop() {
		base = put(b, db, "one", `{"a":1}`, base)
	}
}

func BenchmarkCreate(b *testing.B) {
	s := openDisk(b)
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Create(context.Background(), fmt.Sprintf("db-%d", n.Add(1)), nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "dbs/s")
}

// siblings are revisions of one document that know no ancestor: as many conflicts.
func siblings(id string, from, n int) []Write {
	writes := make([]Write, n)
	for i := range writes {
		writes[i] = Write{Doc: Doc{ID: id, Body: []byte(`{}`)}, History: []rev.ID{{Gen: 1, Hash: fmt.Sprintf("%032x", uint64(from+i)*0x9e3779b97f4a7c15)}}}
	}
	return writes
}

// BenchmarkConflicts writes revisions of one document in one call: the time should grow little faster than their number, with a check too.
func BenchmarkConflicts(b *testing.B) {
	for _, n := range []int{500, 2000, 8000} {
		for name, check := range map[string]Check{"plain": nil, "checked": allow} {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				db := create(b, openDisk(b), "db")
				for i := 0; b.Loop(); i++ {
					if _, err := db.Write(context.Background(), siblings(fmt.Sprint(i), 0, n), check); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkUpdateAmongConflicts edits a document that has this many conflicts.
func BenchmarkUpdateAmongConflicts(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			db := create(b, openDisk(b), "db")
			for from := 0; from < n; from += 1000 {
				if _, err := db.Write(context.Background(), siblings("one", from, 1000), nil); err != nil {
					b.Fatal(err)
				}
			}
			doc, err := db.Doc("one")
			if err != nil {
				b.Fatal(err)
			}
			for base := doc.Rev; b.Loop(); {
				base = put(b, db, "one", `{"a":1}`, base)
			}
		})
	}
}
