package oauth1

import (
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestBaseStringOfRFC is RFC 5849 §3.4.1.1, with the parameters as §3.4.1.3.1 lists them.
func TestBaseStringOfRFC(t *testing.T) {
	t.Parallel()
	_, err := parseHeader(`realm="Example",
        oauth_consumer_key="9djdj82h48djs9d2",
        oauth_token="kkk9d7dh3k39sjv7", oauth_signature_method="HMAC-SHA1",
        oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"`)
	if err == nil {
		t.Fatal("a header with line ends is taken")
	}
	header, err := parseHeader(`realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="kkk9d7dh3k39sjv7",` +
		` oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"`)
	if err != nil {
		t.Fatal(err)
	}
	query, err := parseForm("b5=%3D%253D&a3=a&c%40=&a2=r%20b")
	if err != nil {
		t.Fatal(err)
	}
	form, err := parseForm("c2&a3=2+q")
	if err != nil {
		t.Fatal(err)
	}
	got, err := baseString("POST", "http", "example.com", "/request", slices.Concat(query, header, form))
	const want = "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D" +
		"%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1" +
		"%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

func TestBaseAddress(t *testing.T) {
	t.Parallel()
	tests := []struct{ scheme, host, path, want string }{
		{"http", "EXAMPLE.COM:80", "/r%20v/X", "http://example.com/r%20v/X"}, // RFC 5849 §3.4.1.2, as the next
		{"https", "www.example.net:8080", "/", "https://www.example.net:8080/"},
		{"HTTPS", "example.com:443", "", "https://example.com/"},
		{"https", "example.com:80", "/a", "https://example.com:80/a"},
		{"http", "example.com:443", "/a", "http://example.com:443/a"},
		{"http", "[::1]:5984", "/db/a%2Fb", "http://[::1]:5984/db/a%2Fb"},
		{"http", "[::1]:80", "/", "http://[::1]/"},
		{"http", "", "/", ""},
		{"ftp", "example.com", "/", ""},
		{"", "example.com", "/", ""},
		{"http", "example.com/evil", "/", ""},
		{"http", "user@example.com", "/", ""},
		{"http", "example.com?", "/", ""},
	}
	for _, tt := range tests {
		got, err := baseAddress(tt.scheme, tt.host, tt.path)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s %s %s: %q, %v, want %q", tt.scheme, tt.host, tt.path, got, err, tt.want)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":              ``,
		"no value":           `oauth_token`,
		"no name":            `="x"`,
		"no quotes":          `oauth_token=x`,
		"open quotes":        `oauth_token="x`,
		"one quote":          `oauth_token="`,
		"backslash":          `oauth_token="a\"b"`,
		"no comma":           `a="x" b="y"`,
		"comma at the end":   `a="x",`,
		"two commas":         `a="x",,b="y"`,
		"semicolon":          `a="x"; b="y"`,
		"bad percent":        `a="%zz"`,
		"percent at the end": `a="%4"`,
		"blank in a value":   `a="x y"`,
		"control":            "a=\"x\x01\"",
		"not ASCII":          `a="é"`,
		"comma in a value":   `a="x,y"`,
		"blank before =":     `a ="x"`,
		"too long":           `a="` + strings.Repeat("x", 8<<10) + `"`,
		"second credential":  `a="x", Basic YW5uYTphcHBsZQ==`,
	} {
		if params, err := parseHeader(text); err == nil {
			t.Errorf("%s: %q", name, params)
		}
	}
	params, err := parseHeader(` realm="a, \"b\" \\ c",	a="%25%41+",b=""  ,  REALM="x"`)
	if want := []parameter{{"a", "%A+"}, {"b", ""}}; err != nil || !slices.Equal(params, want) {
		t.Errorf("%q, %v", params, err)
	}
}

// formatHeader is parseHeader's inverse.
func formatHeader(params []parameter) string {
	var parts []string
	for _, p := range params {
		parts = append(parts, encode(p.name)+`="`+encode(p.value)+`"`)
	}
	return strings.Join(parts, ", ")
}

// FuzzParseHeader: what was parsed, written anew and parsed again is the same.
func FuzzParseHeader(f *testing.F) {
	for _, s := range []string{"", `a="b"`, `realm="x,\"", oauth_token="%20%25", c=""`, `a="b",b="c" ,	d="~!"`, `a="b", Basic x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		params, err := parseHeader(text)
		if err != nil {
			if params != nil {
				t.Fatalf("%q beside %v", params, err)
			}
			return
		}
		for _, p := range params {
			if p.name == "" || strings.EqualFold(p.name, "realm") {
				return // such a name cannot be written: encoding leaves it as it is
			}
		}
		if len(params) == 0 {
			return // a header of a realm alone
		}
		written := formatHeader(params)
		if len(written) > maxHeader {
			return
		}
		again, err := parseHeader(written)
		if err != nil || !slices.Equal(again, params) {
			t.Fatalf("%q came back as %q, %v", params, again, err)
		}
	})
}

// FuzzBaseString: the order of parameters does not matter, the three parts stay apart, and they can be read back.
func FuzzBaseString(f *testing.F) {
	f.Add("GET", "example.com", "/a", "a=1&b=2&a=0", uint64(1))
	f.Add("POST", "EXAMPLE.com:80", "", "b5=%3D%253D&a3=a&c%40=&a2=r%20b&c2&a3=2+q", uint64(7))
	f.Add("P&T", "h", "/&=%", "&&=&oauth_signature=x", uint64(3))
	f.Fuzz(func(t *testing.T, method, host, path, query string, seed uint64) {
		params, err := parseForm(query)
		if err != nil {
			return
		}
		first, err := baseString(method, "http", host, path, params)
		if err != nil {
			return
		}
		shuffled := slices.Clone(params)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if second, err := baseString(method, "http", host, path, shuffled); err != nil || second != first {
			t.Fatalf("%q\n%q, %v", first, second, err)
		}
		parts := strings.Split(first, "&")
		if len(parts) != 3 {
			t.Fatalf("%d parts: %q", len(parts), first)
		}
		if got, err := url.PathUnescape(parts[0]); err != nil || got != method {
			t.Fatalf("method %q became %q, %v", method, got, err)
		}
		joined, err := url.PathUnescape(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseForm(joined)
		if err != nil {
			t.Fatal(err)
		}
		signed := slices.DeleteFunc(shuffled, func(p parameter) bool { return p.name == "oauth_signature" })
		// An empty name with an empty value is "=", which reads back as itself.
		if normalized(again) != joined || len(again) != len(signed) {
			t.Fatalf("%q reads back as %q", signed, again)
		}
	})
}
