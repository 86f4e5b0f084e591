package conformance

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// requestLimit is how long one answer may take.
const requestLimit = 60 * time.Second

// Client sends steps to one server and keeps what they save.
//
// It writes requests byte by byte as they were recorded: a path is not cleaned, a header is not added or put right.
//
// It makes AuthSession values from the server's secret and the user's salt, as the template
//
//	{{cookie user=U [age=S] [alg=sha256|sha1] [claim=NAME] [mac=flip|empty] [time=TEXT|+S]}}
//
// says: issued S seconds ago, for U, with the name NAME in its text, a broken or empty code, a time that is not the signed one.
type Client struct {
	Addr     string // host:port
	User     string // the admin's name
	Password string
	Secret   []byte // [chttpd_auth] secret
	Now      func() time.Time

	saved map[string]string
}

// reply is an answer as it came.
type reply struct {
	status int
	header http.Header
	body   []byte
}

type header struct{ name, value string }

// raw sends one request on a connection of its own. readFor ends the reading of an endless answer; 0: read to the end.
func (c *Client) raw(ctx context.Context, method, path string, headers []header, body []byte, readFor time.Duration) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return reply{}, err
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, c.Addr)
	for _, h := range headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, h.value)
	}
	b.WriteString("\r\n")
	b.Write(body)
	_, writeErr := conn.Write(b.Bytes()) // a server may refuse and close before it has read all
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	for err == nil && res.StatusCode < 200 {
		res, err = http.ReadResponse(in, &http.Request{Method: method})
	}
	if err != nil {
		return reply{}, errors.Join(err, writeErr)
	}
	defer res.Body.Close()
	if readFor > 0 {
		if err := conn.SetReadDeadline(time.Now().Add(readFor)); err != nil {
			return reply{}, err
		}
	}
	got, err := io.ReadAll(res.Body)
	if readFor > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return reply{status: res.StatusCode, header: res.Header, body: got}, err
}

// do expands the templates of a request and sends it.
func (c *Client) do(ctx context.Context, q Request) (reply, error) {
	path, err := c.expand(ctx, q.Path)
	if err != nil {
		return reply{}, err
	}
	headers, typed := []header{}, false
	for _, h := range q.Headers {
		if h[0] == nil {
			return reply{}, errors.New("a header without a name")
		}
		typed = typed || strings.EqualFold(*h[0], "Content-Type")
		if h[1] == nil {
			continue
		}
		v, err := c.expand(ctx, *h[1])
		if err != nil {
			return reply{}, err
		}
		headers = append(headers, header{*h[0], v})
	}
	body := q.Base64
	if q.Body != nil {
		s, err := c.expand(ctx, *q.Body)
		if err != nil {
			return reply{}, err
		}
		body = []byte(s)
	}
	if body == nil {
		if q.Method == "PUT" || q.Method == "POST" {
			headers = append(headers, header{"Content-Length", "0"})
		}
	} else {
		if !typed {
			headers = append(headers, header{"Content-Type", "application/json"})
		}
		headers = append(headers, header{"Content-Length", strconv.Itoa(len(body))})
	}
	return c.raw(ctx, q.Method, path, headers, body, time.Duration(q.ReadFor*float64(time.Second)))
}

var template = regexp.MustCompile(`(?s)\{\{(.*?)\}\}`)

func (c *Client) expand(ctx context.Context, s string) (string, error) {
	var failed error
	out := template.ReplaceAllStringFunc(s, func(m string) string {
		v, err := c.template(ctx, m[2:len(m)-2])
		if err != nil {
			failed = fmt.Errorf("%s: %w", m, err)
		}
		return v
	})
	return out, failed
}

func (c *Client) template(ctx context.Context, s string) (string, error) {
	words := strings.Split(s, " ")
	switch words[0] {
	case "basic":
		return base64.StdEncoding.EncodeToString([]byte(strings.TrimPrefix(s, "basic "))), nil
	case "port":
		_, port, err := net.SplitHostPort(c.Addr)
		return port, err
	case "saved":
		if v, ok := c.saved[words[1]]; ok {
			return v, nil
		}
		return "nothing-saved", nil
	case "rev":
		d, err := c.document(ctx, words[1], words[2])
		if d.Rev == "" {
			return "none", err
		}
		return d.Rev, err
	case "cookie":
		return c.cookie(ctx, words[1:])
	}
	return "", errors.New("unknown template")
}

type document struct {
	Rev  string `json:"_rev"`
	Salt string `json:"salt"`
}

// document reads a document as the admin; the zero document when there is none.
func (c *Client) document(ctx context.Context, db, id string) (document, error) {
	for _, kind := range []string{"_design", "_local"} {
		if rest, ok := strings.CutPrefix(id, kind+"/"); ok {
			id = kind + "/" + escape(rest)
			return c.documentAt(ctx, "/"+db+"/"+id)
		}
	}
	return c.documentAt(ctx, "/"+db+"/"+escape(id))
}

func (c *Client) documentAt(ctx context.Context, path string) (document, error) {
	basic := base64.StdEncoding.EncodeToString([]byte(c.User + ":" + c.Password))
	r, err := c.raw(ctx, "GET", path, []header{{"Authorization", "Basic " + basic}}, nil, 0)
	if err != nil || r.status != http.StatusOK {
		return document{}, err
	}
	var d document
	return d, json.Unmarshal(r.body, &d)
}

// escape percent-encodes all bytes but the unreserved ones of RFC 3986.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~", s[i]) >= 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

func (c *Client) cookie(ctx context.Context, words []string) (string, error) {
	o := map[string]string{"age": "0", "alg": "sha256"}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		o[k] = v
	}
	d, err := c.document(ctx, "_users", "org.couchdb.user:"+o["user"])
	if err != nil {
		return "", err
	}
	age, err := strconv.ParseInt(o["age"], 10, 64)
	if err != nil {
		return "", err
	}
	algorithm := map[string]func() hash.Hash{"sha256": sha256.New, "sha1": sha1.New}[o["alg"]]
	if algorithm == nil {
		return "", fmt.Errorf("unknown algorithm %q", o["alg"])
	}
	at := c.Now().Unix() - age
	code := hmac.New(algorithm, append(append([]byte{}, c.Secret...), d.Salt...))
	fmt.Fprintf(code, "%s:%X", o["user"], at)
	mac := code.Sum(nil)
	switch o["mac"] {
	case "flip":
		mac[len(mac)-1] ^= 1
	case "empty":
		mac = nil
	}
	told := fmt.Sprintf("%X", at)
	if later, ok := strings.CutPrefix(o["time"], "+"); ok {
		n, err := strconv.ParseInt(later, 10, 64)
		if err != nil {
			return "", err
		}
		told = fmt.Sprintf("%X", at+n)
	} else if o["time"] != "" {
		told = o["time"]
	}
	name := o["user"]
	if o["claim"] != "" {
		name = o["claim"]
	}
	return base64.RawURLEncoding.EncodeToString(append([]byte(name+":"+told+":"), mac...)), nil
}

// save keeps the parts of an answer that later steps ask for. A part that is not there is not saved: the steps that need it will say so.
func (c *Client) save(wanted map[string]string, r reply) {
	for name, where := range wanted {
		if h, ok := strings.CutPrefix(where, "header "); ok {
			c.keep(name, latin1(r.header.Get(h)))
			continue
		}
		v, ok := parseJSON(bytes.TrimSpace(r.body))
		for key := range strings.SplitSeq(where, ".") {
			if !ok {
				break
			}
			v, ok = member(v, key)
		}
		if !ok {
			continue
		}
		if s, isText := v.(string); isText {
			c.keep(name, s)
		} else if b, err := json.Marshal(v); err == nil {
			c.keep(name, string(b))
		}
	}
}

func (c *Client) keep(name, value string) {
	if c.saved == nil {
		c.saved = make(map[string]string)
	}
	c.saved[name] = value
}

func member(v any, key string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		m, ok := v[key]
		return m, ok
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}
