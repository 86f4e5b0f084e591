package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/livesync"
)

// foundVault is what 'parlor livesync add' finds before it changes anything.
type foundVault struct {
	database   string
	userExists bool
	exists     bool
	unowned    bool         // it exists and is no vault yet: an administrator made it
	used       bool         // a device has it, or has written to it: it has a passphrase, which is not ours to make
	tokens     []credential // of the user
}

// lookForVault finds out what there is of the vault that a device is to enter, and whether its user may.
func (c *client) lookForVault(ctx context.Context, d *newDevice) (*foundVault, error) {
	pattern, err := c.setting(ctx, "parlor_vaults", "pattern")
	if err != nil {
		return nil, err
	}
	f := new(foundVault)
	if f.database, err = d.databaseUnder(pattern); err != nil {
		return nil, err
	}
	_, err = c.get(ctx, http.MethodGet, userPath(d.user), "")
	if f.userExists = err == nil; err != nil && !isStatus(err, http.StatusNotFound) {
		return nil, err
	}
	if f.userExists {
		if f.tokens, err = c.credentials(ctx, d.user); err != nil {
			return nil, err
		}
	}
	// Whoever else enters a vault has its passphrase from the owner. One with devices has one too, though it be empty: between the making of the
	// first device and its first sync nothing is written, and a device that rebuilds deletes all.
	f.used = d.owner != d.user || f.opensOne(f.tokens)
	var info struct {
		Docs    int64 `json:"doc_count"`
		Deleted int64 `json:"doc_del_count"`
	}
	err = c.ask(ctx, "/"+pathSegment(f.database), &info)
	if isStatus(err, http.StatusNotFound) {
		if d.owner != d.user {
			err = fmt.Errorf("%s has no vault %s", printable(d.owner), f.database)
			return nil, err
		}
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	f.exists = true
	f.used = f.used || info.Docs > 0 || info.Deleted > 0
	shares, err := c.lookForOwner(ctx, d, f)
	if err != nil {
		return nil, err
	}
	return f, c.lookForUse(ctx, f, shares)
}

// databaseUnder is the name of the vault's database under the pattern of the server. A pattern without a "*" gives each user one vault, which -vault
// need not name, and may by its database alone.
func (d *newDevice) databaseUnder(pattern string) (string, error) {
	if pattern == "" || pattern == "none" { // "none": only administrators make vaults
		pattern = "{user}-*"
	}
	database := strings.NewReplacer("{user}", livesync.VaultPrefix(d.owner), "*", d.vault).Replace(pattern)
	switch several := strings.Contains(pattern, "*"); {
	case several && d.vault == "":
		return "", errors.New("-vault is missing")
	case !several && d.vault != "" && d.vault != database:
		return "", fmt.Errorf("the server's [parlor_vaults] pattern, %s, gives each user one vault, and %s's is the database %s: leave -vault out",
			pattern, printable(d.owner), database)
	case strings.Contains(database, "/"):
		return "", fmt.Errorf("the server's [parlor_vaults] pattern, %s, makes the vault's database %s, and LiveSync takes what is before a \"/\" for a path: "+
			"choose a pattern without one", pattern, database)
	}
	return database, nil
}

// opensOne reports whether one of the credentials is for the vault alone, as a device's is.
func (f *foundVault) opensOne(list []credential) bool {
	return slices.ContainsFunc(list, func(t credential) bool { return slices.Contains(t.Databases, f.database) })
}

// lookForUse finds out whether a vault without documents is used all the same: a device has begun to encrypt, or one of somebody with whom it is shared is
// about to.
func (c *client) lookForUse(ctx context.Context, f *foundVault, shares map[string]string) error {
	if f.used {
		return nil
	}
	_, err := c.get(ctx, http.MethodGet, "/"+pathSegment(f.database)+"/_local/obsidian_livesync_sync_parameters", "")
	if !isStatus(err, http.StatusNotFound) {
		f.used = err == nil
		return err
	}
	for user := range shares {
		tokens, err := c.credentials(ctx, user)
		if err != nil {
			return err
		}
		if f.used = f.opensOne(tokens); f.used {
			return nil
		}
	}
	return nil
}

// lookForOwner finds out whether a database is the owner's, and shared with the user if that is another. It returns with whom it is shared.
func (c *client) lookForOwner(ctx context.Context, d *newDevice, f *foundVault) (shares map[string]string, err error) {
	var vault struct {
		Owner  string            `json:"owner"`
		Shares map[string]string `json:"shares"`
	}
	err = c.ask(ctx, "/"+pathSegment(f.database)+"/_vault", &vault)
	if isStatus(err, http.StatusNotFound) && d.owner == d.user {
		f.unowned = true
		return nil, nil
	}
	switch {
	case err != nil:
		return nil, err
	case vault.Owner == "":
		return nil, fmt.Errorf("the vault %s belongs to nobody, since its owner was removed; an administrator gives it to somebody by PUT /%[1]s/_vault", f.database)
	case vault.Owner != d.owner:
		return nil, fmt.Errorf("the vault %s belongs to %s", f.database, printable(vault.Owner))
	case d.owner != d.user && vault.Shares[d.user] != "write":
		return nil, fmt.Errorf("the vault %s is not shared with %s for writing, which LiveSync needs; 'parlor vault share' does that", f.database, printable(d.user))
	}
	return vault.Shares, nil
}

// ask gets JSON.
func (c *client) ask(ctx context.Context, path string, into any) error {
	answer, err := c.get(ctx, http.MethodGet, path, "")
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// pathSegment is a name as a segment of a path. CouchDB takes a "+" in one for a space.
func pathSegment(name string) string { return strings.ReplaceAll(url.PathEscape(name), "+", "%2B") }

// addPasswordless makes a user who can sign in by devices only, until 'parlor user passwd' gives a password.
func (c *client) addPasswordless(ctx context.Context, name string) error {
	doc, err := json.Marshal(struct {
		Name  string   `json:"name"`
		Type  string   `json:"type"`
		Roles []string `json:"roles"`
	}{name, "user", []string{}})
	if err != nil {
		return err
	}
	_, err = c.get(ctx, http.MethodPut, userPath(name), string(doc))
	return err
}

// addVault makes a vault, or gives a database that is none to an owner.
func (c *client) addVault(ctx context.Context, f *foundVault, owner string) error {
	if !f.exists {
		_, err := c.get(ctx, http.MethodPut, "/"+pathSegment(f.database)+"?"+url.Values{"owner": {owner}}.Encode(), "")
		return err
	}
	body, err := json.Marshal(struct {
		Owner string `json:"owner"`
	}{owner})
	if err != nil {
		return err
	}
	_, err = c.get(ctx, http.MethodPut, "/"+pathSegment(f.database)+"/_vault", string(body))
	return err
}

// credential is an access token or a device's key, as /_tokens lists it.
type credential struct {
	ID        string   `json:"id"`
	Label     string   `json:"label"`
	Databases []string `json:"databases"`
}

// credentials lists all that a user has.
func (c *client) credentials(ctx context.Context, user string) ([]credential, error) {
	var all []credential
	for after := ""; ; {
		query := url.Values{"user": {user}}
		if after != "" {
			query.Set("after", after)
		}
		var page struct {
			Tokens []credential `json:"tokens"`
			Next   string       `json:"next"` // null on the last page
		}
		if err := c.ask(ctx, "/_tokens?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Tokens...)
		if page.Next == "" || page.Next == after {
			return all, nil
		}
		after = page.Next
	}
}

// credentialRequest is what POST /_tokens is sent.
type credentialRequest struct {
	User      string   `json:"user"`
	Label     string   `json:"label"`
	Databases []string `json:"databases"`
	ExpiresIn int64    `json:"expires_in,omitzero"` // seconds
	Type      string   `json:"type"`
	Algorithm string   `json:"algorithm,omitzero"`
	PublicKey string   `json:"public_key,omitzero"`
}

// addCredential makes the device's credential and returns it with its id. Of a key pair the server learns the public half only.
func (c *client) addCredential(ctx context.Context, d *newDevice, f *foundVault) (livesync.Device, string, error) {
	ask := credentialRequest{
		User: d.user, Label: d.label, Databases: []string{f.database}, ExpiresIn: int64(d.lifetime / time.Second), Type: "password",
	}
	private := ""
	if d.algorithm != "" {
		ask.Type, ask.Algorithm = "key", d.algorithm
		made, public, err := livesync.GenerateKey(d.algorithm)
		if err != nil {
			return livesync.Device{}, "", err
		}
		if public != "" {
			private, ask.PublicKey = made, public
		}
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return livesync.Device{}, "", err
	}
	answer, err := c.get(ctx, http.MethodPost, "/_tokens", string(body))
	var made struct {
		ID      string `json:"id"`
		Token   string `json:"token"`
		Private string `json:"private_key"`
	}
	if err == nil {
		err = json.Unmarshal(answer, &made, jsontext.AllowDuplicateNames(true))
	}
	if private == "" {
		private = made.Private
	}
	device := livesync.Device{User: d.user, Password: made.Token}
	if d.algorithm != "" {
		device.Key, device.Password = &livesync.DeviceKey{ID: made.ID, Algorithm: d.algorithm, Private: private}, ""
	}
	var refused *answerError
	switch {
	case errors.As(err, &refused):
		return livesync.Device{}, "", err
	case err == nil && (made.ID == "" || d.algorithm == "" && made.Token == "" || d.algorithm != "" && private == ""):
		err = errors.New("the server's answer holds no credential")
	}
	if err != nil {
		return livesync.Device{}, "", errors.Join(err, c.revokeUnknown(ctx, d, f))
	}
	return device, made.ID, nil
}

// revokeTime bounds the revoking of what nobody has, which goes on when the command is interrupted.
const revokeTime = 15 * time.Second

// revoke ends a credential that was not handed out.
func (c *client) revoke(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
	defer cancel()
	if _, err := c.get(ctx, http.MethodDelete, "/_tokens/"+url.PathEscape(id), ""); err != nil && !isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("the credential %s was made, and nobody has it, but it could not be revoked; 'parlor token rm %s' does that: %w", id, id, err)
	}
	return nil
}

// revokeUnknown ends what was made, if anything was, by a request whose answer was lost.
func (c *client) revokeUnknown(ctx context.Context, d *newDevice, f *foundVault) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
	defer cancel()
	now, err := c.credentials(ctx, d.user)
	if err != nil {
		return fmt.Errorf("it is not known whether a credential of the device %s was made; 'parlor token list' shows it, and it is to be revoked: %w", printable(d.label), err)
	}
	var failed []error
	for _, t := range now {
		before := slices.ContainsFunc(f.tokens, func(old credential) bool { return old.ID == t.ID })
		if !before && t.Label == d.label && slices.Equal(t.Databases, []string{f.database}) {
			failed = append(failed, c.revoke(ctx, t.ID))
		}
	}
	return errors.Join(failed...)
}
