package jwt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

const noKey = "The device's key is unknown, revoked or expired"

// phones is a directory with anna and bob, and what keeps their devices' keys.
type phones struct {
	clock  *authtest.Clock
	users  *auth.Memory
	tokens *auth.Tokens
}

func newPhones(t testing.TB) phones {
	t.Helper()
	p := phones{clock: authtest.NewClock(), users: new(auth.Memory)}
	p.users.Put(auth.User{Name: "anna", Roles: []string{"reader"}})
	p.users.Put(auth.User{Name: "bob"})
	p.tokens = auth.NewTokens(new(auth.MemoryState), p.users, new(auth.Revocations), auth.TokenOptions{Now: p.clock.Now})
	t.Cleanup(p.tokens.Close)
	return p
}

func (p phones) method(t testing.TB, o jwt.DeviceOptions) *jwt.Devices {
	t.Helper()
	o.Now = p.clock.Now
	d, err := jwt.NewDevices(p.tokens, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// add gives a user a device with a key of its own.
func (p phones) add(t testing.TB, user, alg string, change func(n *auth.NewToken)) *authtest.Signer {
	t.Helper()
	n := auth.NewToken{User: user, Label: "phone", Algorithm: alg, Scope: auth.Scope{Write: true, Databases: []string{"vault"}}}
	var private *ecdsa.PrivateKey
	if curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES512": elliptic.P521()}[alg]; curve != nil {
		private = must(ecdsa.GenerateKey(curve, rand.Reader))
		n.Public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(private.Public()))}))
	} else {
		n.Secret = []byte(rand.Text() + rand.Text() + rand.Text() + rand.Text())
	}
	if change != nil {
		change(&n)
	}
	kept, err := p.tokens.AddKey(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if private != nil {
		return authtest.NewKeySigner(t, alg, kept.ID, private)
	}
	return authtest.NewHMACSigner(t, alg, kept.ID, n.Secret)
}

func ask(m auth.Method, token string) (auth.Identity, error) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return m.Authenticate(r)
}

func TestDevicesContract(t *testing.T) {
	t.Parallel()
	p := newPhones(t)
	s := p.add(t, "anna", "ES256", nil)
	other := authtest.NewSigner(t, "ES256", s.Kid)
	good := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})
	authtest.TestMethod(t, authtest.MethodCase{
		Method: p.method(t, jwt.DeviceOptions{}),
		Good:   bearing(good),
		Name:   "anna",
		Bad: map[string]func(*http.Request){
			"another's key": bearing(other.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})),
			"unknown key":   bearing(s.Token(t, map[string]any{"kid": "dev_x"}, map[string]any{"sub": "anna", "exp": now + 60})),
		},
		Others: map[string]func(*http.Request){
			"junk":           bearing("x"),
			"empty":          bearing(""),
			"an app's token": bearing(other.Token(t, map[string]any{"kid": "k"}, map[string]any{"sub": "anna", "exp": now + 60})),
			"no kid":         bearing(other.Token(t, map[string]any{"kid": ""}, map[string]any{"sub": "anna", "exp": now + 60})),
			"kid twice":      bearing(other.Sign(t, `{"alg":"ES256","kid":"`+s.Kid+`","kid":"k"}`, `{}`)),
			"lower case":     func(r *http.Request) { r.Header.Set("Authorization", "bearer "+good) },
			"too long":       bearing(good + strings.Repeat("A", 40_000)),
			"access token":   bearing("parlor_abc"),
		},
	})
}

func TestDevicesTake(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "ES512", "HS256", "HS512"} {
		p := newPhones(t)
		s := p.add(t, "anna", alg, nil)
		d := p.method(t, jwt.DeviceOptions{})
		token := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60, "_couchdb.roles": []string{"_admin"}, "roles": "_admin"})
		for range 2 { // verified, then remembered
			id, err := ask(d, token)
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			if id.Name != "anna" || !slices.Equal(id.Roles, []string{"reader"}) || id.Method != "jwt" || id.Credential != "device:"+s.Kid || id.Local || id.Admin() ||
				!id.Expires.Equal(time.Unix(now+60+120, 0)) || id.Scope == nil || !id.Scope.Allows("vault", true) || id.Scope.Allows("other", false) {
				t.Errorf("%s: %+v", alg, id)
			}
		}
	}
}

// TestDevicesKidInEscapes: JSON can write a kid in more ways than one, and after as much as a header holds.
func TestDevicesKidInEscapes(t *testing.T) {
	t.Parallel()
	p := newPhones(t)
	s := p.add(t, "anna", "ES256", nil)
	d := p.method(t, jwt.DeviceOptions{})
	claims := fmt.Sprintf(`{"sub":"anna","exp":%d}`, now+60)
	for _, header := range []string{
		`{"alg":"ES256","kid":"\u0064ev_` + s.Kid[len("dev_"):] + `"}`,
		`{"alg":"ES256","\u006bid":"dev\u005f` + s.Kid[len("dev_"):] + `"}`,
		`{"alg":"ES256","x":"` + strings.Repeat("a", 1000) + `","kid":"` + s.Kid + `"}`,
	} {
		if id, err := ask(d, s.Sign(t, header, claims)); err != nil || id.Name != "anna" {
			t.Errorf("%s: %+v, %v", header, id, err)
		}
	}
	if _, err := ask(d, s.Sign(t, `{"alg":"ES256","kid":"k","x":"dev_\\"}`, claims)); err != auth.ErrNoCredentials {
		t.Errorf("a header with the beginning of a kid elsewhere: %v", err)
	}
}

func TestDevicesRefuse(t *testing.T) {
	t.Parallel()
	p := newPhones(t)
	s, bobs, shared := p.add(t, "anna", "ES256", nil), p.add(t, "bob", "ES256", nil), p.add(t, "anna", "HS256", nil)
	d := p.method(t, jwt.DeviceOptions{})
	with := func(signer *authtest.Signer, header, claims map[string]any) string {
		c := map[string]any{"sub": "anna", "exp": now + 60}
		for name, value := range claims {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
		return signer.Token(t, header, c)
	}
	good := with(s, nil, nil)
	unsigned := good[:strings.LastIndexByte(good, '.')+1]
	kept, err := p.tokens.Get(t.Context(), s.Kid)
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		token  string
		status int
		reason string
	}{
		"unknown kid":        {with(s, map[string]any{"kid": "dev_" + strings.Repeat("a", len(s.Kid)-4)}, nil), 401, noKey},
		"no kid but prefix":  {with(s, map[string]any{"kid": "dev_"}, nil), 401, noKey},
		"kid is a path":      {with(s, map[string]any{"kid": "dev_../../" + s.Kid}, nil), 401, noKey},
		"kid with NUL":       {with(s, map[string]any{"kid": s.Kid + "\x00"}, nil), 401, noKey},
		"long kid":           {with(s, map[string]any{"kid": s.Kid + strings.Repeat("a", 9000)}, nil), 401, noKey},
		"another's key":      {with(bobs, map[string]any{"kid": s.Kid}, nil), 400, badSig},
		"no signature":       {unsigned, 400, badSig},
		"not base64":         {unsigned + "!", 400, badSig},
		"wrong secret":       {with(authtest.NewHMACSigner(t, "HS256", shared.Kid, []byte("guess")), nil, nil), 400, badMAC},
		"another user's":     {with(bobs, nil, nil), 401, "The key is not this user's"},
		"alg of another key": {with(shared, map[string]any{"alg": "HS512"}, nil), 400, "Key is not for this alg"},
		"secret from PEM":    {with(authtest.NewHMACSigner(t, "HS256", s.Kid, []byte(kept.PublicKey)), nil, nil), 400, "Key is not for this alg"},
		"another curve":      {with(s, map[string]any{"alg": "ES512"}, nil), 400, "Key is not for this alg"},
		"alg none":           {with(s, map[string]any{"alg": "none"}, nil), 400, badAlg},
		"crit":               {with(s, map[string]any{"crit": []string{"x"}}, nil), 400, "Invalid crit header parameter"},
		"no exp":             {with(s, nil, map[string]any{"exp": nil}), 400, "Missing exp claim"},
		"exp is text":        {with(s, nil, map[string]any{"exp": "1"}), 400, "Invalid exp claim"},
		"expired":            {with(s, nil, map[string]any{"exp": now - 120}), 401, "exp not in future"},
		"not yet":            {with(s, nil, map[string]any{"nbf": now + 120}), 401, "nbf not in past"},
		"no sub":             {with(s, nil, map[string]any{"sub": nil}), 401, "Token missing sub claim."},
		"empty sub":          {with(s, nil, map[string]any{"sub": ""}), 400, "Invalid sub claim"},
		"sub twice":          {s.Sign(t, `{"alg":"ES256","kid":"`+s.Kid+`"}`, `{"sub":"anna","sub":"root","exp":4102444800}`), 400, "Duplicate member in authentication token"},
		"claims are a list":  {s.Sign(t, `{"alg":"ES256","kid":"`+s.Kid+`"}`, `[]`), 400, "Not an object"},
	} {
		for range 2 {
			_, err := ask(d, tt.token)
			wantRefusal(t, what, err, tt.status, tt.reason)
		}
	}
	_, err = ask(d, with(bobs, map[string]any{"kid": s.Kid}, nil))
	if refusal, ok := err.(*auth.Refusal); !ok || refusal.Method != "jwt" || refusal.User != "anna" || refusal.Credential != "device:"+s.Kid {
		t.Errorf("for the operator: %+v", err)
	}
	if _, err := jwt.NewDevices(p.tokens, jwt.DeviceOptions{Leeway: -1}); err == nil {
		t.Error("a negative leeway is taken")
	}
}

// TestDevicesForget: what verified is refused at the next request when its key, its user or its time is gone.
func TestDevicesForget(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		change func(p phones, kid string) error
		reason string
	}{
		"revoked":     {func(p phones, kid string) error { return p.tokens.Revoke(context.Background(), kid) }, noKey},
		"all revoked": {func(p phones, _ string) error { return p.tokens.RevokeAll(context.Background(), "anna") }, noKey},
		"user gone":   {func(p phones, _ string) error { p.users.Delete("anna"); return nil }, noKey},
		"key expired": {func(p phones, _ string) error { p.clock.Advance(30 * time.Second); return nil }, noKey},
		"token aged":  {func(p phones, _ string) error { p.clock.Advance(-time.Hour); return nil }, "nbf not in past"},
	} {
		p := newPhones(t)
		s := p.add(t, "anna", "ES256", func(n *auth.NewToken) { n.Expires = p.clock.Now().Add(30 * time.Second) })
		d := p.method(t, jwt.DeviceOptions{})
		token := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 3600, "nbf": now - 60})
		if id, err := ask(d, token); err != nil || !id.Expires.Equal(time.Unix(now+30, 0)) {
			t.Fatalf("%s: %+v, %v", what, id, err)
		}
		if err := tt.change(p, s.Kid); err != nil {
			t.Fatal(err)
		}
		_, err := ask(d, token)
		wantRefusal(t, what, err, 401, tt.reason)
	}
}

// TestDevicesClocks: two minutes at least, both ways; more where it is asked for.
func TestDevicesClocks(t *testing.T) {
	t.Parallel()
	p := newPhones(t)
	s := p.add(t, "anna", "HS256", nil)
	for leeway, seconds := range map[time.Duration]int64{0: 120, time.Minute: 120, 10 * time.Minute: 600} {
		d := p.method(t, jwt.DeviceOptions{Leeway: leeway})
		for claims, reason := range map[string]string{
			fmt.Sprintf(`{"sub":"anna","exp":%d}`, now-seconds+1):                  ``,
			fmt.Sprintf(`{"sub":"anna","exp":%d}`, now-seconds):                    "exp not in future",
			fmt.Sprintf(`{"sub":"anna","exp":4102444800,"nbf":%d}`, now+seconds-1): ``,
			fmt.Sprintf(`{"sub":"anna","exp":4102444800,"nbf":%d}`, now+seconds):   "nbf not in past",
		} {
			_, err := ask(d, s.Sign(t, `{"alg":"HS256","kid":"`+s.Kid+`"}`, claims))
			if reason != "" {
				wantRefusal(t, claims, err, 401, reason)
			} else if err != nil {
				t.Errorf("%v, %s: %v", leeway, claims, err)
			}
		}
	}
}

// TestDevicesBudget: wrong signatures have one; what is remembered costs nothing.
func TestDevicesBudget(t *testing.T) {
	t.Parallel()
	p := newPhones(t)
	s := p.add(t, "anna", "ES256", nil)
	mallory := authtest.NewSigner(t, "ES256", s.Kid)
	d := p.method(t, jwt.DeviceOptions{Budget: auth.NewBudget(auth.BudgetOptions{Failures: 2})})
	good := s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60})
	if _, err := ask(d, good); err != nil {
		t.Fatal(err)
	}
	for i, status := range []int{400, 400, 429} {
		_, err := ask(d, mallory.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60 + i}))
		if refusal, ok := err.(*auth.Refusal); !ok || refusal.Status != status {
			t.Errorf("wrong token %d: %v", i, err)
		}
	}
	if id, err := ask(d, good); err != nil || !id.HasRole("reader") {
		t.Errorf("remembered: %+v, %v", id, err)
	}
}

// TestDisabledUsersDevice: the Authenticator refuses it, as every credential of theirs.
func TestDisabledUsersDevice(t *testing.T) {
	t.Parallel()
	p := newPhones(t)
	s := p.add(t, "anna", "ES256", nil)
	a := auth.NewAuthenticator(p.users)
	a.Configure([]auth.Method{p.method(t, jwt.DeviceOptions{})})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+s.Token(t, nil, map[string]any{"sub": "anna", "exp": now + 60}))
	if id, err := a.Authenticate(r); err != nil || id.Name != "anna" {
		t.Fatalf("%+v, %v", id, err)
	}
	p.users.Put(auth.User{Name: "anna", Disabled: true})
	if id, err := a.Authenticate(r); err == nil || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("%+v, %v", id, err)
	}
}
