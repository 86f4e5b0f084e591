package authtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
)

// brokenState is a good State but for the functions that are set.
type brokenState struct {
	auth.MemoryState
	get   func(s *auth.MemoryState, id string) (auth.Record, error)
	put   func(s *auth.MemoryState, r auth.Record) (string, error)
	del   func(s *auth.MemoryState, id string) error
	list  func(s *auth.MemoryState, prefix, after string, limit int) ([]auth.Record, error)
	watch func(s *auth.MemoryState, changed func(id string)) func()
}

func (b *brokenState) Get(ctx context.Context, id string) (auth.Record, error) {
	if b.get != nil {
		return b.get(&b.MemoryState, id)
	}
	return b.MemoryState.Get(ctx, id)
}

func (b *brokenState) Put(ctx context.Context, r auth.Record) (string, error) {
	if b.put != nil && ctx.Err() == nil {
		return b.put(&b.MemoryState, r)
	}
	return b.MemoryState.Put(ctx, r)
}

func (b *brokenState) Delete(ctx context.Context, id string) error {
	if b.del != nil {
		return b.del(&b.MemoryState, id)
	}
	return b.MemoryState.Delete(ctx, id)
}

func (b *brokenState) List(ctx context.Context, prefix, after string, limit int) ([]auth.Record, error) {
	if b.list != nil {
		return b.list(&b.MemoryState, prefix, after, limit)
	}
	return b.MemoryState.List(ctx, prefix, after, limit)
}

func (b *brokenState) Watch(changed func(id string)) func() {
	if b.watch != nil {
		return b.watch(&b.MemoryState, changed)
	}
	return b.MemoryState.Watch(changed)
}

// TestStateContractFindsFaults breaks a good State in ways that databases do.
func TestStateContractFindsFaults(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	contract := func(s *brokenState) string {
		var found []string
		for name, test := range stateTests {
			own := &brokenState{get: s.get, put: s.put, del: s.del, list: s.list, watch: s.watch}
			if report := record(t, func(tb testing.TB) { test(tb, own) }); report != "" {
				found = append(found, name+": "+report)
			}
		}
		return strings.Join(found, "\n")
	}
	if found := contract(&brokenState{}); found != "" {
		t.Fatalf("a good State fails: %s", found)
	}
	for what, tt := range map[string]struct {
		state *brokenState
		want  string // the part of the contract that finds it
	}{
		"ignores case": {&brokenState{get: func(s *auth.MemoryState, id string) (auth.Record, error) {
			r, err := s.Get(ctx, strings.Replace(id, "ABC", "abc", 1))
			return r, err
		}}, "none: "},
		"has an error of its own": {&brokenState{get: func(s *auth.MemoryState, id string) (auth.Record, error) {
			r, err := s.Get(ctx, id)
			if err != nil {
				err = errors.New("404")
			}
			return r, err
		}}, "none: "},
		"overwrites": {&brokenState{put: func(s *auth.MemoryState, r auth.Record) (string, error) {
			if old, err := s.Get(ctx, r.ID); err == nil {
				r.Version = old.Version
			}
			return s.Put(ctx, r)
		}}, "compare and swap: "},
		"makes what was to be changed": {&brokenState{put: func(s *auth.MemoryState, r auth.Record) (string, error) {
			if _, err := s.Get(ctx, r.ID); err != nil {
				r.Version = ""
			}
			return s.Put(ctx, r)
		}}, "none: "},
		"writes numbers anew": {&brokenState{put: func(s *auth.MemoryState, r auth.Record) (string, error) {
			r.Body = []byte(strings.Replace(string(r.Body), "1.0", "1", 1))
			return s.Put(ctx, r)
		}}, "bodies: "},
		"lists what it was to begin after": {&brokenState{list: func(s *auth.MemoryState, prefix, after string, limit int) ([]auth.Record, error) {
			records, err := s.List(ctx, prefix, "", 1_000_000)
			records = slices.DeleteFunc(records, func(r auth.Record) bool { return r.ID < after })
			return records[:min(limit, len(records))], err
		}}, "list: "},
		"lists what has another beginning": {&brokenState{list: func(s *auth.MemoryState, _, after string, limit int) ([]auth.Record, error) {
			return s.List(ctx, "", after, limit)
		}}, "list: "},
		"has no limit": {&brokenState{list: func(s *auth.MemoryState, prefix, after string, _ int) ([]auth.Record, error) {
			return s.List(ctx, prefix, after, 1_000_000)
		}}, "list: "},
		"lists backwards": {&brokenState{list: func(s *auth.MemoryState, prefix, after string, limit int) ([]auth.Record, error) {
			records, err := s.List(ctx, prefix, after, limit)
			slices.Reverse(records)
			return records, err
		}}, "pages: "},
		"tells nobody":   {&brokenState{watch: func(*auth.MemoryState, func(string)) func() { return func() {} }}, "watch: "},
		"tells for ever": {&brokenState{watch: func(s *auth.MemoryState, changed func(string)) func() { s.Watch(changed); return func() {} }}, "watch: "},
		"has no end of deleting": {&brokenState{del: func(s *auth.MemoryState, id string) error {
			_ = s.Delete(ctx, id)
			return nil
		}}, "one of many deletes: "},
		"works for who has gone": {&brokenState{del: func(s *auth.MemoryState, id string) error { return s.Delete(ctx, id) }}, "ended context: "},
	} {
		if found := contract(tt.state); !strings.Contains(found, tt.want) {
			t.Errorf("a State that %s: %q is reported, want %q", what, found, tt.want)
		}
	}
}
