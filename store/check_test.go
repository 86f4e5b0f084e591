package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/parlordb/parlor/rev"
)

// TestCheckFinds damages a store in many ways, each of which Check must see.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	set := func(key, value []byte) func(*pebble.Batch, *DB) {
		return func(b *pebble.Batch, db *DB) { _ = b.Set(key, value, nil) }
	}
	for name, damage := range map[string]struct {
		do   func(*pebble.Batch, *DB)
		want string
	}{
		"a body is gone":       {func(b *pebble.Batch, db *DB) { _ = b.Delete(dbKeyN(db.id, kindBody, 2), nil) }, "body 2"},
		"a body too many":      {func(b *pebble.Batch, db *DB) { _ = b.Set(dbKeyN(db.id, kindBody, 99), []byte("\x00{}"), nil) }, "body 99"},
		"a body of other size": {func(b *pebble.Batch, db *DB) { _ = b.Set(dbKeyN(db.id, kindBody, 2), []byte("\x00{ }"), nil) }, "body 2"},
		"a row is gone":        {func(b *pebble.Batch, db *DB) { _ = b.Delete(dbKeyN(db.id, kindRow, 2), nil) }, "row 2"},
		"a row too many":       {func(b *pebble.Batch, db *DB) { _ = b.Set(dbKeyN(db.id, kindRow, 1), nil, nil) }, "rows for"},
		"a record is gone":     {func(b *pebble.Batch, db *DB) { _ = b.Delete(dbKeyText(db.id, kindDoc, "a"), nil) }, "rows for"},
		"a record is nonsense": {func(b *pebble.Batch, db *DB) { _ = b.Set(dbKeyText(db.id, kindDoc, "a"), []byte("x"), nil) }, "record"},
		"garbage is forgotten": {func(b *pebble.Batch, db *DB) { _ = b.Delete(dbKeyN(db.id, kindGarbage, 1), nil) }, "not on the list"},
		"a leaf is garbage": {func(b *pebble.Batch, db *DB) {
			_ = b.Set(dbKeyN(db.id, kindGarbage, 2), garbage{id: "a"}.append(nil), nil)
		}, "a leaf's"},
		"a chunk is gone":       {func(b *pebble.Batch, db *DB) { _ = b.Delete(chunkKey(db.id, 1, 0), nil) }, "0 of 5 bytes"},
		"a chunk has changed":   {func(b *pebble.Batch, db *DB) { _ = b.Set(chunkKey(db.id, 1, 0), []byte("BYTES"), nil) }, "digest"},
		"a chunk of nobody":     {func(b *pebble.Batch, db *DB) { _ = b.Set(chunkKey(db.id, 7, 0), []byte("x"), nil) }, "nobody's"},
		"an attachment is gone": {func(b *pebble.Batch, db *DB) { _ = b.Delete(dbKeyN(db.id, kindAttachment, 1), nil) }, "is missing"},
		"an attachment too many": {func(b *pebble.Batch, db *DB) {
			_ = b.Set(dbKeyN(db.id, kindAttachment, 7), appendOwner(nil, "a", 0), nil)
		}, "referred to by no revision"},
		"no state":              {func(b *pebble.Batch, db *DB) { _ = b.Delete(dbKey(db.id, kindState), nil) }, "state"},
		"no security":           {func(b *pebble.Batch, db *DB) { _ = b.Delete(dbKey(db.id, kindSecurity), nil) }, "_security"},
		"an unknown kind":       {func(b *pebble.Batch, db *DB) { _ = b.Set(dbKey(db.id, 'z'), nil, nil) }, "no known kind"},
		"an unknown database":   {set(dbKey(99, kindState), nil), "no database"},
		"a name without number": {set(nameKey("x"), nil), "the record of a name"},
		"two names, one number": {func(b *pebble.Batch, db *DB) {
			_ = b.Set(nameKey("x"), nameRecord{id: db.id}.append(nil), nil)
		}, "same number"},
		"a foreign update": {set(updateKey(50), []byte("ux")), "update log"},
		"a lost deletion":  {set(deletedKey("x"), binary.BigEndian.AppendUint64(nil, 44)), "update log"},
		"wrong counters": {func(b *pebble.Batch, db *DB) {
			st := db.state
			st.docs++
			st.total++
			_ = b.Set(dbKey(db.id, kindState), st.append(nil), nil)
		}, "it says that it has"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open("data", Options{FS: vfs.NewMem()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			db := create(t, s, "db")
			r := put(t, db, "a", `{}`, rev.ID{})
			a, _ := attach(t, db, "bytes")
			a.Name = "a"
			if _, err := db.Put(context.Background(), Write{Doc: Doc{ID: "a", Body: []byte(`{}`), Attachments: []Attachment{a}}, Base: r}, nil); err != nil {
				t.Fatal(err)
			}
			verify(t, s)
			b := s.pebble.NewBatch()
			damage.do(b, db)
			if err := b.Commit(pebble.Sync); err != nil {
				t.Fatal(err)
			}
			s.show(s.capture())
			problems, err := s.Check(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(fmt.Sprint(problems), damage.want) {
				t.Errorf("problems %q, want one with %q", problems, damage.want)
			}
		})
	}
}
