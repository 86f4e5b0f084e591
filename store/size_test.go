package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/parlordb/parlor/rev"
)

// TestOtherBytes: ids, histories and _local documents are counted, of a kept copy too.
func TestOtherBytes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	db := create(t, s, "db")
	var was uint64
	grows := func(what string, least, most uint64) {
		t.Helper()
		now, err := db.OtherBytes()
		if err != nil || now < was+least || now > was+most {
			t.Errorf("with %s it grows by %d, want %d to %d; %v", what, now-was, least, most, err)
		}
		was = now
	}
	grows("nothing", 0, 0)
	put(t, db, strings.Repeat("i", 1000), `{"body":"`+strings.Repeat("x", 5000)+`"}`, rev.ID{})
	grows("an id", 1000, 1100)
	long := rev.ID{Gen: 2, Hash: strings.Repeat("h", 200)}
	if _, err := db.Write(ctx, []Write{{Doc: Doc{ID: "d", Deleted: true, Body: []byte("{}")}, History: []rev.ID{long, {Gen: 1, Hash: strings.Repeat("g", 200)}}}}, nil); err != nil {
		t.Fatal(err)
	}
	grows("the history of a tombstone", 400, 700)
	if _, err := db.PutLocal(ctx, "checkpoint", 0, []byte(`{"n":"`+strings.Repeat("x", 993)+`"}`)); err != nil {
		t.Fatal(err)
	}
	grows("a _local document", 1000, 1100)
	if err := s.Discard(ctx, "db", true); err != nil {
		t.Fatal(err)
	}
	if _, err := db.OtherBytes(); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("of a database that is gone: %v", err)
	}
	kept, err := s.TrashedCopy("db")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.TrashedOtherBytes(&kept); n != was || err != nil {
		t.Errorf("the copy has %d, %v, want %d", n, err, was)
	}
	if err := s.Expunge(ctx, "db"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.TrashedOtherBytes(&kept); n != 0 || err != nil {
		t.Errorf("the copy that has gone has %d, %v", n, err)
	}
}
