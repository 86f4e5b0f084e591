package store

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// The first byte of a key tells what it is. Integers in keys are big-endian, so that keys sort as the numbers do.
const (
	keyFormat  byte = 0x00 // → format
	keyName    byte = 0x01 // name → nameRecord
	keyUpdate  byte = 0x02 // update sequence → type, name
	keyDeleted byte = 0x03 // name of a deleted database → its update sequence
	keyNextID  byte = 0x04 // → the id that the next new database gets
	keyPending byte = 0x05 // database id, attachment → nothing: its chunks belong to no revision
	keyReserve byte = 0x06 // → attachment numbers below this one may be in use
	keyTrash   byte = 0x07 // name of a discarded database that is kept → trashRecord
	keyData    byte = 0x10 // database id, kind, … : what belongs to one database
)

// The kinds of keys within a database.
const (
	kindState      byte = 's' // → state
	kindSecurity   byte = 'c' // → the _security object
	kindProperties byte = 'o' // → what the owner of the store keeps beside it, if anything
	kindDoc        byte = 'd' // document id → record
	kindRow        byte = 'q' // update sequence → row
	kindBody       byte = 'b' // body number → attachments' metadata, JSON
	kindGarbage    byte = 'g' // number of a body that is no leaf's → garbage
	kindLocal      byte = 'l' // id → N, JSON
	kindAttachment byte = 'a' // attachment → stored length, document id
	kindChunk      byte = 'k' // attachment, chunk number → bytes
	kindPurge      byte = 'p' // purge sequence → document id, revisions
)

// format is the version of this layout. A store with another one is not opened.
const format = 1

// dbKey begins a key of the database id.
func dbKey(id uint64, kind byte) []byte {
	return append(binary.BigEndian.AppendUint64(append(make([]byte, 0, 32), keyData), id), kind)
}

// dbKeyN is the key of the n-th thing of a kind.
func dbKeyN(id uint64, kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(dbKey(id, kind), n)
}

// dbKeyText is the key of the thing of a kind that has a name.
func dbKeyText(id uint64, kind byte, name string) []byte {
	key := make([]byte, 0, dbKeyLen+len(name))
	key = append(binary.BigEndian.AppendUint64(append(key, keyData), id), kind)
	return append(key, name...)
}

// dbKeyLen is the length of what dbKey returns.
const dbKeyLen = 10

func chunkKey(id, ref uint64, chunk uint32) []byte {
	return binary.BigEndian.AppendUint32(dbKeyN(id, kindChunk, ref), chunk)
}

func pendingKey(id, ref uint64) []byte {
	key := binary.BigEndian.AppendUint64([]byte{keyPending}, id)
	return binary.BigEndian.AppendUint64(key, ref)
}

func nameKey(name string) []byte    { return append([]byte{keyName}, name...) }
func trashKey(name string) []byte   { return append([]byte{keyTrash}, name...) }
func deletedKey(name string) []byte { return append([]byte{keyDeleted}, name...) }
func updateKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyUpdate}, seq)
}

// keyNumber reads the number that ends a key.
func keyNumber(key []byte) uint64 {
	return binary.BigEndian.Uint64(key[len(key)-8:])
}

// after is the first key behind all keys that begin with prefix, nil when there is none.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// within bounds an iterator to the keys that begin with prefix.
func within(prefix []byte) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}
}

// read returns a copy of the value of key, nil when there is none.
func read(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if err == pebble.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Not nil, though the value may be empty.
	v = append(make([]byte, 0, len(v)), v...)
	return v, closer.Close()
}
