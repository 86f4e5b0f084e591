package oidc

import (
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// TestPublic: of each network that is nobody's on the internet, its first and last address, by every name that it has.
func TestPublic(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255",
		"172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255",
		"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:53aa:64c::1", "2001:db8::1",
		"2002:7f00:1::1", "2002:a00:1::", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff00::", "ff02::1", "ffff::1",
	} {
		if public(netip.MustParseAddr(text)) {
			t.Errorf("%s is taken for a public address", text)
		}
		if err := refusePrivate("tcp", netip.AddrPortFrom(netip.MustParseAddr(text), 443).String(), nil); err == nil {
			t.Errorf("%s may be connected to", text)
		}
	}
	for _, text := range []string{"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255", "2600::1", "2a00:1450::1", "::ffff:8.8.8.8"} {
		if !public(netip.MustParseAddr(text)) {
			t.Errorf("%s is not taken for a public address", text)
		}
	}
	for _, text := range []string{"", "x", "example.com:443", "8.8.8.8", "/run/socket"} {
		if err := refusePrivate("tcp", text, nil); err == nil {
			t.Errorf("%q may be connected to", text)
		}
	}
}

// TestClientHasNoProxy: one that the environment names would reach what is refused here.
func TestClientHasNoProxy(t *testing.T) {
	t.Parallel()
	client := NewClient(ClientOptions{})
	base := client.Transport.(*transport).base
	if base.Proxy != nil || client.Jar != nil || client.Timeout != 10*time.Second {
		t.Errorf("a proxy, cookies or a timeout of %v", client.Timeout)
	}
}

func TestLifetimeOfHeaders(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 17, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, tt := range []struct {
		header http.Header
		want   time.Duration
	}{
		{http.Header{}, time.Hour},
		{http.Header{"Expires": {at(2 * time.Hour)}}, 2 * time.Hour},
		{http.Header{"Expires": {at(3 * time.Hour)}, "Date": {at(time.Hour)}}, 2 * time.Hour},
		{http.Header{"Expires": {at(-time.Hour)}}, time.Minute},
		{http.Header{"Expires": {"0"}}, time.Minute},
		{http.Header{"Expires": {"x"}, "Cache-Control": {"max-age=600"}}, 10 * time.Minute},
		{http.Header{"Expires": {at(2 * time.Hour)}, "Cache-Control": {"public", "max-age=600"}}, 10 * time.Minute},
		{http.Header{"Cache-Control": {"max-age=600"}, "Age": {"300"}}, 5 * time.Minute},
		{http.Header{"Cache-Control": {"max-age=600"}, "Age": {"9999"}}, time.Minute},
		{http.Header{"Cache-Control": {`max-age="600"`}}, 10 * time.Minute},
		{http.Header{"Cache-Control": {"max-age=600, no-store"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=18446744073709551615"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=9223372036854775807"}}, 24 * time.Hour},
	} {
		if got := lifetime(tt.header, now); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.header, got, tt.want)
		}
	}
}
