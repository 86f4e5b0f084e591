package auth

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cookieAttributes write Set-Cookie header values in CouchDB's form (spec §3.5), whatever the cookie holds.
type cookieAttributes struct {
	sessionOnly bool
	tail        string // from Domain on
}

// newCookieAttributes fails when domain cannot stand in a header. The arguments are those fields of CookieOptions.
func newCookieAttributes(sessionOnly bool, domain, sameSite string) (cookieAttributes, error) {
	a := cookieAttributes{sessionOnly: sessionOnly}
	if domain != "" {
		if strings.Trim(domain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
			return a, fmt.Errorf("cookie domain %q is no host name", domain)
		}
		a.tail = "; Domain=" + domain
	}
	a.tail += "; Path=/; HttpOnly"
	switch strings.ToLower(sameSite) {
	case "none":
		a.tail += "; SameSite=None"
	case "lax":
		a.tail += "; SameSite=Lax"
	case "strict":
		a.tail += "; SameSite=Strict"
	}
	return a, nil
}

// set gives the browser a cookie.
func (a *cookieAttributes) set(name, value string, expires time.Time, maxAge time.Duration, secure bool) string {
	var stack [256]byte
	b := append(stack[:0], name...)
	b = append(b, '=')
	b = append(b, value...)
	b = append(b, "; Version=1"...)
	if !a.sessionOnly {
		b = append(b, "; Expires="...)
		b = expires.UTC().AppendFormat(b, "Mon, 02-Jan-2006 15:04:05 GMT")
		b = append(b, "; Max-Age="...)
		b = strconv.AppendInt(b, int64(maxAge/time.Second), 10)
	}
	if secure {
		b = append(b, "; Secure"...)
	}
	b = append(b, a.tail...)
	return string(b)
}

// clear makes the browser forget a cookie at once: in CouchDB's form, but with a date that has gone by. One without Expires too must say so to be
// removed.
func (a *cookieAttributes) clear(name string, secure bool) string {
	s := name + "=; Version=1; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=0"
	if secure {
		s += "; Secure"
	}
	return s + a.tail
}

// cookieValue finds the first cookie of a name in Cookie headers, without its quotes. net/http's own parser drops values
// with bytes that it does not like; they must be seen to be refused.
func cookieValue(headers []string, cookie string) string {
	for _, header := range headers {
		for header != "" {
			var pair string
			pair, header, _ = strings.Cut(header, ";")
			name, value, found := strings.Cut(pair, "=")
			if found && strings.TrimSpace(name) == cookie {
				value = strings.TrimSpace(value)
				if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
					value = value[1 : n-1]
				}
				return value
			}
		}
	}
	return ""
}
