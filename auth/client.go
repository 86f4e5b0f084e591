package auth

import (
	"context"
	"net/http"
	"net/netip"
)

// clientKey marks the context of requests with their client's address.
type clientKey struct{}

// WithClient returns a context whose sign-ons count as those of the client at address: for [Lockout], and for a fair share of slow hashes.
func WithClient(ctx context.Context, address netip.Addr) context.Context {
	return context.WithValue(ctx, clientKey{}, address)
}

// Client returns the address that WithClient was given; the zero Addr, which all unknown clients share, when there is none.
func Client(ctx context.Context) netip.Addr {
	address, _ := ctx.Value(clientKey{}).(netip.Addr)
	return address
}

// Peer is the address at the other end of a request's connection, whatever headers say; the zero Addr when it has none, as on a Unix socket.
func Peer(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap()
}
