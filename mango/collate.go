package mango

import (
	"bytes"
	"cmp"
	"math/big"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

// collators holds collators of the root locale: one is costly to make and serves one goroutine at a time.
var collators = sync.Pool{New: func() any { return collate.New(language.Und) }}

// asciiOrder is the printable part of ASCII in the order of the root collation, but for the digits and letters, which follow in
// their own order; a letter's cases differ at the third level only.
const asciiOrder = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"

// asciiPrimary maps a byte to its primary weight, or 0 for what needs a real collator.
var asciiPrimary = func() (w [256]uint8) {
	n := uint8(1)
	for i := range len(asciiOrder) {
		w[asciiOrder[i]] = n
		n++
	}
	for c := '0'; c <= '9'; c++ {
		w[c] = n
		n++
	}
	for c := 'a'; c <= 'z'; c++ {
		w[c], w[c-'a'+'A'] = n, n
		n++
	}
	return w
}()

// maxCompareDepth bounds the recursion of a comparison. Below it values are compared as bytes.
const maxCompareDepth = 1000

// Compare orders JSON values as CouchDB does: null, false, true, numbers, strings (by the Unicode collation algorithm, root
// locale), arrays (element by element, then the shorter first), objects (member by member in the order written, name before
// value, then the shorter first). Numbers are compared exactly: 1 equals 1.0 and 9007199254740993 exceeds 9007199254740992. Strings
// can be equal that differ in bytes, such as the two ways to write é. It is safe for concurrent use.
func Compare(a, b []byte) int { return compare(trim(a), trim(b), collateStrings, 0) }

// compareRaw is Compare with strings ordered by their bytes, which is how CouchDB compares ids.
func compareRaw(a, b []byte) int { return compare(trim(a), trim(b), compareTexts, 0) }

func compareTexts(a, b []byte) int { return bytes.Compare(unquote(a), unquote(b)) }

// compare takes values without white space around them, and the order of strings (given as JSON).
func compare(a, b []byte, texts func(a, b []byte) int, depth int) int {
	ka, kb := kindOf(a), kindOf(b)
	if ka != kb {
		return cmp.Compare(ka, kb)
	}
	switch ka {
	case kindNumber:
		return compareNumbers(a, b)
	case kindString:
		return texts(a, b)
	case kindArray:
		if depth >= maxCompareDepth {
			return bytes.Compare(a, b)
		}
		return compareArrays(a, b, texts, depth+1)
	case kindObject:
		if depth >= maxCompareDepth {
			return bytes.Compare(a, b)
		}
		return compareObjects(a, b, texts, depth+1)
	}
	return 0
}

func compareArrays(a, b []byte, texts func(a, b []byte) int, depth int) int {
	ea, eb := newElements(a), newElements(b)
	for {
		va, moreA := ea.next()
		vb, moreB := eb.next()
		if !moreA || !moreB {
			return shorterFirst(moreA, moreB)
		}
		if c := compare(va, vb, texts, depth); c != 0 {
			return c
		}
	}
}

func compareObjects(a, b []byte, texts func(a, b []byte) int, depth int) int {
	ma, mb := newMembers(a), newMembers(b)
	for {
		na, va, moreA := ma.next()
		nb, vb, moreB := mb.next()
		if !moreA || !moreB {
			return shorterFirst(moreA, moreB)
		}
		if c := texts(na, nb); c != 0 {
			return c
		}
		if c := compare(va, vb, texts, depth); c != 0 {
			return c
		}
	}
}

// shorterFirst orders two sequences that were equal until one of them ended.
func shorterFirst(moreA, moreB bool) int {
	switch {
	case moreA:
		return 1
	case moreB:
		return -1
	}
	return 0
}

func collateStrings(a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	a, b = unquote(a), unquote(b)
	if c, ok := collateASCII(a, b); ok {
		return c
	}
	c := collators.Get().(*collate.Collator)
	defer collators.Put(c)
	return c.Compare(a, b)
}

// collateASCII compares texts of printable ASCII, which most are, without a collator: first without regard to case, then the lower
// case first. ok is false when a text has other characters where the order depends on them.
func collateASCII(a, b []byte) (order int, ok bool) {
	primary, tertiary := 0, 0
	for i := range max(len(a), len(b)) {
		var wa, wb uint8
		if i < len(a) {
			if wa = asciiPrimary[a[i]]; wa == 0 {
				return 0, false
			}
		}
		if i < len(b) {
			if wb = asciiPrimary[b[i]]; wb == 0 {
				return 0, false
			}
		}
		if primary == 0 {
			primary = cmp.Compare(wa, wb)
		}
		if tertiary == 0 && wa == wb && a[i] != b[i] {
			// Of the two cases of a letter the lower has the greater byte.
			tertiary = cmp.Compare(b[i], a[i])
		}
	}
	if primary != 0 {
		return primary, true
	}
	return tertiary, true
}

// compareNumbers compares JSON numbers by value.
func compareNumbers(a, b []byte) int {
	ia, okA := smallInt(a)
	ib, okB := smallInt(b)
	if okA && okB {
		return cmp.Compare(ia, ib)
	}
	// The error of a number out of range comes with an infinity, which is what is needed here.
	fa, _ := strconv.ParseFloat(string(a), 64)
	fb, _ := strconv.ParseFloat(string(b), 64)
	if fa != fb {
		return cmp.Compare(fa, fb)
	}
	return compareExactly(a, b)
}

// smallInt reads an integer of up to 18 digits.
func smallInt(n []byte) (int64, bool) {
	negative := len(n) > 0 && n[0] == '-'
	if negative {
		n = n[1:]
	}
	if len(n) == 0 || len(n) > 18 {
		return 0, false
	}
	var v int64
	for _, c := range n {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	if negative {
		v = -v
	}
	return v, true
}

// compareExactly breaks the tie of numbers that are one float64, by their digits.
func compareExactly(a, b []byte) int {
	da, db := newDecimal(string(a)), newDecimal(string(b))
	if da.digits == "" || db.digits == "" || da.negative != db.negative {
		return cmp.Compare(da.sign(), db.sign())
	}
	c := da.exponent.Cmp(&db.exponent)
	if c == 0 {
		c = strings.Compare(da.digits, db.digits)
	}
	if da.negative {
		return -c
	}
	return c
}

// decimal is 0.digits × 10^exponent, where digits neither begin nor end with a zero; without digits it is 0.
type decimal struct {
	negative bool
	digits   string
	exponent big.Int
}

func newDecimal(number string) (d decimal) {
	number, d.negative = strings.CutPrefix(number, "-")
	mantissa := number
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa = number[:i]
		d.exponent.SetString(shortExponent(number[i+1:]), 10)
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	d.exponent.Add(&d.exponent, big.NewInt(int64(len(whole))))
	trimmed := strings.TrimLeft(digits, "0")
	d.exponent.Sub(&d.exponent, big.NewInt(int64(len(digits)-len(trimmed))))
	d.digits = strings.TrimRight(trimmed, "0")
	return d
}

// shortExponent cuts an exponent to a length that a stranger cannot make this comparison pay for. What is cut is beyond any use.
func shortExponent(exponent string) string {
	sign := ""
	switch {
	case strings.HasPrefix(exponent, "-"):
		sign, exponent = "-", exponent[1:]
	case strings.HasPrefix(exponent, "+"):
		exponent = exponent[1:]
	}
	exponent = strings.TrimLeft(exponent, "0")
	if exponent == "" {
		return "0"
	}
	return sign + exponent[:min(len(exponent), 30)]
}

func (d *decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}
