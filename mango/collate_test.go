package mango

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

// recordedOrder is the order in which a view of CouchDB 3.5.2 gave its keys.
var recordedOrder = []string{`null`, `false`, `true`, `-1`, `0`, `1`, `1.5`, `2`, `10`, `""`, `" "`, `"_"`, `"~"`, `"😀"`, `"€"`, `"1"`, `"10"`, `"2"`,
	`"a"`, `"A"`, `"ä"`, `"aa"`, `"b"`, `"B"`, `"e"`, `"é"`, `"z"`, `"Z"`, `[]`, `[null]`, `[1]`, `[1,2]`, `["a"]`, `["a",1]`, `["b"]`, `[[]]`, `[{}]`,
	`{}`, `{"a":null}`, `{"a":1}`, `{"a":2}`, `{"b":1}`, `{"b":2,"a":1}`, `{"b":2,"c":2}`}

func TestRecordedOrder(t *testing.T) {
	t.Parallel()
	for i, a := range recordedOrder {
		for j, b := range recordedOrder {
			want := 0
			if i != j {
				want = 1
				if i < j {
					want = -1
				}
			}
			if got := Compare([]byte(a), []byte(" "+b+"\n")); got != want {
				t.Errorf("Compare(%s, %s) is %d", a, b, got)
			}
		}
	}
}

func TestCompareNumbers(t *testing.T) {
	t.Parallel()
	ascending := []string{"-1e400", "-1e309", "-9007199254740993", "-9007199254740992", "-1.5", "-1", "-1e-400", "0", "1e-400", "2e-400", "0.1",
		"0.10000000000000000001", "1", "1.00000000000000000001", "9007199254740992", "9007199254740993", "9007199254740993.5",
		"123456789012345678901234567890", "123456789012345678901234567891", "1e309", "2e309", "1e400", "1e99999999999999999999"}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i != j {
				want = 1
				if i < j {
					want = -1
				}
			}
			if got := Compare([]byte(a), []byte(b)); got != want {
				t.Errorf("Compare(%s, %s) is %d", a, b, got)
			}
		}
	}
	for _, same := range [][]string{{"0", "-0", "0.0", "0e9", "-0.0"}, {"1", "1.0", "10e-1", "0.1E+1"}, {"-100", "-1e2", "-1e0000000000000000000000000000000000000000000000002"},
		{"123456789012345678901234567890", "12345678901234567890123456789.0e1"}} {
		for _, a := range same {
			for _, b := range same {
				if got := Compare([]byte(a), []byte(b)); got != 0 {
					t.Errorf("Compare(%s, %s) is %d", a, b, got)
				}
			}
		}
	}
}

// TestASCIIOrder compares the short way of collating with the long one.
func TestASCIIOrder(t *testing.T) {
	t.Parallel()
	c := collate.New(language.Und)
	var texts []string
	for b := byte(' '); b <= '~'; b++ {
		texts = append(texts, string(b), "a"+string(b), string(b)+"a", string(b)+"B", string(b)+string(b))
	}
	texts = append(texts, "", "aB", "Ab", "AB", "ab", "abc", "ABc", "a b", "a-b", "co-op", "coop", "CO-OP", "resume", "Resume1")
	for _, a := range texts {
		for _, b := range texts {
			got, ok := collateASCII([]byte(a), []byte(b))
			if want := c.CompareString(a, b); !ok || got != want {
				t.Fatalf("%q and %q: %d, %v, the collator says %d", a, b, got, ok, want)
			}
		}
	}
	if _, ok := collateASCII([]byte("a\x00"), []byte("a")); ok {
		t.Error("a control character needs the collator")
	}
}

func TestCompareStrings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{`"\u00e9"`, `"e\u0301"`, 0},
		{`"\u0061"`, `"a"`, 0},
		{`"a\"b"`, `"a\"c"`, -1},
		{`"aé"`, `"af"`, -1},
		{`"É"`, `"é"`, 1},
	} {
		if got := Compare([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("Compare(%s, %s) is %d", c.a, c.b, got)
		}
	}
}

// TestCompareDepth shows that no depth overflows the stack.
func TestCompareDepth(t *testing.T) {
	t.Parallel()
	deep := slices.Repeat([]byte("["), 1<<20)
	if got := Compare(append(deep, slices.Repeat([]byte("]"), 1<<20)...), append(deep, '1')); got != 0 && got != 1 && got != -1 {
		t.Error(got)
	}
	if got := Compare([]byte(deepArray("1")), []byte(deepArray("2"))); got != -1 {
		t.Errorf("got %d", got)
	}
}

func deepArray(innermost string) string {
	const depth = 5000
	return fmt.Sprintf("%s%s%s", slices.Repeat([]byte("["), depth), innermost, slices.Repeat([]byte("]"), depth))
}
