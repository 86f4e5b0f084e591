package auth_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	stdhash "hash"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

// The vector of spec §5.
const (
	proxySecret = "the_secret"
	fooSHA256   = "3f0786e96b20b0102b77f1a49c041be6977cfb3bf78c41a12adc121cd9b4e68a"
	fooSHA1     = "22047ebd7c4ec67dfbcbad7213a693249dbfbf86"
)

const (
	proxyUser  = "X-Auth-CouchDB-UserName"
	proxyRoles = "X-Auth-CouchDB-Roles"
	proxyToken = "X-Auth-CouchDB-Token"
)

func newProxy(t *testing.T, o auth.ProxyOptions) *auth.Proxy {
	t.Helper()
	p, err := auth.NewProxy(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// proxied is a request from an address, with pairs of header names and values.
func proxied(from string, pairs ...string) *http.Request {
	r := httptest.NewRequest("GET", "/_session", nil)
	r.RemoteAddr = from
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Add(pairs[i], pairs[i+1])
	}
	return r
}

func proxyMAC(secret, name string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(name))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	required := auth.ProxyOptions{
		Required: true,
		Secrets:  []auth.Secret{{Value: proxySecret}, {Value: "old", Until: now}, {Value: ""}},
		Now:      func() time.Time { return now },
	}
	open := auth.ProxyOptions{}
	const far, near = "203.0.113.9:4711", "127.0.0.1:4711"
	tests := []struct {
		name   string
		o      auth.ProxyOptions
		r      *http.Request
		status int // 0: ErrNoCredentials
	}{
		{"no headers", required, proxied(far), 0},
		{"token without a name", required, proxied(far, proxyToken, fooSHA256), 0},
		{"no token", required, proxied(far, proxyUser, "foo"), 401},
		{"empty token", required, proxied(far, proxyUser, "foo", proxyToken, ""), 401},
		{"wrong token", required, proxied(far, proxyUser, "foo", proxyToken, strings.Repeat("0", 64)), 401},
		{"token of another name", required, proxied(far, proxyUser, "bar", proxyToken, fooSHA256), 401},
		{"token cut short", required, proxied(far, proxyUser, "foo", proxyToken, fooSHA256[:40]), 401},
		{"token of odd length", required, proxied(far, proxyUser, "foo", proxyToken, fooSHA256[:63]), 401},
		{"token that is not hex", required, proxied(far, proxyUser, "foo", proxyToken, "zz"), 401},
		{"secret that has ended", required, proxied(far, proxyUser, "foo", proxyToken, proxyMAC("old", "foo")), 401},
		{"the empty secret", required, proxied(far, proxyUser, "foo", proxyToken, proxyMAC("", "foo")), 401},
		{"digest not in hash_algorithms",
			auth.ProxyOptions{Required: true, Secrets: required.Secrets[:1], Algorithms: []string{"sha256"}},
			proxied(far, proxyUser, "foo", proxyToken, fooSHA1), 401},
		{"required, no secret at all", auth.ProxyOptions{Required: true}, proxied(near, proxyUser, "foo", proxyToken, proxyMAC("", "foo")), 401},
		{"required, only an empty secret", auth.ProxyOptions{Required: true, Secrets: []auth.Secret{{}}},
			proxied(near, proxyUser, "foo", proxyToken, proxyMAC("", "foo")), 401},
		{"empty name with its token", required, proxied(far, proxyUser, "", proxyToken, proxyMAC(proxySecret, "")), 401},
		{"empty name", open, proxied(near, proxyUser, ""), 401},
		{"NUL in the name", open, proxied(near, proxyUser, "a\x00b"), 400},
		{"tab in the name", open, proxied(near, proxyUser, "a\tb"), 400},
		{"DEL in the name", open, proxied(near, proxyUser, "a\x7fb"), 400},
		{"C1 control in the name", open, proxied(near, proxyUser, "a\u0085b"), 400},
		{"name that is not UTF-8", open, proxied(near, proxyUser, "a\xff"), 400},
		{"control in a role", open, proxied(near, proxyUser, "foo", proxyRoles, "a,b\x01"), 400},
		{"name twice", open, proxied(near, proxyUser, "foo", proxyUser, "bar"), 400},
		{"name twice, in other letters", open, proxied(near, proxyUser, "foo", "x-auth-couchdb-username", "foo"), 400},
		{"roles twice", open, proxied(near, proxyUser, "foo", proxyRoles, "_admin", proxyRoles, "a"), 400},
		{"token twice", required, proxied(far, proxyUser, "foo", proxyToken, fooSHA256, proxyToken, fooSHA256), 400},
		{"no secret, from elsewhere", open, proxied(far, proxyUser, "foo"), 0},
		{"no secret, from elsewhere, X-Forwarded-For", open, proxied(far, proxyUser, "foo", "X-Forwarded-For", "127.0.0.1"), 0},
		{"no secret, peer unknown", open, proxied("@", proxyUser, "foo"), 0},
		{"outside of Trusted",
			auth.ProxyOptions{Required: true, Secrets: required.Secrets, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
			proxied(far, proxyUser, "foo", proxyToken, fooSHA256), 0},
		{"Trusted is empty", auth.ProxyOptions{Trusted: []netip.Prefix{}}, proxied(near, proxyUser, "foo"), 0},
	}
	for _, tt := range tests {
		id, err := newProxy(t, tt.o).Authenticate(tt.r)
		if !id.Anonymous() {
			t.Errorf("%s: signed in as %+v", tt.name, id)
		}
		if tt.status == 0 {
			if !errors.Is(err, auth.ErrNoCredentials) {
				t.Errorf("%s: %v, want no credentials", tt.name, err)
			}
			continue
		}
		refusal, ok := errors.AsType[*auth.Refusal](err)
		if !ok || refusal.Status != tt.status {
			t.Errorf("%s: %v, want %d", tt.name, err, tt.status)
		} else if tt.name == "no token" && (refusal.Method != "proxy" || refusal.User != "foo") {
			t.Errorf("the log is not told who it was: %+v", refusal)
		}
	}
}

func TestProxySignsIn(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	required := auth.ProxyOptions{
		Required: true,
		Secrets:  []auth.Secret{{Value: "new"}, {Value: proxySecret, Until: now.Add(time.Second)}},
		Now:      func() time.Time { return now },
	}
	custom := auth.ProxyOptions{UserHeader: "x-user", RolesHeader: "X-Groups", Trusted: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}}
	tests := []struct {
		name  string
		o     auth.ProxyOptions
		r     *http.Request
		user  string
		roles []string
	}{
		{"sha256", required, proxied("203.0.113.9:1", proxyUser, "foo", proxyToken, fooSHA256), "foo", []string{}},
		{"sha1", required, proxied("[2001:db8::1]:1", proxyUser, "foo", proxyToken, fooSHA1), "foo", []string{}},
		{"hex in upper case", required, proxied("203.0.113.9:1", proxyUser, "foo", proxyToken, strings.ToUpper(fooSHA256)), "foo", []string{}},
		{"newest secret", required, proxied("203.0.113.9:1", proxyUser, "zoë", proxyToken, proxyMAC("new", "zoë")), "zoë", []string{}},
		{"no token wanted", auth.ProxyOptions{}, proxied("127.0.0.1:1", proxyUser, "foo", proxyToken, "zz"), "foo", []string{}},
		{"loopback, IPv6", auth.ProxyOptions{}, proxied("[::1]:1", proxyUser, "foo", proxyRoles, "_admin"), "foo", []string{"_admin"}},
		{"loopback, mapped", auth.ProxyOptions{}, proxied("[::ffff:127.0.0.1]:1", proxyUser, "foo"), "foo", []string{}},
		{"other headers", custom, proxied("10.1.2.3:1", "X-User", "foo", "X-Groups", "a,b", proxyRoles, "_admin"), "foo", []string{"a", "b"}},
		{"blanks", auth.ProxyOptions{}, proxied("127.0.0.1:1", proxyUser, "foo", proxyRoles, "a , b ,,c"), "foo", []string{"a", "b", "", "c"}},
		{"empty roles at the end", auth.ProxyOptions{}, proxied("127.0.0.1:1", proxyUser, "foo", proxyRoles, ",a,\t,,"), "foo", []string{"", "a"}},
		{"only commas", auth.ProxyOptions{}, proxied("127.0.0.1:1", proxyUser, "foo", proxyRoles, ",,"), "foo", []string{}},
		{"empty header", auth.ProxyOptions{}, proxied("127.0.0.1:1", proxyUser, "foo", proxyRoles, ""), "foo", []string{""}},
	}
	for _, tt := range tests {
		id, err := newProxy(t, tt.o).Authenticate(tt.r)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if id.Name != tt.user || !slices.Equal(id.Roles, tt.roles) || id.Roles == nil || id.Method != "proxy" || id.Local {
			t.Errorf("%s: %+v", tt.name, id)
		}
	}
}

func TestProxyTakesEachDigest(t *testing.T) {
	t.Parallel()
	known := map[string]func() stdhash.Hash{
		"sha": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
		"sha3_256": func() stdhash.Hash { return sha3.New256() }, "sha3_512": func() stdhash.Hash { return sha3.New512() }, "md5": md5.New,
	}
	for _, configured := range auth.DigestNames() {
		p := newProxy(t, auth.ProxyOptions{Required: true, Secrets: []auth.Secret{{Value: proxySecret}}, Algorithms: []string{configured}})
		for name, digest := range known {
			mac := hmac.New(digest, []byte(proxySecret))
			mac.Write([]byte("foo"))
			_, err := p.Authenticate(proxied("127.0.0.1:1", proxyUser, "foo", proxyToken, hex.EncodeToString(mac.Sum(nil))))
			if taken := err == nil; taken != (name == configured) {
				t.Errorf("hash_algorithms = %s, a token by %s: %v", configured, name, err)
			}
		}
	}
}

func TestNewProxyRefuses(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]auth.ProxyOptions{
		"blank in a name":     {UserHeader: "X User"},
		"line feed in a name": {TokenHeader: "X-Token\n"},
		"not ASCII":           {RolesHeader: "X-Rôles"},
		"two the same":        {UserHeader: "X-Who", RolesHeader: "x-who"},
		"user and token":      {UserHeader: "X-Auth-Couchdb-Token"},
	} {
		if _, err := auth.NewProxy(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestProxyMethod(t *testing.T) {
	t.Parallel()
	authtest.TestMethod(t, authtest.MethodCase{
		Method: newProxy(t, auth.ProxyOptions{Required: true, Secrets: []auth.Secret{{Value: proxySecret}}}),
		Good: func(r *http.Request) {
			r.Header.Set(proxyUser, "foo")
			r.Header.Set(proxyToken, fooSHA256)
		},
		Name: "foo",
		Bad:  map[string]func(r *http.Request){"no token": func(r *http.Request) { r.Header.Set(proxyUser, "foo") }},
	})
}
