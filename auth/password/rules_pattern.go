package password

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// dialect is one of the two languages that PCRE's is written in.
type dialect int

const (
	linear       dialect = iota // package regexp's
	backtracking                // regexp2's, in its RE2 mode
)

// translator writes a PCRE pattern in another dialect. It goes from left to right, changes what the engines read otherwise or not at
// all, refuses what cannot be said, and leaves the rest, with its errors, to the engine.
type translator struct {
	dialect   dialect
	src       string
	pos       int
	out       strings.Builder
	groups    int  // capturing groups that have begun
	multiline bool // the flag m is set somewhere, so $ is left alone
}

// translate does it for a pattern whose characters stand for bytes.
func translate(pattern string, d dialect) (string, error) {
	t := &translator{dialect: d, src: pattern}
	if strings.HasPrefix(pattern, "(*") {
		return "", errUnsupported("(*VERB)")
	}
	t.multiline = multilineFlag(pattern)
	for t.pos < len(t.src) {
		var err error
		switch c := t.src[t.pos]; c {
		case '\\':
			err = t.escape()
		case '[':
			err = t.class()
		case '(':
			err = t.group()
		case '$':
			t.pos++
			t.end()
		default:
			t.pos++
			t.out.WriteByte(c)
		}
		if err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

func errUnsupported(what string) error { return fmt.Errorf("%s is not supported", what) }

// multilineFlag reports whether a group of flags sets m. It may be wrong about escaped parentheses; then $ means the very end.
func multilineFlag(pattern string) bool {
	for i := range len(pattern) {
		if !strings.HasPrefix(pattern[i:], "(?") {
			continue
		}
		flags := pattern[i+2:]
		flags = flags[:len(flags)-len(strings.TrimLeft(flags, "imsU"))]
		if strings.Contains(flags, "m") {
			return true
		}
	}
	return false
}

// end writes PCRE's $, which also matches before a line feed at the end.
func (t *translator) end() {
	switch {
	case t.multiline:
		t.out.WriteByte('$')
	case t.dialect == linear:
		t.out.WriteString(`(?:\n?\z)`) // it takes the line feed, but nothing worth asking for follows $
	default:
		t.out.WriteString(`(?=\n?\z)`)
	}
}

// The kinds of blanks that PCRE knows, as bytes, for use inside of a class.
const (
	blanks     = `\t\n\x0b\f\r `
	horizontal = `\t \xa0`
	vertical   = `\n\x0b\f\r\x85`
)

// escape translates a backslash and what belongs to it, outside of classes.
func (t *translator) escape() error {
	rest := t.src[t.pos+1:]
	if rest == "" {
		return errors.New(`a \ at the end`)
	}
	c := rest[0]
	t.pos += 2
	switch c {
	case 's':
		t.out.WriteString("[" + blanks + "]")
	case 'S':
		t.out.WriteString("[^" + blanks + "]")
	case 'h':
		t.out.WriteString("[" + horizontal + "]")
	case 'H':
		t.out.WriteString("[^" + horizontal + "]")
	case 'v':
		t.out.WriteString("[" + vertical + "]")
	case 'V':
		t.out.WriteString("[^" + vertical + "]")
	case 'N':
		t.out.WriteString(`[^\n]`)
	case 'R':
		if t.dialect == linear {
			t.out.WriteString(`\R`) // unknown to it: \R does not give back the line feed of a pair, which only the other can say
		} else {
			t.out.WriteString(`(?>\r\n|[` + vertical + `])`)
		}
	case 'Z':
		if t.dialect == linear {
			t.out.WriteString(`(?:\n?\z)`)
		} else {
			t.out.WriteString(`(?=\n?\z)`)
		}
	case 'Q':
		t.quoted()
	case 'E':
	case 'g', 'k':
		return t.backreference(c)
	default:
		return t.plainEscape(c)
	}
	return nil
}

// plainEscape lets through the escapes that mean the same everywhere.
func (t *translator) plainEscape(c byte) error {
	switch {
	case c == 'x':
		return t.hex()
	case c == 'c':
		return t.control()
	case '0' <= c && c <= '9':
		return t.digits(c)
	}
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	if letter && !strings.ContainsRune("aefnrtdDwWbBAzGpP", rune(c)) {
		return errUnsupported(`\` + string(rune(c)))
	}
	if (c == 'p' || c == 'P') && strings.HasPrefix(t.src[t.pos:], "{^") {
		// \p{^L} is \P{L}; only one of the engines knows that.
		t.pos += 2
		c ^= 'p' ^ 'P'
		t.out.WriteString(`\` + string(rune(c)) + "{")
		return nil
	}
	t.out.WriteByte('\\')
	t.out.WriteByte(c)
	return nil
}

// control writes \c and the character after it as the one that they stand for.
func (t *translator) control() error {
	if t.pos == len(t.src) || t.src[t.pos] < ' ' || t.src[t.pos] > '~' {
		return errUnsupported(`\c without a printable character`)
	}
	c := t.src[t.pos]
	t.pos++
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	fmt.Fprintf(&t.out, `\x%02x`, c^0x40)
	return nil
}

// digits writes \0 and \ddd as characters and leaves \1 to \9, which are groups. What lies between is either to PCRE, by the
// number of groups, and refused.
func (t *translator) digits(first byte) error {
	octal := string(rune(first))
	for len(octal) < 3 && t.pos < len(t.src) && '0' <= t.src[t.pos] && t.src[t.pos] <= '7' {
		octal += t.src[t.pos : t.pos+1]
		t.pos++
	}
	if first != '0' && len(octal) < 3 {
		if len(octal) == 2 || t.pos < len(t.src) && (t.src[t.pos] == '8' || t.src[t.pos] == '9') {
			return errUnsupported(`\` + octal + `… (write \g{n} or \xhh)`)
		}
		t.out.WriteString(`\` + octal)
		return nil
	}
	n, err := strconv.ParseUint(octal, 8, 8)
	if err != nil {
		return errUnsupported(`\` + octal)
	}
	fmt.Fprintf(&t.out, `\x%02x`, n)
	return nil
}

// hex writes \xh, \xhh and \x{h…} with two digits.
func (t *translator) hex() error {
	const hexDigits = "0123456789abcdefABCDEF"
	rest := t.src[t.pos:]
	digits := ""
	if inner, _, ok := strings.Cut(strings.TrimPrefix(rest, "{"), "}"); strings.HasPrefix(rest, "{") && ok {
		digits = inner
		t.pos += len(inner) + 2
	} else {
		for len(digits) < 2 && len(digits) < len(rest) && strings.IndexByte(hexDigits, rest[len(digits)]) >= 0 {
			digits = rest[:len(digits)+1]
		}
		t.pos += len(digits)
		if digits == "" {
			digits = "0" // PCRE reads a bare \x as NUL
		}
	}
	n, err := strconv.ParseUint(digits, 16, 8)
	if err != nil {
		return errUnsupported(`\x{` + digits + `}`)
	}
	fmt.Fprintf(&t.out, `\x%02x`, n)
	return nil
}

// quoted writes what stands between \Q and \E, with each character escaped.
func (t *translator) quoted() {
	text, rest, _ := strings.Cut(t.src[t.pos:], `\E`)
	t.pos = len(t.src) - len(rest)
	for _, c := range text {
		fmt.Fprintf(&t.out, `\x%02x`, c)
	}
}

// backreference translates \g and \k. The engines know \k<name> and \1; digits that follow must not become part of the number.
func (t *translator) backreference(c byte) error {
	rest := t.src[t.pos:]
	what := `\` + string(rune(c))
	var name string
	if open := strings.IndexAny(rest[:min(1, len(rest))], "{<'"); open == 0 {
		end := map[byte]string{'{': "}", '<': ">", '\'': "'"}[rest[0]]
		if c == 'g' && end != "}" {
			return errUnsupported(what + rest[:1] + " (a subroutine)")
		}
		inner, _, ok := strings.Cut(rest[1:], end)
		if !ok {
			return fmt.Errorf("%s without its %s", what, end)
		}
		name = inner
		t.pos += len(inner) + 2
	} else if c == 'g' {
		n := len(rest) - len(strings.TrimLeft(strings.TrimPrefix(rest, "-"), "0123456789"))
		name = rest[:n]
		t.pos += n
	}
	if number, err := strconv.Atoi(name); err == nil && c == 'g' {
		if strings.HasPrefix(name, "-") {
			number += t.groups + 1
		}
		if number < 1 || name[0] == '+' {
			return fmt.Errorf("%s{%s}: no such group", what, name)
		}
		fmt.Fprintf(&t.out, `(?:\%d)`, number)
		return nil
	}
	if !groupName(name) {
		return fmt.Errorf("%s without the name or number of a group", what)
	}
	t.out.WriteString(`\k<` + name + `>`)
	return nil
}

// groupName reports whether PCRE takes s as the name of a group.
func groupName(s string) bool {
	return s != "" && len(s) <= 32 && !('0' <= s[0] && s[0] <= '9') &&
		strings.Trim(s, "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// group writes the beginning of a group; its end is a character like others.
func (t *translator) group() error {
	rest := t.src[t.pos+1:]
	if strings.HasPrefix(rest, "*") {
		return errUnsupported("(*VERB)")
	}
	if !strings.HasPrefix(rest, "?") {
		t.groups++
		t.out.WriteByte('(')
		t.pos++
		return nil
	}
	rest = rest[1:]
	for _, same := range []string{":", "=", "!", ">", "<=", "<!"} {
		if strings.HasPrefix(rest, same) {
			t.out.WriteString("(?" + same)
			t.pos += 2 + len(same)
			return nil
		}
	}
	for _, named := range [...][2]string{{"<", ">"}, {"P<", ">"}, {"'", "'"}, {"P=", ")"}} {
		open, end := named[0], named[1]
		name, _, ok := strings.Cut(strings.TrimPrefix(rest, open), end)
		if !strings.HasPrefix(rest, open) {
			continue
		}
		if !ok || !groupName(name) {
			return fmt.Errorf("(?%s without the name of a group", open)
		}
		t.pos += 2 + len(open) + len(name) + len(end)
		if open == "P=" {
			t.out.WriteString(`\k<` + name + `>`)
			return nil
		}
		t.groups++
		t.out.WriteString("(?<" + name + ">")
		return nil
	}
	return t.flags(rest)
}

// flags translates the groups that only the beginning of their text tells apart: comments, conditions and flags.
func (t *translator) flags(rest string) error {
	if strings.HasPrefix(rest, "#") {
		comment, _, ok := strings.Cut(rest, ")")
		if !ok {
			return errors.New("(?# without its )")
		}
		t.pos += 2 + len(comment) + 1
		return nil
	}
	if condition, ok := strings.CutPrefix(rest, "("); ok {
		number := condition[:len(condition)-len(strings.TrimLeft(condition, "0123456789"))]
		switch {
		case number != "" && strings.HasPrefix(condition[len(number):], ")"):
			t.out.WriteString("(?(" + number + ")")
			t.pos += 3 + len(number) + 1
			return nil
		case strings.HasPrefix(condition, "?=") || strings.HasPrefix(condition, "?!") || strings.HasPrefix(condition, "?<="), strings.HasPrefix(condition, "?<!"):
			t.out.WriteString("(?")
			t.pos += 2
			return nil
		}
		return errUnsupported("(?(condition) that is neither a number nor a look-around")
	}
	set := rest[:len(rest)-len(strings.TrimLeft(rest, "imsU-"))]
	after := strings.TrimPrefix(rest, set)
	if after == "" || after[0] != ')' && after[0] != ':' || strings.Count(set, "-") > 1 {
		return errUnsupported("(?" + firstCharacter(rest))
	}
	if strings.Contains(set, "U") && t.dialect == backtracking {
		return errUnsupported("the flag U beside look-around or backreferences")
	}
	t.pos += 2 + len(set) + 1
	t.out.WriteString("(?" + set + after[:1])
	return nil
}

func firstCharacter(s string) string {
	for _, c := range s {
		return string(c)
	}
	return ""
}

// class translates a character class. An opening bracket in it is a character, and so is a closing one that comes first.
func (t *translator) class() error {
	t.pos++
	t.out.WriteByte('[')
	if strings.HasPrefix(t.src[t.pos:], "^") {
		t.pos++
		t.out.WriteByte('^')
	}
	if strings.HasPrefix(t.src[t.pos:], "]") {
		t.pos++
		t.out.WriteString(`\]`)
	}
	for t.pos < len(t.src) {
		c := t.src[t.pos]
		switch {
		case c == ']':
			t.pos++
			t.out.WriteByte(c)
			return nil
		case c == '[':
			if err := t.posix(); err != nil {
				return err
			}
		case c == '\\':
			if err := t.classEscape(); err != nil {
				return err
			}
		default:
			t.pos++
			t.out.WriteByte(c)
		}
	}
	return errors.New("[ without its ]")
}

// posix writes [:name:] as it is, and any other opening bracket as a character.
func (t *translator) posix() error {
	rest := t.src[t.pos+1:]
	for _, kind := range []string{":", ".", "="} {
		name, _, ok := strings.Cut(strings.TrimPrefix(rest, kind), kind+"]")
		if !strings.HasPrefix(rest, kind) || !ok || strings.ContainsAny(name, `]\`) {
			continue
		}
		if kind != ":" {
			return errUnsupported("[" + kind)
		}
		t.pos += len(name) + 4
		t.out.WriteString("[:" + name + ":]")
		return nil
	}
	t.pos++
	t.out.WriteString(`\[`)
	return nil
}

// classEscape translates a backslash and what belongs to it, in a class.
func (t *translator) classEscape() error {
	rest := t.src[t.pos+1:]
	if rest == "" {
		return errors.New("[ without its ]")
	}
	c := rest[0]
	t.pos += 2
	switch c {
	case 's':
		t.out.WriteString(blanks)
	case 'h':
		t.out.WriteString(horizontal)
	case 'v':
		t.out.WriteString(vertical)
	case 'b':
		t.out.WriteString(`\x08`)
	case 'Q':
		t.quoted()
	case 'E':
	case 'S':
		t.out.WriteString(`\S`) // to the engines it takes in the vertical tab
	case 'H', 'V', 'N', 'R', 'X', 'B', 'A', 'z', 'Z', 'G', 'g', 'k':
		return errUnsupported(`\` + string(rune(c)) + " in a class")
	default:
		return t.plainEscape(c)
	}
	return nil
}
