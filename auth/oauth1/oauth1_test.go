package oauth1_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/oauth1"
)

// client signs requests as RFC 5849 says, in a way of its own.
type client struct {
	method, consumer, consumerSecret, token, tokenSecret string
	key                                                  *rsa.PrivateKey
	now                                                  func() time.Time
	nonces                                               int
}

// params are the OAuth parameters of a next request.
func (c *client) params() url.Values {
	c.nonces++
	v := url.Values{
		"oauth_consumer_key": {c.consumer}, "oauth_signature_method": {c.method}, "oauth_version": {"1.0"},
		"oauth_timestamp": {strconv.FormatInt(c.now().Unix(), 10)}, "oauth_nonce": {fmt.Sprint("n", c.nonces)},
	}
	if c.token != "" {
		v.Set("oauth_token", c.token)
	}
	return v
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// signature signs a request to address with these parameters, of whatever place they come from.
func (c *client) signature(method, address string, params ...url.Values) string {
	var pairs []string
	for _, values := range params {
		for name, list := range values {
			for _, value := range list {
				pairs = append(pairs, escape(name)+"="+escape(value))
			}
		}
	}
	slices.Sort(pairs)
	base := method + "&" + escape(address) + "&" + escape(strings.Join(pairs, "&"))
	key := escape(c.consumerSecret) + "&" + escape(c.tokenSecret)
	mac := hmac.New(sha1.New, []byte(key))
	switch c.method {
	case "PLAINTEXT":
		return key
	case "RSA-SHA1":
		digest := sha1.Sum([]byte(base))
		signature, err := rsa.SignPKCS1v15(nil, c.key, crypto.SHA1, digest[:])
		if err != nil {
			panic(err)
		}
		return base64.StdEncoding.EncodeToString(signature)
	case "HMAC-SHA256":
		mac = hmac.New(sha256.New, []byte(key))
	}
	mac.Write([]byte(base))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// header is the value of an Authorization header.
func header(params url.Values) string {
	parts := []string{`OAuth realm="a, b"`}
	for name, values := range params {
		for _, value := range values {
			parts = append(parts, escape(name)+`="`+escape(value)+`"`)
		}
	}
	return strings.Join(parts, ", ")
}

// request is a signed GET of http://example.com and target. change alters the OAuth parameters before they are signed.
func (c *client) request(target string, change func(url.Values)) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	params := c.params()
	if change != nil {
		change(params)
	}
	params.Set("oauth_signature", c.signature("GET", "http://example.com"+r.URL.EscapedPath(), params, r.URL.Query()))
	r.Header.Set("Authorization", header(params))
	return r
}

var sections = oauth1.Sections{
	ConsumerSecrets: map[string]string{"consumer1": "sekr1t"},
	TokenSecrets:    map[string]string{"token1": "tokensekr1t", "token2": "other", "token3": "third"},
	TokenUsers:      map[string]string{"token1": "anna", "token2": "nobody", "token3": "root"},
}

func users() *auth.Memory {
	users := new(auth.Memory)
	users.Put(auth.User{Name: "anna", Roles: []string{"dev"}})
	users.Put(auth.User{Name: "root", Admin: true})
	return users
}

// started is a clock and a verifier that began a minute ago.
func started(t *testing.T, change func(*oauth1.Options)) (*oauth1.Verifier, *client, *authtest.Clock) {
	t.Helper()
	clock := authtest.NewClock()
	credentials, bad := oauth1.NewStatic(sections)
	if len(bad) != 0 {
		t.Fatal(bad)
	}
	o := oauth1.Options{Credentials: credentials, Users: users(), Now: clock.Now}
	if change != nil {
		change(&o)
	}
	v, err := oauth1.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	c := &client{method: "HMAC-SHA1", consumer: "consumer1", consumerSecret: "sekr1t", token: "token1", tokenSecret: "tokensekr1t", now: clock.Now}
	return v, c, clock
}

// refused fails the test unless err is a Refusal of that status, and kind when one is given.
func refused(t *testing.T, name string, id auth.Identity, err error, status int, kind string) {
	t.Helper()
	refusal, ok := errors.AsType[*auth.Refusal](err)
	switch {
	case !ok || refusal.Status != status || kind != "" && refusal.Kind != kind || !id.Anonymous():
		t.Errorf("%s: %+v, %v, want %d %s", name, id, err, status, kind)
	case status == 401 && refusal.Header.Get("WWW-Authenticate") != `OAuth realm="server"`:
		t.Errorf("%s: challenge %v", name, refusal.Header)
	case strings.Contains(refusal.Error(), "sekr1t"):
		t.Errorf("%s: the refusal shows a secret: %v", name, refusal)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	v, c, clock := started(t, nil)
	at := func(d time.Duration) func(url.Values) {
		return func(p url.Values) { p.Set("oauth_timestamp", strconv.FormatInt(clock.Now().Add(d).Unix(), 10)) }
	}
	set := func(name, value string) func(url.Values) { return func(p url.Values) { p.Set(name, value) } }
	del := func(name string) func(url.Values) { return func(p url.Values) { p.Del(name) } }
	tests := []struct {
		name   string
		change func(url.Values)
		status int
		kind   string
	}{
		{"other version", set("oauth_version", "2.0"), 400, "invalid_oauth_version"},
		{"empty version", set("oauth_version", ""), 400, "invalid_oauth_version"},
		{"unknown consumer", set("oauth_consumer_key", "consumer2"), 400, "invalid_consumer_token_pair"},
		{"no consumer", del("oauth_consumer_key"), 400, "bad_request"},
		{"empty consumer", set("oauth_consumer_key", ""), 400, "bad_request"},
		{"unknown token", set("oauth_token", "token9"), 400, "invalid_consumer_token_pair"},
		{"no token", del("oauth_token"), 400, "invalid_consumer_token_pair"},
		{"token of another user, signed with one's own secret", set("oauth_token", "token3"), 401, "unauthorized"},
		{"no method", del("oauth_signature_method"), 400, "bad_request"},
		{"unknown method", set("oauth_signature_method", "none"), 400, "bad_request"},
		{"method in other letters", set("oauth_signature_method", "hmac-sha1"), 400, "bad_request"},
		{"HMAC-SHA1 called SHA256", set("oauth_signature_method", "HMAC-SHA256"), 401, ""},
		{"RSA without a key", set("oauth_signature_method", "RSA-SHA1"), 401, ""},
		{"no nonce", del("oauth_nonce"), 400, "bad_request"},
		{"long nonce", set("oauth_nonce", strings.Repeat("n", 1025)), 400, "bad_request"},
		{"no timestamp", del("oauth_timestamp"), 400, "bad_request"},
		{"timestamp with a sign", set("oauth_timestamp", "+"+strconv.FormatInt(clock.Now().Unix(), 10)), 400, "bad_request"},
		{"negative timestamp", set("oauth_timestamp", "-1"), 400, "bad_request"},
		{"endless timestamp", set("oauth_timestamp", strings.Repeat("9", 30)), 400, "bad_request"},
		{"far timestamp", set("oauth_timestamp", "9223372036854775807"), 401, ""},
		{"old timestamp", at(-301 * time.Second), 401, ""},
		{"timestamp from before the start", at(-60 * time.Second), 401, ""},
		{"timestamp to come", at(301 * time.Second), 401, ""},
	}
	for _, tt := range tests {
		id, err := v.Authenticate(c.request("/_session", tt.change))
		refused(t, tt.name, id, err, tt.status, tt.kind)
	}
}

// TestRefusesWhatWasChanged alters requests after they have been signed.
func TestRefusesWhatWasChanged(t *testing.T) {
	t.Parallel()
	v, c, _ := started(t, nil)
	changes := map[string]func(r *http.Request){
		"method":           func(r *http.Request) { r.Method = "DELETE" },
		"HEAD":             func(r *http.Request) { r.Method = "HEAD" },
		"path":             func(r *http.Request) { r.URL.Path = "/other" },
		"host":             func(r *http.Request) { r.Host = "evil.example" },
		"port":             func(r *http.Request) { r.Host = "example.com:8080" },
		"query":            func(r *http.Request) { r.URL.RawQuery = "a=2" },
		"query, one more":  func(r *http.Request) { r.URL.RawQuery += "&b=1" },
		"query, once more": func(r *http.Request) { r.URL.RawQuery += "&a=1" },
		"no query":         func(r *http.Request) { r.URL.RawQuery = "" },
		"header parameter": func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+`, x="y"`) },
		"signature":        func(r *http.Request) { flip(r, "oauth_signature=\"") },
		"nonce":            func(r *http.Request) { flip(r, "oauth_nonce=\"n") },
		"forwarded scheme": func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https"); r.Host = "example.com:443" },
	}
	for name, change := range changes {
		r := c.request("/db?a=1", nil)
		change(r)
		id, err := v.Authenticate(r)
		refused(t, name, id, err, 401, "unauthorized")
	}
	malformed := map[string]func(r *http.Request){
		"second Authorization header": func(r *http.Request) { r.Header.Add("Authorization", "Basic YW5uYTphcHBsZQ==") },
		"parameter twice": func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")+`, oauth_nonce="x"`)
		},
		"parameter in the query too":   func(r *http.Request) { r.URL.RawQuery += "&oauth_token=token3" },
		"query that cannot be read":    func(r *http.Request) { r.URL.RawQuery += "&b=%zz" },
		"endless query":                func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a&", 1001) },
		"header that cannot be read":   func(r *http.Request) { r.Header.Set("Authorization", "OAuth x") },
		"realm alone":                  func(r *http.Request) { r.Header.Set("Authorization", `OAuth realm="x"`) },
		"no host":                      func(r *http.Request) { r.Host = "" },
		"only a consumer in the query": func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "oauth_consumer_key=consumer1" },
	}
	for name, change := range malformed {
		r := c.request("/db?a=1", nil)
		change(r)
		id, err := v.Authenticate(r)
		refused(t, name, id, err, 400, "bad_request")
	}
	if _, err := v.Authenticate(c.request("/db?a=1", nil)); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// flip changes the character after a text in the Authorization header.
func flip(r *http.Request, after string) {
	before, rest, ok := strings.Cut(r.Header.Get("Authorization"), after)
	if !ok {
		panic(after)
	}
	c := "A"
	if rest[0] == 'A' {
		c = "B"
	}
	r.Header.Set("Authorization", before+after+c+rest[1:])
}

func TestNotMine(t *testing.T) {
	t.Parallel()
	v, _, _ := started(t, nil)
	for _, target := range []string{"/", "/?a=b", "/?key=oauth_consumer_key", "/?x_oauth_consumer_key=1"} {
		r := httptest.NewRequest("GET", target, nil)
		if id, err := v.Authenticate(r); !errors.Is(err, auth.ErrNoCredentials) || !id.Anonymous() {
			t.Errorf("%s: %+v, %v", target, id, err)
		}
	}
	for _, value := range []string{"OAuth", "OAuth2 x", "Bearer x", "Basic YW5uYTphcHBsZQ=="} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", value)
		if _, err := v.Authenticate(r); !errors.Is(err, auth.ErrNoCredentials) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestUsersMustExist(t *testing.T) {
	t.Parallel()
	v, c, _ := started(t, nil)
	c.token, c.tokenSecret = "token2", "other"
	id, err := v.Authenticate(c.request("/", nil))
	refused(t, "token of a user who is not there", id, err, 401, "unauthorized")
	if refusal, ok := errors.AsType[*auth.Refusal](err); !ok || refusal.Method != "oauth" || refusal.Credential != "consumer1/token2" {
		t.Errorf("the log is not told which credential it was: %+v", refusal)
	}

	broken := errors.New("disk")
	v, c, _ = started(t, func(o *oauth1.Options) { o.Users = failing{broken} })
	if _, err := v.Authenticate(c.request("/", nil)); !errors.Is(err, broken) {
		t.Errorf("a directory that fails: %v", err)
	}
	c.token, c.tokenSecret = "token3", "third"
	v, _, _ = started(t, nil)
	id, err = v.Authenticate(c.request("/", nil))
	if err != nil || id.Name != "root" || !id.Admin() || id.Method != "oauth" || id.Credential != "consumer1/token3" || !id.Local {
		t.Errorf("an admin: %+v, %v", id, err)
	}
}

type failing struct{ err error }

func (f failing) User(context.Context, string) (*auth.User, error) { return nil, f.err }

func (f failing) Lookup(context.Context, string, string) (oauth1.Credential, error) {
	return oauth1.Credential{}, f.err
}

// fixed is a Credentials of one credential.
type fixed oauth1.Credential

func (f fixed) Lookup(context.Context, string, string) (oauth1.Credential, error) {
	return oauth1.Credential(f), nil
}

func TestPlaintext(t *testing.T) {
	t.Parallel()
	v, c, _ := started(t, nil)
	c.method = "PLAINTEXT"
	id, err := v.Authenticate(c.request("/", nil))
	refused(t, "without TLS", id, err, 400, "bad_request")

	secure := func(o *oauth1.Options) { o.Origin = func(r *http.Request) (string, string) { return "https", r.Host } }
	v, c, _ = started(t, secure)
	c.method = "PLAINTEXT"
	r := c.request("/", nil)
	if id, err := v.Authenticate(r); err != nil || id.Name != "anna" {
		t.Errorf("%+v, %v", id, err)
	}
	id, err = v.Authenticate(r)
	refused(t, "replay", id, err, 401, "")
	bare := func(p url.Values) { p.Del("oauth_nonce"); p.Del("oauth_timestamp") }
	if _, err := v.Authenticate(c.request("/", bare)); err != nil {
		t.Errorf("without nonce and timestamp: %v", err)
	}
	id, err = v.Authenticate(c.request("/", func(p url.Values) { p.Del("oauth_nonce") }))
	refused(t, "timestamp without nonce", id, err, 400, "")
	for _, secret := range []string{"", "sekr1", "sekr1tt"} {
		c.consumerSecret = secret
		id, err = v.Authenticate(c.request("/", nil))
		refused(t, "secret "+strconv.Itoa(len(secret)), id, err, 401, "")
	}
}

func TestSignsInByEachMethod(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"HMAC-SHA1", "HMAC-SHA256"} {
		v, c, _ := started(t, nil)
		c.method = method
		for _, target := range []string{"/", "/_session?foo=bar%20baz", "/a%2Fb/c%20d", "/?a=1&a=0&b=+%2B&c&d=%C3%A9", "/db/é?x=%26%3D"} {
			id, err := v.Authenticate(c.request(target, nil))
			if err != nil || id.Name != "anna" || !slices.Equal(id.Roles, []string{"dev"}) || id.Method != "oauth" || id.Credential != "consumer1/token1" {
				t.Errorf("%s %s: %+v, %v", method, target, id, err)
			}
		}
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	t.Parallel()
	credentials, _ := oauth1.NewStatic(sections)
	for name, o := range map[string]oauth1.Options{
		"nothing":        {},
		"no users":       {Credentials: credentials},
		"no credentials": {Users: users()},
		"quote in realm": {Credentials: credentials, Users: users(), Realm: `a"b`},
		"line in realm":  {Credentials: credentials, Users: users(), Realm: "a\r\nb"},
	} {
		if _, err := oauth1.NewVerifier(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestRepeated: a request that was let in can be judged again, by the credentials of then, but is good for no other.
func TestRepeated(t *testing.T) {
	t.Parallel()
	v, c, _ := started(t, nil)
	r := c.request("/", nil)
	again := r.WithContext(auth.Repeat(r.Context()))
	for _, r := range []*http.Request{r, again, again} {
		if id, err := v.Authenticate(r); err != nil || id.Name != "anna" {
			t.Errorf("%+v, %v", id, err)
		}
	}
	id, err := v.Authenticate(r)
	refused(t, "sent again", id, err, 401, "")
	without, _, _ := started(t, func(o *oauth1.Options) { o.Credentials, _ = oauth1.NewStatic(oauth1.Sections{}) })
	id, err = without.Authenticate(again)
	refused(t, "without its consumer", id, err, 400, "invalid_consumer_token_pair")
}

func TestMethod(t *testing.T) {
	t.Parallel()
	v, c, _ := started(t, nil)
	var mu sync.Mutex
	sign := func(r *http.Request, change func(url.Values)) {
		mu.Lock()
		defer mu.Unlock()
		params := c.params()
		params.Set("oauth_signature", c.signature("GET", "http://example.com/", params))
		if change != nil {
			change(params)
		}
		r.Header.Set("Authorization", header(params))
	}
	authtest.TestMethod(t, authtest.MethodCase{
		Method: v,
		Good:   func(r *http.Request) { sign(r, nil) },
		Name:   "anna",
		Bad: map[string]func(r *http.Request){
			"bad signature": func(r *http.Request) { sign(r, func(p url.Values) { p.Set("oauth_signature", "AAAA") }) },
			"no signature":  func(r *http.Request) { sign(r, func(p url.Values) { p.Del("oauth_signature") }) },
			"not base64":    func(r *http.Request) { sign(r, func(p url.Values) { p.Set("oauth_signature", "é") }) },
		},
	})
}

// BenchmarkAuthenticate is of what costs most: a request whose signature is wrong.
func BenchmarkAuthenticate(b *testing.B) {
	clock := authtest.NewClock()
	credentials, _ := oauth1.NewStatic(sections)
	v, err := oauth1.NewVerifier(oauth1.Options{Credentials: credentials, Users: users(), Now: clock.Now})
	if err != nil {
		b.Fatal(err)
	}
	clock.Advance(time.Minute)
	c := &client{method: "HMAC-SHA1", consumer: "consumer1", consumerSecret: "other", token: "token1", now: clock.Now}
	r := c.request("/db?a=1", nil)
	for b.Loop() {
		if _, err := v.Authenticate(r); err == nil {
			b.Fatal("a bad signature is taken")
		}
	}
}
