package auth

import (
	"errors"
	"strconv"
	"testing"
	"time"
)

func TestTOTPMemoryIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(59, 0)
	v := &TOTP{Now: func() time.Time { return now }, used: map[int64]map[string]struct{}{0: {}}, n: maxUsed}
	for i := range maxUsed {
		v.used[0][strconv.Itoa(i)] = struct{}{}
	}
	key, err := ParseTOTPKey("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	err = v.Verify("anna", key, "287082")
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Status != 503 || refusal.Header.Get("Retry-After") == "" {
		t.Fatalf("full: %v, want a refusal: to forget a code is to take it twice", err)
	}
	now = now.Add(time.Hour)
	if err := v.Verify("anna", key, "000000"); err == nil {
		t.Error("a wrong code is taken")
	}
	if v.n != 0 || len(v.used) != 0 {
		t.Errorf("after an hour %d codes of %d steps are kept", v.n, len(v.used))
	}
}
