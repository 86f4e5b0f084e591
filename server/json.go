package server

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// appendString appends a text as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString[T ~string | ~[]byte](dst []byte, text T) []byte {
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

// decoderOptions read JSON as CouchDB does: of duplicate members the last counts.
var decoderOptions = jsontext.AllowDuplicateNames(true)

// checkJSON returns the one JSON value that data holds, without the space around it: errBadJSON for anything else, also for numbers beyond
// what a float can hold, and a refusal for nesting beyond maxDepth. The value shares data's memory.
func checkJSON(data []byte) (jsontext.Value, error) {
	depth, finite := survey(data)
	if depth > maxDepth {
		return nil, badRequest("The JSON is nested too deeply.")
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(data), decoderOptions)
	value, err := d.ReadValue()
	if err != nil || !finite {
		return nil, errBadJSON
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errBadJSON
	}
	return value, nil
}

// survey looks over a text that need not be JSON. depth is the greatest depth of brackets outside strings; finite says that no number's exponent
// takes it beyond a float, which CouchDB refuses.
func survey(data []byte) (depth int, finite bool) {
	open := 0
	finite = true
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			open++
			depth = max(depth, open)
		case '}', ']':
			open--
		case 'e', 'E':
			// Of the literals none has an e after a digit.
			if i > 0 && '0' <= data[i-1] && data[i-1] <= '9' {
				finite = finite && isFinite(data, i)
			}
		}
	}
	return depth, finite
}

// isFinite judges the number whose exponent begins at data[at].
func isFinite(data []byte, at int) bool {
	const of = "+-.0123456789"
	from, to := at, at+1
	for from > 0 && strings.IndexByte(of, data[from-1]) >= 0 {
		from--
	}
	for to < len(data) && strings.IndexByte(of, data[to]) >= 0 {
		to++
	}
	_, err := strconv.ParseFloat(string(data[from:to]), 64)
	return !errors.Is(err, strconv.ErrRange)
}

// members calls fn with each member of a JSON object that checkJSON has passed, in order, until fn fails. name is decoded; value is raw and
// shares the object's memory.
func members(object jsontext.Value, fn func(name string, value jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(object), decoderOptions)
	if _, err := d.ReadToken(); err != nil {
		return errBadJSON
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return errBadJSON
		}
		name := token.String()
		value, err := rawValue(d, object)
		if err != nil {
			return err
		}
		if err := fn(name, value); err != nil {
			return err
		}
	}
	return nil
}

// elements calls fn with each element of a JSON array that checkJSON has passed, in order, until fn fails.
func elements(array jsontext.Value, fn func(value jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(array), decoderOptions)
	if _, err := d.ReadToken(); err != nil {
		return errBadJSON
	}
	for d.PeekKind() != ']' {
		value, err := rawValue(d, array)
		if err != nil {
			return err
		}
		if err := fn(value); err != nil {
			return err
		}
	}
	return nil
}

// rawValue cuts the decoder's next value out of the bytes that it decodes, so that nothing is copied.
func rawValue(d *jsontext.Decoder, source []byte) (jsontext.Value, error) {
	value, err := d.ReadValue()
	if err != nil {
		return nil, errBadJSON
	}
	end := int(d.InputOffset())
	return source[end-len(value) : end : end], nil
}

// objectMember returns one member of a JSON object, nil when it has none; of duplicates the last.
func objectMember(object jsontext.Value, name string) jsontext.Value {
	var found jsontext.Value
	_ = members(object, func(n string, v jsontext.Value) error {
		if n == name {
			found = v
		}
		return nil
	})
	return found
}

// text decodes a JSON string; ok is false for any other value.
func text(value jsontext.Value) (s string, ok bool) {
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, value)
	return string(b), err == nil
}
