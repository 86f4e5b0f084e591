package oidc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	// maxAnswer bounds what a provider may answer, in bytes and after decompression. The largest key sets have some tens of thousands.
	maxAnswer = 1 << 20
	// maxRedirects bounds how often a provider may send a request on, within its host.
	maxRedirects = 5
)

// ClientOptions say to where requests may go out.
type ClientOptions struct {
	Insecure     bool          // http too
	AllowPrivate bool          // loopback, private and link-local addresses too
	Timeout      time.Duration // of a whole request; 0: 10 seconds
}

// NewClient returns a client for requests to providers: https alone, no private addresses (checked after the name is resolved), no redirects to other hosts,
// bounded time and size. Proxies that the environment names are not used: what is refused here would be reached through them.
func NewClient(o ClientOptions) *http.Client {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	dialer := &net.Dialer{Timeout: o.Timeout}
	if !o.AllowPrivate {
		dialer.Control = refusePrivate
	}
	return &http.Client{
		Transport: &transport{insecure: o.Insecure, base: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    o.Timeout,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    2,
			MaxConnsPerHost:        32,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}},
		CheckRedirect: stayAtHost,
		Timeout:       o.Timeout,
	}
}

// transport refuses what is not https, and answers that are too large.
type transport struct {
	insecure bool
	base     *http.Transport
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkURL(r.URL, t.insecure); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	answer, err := t.base.RoundTrip(r)
	if err == nil {
		answer.Body = &boundedBody{answer.Body, maxAnswer}
	}
	return answer, err
}

// CloseIdleConnections is what http.Client's calls.
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// checkURL refuses what no request may be made to. The error does not hold the URL, which may have a secret in it.
func checkURL(u *url.URL, insecure bool) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return errors.New("not an absolute https URL")
	case u.Scheme == "http" && !insecure:
		return errors.New("http is refused, for anyone on the way could put in keys of their own: use https, or set insecure")
	case u.User != nil:
		return errors.New("a URL with a user's name or password is refused")
	}
	return nil
}

// parseURL reads a URL that requests of client may go to. Where a client that is not of NewClient may send them is its maker's business.
func parseURL(text string, client *http.Client) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not an absolute https URL")
	}
	t, ours := client.Transport.(*transport)
	return u, checkURL(u, !ours || t.insecure)
}

func stayAtHost(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case r.URL.Host != first.Host || r.URL.Scheme != first.Scheme:
		return fmt.Errorf("a redirect to another host, %.100q, is refused", r.URL.Scheme+"://"+r.URL.Host)
	}
	return nil
}

// boundedBody fails when there is more than was allowed.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more, which tells an end from an excess
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	b.left -= int64(n)
	return n, err
}

// refusePrivate is called for each address that a name has, before it is connected to.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !public(to.Addr()) {
		return errors.New("the address is not a public one: set allow_private for a provider in your own network")
	}
	return nil
}

// special are networks beside those that netip knows by name in which no provider on the internet is (RFC 6890, and the ways of IPv6 to reach IPv4 addresses
// by another name).
var special = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carriers' NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"), // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/32"), // Teredo
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("fec0::/10"),
}

// public reports whether an address may be anyone's on the internet.
func public(address netip.Addr) bool {
	address = address.Unmap()
	if !address.IsGlobalUnicast() || address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() {
		return false
	}
	for _, network := range special {
		if network.Contains(address.WithZone("")) {
			return false
		}
	}
	return true
}
