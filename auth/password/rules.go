package password

import (
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

const (
	maxRulesText = 64 << 10
	maxRules     = 64
	maxChecked   = 4096 // bytes of a password; what is longer conforms to no rules

	// patternTime is how long one pattern may look at a password. The engine looks at its clock ten times a second, so it may take 200 ms more.
	patternTime = 100 * time.Millisecond
)

// ErrRules is wrapped by every error of ParseRules.
var ErrRules = errors.New("password_regexp")

// RuleError is a password that does not conform. Its text is CouchDB's, for the client, and goes with a 400.
type RuleError struct {
	Reason string // the rule's own, may be ""
	Err    error  // why the rule could not be checked to its end, for the log; nil when the password simply does not match
}

func (e *RuleError) Error() string {
	const text = "Password does not conform to requirements."
	if e.Reason == "" {
		return text
	}
	return text + " " + e.Reason
}

// Unwrap returns Err.
func (e *RuleError) Unwrap() error { return e.Err }

// Rules are what a new password must look like: CouchDB's password_regexp. They are immutable and safe for concurrent use; nil and the
// zero Rules take every password.
type Rules struct {
	rules []rule
}

// rule is one pattern in one of two engines. The linear one is taken wherever it knows the syntax.
type rule struct {
	linear       *regexp.Regexp
	backtracking *regexp2.Regexp
	reason       string
}

// ParseRules reads the value of password_regexp (spec §7.8): an Erlang list whose items are "pattern", {"pattern"} or {"pattern", "reason"}. An
// empty text and an empty list are no rules.
//
// Strings have Erlang's escapes, so a backslash of a pattern is written twice: "\\d" is a digit, "\d" the character DEL. Patterns are PCRE's,
// but for recursion, subroutines, verbs, \K, \X, \C, branch reset and the flags x and J, which are refused. Patterns and
// passwords are bytes. Bytes above 127 are no letters and no digits to \w, \d and [[:alpha:]], but (?i) folds those of Latin-1.
//
// It fails, wrapping ErrRules, on anything that CouchDB would stumble over when a password is set, and on patterns that it cannot
// take to mean what they mean in CouchDB.
func ParseRules(text string) (*Rules, error) {
	if len(text) > maxRulesText {
		return nil, fmt.Errorf("%w is longer than %d bytes", ErrRules, maxRulesText)
	}
	items, err := parseRuleList(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	if len(items) > maxRules {
		return nil, fmt.Errorf("%w has more than %d items", ErrRules, maxRules)
	}
	r := new(Rules)
	for i, item := range items {
		compiled, err := compileRule(item)
		if err != nil {
			return nil, fmt.Errorf("%w: pattern %d: %w", ErrRules, i+1, err)
		}
		r.rules = append(r.rules, compiled)
	}
	return r, nil
}

// compileRule prefers the engine that takes linear time.
func compileRule(item ruleItem) (rule, error) {
	r := rule{reason: item.reason}
	pattern := latin1(item.pattern)
	if text, err := translate(pattern, linear); err != nil {
		return rule{}, err
	} else if r.linear, err = regexp.Compile(text); err == nil {
		return r, nil
	}
	text, err := translate(pattern, backtracking)
	if err != nil {
		return rule{}, err
	}
	// The options are those under which \d and \w mean ASCII, and groups are numbered as in PCRE.
	r.backtracking, err = regexp2.Compile(text, regexp2.RE2, regexp2.OptionMaintainCaptureOrder())
	if err != nil {
		return rule{}, err
	}
	r.backtracking.MatchTimeout = patternTime
	return r, nil
}

// Check returns a *RuleError of the first rule, in their order, that password does not conform to. A pattern that takes too long, or too much memory,
// is not conformed to. A password that is longer than 4096 bytes conforms to no rules but none.
//
// Patterns beyond the linear engine start a goroutine that keeps their time; it ends by itself within seconds, and regexp2.StopTimeoutClock
// waits for it.
func (r *Rules) Check(password string) error {
	if r == nil || len(r.rules) == 0 {
		return nil
	}
	if len(password) > maxChecked {
		return &RuleError{Err: fmt.Errorf("password is longer than %d bytes", maxChecked)}
	}
	text := latin1(password)
	var runes []rune
	for i := range r.rules {
		rule := &r.rules[i]
		if rule.linear != nil {
			if !rule.linear.MatchString(text) {
				return &RuleError{Reason: rule.reason}
			}
			continue
		}
		if runes == nil {
			runes = []rune(text)
		}
		if ok, err := rule.backtracking.MatchRunes(runes); err != nil {
			// The engine's error quotes the password.
			return &RuleError{Reason: rule.reason, Err: fmt.Errorf("pattern %d took too long", i+1)}
		} else if !ok {
			return &RuleError{Reason: rule.reason}
		}
	}
	return nil
}

// latin1 makes each byte a character of its own, as it is to PCRE.
func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		b = utf8.AppendRune(b, rune(s[i]))
	}
	return string(b)
}
