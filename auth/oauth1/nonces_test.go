package oauth1_test

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/oauth1"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	nonces := func(clock *authtest.Clock) *oauth1.Nonces {
		return oauth1.NewNonces(oauth1.NonceOptions{Now: clock.Now})
	}
	v, c, clock := started(t, nil)
	r := c.request("/", nil)
	if _, err := v.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, time.Second, 298 * time.Second, 2 * time.Second, time.Hour} {
		clock.Advance(wait)
		id, err := v.Authenticate(r)
		refused(t, "replayed after "+wait.String(), id, err, 401, "unauthorized")
	}
	if _, err := v.Authenticate(c.request("/", nil)); err != nil { // what is old is forgotten at this
		t.Fatal(err)
	}
	clock.Advance(-time.Hour - 301*time.Second)
	id, err := v.Authenticate(r)
	refused(t, "replayed when the clock was set back", id, err, 401, "unauthorized")
	clock.Advance(time.Hour)

	// A verifier made anew knows what was used when it is given the same Nonces, and refuses all that is older when not.
	kept := nonces(clock)
	clock.Advance(time.Second)
	before, c, _ := started(t, func(o *oauth1.Options) { o.Nonces, o.Now = kept, clock.Now })
	c.now = clock.Now
	after, _, _ := started(t, func(o *oauth1.Options) { o.Nonces, o.Now = kept, clock.Now })
	r = c.request("/", nil)
	if _, err := before.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	id, err = after.Authenticate(r)
	refused(t, "replayed after new settings", id, err, 401, "unauthorized")
	restarted, _, _ := started(t, func(o *oauth1.Options) { o.Nonces, o.Now = nonces(clock), clock.Now })
	id, err = restarted.Authenticate(r)
	refused(t, "replayed after a restart", id, err, 401, "unauthorized")

	// Another token's request with the same nonce is another request; a badly signed one uses nothing up.
	same := func(p url.Values) { p.Set("oauth_nonce", "same") }
	bad := c.request("/", same)
	flip(bad, "oauth_signature=\"")
	id, err = before.Authenticate(bad)
	refused(t, "bad signature", id, err, 401, "unauthorized")
	if _, err := before.Authenticate(c.request("/", same)); err != nil {
		t.Errorf("its nonce was used up: %v", err)
	}
	c.token, c.tokenSecret = "token3", "third"
	if _, err := before.Authenticate(c.request("/", same)); err != nil {
		t.Errorf("another token's nonce: %v", err)
	}
}

func TestReplayAtOnce(t *testing.T) {
	t.Parallel()
	v, c, _ := started(t, nil)
	r := c.request("/", nil)
	var taken atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := v.Authenticate(r.Clone(context.Background())); err == nil {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 1 {
		t.Errorf("one request was taken %d times", n)
	}
}

func TestNonceMemoryIsBounded(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	nonces := oauth1.NewNonces(oauth1.NonceOptions{Max: 6, Window: 10 * time.Second, Now: clock.Now})
	clock.Advance(time.Second)
	v, c, _ := started(t, func(o *oauth1.Options) {
		o.Nonces = nonces
		o.Credentials = fixed{User: "anna", ConsumerSecret: "sekr1t", TokenSecret: "tokensekr1t"}
	})
	c.now = clock.Now
	first := c.request("/", nil)
	take := func(consumer string, want bool) {
		t.Helper()
		c.consumer = consumer
		id, err := v.Authenticate(c.request("/", nil))
		if want && err != nil {
			t.Error(err)
		} else if !want {
			refused(t, "full", id, err, 503, "")
		}
	}
	if _, err := v.Authenticate(first); err != nil {
		t.Fatal(err)
	}
	take("consumer1", true)
	take("consumer1", true)
	take("consumer1", false) // its half
	for range 3 {
		take("consumer2", true)
	}
	take("consumer3", false)
	id, err := v.Authenticate(first)
	refused(t, "replay when full", id, err, 401, "unauthorized")
	clock.Advance(11 * time.Second)
	for range 3 {
		take("consumer1", true)
	}
	take("consumer1", false)
}
