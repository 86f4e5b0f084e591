package jwt

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Path is where in a token's claims a value is: the names of nested members, from the outside in. A nil Path is nowhere.
type Path []string

// ParsePath splits a setting such as `realm_access.roles` at its dots; `\.` stands for a dot in a name (spec §4.5). "" is the nil Path.
func ParsePath(text string) (Path, error) {
	if text == "" {
		return nil, nil
	}
	var path Path
	for part, rest := "", text; ; {
		before, after, found := strings.Cut(rest, ".")
		part += before
		if found && strings.HasSuffix(before, `\`) {
			part = part[:len(part)-1] + "."
			rest = after
			continue
		}
		if part == "" {
			return nil, errors.New(`roles claim path: an empty name; a dot in a name is written "\."`)
		}
		path = append(path, part)
		if !found {
			return path, nil
		}
		part, rest = "", after
	}
}

// find fails with CouchDB's words for what is not there. The Path is not empty.
func (p Path) find(claims object) (jsontext.Value, error) {
	for _, name := range p[:len(p)-1] {
		v := claims.get(name)
		if v == nil {
			return nil, refuse(http.StatusNotFound, "missing json key: "+name)
		}
		var err error
		if claims, err = parseObject(v); err != nil {
			return nil, refuse(http.StatusNotFound, "json_mismatch")
		}
	}
	last := p[len(p)-1]
	if v := claims.get(last); v != nil {
		return v, nil
	}
	return nil, refuse(http.StatusNotFound, "missing json key: "+last)
}

// roles finds a token's roles by path or, without one, by name.
func (b *Bearer) roles(claims object) ([]string, error) {
	v := claims.get(b.o.RolesName)
	if len(b.path) > 0 {
		var err error
		if v, err = b.path.find(claims); err != nil {
			return nil, err
		}
	} else if v == nil {
		return []string{}, nil
	}
	roles, ok := ParseRoles(v)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "Malformed token")
	}
	return roles, nil
}

// ParseRoles reads an array of strings, or a string with commas between the roles. ok is false for anything else.
func ParseRoles(v jsontext.Value) (roles []string, ok bool) {
	if list, ok := strs(v); ok {
		return list, true
	}
	s, ok := str(v)
	if !ok {
		return nil, false
	}
	// CouchDB drops the blanks around commas and the empty roles at the end, but keeps those of a text without a comma.
	const blanks = " \t\n\v\f\r"
	list := strings.Split(s, ",")
	for i := range list {
		if i > 0 {
			list[i] = strings.TrimLeft(list[i], blanks)
		}
		if i < len(list)-1 {
			list[i] = strings.TrimRight(list[i], blanks)
		}
	}
	for hasComma := len(list) > 1; hasComma && len(list) > 0 && list[len(list)-1] == ""; {
		list = list[:len(list)-1]
	}
	return list, true
}
