package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/parlordb/parlor/auth/authtest"
)

// runWithProvider starts a server that takes the tokens of a provider, and logs in there; both go by one clock.
func runWithProvider(t *testing.T, more string) (*running, *authtest.Provider, *authtest.Clock) {
	t.Helper()
	clock := authtest.NewClock()
	p := authtest.NewProvider(t, authtest.ProviderOptions{Now: clock.Now})
	p.SetUser(map[string]any{"sub": "1"})
	outside := "issuer = " + p.URL + "\ninsecure = true\nallow_private = true\nunknown_users = allow\n"
	s := run(t, clock.Now, runSettings(t)+"[jwt_issuer:kc]\naudience = api\n"+outside+"[oidc:corp]\nclient_id = client\nclient_secret = secret\n"+outside+more)
	return s, p, clock
}

// idToken is one for [jwt_issuer:kc] that lasts.
func idToken(t *testing.T, p *authtest.Provider, claims map[string]any) func(*http.Request) {
	t.Helper()
	return bearing(p.IDToken(t, func(_, c map[string]any) {
		c["aud"], c["exp"] = "api", 4102444800
		for name, value := range claims {
			c[name] = value
		}
	}))
}

func (s *running) expect(what string, sign func(*http.Request), want string) {
	s.t.Helper()
	if got := s.user(sign); got != want {
		s.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

const (
	unauthorized = "Unauthorized"
	unavailable  = "Service Unavailable"
)

// TestKeysComeAndGo: a new key is trusted when a token names it, and one that is removed is not from the next fetch on.
func TestKeysComeAndGo(t *testing.T) {
	t.Parallel()
	s, p, clock := runWithProvider(t, "")
	first := idToken(t, p, nil)
	s.expect("the first key", first, "kc.1")
	p.Rotate(t, "RS256")
	second := idToken(t, p, nil)
	clock.Advance(31 * time.Second)
	s.expect("a new key", second, "kc.1")
	s.expect("the key beside it", first, "kc.1")
	p.Remove("key-1")
	s.expect("a removed key, before the next fetch", first, "kc.1")
	clock.Advance(time.Hour)
	s.expect("a removed key", first, unauthorized)
	s.expect("the key that stays", second, "kc.1")
	p.Rotate(t, "EdDSA")
	p.Remove("key-2")
	clock.Advance(31 * time.Second)
	s.expect("another new key", idToken(t, p, nil), "kc.1")
	s.expect("a key that was replaced", second, unauthorized)
}

// TestKeyNamedLikeADevices: a provider may name its keys as it likes.
func TestKeyNamedLikeADevices(t *testing.T) {
	t.Parallel()
	signer := authtest.NewSigner(t, "ES256", "dev_1")
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: signer.Public(), KeyID: signer.Kid, Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := run(t, time.Now, runSettings(t)+"[jwt_issuer:kc]\nissuer = https://id.example\naudience = api\nunknown_users = allow\njwks = "+string(public)+"\n")
	token := signer.Token(t, map[string]any{"kid": "dev_1"}, map[string]any{"iss": "https://id.example", "aud": "api", "sub": "1", "exp": 4102444800})
	s.expect("its token", bearing(token), "kc.1")
}

// TestKeyFileChanges: a file with other keys is another word of the issuer's from the next reload on, as if it stood in the settings. One that cannot be used changes nothing,
// and keeps no other change from being made.
func TestKeyFileChanges(t *testing.T) {
	t.Parallel()
	a, b := authtest.NewSigner(t, "ES256", "a"), authtest.NewSigner(t, "ES256", "b")
	file := filepath.Join(t.TempDir(), "keys.json")
	write := func(signers ...*authtest.Signer) {
		t.Helper()
		set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
		for _, signer := range signers {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: signer.Public(), KeyID: signer.Kid, Algorithm: "ES256", Use: "sig"})
		}
		text, err := json.Marshal(set)
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(a)
	s := run(t, authtest.NewClock().Now, runSettings(t)+"[jwt_issuer:kc]\nissuer = https://id.example\naudience = api\nunknown_users = allow\njwks_file = "+file+"\n")
	s.admin("PUT", "/notes", "")
	s.admin("PUT", "/notes/_security", `{"members":{"names":["kc.1"]}}`)
	by := func(signer *authtest.Signer) func(*http.Request) {
		return bearing(signer.Token(t, map[string]any{"kid": signer.Kid}, map[string]any{"iss": "https://id.example", "aud": "api", "sub": "1", "exp": 4102444800}))
	}
	reload := func() { s.admin("POST", "/_node/_local/_config/_reload", "") }
	session := s.signIn(by(a), "")
	token, traded := s.follow("a token", "continuous", by(a)), s.follow("a session", "continuous", session)
	reload()
	s.expect("a session, after a reload of the same", session, "kc.1")

	write(b)
	reload()
	s.expect("a key that is gone", by(a), unauthorized)
	s.expect("a new key", by(b), "kc.1")
	s.expect("a session of the key that is gone", session, "")
	token.expectCut(t)
	traded.expectCut(t)

	session = s.signIn(by(b), "")
	for what, spoil := range map[string]func() error{
		"no set": func() error { return os.WriteFile(file, []byte("{"), 0o600) },
		"away":   func() error { return os.Remove(file) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		reload()
		s.set("jwt_issuer:kc", "leeway", strconv.Itoa(len(what)))
		s.expect("a key whose file is "+what, by(b), "kc.1")
		s.expect("a session of it", session, "kc.1")
	}
	write()
	reload()
	s.expect("a key whose file was emptied", by(b), unauthorized)
	s.expect("a session of it", session, "")
}

// TestKeysRotateUnderLoad: nobody with a good token is refused meanwhile, and the provider is asked once for each new key.
func TestKeysRotateUnderLoad(t *testing.T) {
	t.Parallel()
	const rotations = 5
	s, p, clock := runWithProvider(t, "")
	var current atomic.Pointer[func(*http.Request)]
	publish := func() {
		sign := idToken(t, p, nil)
		s.expect(p.Signer().Kid, sign, "kc.1")
		current.Store(&sign)
	}
	publish()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					s.expect("under load", *current.Load(), "kc.1")
				}
			}
		})
	}
	for range rotations {
		clock.Advance(31 * time.Second)
		p.Rotate(t, "ES256")
		publish()
	}
	close(done)
	wg.Wait()
	if n := p.Requests(authtest.KeysPath); n > 1+rotations {
		t.Errorf("%d requests for %d rotations", n, rotations)
	}
}

// TestProviderFails: while a provider fails that was not heard of yet, its users are told to come again and others sign in as always. When it is back so are they. When it
// fails later, its users notice nothing. None of that takes a restart.
func TestProviderFails(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]http.Handler{
		"down":           authtest.Down(),
		"garbage":        authtest.Garbage(1000),
		"50 MB":          authtest.Garbage(50 << 20),
		"server error":   authtest.Answer(500, `{}`),
		"no keys":        authtest.Answer(200, `{}`),
		"sent elsewhere": authtest.RedirectTo("http://127.0.0.2:1/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p, clock := runWithProvider(t, "")
			s.t = t
			for _, path := range []string{"", authtest.KeysPath} {
				p.Break(path, broken)
			}
			res := s.send(t.Context(), idToken(t, p, nil), "GET", "/_session", "")
			res.Body.Close()
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				t.Errorf("a token is answered %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
			}
			if status, answer := s.as(nil, "GET", "/_oidc/corp/login", ""); status != 503 || strings.Contains(answer, "127.0.0.1") {
				t.Errorf("a login is answered %d %s", status, answer)
			}
			s.expect("another user", basic("admin", "secret"), "admin")
			p.Break("", nil)
			clock.Advance(30 * time.Second)
			if status, _ := s.as(nil, "GET", "/_oidc/corp/login", ""); status != 302 {
				t.Errorf("a login when the provider is back but for its keys: %d", status)
			}
			s.expect("without keys", idToken(t, p, nil), unavailable)
			p.Break(authtest.KeysPath, nil)
			clock.Advance(30 * time.Second)
			s.expect("the provider is back", idToken(t, p, nil), "kc.1")
			p.Break("", broken)
			p.Break(authtest.KeysPath, broken)
			clock.Advance(25 * time.Hour)
			s.expect("it fails later", idToken(t, p, map[string]any{"sub": "2"}), "kc.2")
		})
	}
}

// TestSlowProvider: whoever needs the provider waits for it, and nobody else does.
func TestSlowProvider(t *testing.T) {
	t.Parallel()
	s, p, _ := runWithProvider(t, "")
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	slow := p.Wait(release)
	p.Break(authtest.KeysPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(arrived) })
		slow.ServeHTTP(w, r)
	}))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { s.expect("after a while", idToken(t, p, nil), "kc.1") })
	}
	<-arrived
	s.expect("another user", basic("admin", "secret"), "admin")
	s.expect("nobody", nil, "")
	close(release)
	wg.Wait()
	if n := p.Requests(authtest.KeysPath); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestThousandBadTokens: tokens that name keys which do not exist are refused, and a thousand of them have the provider asked once at most.
func TestThousandBadTokens(t *testing.T) {
	t.Parallel()
	s, p, clock := runWithProvider(t, "")
	good := idToken(t, p, nil)
	s.expect("before", good, "kc.1")
	clock.Advance(time.Minute)
	asked := func() int { return p.Requests(authtest.KeysPath) + p.Requests(authtest.DiscoveryPath) }
	before := asked()
	mallory := authtest.NewSigner(t, "ES256", "")
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := range 100 {
				token := mallory.Token(t, map[string]any{"kid": fmt.Sprint(worker, "-", i)}, map[string]any{"iss": p.Issuer(), "aud": "api", "sub": "1", "exp": 4102444800})
				if status, answer := s.as(bearing(token), "GET", "/_session", ""); status != 401 && status != 429 {
					t.Errorf("a bad token is answered %d %s", status, answer)
				}
			}
		})
	}
	wg.Wait()
	if n := asked() - before; n != 1 {
		t.Errorf("the provider had %d requests, want 1", n)
	}
	s.expect("a good token, afterwards", good, "kc.1")
}

// TestTwoProvidersOfOneIssuer: sections of one issuer each have their own audience, and who else says that he is that issuer is not believed.
func TestTwoProvidersOfOneIssuer(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	p := authtest.NewProvider(t, authtest.ProviderOptions{Now: clock.Now})
	impostor := authtest.NewProvider(t, authtest.ProviderOptions{Now: clock.Now, Issuer: p.URL})
	section := func(name, issuer, audience string) string {
		return "[jwt_issuer:" + name + "]\nissuer = " + issuer + "\naudience = " + audience + "\ninsecure = true\nallow_private = true\nunknown_users = allow\n"
	}
	s := run(t, clock.Now, runSettings(t)+section("one", p.URL, "a")+section("two", p.URL, "b")+section("other", impostor.URL, "a"))
	p.SetUser(map[string]any{"sub": "1"})
	impostor.SetUser(map[string]any{"sub": "1"})
	s.expect("one's", idToken(t, p, map[string]any{"aud": "a"}), "one.1")
	s.expect("two's", idToken(t, p, map[string]any{"aud": "b"}), "two.1")
	s.expect("nobody's", idToken(t, p, map[string]any{"aud": "c"}), unauthorized)
	s.expect("the impostor's, with his key", idToken(t, impostor, map[string]any{"aud": "a"}), unauthorized)
	s.expect("the impostor's, in his own name", idToken(t, impostor, map[string]any{"aud": "a", "iss": impostor.URL}), unavailable)
	s.expect("one's, in the impostor's name", idToken(t, p, map[string]any{"aud": "a", "iss": impostor.URL}), unavailable)
	if n := impostor.Requests(authtest.KeysPath); n > 0 {
		t.Errorf("the impostor was asked for keys %d times", n)
	}
}

// TestClocksDiffer: by more than the leeway, a token is refused from whichever side of its time it comes, and a login with it.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		leeway, off time.Duration // off: the server's clock
		ok          bool
	}{
		{0, 0, true}, {0, -time.Minute, false}, {0, 61 * time.Minute, false},
		{5 * time.Minute, -6 * time.Minute, false}, {5 * time.Minute, -4 * time.Minute, true}, {5 * time.Minute, 64 * time.Minute, true}, {5 * time.Minute, 66 * time.Minute, false},
		{10 * time.Minute, 0, true},
	} {
		clock := authtest.NewClock()
		p := authtest.NewProvider(t, authtest.ProviderOptions{Now: clock.Now})
		p.SetUser(map[string]any{"sub": "1", "nbf": clock.Now().Unix()})
		p.Misbehave(authtest.Misbehaviour{IDToken: func(_, claims map[string]any) { claims["nbf"] = clock.Now().Unix() }})
		s := run(t, func() time.Time { return clock.Now().Add(c.off) }, runSettings(t)+"[oidc:corp]\nissuer = "+p.URL+
			"\nclient_id = client\nclient_secret = secret\ninsecure = true\nallow_private = true\nunknown_users = allow\nleeway = "+fmt.Sprint(c.leeway.Seconds())+"\n")
		want := "corp.1"
		if !c.ok {
			want = unauthorized
		}
		s.expect(fmt.Sprintf("leeway %v, off by %v", c.leeway, c.off), bearing(p.IDToken(t, func(_, claims map[string]any) { claims["nbf"] = clock.Now().Unix() })), want)
		if status := s.visitCallback(p); (status == http.StatusOK) != c.ok {
			t.Errorf("leeway %v, off by %v: a login is answered %d", c.leeway, c.off, status)
		}
	}
}

// visitCallback goes through a login of a client that keeps its cookies itself, and returns the status of its end.
func (s *running) visitCallback(p *authtest.Provider) int {
	s.t.Helper()
	begun := s.send(s.t.Context(), nil, "GET", "/_oidc/corp/login", "")
	begun.Body.Close()
	cookie, _, _ := strings.Cut(begun.Header.Get("Set-Cookie"), ";")
	back, err := url.Parse(p.SignIn(s.t, begun.Header.Get("Location")).String())
	if err != nil {
		s.t.Fatal(err)
	}
	status, _ := s.as(with("Cookie", cookie), "GET", back.RequestURI(), "")
	return status
}

// TestSessionsByTheClock: a session slides with use and ends without; one that is bound to its token ends with the token; an id that serves once serves for five minutes.
func TestSessionsByTheClock(t *testing.T) {
	t.Parallel()
	const pass = `{"name":"ann","password":"apple"}`
	s, p, clock := runWithProvider(t, "[chttpd_auth]\ntimeout = 600\n")
	s.admin("PUT", annPath, `{"name":"ann","type":"user","roles":[],"password":"apple"}`)
	used, idle := s.signIn(nil, pass), s.signIn(nil, pass)
	for range 5 {
		clock.Advance(500 * time.Second)
		s.expect("in use", used, "ann")
	}
	s.expect("not in use", idle, "")
	clock.Advance(601 * time.Second)
	s.expect("no longer in use", used, "")

	_, made := s.as(nil, "POST", "/_session?one_time=true", pass)
	once := func(r *http.Request) { r.URL.RawQuery = "one_time_session=" + s.member(made, "one_time_session_id") }
	clock.Advance(5 * time.Minute)
	s.expect("a one-time id, too late", once, unauthorized)
	_, made = s.as(nil, "POST", "/_session?one_time=true", pass)
	clock.Advance(5*time.Minute - time.Second)
	s.expect("in time", once, "ann")
	s.expect("a second time", once, unauthorized)

	for _, bound := range []bool{false, true} {
		s.set("parlor_session", "bind_to_token", fmt.Sprint(bound))
		hour := bearing(p.IDToken(t, func(_, claims map[string]any) { claims["aud"] = "api" }))
		ways := map[string]func(*http.Request){"kc.1": s.signIn(hour, ""), "corp.1": s.login(p, "/_oidc/corp/login?next=/")}
		for range 7 {
			clock.Advance(500 * time.Second)
			for name, sign := range ways {
				s.expect("within the token's hour", sign, name)
			}
		}
		clock.Advance(101 * time.Second)
		for name, sign := range ways {
			if bound {
				name = ""
			}
			s.expect(fmt.Sprint("after the token's hour, bound: ", bound), sign, name)
		}
		s.expect("the token itself", hour, unauthorized)
	}
}
