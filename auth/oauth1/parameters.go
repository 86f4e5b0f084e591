package oauth1

import (
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/parlordb/parlor/auth"
)

// parameter is a name and a value, decoded.
type parameter struct{ name, value string }

// requestParameters collects those of the Authorization header and the query (RFC 5849 §3.4.1.3.1), without realm. It returns nil when the request is
// not of this kind: neither is the header, nor is there an oauth_consumer_key in the query.
func requestParameters(r *http.Request) ([]parameter, error) {
	text, inHeader := credentials(r.Header)
	if !inHeader && !strings.Contains(r.URL.RawQuery, "oauth_consumer_key") {
		return nil, nil // most requests, at no cost
	}
	params, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	if inHeader {
		header, err := parseHeader(text)
		if err != nil {
			return nil, err
		}
		return append(header, params...), nil
	}
	if !slices.ContainsFunc(params, func(p parameter) bool { return p.name == "oauth_consumer_key" }) {
		return nil, nil // the word is part of something else
	}
	return params, nil
}

// credentials returns what follows the scheme OAuth. As in auth.Credentials two headers are one value, which then cannot be read.
func credentials(h http.Header) (text string, ok bool) {
	const scheme = "OAuth "
	value := strings.Join(h["Authorization"], ", ")
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	return value[len(scheme):], true
}

// parseHeader reads name="value" pairs with commas between them (RFC 5849 §3.5.1). Names and values are percent-encoded, but for realm, which is
// dropped.
func parseHeader(text string) ([]parameter, error) {
	malformed := badRequest("Malformed OAuth Authorization header.")
	if len(text) > maxHeader {
		return nil, badRequest("OAuth Authorization header is too long.")
	}
	params := []parameter{}
	for rest := strings.Trim(text, " \t"); ; {
		name, after, ok := strings.Cut(rest, "=")
		if !ok || name == "" || !strings.HasPrefix(after, `"`) {
			return nil, malformed
		}
		value, after, ok := quotedString(after[1:])
		if !ok {
			return nil, malformed
		}
		if !strings.EqualFold(name, "realm") {
			p := parameter{}
			var nameOK, valueOK bool
			p.name, nameOK = decode(name)
			p.value, valueOK = decode(value)
			if !nameOK || !valueOK {
				return nil, malformed
			}
			params = append(params, p)
		}
		after = strings.TrimLeft(after, " \t")
		if after == "" {
			return params, nil
		}
		if after[0] != ',' {
			return nil, malformed
		}
		rest = strings.TrimLeft(after[1:], " \t")
	}
}

// quotedString reads up to the closing quote. Backslashes escape, which only a realm needs.
func quotedString(s string) (value, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// decode reads percent-encoding (RFC 3986 §2.1) of what otherwise are unreserved characters. Others are taken as they are, as long as they are
// visible ASCII: not all clients encode what they should.
func decode(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if i+2 >= len(s) {
				return "", false
			}
			high, low := unhex(s[i+1]), unhex(s[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			b = append(b, byte(high<<4|low))
			i += 2
		case c <= ' ' || c > '~' || c == '"' || c == '\\' || c == ',':
			return "", false
		default:
			b = append(b, c)
		}
	}
	return string(b), true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// parseForm reads application/x-www-form-urlencoded text, of a query or a body, in its order. Unlike url.ParseQuery it takes ";" as the character that it is
// to those who sign.
func parseForm(text string) ([]parameter, error) {
	var params []parameter
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		if len(params) == maxParameters {
			return nil, badRequest("Too many parameters.")
		}
		name, value, _ := strings.Cut(pair, "=")
		name, nameOK := decodeForm(name)
		value, valueOK := decodeForm(value)
		if !nameOK || !valueOK {
			return nil, badRequest("Malformed percent-encoding in parameters.")
		}
		params = append(params, parameter{name, value})
	}
	return params, nil
}

// decodeForm is decode with "+" for blanks and all bytes allowed.
func decodeForm(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '+':
			b = append(b, ' ')
		case '%':
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return "", false
			}
			b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b), true
}

// isForm reports whether the body is one that RFC 5849 signs.
func isForm(r *http.Request) bool {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && mediaType == "application/x-www-form-urlencoded" && r.Body != nil && r.Body != http.NoBody
}

// FormBody returns a function for Options.Form: it reads bodies of up to limit bytes, and puts what it read back into r.Body. Longer ones are
// refused with 413. This is the one case in which a Method reads a body; whoever hands r on after Authenticate hands on the new Body with it.
func FormBody(limit int64) func(r *http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
		if err != nil {
			return "", badRequest("The form could not be read to its end.")
		}
		if int64(len(body)) > limit {
			return "", &auth.Refusal{
				Status: http.StatusRequestEntityTooLarge, Kind: "too_large", Reason: "The signed form is too long.",
			}
		}
		r.Body = &readBody{Reader: strings.NewReader(string(body)), closer: r.Body}
		return string(body), nil
	}
}

// readBody is a body that has been read, and the one that is to be closed for it.
type readBody struct {
	io.Reader
	closer io.Closer
}

func (b *readBody) Close() error { return b.closer.Close() }
