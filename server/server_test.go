package server

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/password"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/couchjs"
	"github.com/parlordb/parlor/store"
)

// TestMain lets the test program be the child process that runs JavaScript. No request, however it ended, may leave a goroutine behind.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "couchjs" {
		os.Exit(couchjs.Main())
	}
	goleak.VerifyTestMain(m)
}

// testServer is a Server over a store in memory, behind a real listener on the loopback. Its server admin is admin, password secret.
type testServer struct {
	*httptest.Server
	s     *Server
	store *store.Store
	t     testing.TB
}

// newTestServer starts a server with lines of settings beside its own. Afterwards the store is checked.
func newTestServer(t testing.TB, settings ...string) *testServer {
	t.Helper()
	return newTestServerOn(t, vfs.NewMem(), settings...)
}

// newTestServerOn is newTestServer with a file system for its store.
func newTestServerOn(t testing.TB, fs vfs.FS, settings ...string) *testServer {
	t.Helper()
	st, err := store.Open("data", store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if err := FurnishState(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	users := NewUsers(st, log)
	hash, err := password.Policy{Scheme: password.PBKDF2, PRF: "sha256", Iterations: 1, MinIterations: 1}.New("secret", "")
	if err != nil {
		t.Fatal(err)
	}
	live, err := config.Open(config.Options{Overrides: "[chttpd_auth]\niterations = 1\n[admins]\nadmin = " + password.FormatAdmin(hash) + "\n" + strings.Join(settings, "\n")})
	if err != nil {
		t.Fatal(err)
	}
	users.Configure(live.Snapshot())
	passwords := auth.NewPasswords(users, auth.PasswordOptions{Policy: PasswordPolicy(live.Snapshot())})
	state, revocations := NewState(st), new(auth.Revocations)
	sessions := auth.NewSessions(state, users, revocations)
	if err := sessions.Configure(auth.SessionOptions{Providers: []string{"prov"}}); err != nil {
		t.Fatal(err)
	}
	tokens := auth.NewTokens(state, users, revocations, auth.TokenOptions{})
	authenticator := auth.NewAuthenticator(users)
	authenticator.Configure([]auth.Method{
		auth.First("jwt", tokens.Bearer(), provided{}), sessions, auth.First("default", tokens.Basic(), auth.NewBasic(passwords)),
	})
	js := couchjs.NewPool(couchjs.Options{Processes: 1})
	s := New(Options{Store: st, Users: users, Auth: authenticator, Passwords: passwords, Revocations: revocations, Sessions: sessions, Tokens: tokens, JS: js,
		Settings: func() *config.Settings { return live }, Version: "test", Log: log})
	if err := s.Configure(live.Snapshot(), SignOn{Sessions: sessions}); err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: httptest.NewServer(s), s: s, store: st, t: t}
	t.Cleanup(func() {
		s.Close()
		ts.Server.Close()
		sessions.Close()
		tokens.Close()
		users.Close()
		if problems, err := st.Check(context.Background()); err != nil || len(problems) > 0 {
			t.Errorf("the store is broken: %v %v", problems, err)
		}
		if err := js.Close(); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return ts
}

// provided is the Method "jwt" of tests for whom a provider vouches: "Bearer {"name":…,"roles":…,"provider":…}".
type provided struct{}

func (provided) Name() string { return "jwt" }

func (provided) Authenticate(r *http.Request) (auth.Identity, error) {
	text, ok := auth.Credentials(r.Header, "Bearer {")
	if !ok {
		return auth.Identity{}, auth.ErrNoCredentials
	}
	var said struct {
		Name     string   `json:"name"`
		Roles    []string `json:"roles"`
		Provider string   `json:"provider"`
	}
	if err := json.Unmarshal([]byte("{"+text), &said); err != nil || said.Name == "" {
		return auth.Identity{}, &auth.Refusal{Status: http.StatusUnauthorized, Kind: "unauthorized", Reason: "bad token"}
	}
	return auth.Identity{Name: said.Name, Roles: said.Roles, Provider: said.Provider, Method: "jwt", Credential: "key"}, nil
}

// send makes a request as who, "name:password" or "" for nobody, and returns the answer; the caller closes its body.
func (ts *testServer) send(who, method, path, body string, header ...string) *http.Response {
	ts.t.Helper()
	req, err := http.NewRequest(method, ts.URL+path, strings.NewReader(body))
	if err != nil {
		ts.t.Fatal(err)
	}
	if name, pass, ok := strings.Cut(who, ":"); ok {
		req.SetBasicAuth(name, pass)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := ts.Client().Do(req)
	if err != nil {
		ts.t.Fatal(err)
	}
	return res
}

// as makes a request as who and returns the status and the body.
func (ts *testServer) as(who, method, path, body string, header ...string) (status int, text string) {
	ts.t.Helper()
	res := ts.send(who, method, path, body, header...)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		ts.t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// do makes a request as the server admin, which must be answered with one of the statuses 200, 201 and 202, and returns the body.
func (ts *testServer) do(method, path, body string, header ...string) string {
	ts.t.Helper()
	status, text := ts.as("admin:secret", method, path, body, header...)
	if status/100 != 2 {
		ts.t.Fatalf("%s %s %s: %d %s", method, path, body, status, text)
	}
	return text
}
