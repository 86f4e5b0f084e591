package password_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dlclark/regexp2/v2"
	"go.uber.org/goleak"

	"github.com/parlordb/parlor/auth/password"
)

// TestMain waits for the clock that times patterns, then sees that nothing else was left running.
func TestMain(m *testing.M) {
	code := m.Run()
	regexp2.StopTimeoutClock()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestParseRulesRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"no list":                   `not-a-list`,
		"a bare string":             `"abc"`,
		"open list":                 `["abc"`,
		"open string":               `["abc`,
		"backslash at the end":      `["abc\`,
		"comma at the end":          `["abc",]`,
		"only a comma":              `[,]`,
		"text after the list":       `["abc"] x`,
		"full stop":                 `["abc"].`,
		"reason is no string":       `[{"x", 5}]`,
		"pattern is no string":      `[5]`,
		"empty tuple":               `[{}]`,
		"three strings":             `[{"a", "b", "c"}]`,
		"open tuple":                `[{"a"]`,
		"atom":                      `[abc]`,
		"binary":                    `[<<"abc">>]`,
		"list in the list":          `[["abc"]]`,
		"character above a byte":    `["\x{100}"]`,
		"octal above a byte":        `["\777"]`,
		"no hexadecimal digits":     `["\xzz"]`,
		"hexadecimal without end":   `["\x{41"]`,
		"no digits in braces":       `["\x{}"]`,
		"control without letter":    `["\^"]`,
		"unclosed group":            `["(abc"]`,
		"unclosed class":            `["[abc"]`,
		"unclosed class, lookahead": `["(?=a)[abc"]`,
		"range out of order":        `["[z-a]"]`,
		"nothing to repeat":         `["*a"]`,
		"pattern ends with \\":      `["abc\\"]`,
		"recursion":                 `["(?R)"]`,
		"subroutine":                `["(a)(?1)"]`,
		"named subroutine":          `["(?<x>a)(?&x)"]`,
		"Python's subroutine":       `["(?P<x>a)(?P>x)"]`,
		"Oniguruma's subroutine":    `["(?<x>a)\\g<x>"]`,
		"branch reset":              `["(?|(a)|(b))"]`,
		"keep":                      `["a\\Kb"]`,
		"grapheme":                  `["\\X"]`,
		"one byte":                  `["\\C"]`,
		"verb":                      `["(*UTF8)é"]`,
		"verb inside":               `["a(*SKIP)b"]`,
		"extended syntax":           `["(?x) a # b"]`,
		"duplicate names":           `["(?J)(?<a>x)|(?<a>y)"]`,
		"another engine's flag":     `["(?n)(a)"]`,
		"another engine's escape":   `["\\u0041"]`,
		"balancing group":           `["(?<a-b>x)"]`,
		"named condition":           `["(?<a>x)?(?(<a>)b|c)"]`,
		"no such group":             `["(?=a)\\g{-1}"]`,
		"group zero":                `["(?=a)\\g{0}"]`,
		"no such name":              `["(?=a)\\k<x>"]`,
		"octal or group":            `["(a)\\12"]`,
		"hexadecimal above a byte":  `["\\x{100}"]`,
		"line end in a class":       `["[\\R]"]`,
		"collating element":         `["[[.a.]]"]`,
		"unknown class":             `["[[:foo:]]"]`,
		"ungreedy and lookahead":    `["(?U)(?=a)"]`,
		"too many":                  "[" + strings.Repeat(`"a",`, 64) + `"a"]`,
		"too long":                  `["` + strings.Repeat("a", 1<<16) + `"]`,
	}
	for name, text := range tests {
		if r, err := password.ParseRules(text); !errors.Is(err, password.ErrRules) || r != nil {
			t.Errorf("%s: %v, want ErrRules", name, err)
		}
	}
}

func TestNoRules(t *testing.T) {
	t.Parallel()
	var none *password.Rules
	if err := none.Check(strings.Repeat("x", 10_000)); err != nil {
		t.Errorf("nil: %v", err)
	}
	for _, text := range []string{"", " \t\n", "[]", " [ ] ", "% none\n[] % at all"} {
		r, err := password.ParseRules(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if err := r.Check(""); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestRecordedRules holds the steps that were recorded from CouchDB.
func TestRecordedRules(t *testing.T) {
	t.Parallel()
	r, err := password.ParseRules(`[{".{10,}", "Min length is 10 chars."}, "[A-Z]+", {"\\d+"}]`)
	if err != nil {
		t.Fatal(err)
	}
	for pass, want := range map[string]string{
		"abc":            "Password does not conform to requirements. Min length is 10 chars.",
		"":               "Password does not conform to requirements. Min length is 10 chars.",
		"abcdefghijklm":  "Password does not conform to requirements.",
		"Abcdefghijklm":  "Password does not conform to requirements.",
		"Abcdefghijklm1": "",
	} {
		got := ""
		if err := r.Check(pass); err != nil {
			got = err.Error()
			if ruleErr, ok := errors.AsType[*password.RuleError](err); !ok || ruleErr.Err != nil {
				t.Errorf("%q: %#v", pass, err)
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", pass, got, want)
		}
	}
}

// patterns are PCRE's, with their meaning on bytes.
var patterns = []struct {
	pattern string // as PCRE reads it
	match   []string
	not     []string
}{
	{`(?=.*\d)(?=.*[a-z])^.{4,}$`, []string{"abc1"}, []string{"abcd", "1234", "ab1"}},
	{`(?<!x)a`, []string{"ba", "a"}, []string{"xa"}},
	{`(?<=x)a`, []string{"xa"}, []string{"ba"}},
	{`^(?!.*(.)\1).+$`, []string{"abab"}, []string{"abba", "aa"}},
	{`(.)(.)\g{-1}`, []string{"abb"}, []string{"aba"}},
	{`(.)(.)\g{1}0`, []string{"aba0"}, []string{"abb0"}},
	{`(.)\g1`, []string{"aa"}, []string{"ab"}},
	{`(?<c>.)\k<c>`, []string{"xaa"}, []string{"xay"}},
	{`(?P<c>.)(?P=c)`, []string{"aa"}, []string{"ab"}},
	{`(?'c'.)\k'c'`, []string{"aa"}, []string{"ab"}},
	{`(?<c>.)\k{c}|(?<d>.)\g{d}!`, []string{"aa"}, []string{"ab!"}},
	{`(?<n>a)(b)\2\1`, []string{"abba"}, []string{"abab"}}, // numbers count named groups too
	{`^a++b$`, []string{"aab"}, []string{"aa"}},
	{`^a++ab$`, nil, []string{"aab"}},
	{`^(?>a+)ab$`, nil, []string{"aab"}},
	{`^(a)?(?(1)b|c)$`, []string{"ab", "c"}, []string{"ac", "b"}},
	{`^(?(?=a)ab|c)$`, []string{"ab", "c"}, []string{"a"}},
	{`^\h+$`, []string{" \t", "\xa0"}, []string{"\n", "a", "\xc2"}},
	{`^(?=.)\h+$`, []string{" \t", "\xa0"}, []string{"\v", "a"}},
	{`^\H$`, []string{"a", "\n"}, []string{" "}},
	{`^[\h]$`, []string{" "}, []string{"h"}},
	{`^\v$`, []string{"\v", "\r", "\x85"}, []string{" ", "v"}},
	{`^\V$`, []string{"a"}, []string{"\n"}},
	{`^\s$`, []string{" ", "\v", "\t"}, []string{"a", "\xa0"}},
	{`^[\s\S]$`, []string{" ", "a", "\v", "\n"}, []string{""}},
	{`^\N$`, []string{"a", "\r"}, []string{"\n"}},
	{`^a\Rb`, []string{"a\r\nb", "a\nb", "a\rb", "a\x85b"}, []string{"a\n\rb", "aRb"}},
	{`^\R\nb`, nil, []string{"\r\nb"}},
	{`^a$`, []string{"a", "a\n"}, []string{"a\n\n", "ab"}},
	{`^(?=a)a$`, []string{"a", "a\n"}, []string{"a\n\n", "ab"}},
	{`^a\Z`, []string{"a", "a\n"}, []string{"a\n\n"}},
	{`^a\z`, []string{"a"}, []string{"a\n"}},
	{`(?m)^b$`, []string{"a\nb\nc"}, []string{"abc"}},
	{`^.{2}$`, []string{"é", "ab"}, []string{"a", "éa"}}, // bytes
	{`é`, []string{"né"}, []string{"e", "\xe9"}},
	{`[é]`, []string{"\xc3", "\xa9"}, []string{"e"}},
	{`^\xc3\xa9$`, []string{"é"}, []string{"\xe9"}},
	{`\x{e9}`, []string{"\xe9"}, []string{"é"}},
	{`^\xf$`, []string{"\x0f"}, []string{"f"}},
	{`^\w$`, []string{"a", "_", "5"}, []string{"\xe9", "-"}},
	{`^\d$`, []string{"5"}, []string{"x"}},
	{`^[[:upper:]][[:^upper:]]$`, []string{"Aa"}, []string{"aA"}},
	{`^[]a]$`, []string{"]", "a"}, []string{"b"}},
	{`^[^]a]$`, []string{"b"}, []string{"]", "a"}},
	{`^[a[]$`, []string{"["}, []string{"]"}},
	{`^(?=.)[a-z-[aeiou]]$`, []string{"a]", "[]"}, []string{"b"}}, // no subtraction of classes
	{`^[\b]$`, []string{"\b"}, []string{"b"}},
	{`^\Qa.b\E.$`, []string{"a.bc"}, []string{"axbc", "a.b"}},
	{`^[\Q^]\E]+$`, []string{"^]"}, []string{"a"}},
	{`^\cA\c[$`, []string{"\x01\x1b"}, []string{"A["}},
	{`^\101\0$`, []string{"A\x00"}, []string{"A0"}},
	{`^\p{Lu}\p{^Lu}\PL$`, []string{"Aa1"}, []string{"aA1", "Aaa"}},
	{`(?i)^k$`, []string{"k", "K"}, []string{"\u212a"}},
	{`(?i:a)b`, []string{"Ab"}, []string{"AB"}},
	{`a(?#comment \h)b`, []string{"ab"}, []string{"a b"}},
	{`^a{1,1500}$`, []string{strings.Repeat("a", 1500)}, []string{strings.Repeat("a", 1501)}},
	{`^a{,2}$`, []string{"a{,2}"}, []string{"aa"}},
	{`(?U)^a+$`, []string{"aa"}, []string{"b"}},
	{``, []string{"", "a"}, nil},
}

// TestPatterns asks what patterns mean.
func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, tt := range patterns {
		r, err := password.ParseRules(`["` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(tt.pattern) + `"]`)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		for _, s := range tt.match {
			if err := r.Check(s); err != nil {
				t.Errorf("%s does not match %q", tt.pattern, s)
			}
		}
		for _, s := range tt.not {
			if r.Check(s) == nil {
				t.Errorf("%s matches %q", tt.pattern, s)
			}
		}
	}
}

func TestErlangStrings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"^a" "b$"`:               "ab",
		"\"^a\" % and\n \"b$\"":   "ab",
		`"^\x41\x{42}\103$"`:      "ABC",
		`"^\d\s\e$"`:              "\x7f \x1b",
		`"^\^A\^[$"`:              "\x01\x1b",
		`"^\"\'\q$"`:              `"'q`,
		`{ "^\t\r\v\f\b$" , "" }`: "\t\r\v\f\b",
		`"^\\.\\x2e$"`:            "..",
	} {
		r, err := password.ParseRules("[" + text + "]")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err := r.Check(want); err != nil {
			t.Errorf("%s does not match %q", text, want)
		}
		if r.Check(want+"x") == nil {
			t.Errorf("%s matches %q with more behind it", text, want)
		}
	}
}

func TestSlowPatternRefuses(t *testing.T) {
	t.Parallel()
	r, err := password.ParseRules(`[{"(?=a)^(a+)+$", "too simple"}]`)
	if err != nil {
		t.Fatal(err)
	}
	pass := strings.Repeat("a", 40) + "!"
	err = r.Check(pass)
	ruleErr, ok := errors.AsType[*password.RuleError](err)
	if !ok || ruleErr.Err == nil || err.Error() != "Password does not conform to requirements. too simple" {
		t.Fatalf("%#v", err)
	}
	if strings.Contains(ruleErr.Err.Error(), pass) {
		t.Errorf("the error shows the password: %v", ruleErr.Err)
	}
	if err := r.Check(strings.Repeat("a", 5000)); err == nil {
		t.Error("a password of 5000 bytes is taken")
	}
}

// FuzzParseRules: whatever parses can be asked, answers twice alike, and parses again inside of a tuple with the same meaning.
func FuzzParseRules(f *testing.F) {
	for _, s := range []string{"", "[]", `["a"]`, `[{".{10,}", "Min"}, "[A-Z]+", {"\\d+"}]`, `["\x{41}\101\^A" "b" % c
]`, `["(?=a)\\h[\\h]\\R\\g{1}"]`, `["[[:alpha:]\\]"]`, `["(?<a>x)\\k<a>\\Qz\\E$"]`} {
		f.Add(s, "Abc1 \n")
	}
	f.Fuzz(func(t *testing.T, text, pass string) {
		if len(text) > 256 || len(pass) > 64 {
			return // long ones take time, not other ways
		}
		r, err := password.ParseRules(text)
		if err != nil {
			if !errors.Is(err, password.ErrRules) || r != nil {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		first := r.Check(pass)
		padded, err := password.ParseRules(" % comment\n" + text + " % comment")
		if err != nil {
			t.Fatalf("with blanks: %v", err)
		}
		if slow, ok := errors.AsType[*password.RuleError](first); ok && slow.Err != nil {
			return
		}
		if second := padded.Check(pass); (first == nil) != (second == nil) {
			t.Fatalf("%v, then %v", first, second)
		}
	})
}

func BenchmarkRulesCheck(b *testing.B) {
	r, err := password.ParseRules(`[".{10,}", "[A-Z]", "\\d", "(?=.*[a-z])(?=.*[!-/])"]`)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := r.Check("Correct-horse-7"); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleParseRules() {
	rules, err := password.ParseRules(`[{".{10,}", "Min length is 10 chars."}, {"(?=.*[a-z])(?=.*\\d)", "Mix letters and digits."}]`)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range []string{"apple", "applesandpears", "7applesandpears"} {
		fmt.Println(rules.Check(p))
	}
	_, err = password.ParseRules(`["(?R)"]`)
	fmt.Println(err)
	// Output:
	// Password does not conform to requirements. Min length is 10 chars.
	// Password does not conform to requirements. Mix letters and digits.
	// <nil>
	// password_regexp: pattern 1: (?R is not supported
}
