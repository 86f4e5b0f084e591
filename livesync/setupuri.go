package livesync

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// setupPrefix begins a Setup URI. The plugin takes only what begins exactly so.
const setupPrefix = "obsidian://setuplivesync?settings="

// Sizes of what is sealed in a Setup URI, in order, and the tag at the end.
const (
	pbkdf2SaltSize = 32
	ivSize         = 12
	hkdfSaltSize   = 32
	tagSize        = 16
)

// pbkdf2Iterations is LiveSync's, and takes some 0.1 s.
const pbkdf2Iterations = 310_000

// MaxSettings is how long the settings in a Setup URI may be, in bytes. LiveSync's, written out whole, are some 10,000.
const MaxSettings = 64 << 10

// maxURI bounds a Setup URI before it is looked at: base64 of the longest settings, percent-encoded as badly as can be.
const maxURI = len(setupPrefix) + 3*(4*(pbkdf2SaltSize+ivSize+hkdfSaltSize+MaxSettings+tagSize)/3+8)

// ErrPassphrase is what [Decode] fails with when the passphrase is not the URI's. Of a URI that was changed on its way the same is all
// that can be said.
var ErrPassphrase = errors.New("the passphrase is not the Setup URI's, or the URI was changed")

// Encode returns the Setup URI of LiveSync settings, which is worth nothing without the passphrase. settings is a JSON object of at most
// [MaxSettings] bytes; the passphrase is not empty. Every call takes fresh salts, so that no two URIs are the same.
func Encode(settings jsontext.Value, passphrase string) (string, error) {
	var r randomness
	rand.Read(r.pbkdf2Salt[:]) // never fails
	rand.Read(r.iv[:])
	rand.Read(r.hkdfSalt[:])
	return encode(settings, passphrase, r, pbkdf2Iterations)
}

// randomness is what makes two URIs of the same settings differ.
type randomness struct {
	pbkdf2Salt [pbkdf2SaltSize]byte
	iv         [ivSize]byte
	hkdfSalt   [hkdfSaltSize]byte
}

// encode is Encode without its randomness, and with the number of iterations, which tests lower: under the race detector they take seconds.
func encode(settings jsontext.Value, passphrase string, r randomness, iterations int) (string, error) {
	switch {
	case passphrase == "":
		return "", errors.New("a Setup URI needs a passphrase")
	case len(settings) > MaxSettings:
		return "", fmt.Errorf("the settings have %d bytes, and a Setup URI takes %d", len(settings), MaxSettings)
	case !isObject(settings):
		return "", errors.New("the settings are no JSON object")
	}
	aead, err := r.cipher(passphrase, iterations)
	if err != nil {
		return "", err
	}
	s := sealed{randomness: r, text: aead.Seal(nil, r.iv[:], settings, nil)}
	return s.uri(), nil
}

// Decode returns the settings in a Setup URI, a JSON object exactly as it was sealed. White space in the URI, as a terminal or a mail puts it
// there, is passed over. It fails with [ErrPassphrase] for a wrong passphrase, and with an error that says what it was given for anything but a
// Setup URI of LiveSync 0.25 or later.
func Decode(uri, passphrase string) (jsontext.Value, error) {
	return decode(uri, passphrase, pbkdf2Iterations)
}

func decode(uri, passphrase string, iterations int) (jsontext.Value, error) {
	s, err := parse(uri)
	if err != nil {
		return nil, err
	}
	aead, err := s.cipher(passphrase, iterations)
	if err != nil {
		return nil, err
	}
	settings, err := aead.Open(nil, s.iv[:], s.text, nil)
	if err != nil {
		return nil, ErrPassphrase
	}
	if !isObject(settings) {
		return nil, errors.New("the Setup URI holds no JSON object")
	}
	return settings, nil
}

// cipher derives the key of one URI.
func (r *randomness) cipher(passphrase string, iterations int) (cipher.AEAD, error) {
	master, err := pbkdf2.Key(sha256.New, passphrase, r.pbkdf2Salt[:], iterations, 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, master, r.hkdfSalt[:], "", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealed is a Setup URI taken apart. text is the settings, encrypted, and the tag.
type sealed struct {
	randomness
	text []byte
}

// sealedPrefix marks the form with the salts in front; octagonal-wheels has others for other uses.
const sealedPrefix = "%$"

func (s *sealed) uri() string {
	b := make([]byte, 0, pbkdf2SaltSize+ivSize+hkdfSaltSize+len(s.text))
	b = append(b, s.pbkdf2Salt[:]...)
	b = append(b, s.iv[:]...)
	b = append(b, s.hkdfSalt[:]...)
	b = append(b, s.text...)
	return setupPrefix + encodeURIComponent(sealedPrefix+base64.StdEncoding.EncodeToString(b))
}

// parse takes a Setup URI apart. Its errors repeat nothing of the URI.
func parse(uri string) (*sealed, error) {
	if len(uri) > maxURI {
		return nil, fmt.Errorf("this is too long for a Setup URI: %d bytes", len(uri))
	}
	uri = strings.Join(strings.Fields(uri), "")
	text, ok := strings.CutPrefix(uri, setupPrefix)
	switch {
	case ok:
	case strings.HasPrefix(uri, "obsidian://setuplivesync?settingsQR="):
		return nil, errors.New("this is the text of LiveSync's own QR code, not a Setup URI; copy a Setup URI with the command 'Copy settings as a new setup URI'")
	default:
		return nil, errors.New("this is no Setup URI: one begins with " + setupPrefix)
	}
	text, err := url.PathUnescape(text)
	if err != nil || !utf8.ValidString(text) {
		return nil, errors.New("the Setup URI is damaged: a % is not followed by two hexadecimal digits")
	}
	encoded, ok := strings.CutPrefix(text, sealedPrefix)
	switch {
	case ok:
	case strings.HasPrefix(text, "%"), strings.HasPrefix(text, "["):
		return nil, errors.New("this Setup URI is of an old form; update the plugin on the device that made it and copy the Setup URI anew")
	default:
		return nil, errors.New("the Setup URI is damaged: its settings do not begin with " + sealedPrefix)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, errors.New("the Setup URI is damaged: its settings are not base64; was it copied whole?")
	}
	const head = pbkdf2SaltSize + ivSize + hkdfSaltSize
	if len(b) < head+tagSize {
		return nil, errors.New("the Setup URI is too short; was it copied whole?")
	}
	s := &sealed{text: b[head:]}
	copy(s.pbkdf2Salt[:], b)
	copy(s.iv[:], b[pbkdf2SaltSize:])
	copy(s.hkdfSalt[:], b[pbkdf2SaltSize+ivSize:])
	return s, nil
}

func isObject(v jsontext.Value) bool {
	return v.IsValid() && v.Kind() == '{'
}

// encodeURIComponent is ECMAScript's function of that name (ECMA-262 §19.2.6.4).
func encodeURIComponent(s string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
