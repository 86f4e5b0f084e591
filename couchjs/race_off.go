//go:build !race

package couchjs

const raceMemory = 0
