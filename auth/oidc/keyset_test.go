package oidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/oidc"
)

// here is a client for providers on loopback, without TLS.
func here() *http.Client {
	return oidc.NewClient(oidc.ClientOptions{Insecure: true, AllowPrivate: true})
}

func newKeySet(t testing.TB, o oidc.KeySetOptions) *oidc.KeySet {
	t.Helper()
	if o.Client == nil {
		o.Client = here()
	}
	k, err := oidc.NewKeySet(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// keysOf is a provider and its key set, by the same clock.
func keysOf(t testing.TB, clock *authtest.Clock) (*authtest.Provider, *oidc.KeySet) {
	t.Helper()
	p := authtest.NewProvider(t, authtest.ProviderOptions{Now: clock.Now})
	return p, newKeySet(t, oidc.KeySetOptions{Issuer: p.Issuer(), Now: clock.Now})
}

// has reports whether a key is trusted now.
func has(t testing.TB, k *oidc.KeySet, kid string) bool {
	t.Helper()
	keys, err := k.Candidates(t.Context(), "ES256", kid)
	if err != nil {
		t.Errorf("%s: %v", kid, err)
	}
	return len(keys) == 1
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestKeyFile: a file is looked at again within a minute, and for a key that is not there sooner, at most every 30 seconds. While it cannot be used the keys stay.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	file := filepath.Join(t.TempDir(), "keys.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set := func(kids ...string) string {
		var keys []jose.JSONWebKey
		for _, kid := range kids {
			keys = append(keys, jose.JSONWebKey{Key: authtest.NewSigner(t, "ES256", kid).Public(), KeyID: kid})
		}
		text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, text := range []string{"", "{}", strings.Repeat(" ", 1<<20) + set("a")} {
		write(text)
		if _, err := oidc.NewKeySet(oidc.KeySetOptions{File: file}); err == nil {
			t.Errorf("%.10q is taken for a key set", text)
		}
	}
	write(set("a"))
	k := newKeySet(t, oidc.KeySetOptions{Issuer: "https://id.example", File: file, Now: clock.Now})
	want(t, "the first key", has(t, k, "a"), true)
	write(set("a", "b"))
	want(t, "a new key", has(t, k, "b"), true)
	write(set("b", "c"))
	want(t, "another, at once", has(t, k, "c"), false)
	clock.Advance(30 * time.Second)
	want(t, "another, half a minute later", has(t, k, "c"), true)
	want(t, "a removed key", has(t, k, "a"), false)
	for _, text := range []string{"", "{", strings.Repeat(" ", 1<<20) + set("d")} {
		write(text)
		clock.Advance(time.Hour)
		want(t, "a key that is in no file", has(t, k, "d"), false) // it waits for the file to be read
		want(t, "a key, while the file is no set", has(t, k, "b"), true)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)
	want(t, "a key that is in no file", has(t, k, "d"), false)
	want(t, "a key, while the file is away", has(t, k, "b"), true)
	write(set("c"))
	clock.Advance(time.Hour)
	want(t, "a key that is in no file", has(t, k, "d"), false)
	want(t, "a key that is not in the file", has(t, k, "b"), false)
	want(t, "the key that stays", has(t, k, "c"), true)
	write(`{"keys":[]}`)
	clock.Advance(time.Hour)
	want(t, "a key of an emptied file", has(t, k, "c"), false)
}

// TestUnknownKidsAskOnce: a thousand tokens with keys that nobody knows, at the same time, are one request, and so is each later half-minute.
func TestUnknownKidsAskOnce(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p, k := keysOf(t, clock)
	thousand := func() {
		var wg sync.WaitGroup
		for worker := range 20 {
			wg.Go(func() {
				for i := range 50 {
					if has(t, k, fmt.Sprint("unknown-", worker, "-", i)) {
						t.Error("an unknown key is trusted")
					}
				}
			})
		}
		wg.Wait()
	}
	for i, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {29 * time.Second, 1}, {time.Second, 2}, {time.Second, 2}, {29 * time.Second, 3}} {
		clock.Advance(step.after)
		thousand()
		want(t, fmt.Sprint("fetches of the key set after step ", i), p.Requests(authtest.KeysPath), step.want)
		want(t, "fetches of the discovery document", p.Requests(authtest.DiscoveryPath), 1)
	}
	if !has(t, k, "key-1") {
		t.Error("the known key is lost")
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p, k := keysOf(t, clock)
	want(t, "the first key", has(t, k, "key-1"), true)
	p.Rotate(t, "ES256")
	want(t, "a new key, at once", has(t, k, "key-2"), false)
	clock.Advance(30 * time.Second)
	want(t, "a new key, half a minute later", has(t, k, "key-2"), true)
	p.Remove("key-1")
	want(t, "a removed key, before the next fetch", has(t, k, "key-1"), true)
	clock.Advance(time.Hour)
	want(t, "a removed key, after it", has(t, k, "key-1"), false)
	want(t, "the key that stays", has(t, k, "key-2"), true)
	p.Remove("key-2")
	clock.Advance(time.Hour)
	want(t, "the last key, removed", has(t, k, "key-2"), false)
}

// TestRotationUnderLoad: whoever has a good token is never refused while keys come and go, and the provider is not asked at each request.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p, k := keysOf(t, clock)
	const rotations, readers = 10, 4
	p.SetHeader(authtest.KeysPath, "Cache-Control", "max-age=120")
	var current atomic.Pointer[string]
	first := p.Signer().Kid
	current.Store(&first)
	done := make(chan struct{})
	var asked atomic.Int64
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for {
				if kid := *current.Load(); !has(t, k, kid) {
					t.Errorf("%s is refused", kid)
				}
				asked.Add(1)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range rotations {
		old := *current.Load()
		clock.Advance(31 * time.Second)
		kid := p.Rotate(t, "ES256").Kid
		want(t, kid, has(t, k, kid), true)
		current.Store(&kid)
		clock.Advance(31 * time.Second)
		_ = old // it stays published, for tokens that it signed live on
	}
	close(done)
	wg.Wait()
	if n := p.Requests(authtest.KeysPath); n > 1+2*rotations {
		t.Errorf("%d requests for %d rotations and %d look-ups", n, rotations, asked.Load())
	}
}

// TestDownAtStart: the token cannot be judged, the provider is asked after longer and longer pauses, and is found when it is back.
func TestDownAtStart(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p, k := keysOf(t, clock)
	p.Break("", authtest.Down())
	asked := 0
	for i, pause := range []time.Duration{0, 2, 4, 8, 16, 30, 30, 30} {
		if pause > 0 {
			clock.Advance(pause*time.Second - 1)
			_, err := k.Candidates(t.Context(), "ES256", "key-1")
			want(t, fmt.Sprint("trusted too early ", i), err != nil, true)
			want(t, fmt.Sprint("requests before pause ", i), p.Requests(authtest.DiscoveryPath), asked)
			clock.Advance(1)
		}
		asked++
		for range 3 {
			if _, err := k.Candidates(t.Context(), "ES256", "key-1"); err == nil || strings.Contains(err.Error(), authtest.DiscoveryPath) {
				t.Errorf("down: %v", err)
			}
		}
		// A connection that breaks before any answer is tried a second time by net/http.
		if n := p.Requests(authtest.DiscoveryPath); n < asked {
			t.Errorf("after pause %d: %d requests, want %d", i, n, asked)
		} else {
			asked = n
		}
	}
	p.Break("", nil)
	clock.Advance(30 * time.Second)
	want(t, "back", has(t, k, "key-1"), true)
}

// TestDownLater: what was trusted stays trusted, for longer than HTTP says, and nobody waits; what was removed meanwhile goes when the provider is back.
func TestDownLater(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p, k := keysOf(t, clock)
	want(t, "before", has(t, k, "key-1"), true)
	for what, broken := range map[string]http.Handler{
		"down": authtest.Down(), "garbage": authtest.Garbage(100), "50 MB": authtest.Garbage(50 << 20), "500": authtest.Answer(500, "{}"), "not found": authtest.Answer(404, `{"keys":[]}`),
		"no set": authtest.Answer(200, `{"error":"x"}`), "204": authtest.Answer(204, ""), "elsewhere": authtest.RedirectTo("http://127.0.0.2:1/keys"),
		"too many": authtest.Answer(200, `{"keys":[`+strings.Repeat("{},", 200)+`{}]}`),
	} {
		p.Break(authtest.KeysPath, broken)
		clock.Advance(25 * time.Hour)
		for range 3 {
			want(t, what, has(t, k, "key-1"), true)
		}
		clock.Advance(time.Minute)
		want(t, what+", a minute later", has(t, k, "key-1"), true)
	}
	p.Break(authtest.KeysPath, nil)
	p.Rotate(t, "ES256")
	p.Remove("key-1")
	clock.Advance(time.Hour)
	want(t, "a new key, when it is back", has(t, k, "key-2"), true)
	want(t, "the removed key", has(t, k, "key-1"), false)
}

// TestRefreshAhead: from three quarters of their time on the keys are fetched, once, and nobody waits for it.
func TestRefreshAhead(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p, k := keysOf(t, clock)
	want(t, "before", has(t, k, "key-1"), true)
	arrived, release := make(chan struct{}), make(chan struct{})
	p.Break(authtest.KeysPath, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		p.Wait(release).ServeHTTP(rw, r)
	}))
	clock.Advance(45*time.Minute - 1)
	want(t, "early", has(t, k, "key-1"), true)
	want(t, "requests", p.Requests(authtest.KeysPath), 1)
	p.Rotate(t, "ES256")
	p.Remove("key-1")
	clock.Advance(1)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { want(t, "while it is fetched", has(t, k, "key-1"), true) })
	}
	wg.Wait()
	<-arrived // the one request, before anybody has missed a key
	close(release)
	want(t, "a new key, which does wait", has(t, k, "key-2"), true) // for the same fetch
	want(t, "the removed key", has(t, k, "key-1"), false)
	want(t, "requests", p.Requests(authtest.KeysPath), 2)
}

// TestLifetimes: what HTTP says, from a minute to a day.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	for control, life := range map[string]time.Duration{
		"": time.Hour, "max-age=600": 10 * time.Minute, "public, Max-Age=600, must-revalidate": 10 * time.Minute, "max-age=1": time.Minute, "no-store": time.Minute, "no-cache": time.Minute,
		"max-age=31536000": 24 * time.Hour, "max-age=x": time.Minute, "max-age=99999999999999999999": time.Minute, "max-age=-5": time.Minute,
	} {
		clock := authtest.NewClock()
		p, k := keysOf(t, clock)
		p.SetHeader(authtest.KeysPath, "Cache-Control", control)
		want(t, control, has(t, k, "key-1"), true)
		p.Rotate(t, "ES256")
		p.Remove("key-1")
		clock.Advance(life*3/4 - time.Second)
		want(t, control+": within its time", has(t, k, "key-1"), true)
		want(t, control+": requests", p.Requests(authtest.KeysPath), 1)
		clock.Advance(life/4 + time.Second)
		want(t, control+": past its time", has(t, k, "key-1"), false)
	}
}

// TestSlowProvider: a request ends when its caller gives up, and Close ends the fetch.
func TestSlowProvider(t *testing.T) {
	t.Parallel()
	p := authtest.NewProvider(t, authtest.ProviderOptions{})
	p.Break("", p.Hang())
	k, err := oidc.NewKeySet(oidc.KeySetOptions{Issuer: p.Issuer(), Client: here()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Candidates(ctx, "ES256", "key-1"); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller has gone: %v", err)
	}
	waiting := make(chan error)
	go func() {
		_, err := k.Candidates(context.Background(), "ES256", "key-1")
		waiting <- err
	}()
	k.Close()
	if err := <-waiting; err == nil {
		t.Error("a closed key set has keys")
	}
	if _, err := k.Candidates(t.Context(), "ES256", "key-1"); err == nil {
		t.Error("a closed key set fetches")
	}
	slow := newKeySet(t, oidc.KeySetOptions{Issuer: p.Issuer(), Client: oidc.NewClient(oidc.ClientOptions{Insecure: true, AllowPrivate: true, Timeout: 20 * time.Millisecond})})
	if _, err := slow.Candidates(t.Context(), "ES256", "key-1"); err == nil {
		t.Error("a provider that never answers is waited for")
	}
}

// TestDiscoveryRefused: a document that is not this issuer's, or sends requests where they may not go, gives no keys.
func TestDiscoveryRefused(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		wrong  func(document map[string]any)
		broken http.Handler
	}{
		"another issuer":      {wrong: func(d map[string]any) { d["issuer"] = "https://evil.example.com" }},
		"issuer with a slash": {wrong: func(d map[string]any) { d["issuer"] = d["issuer"].(string) + "/" }},
		"no issuer":           {wrong: func(d map[string]any) { delete(d, "issuer") }},
		"no jwks_uri":         {wrong: func(d map[string]any) { delete(d, "jwks_uri") }},
		"jwks_uri is a file":  {wrong: func(d map[string]any) { d["jwks_uri"] = "file:///etc/passwd" }},
		"jwks_uri is a path":  {wrong: func(d map[string]any) { d["jwks_uri"] = "/keys" }},
		"jwks_uri with user":  {wrong: func(d map[string]any) { d["jwks_uri"] = "http://a:b@127.0.0.1/keys" }},
		"jwks_uri is a list":  {wrong: func(d map[string]any) { d["jwks_uri"] = []string{"x"} }},
		"token endpoint":      {wrong: func(d map[string]any) { d["token_endpoint"] = "javascript:alert(1)" }},
		"garbage":             {broken: authtest.Garbage(1000)},
		"large":               {broken: authtest.Garbage(50 << 20)},
		"issuer twice":        {broken: authtest.Answer(200, `{"issuer":"a","issuer":"b"}`)},
		"401":                 {broken: authtest.Answer(401, `{}`)},
	} {
		clock := authtest.NewClock()
		p, k := keysOf(t, clock)
		p.Misbehave(authtest.Misbehaviour{Metadata: tt.wrong})
		if tt.broken != nil {
			p.Break(authtest.DiscoveryPath, tt.broken)
		}
		if keys, err := k.Candidates(t.Context(), "ES256", "key-1"); err == nil || len(keys) > 0 {
			t.Errorf("%s: %d keys", what, len(keys))
		}
		want(t, what+": requests for keys", p.Requests(authtest.KeysPath), 0)
		p.Misbehave(authtest.Misbehaviour{})
		p.Break(authtest.DiscoveryPath, nil)
		for range 2 { // where the document itself was taken it is fetched again beside the first attempt
			clock.Advance(time.Hour)
			_, _ = k.Candidates(t.Context(), "ES256", "key-1")
			_, _ = k.Metadata(t.Context())
		}
		want(t, what+", and then as it should be", has(t, k, "key-1"), true)
	}
}

// TestKeysMove: a jwks_uri that fails is looked up again.
func TestKeysMove(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p, k := keysOf(t, clock)
	p.SetHeader(authtest.DiscoveryPath, "Cache-Control", "max-age=86400")
	want(t, "before", has(t, k, "key-1"), true)
	other := authtest.NewProvider(t, authtest.ProviderOptions{Algorithm: "ES256"})
	other.Rotate(t, "ES256")
	other.Remove("key-1")
	p.Break(authtest.KeysPath, authtest.Answer(410, ""))
	p.Misbehave(authtest.Misbehaviour{Metadata: func(d map[string]any) { d["jwks_uri"] = other.URL + authtest.KeysPath }})
	clock.Advance(2 * time.Hour) // the keys' fetch fails
	want(t, "the old key", has(t, k, "key-1"), true)
	clock.Advance(time.Minute)
	want(t, "the new key", has(t, k, "key-2"), true)
	want(t, "the old key", has(t, k, "key-1"), false)
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p, k := keysOf(t, clock)
	p.Break(authtest.KeysPath, authtest.Down()) // which a login page does not need
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			m, err := k.Metadata(t.Context())
			if err != nil || m.Issuer != p.Issuer() || m.TokenEndpoint != p.URL+authtest.TokenPath || !m.ResponseIss {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	wg.Wait()
	want(t, "requests", p.Requests(authtest.DiscoveryPath), 1)
	fixed := newKeySet(t, oidc.KeySetOptions{URL: p.URL + authtest.KeysPath})
	if _, err := fixed.Metadata(t.Context()); err == nil {
		t.Error("metadata without an issuer")
	}
}

// TestOneBadKey: what a member of the set cannot be used for does not count against the others.
func TestOneBadKey(t *testing.T) {
	t.Parallel()
	p, k := keysOf(t, authtest.NewClock())
	p.Misbehave(authtest.Misbehaviour{Keys: func(keys []any) []any {
		return append([]any{"key", nil, map[string]any{"kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA"}, map[string]any{"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}}, keys...)
	}})
	want(t, "the good key", has(t, k, "key-1"), true)
	if keys, err := k.Candidates(t.Context(), "HS256", "secret"); err != nil || len(keys) > 0 {
		t.Errorf("a shared secret of a provider: %d keys, %v", len(keys), err)
	}
}

func TestKeySetOptions(t *testing.T) {
	t.Parallel()
	strict := oidc.NewClient(oidc.ClientOptions{})
	for what, o := range map[string]oidc.KeySetOptions{
		"nothing":             {},
		"issuer over http":    {Issuer: "http://issuer.example.com"},
		"issuer is a word":    {Issuer: "issuer"},
		"issuer with query":   {Issuer: "https://issuer.example.com/?a=b"},
		"issuer with user":    {Issuer: "https://a:b@issuer.example.com"},
		"URL over http":       {URL: "http://issuer.example.com/keys"},
		"URL of a file":       {URL: "file:///etc/passwd"},
		"URL without host":    {URL: "https:///keys"},
		"broken URL":          {URL: "https://issuer.example.com/%zz"},
		"garbage":             {Issuer: "issuer", JWKS: []byte("garbage")},
		"no keys":             {Issuer: "issuer", JWKS: []byte(`{"keys":[]}`)},
		"no key of use":       {Issuer: "issuer", JWKS: []byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`)},
		"empty, but not none": {Issuer: "https://issuer.example.com", JWKS: []byte{}},
	} {
		o.Client = strict
		k, err := oidc.NewKeySet(o)
		if err == nil {
			k.Close()
			t.Errorf("%s is taken", what)
		} else if strings.Contains(err.Error(), "c2Vj") || strings.Contains(err.Error(), "a:b") {
			t.Errorf("%s: %v", what, err)
		}
	}
	k := newKeySet(t, oidc.KeySetOptions{Issuer: "an issuer that is no URL", JWKS: []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)})
	if keys, err := k.Candidates(t.Context(), "EdDSA", "k"); err != nil || len(keys) != 1 {
		t.Errorf("inline keys: %d, %v", len(keys), err)
	}
}

// TestClientStaysOutside: no request goes where it may not.
func TestClientStaysOutside(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}))
	defer inside.Close()
	port := inside.URL[strings.LastIndexByte(inside.URL, ':'):]
	get := func(o oidc.ClientOptions, url string) error {
		client := oidc.NewClient(o)
		defer client.CloseIdleConnections()
		answer, err := client.Get(url)
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		return err
	}
	for _, url := range []string{"http://127.0.0.1" + port, "http://localhost" + port, "http://[::1]" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port, "http://127.1.2.3" + port} {
		if err := get(oidc.ClientOptions{Insecure: true}, url); err == nil || !strings.Contains(err.Error(), "allow_private") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := get(oidc.ClientOptions{AllowPrivate: true}, inside.URL); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("http: %v", err)
	}
	want(t, "requests that got through", reached.Load(), int32(0))
	both := oidc.ClientOptions{Insecure: true, AllowPrivate: true}
	for to, ok := range map[string]bool{"/there": true, inside.URL + "/there": true, "http://localhost" + port + "/": false, "https://127.0.0.1" + port + "/": false, "http://127.0.0.1:1/": false, "file:///etc/passwd": false} {
		if err := get(both, inside.URL+"/?to="+to); (err == nil) != ok {
			t.Errorf("a redirect to %s: %v", to, err)
		}
	}
	if err := get(both, inside.URL+"/?to=/%3Fto=/%253Fto=/%25253Fto=/"); err != nil {
		t.Errorf("three redirects: %v", err)
	}
	loop := httptest.NewServer(http.RedirectHandler("/", http.StatusFound))
	defer loop.Close()
	if err := get(both, loop.URL); err == nil {
		t.Error("redirects without end are followed")
	}
}

// TestAnswersAreBounded: of what is too large no more is read than is allowed.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int64]bool{1 << 20: true, 1<<20 + 1: false, 50 << 20: false} {
		server := httptest.NewServer(authtest.Garbage(n))
		client := here()
		answer, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		read, err := io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if (err == nil) != ok || read > 1<<20 {
			t.Errorf("%d bytes: %d read, %v", n, read, err)
		}
		client.CloseIdleConnections()
		server.Close()
	}
}

// TestOutageIsLogged: the operator reads why, once for each attempt, and that it is over.
func TestOutageIsLogged(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	clock := authtest.NewClock()
	p := authtest.NewProvider(t, authtest.ProviderOptions{Now: clock.Now})
	k := newKeySet(t, oidc.KeySetOptions{URL: p.URL + authtest.KeysPath + "?token=secret", Now: clock.Now, Log: slog.New(slog.NewTextHandler(&log, nil))})
	p.Break(authtest.KeysPath, authtest.Answer(503, ""))
	for range 5 {
		if _, err := k.Candidates(t.Context(), "ES256", "key-1"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
	p.Break(authtest.KeysPath, nil)
	clock.Advance(time.Minute)
	want(t, "back", has(t, k, "key-1"), true)
	text := log.String()
	if strings.Count(text, "answers 503") != 1 || strings.Count(text, "fetched again") != 1 || strings.Contains(text, "secret") {
		t.Error(text)
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
