//go:build race

package program

// Race reports whether this program was built with the race detector: a test under -race builds its servers so too.
const Race = true
