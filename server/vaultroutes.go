package server

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

var (
	errNoVault   = &Error{Status: 404, Kind: "not_found", Reason: "This database is no vault: it has no owner."}
	errNotShared = &Error{Status: 404, Kind: "not_shared", Reason: "This vault is not shared with that user."}
	errNotKept   = &Error{Status: 404, Kind: "not_found", Reason: "No deleted vault of this name is kept."}
	errBadAction = badRequest(`The request is {"action":"undelete"}, perhaps with "as", another name for what comes back.`)
)

// getVault tells whose a database is, with whom it is shared, how much it holds, and of the copy that is kept of a deleted one of its name.
func (s *Server) getVault(r *request) error {
	if r.sec.vault == nil {
		return errNoVault
	}
	info, err := r.db.Info()
	if err != nil {
		return err
	}
	body := appendVault([]byte{'{'}, info, r.sec.vault, true)
	kept, err := s.keptVault(r.set, r.db.Name())
	if err != nil {
		return err
	}
	if kept.vault != nil && !kept.Hollow && (r.who.Admin() || kept.vault.ownedBy(&r.who)) {
		body = append(appendCopy(append(body, `,"deleted_copy":{`...), &kept, r.set.expiry(&kept.Trashed)), '}')
	}
	return r.send(http.StatusOK, append(body, '}'))
}

// appendVault writes the members that describe a vault. With whom it is shared is for its owner to know.
func appendVault(dst []byte, info store.Info, v *vault, shares bool) []byte {
	dst = appendString(append(dst, `"name":`...), info.Name)
	dst = appendText(append(dst, `,"owner":`...), v.Owner)
	if shares {
		dst = append(dst, `,"shares":`...)
		if raw, err := json.Marshal(v.Shares, json.Deterministic(true)); err == nil {
			dst = append(dst, raw...)
		}
	}
	dst = strconv.AppendUint(append(dst, `,"bytes":`...), info.ActiveBytes, 10)
	dst = strconv.AppendUint(append(dst, `,"documents":`...), info.DocCount, 10)
	return appendTime(append(dst, `,"created":`...), info.Created)
}

// appendCopy writes the members that describe a kept copy.
func appendCopy(dst []byte, k *keptVault, expires time.Time) []byte {
	dst = appendString(append(dst, `"name":`...), k.Name)
	dst = appendText(append(dst, `,"owner":`...), k.vault.Owner)
	dst = strconv.AppendUint(append(dst, `,"bytes":`...), k.Bytes, 10)
	dst = strconv.AppendUint(append(dst, `,"documents":`...), k.DocCount, 10)
	dst = appendTime(append(dst, `,"deleted":`...), k.Discarded)
	return appendTime(append(dst, `,"expires":`...), expires)
}

// sentVault is the body of PUT /{db}/_vault. What is absent stays as it is.
type sentVault struct {
	Owner  *string            `json:"owner"`
	Shares *map[string]access `json:"shares"`
}

// putVault changes with whom a vault is shared. Only a server admin gives it another owner, which also makes a vault of a database that was none.
func (s *Server) putVault(r *request) error {
	object, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	var sent sentVault
	if err := json.Unmarshal(object, &sent, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true)); err != nil {
		return badRequest(`The body is {"owner":NAME,"shares":{NAME:"read" or "write"}}; either may be left out.`)
	}
	change := func(before *vault) (*vault, error) { return s.changedVault(r, before, &sent) }
	if err := s.changeVault(r, change); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}

// putShare shares a vault with one user more, or otherwise than before, whatever happens to its other shares at the same time.
func (s *Server) putShare(r *request) error {
	object, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	var given struct {
		Access access `json:"access"`
	}
	if err := json.Unmarshal(object, &given, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true)); err != nil || given.Access == "" {
		return badRequest(`The body is {"access":"read" or "write"}.`)
	}
	user := r.args[0]
	if err := s.changeVault(r, func(before *vault) (*vault, error) { return before.withShare(user, given.Access) }); err != nil {
		return err
	}
	if !r.who.Admin() {
		return r.ok(http.StatusOK)
	}
	// Who exists is for server admins to know. A name that nobody has may be a slip, or that of somebody who comes by a provider later.
	_, err = s.users.User(r.Context(), user)
	if err != nil && !errors.Is(err, auth.ErrUnknownUser) {
		return err
	}
	return r.send(http.StatusOK, append(strconv.AppendBool([]byte(`{"ok":true,"user_exists":`), err == nil), '}'))
}

// deleteShare ends that a vault is shared with a user.
func (s *Server) deleteShare(r *request) error {
	if err := s.changeVault(r, func(before *vault) (*vault, error) { return before.withShare(r.args[0], "") }); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}

// changeVault stores what change makes of the vault of a request, one change after the other. It is given nil for a database that is none yet.
func (s *Server) changeVault(r *request, change func(before *vault) (*vault, error)) error {
	s.vaults.change.Lock()
	defer s.vaults.change.Unlock()
	sec, err := s.security.of(r.db)
	if err != nil {
		return err
	}
	if !r.who.Admin() && !sec.vault.ownedBy(&r.who) {
		return unauthorized(notServerAdmin) // it was given to somebody else meanwhile
	}
	after, err := change(sec.vault)
	if err != nil {
		return err
	}
	if err := s.storeVault(r, sec, after); err != nil {
		return err
	}
	s.audit(r, "vault changed", "database", r.db.Name(), "owner", after.Owner, "shares", len(after.Shares))
	return nil
}

// changedVault is what a vault is to be, from what it is and what was sent. before is nil for a database that is none yet.
func (s *Server) changedVault(r *request, before *vault, sent *sentVault) (*vault, error) {
	if before == nil && sent.Owner == nil || isSystemDatabase(r.db.Name()) {
		return nil, errNoVault
	}
	after := new(vault)
	if before != nil {
		*after = *before
	}
	if sent.Owner != nil && *sent.Owner != after.Owner {
		if !r.who.Admin() {
			return nil, forbidden("Only a server admin gives a vault another owner.")
		}
		if err := s.mustExist(r, *sent.Owner); err != nil {
			return nil, err
		}
		after.Shares = after.without(*sent.Owner).Shares
		after.Owner = *sent.Owner
	}
	if sent.Shares != nil {
		shares, err := parseShares(*sent.Shares, after.Owner)
		if err != nil {
			return nil, err
		}
		after.Shares = shares
	}
	return after, nil
}

// storeVault puts a change of r's vault into force. A former owner loses what _security says of him, and a new one is in it.
func (s *Server) storeVault(r *request, sec *securityObject, after *vault) error {
	security := sec.raw
	var err error
	if sec.vault != nil && sec.vault.Owner != after.Owner {
		security, err = withName(security, sec.vault.Owner, false)
	}
	if err == nil && (sec.vault == nil || sec.vault.Owner != after.Owner) {
		security, err = withName(security, after.Owner, true)
		if err == nil {
			err = r.db.SetSecurity(r.Context(), security)
		}
	}
	if err != nil {
		return err
	}
	properties, err := after.properties()
	if err != nil {
		return err
	}
	if err := r.db.SetProperties(r.Context(), properties); err != nil {
		return err
	}
	if sec.vault != nil && sec.vault.Owner != after.Owner {
		s.vaults.leave(r.db.Name(), sec.vault.Owner)
	}
	s.vaults.enter(r.db.Name(), after)
	s.revocations.Recheck(auth.Match{Database: r.db.Name()})
	return nil
}

// getVaults lists the vaults that the caller owns or shares, or those of ?user= for a server admin, or all; with ?deleted=true the copies that are kept.
func (s *Server) getVaults(r *request) error {
	user, limit, err := r.asked()
	if err != nil {
		return err
	}
	if r.isTrue("deleted") {
		return s.getKept(r, user, limit)
	}
	names := s.vaults.of(user)
	if user == "" {
		names = s.vaults.all()
	}
	at, found := slices.BinarySearch(names, r.param("after"))
	if found {
		at++
	}
	p := vaultPage{limit: limit, body: []byte(`{"vaults":[`)}
	for _, name := range names[at:] {
		db, sec, err := s.vaultNamed(name)
		if err != nil {
			return err
		}
		if db == nil || user != "" && !sec.vault.concerns(user) {
			continue
		}
		info, err := db.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		if !p.begin(name) {
			break
		}
		mine := r.who.Admin() || sec.vault.ownedBy(&r.who)
		p.body = appendVault(p.body, info, sec.vault, mine)
		if user != "" {
			given := sec.vault.shared(user)
			if sec.vault.Owner == user {
				given = accessOwner
			}
			p.body = appendString(append(p.body, `,"access":`...), string(given))
		}
		p.body = append(p.body, '}')
	}
	return p.send(r)
}

// vaultPage is a page of a list of vaults in the making.
type vaultPage struct {
	limit, count int
	body         []byte
	last, next   string
}

// begin begins the entry of a name, unless the page is full.
func (p *vaultPage) begin(name string) bool {
	if p.count == p.limit {
		p.next = p.last
		return false
	}
	p.count++
	p.last = name
	p.body = append(appendComma(p.body), '{')
	return true
}

func (p *vaultPage) send(r *request) error {
	return r.send(http.StatusOK, append(appendText(append(p.body, `],"next":`...), p.next), '}'))
}

// getKept lists kept copies: of all owners for the user "".
func (s *Server) getKept(r *request, user string, limit int) error {
	p := vaultPage{limit: limit, body: []byte(`{"vaults":[`)}
	now := s.now()
	for k, err := range s.kept(r.param("after")) {
		if err != nil {
			return err
		}
		expires := r.set.expiry(&k.Trashed)
		if k.Properties == nil || k.Hollow || user != "" && k.vault.Owner != user || !now.Before(expires) {
			continue
		}
		if !p.begin(k.Name) {
			break
		}
		p.body = append(appendCopy(p.body, &k, expires), '}')
	}
	return p.send(r)
}

// keptCopy returns the copy that a path names. What is another's is for the caller as if it were not there.
func (s *Server) keptCopy(r *request) (keptVault, error) {
	kept, err := s.keptVault(r.set, r.args[0])
	if err == nil && (kept.vault == nil || !r.who.Admin() && !kept.vault.ownedBy(&r.who)) {
		err = errNotKept
	}
	return kept, err
}

// postVault undeletes a vault. Under another name than its own it must be one that its owner may have.
func (s *Server) postVault(r *request) error {
	object, release, err := s.posted(r)
	if err != nil {
		return err
	}
	defer release()
	var sent struct {
		Action string `json:"action"`
		As     string `json:"as"`
	}
	if err := json.Unmarshal(object, &sent, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true)); err != nil || sent.Action != "undelete" {
		return errBadAction
	}
	s.vaults.change.Lock()
	defer s.vaults.change.Unlock()
	kept, err := s.keptCopy(r)
	if err != nil {
		return err
	}
	if sent.As == "" {
		sent.As = kept.Name
	}
	if err := checkDatabaseName(sent.As); err != nil {
		return err
	}
	if isSystemDatabase(sent.As) {
		return badRequest("A vault is no system database.")
	}
	if !r.who.Admin() {
		may, err := s.mayMake(r, sent.As)
		if err == nil && !may {
			err = forbidden("You may not make a database of the name " + sent.As + ".")
		}
		if err == nil {
			err = s.anotherVault(r, sent.As, r.who.Name)
		}
		if err != nil {
			return err
		}
	}
	if err := s.undelete(r, kept, sent.As); err != nil {
		return err
	}
	s.audit(r, "vault undeleted", "database", sent.As, "from", kept.Name, "owner", kept.vault.Owner)
	body := appendString([]byte(`{"ok":true,"name":`), sent.As)
	return r.send(http.StatusCreated, append(body, '}'))
}

// deleteVault removes the kept copy of a deleted vault for good.
func (s *Server) deleteVault(r *request) error {
	s.vaults.change.Lock()
	defer s.vaults.change.Unlock()
	kept, err := s.keptCopy(r)
	if err != nil {
		return err
	}
	if err := s.store.Expunge(r.Context(), kept.Name); err != nil {
		return err
	}
	s.audit(r, "vault removed for good", "database", kept.Name, "owner", kept.vault.Owner)
	return r.ok(http.StatusOK)
}
