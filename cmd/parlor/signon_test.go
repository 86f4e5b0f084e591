package main

import (
	"net/netip"
	"slices"
	"testing"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"10.0.0.0/33", "localhost", "10.0.0.1, x", "::1%lo/128"} {
		if list, err := networks(text); err == nil {
			t.Errorf("%q gives %v", text, list)
		}
	}
	got, err := networks(" 10.0.0.0/8,::1 ,, 192.168.1.7")
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.168.1.7/32")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	// An empty list trusts nobody, where nil would mean the default.
	if got, err := networks(""); err != nil || got == nil || len(got) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
}
