package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

// tokensCase is a Tokens with what it is made of.
type tokensCase struct {
	*auth.Tokens
	users       *auth.Memory
	state       *auth.MemoryState
	revocations *auth.Revocations
	clock       *authtest.Clock
}

func newTokens(t testing.TB, o auth.TokenOptions) *tokensCase {
	t.Helper()
	c := &tokensCase{users: people(t), state: new(auth.MemoryState), revocations: new(auth.Revocations), clock: authtest.NewClock()}
	c.users.Put(auth.User{Name: "bob"})
	o.Now = c.clock.Now
	c.Tokens = auth.NewTokens(c.state, c.users, c.revocations, o)
	t.Cleanup(c.Close)
	return c
}

func (c *tokensCase) create(t testing.TB, n auth.NewToken) (string, auth.Token) {
	t.Helper()
	secret, made, err := c.Create(t.Context(), n)
	if err != nil {
		t.Fatalf("create a token of %s: %v", n.User, err)
	}
	return secret, made
}

// bearing is who a request with a bearer token is from.
func (c *tokensCase) bearing(secret string) (auth.Identity, error) {
	r := httptest.NewRequest("GET", "/", nil)
	withAuthorization("Bearer " + secret)(r)
	return c.Bearer().Authenticate(r)
}

// app is who a request with an app password is from.
func (c *tokensCase) app(pair string) (auth.Identity, error) {
	r := httptest.NewRequest("GET", "/", nil)
	withAuthorization(basic(pair))(r)
	return c.Basic().Authenticate(r)
}

// wantDead sees to it that a token is good for nothing, and that the refusals are the same whatever the reason is.
func (c *tokensCase) wantDead(t testing.TB, what, secret, id string) {
	t.Helper()
	who, err := c.bearing(secret)
	wantRefusal(t, what, err, 401, "The access token is unknown, revoked or expired.")
	if refusal, ok := err.(*auth.Refusal); !ok || who.Name != "" ||
		refusal.Header.Get("Www-Authenticate") != `Bearer error="invalid_token", error_description="The access token is unknown, revoked or expired."` {
		t.Errorf("%s: %+v, %+v", what, who, err)
	}
	who, err = c.app("anna:" + secret)
	wantRefusal(t, what+" as a password", err, 401, "Name or password is incorrect.")
	if who.Name != "" {
		t.Errorf("%s: %+v", what, who)
	}
	if token, err := c.Get(t.Context(), id); !errors.Is(err, auth.ErrNoRecord) || token.User != "" {
		t.Errorf("%s: got %+v, %v", what, token, err)
	}
	if list, err := c.List(t.Context(), "", "", 10); err != nil || slices.ContainsFunc(list, func(token auth.Token) bool { return token.ID == id }) {
		t.Errorf("%s: it is listed: %+v, %v", what, list, err)
	}
}

func TestTokenBearerContract(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	secret, made := c.create(t, auth.NewToken{User: "anna"})
	bearer := func(text string) func(*http.Request) { return withAuthorization("Bearer " + text) }
	authtest.TestMethod(t, authtest.MethodCase{
		Method: c.Bearer(),
		Good:   bearer(secret),
		Name:   "anna",
		Bad: map[string]func(*http.Request){
			"the prefix alone": bearer("parlor_"),
			"unknown":          bearer("parlor_" + strings.Repeat("A", 43)),
			"the handle":       bearer("parlor_" + made.ID),
			"longer":           bearer(secret + "A"),
			"shorter":          bearer(secret[:len(secret)-1]),
			"padded":           bearer(secret + "="),
			"a path":           bearer("parlor_../token/" + made.ID),
			"two headers":      withAuthorization("Bearer "+secret, "Bearer "+secret),
			"long":             bearer("parlor_" + strings.Repeat("A", 100_000)),
		},
		Others: map[string]func(*http.Request){
			"a JSON Web Token":  bearer("eyJhbGciOiJIUzI1NiJ9.e30.AA"),
			"without prefix":    bearer(strings.TrimPrefix(secret, "parlor_")),
			"other case":        bearer("Parlor_" + secret[7:]),
			"basic":             withAuthorization(basic("anna:" + secret)),
			"lower-case scheme": withAuthorization("bearer " + secret),
			"a query parameter": func(r *http.Request) { r.URL.RawQuery = "access_token=" + secret },
		},
	})
}

func TestTokenBasicContract(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	secret, made := c.create(t, auth.NewToken{User: "anna"})
	pair := func(text string) func(*http.Request) { return withAuthorization(basic(text)) }
	authtest.TestMethod(t, authtest.MethodCase{
		Method: c.Basic(),
		Good:   pair("anna:" + secret),
		Name:   "anna",
		Bad: map[string]func(*http.Request){
			"another's name": pair("bob:" + secret),
			"no name":        pair(":" + secret),
			"nobody's name":  pair("nobody:" + secret),
			"unknown":        pair("anna:parlor_" + strings.Repeat("A", 43)),
			"the handle":     pair("anna:parlor_" + made.ID),
			"more behind it": pair("anna:" + secret + ":"),
		},
		Others: map[string]func(*http.Request){
			"a password":  pair("anna:apple"),
			"as the name": pair(secret + ":"),
			"bearer":      withAuthorization("Bearer " + secret),
			"no base64":   withAuthorization("Basic %"),
			"no colon":    pair(secret),
			"logged out":  pair("_:_"),
		},
	})
	_, wrongPassword := auth.NewBasic(auth.NewPasswords(c.users, auth.PasswordOptions{Policy: cheap})).Authenticate(requestWith(basic("anna:pear")))
	_, wrongToken := c.Basic().Authenticate(requestWith(basic("anna:parlor_x")))
	if fmt.Sprintf("%+v", wrongPassword) != fmt.Sprintf("%+v", wrongToken) {
		t.Errorf("a wrong token is refused with %+v, a wrong password with %+v", wrongToken, wrongPassword)
	}
}

func requestWith(authorization string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	withAuthorization(authorization)(r)
	return r
}

func TestTokenIdentity(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	expires := c.clock.Now().Add(time.Hour)
	databases := []string{"notes"}
	secret, made := c.create(t, auth.NewToken{User: "anna", Label: "phone", Scope: auth.Scope{Write: true, Databases: databases}, Expires: expires})
	databases[0] = "everything"
	anna, _ := c.users.User(t.Context(), "anna")
	check := func(what string, roles ...string) {
		t.Helper()
		for _, ask := range []func() (auth.Identity, error){
			func() (auth.Identity, error) { return c.bearing(secret) },
			func() (auth.Identity, error) { return c.app("anna:" + secret) },
		} {
			id, err := ask()
			if err != nil || id.Name != "anna" || !slices.Equal(id.Roles, roles) || id.Local || id.Admin() || id.Credential != "token:"+made.ID || !id.Expires.Equal(expires) {
				t.Fatalf("%s: %+v, %v", what, id, err)
			}
			if id.Scope == nil || !id.Scope.Write || !slices.Equal(id.Scope.Databases, []string{"notes"}) {
				t.Errorf("%s: scope %+v", what, id.Scope)
			}
		}
	}
	check("as made", "dev", "ops")
	changed := *anna
	changed.Password, changed.Roles, changed.TOTP = hashOf(t, "another"), []string{"chief"}, true
	c.users.Put(changed)
	check("with a new password, other roles and a second factor", "chief")
	changed.Admin = true
	c.users.Put(changed)
	check("of who is a server admin now, and was none then", "chief")

	admins, _ := c.create(t, auth.NewToken{User: "anna", Scope: auth.Scope{Write: true}})
	if id, err := c.bearing(admins); err != nil || !slices.Equal(id.Roles, []string{"_admin", "chief"}) || id.Admin() {
		t.Errorf("made for a server admin: %+v, %v", id, err)
	}
	all, _ := c.create(t, auth.NewToken{User: "bob"})
	if id, err := c.bearing(all); err != nil || id.Scope == nil || id.Scope.Write || id.Scope.Databases != nil || !id.Expires.IsZero() {
		t.Errorf("without limits: %+v, %v", id, err)
	}
	c.clock.Advance(time.Hour - time.Second)
	check("in its last second", "chief")
	c.clock.Advance(time.Second)
	c.wantDead(t, "expired", secret, made.ID)
	c.users.Delete("bob")
	if _, err := c.Identity(t.Context(), &auth.Token{User: "bob"}, "jwt"); !errors.Is(err, auth.ErrUnknownUser) {
		t.Errorf("a user who is gone: %v", err)
	}
}

func TestTokenDisabledUser(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	secret, _ := c.create(t, auth.NewToken{User: "anna"})
	anna, _ := c.users.User(t.Context(), "anna")
	off := *anna
	off.Disabled = true
	c.users.Put(off)
	a := auth.NewAuthenticator(c.users)
	a.Configure([]auth.Method{auth.First("jwt", c.Bearer()), auth.First("default", c.Basic())})
	for _, authorization := range []string{"Bearer " + secret, basic("anna:" + secret)} {
		_, err := a.Authenticate(requestWith(authorization))
		wantRefusal(t, authorization[:6], err, 403, "This account is disabled.")
	}
}

func TestTokenKeepsNoSecret(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	secret, made := c.create(t, auth.NewToken{User: "anna"})
	if !strings.HasPrefix(secret, auth.TokenPrefix) || len(secret) != 50 || len(made.ID) != 43 {
		t.Errorf("%d characters, ID %q", len(secret), made.ID)
	}
	records, err := c.state.List(t.Context(), "", "", 10)
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		if strings.Contains(r.ID+string(r.Body), secret[len(auth.TokenPrefix):]) {
			t.Errorf("%s: %s holds the secret", r.ID, r.Body)
		}
	}
}

// TestTokenIDsAreNoFlags: one in 64 ids would begin with a hyphen, and be taken for a flag by the command that it is given to.
func TestTokenIDsAreNoFlags(t *testing.T) {
	t.Parallel()
	const tries = 1000
	c := newTokens(t, auth.TokenOptions{MaxPerUser: 2 * tries})
	for range tries {
		if _, made := c.create(t, auth.NewToken{User: "anna"}); made.ID[0] == '-' {
			t.Fatalf("the ID %s", made.ID)
		}
	}
}

func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	secret, made := c.create(t, auth.NewToken{User: "anna"})
	other, _ := c.create(t, auth.NewToken{User: "anna"})
	feed := func(secret string) (ended func() bool) {
		id, err := c.bearing(secret)
		if err != nil {
			t.Fatal(err)
		}
		ctx, done := c.revocations.Register(t.Context(), id, "notes", nil)
		t.Cleanup(done)
		return func() bool { return ctx.Err() != nil }
	}
	first, second := feed(secret), feed(other)
	for _, id := range []string{"", "x", strings.Repeat("A", 43), "../" + made.ID, made.ID + "/", secret, "dev_" + strings.Repeat("A", 22)} {
		if err := c.Revoke(t.Context(), id); !errors.Is(err, auth.ErrNoRecord) {
			t.Errorf("revoke %q: %v", id, err)
		}
	}
	if err := c.Revoke(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	c.wantDead(t, "revoked", secret, made.ID)
	if !first() || second() {
		t.Errorf("its feed ended: %v, the other's: %v", first(), second())
	}
	if err := c.Revoke(t.Context(), made.ID); !errors.Is(err, auth.ErrNoRecord) {
		t.Errorf("revoked again: %v", err)
	}
	if err := c.RevokeAll(t.Context(), ""); err != nil || second() {
		t.Errorf("the tokens of nobody: %v", err)
	}
	if err := c.RevokeAll(t.Context(), "anna"); err != nil || !second() {
		t.Errorf("all: %v, the feed ended: %v", err, second())
	}
	if records, _ := c.state.List(t.Context(), "", "", 10); len(records) != 0 {
		t.Errorf("%v are left", records)
	}
}

// TestTokenOfAnEarlierUser: who comes later under the same name has none of the tokens.
func TestTokenOfAnEarlierUser(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	anna, _ := c.users.User(t.Context(), "anna")
	for what, tidy := range map[string]func() error{
		"revoked with the user": func() error { return c.RevokeAll(t.Context(), "anna") },
		"swept":                 func() error { _, err := c.Sweep(t.Context()); return err },
	} {
		c.users.Put(*anna)
		secret, made := c.create(t, auth.NewToken{User: "anna"})
		key, err := c.AddKey(t.Context(), auth.NewToken{User: "anna", Algorithm: "HS256", Secret: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		c.users.Delete("anna")
		c.wantDead(t, what+", while nobody has the name", secret, made.ID)
		if err := tidy(); err != nil {
			t.Error(err)
		}
		c.users.Put(*anna)
		c.wantDead(t, what, secret, made.ID)
		if _, _, err := c.DeviceKey(t.Context(), key.ID); !errors.Is(err, auth.ErrNoRecord) {
			t.Errorf("%s: the device's key: %v", what, err)
		}
	}
}

func spki(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func ecdsaKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestTokenRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	hundred := strings.Split(strings.Repeat("a,", 100)+"a", ",")
	for what, n := range map[string]auth.NewToken{
		"no user":           {},
		"no UTF-8":          {User: "\xff"},
		"long label":        {User: "anna", Label: strings.Repeat("x", 257)},
		"line in the label": {User: "anna", Label: "a\r\nb"},
		"C1 control":        {User: "anna", Label: "a\u0085b"},
		"binary label":      {User: "anna", Label: "\xff"},
		"empty database":    {User: "anna", Scope: auth.Scope{Databases: []string{"a", ""}}},
		"long database":     {User: "anna", Scope: auth.Scope{Databases: []string{strings.Repeat("x", 257)}}},
		"many databases":    {User: "anna", Scope: auth.Scope{Databases: hundred}},
		"expired":           {User: "anna", Expires: c.clock.Now()},
		"far future":        {User: "anna", Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"with an algorithm": {User: "anna", Algorithm: "ES256"},
		"with a secret":     {User: "anna", Secret: []byte{}},
		"with a key":        {User: "anna", Public: spki(t, ecdsaKey(t, elliptic.P256()).Public())},
	} {
		secret, made, err := c.Create(t.Context(), n)
		if refusal, ok := errors.AsType[*auth.Refusal](err); !ok || refusal.Status != 400 || secret != "" || made.ID != "" {
			t.Errorf("%s: %q, %+v, %v", what, secret, made, err)
		}
	}
	for _, user := range []string{"nobody", "Anna"} {
		if _, _, err := c.Create(t.Context(), auth.NewToken{User: user}); !errors.Is(err, auth.ErrUnknownUser) {
			t.Errorf("%s: %v", user, err)
		}
	}
	if records, _ := c.state.List(t.Context(), "", "", 10); len(records) != 0 {
		t.Errorf("%v are left", records)
	}
}

func TestDeviceKeyRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	p256, p384 := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P384())
	public := spki(t, p256.Public())
	private, err := x509.MarshalPKCS8PrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, _ := ed25519.GenerateKey(rand.Reader)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for what, n := range map[string]auth.NewToken{
		"no algorithm":            {Public: public},
		"none":                    {Algorithm: "none", Public: public},
		"another algorithm":       {Algorithm: "RS256", Public: spki(t, rsaKey.Public())},
		"neither key nor secret":  {Algorithm: "ES256"},
		"no secret":               {Algorithm: "HS256"},
		"both":                    {Algorithm: "ES256", Public: public, Secret: make([]byte, 64)},
		"a secret for ES":         {Algorithm: "ES256", Secret: make([]byte, 64)},
		"a public key for HS":     {Algorithm: "HS256", Public: public},
		"both for HS":             {Algorithm: "HS256", Public: public, Secret: make([]byte, 64)},
		"short secret":            {Algorithm: "HS256", Secret: make([]byte, 31)},
		"short secret for 512":    {Algorithm: "HS512", Secret: make([]byte, 63)},
		"huge secret":             {Algorithm: "HS256", Secret: make([]byte, 1025)},
		"P-256 for ES512":         {Algorithm: "ES512", Public: public},
		"P-384 for ES256":         {Algorithm: "ES256", Public: spki(t, p384.Public())},
		"P-384 for ES512":         {Algorithm: "ES512", Public: spki(t, p384.Public())},
		"an RSA key":              {Algorithm: "ES256", Public: spki(t, rsaKey.Public())},
		"an Ed25519 key":          {Algorithm: "ES256", Public: spki(t, ed)},
		"a private key":           {Algorithm: "ES256", Public: block("PRIVATE KEY", private)},
		"a private key, mislabel": {Algorithm: "ES256", Public: block("PUBLIC KEY", private)},
		"two keys":                {Algorithm: "ES256", Public: public + public},
		"a certificate's label":   {Algorithm: "ES256", Public: strings.ReplaceAll(public, "PUBLIC KEY", "CERTIFICATE")},
		"no PEM":                  {Algorithm: "ES256", Public: "x"},
		"a huge key":              {Algorithm: "ES256", Public: public + strings.Repeat("\n", 4096)},
	} {
		n.User = "anna"
		made, err := c.AddKey(t.Context(), n)
		if refusal, ok := errors.AsType[*auth.Refusal](err); !ok || refusal.Status != 400 || made.ID != "" {
			t.Errorf("%s: %+v, %v", what, made, err)
		} else if strings.Contains(refusal.Reason, base64.StdEncoding.EncodeToString(private)[:20]) {
			t.Errorf("%s: the reason shows the key: %s", what, refusal.Reason)
		}
	}
	if records, _ := c.state.List(t.Context(), "", "", 10); len(records) != 0 {
		t.Errorf("%v are left", records)
	}
}

func TestDeviceKeys(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	p256, p521 := ecdsaKey(t, elliptic.P256()).Public(), ecdsaKey(t, elliptic.P521()).Public()
	expires := c.clock.Now().Add(time.Hour)
	for what, n := range map[string]auth.NewToken{
		"ES256": {Algorithm: "ES256", Public: "\n" + spki(t, p256) + "\n"},
		"ES512": {Algorithm: "ES512", Public: spki(t, p521)},
		"HS256": {Algorithm: "HS256", Secret: []byte(strings.Repeat("s", 32))},
		"HS512": {Algorithm: "HS512", Secret: []byte(strings.Repeat("s", 64))},
	} {
		n.User, n.Label, n.Expires, n.Scope = "anna", what, expires, auth.Scope{Write: true}
		made, err := c.AddKey(t.Context(), n)
		if err != nil || !strings.HasPrefix(made.ID, auth.KeyPrefix) || len(made.ID) != 26 || made.Algorithm != what ||
			strings.TrimSpace(made.PublicKey) != strings.TrimSpace(n.Public) {
			t.Fatalf("%s: %+v, %v", what, made, err)
		}
		got, key, err := c.DeviceKey(t.Context(), made.ID)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(made) {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, made)
		}
		switch key := key.(type) {
		case *ecdsa.PublicKey:
			if !key.Equal(p256) && !key.Equal(p521) {
				t.Errorf("%s: another key", what)
			}
		case []byte:
			if string(key) != string(n.Secret) {
				t.Errorf("%s: another secret", what)
			}
		default:
			t.Errorf("%s: %T", what, key)
		}
		if id, err := c.Identity(t.Context(), &got, "jwt"); err != nil || id.Credential != "device:"+made.ID || id.Scope == nil || !id.Scope.Write || !id.Expires.Equal(expires) || id.Local {
			t.Errorf("%s: %+v, %v", what, id, err)
		}
	}
	_, access := c.create(t, auth.NewToken{User: "anna"})
	for _, kid := range []string{"", "dev_", "_default", access.ID, "dev_" + strings.Repeat("A", 22), "dev_../../token/" + access.ID} {
		if token, key, err := c.DeviceKey(t.Context(), kid); !errors.Is(err, auth.ErrNoRecord) || key != nil || token.ID != "" {
			t.Errorf("%q: %+v, %v, %v", kid, token, key, err)
		}
	}
	c.clock.Advance(time.Hour)
	list, err := c.List(t.Context(), "anna", "", 10)
	if err != nil || len(list) != 1 || list[0].ID != access.ID {
		t.Errorf("after they expired: %+v, %v", list, err)
	}
	if n, err := c.Sweep(t.Context()); err != nil || n != 4 {
		t.Errorf("%d swept, %v", n, err)
	}
	if records, _ := c.state.List(t.Context(), "device", "", 10); len(records) != 0 {
		t.Errorf("%v are left", records)
	}
}

func TestTokenList(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	want := map[string][]string{}
	for i := range 20 {
		user := []string{"anna", "bob"}[i%2]
		var made auth.Token
		if i < 10 {
			_, made = c.create(t, auth.NewToken{User: user})
		} else {
			var err error
			if made, err = c.AddKey(t.Context(), auth.NewToken{User: user, Algorithm: "HS256", Secret: make([]byte, 32)}); err != nil {
				t.Fatal(err)
			}
		}
		want[user] = append(want[user], made.ID)
		want[""] = append(want[""], made.ID)
	}
	for user, ids := range want {
		slices.Sort(ids)
		var got []string
		for after := ""; ; {
			page, err := c.List(t.Context(), user, after, 3)
			if err != nil || len(page) > 3 {
				t.Fatalf("%d, %v", len(page), err)
			}
			for _, token := range page {
				got, after = append(got, token.ID), token.ID
			}
			if len(page) < 3 {
				break
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("of %q: %q, want %q", user, got, ids)
		}
	}
	for _, limit := range []int{0, -1} {
		if page, err := c.List(t.Context(), "", "", limit); err != nil || len(page) != 0 {
			t.Errorf("%d of them: %v, %v", limit, page, err)
		}
	}
	if page, err := c.List(t.Context(), "ann", "", 10); err != nil || len(page) != 0 {
		t.Errorf("of a name's beginning: %v, %v", page, err)
	}
}

func TestTokenMaxPerUser(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{MaxPerUser: 3})
	c.create(t, auth.NewToken{User: "anna", Expires: c.clock.Now().Add(time.Minute)})
	key := auth.NewToken{User: "anna", Algorithm: "HS256", Secret: make([]byte, 32)}
	if _, err := c.AddKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	var made, refused atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, _, err := c.Create(t.Context(), auth.NewToken{User: "anna"})
			if refusal, ok := errors.AsType[*auth.Refusal](err); ok && refusal.Status == 403 {
				refused.Add(1)
			} else if err == nil {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || refused.Load() != 7 {
		t.Errorf("%d made and %d refused", made.Load(), refused.Load())
	}
	if _, err := c.AddKey(t.Context(), key); err == nil {
		t.Error("a key beyond the bound")
	}
	c.create(t, auth.NewToken{User: "bob"})
	c.clock.Advance(time.Minute)
	if _, err := c.AddKey(t.Context(), key); err != nil {
		t.Errorf("in the place of one that has expired: %v", err)
	}
}

// TestTokenBudget: wrong secrets cost, right ones do not, and none counts for a Lockout.
func TestTokenBudget(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	c := newTokens(t, auth.TokenOptions{Budget: auth.NewBudget(auth.BudgetOptions{Failures: 3, Now: clock.Now})})
	secret, _ := c.create(t, auth.NewToken{User: "anna"})
	for range 10 {
		if _, err := c.bearing(secret); err != nil {
			t.Fatal(err)
		}
	}
	lockout := auth.NewLockout(auth.LockoutOptions{Threshold: 2, Now: clock.Now})
	passwords := auth.NewPasswords(c.users, auth.PasswordOptions{Policy: cheap, Lockout: lockout, Now: clock.Now})
	both := auth.First("default", c.Basic(), auth.NewBasic(passwords))
	wrong := basic("anna:parlor_" + strings.Repeat("A", 43))
	for range 3 {
		_, err := both.Authenticate(requestWith(wrong))
		wantRefusal(t, "within the budget", err, 401, "Name or password is incorrect.")
	}
	_, err := both.Authenticate(requestWith(wrong))
	wantRefusal(t, "beyond the budget", err, 429, "Too many failed sign-ons. Try again later.")
	_, err = c.bearing("parlor_x")
	wantRefusal(t, "a bearer token beyond it", err, 429, "Too many failed sign-ons. Try again later.")
	if id, err := c.bearing(secret); err != nil || id.Name != "anna" {
		t.Errorf("the right one: %+v, %v", id, err)
	}
	if id, err := both.Authenticate(requestWith(basic("anna:apple"))); err != nil || id.Name != "anna" || len(lockout.List()) != 0 {
		t.Errorf("the password: %+v, %v", id, err)
	}
}

func TestTokenRecordOfUse(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{Client: func(*http.Request) netip.Addr { return netip.MustParseAddr("198.51.100.7") }})
	secret, made := c.create(t, auth.NewToken{User: "anna"})
	written := make(chan string, 10)
	defer c.state.Watch(func(id string) { written <- id })()
	use := func() {
		t.Helper()
		if _, err := c.bearing(secret); err != nil {
			t.Error(err)
		}
	}
	use()
	if id := <-written; id != "token/"+made.ID {
		t.Errorf("%s was written", id)
	}
	token, err := c.Get(t.Context(), made.ID)
	if err != nil || !token.LastUsed.Equal(c.clock.Now()) || token.LastFrom.String() != "198.51.100.7" || !made.LastUsed.IsZero() {
		t.Errorf("%+v, %v", token, err)
	}
	c.clock.Advance(59 * time.Second)
	use()
	c.clock.Advance(time.Second)
	use()
	<-written
	if token, err = c.Get(t.Context(), made.ID); err != nil || !token.LastUsed.Equal(c.clock.Now()) {
		t.Errorf("%+v, %v", token, err)
	}
	key, err := c.AddKey(t.Context(), auth.NewToken{User: "anna", Algorithm: "HS256", Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	<-written // its index entry
	<-written
	if _, _, err := c.DeviceKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	c.Used(httptest.NewRequest("GET", "/", nil), key.ID)
	if id := <-written; id != "device/"+key.ID {
		t.Errorf("%s was written", id)
	}
	c.Used(httptest.NewRequest("GET", "/", nil), "../x")
	c.Used(httptest.NewRequest("GET", "/", nil), strings.Repeat("A", 43))
	c.Close()
	c.clock.Advance(time.Hour)
	use()
	c.Close()
	if len(written) != 0 {
		t.Errorf("%s was written besides", <-written)
	}
}

// TestTokenRevokedInUse: once Revoke has returned, no use succeeds, whatever was being read or noted at the time.
func TestTokenRevokedInUse(t *testing.T) {
	t.Parallel()
	c := newTokens(t, auth.TokenOptions{})
	for range 50 {
		secret, made := c.create(t, auth.NewToken{User: "anna"})
		var revoked atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for over := false; !over; {
					over = revoked.Load()
					if _, err := c.bearing(secret); err == nil && over {
						t.Error("let in after it was revoked")
					}
				}
			})
		}
		if err := c.Revoke(t.Context(), made.ID); err != nil {
			t.Error(err)
		}
		revoked.Store(true)
		wg.Wait()
	}
}
