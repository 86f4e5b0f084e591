package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
	"github.com/parlordb/parlor/auth/oidc"
)

// someone is a token that verified.
func someone(sub, claims string) *jwt.Verified {
	return &jwt.Verified{Subject: sub, KeyID: "k", Algorithm: "ES256", Expires: time.Unix(4102444800, 0), Claims: jsontext.Value(claims)}
}

// mapped takes linked users alone where change does not say otherwise.
func (w *world) mapped(t testing.TB, change func(m *oidc.Mapping)) *oidc.Issuer {
	t.Helper()
	return w.issuer(t, func(o *oidc.IssuerOptions) {
		o.Mapping = oidc.Mapping{}
		if change != nil {
			change(&o.Mapping)
		}
	})
}

func (w *world) foreign(sub string) auth.ForeignIdentity {
	return auth.ForeignIdentity{Issuer: w.idp.Issuer(), Subject: sub}
}

func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	prefix := func(p string) *string { return &p }
	for _, tt := range []struct {
		claim, claims string
		prefix        *string
		sub, name     string // name "": refused
	}{
		{"", `{}`, nil, "248289761001", "corp.248289761001"},
		{"", `{}`, nil, "auth0|5f7c", "corp.auth0%7C5f7c"},
		{"", `{}`, nil, "f:2f3c:anna", "corp.f%3A2f3c%3Aanna"},
		{"", `{}`, nil, "a b/c,d%20\\\"'?#&=;<>", "corp.a%20b%2Fc%2Cd%2520%5C%22%27%3F%23%26%3D%3B%3C%3E"},
		{"", `{}`, nil, "Zoë.x", "corp.Zoë.x"},
		{"", `{}`, nil, "_admin", "corp._admin"},
		{"", `{}`, prefix(""), "anna", "anna"},
		{"", `{}`, prefix("ldap-"), "anna", "ldap-anna"},
		{"", `{}`, prefix(""), "_admin", ""},
		{"", `{}`, prefix(""), "org.couchdb.user:x", "org.couchdb.user%3Ax"},
		{"", `{}`, nil, strings.Repeat("x", 234), "corp." + strings.Repeat("x", 234)},
		{"", `{}`, nil, strings.Repeat("x", 235), ""},
		{"", `{}`, nil, strings.Repeat("/", 80), ""},
		{"", `{}`, nil, "a\nb", ""},
		{"", `{}`, nil, "a\x00", ""},
		{"", `{}`, nil, "\u0085", ""},
		{"", `{}`, nil, "a\u200bb", "corp.a%E2%80%8Bb"}, // what nobody sees is shown
		{"", `{}`, nil, "\u202ebob", "corp.%E2%80%AEbob"},
		{"preferred_username", `{"preferred_username":"anna"}`, nil, "1", "anna"},
		{"preferred_username", `{"preferred_username":"anna"}`, prefix("x."), "1", "x.anna"},
		{"preferred_username", `{"preferred_username":""}`, nil, "1", ""},
		{"preferred_username", `{"preferred_username":""}`, prefix("x."), "1", ""},
		{"preferred_username", `{"preferred_username":"_admin"}`, nil, "1", ""},
		{"preferred_username", `{"preferred_username":null}`, nil, "1", ""},
		{"preferred_username", `{"preferred_username":["anna"]}`, nil, "1", ""},
		{"preferred_username", `{"preferred_username":true}`, nil, "1", ""},
		{"preferred_username", `{"preferred_username":{"a":1}}`, nil, "1", ""},
		{"preferred_username", `{}`, nil, "1", ""},
		{"uid", `{"uid":12345678901234567890123}`, nil, "1", "12345678901234567890123"},
		{"uid", `{"uid":-7}`, nil, "1", "-7"},
		{"uid", `{"uid":1.0}`, nil, "1", ""},
		{"uid", `{"uid":1e3}`, nil, "1", ""},
		{"https://example.com/name.of", `{"https://example.com/name.of":"anna"}`, nil, "1", "anna"},
		{"a.b", `{"a":{"b":"anna"}}`, nil, "1", ""},
		{"email", `{"email":"Bob+x@Ex.com","email_verified":true}`, nil, "1", "Bob+x@Ex.com"},
		{"email", `{"email":"bob@ex.com","email_verified":false}`, nil, "1", ""},
		{"email", `{"email":"bob@ex.com","email_verified":"true"}`, nil, "1", ""},
		{"email", `{"email":"bob@ex.com"}`, nil, "1", ""},
	} {
		i := w.mapped(t, func(m *oidc.Mapping) { m.UsernameClaim, m.UserPrefix, m.Unknown = tt.claim, tt.prefix, oidc.Allow })
		id, err := i.Identify(t.Context(), someone(tt.sub, tt.claims))
		what := tt.claim + " " + tt.claims + " " + tt.sub
		if tt.name == "" {
			wantStatus(t, what, err, 403)
			want(t, what+": name", id.Name, "")
		} else if err != nil || id.Name != tt.name {
			t.Errorf("%s: %q, %v, want %q", what, id.Name, err, tt.name)
		}
	}
}

// TestNamesOfTwoIssuers: "a" and its "b.c" are not "a.b" and its "c".
func TestNamesOfTwoIssuers(t *testing.T) {
	t.Parallel()
	w, seen := newWorld(t), make(map[string]string)
	for _, name := range []string{"a", "a.b", "a%2Eb", "a.", "A"} {
		i := w.issuer(t, func(o *oidc.IssuerOptions) { o.Name = name })
		for _, sub := range []string{"b.c", "c", ".c", "b", "b%2Ec", "b..c", "%"} {
			id, err := i.Identify(t.Context(), someone(sub, `{}`))
			who := name + " " + sub
			if err != nil || seen[id.Name] != "" {
				t.Errorf("%s is %q, as is %s; %v", who, id.Name, seen[id.Name], err)
			}
			seen[id.Name] = who
		}
	}
}

// FuzzNames: a name that is given is legal, and the subject can be read from it again.
func FuzzNames(f *testing.F) {
	w := newWorld(f)
	i := w.mapped(f, func(m *oidc.Mapping) { m.Unknown = oidc.Allow })
	for _, s := range []string{"", "a", "%", "%41", "_x", ":", "a\u0301", "\xff", "日本", "\U0001f600", "a+b c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sub string) {
		id, err := i.Identify(t.Context(), someone(sub, `{}`))
		if err != nil {
			wantStatus(t, sub, err, 403)
			return
		}
		value, ok := strings.CutPrefix(id.Name, "corp.")
		again, err := url.PathUnescape(value)
		if !ok || err != nil || again != sub || len(id.Name) > 239 || strings.ContainsAny(id.Name, ":/ ") || !utf8.ValidString(id.Name) || strings.ContainsFunc(id.Name, unicode.IsControl) {
			t.Fatalf("%q is %q, which is read as %q", sub, id.Name, again)
		}
	})
}

// TestAccounts: who is let in as whom, and what is written for it.
func TestAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me, other := w.foreign("7"), w.foreign("8")
	elsewhere := auth.ForeignIdentity{Issuer: "https://elsewhere.example.com", Subject: "7"}
	const claims = `{"name":"anna","email":"anna","email_verified":true}`
	const refused = -1
	for what, tt := range map[string]struct {
		user    *auth.User
		mapping oidc.Mapping
		links   int // how many identities the user has afterwards; 0: no such user, and let in
	}{
		"unknown":                          {nil, oidc.Mapping{UsernameClaim: "name"}, refused},
		"unknown, refuse":                  {nil, oidc.Mapping{UsernameClaim: "name", Unknown: oidc.Refuse}, refused},
		"unknown, to be linked":            {nil, oidc.Mapping{UsernameClaim: "name", LinkExisting: true}, refused},
		"unknown, allow":                   {nil, oidc.Mapping{UsernameClaim: "name", Unknown: oidc.Allow}, 0},
		"unknown, register":                {nil, oidc.Mapping{UsernameClaim: "name", Unknown: oidc.Register}, 1},
		"linked":                           {&auth.User{Identities: []auth.ForeignIdentity{other, elsewhere, me}}, oidc.Mapping{UsernameClaim: "name"}, 3},
		"linked, allow":                    {&auth.User{Identities: []auth.ForeignIdentity{me}}, oidc.Mapping{UsernameClaim: "name", Unknown: oidc.Allow}, 1},
		"not linked":                       {&auth.User{}, oidc.Mapping{UsernameClaim: "name"}, refused},
		"not linked, allow":                {&auth.User{}, oidc.Mapping{UsernameClaim: "name", Unknown: oidc.Allow}, refused},
		"not linked, register":             {&auth.User{}, oidc.Mapping{UsernameClaim: "name", Unknown: oidc.Register}, refused},
		"another subject":                  {&auth.User{Identities: []auth.ForeignIdentity{other}}, oidc.Mapping{UsernameClaim: "name"}, refused},
		"the subject of another issuer":    {&auth.User{Identities: []auth.ForeignIdentity{elsewhere}}, oidc.Mapping{UsernameClaim: "name"}, refused},
		"link":                             {&auth.User{}, oidc.Mapping{UsernameClaim: "name", LinkExisting: true}, 1},
		"link beside another issuer":       {&auth.User{Identities: []auth.ForeignIdentity{elsewhere}}, oidc.Mapping{UsernameClaim: "name", LinkExisting: true}, 2},
		"link a name given to another":     {&auth.User{Identities: []auth.ForeignIdentity{other}}, oidc.Mapping{UsernameClaim: "name", LinkExisting: true}, refused},
		"link by verified e-mail":          {&auth.User{}, oidc.Mapping{UsernameClaim: "email", LinkExisting: true}, 1},
		"link a disabled user":             {&auth.User{Disabled: true}, oidc.Mapping{UsernameClaim: "name", LinkExisting: true}, refused},
		"link a server admin":              {&auth.User{Admin: true}, oidc.Mapping{UsernameClaim: "name", LinkExisting: true}, refused},
		"a server admin, linked":           {&auth.User{Admin: true, Identities: []auth.ForeignIdentity{me}}, oidc.Mapping{UsernameClaim: "name"}, refused},
		"a server admin, all that may be":  {&auth.User{Admin: true, Identities: []auth.ForeignIdentity{me}}, oidc.Mapping{UsernameClaim: "name", AllowServerAdmin: true, LinkExisting: true, Unknown: oidc.Allow}, refused},
		"a server admin, who may register": {&auth.User{Admin: true}, oidc.Mapping{UsernameClaim: "name", Unknown: oidc.Register}, refused},
	} {
		users := new(counted)
		before := 0
		if tt.user != nil {
			tt.user.Name = "anna"
			users.Put(*tt.user)
			before = len(tt.user.Identities)
		}
		i := w.issuer(t, func(o *oidc.IssuerOptions) { o.Mapping, o.Directory = tt.mapping, users })
		for range 3 {
			id, err := i.Identify(t.Context(), someone("7", claims))
			if tt.links == refused {
				wantStatus(t, what, err, 403)
				want(t, what+": name", id.Name, "")
			} else if err != nil || id.Name != "anna" || id.Provider != "corp" || id.Local || id.Method != "jwt" || id.Credential != "issuer:corp:k" || !id.Expires.Equal(time.Unix(4102444800, 0)) {
				t.Errorf("%s: %+v, %v", what, id, err)
			}
		}
		after, writes := max(tt.links, 0), 0
		if tt.links == refused {
			after = before
		}
		if after != before {
			writes = 1 // at first sight, and never again
		}
		u, err := users.User(t.Context(), "anna")
		if (err == nil) != (tt.user != nil || tt.mapping.Unknown == oidc.Register) || (err == nil && len(u.Identities) != after) {
			t.Errorf("%s: then %+v, %v", what, u, err)
		}
		want(t, what+": writes", users.writes, writes)
	}
}

// counted is a directory that counts its writes.
type counted struct {
	oidc.Memory
	mu     sync.Mutex
	writes int
}

func (c *counted) Link(ctx context.Context, name string, id auth.ForeignIdentity) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	return c.Memory.Link(ctx, name, id)
}

func (c *counted) Register(ctx context.Context, name string, id auth.ForeignIdentity) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	return c.Memory.Register(ctx, name, id)
}

// TestEmailThatNobodyVerified links and registers nobody; who is linked already signs in.
func TestEmailThatNobodyVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.users.Put(auth.User{Name: "anna@example.com"})
	w.users.Put(auth.User{Name: "bob@example.com", Identities: []auth.ForeignIdentity{w.foreign("7")}})
	for _, verified := range []string{`false`, `"true"`, `1`, `null`} {
		for _, unknown := range []oidc.UnknownUsers{oidc.Refuse, oidc.Register, oidc.Allow} {
			i := w.mapped(t, func(m *oidc.Mapping) { m.UsernameClaim, m.LinkExisting, m.Unknown = "email", true, unknown })
			for _, name := range []string{"anna", "nobody"} {
				_, err := i.Identify(t.Context(), someone("7", fmt.Sprintf(`{"email":"%s@example.com","email_verified":%s}`, name, verified)))
				wantStatus(t, name+" "+verified+" "+string(unknown), err, 403)
			}
			if id, err := i.Identify(t.Context(), someone("7", `{"email":"bob@example.com","email_verified":`+verified+`}`)); err != nil || id.Name != "bob@example.com" {
				t.Errorf("linked: %+v, %v", id, err)
			}
		}
	}
}

// TestRegisterAtOnce: of two people whom the provider gives one name, one is registered; the same person twice is one user.
func TestRegisterAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.mapped(t, func(m *oidc.Mapping) { m.UsernameClaim, m.Unknown = "name", oidc.Register })
	in := make([]int, 2)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			_, err := i.Identify(t.Context(), someone(fmt.Sprint(n%2), `{"name":"anna"}`))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				in[n%2]++
			} else {
				wantStatus(t, "the other", err, 403)
			}
		})
	}
	wg.Wait()
	slices.Sort(in)
	if !slices.Equal(in, []int{0, 10}) {
		t.Errorf("let in: %v", in)
	}
	if u, err := w.users.User(t.Context(), "anna"); err != nil || len(u.Identities) != 1 || u.Password.Scheme != "" {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestDirectoryFails: its error is no answer to who that is.
func TestDirectoryFails(t *testing.T) {
	t.Parallel()
	w, broken := newWorld(t), errors.New("disk")
	for what, d := range map[string]*failing{"user": {user: broken}, "link": {link: broken}, "register": {user: auth.ErrUnknownUser, register: broken}} {
		d.Put(auth.User{Name: "corp.7"})
		i := w.issuer(t, func(o *oidc.IssuerOptions) {
			o.Directory, o.Mapping = d, oidc.Mapping{LinkExisting: true, Unknown: oidc.Register}
		})
		if id, err := i.Identify(t.Context(), someone("7", `{}`)); !errors.Is(err, broken) || id.Name != "" {
			t.Errorf("%s: %+v, %v", what, id, err)
		}
	}
}

type failing struct {
	oidc.Memory
	user, link, register error
}

func (f *failing) User(ctx context.Context, name string) (*auth.User, error) {
	if f.user != nil {
		return nil, f.user
	}
	return f.Memory.User(ctx, name)
}
func (f *failing) Link(context.Context, string, auth.ForeignIdentity) error     { return f.link }
func (f *failing) Register(context.Context, string, auth.ForeignIdentity) error { return f.register }

func TestRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	linked := auth.User{Name: "corp.7", Roles: []string{"own", "_admin", "a"}, Identities: []auth.ForeignIdentity{w.foreign("7")}}
	many := `["` + strings.Repeat(`r","`, 600) + `r"]`
	list := func(roles ...string) []string { return roles }
	for what, tt := range map[string]struct {
		mapping        oidc.Mapping
		claims         string
		roles, granted []string // nil: refused
	}{
		"no path":            {oidc.Mapping{}, `{"roles":["a"]}`, list("own", "a"), list("own", "a")},
		"list":               {oidc.Mapping{RolesPath: "roles"}, `{"roles":["a","b","a",""]}`, list("a", "b", "own"), list("own")},
		"text":               {oidc.Mapping{RolesPath: "roles"}, `{"roles":"a, b"}`, list("a", "b", "own"), list("own")},
		"nested":             {oidc.Mapping{RolesPath: `realm_access.ro\.les`}, `{"realm_access":{"ro.les":["b"]}}`, list("b", "own", "a"), list("own", "a")},
		"missing":            {oidc.Mapping{RolesPath: "realm_access.roles"}, `{}`, list("own", "a"), list("own", "a")},
		"not an object":      {oidc.Mapping{RolesPath: "realm_access.roles"}, `{"realm_access":["roles"]}`, list("own", "a"), list("own", "a")},
		"null":               {oidc.Mapping{RolesPath: "roles"}, `{"roles":null}`, list("own", "a"), list("own", "a")},
		"number":             {oidc.Mapping{RolesPath: "roles"}, `{"roles":7}`, nil, nil},
		"list of lists":      {oidc.Mapping{RolesPath: "roles"}, `{"roles":["a",["b"]]}`, nil, nil},
		"object":             {oidc.Mapping{RolesPath: "roles"}, `{"roles":{"a":true}}`, nil, nil},
		"too many":           {oidc.Mapping{RolesPath: "roles"}, `{"roles":` + many + `}`, nil, nil},
		"server's own":       {oidc.Mapping{RolesPath: "roles"}, `{"roles":["_admin","_replicator","_","b"]}`, list("b", "own", "a"), list("own", "a")},
		"server's, allowed":  {oidc.Mapping{RolesPath: "roles", AllowServerAdmin: true}, `{"roles":["_admin","b"]}`, list("_admin", "b", "own", "a"), list("own", "a")},
		"directory's":        {oidc.Mapping{AllowServerAdmin: true}, `{}`, list("own", "_admin", "a"), list("own", "_admin", "a")},
		"map":                {oidc.Mapping{RolesPath: "roles", RolesMap: map[string][]string{"G1": {"x", "y"}, "G2": {"x", "_admin"}}}, `{"roles":["G2","G1","g1","own"]}`, list("x", "y", "own", "a"), list("own", "a")},
		"map and prefix":     {oidc.Mapping{RolesPath: "roles", RolesPrefix: "p-", RolesMap: map[string][]string{"G": {"x"}}}, `{"roles":["G","H"]}`, list("x", "own", "a"), list("own", "a")},
		"empty map":          {oidc.Mapping{RolesPath: "roles", RolesMap: map[string][]string{}}, `{"roles":["G","_admin"]}`, list("own", "a"), list("own", "a")},
		"map, server's":      {oidc.Mapping{RolesPath: "roles", AllowServerAdmin: true, RolesMap: map[string][]string{"G": {"_admin"}}}, `{"roles":["G"]}`, list("_admin", "own", "a"), list("own", "a")},
		"prefix":             {oidc.Mapping{RolesPath: "roles", RolesPrefix: "corp-"}, `{"roles":["a","_admin"]}`, list("corp-a", "corp-_admin", "own", "a"), list("own", "a")},
		"prefix makes it so": {oidc.Mapping{RolesPath: "roles", RolesPrefix: "_"}, `{"roles":["admin"]}`, list("own", "a"), list("own", "a")},
	} {
		users := new(oidc.Memory)
		users.Put(linked)
		i := w.issuer(t, func(o *oidc.IssuerOptions) { o.Mapping, o.Directory = tt.mapping, users })
		id, err := i.Identify(t.Context(), someone("7", tt.claims))
		if tt.roles == nil {
			wantStatus(t, what, err, 403)
			continue
		}
		if err != nil || !slices.Equal(id.Roles, tt.roles) || !slices.Equal(id.Granted, tt.granted) || id.Admin() != slices.Contains(tt.roles, "_admin") {
			t.Errorf("%s: %q, of them granted %q, %v, want %q, %q", what, id.Roles, id.Granted, err, tt.roles, tt.granted)
		}
	}
}

// TestReservedName: a name in [admins] need not be one that the directory finds.
func TestReservedName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, unknown := range []oidc.UnknownUsers{oidc.Refuse, oidc.Register, oidc.Allow} {
		i := w.issuer(t, func(o *oidc.IssuerOptions) {
			o.Directory, o.Mapping.Unknown, o.Mapping.AllowServerAdmin = new(reserved), unknown, true
		})
		_, err := i.Identify(t.Context(), someone("root", `{}`))
		want(t, string(unknown), wantStatus(t, string(unknown), err, 403).Reason, "This name is reserved")
		if id, err := i.Identify(t.Context(), someone("anna", `{}`)); (err == nil) != (unknown != oidc.Refuse) || id.Admin() {
			t.Errorf("%s: %+v, %v", unknown, id, err)
		}
	}
}

type reserved struct{ oidc.Memory }

func (*reserved) ServerAdmin(name string) bool { return name == "corp.root" }

// TestRolesAreNotShared: what one request does with its roles is not seen by the next, nor by the directory.
func TestRolesAreNotShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.users.Put(auth.User{Name: "corp.248289761001", Roles: []string{"x", "y"}, Identities: []auth.ForeignIdentity{w.foreign("248289761001")}})
	i := w.mapped(t, func(m *oidc.Mapping) { m.RolesPath = "groups" })
	token := w.token(t, map[string]any{"groups": []string{"a"}})
	for range 3 {
		id, err := ask(i, token)
		if err != nil || !slices.Equal(id.Roles, []string{"a", "x", "y"}) {
			t.Fatalf("%q, %v", id.Roles, err)
		}
		clear(id.Roles)
		clear(id.Granted)
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*auth.Refusal](err)
	return ok
}

// TestMemoryIsADirectory holds it against the contracts of auth.Users and Directory.
func TestMemoryIsADirectory(t *testing.T) {
	t.Parallel()
	m := new(oidc.Memory)
	authtest.TestUsers(t, authtest.UsersCase{
		Users: m, Put: func(_ *testing.T, u auth.User) { m.Put(u) }, Delete: func(_ *testing.T, name string) { m.Delete(name) },
	})
	a, b := auth.ForeignIdentity{Issuer: "i", Subject: "a"}, auth.ForeignIdentity{Issuer: "j", Subject: "b"}
	if err := m.Link(t.Context(), "anna", a); !errors.Is(err, auth.ErrUnknownUser) {
		t.Errorf("a link to nobody: %v", err)
	}
	if err := m.Register(t.Context(), "anna", a); err != nil {
		t.Error(err)
	}
	if err := m.Register(t.Context(), "anna", b); !errors.Is(err, oidc.ErrUserExists) {
		t.Errorf("a second anna: %v", err)
	}
	before, _ := m.User(t.Context(), "anna")
	for range 2 {
		if err := m.Link(t.Context(), "anna", b); err != nil {
			t.Error(err)
		}
	}
	if err := m.Link(t.Context(), "anna", auth.ForeignIdentity{Issuer: "i", Subject: "b"}); !isRefusal(err) {
		t.Errorf("somebody else of an issuer: %v", err)
	}
	if u, err := m.User(t.Context(), "anna"); err != nil || !slices.Equal(u.Identities, []auth.ForeignIdentity{a, b}) || len(before.Identities) != 1 {
		t.Errorf("%+v, %v; before %+v", u, err, before)
	}
	m.Put(auth.User{Name: "root", Admin: true})
	if !m.ServerAdmin("root") || m.ServerAdmin("anna") || m.ServerAdmin("nobody") {
		t.Error("server admins")
	}
}
