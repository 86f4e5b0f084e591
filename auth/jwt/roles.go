package jwt

import (
	"errors"
	"net/http"
	"strings"
)

// parsePath splits roles_claim_path at its dots; "\." stands for a dot in a name (spec §4.5). "" is no path.
func parsePath(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var path []string
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

// roles finds a token's roles by path or, without one, by name.
func (b *Bearer) roles(claims object) ([]string, error) {
	if len(b.path) == 0 {
		v := claims.get(b.o.RolesName)
		if v == nil {
			return []string{}, nil
		}
		return parseRoles(v)
	}
	for i, name := range b.path {
		v := claims.get(name)
		if v == nil {
			return nil, refuse(http.StatusNotFound, "missing json key: "+name)
		}
		if i == len(b.path)-1 {
			return parseRoles(v)
		}
		var err error
		if claims, err = parseObject(v); err != nil {
			return nil, refuse(http.StatusNotFound, "json_mismatch")
		}
	}
	panic("unreachable: the path has a last name")
}

// parseRoles reads an array of strings, or a string with commas between the roles.
func parseRoles(v []byte) ([]string, error) {
	if list, ok := strs(v); ok {
		return list, nil
	}
	s, ok := str(v)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "Malformed token")
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
	return list, nil
}
