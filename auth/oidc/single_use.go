package oidc

import (
	"crypto/sha256"
	"sync"
	"time"
)

// singleUse remembers what has been used: states of logins, and the jti of logout tokens. It keeps two generations of digests. When the younger is full or old, it
// becomes the older, and the older is forgotten. What is forgotten must not become good again; so whatever is not younger than all of it is refused from then on.
// Under attack logins have less time, but memory stays bounded and nothing serves twice. The zero value is ready.
type singleUse struct {
	mu           sync.Mutex
	young, older generation
	forgotten    time.Time // what is from then or before counts as used
}

type generation struct {
	used   map[[sha256.Size]byte]struct{}
	began  time.Time
	newest time.Time // of what is in it
}

// maxGeneration bounds a generation's digests, at about 40 bytes each.
const maxGeneration = 50_000

// use reports whether key, which was made at the time made and is good for at most life, is used for the first time.
func (s *singleUse) use(key string, made, now time.Time, life time.Duration) bool {
	digest := sha256.Sum256([]byte(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young.used == nil {
		s.young = generation{used: make(map[[sha256.Size]byte]struct{}), began: now}
	}
	if len(s.young.used) >= maxGeneration || now.Sub(s.young.began) > life {
		if s.older.newest.After(s.forgotten) {
			s.forgotten = s.older.newest
		}
		s.older, s.young = s.young, generation{used: make(map[[sha256.Size]byte]struct{}), began: now}
	}
	if !made.After(s.forgotten) {
		return false
	}
	for _, g := range []*generation{&s.young, &s.older} {
		if _, used := g.used[digest]; used {
			return false
		}
	}
	s.young.used[digest] = struct{}{}
	if made.After(s.young.newest) {
		s.young.newest = made
	}
	return true
}
