package livesync

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const ownerPassword = "an owner's secret"

// TestVaults runs the flows of the client for somebody who owns the vault, and for somebody with whom it is shared. Neither is an admin.
func TestVaults(t *testing.T) {
	t.Parallel()
	url := serve(t)
	admin := device{t, url, basic("admin", adminPassword)}
	admin.want(201, "PUT", "/_users/org.couchdb.user:owner", obj{"name": "owner", "password": ownerPassword, "roles": []string{}, "type": "user"})
	owner, member := basic("owner", ownerPassword), basic("member", memberPassword)
	for _, flow := range []struct {
		name, auth string
		run        func(*testing.T, string, device)
	}{
		{"wizard", owner, wizard},
		{"wizard-jwt", bearer("owner", time.Now().Add(5*time.Minute)), wizard},
		{"sync", owner, oneSync},
		{"sync-jwt", bearer("owner", time.Now().Add(5*time.Minute)), oneSync},
		{"stale-local", owner, staleLocal},
		{"live", owner, live},
		{"fast-fetch", owner, fastFetch},
		{"maintenance", owner, func(t *testing.T, db string, d device) { maintain(t, db, d, d) }},
		{"rebuild", owner, rebuildByOwner},
		{"clean-up", owner, legacyCleanUp},
		{"large", owner, large},
		{"shared-wizard", member, wizard},
		{"shared-sync", member, oneSync},
		{"shared-sync-jwt", bearer("member", time.Now().Add(5*time.Minute)), oneSync},
		{"shared-stale-local", member, staleLocal},
		{"shared-live", member, live},
		{"shared-fast-fetch", member, fastFetch},
		{"shared-maintenance", member, func(t *testing.T, db string, d device) { maintain(t, db, d, device{t, d.url, owner}) }},
		{"shared-large", member, large},
	} {
		t.Run(flow.name, func(t *testing.T) {
			t.Parallel()
			db := "/owner-" + flow.name
			d := device{t, url, owner}
			// "Create or connect", as the first device does it.
			d.want(404, "GET", db+"/", nil)
			d.want(201, "PUT", db+"/", nil)
			d.want(412, "PUT", db+"/", nil)
			if flow.auth == member || strings.HasPrefix(flow.name, "shared") {
				d.want(200, "PUT", db+"/_vault", obj{"shares": obj{"member": "write"}})
			} else if a := (device{t, url, member}).do("GET", db+"/", nil); a.status != http.StatusForbidden {
				t.Errorf("another user enters the vault: %d %s", a.status, a.body)
			}
			flow.run(t, db, device{t, url, flow.auth})
		})
	}
	t.Run("two-at-once", func(t *testing.T) {
		t.Parallel()
		twoAtOnce(t, device{t, url, owner})
	})
}

// rebuildByOwner is "Overwrite server data" without an admin's help. A device of somebody with whom the vault is shared comes back afterwards.
func rebuildByOwner(t *testing.T, db string, d device) {
	member := device{t, d.url, basic("member", memberPassword)}
	d.want(200, "PUT", db+"/_vault", obj{"shares": obj{"member": "write"}})
	before, err := d.salt(db)
	if err != nil {
		t.Fatal(err)
	}
	member.want(201, "PUT", db+"/old", obj{})
	security := d.want(200, "GET", db+"/_security", nil)
	// The salt is as safe from those who share the vault as from a slow device.
	rev := member.want(200, "GET", db+parameters, nil).text(t, "_rev")
	member.want(403, "DELETE", db+parameters+"?rev="+rev, nil)
	d.want(201, "PUT", db+milestone, obj{"locked": true, "accepted_nodes": []string{"me"}})
	if a := member.do("DELETE", db+"/", nil); a.status != 401 && a.status != 403 {
		t.Fatalf("a member deletes the vault: %d %s", a.status, a.body)
	}
	d.want(200, "DELETE", db+"/", nil)
	d.want(404, "GET", db+"/", nil)
	if a := member.do("PUT", db+"/", nil); a.status != 401 && a.status != 403 {
		t.Fatalf("a member makes the vault: %d %s", a.status, a.body)
	}
	d.want(201, "PUT", db+"/", nil)
	if after := d.want(200, "GET", db+"/_security", nil); string(after.body) != string(security.body) {
		t.Errorf("_security was %s, is %s", security.body, after.body)
	}
	for _, gone := range []string{parameters, milestone, "/old"} {
		d.want(404, "GET", db+gone, nil)
	}
	if seq := seqNumber(t, d.want(200, "GET", db+"/", nil).value(t, "update_seq")); seq != 0 {
		t.Errorf("the new vault begins at %d", seq)
	}
	after, err := d.salt(db)
	if err != nil || after == before {
		t.Errorf("the new salt is %q after %q, %v", after, before, err)
	}
	d.want(201, "PUT", db+milestone, obj{"locked": false})
	if got, err := member.salt(db); err != nil || got != after {
		t.Errorf("the member reads the salt %q, %v, want %q", got, err, after)
	}
	push(t, db, prepared(t, db, member))
	// What the rebuild has overwritten can be had back beside it.
	d.want(201, "POST", "/_vaults"+db, obj{"action": "undelete", "as": db[1:] + "-before"})
	member.want(200, "GET", db+"-before/old", nil)
	if got := d.want(200, "GET", db+"-before"+parameters, nil).text(t, "pbkdf2salt"); got != before {
		t.Errorf("the salt that comes back is %q, want %q", got, before)
	}
}

// prepared writes the document that push expects before its own.
func prepared(t *testing.T, db string, d device) device {
	t.Helper()
	d.want(201, "PUT", db+version, obj{"_id": version[1:], "version": 12, "type": "versioninfo"})
	return d
}

// legacyCleanUp is what a remote that is marked as cleaned gets: a design document, and a purge.
func legacyCleanUp(t *testing.T, db string, d device) {
	d.want(404, "GET", db+"/_design/chunks", nil)
	d.want(201, "PUT", db+"/_design/chunks", obj{"_id": "_design/chunks", "views": obj{"collectDangling": obj{"map": "function (doc) { emit(doc._id, 1) }", "reduce": "_sum"}}})
	rev := d.want(201, "PUT", db+"/h%3Aone", obj{"type": "leaf"}).text(t, "rev")
	d.want(201, "POST", db+"/_purge", obj{"h:one": []string{rev}})
	d.want(404, "GET", db+"/h%3Aone", nil)
}

// large: a vault takes chunks that are larger than max_document_size, as the checker is told.
func large(t *testing.T, db string, d device) {
	d.want(201, "PUT", db+"/h%3Alarge", obj{"type": "leaf", "data": strings.Repeat("x", 2*maxDocument)})
	if a := d.want(201, "POST", db+"/_bulk_docs", obj{"new_edits": false, "docs": []obj{
		{"_id": "h:larger", "_rev": "1-0123456789abcdef0123456789abcdef", "data": strings.Repeat("x", 3*maxDocument)}}}); strings.TrimSpace(string(a.body)) != "[]" {
		t.Errorf("_bulk_docs: %s", a.body)
	}
}

// twoAtOnce: two devices that start at the same moment, when there is not even a database, end with one salt; and so they do when the owner rebuilds.
func twoAtOnce(t *testing.T, d device) {
	for round := range 50 {
		db := fmt.Sprintf("/owner-race-%d", round)
		var salts [2]string
		var errs [2]error
		start := make(chan struct{})
		var devices sync.WaitGroup
		for i := range salts {
			devices.Go(func() {
				<-start
				for range 10 { // each is an attempt to sync, as the client makes them one after the other
					if salts[i], errs[i] = d.firstContact(db); !errors.Is(errs[i], errConflict) {
						return
					}
				}
			})
		}
		close(start)
		devices.Wait()
		got := d.want(200, "GET", db+parameters, nil)
		want := got.text(t, "pbkdf2salt")
		for i := range salts {
			if errs[i] != nil || salts[i] == "" || salts[i] != want {
				t.Errorf("round %d: device %d has the salt %q, the server %q, %v", round, i, salts[i], want, errs[i])
			}
		}
		if rev := got.text(t, "_rev"); rev != "0-2" {
			t.Errorf("round %d: the salt was written more than once: it is %s", round, rev)
		}
	}
}

// firstContact is salt where there may be no database yet. It may be called from any goroutine.
func (d device) firstContact(db string) (string, error) {
	a, err := try(d.request("GET", db+"/", nil))
	if err == nil && a.status == http.StatusNotFound {
		a, err = try(d.request("PUT", db+"/", nil))
		if err == nil && a.status != http.StatusCreated && a.status != http.StatusPreconditionFailed {
			err = fmt.Errorf("PUT %s: %d %s", db, a.status, a.body)
		}
	}
	if err != nil {
		return "", err
	}
	return d.salt(db)
}
