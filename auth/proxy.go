package auth

import (
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var _ Method = (*Proxy)(nil)

// ProxyOptions say whose word Proxy takes. The zero value takes that of this machine alone, without a token.
type ProxyOptions struct {
	Required   bool     // proxy_use_secret: each request must carry a token
	Secrets    []Secret // what tokens are made with; all that are in force verify
	Algorithms []string // hash_algorithms: all verify; none: sha256, sha

	// Names of the headers; "": X-Auth-CouchDB-UserName, -Roles and -Token.
	UserHeader, RolesHeader, TokenHeader string

	// Trusted are the addresses whose headers are looked at; from any other they count as no credentials. nil: all addresses when
	// Required, else loopback. One that is empty but not nil trusts nobody.
	Trusted []netip.Prefix

	Now func() time.Time // nil: time.Now
}

// Proxy is the Method "proxy": a server in front has found out who the user is and says so in headers (spec §5).
//
// Whose headers are believed is decided by the address at the other end of the connection (RemoteAddr, which no header changes) and, when Required,
// by a token: the HMAC of the user name in hex. The token does not cover the roles, so a proxy must remove all three headers from what its clients
// send. A header that is there twice is refused, for one of the two may be a client's.
//
// A missing or wrong token is 401, where CouchDB lets the request pass as nobody; and Required without a secret refuses everyone, where
// CouchDB believes everyone. Empty user names, control characters and bytes that are not UTF-8 are refused.
//
// Roles come from the header only, "_admin" among them. The Users directory is asked for nothing but whether the user is disabled.
//
// Proxy is immutable and safe for concurrent use. When settings change, make a new one; to replace a secret, keep the old one
// in Secrets with Until.
type Proxy struct {
	o       ProxyOptions
	digests []digest
}

// NewProxy returns a Proxy. It fails when a header name cannot be one, or two are the same.
func NewProxy(o ProxyOptions) (*Proxy, error) {
	for _, h := range []struct {
		name   *string
		normal string
	}{
		{&o.UserHeader, "X-Auth-CouchDB-UserName"},
		{&o.RolesHeader, "X-Auth-CouchDB-Roles"},
		{&o.TokenHeader, "X-Auth-CouchDB-Token"},
	} {
		if *h.name == "" {
			*h.name = h.normal
		}
		if !headerName(*h.name) {
			return nil, fmt.Errorf("%q is no name of a header", *h.name)
		}
		*h.name = http.CanonicalHeaderKey(*h.name)
	}
	if o.UserHeader == o.RolesHeader || o.UserHeader == o.TokenHeader || o.RolesHeader == o.TokenHeader {
		return nil, errors.New("proxy headers for user name, roles and token must be three")
	}
	if o.Algorithms == nil {
		o.Algorithms = []string{"sha256", "sha"}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Proxy{digests: digestsNamed(o.Algorithms)}
	o.Secrets = slices.Clone(o.Secrets)
	o.Secrets = slices.DeleteFunc(o.Secrets, func(s Secret) bool { return s.Value == "" }) // an empty secret is none: anyone knows it
	o.Trusted = trustedProxies(&o)
	p.o = o
	return p, nil
}

// trustedProxies fills in the default, and writes IPv4 addresses in one way.
func trustedProxies(o *ProxyOptions) []netip.Prefix {
	if o.Trusted == nil && o.Required {
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	if o.Trusted == nil {
		return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	trusted := make([]netip.Prefix, len(o.Trusted))
	for i, p := range o.Trusted {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		trusted[i] = p
	}
	return trusted
}

// Name implements Method.
func (p *Proxy) Name() string { return "proxy" }

// Authenticate implements Method.
func (p *Proxy) Authenticate(r *http.Request) (Identity, error) {
	names, ok := r.Header[p.o.UserHeader]
	if !ok || !p.trusts(r.RemoteAddr) {
		return Identity{}, ErrNoCredentials
	}
	roles, tokens := r.Header[p.o.RolesHeader], r.Header[p.o.TokenHeader]
	if len(names) != 1 || len(roles) > 1 || len(tokens) > 1 {
		return Identity{}, badRequest("A proxy authentication header is there twice.")
	}
	name := names[0]
	if p.o.Required && (len(tokens) == 0 || !p.vouched(name, tokens[0])) {
		return Identity{}, about(unauthorized("Proxy authentication token is missing or wrong."), p.Name(), name, "")
	}
	if name == "" {
		return Identity{}, unauthorized("Proxy authentication user name is empty.")
	}
	id := Identity{Name: name, Roles: []string{}, Method: p.Name()}
	if len(roles) == 1 {
		id.Roles = splitRoles(roles[0])
	}
	if !printable(name) || slices.ContainsFunc(id.Roles, func(role string) bool { return !printable(role) }) {
		return Identity{}, badRequest("A proxy authentication header holds bytes that are no text.")
	}
	return id, nil
}

// trusts reports whether the peer of a connection may say who a user is.
func (p *Proxy) trusts(remote string) bool {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	// An IPv4 peer of a socket for both families comes as ::ffff:a.b.c.d; a zone never matches a prefix.
	addr := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.o.Trusted, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// vouched reports whether token is the HMAC of name under any secret and digest in force.
func (p *Proxy) vouched(name, token string) bool {
	mac, err := hex.DecodeString(token)
	if err != nil {
		return false
	}
	now := p.o.Now()
	for _, s := range p.o.Secrets {
		if !s.Until.IsZero() && !now.Before(s.Until) {
			continue
		}
		for _, d := range p.digests {
			if d.size == len(mac) && hmac.Equal(sign(d, s.Value, "", []byte(name)), mac) {
				return true
			}
		}
	}
	return false
}

// splitRoles splits a header at commas and the blanks around them. As in CouchDB empty roles at the end are dropped, those in between
// are kept, and an empty header is one empty role.
func splitRoles(header string) []string {
	const blanks = " \t\n\v\f\r"
	roles := strings.Split(header, ",")
	for i := range roles {
		if i > 0 {
			roles[i] = strings.TrimLeft(roles[i], blanks)
		}
		if i < len(roles)-1 {
			roles[i] = strings.TrimRight(roles[i], blanks)
		}
	}
	if len(roles) == 1 {
		return roles
	}
	for len(roles) > 0 && roles[len(roles)-1] == "" {
		roles = roles[:len(roles)-1]
	}
	return roles
}

// printable reports whether s is UTF-8 without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// headerName reports whether s is a token of RFC 9110 §5.6.2.
func headerName(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}
