package authtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parlordb/parlor/auth"
)

// TestState tests the contract of auth.State. newState returns an empty State that nothing else uses; it is called more than once.
func TestState(t *testing.T, newState func(t *testing.T) auth.State) {
	t.Helper()
	for name, test := range stateTests {
		t.Run(name, func(t *testing.T) { test(t, newState(t)) })
	}
}

// stateTests are the parts of the contract. Each is given an empty State.
var stateTests = map[string]func(t testing.TB, s auth.State){
	"none":                testStateNone,
	"compare and swap":    testStateSwap,
	"bodies":              testStateBodies,
	"list":                testStateList,
	"pages":               testStatePages,
	"watch":               testStateWatch,
	"ended context":       testStateContext,
	"one of many makes":   testStateMakeRace,
	"one of many changes": testStateChangeRace,
	"one of many deletes": testStateDeleteRace,
}

func putState(t testing.TB, s auth.State, id, body, version string) string {
	t.Helper()
	version, err := s.Put(context.Background(), auth.Record{ID: id, Body: []byte(body), Version: version})
	if err != nil || version == "" {
		t.Fatalf("put %q: version %q, %v", id, version, err)
	}
	return version
}

func wantState(t testing.TB, s auth.State, id, body, version string) {
	t.Helper()
	r, err := s.Get(context.Background(), id)
	if err != nil || r.ID != id || string(r.Body) != body || r.Version != version {
		t.Errorf("got %q: %q, version %q, %v, want %q, version %q", r.ID, r.Body, r.Version, err, body, version)
	}
}

func wantNoState(t testing.TB, s auth.State, id string) {
	t.Helper()
	if r, err := s.Get(context.Background(), id); !errors.Is(err, auth.ErrNoRecord) || r.ID != "" || r.Body != nil || r.Version != "" {
		t.Errorf("got %q: %+v, %v, want ErrNoRecord", id, r, err)
	}
}

func testStateNone(t testing.TB, s auth.State) {
	putState(t, s, "session/abc", `{}`, "")
	// Parts of an id, another case, and what a path could be confused by.
	for _, id := range []string{"abc", "session/", "session/ab", "session/abcd", "session/ABC", "Session/abc", "session//abc", "session/abc/", "session%2Fabc", "/session/abc"} {
		wantNoState(t, s, id)
		if err := s.Delete(context.Background(), id); !errors.Is(err, auth.ErrNoRecord) {
			t.Errorf("delete %q: %v, want ErrNoRecord", id, err)
		}
		if _, err := s.Put(context.Background(), auth.Record{ID: id, Body: []byte(`{}`), Version: "1"}); !errors.Is(err, auth.ErrRecordChanged) {
			t.Errorf("put %q, which is not there, with a version: %v, want ErrRecordChanged", id, err)
		}
		wantNoState(t, s, id)
	}
}

func testStateSwap(t testing.TB, s auth.State) {
	ctx := context.Background()
	refused := func(what, version string) {
		t.Helper()
		if got, err := s.Put(ctx, auth.Record{ID: "token/x", Body: []byte(`{"n":0}`), Version: version}); !errors.Is(err, auth.ErrRecordChanged) || got != "" {
			t.Errorf("%s: version %q, %v, want ErrRecordChanged", what, got, err)
		}
	}
	first := putState(t, s, "token/x", `{"n":1}`, "")
	refused("make again", "")
	refused("a version that never was", first+"0")
	wantState(t, s, "token/x", `{"n":1}`, first)
	second := putState(t, s, "token/x", `{"n":2}`, first)
	if second == first {
		t.Errorf("the version is still %q", first)
	}
	refused("the version before", first)
	refused("make again", "")
	wantState(t, s, "token/x", `{"n":2}`, second)
	if err := s.Delete(ctx, "token/x"); err != nil {
		t.Fatal(err)
	}
	wantNoState(t, s, "token/x")
	refused("the version of what was deleted", second)
	if err := s.Delete(ctx, "token/x"); !errors.Is(err, auth.ErrNoRecord) {
		t.Errorf("delete again: %v, want ErrNoRecord", err)
	}
	third := putState(t, s, "token/x", `{"n":3}`, "")
	refused("make again", "")
	wantState(t, s, "token/x", `{"n":3}`, third)
}

// testStateBodies: a body comes back as it went in, and is the State's own.
func testStateBodies(t testing.TB, s auth.State) {
	for i, body := range []string{
		`{}`, `{"b":1,"a":2}`, `{ "blanks" : [ 1 , 2 ] }`, `{"number":1.0,"large":12345678901234567890}`, `{"text":"Zoë \u00e9 \"/\" 😀 <&>"}`,
		`{"_id":"x","_rev":"0-9","_deleted":true}`, `{"long":"` + strings.Repeat("x", 100_000) + `"}`,
	} {
		id := fmt.Sprint("session/", i)
		written := []byte(body)
		version, err := s.Put(context.Background(), auth.Record{ID: id, Body: written})
		if err != nil {
			t.Errorf("put %.60s: %v", body, err)
			continue
		}
		clear(written)
		wantState(t, s, id, body, version)
		records, err := s.List(context.Background(), id, "", 2)
		if err != nil || len(records) != 1 || records[0].ID != id || string(records[0].Body) != body || records[0].Version != version {
			t.Errorf("list %q: %d records, %v, want %.60s", id, len(records), err, body)
		}
	}
}

func listed(t testing.TB, s auth.State, prefix, after string, limit int) []string {
	t.Helper()
	records, err := s.List(context.Background(), prefix, after, limit)
	if err != nil {
		t.Fatalf("list %q after %q: %v", prefix, after, err)
	}
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
		wantState(t, s, r.ID, string(r.Body), r.Version)
	}
	return ids
}

func testStateList(t testing.TB, s auth.State) {
	// In the order of bytes; "-" comes before "/", capitals before "_", and that before small letters.
	ids := []string{
		"session-user/a", "session/-", "session/0", "session/9", "session/A", "session/Z", "session/_", "session/a", "session/a%2Fb", "session/a/b",
		"session/ab", "session/z", "session0", "token/a", "token/é",
	}
	for i := range ids {
		id := ids[(i*7+3)%len(ids)] // in no order
		putState(t, s, id, fmt.Sprintf(`{"id":%q}`, id), "")
	}
	for _, tt := range []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"", "", 100, ids},
		{"session/", "", 100, ids[1:12]},
		{"session/", "", 0, nil},
		{"session/", "", 3, ids[1:4]},
		{"session/", "session/9", 3, ids[4:7]},
		{"session/", "session/5", 2, ids[3:5]},
		{"session/", "session/z", 3, nil},
		{"session/", "session", 2, ids[1:3]},
		{"session/", "zzz", 100, nil},
		{"session/a", "", 100, ids[7:11]},
		{"session/a", "session/a", 100, ids[8:11]},
		{"session/a/", "", 100, ids[9:10]},
		{"nothing/", "", 100, nil},
		{"token/", "", 100, ids[13:]},
	} {
		if got := listed(t, s, tt.prefix, tt.after, tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("%d of %q after %q: %q, want %q", tt.limit, tt.prefix, tt.after, got, tt.want)
		}
	}
}

// testStatePages goes through many records page by page, and deletes them as it goes, as whoever sweeps does.
func testStatePages(t testing.TB, s auth.State) {
	const n, page = 1300, 100
	for i := range n {
		putState(t, s, fmt.Sprintf("p/%06d", (i*7919)%n), `{}`, "")
	}
	seen, after := 0, ""
	for {
		ids := listed(t, s, "p/", after, page)
		for _, id := range ids {
			if want := fmt.Sprintf("p/%06d", seen); id != want {
				t.Fatalf("%q comes, want %q", id, want)
			}
			if seen++; seen%3 != 0 {
				if err := s.Delete(context.Background(), id); err != nil {
					t.Fatal(err)
				}
			}
			after = id
		}
		if len(ids) < page {
			break
		}
	}
	if left := listed(t, s, "p/", "", n); seen != n || len(left) != n/3 {
		t.Errorf("%d seen and %d left, want %d and %d", seen, len(left), n, n/3)
	}
}

func testStateWatch(t testing.TB, s auth.State) {
	ctx := context.Background()
	var mu sync.Mutex
	var told, other []string
	stop := s.Watch(func(id string) {
		// What is told is in force: whoever drops what he remembers of it reads anew.
		_, err := s.Get(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(id, " ", err == nil))
	})
	defer stop()
	stopOther := s.Watch(func(id string) {
		mu.Lock()
		defer mu.Unlock()
		other = append(other, id)
	})
	want := func(what string, ids ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(told, ids) {
			t.Errorf("%s: told of %q, want %q", what, told, ids)
		}
		told = nil
	}
	version := putState(t, s, "session/a", `{}`, "")
	want("made", "session/a true")
	putState(t, s, "session/a", `{"n":2}`, version)
	want("changed", "session/a true")
	if _, err := s.Put(ctx, auth.Record{ID: "session/a", Body: []byte(`{}`), Version: version}); !errors.Is(err, auth.ErrRecordChanged) {
		t.Error(err)
	}
	want("not changed")
	stopOther()
	if err := s.Delete(ctx, "session/a"); err != nil {
		t.Error(err)
	}
	want("deleted", "session/a false")
	if err := s.Delete(ctx, "session/a"); !errors.Is(err, auth.ErrNoRecord) {
		t.Error(err)
	}
	want("nothing to delete")
	stop()
	putState(t, s, "session/b", `{}`, "")
	want("after stop")
	if mu.Lock(); !slices.Equal(other, []string{"session/a", "session/a"}) {
		t.Errorf("the one who stopped earlier was told of %q", other)
	}
	mu.Unlock()
}

// testStateContext: who has gone away changes nothing.
func testStateContext(t testing.TB, s auth.State) {
	version := putState(t, s, "session/a", `{}`, "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Put(ctx, auth.Record{ID: "session/b", Body: []byte(`{}`)}); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if err := s.Delete(ctx, "session/a"); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	wantState(t, s, "session/a", `{}`, version)
	wantNoState(t, s, "session/b")
}

// contest runs f for eight contestants at once and returns how many won. A loser fails with lost.
func contest(t testing.TB, lost error, f func(i int) error) int {
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			switch err := f(i); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, lost):
				t.Errorf("contestant %d: %v, want %v", i, err, lost)
			}
		})
	}
	wg.Wait()
	return int(won.Load())
}

func testStateMakeRace(t testing.TB, s auth.State) {
	for round := range 10 {
		id := fmt.Sprint("race/", round)
		if n := contest(t, auth.ErrRecordChanged, func(i int) error {
			_, err := s.Put(context.Background(), auth.Record{ID: id, Body: fmt.Appendf(nil, `{"by":%d}`, i)})
			return err
		}); n != 1 {
			t.Errorf("%d made the same record, want 1", n)
		}
	}
}

// testStateChangeRace: a number that many add one to, each until he was the one, ends as their sum.
func testStateChangeRace(t testing.TB, s auth.State) {
	ctx := context.Background()
	putState(t, s, "race/sum", `{"n":0}`, "")
	const each = 5
	n := contest(t, nil, func(int) error {
		for added := 0; added < each; {
			r, err := s.Get(ctx, "race/sum")
			if err != nil {
				return err
			}
			var sum int
			if _, err := fmt.Sscanf(string(r.Body), `{"n":%d}`, &sum); err != nil {
				return err
			}
			r.Body = fmt.Appendf(nil, `{"n":%d}`, sum+1)
			switch _, err := s.Put(ctx, r); {
			case err == nil:
				added++
			case !errors.Is(err, auth.ErrRecordChanged):
				return err
			}
		}
		return nil
	})
	r, err := s.Get(ctx, "race/sum")
	if want := fmt.Sprintf(`{"n":%d}`, 8*each); n != 8 || err != nil || string(r.Body) != want {
		t.Errorf("%d ended well, and the sum is %s, %v, want %s", n, r.Body, err, want)
	}
}

func testStateDeleteRace(t testing.TB, s auth.State) {
	for round := range 10 {
		id := fmt.Sprint("race/", round)
		putState(t, s, id, `{}`, "")
		if n := contest(t, auth.ErrNoRecord, func(int) error { return s.Delete(context.Background(), id) }); n != 1 {
			t.Errorf("%d deleted the same record, want 1", n)
		}
		wantNoState(t, s, id)
	}
}
