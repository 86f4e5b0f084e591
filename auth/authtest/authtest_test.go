package authtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/password"
)

// recorder is a test that may fail without failing the one that it is part of.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Error(args ...any) { r.note(fmt.Sprintln(args...)) }

func (r *recorder) Errorf(format string, args ...any) { r.note(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.note(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) note(failure string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, failure)
}

// record runs tests one after the other and returns what they reported.
func record(t *testing.T, tests ...func(testing.TB)) string {
	r := &recorder{TB: t}
	for _, test := range tests {
		done := make(chan struct{})
		go func() { // Fatalf ends the goroutine
			defer close(done)
			test(r)
		}()
		<-done
	}
	return strings.Join(r.failures, "\n")
}

// keyMethod signs in as anna with "Authorization: Key good" and refuses every other key. Its fields break it.
type keyMethod struct {
	name   string
	before func(r *http.Request)
	after  func(r *http.Request, id auth.Identity, err error) (auth.Identity, error)
}

func (m keyMethod) Name() string { return m.name }

func (m keyMethod) Authenticate(r *http.Request) (auth.Identity, error) {
	if m.before != nil {
		m.before(r)
	}
	id, err := auth.Identity{}, error(auth.ErrNoCredentials)
	if key, ok := auth.Credentials(r.Header, "Key "); ok {
		err = &auth.Refusal{Status: http.StatusUnauthorized, Kind: "unauthorized", Reason: "no such key"}
		if key == "good" {
			id, err = auth.Identity{Name: "anna", Roles: []string{"dev"}, Method: "key"}, nil
		}
	}
	if m.after != nil {
		return m.after(r, id, err)
	}
	return id, err
}

func (m keyMethod) contract(t *testing.T) string {
	with := func(key string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Key "+key) }
	}
	c := MethodCase{
		Method: m, Good: with("good"), Name: "anna",
		Bad:    map[string]func(*http.Request){"another key": with("bad")},
		Others: map[string]func(*http.Request){"basic": func(r *http.Request) { r.SetBasicAuth("anna", "apple") }},
	}
	return record(t, c.testBad, c.testOthers, c.testGood)
}

// TestMethodContractFindsFaults breaks a good Method in each way that the contract forbids.
func TestMethodContractFindsFaults(t *testing.T) {
	t.Parallel()
	if found := (keyMethod{name: "key"}).contract(t); found != "" {
		t.Fatalf("a good Method fails: %s", found)
	}
	// on changes the answers for which ok is true.
	type answer = func(*http.Request, auth.Identity, error) (auth.Identity, error)
	on := func(ok func(error) bool, id auth.Identity, err error) answer {
		return func(_ *http.Request, gotID auth.Identity, gotErr error) (auth.Identity, error) {
			if ok(gotErr) {
				return id, err
			}
			return gotID, gotErr
		}
	}
	good := func(err error) bool { return err == nil }
	none := func(err error) bool { return errors.Is(err, auth.ErrNoCredentials) }
	bad := func(err error) bool { return !good(err) && !none(err) }
	anna := auth.Identity{Name: "anna", Roles: []string{"dev"}, Method: "key"}
	refusal := &auth.Refusal{Status: 401, Kind: "unauthorized", Reason: "no"}
	var asked atomic.Int32
	for what, tt := range map[string]struct {
		m    keyMethod
		want string // is part of the report
	}{
		"lets everyone in":            {keyMethod{"key", nil, on(bad, anna, nil)}, "want a refusal"},
		"passes bad keys on":          {keyMethod{"key", nil, on(bad, auth.Identity{}, auth.ErrNoCredentials)}, "want a refusal"},
		"refuses without words":       {keyMethod{"key", nil, on(bad, auth.Identity{}, errors.New("no"))}, "no *auth.Refusal"},
		"refuses with success":        {keyMethod{"key", nil, on(bad, auth.Identity{}, &auth.Refusal{Status: 200, Kind: "ok", Reason: "ok"})}, "status 200"},
		"refuses with a server error": {keyMethod{"key", nil, on(bad, auth.Identity{}, &auth.Refusal{Status: 500, Kind: "x", Reason: "x"})}, "status 500"},
		"refuses without a reason":    {keyMethod{"key", nil, on(bad, auth.Identity{}, &auth.Refusal{Status: 401, Kind: "unauthorized"})}, "another key"},
		"refuses, but tells who":      {keyMethod{"key", nil, on(bad, anna, refusal)}, "an identity beside the refusal"},
		"refuses what is not its own": {keyMethod{"key", nil, on(none, auth.Identity{}, refusal)}, "want ErrNoCredentials"},
		"takes nothing for nobody":    {keyMethod{"key", nil, on(none, auth.Identity{}, nil)}, "want ErrNoCredentials"},
		"takes nothing for anna":      {keyMethod{"key", nil, on(none, anna, auth.ErrNoCredentials)}, "want ErrNoCredentials"},
		"has no name":                 {keyMethod{"", nil, nil}, "no name"},
		"has another name":            {keyMethod{"other", nil, nil}, "want anna by other"},
		"signs in another":            {keyMethod{"key", nil, on(good, auth.Identity{Name: "root", Method: "key"}, nil)}, "signed in as"},
		"signs in nobody":             {keyMethod{"key", nil, on(good, auth.Identity{Method: "key"}, nil)}, "signed in as"},
		"refuses everyone":            {keyMethod{"key", nil, on(good, auth.Identity{}, refusal)}, "the good request"},
		"reads the body":              {keyMethod{"key", func(r *http.Request) { io.ReadAll(r.Body) }, nil}, "read the request's body"},
		"removes the header": {keyMethod{"key", nil, func(r *http.Request, id auth.Identity, err error) (auth.Identity, error) {
			r.Header.Del("Authorization")
			return id, err
		}}, "changed the request"},
		"adds a header":   {keyMethod{"key", func(r *http.Request) { r.Header.Set("X-User", "anna") }, nil}, "changed the request"},
		"changes the URL": {keyMethod{"key", func(r *http.Request) { r.URL.RawQuery = "user=anna" }, nil}, "changed the request"},
		"takes a key once": {keyMethod{"key", nil, func(_ *http.Request, id auth.Identity, err error) (auth.Identity, error) {
			if err == nil && asked.Add(1) > 1 {
				return auth.Identity{}, refusal
			}
			return id, err
		}}, "asked again"},
	} {
		if found := tt.m.contract(t); !strings.Contains(found, tt.want) {
			t.Errorf("a Method that %s: %q is reported, want %q", what, found, tt.want)
		}
	}
}

// brokenUsers is a directory whose fields break it.
type brokenUsers struct {
	auth.Memory
	look   func(name string) string
	answer func(u *auth.User, err error) (*auth.User, error)
	put    func(m *auth.Memory, u auth.User)
	del    func(m *auth.Memory, name string)
}

func (b *brokenUsers) User(ctx context.Context, name string) (*auth.User, error) {
	if b.look != nil {
		name = b.look(name)
	}
	u, err := b.Memory.User(ctx, name)
	if b.answer != nil {
		return b.answer(u, err)
	}
	return u, err
}

func (b *brokenUsers) contract(t *testing.T) string {
	d := directory{Users: b, put: b.Put, del: b.Delete, hash: password.Hash{Scheme: password.Simple, Salt: "s", Key: "00"}}
	if b.put != nil {
		d.put = func(u auth.User) { b.put(&b.Memory, u) }
	}
	if b.del != nil {
		d.del = func(name string) { b.del(&b.Memory, name) }
	}
	return record(t, d.testUnknown, d.testKnown, d.testDeleted, d.testConcurrent)
}

// TestUsersContractFindsFaults breaks a good directory in ways that databases do.
func TestUsersContractFindsFaults(t *testing.T) {
	t.Parallel()
	if found := new(brokenUsers).contract(t); found != "" {
		t.Fatalf("a good directory fails: %s", found)
	}
	change := func(f func(u *auth.User)) *brokenUsers {
		return &brokenUsers{answer: func(u *auth.User, err error) (*auth.User, error) {
			if err != nil {
				return nil, err
			}
			c := *u
			f(&c)
			return &c, nil
		}}
	}
	for what, tt := range map[string]struct {
		users *brokenUsers
		want  string
	}{
		"takes small letters for large ones": {&brokenUsers{look: func(name string) string { return strings.Replace(name, "z", "Z", 1) }}, `"zoë"`},
		"normalizes letters":                 {&brokenUsers{look: func(name string) string { return strings.ReplaceAll(name, "e\u0308", "ë") }}, "want ErrUnknownUser"},
		"drops blanks":                       {&brokenUsers{look: strings.TrimSpace}, `"Zoë "`},
		"ends names at NUL":                  {&brokenUsers{look: func(name string) string { name, _, _ = strings.Cut(name, "\x00"); return name }}, `"Zoë\x00"`},
		"takes ids for names":                {&brokenUsers{look: func(name string) string { return strings.TrimPrefix(name, "org.couchdb.user:") }}, `"org.couchdb.user:Zoë"`},
		"resolves paths":                     {&brokenUsers{look: func(name string) string { return strings.TrimPrefix(name, "../") }}, `"../Zoë"`},
		"has nothing to say":                 {&brokenUsers{answer: func(u *auth.User, _ error) (*auth.User, error) { return u, nil }}, "want ErrUnknownUser"},
		"has an error of its own": {&brokenUsers{answer: func(u *auth.User, err error) (*auth.User, error) {
			if err != nil {
				err = errors.New("404")
			}
			return u, err
		}}, "404, want ErrUnknownUser"},
		"adds a user to the error": {&brokenUsers{answer: func(u *auth.User, err error) (*auth.User, error) {
			if err != nil {
				u = new(auth.User)
			}
			return u, err
		}}, "want ErrUnknownUser"},
		"knows nobody":             {&brokenUsers{answer: func(*auth.User, error) (*auth.User, error) { return nil, auth.ErrUnknownUser }}, `"Zoë": unknown user`},
		"returns nothing":          {&brokenUsers{answer: func(_ *auth.User, err error) (*auth.User, error) { return nil, err }}, "neither a user nor an error"},
		"sorts roles":              {change(func(u *auth.User) { u.Roles = slices.Sorted(slices.Values(u.Roles)) }), "Roles:[a b]"},
		"makes everyone admin":     {change(func(u *auth.User) { u.Roles = append(slices.Clone(u.Roles), "_admin") }), "_admin"},
		"forgets who is disabled":  {change(func(u *auth.User) { u.Disabled = false }), "Disabled:false"},
		"forgets passwords":        {change(func(u *auth.User) { u.Password = password.Hash{} }), "want {Name:Zoë"},
		"changes names":            {change(func(u *auth.User) { u.Name = strings.ToLower(u.Name) }), "Name:zoë"},
		"asks for a second factor": {change(func(u *auth.User) { u.TOTP = true }), "TOTP:true"},
		"keeps the first of a name": {&brokenUsers{put: func(m *auth.Memory, u auth.User) {
			if _, err := m.User(context.Background(), u.Name); err != nil {
				m.Put(u)
			}
		}}, "want {Name:Zoë"},
		"keeps who is deleted": {&brokenUsers{del: func(*auth.Memory, string) {}}, `"brief"`},
	} {
		if found := tt.users.contract(t); !strings.Contains(found, tt.want) {
			t.Errorf("a directory that %s: %q is reported, want %q", what, found, tt.want)
		}
	}
}

func TestClockStandsStill(t *testing.T) {
	t.Parallel()
	c := NewClock()
	start := c.Now()
	if !c.Now().Equal(start) || start.Unix() != 1795280400 {
		t.Errorf("%v, then %v", start, c.Now())
	}
	c.Advance(time.Hour)
	c.Advance(-time.Minute)
	if got := c.Now().Sub(start); got != 59*time.Minute {
		t.Errorf("advanced by %v", got)
	}
}
