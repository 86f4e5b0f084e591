package livesync

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The vector was made once and read by LiveSync's own library.
const (
	vectorPassphrase = "setup-päss"
	vectorSettings   = `{"couchDB_URI":"https://sync.example.org","couchDB_USER":"alice","couchDB_PASSWORD":"unused","couchDB_DBNAME":"alice-notes","useJWT":true,"jwtAlgorithm":"ES256","jwtKey":"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----","jwtKid":"dev1","jwtSub":"alice","jwtExpDuration":5,"encrypt":true,"passphrase":"correct horse","usePathObfuscation":true,"isConfigured":true}`
	vectorURI        = `obsidian://setuplivesync?settings=%25%24AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9AQUJDREVGR0hJSkuAgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en0vUv3gLrkhwPMBy4WukVbpcnE8DdpD5cDM%2FUdhrQ%2Bp055hDFO3ejixf1DCVUkrfIFHD88diGbr0ruAw%2F%2FR0kX0F1UUavkqR2oy9XUxRN5IPBblr5iEC1Ca6Tkhno674gvKaSqmBQokoGcgjPh90S4mDeEBuQbM4zIJSOAluWvJKy27I%2BUVIczSSxBiTxqGLNjgUByNmJZD8bDh15e5jJCgR%2Bi%2FTueOAxKG40%2Blr0Mwrk%2BraCbz0YwfotFsSn%2FswrqWgTw4l2%2BdVX1%2BmJJLAXdR3cfqiMPcPRrasefDd%2FPJqDKXVeSP4cdCfBoJko4YtVt3juebHJccO8DmRpS8Ff8htzVlfL2s8bnyZkqWEq0Wj89UZnhR%2FIqUvg28j42hTTRlRAeq073kmYW%2FZ9hRMUfyYSaUubWMh%2B4%2Bk0XOl0Utx4n2jhFGivqy9XMUbZaSr%2BEfCTwzT2SbNzf9PnfzKefq0OEJM58icUvziDeMb5PpwQZE%2BgOtCZp28fU1haE23OAz2S440zvY%3D`
	vectorURISum     = "acda3e83b4e38983d5b8ff8fcf9db269ac9d1182e474f343445a64d7f49cf91d"
)

func vectorRandomness() (r randomness) {
	fill := func(b []byte, from byte) {
		for i := range b {
			b[i] = from + byte(i)
		}
	}
	fill(r.pbkdf2Salt[:], 0x00)
	fill(r.iv[:], 0x40)
	fill(r.hkdfSalt[:], 0x80)
	return r
}

func TestVector(t *testing.T) {
	t.Parallel()
	uri, err := encode([]byte(vectorSettings), vectorPassphrase, vectorRandomness(), pbkdf2Iterations)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256([]byte(uri)); uri != vectorURI || hex.EncodeToString(sum[:]) != vectorURISum {
		t.Errorf("encode gives\n%s, want\n%s", uri, vectorURI)
	}
	settings, err := Decode(vectorURI, vectorPassphrase)
	if err != nil || string(settings) != vectorSettings {
		t.Errorf("Decode gives %s, %v", settings, err)
	}
}

// fewer iterations are enough where the vector is not meant.
const fewer = 2

// quickURI is a Setup URI of few iterations.
func quickURI(t *testing.T, settings, passphrase string) string {
	t.Helper()
	uri, err := encode([]byte(settings), passphrase, vectorRandomness(), fewer)
	if err != nil {
		t.Fatal(err)
	}
	return uri
}

// TestDecodeWrapped reads a URI as LiveSync copies it, with a blank behind, and as a terminal's lines.
func TestDecodeWrapped(t *testing.T) {
	t.Parallel()
	whole := quickURI(t, vectorSettings, "p")
	for _, uri := range []string{whole + " ", "  " + whole[:100] + "\r\n" + whole[100:] + "\n"} {
		if settings, err := decode(uri, "p", fewer); err != nil || string(settings) != vectorSettings {
			t.Errorf("%.20q…: %v", uri, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ uri, want string }{
		"nothing":           {"", "no Setup URI"},
		"another address":   {"https://sync.example.org", "no Setup URI"},
		"another command":   {"obsidian://open?vault=x", "no Setup URI"},
		"the unsealed form": {"obsidian://setuplivesync?settingsQR=%5B%5D", "LiveSync's own QR code"},
		"version 3":         {setupPrefix + "%25~abc", "old form"},
		"version 2":         {setupPrefix + "%25abc", "old form"},
		"version 1":         {setupPrefix + "%5B%22a%22%5D", "old form"},
		"no escape":         {setupPrefix + "%2", "damaged"},
		"no UTF-8":          {setupPrefix + "%ff", "damaged"},
		"no mark":           {setupPrefix + "abc", "damaged"},
		"no base64":         {setupPrefix + "%25%24a", "not base64"},
		"cut short":         {setupPrefix + "%25%24AAECAwQF", "too short"},
		"cut in the middle": {vectorURI[:len(vectorURI)-5], "copied whole"},
		"endless":           {setupPrefix + strings.Repeat("A", maxURI), "too long"},
	} {
		settings, err := Decode(c.uri, vectorPassphrase)
		if err == nil || settings != nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrPassphrase) {
			t.Errorf("%s: %s, %v; want an error with %q", name, settings, err, c.want)
		}
	}
}

func TestDecodeWrongPassphrase(t *testing.T) {
	t.Parallel()
	uri := quickURI(t, vectorSettings, vectorPassphrase)
	changed := sealed{randomness: vectorRandomness(), text: bytes.Repeat([]byte{1}, 100)}
	for name, c := range map[string]struct{ uri, passphrase string }{
		"another passphrase": {uri, "setup-pass"},
		"none":               {uri, ""},
		"a blank more":       {uri, vectorPassphrase + " "},
		"a changed text":     {changed.uri(), vectorPassphrase},
	} {
		if settings, err := decode(c.uri, c.passphrase, fewer); !errors.Is(err, ErrPassphrase) || settings != nil {
			t.Errorf("%s: %s, %v; want ErrPassphrase", name, settings, err)
		}
	}
}

// TestDecodeSealedGarbage seals what is no object with the right passphrase.
func TestDecodeSealedGarbage(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "null", "[]", `{"a":`, `{"a":1,"a":2}`} {
		r := vectorRandomness()
		aead, err := r.cipher("p", fewer)
		if err != nil {
			t.Fatal(err)
		}
		s := sealed{randomness: r, text: aead.Seal(nil, r.iv[:], []byte(text), nil)}
		if settings, err := decode(s.uri(), "p", fewer); err == nil {
			t.Errorf("%q is taken as %s", text, settings)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	long := []byte(`{"a":"` + strings.Repeat("x", MaxSettings) + `"}`)
	for name, c := range map[string]struct {
		settings   []byte
		passphrase string
	}{
		"no passphrase":    {[]byte(`{}`), ""},
		"no settings":      {nil, "p"},
		"no object":        {[]byte(`[]`), "p"},
		"half an object":   {[]byte(`{"a"`), "p"},
		"too long a thing": {long, "p"},
	} {
		if uri, err := Encode(c.settings, c.passphrase); err == nil || uri != "" {
			t.Errorf("%s: is taken", name)
		}
	}
}

func TestEncodeDecode(t *testing.T) {
	t.Parallel()
	longest := []byte(`{"a":"` + strings.Repeat("x", MaxSettings-8) + `"}`)
	for _, settings := range []string{`{}`, ` {"é":"\u00e9", "n":1e400} `, string(longest)} {
		uri := quickURI(t, settings, "pass wörd")
		if back, err := decode(uri, "pass wörd", fewer); err != nil || string(back) != settings {
			t.Errorf("%.20s comes back as %.20s, %v", settings, back, err)
		}
	}
}

// TestEncodeIsFresh asserts that no two URIs are alike, and that what Encode writes is what Decode reads.
func TestEncodeIsFresh(t *testing.T) {
	t.Parallel()
	one, err := Encode([]byte(`{}`), "p")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Encode([]byte(`{}`), "p")
	if err != nil || one == other {
		t.Errorf("two URIs are the same: %v", err)
	}
	if back, err := Decode(one, "p"); err != nil || string(back) != `{}` {
		t.Errorf("%s, %v", back, err)
	}
}

// TestLongestURI shows that what Encode makes is never too long for Decode, however badly its bytes encode.
func TestLongestURI(t *testing.T) {
	t.Parallel()
	s := sealed{text: bytes.Repeat([]byte{0xff}, MaxSettings+tagSize)} // base64 of 0xff is "/", which is escaped
	for i := range s.pbkdf2Salt {
		s.pbkdf2Salt[i] = 0xff
	}
	uri := s.uri()
	if _, err := parse(uri); err != nil {
		t.Errorf("%d bytes: %v", len(uri), err)
	}
}

func TestEncodeURIComponent(t *testing.T) {
	t.Parallel()
	const in = "%$+/=AZaz09-_.!~*'() \"é\x00"
	if got, want := encodeURIComponent(in), "%25%24%2B%2F%3DAZaz09-_.!~*'()%20%22%C3%A9%00"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzParse asserts that what parse takes is written back as the same URI, but for how its characters were escaped.
func FuzzParse(f *testing.F) {
	f.Add(vectorURI)
	f.Add(vectorURI + " ")
	f.Add(setupPrefix + "%25%24AAAA")
	f.Add(setupPrefix + "%$" + strings.Repeat("+/", 80))
	f.Add(setupPrefix + "%25~x")
	f.Fuzz(func(t *testing.T, uri string) {
		s, err := parse(uri)
		if err != nil {
			return
		}
		again, err := parse(s.uri())
		if err != nil {
			t.Fatalf("what was taken is not taken again: %v", err)
		}
		if again.randomness != s.randomness || !bytes.Equal(again.text, s.text) {
			t.Fatal("what was taken comes back as something else")
		}
	})
}

// TestParseRoundTrip is the other direction: any sealed text comes back from its URI.
func TestParseRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := sealed{text: rapid.SliceOfN(rapid.Byte(), tagSize, 200).Draw(t, "text")}
		copy(s.iv[:], rapid.SliceOfN(rapid.Byte(), ivSize, ivSize).Draw(t, "iv"))
		got, err := parse(s.uri())
		if err != nil || got.randomness != s.randomness || !bytes.Equal(got.text, s.text) {
			t.Fatalf("%v", err)
		}
	})
}
