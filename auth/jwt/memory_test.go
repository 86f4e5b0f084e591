package jwt

import (
	"encoding/binary"
	"testing"
)

// TestMemoryIsBounded: tokens that list many groups are large, and what is remembered of them is bounded by bytes, not by their number.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 700, 24 << 10} {
		m := newMemory[int]()
		for i := range 50_000 {
			var hash tokenHash
			binary.LittleEndian.PutUint64(hash[:], uint64(i))
			m.keep(hash, 0, i, size)
		}
		held := 0
		for hash := range m.verified.All() {
			if v, ok := m.recall(hash, 0); !ok || binary.LittleEndian.Uint64(hash[:]) != uint64(v) {
				t.Fatalf("%d bytes: %x is remembered as %d, %v", size, hash, v, ok)
			}
			held += size + rememberedOverhead
		}
		if held > maxRememberedBytes || held < maxRememberedBytes*9/10 {
			t.Errorf("%d bytes each: %d bytes are remembered, want nearly %d", size, held, maxRememberedBytes)
		}
	}
}
