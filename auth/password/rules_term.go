package password

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ruleItem is one item of password_regexp, in bytes.
type ruleItem struct {
	pattern, reason string
}

// ruleParser reads as much of Erlang's terms as password_regexp may hold.
type ruleParser struct {
	text string
	pos  int
}

// parseRuleList reads the whole text.
func parseRuleList(text string) ([]ruleItem, error) {
	p := &ruleParser{text: text}
	if p.blank(); p.pos == len(text) {
		return nil, nil
	}
	if !p.take('[') {
		return nil, errors.New("not a list: it begins with [ and ends with ]")
	}
	var items []ruleItem
	if !p.take(']') {
		for {
			item, err := p.item()
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", len(items)+1, err)
			}
			items = append(items, item)
			if p.take(',') {
				continue
			}
			if p.take(']') {
				break
			}
			return nil, fmt.Errorf("after item %d: neither , nor ]", len(items))
		}
	}
	if p.pos != len(p.text) {
		return nil, errors.New("text after the list")
	}
	return items, nil
}

// item reads "pattern", {"pattern"} or {"pattern", "reason"}.
func (p *ruleParser) item() (item ruleItem, err error) {
	if !p.take('{') {
		item.pattern, err = p.str()
		return item, err
	}
	if item.pattern, err = p.str(); err != nil {
		return item, err
	}
	if p.take(',') {
		if item.reason, err = p.str(); err != nil {
			return item, err
		}
	}
	if !p.take('}') {
		return item, errors.New("a tuple of strings, one or two, ends with }")
	}
	return item, nil
}

// blank skips blanks and comments.
func (p *ruleParser) blank() {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c <= ' ' || c >= 0x80 && c <= 0xa0:
			p.pos++
		case c == '%':
			if n := strings.IndexByte(p.text[p.pos:], '\n'); n >= 0 {
				p.pos += n
			} else {
				p.pos = len(p.text)
			}
		default:
			return
		}
	}
}

// take skips c, with the blanks on both sides, when it comes next.
func (p *ruleParser) take(c byte) bool {
	p.blank()
	if p.pos == len(p.text) || p.text[p.pos] != c {
		return false
	}
	p.pos++
	p.blank()
	return true
}

// str reads a string; strings side by side are one.
func (p *ruleParser) str() (string, error) {
	var b []byte
	for n := 0; ; n++ {
		p.blank()
		if p.pos == len(p.text) || p.text[p.pos] != '"' {
			if n == 0 {
				return "", errors.New(`neither a string in " nor a tuple of strings`)
			}
			return string(b), nil
		}
		p.pos++
		for {
			if p.pos == len(p.text) {
				return "", errors.New(`a string without its closing "`)
			}
			c := p.text[p.pos]
			p.pos++
			if c == '"' {
				break
			}
			if c == '\\' {
				var err error
				if c, err = p.escape(); err != nil {
					return "", err
				}
			}
			b = append(b, c)
		}
	}
}

// escape reads what follows a backslash.
func (p *ruleParser) escape() (byte, error) {
	if p.pos == len(p.text) {
		return 0, errors.New(`a string without its closing "`)
	}
	c := p.text[p.pos]
	p.pos++
	switch {
	case c == '^':
		if p.pos == len(p.text) || p.text[p.pos] < '@' || p.text[p.pos] > 'z' {
			return 0, errors.New(`\^ without a letter`)
		}
		p.pos++
		return p.text[p.pos-1] & 0x1f, nil
	case c == 'x':
		return p.hex()
	case '0' <= c && c <= '7':
		n := int(c - '0')
		for digits := 1; digits < 3 && p.pos < len(p.text) && '0' <= p.text[p.pos] && p.text[p.pos] <= '7'; digits++ {
			n = n*8 + int(p.text[p.pos]-'0')
			p.pos++
		}
		if n > 0xff {
			return 0, errors.New("an octal escape above 377: patterns are bytes")
		}
		return byte(n), nil
	}
	const letters, values = "bdefnrstv", "\b\x7f\x1b\f\n\r \t\v"
	if i := strings.IndexByte(letters, c); i >= 0 {
		return values[i], nil
	}
	return c, nil
}

// hex reads what follows \x: two digits, or any number of them in braces.
func (p *ruleParser) hex() (byte, error) {
	digits, rest := "", p.text[p.pos:]
	if strings.HasPrefix(rest, "{") {
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			return 0, errors.New(`\x{ without }`)
		}
		digits = rest[1:end]
		p.pos += end + 1
	} else {
		if len(rest) < 2 {
			return 0, errors.New(`\x without two digits`)
		}
		digits = rest[:2]
		p.pos += 2
	}
	n, err := strconv.ParseUint(digits, 16, 8)
	if err != nil {
		return 0, errors.New(`\x without the hexadecimal digits of a byte`)
	}
	return byte(n), nil
}
