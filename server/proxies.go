package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
)

// Proxies says which peers are believed when they report how a client's request reached them. It is immutable.
type Proxies struct {
	trusted          []netip.Prefix
	host, proto, ssl string // names of the headers
	peer             string // [chttpd] peer_header, "" for X-Forwarded-For
}

// privateNetworks are trusted unless [parlor] trusted_proxies says otherwise: a proxy on the same machine or network.
const privateNetworks = "127.0.0.0/8, ::1/128, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10"

// ReadProxies reads [parlor] trusted_proxies and the names of the headers. It fails with *config.ValueError.
func ReadProxies(snap *config.Snapshot) (*Proxies, error) {
	p := &Proxies{
		host:  snap.String("X-Forwarded-Host", "x_forwarded_host", "chttpd", "httpd"),
		proto: snap.String("X-Forwarded-Proto", "x_forwarded_proto", "chttpd", "httpd"),
		ssl:   snap.String("X-Forwarded-Ssl", "x_forwarded_ssl", "chttpd", "httpd"),
		peer:  snap.String("", "peer_header", "chttpd"),
	}
	for _, item := range list(snap.String(privateNetworks, "trusted_proxies", "parlor")) {
		prefix, err := ParseNetwork(item)
		if err != nil {
			return nil, &config.ValueError{Reason: "[parlor] trusted_proxies: " + err.Error()}
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

// ParseNetwork reads an address, which stands for itself alone, or a network such as 10.0.0.0/8. Its errors are for whoever wrote it.
func ParseNetwork(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text)
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// Equal reports whether p and q believe the same peers in the same way. Either may be nil.
func (p *Proxies) Equal(q *Proxies) bool {
	if p == nil || q == nil {
		return p == q
	}
	return slices.Equal(p.trusted, q.trusted) && p.host == q.host && p.proto == q.proto && p.ssl == q.ssl && p.peer == q.peer
}

// trusts reports whether a request comes straight from a trusted proxy.
func (p *Proxies) trusts(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap()
	for _, prefix := range p.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Secure reports whether the client's connection is encrypted, be it up to a trusted proxy.
func (p *Proxies) Secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	ssl, proto := r.Header.Get(p.ssl), r.Header.Get(p.proto)
	return (strings.EqualFold(ssl, "on") || strings.EqualFold(proto, "https")) && p.trusts(r)
}

// Client is the client's address: the peer's, or the one that a trusted proxy reports (spec §8). It is the zero Addr when the peer has none, as
// on a Unix socket.
func (p *Proxies) Client(r *http.Request) netip.Addr {
	if p.trusts(r) {
		if addr, err := netip.ParseAddr(strings.TrimSpace(r.Header.Get(p.peer))); p.peer != "" && err == nil {
			return addr
		}
		// Only the last element was written by the proxy that is trusted; a client may have sent the others.
		last := r.Header.Get("X-Forwarded-For")
		if values := r.Header.Values("X-Forwarded-For"); len(values) > 1 {
			last = values[len(values)-1]
		}
		if addr, err := netip.ParseAddr(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])); err == nil {
			return addr
		}
	}
	return auth.Peer(r)
}

// Address is Client as text, and for one that has no address what net/http says instead.
func (p *Proxies) Address(r *http.Request) string {
	if addr := p.Client(r); addr.IsValid() {
		return addr.String()
	}
	return r.RemoteAddr
}

// Origin is the scheme, "http" or "https", and the host that the client asked, as a trusted proxy in front reports them.
func (p *Proxies) Origin(r *http.Request) (scheme, host string) {
	scheme, host = "http", r.Host
	if p.Secure(r) {
		scheme = "https"
	}
	if given := r.Header.Get(p.host); given != "" && p.trusts(r) {
		host = given
	}
	return scheme, host
}

// publicHost is the host that the client asked for, as a proxy in front reports it.
func (r *request) publicHost() string {
	_, host := r.set.proxies.Origin(r.Request)
	return host
}

// publicScheme is "https" when the client's connection is encrypted, be it up to a proxy in front.
func (r *request) publicScheme() string {
	scheme, _ := r.set.proxies.Origin(r.Request)
	return scheme
}

// hostname is a host without its port.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}
