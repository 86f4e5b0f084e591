package config

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// flat is the text's settings as "section/key" → value.
func flat(text string) map[string]string {
	v := make(values)
	parse(text).lay(v)
	m := make(map[string]string)
	for section, keys := range v {
		for key, value := range keys {
			m[section+"/"+key] = value
		}
	}
	return m
}

func TestDialect(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want map[string]string
	}{
		// nothing: no section, no key, no value, or a comment
		{"", nil},
		{"k = v", nil},
		{"[s", nil},
		{"[s]\nk", nil},
		{"[s]\n= v", nil},
		{"[s]\n = v", nil},
		{"[s]\nk =", nil},
		{"[s]\nk =  ", nil},
		{"[s]\nk = ; c", nil},
		{"[s]\nk = ;v", nil},
		{"[s]\n\t; k = v", nil},
		{"[s]\nk ;= v", nil},
		{"[]\nk = v", nil},
		// a header that is void leaves the section before in force
		{"[s]\n[]\nk = v", map[string]string{"s/k": "v"}},
		{"[s]\n[t] x\nk = v", map[string]string{"s/k": "v"}},
		{"[s] ; c\nk = v", map[string]string{"s/k": "v"}},
		{"[ s ]\nk = v", map[string]string{" s /k": "v"}},
		// where an entry is split
		{"[s]\nk=v", map[string]string{"s/k": "v"}},
		{"[s]\n  k\t=\tv  ", map[string]string{"s/k": "v"}},
		{"[s]\nk=v=w", map[string]string{"s/k": "v=w"}},
		{"[s]\nk=a = v", map[string]string{"s/k=a": "v"}},
		{"[s]\nk = = v", map[string]string{"s/k": "= v"}},
		{"[s]\nk= =v", map[string]string{"s/k": "=v"}},
		// comments
		{"[s]\nk = v ; c", map[string]string{"s/k": "v"}},
		{"[s]\nk = v\t;c", map[string]string{"s/k": "v"}},
		{"[s]\nk = v;c", map[string]string{"s/k": "v;c"}},
		{"[s]\nk =;v", map[string]string{"s/k": ";v"}},
		{"[s]\n#k = v", map[string]string{"s/#k": "v"}},
		// an empty value hides nothing; the last of two counts
		{"[s]\nk = v\nk =\n", map[string]string{"s/k": "v"}},
		{"[s]\nk = v\n[t]\nk = w\n[s]\nk = x\n", map[string]string{"s/k": "x", "t/k": "w"}},
		// line ends, and a byte order mark
		{"[s]\r\na = 1\rb = 2\x1ac = 3\n\r\nd = 4", map[string]string{"s/a": "1", "s/b": "2", "s/c": "3", "s/d": "4"}},
		{"\ufeff[s]\nk = v", map[string]string{"s/k": "v"}},
	}
	for _, test := range tests {
		if got := flat(test.text); !maps.Equal(got, test.want) {
			t.Errorf("%q: got %v, want %v", test.text, got, test.want)
		}
	}
}

func TestEditKeepsTheRest(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"no text", "", "[s]\nk = new\n"},
		{"no section", "; head\n[t]\nk = 1", "; head\n[t]\nk = 1\n\n[s]\nk = new\n"},
		{"blank line before a new section", "[t]\nk = 1\n\n", "[t]\nk = 1\n\n[s]\nk = new\n"},
		{"empty section", "[s]\n\n; about t\n[t]\nk = 1\n", "[s]\nk = new\n\n; about t\n[t]\nk = 1\n"},
		{"behind the last entry", "[s]\na = 1\n; c\n\n[t]\nk = 1\n", "[s]\na = 1\nk = new\n; c\n\n[t]\nk = 1\n"},
		{"behind the last block", "[s]\na = 1\n[t]\n[s]\nb = 2", "[s]\na = 1\n[t]\n[s]\nb = 2\nk = new\n"},
		{"in place", "[s]\n# x\n  k=old\nz = 1", "[s]\n# x\n  k = new\nz = 1"},
		{"comment of the line kept", "[s]\nk = old\t; why ; so\n", "[s]\nk = new\t; why ; so\n"},
		{"commented out is no entry", "[s]\n;k = old\n", "[s]\nk = new\n;k = old\n"},
		{"the line that counts", "[s]\nk = 1\nk = 2\n[t]\nk = 3\n", "[s]\nk = 1\nk = new\n[t]\nk = 3\n"},
		{"an empty one behind it", "[s]\nk = 1\nk =\n", "[s]\nk = 1\nk = new\n"},
		{"CRLF", "[s]\r\nk = old\r\n[t]\r\n", "[s]\r\nk = new\r\n[t]\r\n"},
		{"CRLF, new line", "[s]\r\na = 1\r\n", "[s]\r\na = 1\r\nk = new\r\n"},
		{"junk kept", "junk\n[s\n[s]\nstuff\nk = 1\n= 2\n\x00\n", "junk\n[s\n[s]\nstuff\nk = new\n= 2\n\x00\n"},
	}
	for _, test := range tests {
		if got := parse(test.text).set("s", "k", "new").String(); got != test.want {
			t.Errorf("%s: %q became %q, want %q", test.name, test.text, got, test.want)
		}
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	const text = "; c\n[s]\nk = 1\n;k = 0\nk =\na = 2\n[t]\nk = 3\n[s]\nk = 4"
	const want = "; c\n[s]\n;k = 0\na = 2\n[t]\nk = 3\n[s]\n"
	if got := parse(text).remove("s", "k").String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := parse(text).remove("s", "x").String(); got != text {
		t.Errorf("removing nothing gave %q", got)
	}
}

func TestRefusedNamesAndValues(t *testing.T) {
	t.Parallel()
	tests := []struct {
		section, key, value string
		persist             bool
		want                string // how the reason begins; "" for allowed
	}{
		{"s[", "k", "v", true, invalidSection},
		{"s]", "k", "v", true, invalidSection},
		{"s\n", "k", "v", true, invalidSection},
		{"s ;t", "k", "v", true, invalidSection},
		{"", "k", "v", false, invalidSection},
		{"\xff", "k", "v", false, invalidSection},
		{"s", "k[", "v", true, invalidKey},
		{"s", "k\r", "v", true, invalidKey},
		{"s", "a=b]", "v", true, invalidKey},
		{"s", "", "v", true, invalidKey},
		{"s", " k", "v", true, invalidKey},
		{"s", ";k", "v", true, invalidKey},
		{"s", "a = b", "v", false, invalidKey},
		{"s", "k", "a\nb", false, invalidValue},
		{"s", "k", "a\r", false, invalidValue},
		{"s", "k", "a\x1ab", false, invalidValue},
		{"s", "k", "a\x00", false, invalidValue},
		{"s", "k", "\xff", false, invalidValue},
		{"s", "k", "a ;b", true, invalidValue},
		{"s", "k", "a\t;b", true, invalidValue},
		{"s", "k", ";b", true, invalidValue},
		{"s", "k", "a ;b", false, ""},
		{"s", "k", "a;b", true, ""},
		{"s", "k", "[{x, \"y\"}] = z", true, ""},
		{"s", "k=l", "v", true, ""},
		{"s", "k", "", true, ""},
		{"s", "k", "tab\there", true, ""},
		{"é", "ü:x", "日本", true, ""},
	}
	for _, test := range tests {
		err := checkNames(test.section, test.key)
		if err == nil {
			err = checkValue(test.section, test.key, test.value, test.persist)
		}
		var refused *ValueError
		switch {
		case test.want == "" && err != nil:
			t.Errorf("[%q] %q = %q: %v", test.section, test.key, test.value, err)
		case test.want != "" && (!errors.As(err, &refused) || !strings.HasPrefix(refused.Reason, test.want)):
			t.Errorf("[%q] %q = %q: got %v, want %q", test.section, test.key, test.value, err, test.want)
		}
	}
}

// FuzzEdit asserts that parsing never panics and loses no byte, and that after an edit the key has the value, every other
// setting has its own, and every other line its bytes.
func FuzzEdit(f *testing.F) {
	f.Add("[s]\nk = v ; c\n", "s", "k", "w")
	f.Add("\ufeff[s]\r\nk=\r\n[t]\x1a;x\r", "t", "a=b", "= x;y")
	f.Add("[s] x\n[]\n[s]\nk", "s", "k", "")
	f.Fuzz(func(t *testing.T, text, section, key, value string) {
		d := parse(text)
		if got := d.String(); got != text {
			t.Fatalf("read and written again: %q", got)
		}
		value = strings.TrimSpace(value)
		if checkNames(section, key) != nil || checkValue(section, key, value, true) != nil {
			t.Skip("refused")
		}
		edited := d.set(section, key, value)
		want := flat(text)
		if value != "" {
			want[section+"/"+key] = value
		}
		if got := flat(edited.String()); value != "" && !maps.Equal(got, want) {
			t.Fatalf("%q became %q: %v, want %v", text, edited, got, want)
		}
		checkOtherLines(t, d, edited, section, key)

		removed := edited.remove(section, key)
		delete(want, section+"/"+key)
		if got := flat(removed.String()); !maps.Equal(got, want) {
			t.Fatalf("%q without the key became %q: %v, want %v", edited, removed, got, want)
		}
	})
}

// checkOtherLines asserts that after is before with one line changed, or with one, or a header with it, put in.
func checkOtherLines(t *testing.T, before, after document, section, key string) {
	t.Helper()
	i, changed := 0, 0
	for _, l := range after.lines {
		if i < len(before.lines) && before.lines[i].text == l.text {
			i++
			continue
		}
		if i < len(before.lines) && before.lines[i].key == key && before.lines[i].section == section && len(before.lines) == len(after.lines) {
			i++
		}
		changed++
	}
	limit := 1
	if len(after.lines) > len(before.lines)+1 {
		limit = 3 // a blank line and a header came with it
	}
	if i != len(before.lines) || changed > limit {
		t.Fatalf("%q became %q: %d lines changed, %d of %d kept", before, after, changed, i, len(before.lines))
	}
}
