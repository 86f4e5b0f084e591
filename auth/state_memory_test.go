package auth_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

func TestMemoryStateContract(t *testing.T) {
	t.Parallel()
	authtest.TestState(t, func(*testing.T) auth.State { return new(auth.MemoryState) })
}

// TestMemoryStateAgainstMap holds its order, in pages, against ids that are sorted each time.
func TestMemoryStateAgainstMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		s, model := new(auth.MemoryState), make(map[string]bool)
		base := rapid.IntRange(0, 3).Draw(t, "base") * 700
		for i := range base { // several pages
			id := fmt.Sprintf("k/%04d", i*3%base)
			model[id] = true
			_, _ = s.Put(ctx, auth.Record{ID: id, Body: []byte(`{}`)})
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := fmt.Sprintf("k/%04d", rapid.IntRange(0, 2200).Draw(t, "id"))
			if rapid.Bool().Draw(t, "delete") {
				if err := s.Delete(ctx, id); (err == nil) != model[id] {
					t.Fatalf("delete %s: %v, there: %v", id, err, model[id])
				}
				delete(model, id)
				continue
			}
			if _, err := s.Put(ctx, auth.Record{ID: id, Body: []byte(`{}`)}); (err == nil) == model[id] {
				t.Fatalf("put %s: %v, there: %v", id, err, model[id])
			}
			model[id] = true
		}
		after := fmt.Sprintf("k/%04d", rapid.IntRange(0, 2200).Draw(t, "after"))
		var want []string
		for id := range model {
			if id > after {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		records, err := s.List(ctx, "k/", after, len(want)+1)
		if err != nil || len(records) != len(want) {
			t.Fatalf("%d records, %v, want %d", len(records), err, len(want))
		}
		for i, r := range records {
			if r.ID != want[i] {
				t.Fatalf("%s is at %d, want %s", r.ID, i, want[i])
			}
		}
	})
}

// countingState counts what is read by id.
type countingState struct {
	auth.State
	reads *atomic.Int32
}

func (s countingState) Get(ctx context.Context, id string) (auth.Record, error) {
	s.reads.Add(1)
	return s.State.Get(ctx, id)
}
