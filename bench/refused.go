package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
)

// attempts is how many sign-ins of each kind refused makes.
const attempts = 2000

// refused compares how long it takes to refuse a wrong password and an unknown name: who can tell them apart learns who has an account. Hashes are made
// cheaper for it, so that 4,000 of them fit into some seconds; the two kinds take turns.
func (c *client) refused(ctx context.Context, t *table) error {
	for _, q := range []struct{ path, body string }{
		{"/_node/_local/_config/chttpd_auth/iterations", `"10000"`},
		{"/_node/_local/_config/chttpd_auth_lockout/mode", `"off"`},
		{"/_users/org.couchdb.user:known", `{"name":"known","password":"` + userPassword + `","roles":[],"type":"user"}`},
	} {
		if _, err := c.send(ctx, "PUT", q.path, adminBasic, q.body, io.Discard); err != nil {
			return err
		}
	}
	var known, unknown []float64
	for i := range attempts {
		for name, times := range map[string]*[]float64{"known": &known, "unknown" + strconv.Itoa(i): &unknown} {
			took, err := c.refusal(ctx, basic(name, "wrong "+strconv.Itoa(i)))
			if err != nil {
				return err
			}
			*times = append(*times, float64(took.Microseconds()))
		}
	}
	a, b := median(known), median(unknown)
	t.figure(fmt.Sprintf("refusing a wrong password, median of %d", attempts), a, "µs", 0, false)
	t.figure("refusing an unknown name", b, "µs", 0, false)
	t.figure("the two differ by", 100*math.Abs(a-b)/min(a, b), "%", 5, true)
	return nil
}

// refusal makes one request that must be refused, and says how long that took.
func (c *client) refusal(ctx context.Context, auth string) (time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", c.url+"/_session", nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", auth)
	start := time.Now()
	res, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	if err == nil && res.StatusCode != http.StatusUnauthorized {
		err = fmt.Errorf("a wrong sign-in was answered with %s", res.Status)
	}
	return time.Since(start), err
}
