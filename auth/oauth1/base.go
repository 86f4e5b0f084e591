package oauth1

import (
	"cmp"
	"slices"
	"strings"
)

// baseString is what is signed (RFC 5849 §3.4.1): the method, the address and the parameters, but for the signature. path is as it was
// sent, with its percent-encoding.
func baseString(method, scheme, host, path string, params []parameter) (string, error) {
	address, err := baseAddress(scheme, host, path)
	if err != nil {
		return "", err
	}
	return encode(method) + "&" + encode(address) + "&" + encode(normalized(params)), nil
}

// baseAddress is §3.4.1.2.
func baseAddress(scheme, host, path string) (string, error) {
	scheme, host = strings.ToLower(scheme), strings.ToLower(host)
	if scheme != "http" && scheme != "https" || host == "" || strings.ContainsAny(host, "/?#@\\ \t") {
		return "", badRequest("The address that was asked cannot be told.")
	}
	if scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	} else {
		host = strings.TrimSuffix(host, ":443")
	}
	if path == "" {
		path = "/"
	}
	return scheme + "://" + host + path, nil
}

// normalized is §3.4.1.3.2: sorted by encoded name, then by encoded value, in bytes.
func normalized(params []parameter) string {
	encoded := make([]parameter, 0, len(params))
	for _, p := range params {
		if p.name != "oauth_signature" {
			encoded = append(encoded, parameter{encode(p.name), encode(p.value)})
		}
	}
	slices.SortFunc(encoded, func(a, b parameter) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	var s strings.Builder
	for i, p := range encoded {
		if i > 0 {
			s.WriteByte('&')
		}
		s.WriteString(p.name)
		s.WriteByte('=')
		s.WriteString(p.value)
	}
	return s.String()
}

// encode is §3.6: every byte but the unreserved characters of RFC 3986 becomes %XX.
func encode(s string) string {
	const hexDigits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+len(s)/2)
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&0xf])
		}
	}
	return string(b)
}
