package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/parlordb/parlor/config"
)

// proxies are the peers whose X-Forwarded-* headers are believed.
type proxies struct {
	trusted    []netip.Prefix
	host       string
	proto, ssl string
}

func newProxies(s *config.Snapshot) (*proxies, error) {
	p := &proxies{
		host:  s.String("X-Forwarded-Host", "x_forwarded_host", "chttpd", "httpd"),
		proto: s.String("X-Forwarded-Proto", "x_forwarded_proto", "chttpd", "httpd"),
		ssl:   s.String("X-Forwarded-Ssl", "x_forwarded_ssl", "chttpd", "httpd"),
	}
	for item := range strings.SplitSeq(s.String("", "trusted_proxies", "parlor"), ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(item)
		if err != nil {
			addr, err := netip.ParseAddr(item)
			if err != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", item)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

// strip removes the headers from a request whose peer is not trusted, so that whoever reads them may believe them.
func (p *proxies) strip(r *http.Request) {
	if p.trusts(r.RemoteAddr) {
		return
	}
	for _, name := range []string{p.host, p.proto, p.ssl, "X-Forwarded-For", "Forwarded"} {
		r.Header.Del(name)
	}
}

func (p *proxies) trusts(remote string) bool {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, prefix := range p.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// secure reports whether a request that was stripped came to its client over TLS.
func (p *proxies) secure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get(p.ssl) == "on" || r.Header.Get(p.proto) == "https"
}
