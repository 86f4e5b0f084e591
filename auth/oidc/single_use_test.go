package oidc

import (
	"strconv"
	"testing"
	"time"
)

func TestSingleUse(t *testing.T) {
	t.Parallel()
	var s singleUse
	start := time.Unix(1_800_000_000, 0)
	use := func(key string, made, now int) bool {
		at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
		return s.use(key, at(made), at(now), time.Minute)
	}
	for _, c := range []struct {
		key       string
		made, now int
		want      bool
	}{
		{"a", 0, 1, true}, {"a", 0, 1, false}, {"b", 0, 2, true}, {"a", 0, 60, false}, {"b", 0, 62, false},
		{"c", 61, 62, true}, {"a", 0, 62, false}, {"c", 61, 124, false}, {"d", 124, 124, true},
		{"b", 0, 124, false}, // forgotten, and so refused for its age
		{"e", 0, 124, false}, {"d", 124, 125, false},
	} {
		if got := use(c.key, c.made, c.now); got != c.want {
			t.Errorf("%s, made at %d, at %d: %v", c.key, c.made, c.now, got)
		}
	}
}

// TestSingleUseIsBounded fills it within one second: it forgets, and what it forgot does not serve again.
func TestSingleUseIsBounded(t *testing.T) {
	t.Parallel()
	var s singleUse
	start := time.Unix(1_800_000_000, 0)
	const n = 2*maxGeneration + 10
	made := func(i int) time.Time { return start.Add(time.Duration(i) * time.Microsecond) }
	now := start.Add(time.Second)
	for i := range n {
		if !s.use(strconv.Itoa(i), made(i), now, time.Minute) {
			t.Fatalf("%d was refused at first sight", i)
		}
	}
	if held := len(s.young.used) + len(s.older.used); held > 2*maxGeneration {
		t.Errorf("%d are held", held)
	}
	for i := 0; i < n; i += 997 {
		if s.use(strconv.Itoa(i), made(i), now, time.Minute) {
			t.Errorf("%d served twice", i)
		}
	}
}
