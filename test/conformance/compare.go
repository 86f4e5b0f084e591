package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// inArray is the key of values that are elements of an array: no "unordered" can name it.
const inArray = "\x00"

var placeholders = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`<rev (\d+)>`), `$1-[0-9a-f]{32}`},
	{regexp.MustCompile(`<id>`), `[0-9a-f]{32}`},
	{regexp.MustCompile(`<hex>`), `.+`},
	{regexp.MustCompile(`<any>`), `.*`},
	{regexp.MustCompile(`<port>`), `\d+`},
	{regexp.MustCompile(`<pbkdf2 (\w+) (\d+)>`), `-pbkdf2:$1-[0-9a-f]+,[0-9a-f]+,$2`},
}

// differences tells in what an answer is not as recorded; nothing when it is.
func differences(want Response, got Answer, unordered []string) []string {
	if want.Any4xx {
		body, _ := got.Body.(map[string]any)
		reason, _ := body["reason"].(string)
		if got.Status >= 400 && got.Status < 500 && reason != "" {
			return nil
		}
		return []string{fmt.Sprintf("status %d, want a 4xx with a reason; body %s", got.Status, show(got.Body))}
	}
	var why []string
	if got.Status != want.Status {
		why = append(why, fmt.Sprintf("status %d, want %d", got.Status, want.Status))
	}
	if !(comparison{unordered: unordered}).same(want.Body, got.Body, "") {
		why = append(why, fmt.Sprintf("body %s\n         want %s", show(got.Body), show(want.Body)))
	}
	return append(why, headerDifferences(want.Headers, got.Headers)...)
}

func headerDifferences(want, got map[string]string) []string {
	var why []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		v, sent := got[k]
		if want[k] != "<any>" && (!sent || !sameText(want[k], v)) {
			why = append(why, fmt.Sprintf("header %s: %q, want %q", k, v, want[k]))
		}
	}
	return why
}

// A comparison compares bodies. With subset, an object may have more members than are wanted.
type comparison struct {
	unordered []string // keys whose arrays are bags
	subset    bool
}

func (c comparison) same(want, got any, key string) bool {
	if want == "<any>" {
		return true
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		return ok && c.sameObject(w, g)
	case []any:
		g, ok := got.([]any)
		return ok && len(w) == len(g) && c.sameArray(w, g, slices.Contains(c.unordered, key))
	case string:
		g, ok := got.(string)
		return ok && sameText(w, g)
	case json.Number:
		g, ok := got.(json.Number)
		return ok && sameNumber(w, g)
	default:
		return want == got // true, false, null
	}
}

func (c comparison) sameObject(want, got map[string]any) bool {
	if !c.subset && len(want) != len(got) {
		return false
	}
	for k, w := range want {
		g, ok := got[k]
		if !ok || !c.same(w, g, k) {
			return false
		}
	}
	return true
}

func (c comparison) sameArray(want, got []any, bag bool) bool {
	left := slices.Clone(got)
	for _, w := range want {
		i := 0
		if bag {
			i = slices.IndexFunc(left, func(g any) bool { return c.same(w, g, inArray) })
		} else if !c.same(w, left[0], inArray) {
			i = -1
		}
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

func sameText(want, got string) bool {
	if want == got {
		return true
	}
	if !strings.Contains(want, "<") {
		return false
	}
	re := regexp.QuoteMeta(want)
	for _, p := range placeholders {
		re = p.re.ReplaceAllString(re, p.with)
	}
	return regexp.MustCompile(`(?s)\A` + re + `\z`).MatchString(got)
}

// sameNumber compares values, not their look: 1, 1.0 and 1e0 are the same.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, _, errX := big.ParseFloat(a.String(), 10, 2000, big.ToNearestEven)
	y, _, errY := big.ParseFloat(b.String(), 10, 2000, big.ToNearestEven)
	if errX != nil || errY != nil {
		return false
	}
	if isInteger(a) && isInteger(b) {
		return x.Cmp(y) == 0
	}
	// At least one was a double on its way, so doubles are compared.
	fx, _ := x.Float64()
	fy, _ := y.Float64()
	return fx == fy
}

func isInteger(n json.Number) bool { return !strings.ContainsAny(n.String(), ".eE") }

// show is a body for a person, cut.
func show(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	const limit = 600
	s := strings.TrimSpace(b.String())
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return s
}
