package oidc_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain finds what is left of fetches that a Close did not wait for.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
