package auth

import (
	"context"
	"errors"
)

// ErrNoRecord is a State's answer for an id that it does not hold, and ErrRecordChanged its answer to a version that is not the present one.
var (
	ErrNoRecord      = errors.New("no such record")
	ErrRecordChanged = errors.New("the record has changed meanwhile")
)

// Record is one JSON object that a State keeps.
type Record struct {
	ID      string // some words with "/" between, such as "session/…", at most 256 bytes; bytes are compared
	Body    []byte // the JSON object, at most 128 KiB, kept as it is; one that a State returned must not be changed
	Version string // what Put compares: "" for a record that is to be made
}

// State is where sign-on keeps what must outlive the process: sessions, access tokens, device keys. Only hashes of secrets are put into it, but for
// the keys of devices that sign with a shared secret. Implementations are safe for concurrent use. [MemoryState] is one; authtest.TestState tests the
// contract. A call whose ctx has ended before fails with ctx's error and changes nothing.
type State interface {
	// Get returns the record of id, or ErrNoRecord.
	Get(ctx context.Context, id string) (Record, error)
	// Put stores r and returns its new Version, when it is durable. It fails with ErrRecordChanged when r.Version is not the present one:
	// "" when there is such a record already, another when it was changed or deleted.
	Put(ctx context.Context, r Record) (version string, err error)
	// Delete removes the record of id, durably, whatever its version; ErrNoRecord when there is none. Of several at once, one succeeds.
	Delete(ctx context.Context, id string) error
	// List returns at most limit records whose ids begin with prefix and come after the id after, in the order of ids.
	List(ctx context.Context, prefix, after string, limit int) ([]Record, error)
	// Watch calls changed with the id of each record that is made, changed or deleted, by whomever, until stop is called. For a change through this
	// State, changed has returned before Put or Delete does; for one made elsewhere it is called within a second. It may be called concurrently.
	Watch(changed func(id string)) (stop func())
}
