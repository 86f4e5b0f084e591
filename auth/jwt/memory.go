package jwt

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/parlordb/parlor/auth"
)

const (
	maxRememberedBytes = 16 << 20
	rememberedOverhead = 512 // bytes that a token costs beside what is known of it
	maxFailures        = 1_000

	rememberFor        = 5 * time.Minute
	rememberFailureFor = 5 * time.Second
)

type tokenHash [sha256.Size]byte

// hashToken refuses tokens that are too long to be looked at.
func hashToken(token string) (tokenHash, error) {
	if len(token) > maxToken {
		return tokenHash{}, refuse(http.StatusBadRequest, "Authentication token is too long").About("jwt", "", "")
	}
	var stack [2048]byte // ID tokens fit
	return sha256.Sum256(append(stack[:0], token...)), nil
}

// memory remembers tokens by their hash: those that verified, with what is known of them, and in a place of their own, so that junk cannot push out
// good ones, those whose signature was wrong. What depends on the time is to be checked at each use.
type memory[V any] struct {
	verified *otter.Cache[tokenHash, remembered[V]]
	failed   *otter.Cache[tokenHash, remembered[error]]
}

type remembered[V any] struct {
	value V
	until int64 // Unix seconds
	bytes int   // that value takes
}

func newMemory[V any]() memory[V] {
	// Entries carry their own age, so the caches need no goroutine: not to expire them, and not to keep their bounds.
	here := func(f func()) { f() }
	return memory[V]{
		verified: otter.Must(&otter.Options[tokenHash, remembered[V]]{MaximumWeight: maxRememberedBytes, Weigher: weigh[V], Executor: here}),
		failed:   otter.Must(&otter.Options[tokenHash, remembered[error]]{MaximumSize: maxFailures, Executor: here}),
	}
}

// recall returns what is known of a token that verified.
func (m *memory[V]) recall(hash tokenHash, now int64) (v V, ok bool) {
	if r, found := m.verified.GetIfPresent(hash); found && now < r.until {
		return r.value, true
	}
	return v, false
}

// refusal returns why a token was refused, nil when nothing is known.
func (m *memory[V]) refusal(hash tokenHash, now int64) error {
	if r, found := m.failed.GetIfPresent(hash); found && now < r.until {
		return r.value
	}
	return nil
}

func weigh[V any](_ tokenHash, r remembered[V]) uint32 { return uint32(rememberedOverhead + r.bytes) }

// keep remembers a token that verified. bytes is about what v takes, which is at most some times what the token did.
func (m *memory[V]) keep(hash tokenHash, now int64, v V, bytes int) {
	m.verified.Set(hash, remembered[V]{v, now + int64(rememberFor/time.Second), bytes})
}

// refused returns what to tell of a token that failed, and remembers it where that was its signature.
func (m *memory[V]) refused(hash tokenHash, now int64, said claimed, err error) error {
	wrong, ok := errors.AsType[*signatureError](err)
	if !ok {
		return said.in(err)
	}
	err = said.in(wrong.Refusal)
	m.failed.Set(hash, remembered[error]{err, now + int64(rememberFailureFor/time.Second), 0})
	return err
}

// signatureError is the one failure that costs enough to be remembered. It does not depend on the time.
type signatureError struct{ *auth.Refusal }

// atCost checks a signature at the cost of a budget, which a right one gets back.
func atCost[K any](budget *auth.Budget, client netip.Addr, check func() (K, error)) (K, error) {
	giveBack, err := budget.Take(client)
	if err != nil {
		var none K
		return none, err
	}
	k, err := check()
	if _, wrong := errors.AsType[*signatureError](err); !wrong {
		giveBack()
	}
	return k, err
}

// claimed is what a token says of itself, for the operator to read when it is refused. Nothing has proved it.
type claimed struct{ user, key string }

// in puts it into a refusal.
func (c claimed) in(err error) error {
	if refusal, ok := err.(*auth.Refusal); ok {
		return refusal.About("jwt", c.user, c.key)
	}
	return err
}
