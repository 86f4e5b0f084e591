package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	adminPassword = "the admin's secret"
	userPassword  = "the user's secret"
	perBatch      = 1000 // documents of one _bulk_docs
	perDocument   = 300  // bytes
)

var (
	adminBasic = basic("admin", adminPassword)
	userBasic  = basic("bench", userPassword)
)

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// client measures what wrk cannot.
type client struct {
	url    string
	http   *http.Client
	cookie string // of the user bench
}

func newClient(url string) *client {
	return &client{url: url, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}}
}

// send sends a request, reads the answer into drain, and fails when its status is not 2xx.
func (c *client) send(ctx context.Context, method, path, auth, body string, drain io.Writer) (http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return nil, fmt.Errorf("%s %s: %s %s", method, path, res.Status, b)
	}
	_, err = io.Copy(drain, res.Body)
	return res.Header, err
}

// prepare makes the user, the database and the document that are asked for, and signs the user in.
func (c *client) prepare(ctx context.Context, k *keys) error {
	for _, q := range []struct{ method, path, auth, body string }{
		{"PUT", "/_users/org.couchdb.user:bench", adminBasic, `{"name":"bench","password":"` + userPassword + `","roles":[],"type":"user"}`},
		{"PUT", "/bench", adminBasic, ""},
		{"PUT", "/bench/_security", adminBasic, `{"members":{"names":["bench"]}}`},
		{"PUT", "/bench/one", k.bearer, `{"type":"note","text":"` + strings.Repeat("x", 100) + `"}`},
		{"PUT", "/bulk", adminBasic, ""},
	} {
		if _, err := c.send(ctx, q.method, q.path, q.auth, q.body, io.Discard); err != nil {
			return err
		}
	}
	var err error
	c.cookie, err = c.signIn(ctx)
	return err
}

// bulk writes documents in batches, one after another.
func (c *client) bulk(ctx context.Context, o options, t *table) error {
	pad := strings.Repeat("x", perDocument)
	batches := make([]string, o.documents/perBatch)
	for i := range batches {
		var b strings.Builder
		b.WriteString(`{"docs":[`)
		for j := range perBatch {
			if j > 0 {
				b.WriteByte(',')
			}
			head := fmt.Sprintf(`{"_id":"%08d","n":%d,"text":"`, i*perBatch+j, j)
			b.WriteString(head + pad[:perDocument-len(head)-2] + `"}`)
		}
		b.WriteString(`]}`)
		batches[i] = b.String()
	}
	start := time.Now()
	for _, b := range batches {
		if _, err := c.send(ctx, "POST", "/bulk/_bulk_docs", adminBasic, b, io.Discard); err != nil {
			return err
		}
	}
	t.figure("_bulk_docs, 1,000 × 300 bytes, one client", float64(len(batches)*perBatch)/time.Since(start).Seconds(), "documents/s", 60_000, false)
	return nil
}

// lines counts what passes.
type lines int

func (n *lines) Write(b []byte) (int, error) {
	*n += lines(bytes.Count(b, []byte{'\n'}))
	return len(b), nil
}

// changes reads the feed of the documents that bulk wrote, from the start.
func (c *client) changes(ctx context.Context, o options, t *table) error {
	var runs []float64
	for range o.rounds {
		var n lines
		start := time.Now()
		if _, err := c.send(ctx, "GET", "/bulk/_changes", adminBasic, "", &n); err != nil {
			return err
		}
		rows := o.documents / perBatch * perBatch
		if int(n) < rows {
			return fmt.Errorf("_changes has %d lines for %d documents", n, rows)
		}
		runs = append(runs, float64(rows)/time.Since(start).Seconds())
	}
	t.figure(fmt.Sprintf("_changes from 0 over %d documents", o.documents), median(runs), "rows/s", 250_000, false)
	return nil
}

// create makes databases over all connections at once.
func (c *client) create(ctx context.Context, o options, t *table) error {
	rate, err := spread(o.databases, func(i int) error {
		_, err := c.send(ctx, "PUT", fmt.Sprintf("/made-%d", i), adminBasic, "", io.Discard)
		return err
	})
	t.figure("creating databases", rate, "databases/s", 2000, false)
	return err
}

// spread calls do n times over all connections and returns calls per second.
func spread(n int, do func(i int) error) (float64, error) {
	var next atomic.Int64
	var workers sync.WaitGroup
	errs := make([]error, connections)
	start := time.Now()
	for w := range connections {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if errs[w] = do(i); errs[w] != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(start)
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return 0, errs[i]
	}
	return float64(n) / elapsed.Seconds(), nil
}
