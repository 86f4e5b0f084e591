package jwt

import (
	"slices"
	"strings"
	"testing"
)

// FuzzRolesPath: a path that can be read has no empty name, and its names, each dot written "\.", are read the same; any names but empty ones can be written.
func FuzzRolesPath(f *testing.F) {
	for _, s := range []string{"", ".", "a.b", `a\.b`, `a\\.b`, `\.`, `\`, `a\`, `.a`, `a..b`, `foo.bar\.zonk.baz\.buu.roles`, "a.\x00.é"} {
		f.Add(s)
	}
	write := func(path []string) string {
		names := make([]string, len(path))
		for i, name := range path {
			names[i] = strings.ReplaceAll(name, ".", `\.`)
		}
		return strings.Join(names, ".")
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := ParsePath(text)
		if err != nil {
			if path != nil {
				t.Fatalf("%q: %q beside %v", text, path, err)
			}
		} else {
			if slices.Contains(path, "") || (len(path) == 0) != (text == "") {
				t.Fatalf("%q is %q", text, path)
			}
			if write(path) != text {
				t.Fatalf("%q is %q, written %q", text, path, write(path))
			}
		}
		// The other way: the text as names. A name that ends with a backslash cannot be told from an escaped dot, but as the last.
		names := strings.FieldsFunc(text, func(r rune) bool { return r == '/' })
		for i := range names {
			if i < len(names)-1 && strings.HasSuffix(names[i], `\`) {
				return
			}
		}
		if again, err := ParsePath(write(names)); err != nil || !slices.Equal(again, names) {
			t.Fatalf("%q, written %q, is %q, %v", names, write(names), again, err)
		}
	})
}
