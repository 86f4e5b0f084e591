package jwt_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

const issuer = "https://issuer.example.com/"

// source is a KeySource whose keys a test changes.
type source struct {
	mu  sync.Mutex
	set *jwt.Set
	err error
}

func (s *source) Candidates(ctx context.Context, alg, kid string) ([]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return s.set.Candidates(ctx, alg, kid)
}

func (s *source) be(set *jwt.Set, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.err = set, err
}

// setOfSigners is the set that an issuer with these signers publishes.
func setOfSigners(t testing.TB, signers ...*authtest.Signer) *jwt.Set {
	t.Helper()
	members := make([]string, len(signers))
	for i, s := range signers {
		members[i] = jwk(t, s.Public(), s.Kid, nil)
	}
	set, skipped := setOf(t, members...)
	if len(skipped) > 0 {
		t.Fatal(skipped)
	}
	return set
}

func newVerifier(t testing.TB, o jwt.VerifierOptions, signers ...*authtest.Signer) *jwt.Verifier {
	t.Helper()
	if o.Keys == nil {
		o.Keys = setOfSigners(t, signers...)
	}
	if o.Issuer == "" {
		o.Issuer = issuer
	}
	if o.Audience == nil {
		o.Audience = []string{"parlor", "other"}
	}
	if o.Now == nil {
		o.Now = authtest.NewClock().Now
	}
	v, err := jwt.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// claimsWith are those of a good token, changed; nil ones go.
func claimsWith(changes map[string]any) map[string]any {
	claims := map[string]any{"iss": issuer, "aud": "parlor", "sub": "anna", "exp": now + 60}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

func TestVerifierTakes(t *testing.T) {
	t.Parallel()
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048)) // one for all, for they take long to make
	for _, alg := range jwt.SigningAlgorithms() {
		for _, kid := range []string{"", "a:b=c/../é'--"} {
			s := authtest.NewKeySigner(t, alg, kid, rsaKey)
			if alg[0] == 'E' {
				s = authtest.NewSigner(t, alg, kid)
			}
			v := newVerifier(t, jwt.VerifierOptions{Leeway: 30 * time.Second}, s)
			for range 2 { // verified, then remembered
				got, err := v.Verify(t.Context(), s.Token(t, nil, claimsWith(map[string]any{"aud": []string{"x", "parlor"}, "groups": []string{"g"}})))
				if err != nil {
					t.Errorf("%s %q: %v", alg, kid, err)
					continue
				}
				if got.Subject != "anna" || got.KeyID != kid || got.Algorithm != alg || !got.Expires.Equal(time.Unix(now+90, 0)) || !strings.Contains(string(got.Claims), `"groups":["g"]`) {
					t.Errorf("%s %q: %+v", alg, kid, got)
				}
			}
		}
	}
}

// strict takes the tokens of s and e that hold iat and hd beside what every one must.
func strict(t testing.TB, s, e *authtest.Signer) *jwt.Verifier {
	t.Helper()
	return newVerifier(t, jwt.VerifierOptions{Required: claimsOf(t, `iat, {hd, ["example.com"]}`), Algorithms: []string{"RS256", "ES384"}}, s, e)
}

// strictClaims are those of a token that strict takes, changed; nil ones go.
func strictClaims(changes map[string]any) map[string]any {
	all := map[string]any{"iat": now, "hd": "example.com"}
	maps.Copy(all, changes)
	return claimsWith(all)
}

func TestVerifierRefusesClaims(t *testing.T) {
	t.Parallel()
	s, e := authtest.NewSigner(t, "RS256", "k"), authtest.NewSigner(t, "ES256", "e")
	v := strict(t, s, e)
	with := func(changes map[string]any) string { return s.Token(t, nil, strictClaims(changes)) }
	if _, err := v.Verify(t.Context(), with(nil)); err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct{ token, reason string }{
		"no iss":              {with(map[string]any{"iss": nil}), "Missing iss claim"},
		"another iss":         {with(map[string]any{"iss": "https://issuer.example.com"}), "Invalid iss claim"},
		"iss in a list":       {with(map[string]any{"iss": []string{issuer}}), "Invalid iss claim"},
		"no aud":              {with(map[string]any{"aud": nil}), "Missing aud claim"},
		"another aud":         {with(map[string]any{"aud": "someone"}), "Invalid aud claim"},
		"part of an aud":      {with(map[string]any{"aud": "parlor "}), "Invalid aud claim"},
		"other auds":          {with(map[string]any{"aud": []string{"a", "b"}}), "Invalid aud claim"},
		"no auds":             {with(map[string]any{"aud": []string{}}), "Invalid aud claim"},
		"aud among others":    {with(map[string]any{"aud": []any{"parlor", 1}}), "Invalid aud claim"},
		"aud is an object":    {with(map[string]any{"aud": map[string]any{"parlor": true}}), "Invalid aud claim"},
		"no exp":              {with(map[string]any{"exp": nil}), "Missing exp claim"},
		"exp is text":         {with(map[string]any{"exp": "4102444800"}), "Invalid exp claim"},
		"expired":             {with(map[string]any{"exp": now}), "exp not in future"},
		"not yet":             {with(map[string]any{"nbf": now + 1}), "nbf not in past"},
		"nbf is text":         {with(map[string]any{"nbf": "1"}), "Invalid nbf claim"},
		"no sub":              {with(map[string]any{"sub": nil}), "Token missing sub claim."},
		"empty sub":           {with(map[string]any{"sub": ""}), "Invalid sub claim"},
		"sub is a number":     {with(map[string]any{"sub": 7}), "Invalid sub claim"},
		"required missing":    {with(map[string]any{"hd": nil}), "Missing hd claim"},
		"required is another": {with(map[string]any{"hd": "example.org"}), "Invalid hd claim"},
		"no iat":              {with(map[string]any{"iat": nil}), "Missing iat claim"},
		"logout token":        {with(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}), "Invalid events claim"},
	} {
		for range 2 {
			_, err := v.Verify(t.Context(), tt.token)
			wantRefusal(t, what, err, 401, tt.reason)
		}
	}
}

func TestVerifierRefusesTokens(t *testing.T) {
	t.Parallel()
	s, ec, mallory := authtest.NewSigner(t, "RS256", "k"), authtest.NewSigner(t, "ES256", "e"), authtest.NewSigner(t, "RS256", "k")
	public, hmac := authtest.NewHMACSigner(t, "HS256", "k", []byte(s.Value)), authtest.NewHMACSigner(t, "HS256", "k", []byte("secret"))
	v := strict(t, s, ec)
	claims := strictClaims(nil)
	good := s.Token(t, nil, claims)
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	raw := func(text string) string { return s.Sign(t, `{"alg":"RS256","kid":"k"}`, text) }
	for what, tt := range map[string]struct{ token, reason string }{
		"empty":                {"", malformed},
		"junk":                 {"junk", malformed},
		"four parts":           {good + ".x", malformed},
		"too long":             {good + strings.Repeat("A", 33_000), "Authentication token is too long"},
		"iss null":             {raw(`{"iss":null,"aud":"parlor","sub":"anna","exp":4102444800,"iat":1,"hd":"example.com"}`), "Invalid iss claim"},
		"typ logout":           {s.Token(t, map[string]any{"typ": "logout+jwt"}, claims), "Invalid typ header parameter"},
		"typ of an event":      {s.Token(t, map[string]any{"typ": "application/SecEvent+JWT"}, claims), "Invalid typ header parameter"},
		"typ is no string":     {s.Token(t, map[string]any{"typ": 1}, claims), "Invalid typ header parameter"},
		"none":                 {s.Token(t, map[string]any{"alg": "none"}, claims), "Invalid alg header parameter"},
		"none, unsigned":       {encode(`{"alg":"none","kid":"k"}`) + "." + parts[1] + ".", "Invalid alg header parameter"},
		"HS256 with PEM":       {public.Token(t, nil, claims), "Invalid alg header parameter"},
		"HS256":                {hmac.Token(t, nil, claims), "Invalid alg header parameter"},
		"another alg":          {s.Token(t, map[string]any{"alg": "PS256"}, claims), "Invalid alg header parameter"},
		"another curve":        {ec.Token(t, map[string]any{"alg": "ES384"}, claims), "Unknown kid"},
		"alg of no key":        {s.Token(t, map[string]any{"alg": "ES384"}, claims), "Unknown kid"},
		"another's key":        {mallory.Token(t, nil, claims), badSig},
		"no signature":         {parts[0] + "." + parts[1] + ".", badSig},
		"signature not base64": {parts[0] + "." + parts[1] + ".!", badSig},
		"other claims":         {parts[0] + "." + encode(`{"iss":"`+issuer+`","aud":"parlor","sub":"root","exp":4102444800,"iat":1,"hd":"example.com"}`) + "." + parts[2], badSig},
		"unknown kid":          {s.Token(t, map[string]any{"kid": "K"}, claims), "Unknown kid"},
		"kid is a path":        {s.Token(t, map[string]any{"kid": "../../k"}, claims), "Unknown kid"},
		"kid is a URL":         {s.Token(t, map[string]any{"kid": issuer + "keys"}, claims), "Unknown kid"},
		"kid with NUL":         {s.Token(t, map[string]any{"kid": "k\x00"}, claims), "Unknown kid"},
		"kid is a number":      {s.Token(t, map[string]any{"kid": 1}, claims), "Invalid kid header parameter"},
		"crit":                 {s.Token(t, map[string]any{"crit": []string{"b64"}}, claims), "Invalid crit header parameter"},
		"sub twice":            {raw(`{"sub":"anna","iss":"` + issuer + `","aud":"parlor","sub":"root","exp":4102444800}`), "Duplicate member in authentication token"},
		"alg twice":            {s.Sign(t, `{"alg":"RS256","alg":"none","kid":"k"}`, `{}`), "Duplicate member in authentication token"},
		"too deep":             {raw(`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`), "Authentication token is nested too deep"},
		"claims are a list":    {raw(`[]`), "Not an object"},
	} {
		for range 2 { // refused, then remembered as refused
			_, err := v.Verify(t.Context(), tt.token)
			wantRefusal(t, what, err, 401, tt.reason)
		}
	}
}

// TestVerifierOptionsRefused: none of these can be meant.
func TestVerifierOptionsRefused(t *testing.T) {
	t.Parallel()
	keys := new(jwt.Set)
	for what, o := range map[string]jwt.VerifierOptions{
		"no keys":        {Issuer: issuer, Audience: []string{"a"}},
		"no issuer":      {Keys: keys, Audience: []string{"a"}},
		"no audience":    {Keys: keys, Issuer: issuer},
		"empty audience": {Keys: keys, Issuer: issuer, Audience: []string{"a", ""}},
		"HS256":          {Keys: keys, Issuer: issuer, Audience: []string{"a"}, Algorithms: []string{"ES256", "HS256"}},
		"none":           {Keys: keys, Issuer: issuer, Audience: []string{"a"}, Algorithms: []string{"none"}},
		"leeway":         {Keys: keys, Issuer: issuer, Audience: []string{"a"}, Leeway: -1},
		"another iss":    {Keys: keys, Issuer: issuer, Audience: []string{"a"}, Required: jwt.Claims{{Name: "iss", Values: []string{"x"}}}},
	} {
		if _, err := jwt.NewVerifier(o); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// TestRememberedTokenNeedsItsKey: what verified once is refused when its key is gone or replaced, and cannot be judged without keys.
func TestRememberedTokenNeedsItsKey(t *testing.T) {
	t.Parallel()
	s, other, same := authtest.NewSigner(t, "ES256", "k"), authtest.NewSigner(t, "ES256", "other"), authtest.NewSigner(t, "ES256", "k")
	keys := &source{set: setOfSigners(t, s)}
	v := newVerifier(t, jwt.VerifierOptions{Keys: keys})
	token := s.Token(t, nil, claimsWith(nil))
	down := errors.New("down")
	for i, step := range []struct {
		set *jwt.Set
		err error
		ok  bool
	}{
		{setOfSigners(t, s), nil, true}, {setOfSigners(t, s, other), nil, true}, {setOfSigners(t, other), nil, false}, {setOfSigners(t, s), nil, true},
		{setOfSigners(t, same), nil, false}, {nil, down, false}, {setOfSigners(t, s), nil, true},
	} {
		keys.be(step.set, step.err)
		_, err := v.Verify(t.Context(), token)
		switch {
		case step.err != nil && err != step.err:
			t.Errorf("step %d: %v", i, err)
		case step.ok && err != nil:
			t.Errorf("step %d: %v", i, err)
		case !step.ok && step.err == nil:
			wantRefusal(t, fmt.Sprint("step ", i), err, 401, "Unknown kid")
		}
	}
}

// TestVerifierClock: a remembered token ages, and clocks may differ by the leeway.
func TestVerifierClock(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	s := authtest.NewSigner(t, "EdDSA", "k")
	v := newVerifier(t, jwt.VerifierOptions{Now: clock.Now, Leeway: 2 * time.Minute}, s)
	token := s.Token(t, nil, claimsWith(map[string]any{"nbf": now, "exp": now + 60}))
	for _, step := range []struct {
		at     int64
		reason string
	}{{0, ""}, {179, ""}, {180, "exp not in future"}, {-120, ""}, {-121, "nbf not in past"}, {3600, "exp not in future"}, {0, ""}} {
		clock.Advance(time.Unix(now+step.at, 0).Sub(clock.Now()))
		_, err := v.Verify(t.Context(), token)
		if step.reason == "" && err != nil {
			t.Errorf("at %d: %v", step.at, err)
		}
		if step.reason != "" {
			wantRefusal(t, fmt.Sprint("at ", step.at), err, 401, step.reason)
		}
	}
}

// TestVerifierWithoutKid: a token that does not say which key is tried with those that fit, and not with any number of them.
func TestVerifierWithoutKid(t *testing.T) {
	t.Parallel()
	var signers []*authtest.Signer
	for i := range 9 {
		signers = append(signers, authtest.NewSigner(t, "ES256", fmt.Sprint(i)))
	}
	nameless := authtest.NewSigner(t, "ES256", "")
	token := signers[7].Token(t, map[string]any{"kid": ""}, claimsWith(nil))
	if _, err := newVerifier(t, jwt.VerifierOptions{}, signers[:8]...).Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
	_, err := newVerifier(t, jwt.VerifierOptions{}, signers[:7]...).Verify(t.Context(), token)
	wantRefusal(t, "none of the keys", err, 401, badSig)
	_, err = newVerifier(t, jwt.VerifierOptions{}, signers...).Verify(t.Context(), token)
	wantRefusal(t, "nine keys", err, 401, "Missing kid header parameter")
	_, err = newVerifier(t, jwt.VerifierOptions{}, nameless).Verify(t.Context(), signers[0].Token(t, nil, claimsWith(nil)))
	wantRefusal(t, "a kid, and a key without one", err, 401, "Unknown kid")
}

// TestVerifierBudget: beyond it no signature is computed; what is remembered costs nothing.
func TestVerifierBudget(t *testing.T) {
	t.Parallel()
	s, mallory := authtest.NewSigner(t, "ES256", "k"), authtest.NewSigner(t, "ES256", "k")
	v := newVerifier(t, jwt.VerifierOptions{Budget: auth.NewBudget(auth.BudgetOptions{Failures: 2})}, s)
	a, b := auth.WithClient(t.Context(), netip.MustParseAddr("192.0.2.1")), auth.WithClient(t.Context(), netip.MustParseAddr("192.0.2.2"))
	good := s.Token(t, nil, claimsWith(nil))
	for range 5 {
		if _, err := v.Verify(a, good); err != nil {
			t.Fatal(err)
		}
	}
	for i, status := range []int{401, 401, 429} {
		_, err := v.Verify(a, mallory.Token(t, nil, claimsWith(map[string]any{"jti": i})))
		if refusal, ok := err.(*auth.Refusal); !ok || refusal.Status != status {
			t.Errorf("wrong token %d: %v", i, err)
		}
	}
	if _, err := v.Verify(a, good); err != nil {
		t.Errorf("remembered: %v", err)
	}
	_, err := v.Verify(a, s.Token(t, nil, claimsWith(map[string]any{"jti": "new"})))
	if refusal, ok := err.(*auth.Refusal); !ok || refusal.Status != http.StatusTooManyRequests || refusal.Header.Get("Retry-After") == "" {
		t.Errorf("beyond the budget: %v", err)
	}
	if _, err := v.Verify(b, s.Token(t, nil, claimsWith(map[string]any{"jti": "new"}))); err != nil {
		t.Errorf("another client: %v", err)
	}
}

func TestVerifySignature(t *testing.T) {
	t.Parallel()
	s, mallory := authtest.NewSigner(t, "EdDSA", "k"), authtest.NewSigner(t, "EdDSA", "k")
	set := setOfSigners(t, s)
	payload, err := jwt.VerifySignature(t.Context(), set, s.Sign(t, `{"alg":"EdDSA","kid":"k"}`, `{"a":1}`))
	if err != nil || string(payload) != `{"a":1}` {
		t.Errorf("%s, %v", payload, err)
	}
	down := errors.New("down")
	if _, err := jwt.VerifySignature(t.Context(), &source{err: down}, s.Token(t, nil, nil)); err != down {
		t.Errorf("%v, want the source's error", err)
	}
	for what, tt := range map[string]struct{ token, reason string }{
		"another's": {mallory.Token(t, nil, claimsWith(nil)), badSig},
		"junk":      {"a.b", malformed},
		"duplicate": {s.Sign(t, `{"alg":"EdDSA","kid":"k"}`, `{"a":1,"a":2}`), "Duplicate member in authentication token"},
		"unknown":   {s.Token(t, map[string]any{"kid": "x"}, nil), "Unknown kid"},
		"too long":  {strings.Repeat("a", 40_000) + ".b.c", malformed},
		"HS256":     {authtest.NewHMACSigner(t, "HS256", "k", []byte(s.Value)).Token(t, nil, nil), "Unknown kid"},
	} {
		_, err := jwt.VerifySignature(t.Context(), set, tt.token)
		wantRefusal(t, what, err, 401, tt.reason)
	}
}

func TestPeek(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		head, claims, issuer string
		audience             []string
		kid                  string
	}{
		{`{"alg":"none","kid":"k"}`, `{"iss":"i","aud":"a"}`, "i", []string{"a"}, "k"},
		{`{}`, `{"iss":"i","aud":["a","b"]}`, "i", []string{"a", "b"}, ""},
		{`{"kid":1}`, `{"iss":["i"],"aud":["a",1]}`, "", nil, ""},
		{`{}`, `{}`, "", nil, ""},
	} {
		issuer, audience, kid, ok := jwt.Peek(encode(tt.head) + "." + encode(tt.claims) + ".x")
		if !ok || issuer != tt.issuer || !slices.Equal(audience, tt.audience) || kid != tt.kid {
			t.Errorf("%s %s: %q %q %q %v", tt.head, tt.claims, issuer, audience, kid, ok)
		}
	}
	for _, token := range []string{"", "a", "a.b", "..", encode("{}") + ".x.y", "x." + encode("{}") + ".y", encode("[]") + "." + encode("{}") + ".", encode("{}") + "." + encode(`{"iss":"a","iss":"b"}`) + ".",
		encode("{}") + "." + encode("{}") + ".a.b", encode("{}") + "." + encode("{}") + "." + strings.Repeat("a", 40_000)} {
		if issuer, audience, kid, ok := jwt.Peek(token); ok || issuer != "" || audience != nil || kid != "" {
			t.Errorf("%.40q: %q %q %q %v", token, issuer, audience, kid, ok)
		}
	}
}

// FuzzVerifier: what is not signed is never taken; what is taken has the issuer and the audience, and Peek has said so before.
func FuzzVerifier(f *testing.F) {
	s := authtest.NewSigner(f, "EdDSA", "k")
	v := newVerifier(f, jwt.VerifierOptions{}, s)
	const head = `{"alg":"EdDSA","kid":"k"}`
	for _, claims := range []string{`{"iss":"` + issuer + `","aud":"parlor","sub":"anna","exp":4102444800}`, `{"iss":"` + issuer + `","aud":["parlor"],"sub":"a","exp":1e300}`, `{}`, `[`} {
		f.Add(head, claims)
	}
	f.Add(`{"alg":"HS256","kid":"k"}`, `{"iss":"`+issuer+`","aud":"parlor","sub":"anna","exp":4102444800}`)
	f.Fuzz(func(t *testing.T, head, claims string) {
		unsigned := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "."
		for _, token := range []string{head, claims, unsigned, unsigned + "AAAA"} {
			if got, err := v.Verify(t.Context(), token); err == nil {
				t.Fatalf("%q: %+v", token, got)
			}
		}
		token := s.Sign(t, head, claims)
		got, err := v.Verify(t.Context(), token)
		if err != nil {
			if refusal, ok := err.(*auth.Refusal); !ok || refusal.Status != http.StatusUnauthorized {
				t.Fatalf("%s . %s: %v", head, claims, err)
			}
			return
		}
		from, audience, kid, ok := jwt.Peek(token)
		if !ok || from != issuer || !slices.Contains(audience, "parlor") && !slices.Contains(audience, "other") || kid != got.KeyID || got.Subject == "" {
			t.Fatalf("%s . %s: %+v; Peek says %q %q %q", head, claims, got, from, audience, kid)
		}
	})
}
