package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
)

// client talks to one server as an administrator of it.
type client struct {
	base *url.URL
	http *http.Client
}

// serverFlags are the flags that say which server a command talks to.
type serverFlags struct {
	set       *flags
	url, data *string
}

func (f *flags) server() serverFlags {
	return serverFlags{
		set:  f,
		url:  f.String("url", "", "the server, as http://NAME:PASSWORD@HOST:PORT; better in PARLOR_URL, where the password is not seen by others.\nWithout either the server of the data directory is asked, through its socket"),
		data: f.String("data", defaultData, "the data directory of a server on this machine"),
	}
}

// asking parses the arguments of a command that asks a server, of which least to most are no flags. It returns a client of the server and those arguments.
func (p *program) asking(f *flags, args []string, least, most int) (*client, []string, error) {
	at := f.server()
	rest, err := f.parse(args, least, most)
	if err != nil {
		return nil, nil, err
	}
	c, err := p.client(at)
	return c, rest, err
}

// client returns a client of the server that the flags or, without flags, PARLOR_URL name.
func (p *program) client(f serverFlags) (*client, error) {
	raw := *f.url
	if raw == "" && !f.set.given("data") {
		raw = p.getenv("PARLOR_URL")
	}
	if raw == "" {
		return socketClient(filepath.Join(*f.data, socketName))
	}
	base, err := url.Parse(raw)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		// The URL may hold a password, so it is not repeated.
		return nil, errors.New("the server's URL is not of the form http://NAME:PASSWORD@HOST:PORT")
	}
	return &client{base: base, http: &http.Client{CheckRedirect: noRedirect}}, nil
}

// noRedirect keeps a password from following a redirect to another server.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func socketClient(path string) (*client, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no server runs on the data directory %s; name the right one with -data, or a server with -url, or start one with 'parlor serve -data %[1]s'", filepath.Dir(path))
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, fmt.Errorf("the server of the data directory %s does not answer on its socket; is it running, and are you its user? (%w)", filepath.Dir(path), err)
		}
		return conn, nil
	}
	return &client{
		base: &url.URL{Scheme: "http", Host: "parlor.sock"},
		http: &http.Client{Transport: &http.Transport{DialContext: dial}, CheckRedirect: noRedirect},
	}, nil
}

// answerError is an answer other than success.
type answerError struct {
	Status       int
	Kind, Reason string
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("the server answers %d %s: %s", e.Status, e.Kind, e.Reason)
	if e.Status == http.StatusUnauthorized {
		text += "; put an administrator's name and password into PARLOR_URL, or use -data on the server's machine"
	}
	return text
}

// maxAnswer bounds an answer that is read into memory.
const maxAnswer = 64 << 20

// do sends one request. path is escaped already and begins with "/". The caller closes the body. It fails with *answerError for any status but 2xx.
func (c *client) do(ctx context.Context, method, path string, body string) (*http.Response, error) {
	base := *c.base
	base.User = nil
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base.String(), "/")+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if user := c.base.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	res, err := c.http.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		return nil, failed.Err // without the URL, which says nothing more
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	refusal := &answerError{Status: res.StatusCode, Kind: http.StatusText(res.StatusCode)}
	var told struct {
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}
	if json.UnmarshalRead(io.LimitReader(res.Body, 64<<10), &told) == nil && told.Error != "" {
		refusal.Kind, refusal.Reason = printable(told.Error), printable(told.Reason)
	}
	return nil, refusal
}

// get is do for an answer that is read whole.
func (c *client) get(ctx context.Context, method, path, body string) ([]byte, error) {
	res, err := c.do(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("the server's answer is longer than %d bytes", maxAnswer)
	}
	return b, err
}
