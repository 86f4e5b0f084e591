package oauth1

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// Their texts are for the client.
var (
	//lint:ignore ST1005 a sentence for the client
	errStale = errors.New("Timestamp is too far from the server's clock.")
	//lint:ignore ST1005 a sentence for the client
	errStarted = errors.New("Timestamp is from before the server started. Sign the request anew.")
	//lint:ignore ST1005 a sentence for the client
	errUsed = errors.New("Nonce has been used.")
	errFull = errors.New("nonce memory is full")
)

// NonceOptions bound what a Nonces takes and remembers.
type NonceOptions struct {
	Window time.Duration    // how far a timestamp may be from the clock, either way, to the second; 0: 5 minutes
	Max    int              // how many nonces are remembered, at about 60 bytes each; 0: 500,000
	Now    func() time.Time // nil: time.Now
}

// Nonces remembers the nonces of signed requests for as long as their timestamps are taken (RFC 5849 §3.3), so that no request is taken
// twice. It is safe for concurrent use. Only well-signed requests enter it, so strangers cannot fill it; one consumer can fill half of it.
type Nonces struct {
	o       NonceOptions
	window  int64
	started int64 // Unix seconds

	mu        sync.Mutex
	used      map[int64]map[nonceKey]*consumer // by timestamp
	consumers map[string]*consumer             // those who have nonces here
	size      int
	swept     int64 // the time of the last sweep
}

// nonceKey is a digest of consumer, token and nonce. Half a SHA-256 is enough: who looks for a collision finds one of requests of their own.
type nonceKey [16]byte

// consumer counts what one has in the memory.
type consumer struct {
	name string
	n    int
}

// NewNonces returns a Nonces that begins now: older timestamps are refused.
func NewNonces(o NonceOptions) *Nonces {
	if o.Window <= 0 {
		o.Window = 5 * time.Minute
	}
	if o.Max <= 0 {
		o.Max = 500_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Nonces{
		o: o, window: max(1, int64(o.Window/time.Second)), started: o.Now().Unix(),
		used: make(map[int64]map[nonceKey]*consumer), consumers: make(map[string]*consumer),
	}
}

// inTime fails with errStale or errStarted.
func (n *Nonces) inTime(timestamp int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.inTimeAt(timestamp, n.o.Now().Unix())
}

func (n *Nonces) inTimeAt(timestamp, now int64) error {
	switch {
	case timestamp < now-n.window || timestamp > now+n.window:
		return errStale
	case timestamp <= n.started:
		return errStarted // in the second of the start too: it has begun before
	}
	return nil
}

// use fails with errUsed, errFull, or as inTime does; else it remembers.
func (n *Nonces) use(c *claim) error {
	key := c.nonceKey()
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.o.Now().Unix()
	n.sweep(now)
	if err := n.inTimeAt(c.timestamp, now); err != nil {
		return err
	}
	if _, ok := n.used[c.timestamp][key]; ok {
		return errUsed
	}
	by := n.consumers[c.consumer]
	if n.size >= n.o.Max || by != nil && by.n >= n.o.Max/2 {
		return errFull
	}
	if by == nil {
		by = &consumer{name: c.consumer}
		n.consumers[c.consumer] = by
	}
	if n.used[c.timestamp] == nil {
		n.used[c.timestamp] = make(map[nonceKey]*consumer)
	}
	n.used[c.timestamp][key] = by
	by.n++
	n.size++
	return nil
}

// nonceKey keeps the fields apart by their lengths, whatever bytes they hold.
func (c *claim) nonceKey() (key nonceKey) {
	var b []byte
	for _, field := range []string{c.consumer, c.token, c.nonce} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	sum := sha256.Sum256(b)
	copy(key[:], sum[:])
	return key
}

// sweep forgets, once a second, the timestamps that are taken no more. There are no more of them than seconds in two windows.
//
// A clock that is set back by more than a window would make them good again; so what is forgotten raises the bound that the start has set.
func (n *Nonces) sweep(now int64) {
	if now == n.swept {
		return
	}
	n.swept = now
	for timestamp, keys := range n.used {
		if timestamp >= now-n.window {
			continue
		}
		for _, by := range keys {
			if by.n--; by.n == 0 {
				delete(n.consumers, by.name)
			}
		}
		n.size -= len(keys)
		delete(n.used, timestamp)
		n.started = max(n.started, timestamp)
	}
}
