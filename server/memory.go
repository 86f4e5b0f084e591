package server

import (
	"net/netip"
	"sync"
)

// memory is what requests may hold together of one kind of thing, and the share of it that one party may hold.
type memory struct {
	share int64

	mu   sync.Mutex
	left int64
	held map[party]int64
}

// party is whom memory is counted for: a user, or those who are nobody at an IPv4 address or in the /64 of an IPv6 one.
type party struct {
	user    string
	network netip.Prefix
}

func newMemory(size, share int64) *memory {
	return &memory{share: share, left: size, held: map[party]int64{}}
}

// take counts n bytes more for a party, or reports that they are too many.
func (m *memory) take(by party, n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > m.left || n > m.share-m.held[by] {
		return false
	}
	m.left -= n
	m.held[by] += n
	return true
}

// give takes back what was counted for a party.
func (m *memory) give(by party, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left += n
	if m.held[by] -= n; m.held[by] == 0 {
		delete(m.held, by)
	}
}

// party is whom the memory of a request is counted for.
func (r *request) party() party {
	if !r.who.Anonymous() {
		return party{user: r.who.Name}
	}
	addr := r.set.proxies.Client(r.Request).Unmap()
	network, _ := addr.Prefix(min(addr.BitLen(), 64)) // of the zero Addr none
	return party{network: network}
}
