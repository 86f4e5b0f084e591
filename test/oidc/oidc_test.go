// Package oidc logs in at a real OpenID provider, the certified oidc-provider on Node, in a real browser, Chromium, and syncs with what comes of it.
//
// The packages come from package-lock.json; the test runs npm ci when they are missing or older than that file. Without node, npm or Chromium the test is skipped, unless CI is set: then
// it fails. The browser reaches no address but the loopback.
//
//	go test ./test/oidc -run 'TestLogin/browser'
package oidc

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/parlordb/parlor/test/node"
	"github.com/parlordb/parlor/test/program"
)

const adminPassword = "correct horse battery staple"

// patience is how long something may take that ends by itself, on the slowest machine.
const patience = 60 * time.Second

// algorithms are the providers' names: each client of the one provider has its tokens signed in another way.
var algorithms = []string{"rs256", "ps256", "es256", "eddsa"}

// world is a server under test, a provider and a browser.
type world struct {
	t       *testing.T
	parlor  *program.Server
	issuer  string
	browser context.Context
}

func TestLogin(t *testing.T) {
	t.Parallel()
	node.Need(t, "node")
	node.Need(t, "npm")
	chromium := node.Need(t, "chromium", "chromium-browser", "google-chrome")
	if err := node.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	bin, err := program.Build(t.Context(), t.TempDir(), program.Race)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	settings := filepath.Join(dir, "parlor.ini")
	// A feed writes nothing by itself and does not end by itself, so that what ends one has cut it.
	const text = "[admins]\nadmin = " + adminPassword + "\n[chttpd_auth]\niterations = 10\n[chttpd]\nfeed_heartbeat = 0\nchanges_timeout = 86400000\n"
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	if w.parlor, err = program.Start(context.WithoutCancel(t.Context()), program.Options{Binary: bin, Data: filepath.Join(dir, "data"), Config: []string{settings}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.parlor.Stop(); err != nil {
			t.Error(err)
		}
	})
	key := w.startProvider()
	app := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(app.Close)
	for _, name := range algorithms {
		w.configure(name, key, app.URL)
	}
	w.startBrowser(chromium)

	// One after the other, for they share the browser and what it is signed in as.
	t.Run("stranger", w.testStranger)
	t.Run("browser", w.testBrowser)
	t.Run("algorithms", w.testAlgorithms)
	t.Run("app", func(t *testing.T) { w.testApp(t, app.URL) })
	t.Run("logout", w.testLogout)
}

// testStranger: the provider's word alone lets nobody in.
func (w *world) testStranger(t *testing.T) {
	w.set(t, "oidc:rs256", "unknown_users", "refuse")
	if body := w.login(t, "rs256", "/_session"); !strings.Contains(body, `"error":"forbidden"`) {
		t.Errorf("a stranger is answered %s", body)
	}
	if status, _ := w.ask(t, "GET", "/_users/org.couchdb.user:rs256.anna", ""); status != http.StatusNotFound {
		t.Errorf("a stranger has a user document: %d", status)
	}
	w.set(t, "oidc:rs256", "unknown_users", "register")
}

// testBrowser goes the whole way: a login page, consent, a session, a sync with its cookie, and its end.
func (w *world) testBrowser(t *testing.T) {
	if body := w.login(t, "es256", "/_session"); !strings.Contains(body, `"name":"es256.anna"`) || !strings.Contains(body, `"authenticated":"cookie"`) {
		t.Fatalf("after the login, /_session is %s", body)
	}
	w.must(t, "PUT", "/notes", "")
	w.must(t, "PUT", "/notes/_security", `{"admins":{},"members":{"names":["es256.anna"]}}`)
	w.must(t, "PUT", "/notes/from-server", `{"text":"hello"}`)
	pouchdb, err := os.ReadFile(filepath.Join("node_modules", "pouchdb", "dist", "pouchdb.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	do(t, w, chromedp.Evaluate[chromedp.Void](string(pouchdb)))
	text := w.await(t, `(async () => {
		const remote = new PouchDB(location.origin + '/notes', { skip_setup: true })
		window.local = new PouchDB('local')
		await local.put({ _id: 'from-browser', text: 'hello too' })
		await local.sync(remote)
		window.ended = new Promise(resolve => {
			window.live = local.sync(remote, { live: true, retry: false, heartbeat: false }).on('error', err => resolve(String(err.status))).on('complete', () => resolve('complete'))
		})
		window.arrived = new Promise(resolve => live.on('change', c => { if (c.change.docs.some(d => d._id === 'later')) resolve('arrived') }))
		return (await local.get('from-server')).text
	})()`)
	if text != "hello" {
		t.Errorf("the browser has %q", text)
	}
	if body := w.must(t, "GET", "/notes/from-browser", ""); !strings.Contains(body, "hello too") {
		t.Errorf("the server has %s", body)
	}
	w.must(t, "PUT", "/notes/later", `{}`)
	w.await(t, `arrived`)

	// PouchDB may be between two polls, of which the next is refused. This feed is open once its header is there.
	status := w.await(t, `(async () => {
		const feed = await fetch('/notes/_changes?feed=continuous&since=now')
		window.cut = feed.text().then(() => 'complete', () => 'cut')
		return String(feed.status)
	})()`)
	if status != "200" {
		t.Fatalf("the feed is answered %s", status)
	}
	if body := w.must(t, "DELETE", "/_sessions?user=es256.anna", ""); !strings.Contains(body, `"ended":1`) {
		t.Errorf("ended: %s", body)
	}
	if text := w.await(t, `cut`); text != "cut" {
		t.Errorf("the open feed ends: %s", text)
	}
	if text := w.await(t, `ended`); text == "complete" {
		t.Error("the sync ended as if all were well")
	}
	if body := w.page(t, "/_session"); !strings.Contains(body, `"name":null`) {
		t.Errorf("afterwards, /_session is %s", body)
	}
}

// testAlgorithms logs in with tokens that are signed in each way.
func (w *world) testAlgorithms(t *testing.T) {
	for _, name := range algorithms {
		if body := w.login(t, name, "/_session"); !strings.Contains(body, `"name":"`+name+`.anna"`) {
			t.Errorf("%s: /_session is %s", name, body)
		}
	}
}

// testApp logs in for an app that lives elsewhere, which gets a code, trades it, and goes on with its refresh token and its ID token.
func (w *world) testApp(t *testing.T, app string) {
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{"return_to": {app + "/signed-in"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "offline": {"true"}}
	to := w.follow(t, "/_oidc/ps256/login?"+query.Encode(), app)
	back, err := url.Parse(to)
	if err != nil || back.Query().Get("code") == "" || back.Path != "/signed-in" {
		t.Fatalf("the app is opened with %s", to)
	}
	if len(back.Query()) != 1 || back.Fragment != "" {
		t.Errorf("the app is told more than a code: %s", to)
	}
	trade := fmt.Sprintf(`{"code":%q,"code_verifier":%q}`, back.Query().Get("code"), verifier)
	var got struct {
		Name         string
		IDToken      string `json:"id_token"`
		RefreshToken string `json:"refresh_token"`
	}
	w.trade(t, "/_session", trade, &got)
	if got.Name != "ps256.anna" || got.IDToken == "" || got.RefreshToken == "" {
		t.Fatalf("the code is traded for %+v", got)
	}
	if status, _ := w.askAs(t, "", "POST", "/_session", trade); status == http.StatusOK {
		t.Error("the code serves twice")
	}
	refresh := got.RefreshToken
	got.IDToken = ""
	w.trade(t, "/_oidc/ps256/refresh", fmt.Sprintf(`{"refresh_token":%q}`, refresh), &got)
	if got.Name != "ps256.anna" || got.IDToken == "" {
		t.Fatalf("the refresh token is traded for %+v", got)
	}
	if status, body := w.askAs(t, "Bearer "+got.IDToken, "GET", "/_session", ""); status != http.StatusOK || !strings.Contains(body, `"authenticated":"jwt"`) {
		t.Errorf("the ID token as bearer: %d %s", status, body)
	}
}

// testLogout: a logout here is one at the provider, which tells all that it has signed the browser in to.
func (w *world) testLogout(t *testing.T) {
	for _, name := range algorithms {
		w.login(t, name, "/_session")
	}
	if n := strings.Count(w.must(t, "GET", "/_sessions", ""), `"method":"oidc"`); n < len(algorithms) {
		t.Fatalf("%d sessions before", n)
	}
	w.follow(t, "/_oidc/rs256/logout?next=/_up", w.parlor.URL+"/_up")
	// The provider has told each client before it sent the browser back. What an app's refresh token has made is no session of the browser's.
	body := w.must(t, "GET", "/_sessions", "")
	for _, name := range []string{"rs256", "es256", "eddsa"} {
		if strings.Contains(body, `"user":"`+name+`.anna"`) {
			t.Errorf("a session of %s is left: %s", name, body)
		}
	}
}

// startProvider runs provider.js, and returns the key with which the client es256 proves itself.
func (w *world) startProvider() (key string) {
	w.t.Helper()
	cmd := exec.Command("node", "provider.js", w.parlor.URL)
	var log strings.Builder
	cmd.Stderr = &log
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("the provider says:\n%s", log.String())
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var told struct{ Issuer, Key string }
	if err == nil {
		err = json.Unmarshal(line, &told)
	}
	if err != nil {
		w.t.Fatalf("the provider does not start: %v", err)
	}
	w.issuer = told.Issuer
	return told.Key
}

// configure makes a client of the provider known to the server, over HTTP.
func (w *world) configure(name, key, app string) {
	section := "oidc:" + name
	w.set(w.t, section, "client_id", name)
	if name == "es256" {
		w.set(w.t, section, "private_key_jwt", strings.ReplaceAll(strings.TrimSpace(key), "\n", `\n`))
	} else {
		w.set(w.t, section, "client_secret", "secret of "+name)
	}
	for key, value := range map[string]string{"insecure": "true", "allow_private": "true", "unknown_users": "register", "scope": "openid, email", "return_to": app} {
		w.set(w.t, section, key, value)
	}
	w.set(w.t, section, "issuer", w.issuer)
}

func (w *world) set(t *testing.T, section, key, value string) {
	t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, "PUT", "/_node/_local/_config/"+section+"/"+key, string(body))
}

func (w *world) startBrowser(path string) {
	w.t.Helper()
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), o...)
	w.t.Cleanup(cancel)
	w.browser, cancel = chromedp.NewContext(ctx)
	w.t.Cleanup(cancel)
	if _, err := chromedp.Run(w.browser, chromedp.Navigate("about:blank")); err != nil {
		w.t.Fatalf("%s does not start: %v", path, err)
	}
}

// page opens a page of the server and returns its text.
func (w *world) page(t *testing.T, path string) string {
	t.Helper()
	do(t, w, chromedp.Navigate(w.parlor.URL+path))
	return w.text(t)
}

// text is what the browser shows.
func (w *world) text(t *testing.T) string {
	t.Helper()
	return do(t, w, chromedp.Evaluate[string](`document.body.innerText`))
}

// do has the browser do something.
func do[T any](t *testing.T, w *world, action chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(w.browser, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// login logs in at a client's provider in the browser, and returns the text of the page where that ends.
func (w *world) login(t *testing.T, name, next string) string {
	t.Helper()
	w.follow(t, "/_oidc/"+name+"/login?next="+next, w.parlor.URL)
	return w.text(t)
}

// follow opens a page of the server, and says yes to whatever the provider asks, until the browser is at a URL that begins with end, which it returns.
func (w *world) follow(t *testing.T, path, end string) (at string) {
	t.Helper()
	do(t, w, chromedp.Navigate(w.parlor.URL+path))
	for range 10 {
		at = do(t, w, chromedp.Location())
		if !strings.HasPrefix(at, w.issuer) && strings.HasPrefix(at, end) {
			return at
		}
		do(t, w, chromedp.WaitReady(`button`))
		ctx, cancel := context.WithTimeout(w.browser, patience)
		// It returns when the next page is there.
		_, err := chromedp.RunResponse(ctx, chromedp.Evaluate[chromedp.Void](`{
			const login = document.querySelector('input[name=login]')
			if (login) { login.value = 'anna'; document.querySelector('input[name=password]').value = 'any' }
			document.querySelector('button[value=yes], form button[type=submit]').click()
		}`))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("the browser has come to %s, not to %s", at, end)
	return ""
}

// await is the value of a script's promise.
func (w *world) await(t *testing.T, script string) string {
	t.Helper()
	return do(t, w, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
}

// ask sends a request of the administrator.
func (w *world) ask(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	return w.askAs(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("admin:"+adminPassword)), method, path, body)
}

func (w *world) must(t *testing.T, method, path, body string) string {
	t.Helper()
	status, answer := w.ask(t, method, path, body)
	if status/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// trade sends a POST without credentials, whose answer is read into to.
func (w *world) trade(t *testing.T, path, body string, to any) {
	t.Helper()
	status, answer := w.askAs(t, "", "POST", path, body)
	if status != http.StatusOK {
		t.Fatalf("POST %s: %d %s", path, status, answer)
	}
	if err := json.Unmarshal([]byte(answer), to); err != nil {
		t.Fatal(err)
	}
}

func (w *world) askAs(t *testing.T, credentials, method, path, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.parlor.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if credentials != "" {
		r.Header.Set("Authorization", credentials)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
