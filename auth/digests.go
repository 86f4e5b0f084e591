package auth

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"hash"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/blake2s"
	//lint:ignore SA1019 CouchDB offers it; as an HMAC that an operator chose it still does its work
	"golang.org/x/crypto/md4"
	//lint:ignore SA1019 as above
	"golang.org/x/crypto/ripemd160"
)

// digest is a hash function that CouchDB's hash_algorithms may name.
type digest struct {
	name string // Erlang's
	size int    // bytes of its output
	new  func() hash.Hash
}

// digests are all that CouchDB knows (spec §3.1), in its order.
var digests = []digest{
	{"sha", sha1.Size, sha1.New},
	{"sha224", sha256.Size224, sha256.New224},
	{"sha256", sha256.Size, sha256.New},
	{"sha384", sha512.Size384, sha512.New384},
	{"sha512", sha512.Size, sha512.New},
	{"sha3_224", 28, func() hash.Hash { return sha3.New224() }},
	{"sha3_256", 32, func() hash.Hash { return sha3.New256() }},
	{"sha3_384", 48, func() hash.Hash { return sha3.New384() }},
	{"sha3_512", 64, func() hash.Hash { return sha3.New512() }},
	{"blake2b", blake2b.Size, unkeyed(blake2b.New512)},
	{"blake2s", blake2s.Size, unkeyed(blake2s.New256)},
	{"md4", md4.Size, md4.New},
	{"md5", md5.Size, md5.New},
	{"ripemd160", ripemd160.Size, ripemd160.New},
}

// unkeyed drops the error that BLAKE2 has for keys that are too long: there is none.
func unkeyed(f func(key []byte) (hash.Hash, error)) func() hash.Hash {
	return func() hash.Hash {
		h, _ := f(nil)
		return h
	}
}

// DigestNames lists what hash_algorithms may name, in CouchDB's order.
func DigestNames() []string {
	names := make([]string, len(digests))
	for i, d := range digests {
		names[i] = d.name
	}
	return names
}

// digestsNamed returns the digests of these names in their order. Unknown names are left out, as in CouchDB; when
// none is left it is sha256.
func digestsNamed(names []string) []digest {
	var found []digest
	for _, name := range names {
		for _, d := range digests {
			if d.name == name {
				found = append(found, d)
			}
		}
	}
	if len(found) == 0 {
		return digestsNamed([]string{"sha256"})
	}
	return found
}
