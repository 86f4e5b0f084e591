package mango

import (
	"regexp"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// regexBudget is how long backtracking patterns may take over one document, all their matches together.
const regexBudget = 250 * time.Millisecond

// maxPattern bounds the length of a pattern.
const maxPattern = 64 << 10

// regex is a compiled pattern of $regex. CouchDB's are PCRE: most of them mean the same to Go's regexp, which takes linear time; the
// others (look-around, back-references, possessive and atomic groups, …) need a backtracking matcher, which is watched by the clock.
type regex struct {
	linear       *regexp.Regexp
	backtracking *regexp2.Regexp
}

// compileRegex compiles a pattern. ok is false if neither matcher understands it.
func compileRegex(pattern string) (re *regex, ok bool) {
	if len(pattern) > maxPattern {
		return nil, false
	}
	if linear, err := regexp.Compile(pattern); err == nil {
		return &regex{linear: linear}, true
	}
	pattern, ok = translatePCRE(pattern)
	if !ok {
		return nil, false
	}
	backtracking, err := regexp2.Compile(pattern, regexp2.RE2)
	if err != nil {
		return nil, false
	}
	backtracking.MatchTimeout = regexBudget
	return &regex{backtracking: backtracking}, true
}

// match reports whether the pattern is found in the text. spent is the time used so far by backtracking, and grows; late tells
// that there was not enough of it to know.
func (re *regex) match(text []byte, spent *time.Duration) (matched, late bool) {
	if re.linear != nil {
		return re.linear.Match(text), false
	}
	start := time.Now()
	matched, err := re.backtracking.MatchString(string(text))
	*spent += time.Since(start)
	return matched, err != nil || *spent > regexBudget
}

// translatePCRE rewrites the escapes of PCRE that the backtracking matcher takes for plain letters, and refuses (ok is false) what it
// takes for something else: a pattern must not compile and then never match.
func translatePCRE(pattern string) (translated string, ok bool) {
	var out strings.Builder
	inClass := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			i++
			piece, ok := translateEscape(pattern[i], inClass)
			if !ok {
				return "", false
			}
			out.WriteString(piece)
			continue
		case c == '[' && !inClass:
			inClass = true
			head := classHead(pattern[i:])
			out.WriteString(head)
			i += len(head) - 1
			continue
		case c == ']' && inClass:
			inClass = false
		case !inClass && refused(pattern[i:]):
			return "", false
		}
		out.WriteByte(c)
	}
	return out.String(), true
}

// classHead returns the beginning of a character class with a bracket that comes first in it, and is one of its characters.
func classHead(s string) string {
	for _, head := range []string{"[^]", "[]", "[^"} {
		if strings.HasPrefix(s, head) {
			return head
		}
	}
	return "["
}

// refused reports whether a pattern begins with recursion, a subroutine, a branch reset or a verb, which the matcher does not have.
func refused(s string) bool {
	for _, p := range []string{"(?R", "(?0", "(?1", "(?2", "(?3", "(?4", "(?5", "(?6", "(?7", "(?8", "(?9", "(?+", "(?&", "(?P>", "(?|", "(*"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func translateEscape(c byte, inClass bool) (piece string, ok bool) {
	switch c {
	case 'h':
		if inClass {
			return `\x20\t\xA0`, true
		}
		return `[\x20\t\xA0]`, true
	case 'H', 'R', 'N':
		if inClass {
			return "", false
		}
		return map[byte]string{'H': `[^\x20\t\xA0]`, 'R': `(?:\r\n|[\n\v\f\r])`, 'N': `[^\n]`}[c], true
	case 'K', 'X', 'g', 'C', 'Q', 'E':
		return "", false
	}
	return string([]byte{92, c}), true
}
