package rev

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "-", "1", "1-", "-abc", "x-abc", "1.5-abc", " 1-abc",
		"-1-abc", "+1-abc", // a sign is no digit
		"0x1-abc", "1_0-abc",
		"1125899906842625-abc",     // 1<<50 and one
		"99999999999999999999-abc", // more than 64 bits
		"1-" + strings.Repeat("a", MaxHash+1),
		"1-\xff",
	} {
		if id, err := Parse(s); !errors.Is(err, ErrFormat) || !id.IsZero() {
			t.Errorf("Parse(%q) = %v, %v", s, id, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want ID
	}{
		{"0-1", ID{0, "1"}},
		{"1-a-b", ID{1, "a-b"}},
		{"007-x", ID{7, "x"}},
		{"3-917FA2381192822767F010B95B45325B", ID{3, "917fa2381192822767f010b95b45325b"}},
		{"3-G17FA2381192822767F010B95B45325B", ID{3, "G17FA2381192822767F010B95B45325B"}},                 // not hex: as it came
		{"2-ABCDEF0123ABCDEF0123ABCDEF0123ABCDEF0123", ID{2, "ABCDEF0123ABCDEF0123ABCDEF0123ABCDEF0123"}}, // not 32 digits
	} {
		if got, err := Parse(c.in); err != nil || got != c.want {
			t.Errorf("Parse(%q) = %v, %v", c.in, got, err)
		}
	}
}

func TestQuotable(t *testing.T) {
	t.Parallel()
	for hash, want := range map[string]bool{
		"3f": true, "a-b": true, "~!#": true, "é": true,
		"a b": false, "\x00": false, "a\r\nX: y": false, "a\t": false, `"`: false, "a\x7f": false,
	} {
		if got := (ID{1, hash}).Quotable(); got != want {
			t.Errorf("%q: %v", hash, got)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	order := []ID{{}, {1, "a"}, {1, "b"}, {2, "0"}, {10, "0"}}
	for i, a := range order {
		for j, b := range order {
			if got := a.Compare(b); got != sign(i-j) {
				t.Errorf("Compare(%v, %v) = %d", a, b, got)
			}
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1-abc", "3-917FA2381192822767F010B95B45325B", "00-0", "1-", "-1-a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(id.String())
		if err != nil || again != id {
			t.Fatalf("%q: %v, then %v, %v", s, id, again, err)
		}
		if !utf8.ValidString(id.Hash) {
			t.Fatalf("%q: hash %q is not UTF-8", s, id.Hash)
		}
		back, rest, err := DecodeID(append(id.Append(nil), 'x'))
		if err != nil || back != id || string(rest) != "x" {
			t.Fatalf("%q: DecodeID gives %v, %q, %v", s, back, rest, err)
		}
	})
}
