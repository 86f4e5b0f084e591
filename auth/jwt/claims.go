package jwt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Claim is what a token must hold: a member of its claims or, for "typ" and "kid", of its header.
type Claim struct {
	Name   string
	Values []string // one of which it must be, or hold if it is an audience (aud) list; nil: it must be there
}

// Claims are the claims that every token must hold. Their order does not matter. nil is not the same as none: see Options.Required.
type Claims []Claim

// DefaultClaims is CouchDB's default: a token must say when it expires.
func DefaultClaims() Claims { return Claims{{Name: "exp"}} }

// ParseClaims reads the setting required_claims. Its grammar takes all that CouchDB understands, and more:
//
//	list  = [ "[" ] *( item / "," ) [ "]" ]
//	item  = name / DQUOTE *( name / "," ) DQUOTE / "{" name "," value "}"
//	value = text / "[" text *( "," text ) "]"
//	text  = DQUOTE 1*( any byte but DQUOTE ) DQUOTE
//	name  = ( ALPHA / "_" ) *( ALPHA / DIGIT / "_" / "." / ":" / "/" / "#" / "-" )
//
// Blanks may stand between any two of these. A name alone asks for the claim to be there ("iss" must then be a non-empty string, "iat" an integer,
// "typ" be "JWT"). A value asks for exactly that string, or, for "aud", for a list that holds it; a list of values for one of them. "alg" is always
// required and "sig" always checked, so naming them does nothing. An empty text asks for nothing.
//
// An error says what is wrong and where, in words fit for whoever wrote the setting.
func ParseClaims(text string) (Claims, error) {
	s := claimScanner{text: text}
	claims := Claims{}
	s.blanks()
	bracket := s.take('[')
	for {
		for s.blanks(); s.take(','); s.blanks() {
		}
		if s.end() || (bracket && s.peek() == ']') {
			break
		}
		found, err := s.item()
		if err != nil {
			return nil, fmt.Errorf("required claims: %w at byte %d", err, s.pos)
		}
		claims = append(claims, found...)
	}
	if bracket {
		s.take(']')
		if s.blanks(); !s.end() {
			return nil, fmt.Errorf("required claims: text after the list at byte %d", s.pos)
		}
	}
	return claims.clean()
}

// clean drops what is always checked and refuses what cannot be meant.
func (c Claims) clean() (Claims, error) {
	kept := Claims{}
	for _, claim := range c {
		if claim.Name == "alg" || claim.Name == "sig" {
			if claim.Values != nil {
				return nil, fmt.Errorf("required claims: %q takes no value", claim.Name)
			}
			continue
		}
		if lower := strings.ToLower(claim.Name); lower != claim.Name && slices.Contains(registered, lower) {
			return nil, fmt.Errorf("required claims: %q is written %q", claim.Name, lower)
		}
		if claim.Values != nil && (claim.Name == "exp" || claim.Name == "nbf" || claim.Name == "iat") {
			return nil, fmt.Errorf("required claims: %q is a time and takes no value", claim.Name)
		}
		if kept.find(claim.Name) != nil {
			return nil, fmt.Errorf("required claims: %q is there twice", claim.Name)
		}
		kept = append(kept, claim)
	}
	return kept, nil
}

// registered are the names whose case people get wrong.
var registered = []string{"alg", "aud", "exp", "iat", "iss", "jti", "kid", "nbf", "sig", "sub", "typ"}

// find returns the claim of that name, nil if it is not required.
func (c Claims) find(name string) *Claim {
	for i := range c {
		if c[i].Name == name {
			return &c[i]
		}
	}
	return nil
}

// String writes what ParseClaims reads.
func (c Claims) String() string {
	var b strings.Builder
	for i, claim := range c {
		if i > 0 {
			b.WriteString(", ")
		}
		switch len(claim.Values) {
		case 0:
			b.WriteString(claim.Name)
		case 1:
			fmt.Fprintf(&b, `{%s, "%s"}`, claim.Name, claim.Values[0])
		default:
			fmt.Fprintf(&b, `{%s, ["%s"]}`, claim.Name, strings.Join(claim.Values, `", "`))
		}
	}
	return b.String()
}

// claimScanner walks over the text of a setting.
type claimScanner struct {
	text string
	pos  int
}

var (
	errName  = errors.New("no name of a claim")
	errValue = errors.New(`no value in double quotes`)
	errComma = errors.New("no comma between a claim and its value")
	errBrace = errors.New("no closing brace")
	errQuote = errors.New("no closing quote")
	errList  = errors.New("no closing bracket")
)

func (s *claimScanner) end() bool { return s.pos >= len(s.text) }

func (s *claimScanner) peek() byte { return s.text[s.pos] }

func (s *claimScanner) take(c byte) bool {
	if s.end() || s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *claimScanner) blanks() {
	for !s.end() && strings.IndexByte(" \t\r\n", s.peek()) >= 0 {
		s.pos++
	}
}

// item reads one item of the list: one claim, or the claims in a quoted text.
func (s *claimScanner) item() (Claims, error) {
	if s.take('{') {
		claim, err := s.tuple()
		return Claims{claim}, err
	}
	if !s.take('"') {
		name, err := s.name()
		return Claims{{Name: name}}, err
	}
	var claims Claims
	for {
		for s.blanks(); s.take(','); s.blanks() {
		}
		if s.end() {
			return nil, errQuote
		}
		if s.take('"') {
			return claims, nil
		}
		name, err := s.name()
		if err != nil {
			return nil, err
		}
		claims = append(claims, Claim{Name: name})
	}
}

// tuple reads what follows an opening brace.
func (s *claimScanner) tuple() (claim Claim, err error) {
	s.blanks()
	if claim.Name, err = s.name(); err != nil {
		return claim, err
	}
	if s.blanks(); !s.take(',') {
		return claim, errComma
	}
	s.blanks()
	list := s.take('[')
	for {
		s.blanks()
		value, err := s.quoted()
		if err != nil {
			return claim, err
		}
		claim.Values = append(claim.Values, value)
		if s.blanks(); !list || !s.take(',') {
			break
		}
	}
	if list && !s.take(']') {
		return claim, errList
	}
	if s.blanks(); !s.take('}') {
		return claim, errBrace
	}
	return claim, nil
}

func (s *claimScanner) name() (string, error) {
	start := s.pos
	for !s.end() {
		c := s.peek()
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (s.pos == start || !(c >= '0' && c <= '9') && strings.IndexByte(".:/#-", c) < 0) {
			break
		}
		s.pos++
	}
	if s.pos == start {
		return "", errName
	}
	return s.text[start:s.pos], nil
}

func (s *claimScanner) quoted() (string, error) {
	if !s.take('"') {
		return "", errValue
	}
	value, _, found := strings.Cut(s.text[s.pos:], `"`)
	if !found {
		return "", errQuote
	}
	if value == "" {
		return "", errValue
	}
	s.pos += len(value) + 1
	return value, nil
}
