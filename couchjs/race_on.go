//go:build race

package couchjs

// raceMemory is what the race detector may take besides, for it follows every access to memory.
const raceMemory = 2 << 30
