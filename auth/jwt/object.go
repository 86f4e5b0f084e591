package jwt

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds how deep a token's JSON may nest.
const maxDepth = 32

var (
	errNotObject = errors.New("not a JSON object")
	errTooDeep   = errors.New("JSON nested too deep")
)

// object is a JSON object, its members in order. No name is there twice, at any depth.
type object []member

// memberBytes is what a member takes beside the JSON that it is part of: a string, a slice and its name.
const memberBytes = 56

type member struct {
	name  string
	value jsontext.Value
}

// parseObject reads exactly one JSON object in UTF-8. It fails with errNotObject for another JSON value, with errTooDeep, with an error that
// is jsontext.ErrDuplicateName, or with another for what is no JSON. The values are parts of data.
func parseObject(data []byte) (object, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(data))
	if d.PeekKind() != '{' {
		if err := skipValue(d); err != nil {
			return nil, err
		}
		return nil, errNotObject
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var o object
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		m := member{name: name.String()}
		after := d.InputOffset()
		if err := skipValue(d); err != nil {
			return nil, err
		}
		// Between the name and its value there is nothing but blanks and the colon.
		m.value = bytes.TrimLeft(data[after:d.InputOffset()], " \t\r\n:")
		o = append(o, m)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("text after the JSON object")
	}
	return o, nil
}

// skipValue goes over a whole value token by token, so that its depth is known before any more of it is read.
func skipValue(d *jsontext.Decoder) error {
	outside := d.StackDepth()
	for {
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		switch depth := d.StackDepth(); {
		case depth == outside:
			return nil
		case depth > maxDepth:
			return errTooDeep
		}
	}
}

// get returns a member's value, nil when there is none.
func (o object) get(name string) jsontext.Value {
	for i := range o {
		if o[i].name == name {
			return o[i].value
		}
	}
	return nil
}

// str returns a value that is a string.
func str(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}

// strs returns a value that is an array of strings alone.
func strs(v jsontext.Value) ([]string, bool) {
	if v.Kind() != '[' {
		return nil, false
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(v))
	if _, err := d.ReadToken(); err != nil {
		return nil, false
	}
	list := []string{}
	for d.PeekKind() == '"' {
		token, err := d.ReadToken()
		if err != nil {
			return nil, false
		}
		list = append(list, token.String())
	}
	if d.PeekKind() != ']' {
		return nil, false
	}
	return list, true
}

// number returns a value that is a number within the range of a float64.
func number(v jsontext.Value) (float64, bool) {
	if v.Kind() != '0' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	return f, err == nil
}

// integer reports whether a value is a number written without fraction and exponent.
func integer(v jsontext.Value) bool {
	return v.Kind() == '0' && !strings.ContainsAny(string(v), ".eE")
}
