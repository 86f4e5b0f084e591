package replicate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Peer is a database on a server.
type Peer struct {
	URL            string       // of the database, such as https://HOST:PORT/NAME; user and password may stand in it
	User, Password string       // over those of the URL
	Token          string       // a bearer token, instead of a user
	Client         *http.Client // nil: one of the run's own. Its CheckRedirect is not used, and a Timeout would limit attachments
}

// AnswerError is an answer that is none of success.
type AnswerError struct {
	Side         string // "source" or "target"
	Status       int
	Kind, Reason string // as the server says; Kind is the status' text where it says nothing

	retryAfter time.Duration
}

func (e *AnswerError) Error() string {
	text := fmt.Sprintf("the %s answers %d %s", e.Side, e.Status, e.Kind)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// NetworkError is a server that cannot be reached, that was lost on the way, or whose answer makes no sense.
type NetworkError struct {
	Side string // "source" or "target"
	Err  error
}

func (e *NetworkError) Error() string { return fmt.Sprintf("the %s: %v", e.Side, e.Err) }
func (e *NetworkError) Unwrap() error { return e.Err }

// errStalled is the cause of a request that was given up.
var errStalled = errors.New("the server has neither sent nor taken anything for too long")

// peer talks to one of the two. Its methods may be called concurrently.
type peer struct {
	side           string
	base           string // of the database, without user info and without a slash at the end
	user, password string
	token          string
	http           *http.Client
	timeout        time.Duration
}

func newPeer(side string, p Peer, o Options) (*peer, error) {
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") == "" || u.RawQuery != "" || u.Fragment != "" {
		// The URL may hold a password, so it is not repeated.
		return nil, fmt.Errorf("the %s's URL is not of the form http://HOST:PORT/DATABASE", side)
	}
	made := &peer{side: side, user: p.User, password: p.Password, token: p.Token, timeout: o.Timeout}
	if made.user == "" && u.User != nil {
		made.user = u.User.Username()
		made.password, _ = u.User.Password()
	}
	u.User = nil
	made.base = strings.TrimRight(u.String(), "/")
	client := http.Client{}
	if p.Client != nil {
		client = *p.Client
	} else {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 2*o.Concurrency + 2
		client.Transport = transport
	}
	// A redirect would take the password along.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	made.http = &client
	return made, nil
}

// root is the URL of the server, and name the database's there.
func (p *peer) root() (root, name string) {
	dir, name := path.Split(p.base)
	return strings.TrimRight(dir, "/"), name
}

// documentPath is the escaped path of a document below the database.
func documentPath(id string) string {
	for _, prefix := range []string{"_design/", "_local/"} {
		if rest, ok := strings.CutPrefix(id, prefix); ok {
			return "/" + prefix + escape(rest)
		}
	}
	return "/" + escape(id)
}

// escape is for one segment of a path. CouchDB takes "+" for a blank, and proxies take dots for directories.
func escape(segment string) string {
	if segment == "." || segment == ".." {
		return strings.ReplaceAll(segment, ".", "%2E")
	}
	return strings.ReplaceAll(url.PathEscape(segment), "+", "%2B")
}

// request is what is asked of a peer.
type request struct {
	method, path string // path is escaped, and follows the database's URL
	query        url.Values
	body         []byte
	stream       io.ReadCloser // instead of body
	length       int64         // of stream; -1: unknown
	kind         string        // Content-Type; "": application/json
	accept       string        // "": application/json
	identity     bool          // the answer must not be packed
	absolute     string        // a URL instead of path
}

// do sends a request. The caller closes the body of the answer, whose status is 2xx; it fails with *AnswerError and *NetworkError.
func (p *peer) do(ctx context.Context, q request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	alive := &watch{cancel: cancel, timeout: p.timeout}
	alive.timer = time.AfterFunc(p.timeout, func() { cancel(errStalled) })
	req, err := p.request(ctx, q, alive)
	if err != nil {
		alive.stop()
		if q.stream != nil {
			q.stream.Close()
		}
		return nil, err
	}
	res, err := p.http.Do(req)
	if err != nil {
		err = p.lost(ctx, err)
		alive.stop()
		return nil, err
	}
	alive.beat()
	res.Body = &watched{ReadCloser: res.Body, watch: alive, lost: func(err error) error { return p.lost(ctx, err) }}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, p.refusal(res)
}

// largeBody is the length of a body that is worth asking for first whether it is taken.
const largeBody = 1 << 20

func (p *peer) request(ctx context.Context, q request, alive *watch) (*http.Request, error) {
	to := p.base + q.path
	if q.absolute != "" {
		to = q.absolute
	}
	if len(q.query) > 0 {
		to += "?" + q.query.Encode()
	}
	var body io.Reader
	switch {
	case q.stream != nil:
		body = &sent{q.stream, alive}
	case q.body != nil:
		body = bytes.NewReader(q.body)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, to, body)
	if err != nil {
		return nil, fmt.Errorf("the %s's URL cannot be asked: %s", p.side, q.method)
	}
	if q.stream != nil {
		req.ContentLength = q.length
		if q.length < 0 || q.length > largeBody {
			req.Header.Set("Expect", "100-continue") // a server that refuses it can say so before it is sent
		}
	}
	if body != nil {
		req.Header.Set("Content-Type", cmp.Or(q.kind, "application/json"))
	}
	req.Header.Set("Accept", cmp.Or(q.accept, "application/json"))
	if q.identity {
		req.Header.Set("Accept-Encoding", "identity")
	}
	switch {
	case p.token != "":
		req.Header.Set("Authorization", "Bearer "+p.token)
	case p.user != "":
		req.SetBasicAuth(p.user, p.password)
	}
	return req, nil
}

// lost makes a NetworkError without the URL, which may say more than should be told.
func (p *peer) lost(ctx context.Context, err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		err = cause
	}
	return &NetworkError{p.side, err}
}

// maxRefusal bounds what is read of an error's body.
const maxRefusal = 64 << 10

func (p *peer) refusal(res *http.Response) error {
	e := &AnswerError{Side: p.side, Status: res.StatusCode, Kind: http.StatusText(res.StatusCode)}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		e.Reason = "redirects are not followed; name the address that it leads to"
		if to, err := res.Location(); err == nil {
			to.User = nil
			to.RawQuery = ""
			e.Reason = "it redirects to " + to.String() + "; name that address"
		}
		return e
	}
	var told struct {
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}
	if json.UnmarshalRead(io.LimitReader(res.Body, maxRefusal), &told, lenient) == nil && told.Error != "" {
		e.Kind, e.Reason = told.Error, told.Reason
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.retryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	return e
}

// lenient is for servers' JSON: what is odd in a document is for its target to judge.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// maxAnswer bounds an answer that is held in memory as a whole.
const maxAnswer = 64 << 20

// json is do for an answer that is read whole, into out unless that is nil.
func (p *peer) json(ctx context.Context, q request, out any) error {
	res, err := p.do(ctx, q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
		return err
	}
	if err := json.UnmarshalRead(io.LimitReader(res.Body, maxAnswer), out, lenient); err != nil {
		return p.nonsense(err)
	}
	return nil
}

// nonsense is the error of an answer that cannot be read; one that was lost on the way stays what it is.
func (p *peer) nonsense(err error) error {
	if lost := (*NetworkError)(nil); errors.As(err, &lost) {
		return lost
	}
	return &NetworkError{p.side, fmt.Errorf("its answer is not what was asked for: %w", err)}
}

// watch gives a request up when nothing moves.
type watch struct {
	timer   *time.Timer
	timeout time.Duration
	cancel  context.CancelCauseFunc
	ended   atomic.Bool
}

func (w *watch) beat() {
	if !w.ended.Load() {
		w.timer.Reset(w.timeout)
	}
}

func (w *watch) stop() {
	w.ended.Store(true)
	w.timer.Stop()
	w.cancel(nil)
}

// watched is the body of an answer.
type watched struct {
	io.ReadCloser
	*watch
	lost func(error) error
}

func (b *watched) Read(data []byte) (int, error) {
	n, err := b.ReadCloser.Read(data)
	if n > 0 {
		b.beat()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.lost(err)
	}
	return n, err
}

func (b *watched) Close() error {
	b.stop()
	return b.ReadCloser.Close()
}

// sent is the body of a request.
type sent struct {
	io.ReadCloser
	watch *watch
}

func (b *sent) Read(data []byte) (int, error) {
	n, err := b.ReadCloser.Read(data)
	b.watch.beat()
	return n, err
}

// passing reports whether an error may be gone when it is tried again.
func passing(err error) bool {
	var answer *AnswerError
	if errors.As(err, &answer) {
		switch answer.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests:
			return true
		case http.StatusNotImplemented, http.StatusInsufficientStorage:
			return false
		}
		return answer.Status >= 500
	}
	var certificate *tls.CertificateVerificationError
	var lost *NetworkError
	return errors.As(err, &lost) && !errors.As(err, &certificate)
}
