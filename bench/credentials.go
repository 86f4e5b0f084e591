package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// issuerUser is the subject of the issuer's tokens, as long as Keycloak's.
const issuerUser = "f3c1b7de-0d54-4d6a-9d3a-5b8f0f6f2c11"

// remembered are the credentials besides those of workloads, each sent again and again.
func (c *client) remembered(ctx context.Context, k *keys) ([]workload, error) {
	var l []workload
	for _, alg := range []string{"ES256", "RS256"} {
		bearer, err := k.issuer.mint(alg, issuerUser, "again")
		if err != nil {
			return nil, err
		}
		l = append(l, session(alg+" token of an issuer", "Authorization: "+bearer))
	}
	var answer bytes.Buffer
	if _, err := c.send(ctx, http.MethodPost, "/_tokens", userBasic, `{"label":"bench"}`, &answer); err != nil {
		return nil, err
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(answer.Bytes(), &made); err != nil {
		return nil, err
	}
	return append(l,
		session("access token", "Authorization: Bearer "+made.Token),
		session("Basic, an app password", "Authorization: "+basic("bench", made.Token))), nil
}

// stateless measures CouchDB's own cookie, which no session is kept for. It takes a setting, which is taken back.
func (b *bench) stateless(ctx context.Context) error {
	const setting = "/_node/_local/_config/parlor_session/store"
	if _, err := b.c.send(ctx, http.MethodPut, setting, adminBasic, `"cookie"`, io.Discard); err != nil {
		return err
	}
	cookie, err := b.c.signIn(ctx)
	if err != nil {
		return err
	}
	if err := b.compare(ctx, session("cookie, CouchDB's stateless", "Cookie: "+cookie)); err != nil {
		return err
	}
	_, err = b.c.send(ctx, http.MethodDelete, setting, adminBasic, "", io.Discard)
	return err
}

// firstTokens is how many tokens of a kind are used for the first time.
const firstTokens = 4000

// firstUse asks for the session with a token that the server has not seen, each time, and then with one of them again and again. There is no target for it: what
// is measured is one verification.
func (b *bench) firstUse(ctx context.Context) error {
	for _, kind := range []struct {
		name string
		mint func(id string) (string, error)
	}{
		{"ES256 of [jwt_keys]", func(id string) (string, error) { return b.keys.mint(id), nil }},
		{"ES256 of an issuer", func(id string) (string, error) { return b.keys.issuer.mint("ES256", issuerUser, id) }},
		{"RS256 of an issuer", func(id string) (string, error) { return b.keys.issuer.mint("RS256", issuerUser, id) }},
	} {
		tokens := make([]string, firstTokens)
		if _, err := spread(len(tokens), func(i int) (err error) {
			tokens[i], err = kind.mint(strconv.Itoa(i))
			return err
		}); err != nil {
			return err
		}
		for _, turn := range []struct {
			name string
			pick func(i int) string
		}{
			{"first use", func(i int) string { return tokens[i] }},
			{"again", func(int) string { return tokens[0] }},
		} {
			r, err := b.beside(len(tokens), func(c *client, i int) error {
				_, err := c.send(ctx, http.MethodGet, "/_session", turn.pick(i), "", io.Discard)
				return err
			})
			if err != nil {
				return err
			}
			l := session(kind.name+", "+turn.name+" (Go client)", "Authorization: "+tokens[0])
			l.target = 0
			b.t.compare(l, r)
		}
	}
	return nil
}

// beside has a Go client send n requests to the bare server and then to Parlor.
func (b *bench) beside(n int, ask func(c *client, i int) error) (rates, error) {
	bare := newClient(b.bare)
	baseline, err := spread(n, func(i int) error { return ask(bare, i) })
	if err != nil {
		return rates{}, err
	}
	before, err := b.srv.Processor()
	if err != nil {
		return rates{}, err
	}
	rate, err := spread(n, func(i int) error { return ask(b.c, i) })
	if err != nil {
		return rates{}, err
	}
	after, err := b.srv.Processor()
	return rates{[]float64{rate}, []float64{baseline}, []float64{microseconds(after-before) / float64(n)}}, err
}

// signsIn fails when a workload's credential is not what it is said to be: who is nobody has an answer too.
func (c *client) signsIn(ctx context.Context, l workload) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/_session", http.NoBody)
	if err != nil {
		return err
	}
	name, value, _ := strings.Cut(l.headers[0], ": ")
	r.Header.Set(name, value)
	res, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && bytes.Contains(answer, []byte(`"name":null`)) != l.nobody {
		err = fmt.Errorf("%s: %s", l.name, answer)
	}
	return err
}

// signIn makes a session of the user bench and returns its cookie, as it stands in a request.
func (c *client) signIn(ctx context.Context) (string, error) {
	return c.newSession(ctx, "", `{"name":"bench","password":"`+userPassword+`"}`)
}

func (c *client) newSession(ctx context.Context, auth, body string) (string, error) {
	h, err := c.send(ctx, http.MethodPost, "/_session", auth, body, io.Discard)
	if err != nil {
		return "", err
	}
	cookie, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	if cookie == "" {
		return "", fmt.Errorf("POST /_session set no cookie")
	}
	return cookie, nil
}
