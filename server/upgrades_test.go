package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
)

// blockedUpgrades runs what is added only as far as step says; ran has the users in order. It is for one synctest bubble.
type blockedUpgrades struct {
	upgrades
	step        chan struct{}
	ran         []string
	atOnce, top int
}

func newBlockedUpgrades() *blockedUpgrades {
	b := &blockedUpgrades{step: make(chan struct{})}
	b.run = func(up upgrade) {
		b.atOnce++ // the race detector knows whether two do this
		b.top = max(b.top, b.atOnce)
		<-b.step
		b.ran = append(b.ran, up.user.Name)
		b.atOnce--
	}
	return b
}

func (b *blockedUpgrades) addUsers(first, after int) {
	for i := first; i < after; i++ {
		b.add(upgrade{&auth.User{Name: fmt.Sprint("u", i)}, "apple"})
		synctest.Wait()
	}
}

func TestUpgradesRunOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBlockedUpgrades()
		b.addUsers(0, 150)
		b.addUsers(0, 3) // have one already
		if b.top != 1 || len(b.queue) != 1+maxUpgrades {
			t.Errorf("%d run at once, %d are kept", b.top, len(b.queue))
		}
		held := b.queue[:cap(b.queue)]
		for range 1 + maxUpgrades {
			b.step <- struct{}{}
		}
		synctest.Wait()
		if b.top != 1 || len(b.ran) != 1+maxUpgrades || b.ran[0] != "u0" || b.ran[100] != "u100" || slices.ContainsFunc(held, func(up upgrade) bool { return up.password != "" }) {
			t.Errorf("%d at once; ran %q; still held %v", b.top, b.ran, held)
		}
		b.addUsers(149, 150) // was dropped
		b.addUsers(0, 1)     // is done, and comes again
		b.step <- struct{}{}
		b.step <- struct{}{}
		b.close()
		if last := b.ran[1+maxUpgrades:]; !slices.Equal(last, []string{"u149", "u0"}) {
			t.Errorf("ran %q later", last)
		}
	})
}

// TestUpgradesClose: a stop waits for one hash, not for all.
func TestUpgradesClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBlockedUpgrades()
		b.addUsers(0, 10)
		closed := make(chan struct{})
		for range 2 { // the server closes it, and so does who made it
			go func() {
				b.close()
				closed <- struct{}{}
			}()
		}
		synctest.Wait()
		b.addUsers(10, 11)
		select {
		case <-closed:
			t.Error("closed while one is under way")
		case b.step <- struct{}{}:
		}
		<-closed
		<-closed
		if !slices.Equal(b.ran, []string{"u0"}) || len(b.queue) != 0 {
			t.Errorf("ran %q, %d left", b.ran, len(b.queue))
		}
	})
}

// TestUpgradeKeepsTheRest: a user's document gets another hash of the same salt, and nothing else changes.
func TestUpgradeKeepsTheRest(t *testing.T) {
	t.Parallel()
	ts := newTestServer(t)
	ts.do("PUT", "/_users", "")
	ts.do("PUT", "/_users/org.couchdb.user:tess", `{"name":"tess","type":"user","roles":["dev"],"password":"apple","totp":{"key":"GEZDGNBVGY3TQOJQ"},"more":[1]}`)
	before, err := ts.s.users.User(t.Context(), "tess")
	if err != nil {
		t.Fatal(err)
	}
	live, err := config.Open(config.Options{Overrides: "[chttpd_auth]\niterations = 2"})
	if err != nil {
		t.Fatal(err)
	}
	ts.s.users.Configure(live.Snapshot())
	ts.s.users.Upgrade(t.Context(), before, "apple")
	ts.s.users.Close()
	after, err := ts.s.users.User(t.Context(), "tess")
	if err != nil || after.Password.Iterations != 2 || after.Password.Salt != before.Password.Salt || ts.s.users.rules.Load().policy.Verify(after.Password, "apple") != nil {
		t.Errorf("%+v became %+v, %v", before, after, err)
	}
	db, err := ts.store.DB("_users")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := db.Doc("org.couchdb.user:tess")
	if err != nil || !strings.HasSuffix(string(doc.Body), `"name":"tess","type":"user","roles":["dev"],"totp":{"key":"GEZDGNBVGY3TQOJQ"},"more":[1]}`) {
		t.Errorf("%s, %v", doc.Body, err)
	}
}
