// Package pouchdb runs real clients, PouchDB and nano on Node, against the built program.
//
// Each *.test.js is run by Node's own test runner with a server of its own. The packages come from package-lock.json; the
// test runs npm ci when they are missing or older than that file. Without node or npm the test is skipped, unless CI is set: then it fails.
//
//	go test ./test/pouchdb -run 'TestClients/live'
package pouchdb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/parlordb/parlor/test/node"
	"github.com/parlordb/parlor/test/program"
)

const adminPassword = "correct horse battery staple"

func TestClients(t *testing.T) {
	t.Parallel()
	node.Need(t, "node")
	node.Need(t, "npm")
	if err := node.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	bin, err := program.Build(t.Context(), t.TempDir(), program.Race)
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("*.test.js")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".test.js"), func(t *testing.T) {
			t.Parallel()
			run(t, bin, script)
		})
	}
}

// keys are what the clients sign with.
type keys struct {
	private string // PKCS #8, PEM, P-256
	public  string // the other half, PEM
	secret  string // base64, for HS256
}

func newKeys(t *testing.T) keys {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	return keys{
		private: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		public:  string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		secret:  base64.StdEncoding.EncodeToString(secret),
	}
}

// settings is the server's ini file, in CouchDB's dialect: a key is one line, its line ends written as \n.
func (k keys) settings() string {
	return fmt.Sprintf(`[couchdb]
single_node = true

[admins]
admin = %s

[jwt_keys]
ec:es = %s
hmac:hs = %s
`, adminPassword, strings.ReplaceAll(k.public, "\n", `\n`), k.secret)
}

// run starts a server and one script against it.
func run(t *testing.T, bin, script string) {
	k, dir := newKeys(t), t.TempDir()
	settings := filepath.Join(dir, "parlor.ini")
	if err := os.WriteFile(settings, []byte(k.settings()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &control{options: program.Options{Binary: bin, Data: filepath.Join(dir, "data"), Config: []string{settings}}}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	door := httptest.NewServer(c)
	t.Cleanup(door.Close)
	cmd := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", script)
	cmd.Env = append(os.Environ(),
		"PARLOR_URL="+c.srv.URL,
		"PARLOR_ADMIN=admin",
		"PARLOR_PASSWORD="+adminPassword,
		"PARLOR_ES256="+k.private,
		"PARLOR_HS256="+k.secret,
		"PARLOR_CONTROL="+door.URL,
		"PARLOR_BINARY="+bin,
		"PARLOR_DATA="+c.options.Data,
		"NODE_NO_WARNINGS=1",
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("node --test %s: %v\n%s\n--- the server's log\n%s", script, err, out, c.log())
	} else {
		t.Logf("%s", out)
	}
}

// control is the door through which a script stops, kills and starts its server. It keeps its address.
type control struct {
	options program.Options

	mu  sync.Mutex
	srv *program.Server // the last one that was started
	up  bool
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/stop":
		err = c.stop()
	case "/kill":
		err = c.kill()
	case "/start":
		err = c.start()
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (c *control) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up {
		return errors.New("it runs")
	}
	srv, err := program.Start(context.Background(), c.options)
	if err != nil {
		return err
	}
	c.srv, c.up, c.options.Addr = srv, true, srv.Addr
	return nil
}

func (c *control) stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up {
		return nil
	}
	c.up = false
	return c.srv.Stop()
}

func (c *control) kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up {
		return nil
	}
	c.up = false
	return c.srv.Kill()
}

func (c *control) log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.srv.Log()
}
