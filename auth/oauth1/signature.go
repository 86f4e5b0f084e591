package oauth1

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
)

// method is an oauth_signature_method.
type method string

const (
	hmacSHA1   method = "HMAC-SHA1"
	hmacSHA256 method = "HMAC-SHA256"
	rsaSHA1    method = "RSA-SHA1"
	plaintext  method = "PLAINTEXT"
)

var methods = []method{hmacSHA1, hmacSHA256, rsaSHA1, plaintext}

// verify reports whether signature is that of base (RFC 5849 §3.4). A credential with an RSA key takes RSA-SHA1 only, one without takes all others.
func (c *Credential) verify(m method, base, signature string) bool {
	if (c.RSAKey != nil) != (m == rsaSHA1) {
		return false
	}
	key := encode(c.ConsumerSecret) + "&" + encode(c.TokenSecret)
	if m == plaintext {
		// Digests, so that the time does not tell how long the secrets are.
		want, got := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(signature))
		return subtle.ConstantTimeCompare(want[:], got[:]) == 1
	}
	mac, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil {
		return false
	}
	switch m {
	case hmacSHA1:
		return hmac.Equal(mac, sign(sha1.New, key, base))
	case hmacSHA256:
		return hmac.Equal(mac, sign(sha256.New, key, base))
	case rsaSHA1:
		digest := sha1.Sum([]byte(base))
		return rsa.VerifyPKCS1v15(c.RSAKey, crypto.SHA1, digest[:], mac) == nil
	default:
		return false
	}
}

func sign(newHash func() hash.Hash, key, base string) []byte {
	mac := hmac.New(newHash, []byte(key))
	mac.Write([]byte(base))
	return mac.Sum(nil)
}
