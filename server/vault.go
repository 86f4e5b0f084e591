package server

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/livesync"
)

// A vault is a database that has an owner, and perhaps people with whom the owner shares it. This is what the store keeps as the database's properties.
// One whose owner was deleted has the owner "", and is still a vault: what no longer belongs to anyone is not thereby open.
//
// The owner administers the database, and may delete it and make it again, without being a server admin. Of anonymous users none gets in, whatever
// _security says.
type vault struct {
	Owner  string            `json:"owner"`
	Shares map[string]access `json:"shares,omitempty"` // by user
}

// access is what a share gives beyond what _security does.
type access string

const (
	accessOwner access = "owner"
	accessWrite access = "write" // as a member
	accessRead  access = "read"  // to read, and to write checkpoints of replications
)

// parseVault reads the properties of a database; nil when there are none. What cannot be read is an error, so that it opens nothing.
func parseVault(properties []byte) (*vault, error) {
	if properties == nil {
		return nil, nil
	}
	v := new(vault)
	if err := json.Unmarshal(properties, v); err != nil {
		return nil, err
	}
	return v, nil
}

// properties is v as the store keeps it.
func (v *vault) properties() ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }

// ownedBy reports whether who is the owner. A nil vault, of a database that is none, is nobody's.
func (v *vault) ownedBy(who *auth.Identity) bool {
	return v != nil && v.Owner != "" && v.Owner == who.Name
}

// shared is what a share gives to a user, "" for nothing.
func (v *vault) shared(name string) access {
	if v == nil || name == "" {
		return ""
	}
	return v.Shares[name]
}

// concerns reports whether the vault belongs to a user or is shared with one.
func (v *vault) concerns(name string) bool {
	return v != nil && name != "" && (v.Owner == name || v.Shares[name] != "")
}

// without is the vault when a user has gone.
func (v *vault) without(name string) *vault {
	left := &vault{Owner: v.Owner, Shares: map[string]access{}}
	if left.Owner == name {
		left.Owner = ""
	}
	for user, a := range v.Shares {
		if user != name {
			left.Shares[user] = a
		}
	}
	return left
}

// withShare is the vault when it is shared with a user so; with the access "" no longer at all.
func (v *vault) withShare(user string, a access) (*vault, error) {
	if v == nil {
		return nil, errNoVault
	}
	if a == "" && v.Shares[user] == "" {
		return nil, errNotShared
	}
	after := &vault{Owner: v.Owner, Shares: maps.Clone(v.Shares)}
	if a == "" {
		delete(after.Shares, user)
		return after, nil
	}
	if after.Shares == nil {
		after.Shares = map[string]access{}
	}
	after.Shares[user] = a
	_, err := parseShares(after.Shares, after.Owner)
	return after, err
}

// newVaultSecurity is the _security of a new vault: its owner's alone, for those who read it as CouchDB's.
func newVaultSecurity(owner string) []byte {
	group := append(appendStrings([]byte(`{"names":`), []string{owner}), `,"roles":[]}`...)
	body := append([]byte(`{"admins":`), group...)
	return append(append(append(body, `,"members":`...), group...), '}')
}

// vaultSettings are [parlor_vaults].
type vaultSettings struct {
	prefix, infix, suffix string // of names: the prefix, the user, the infix, anything where any is set, the suffix
	any, off              bool
	undelete              time.Duration
	maxVaults             int   // of one owner; 0: no bound
	maxBytes              int64 // of all vaults of one owner; 0: no bound
}

const (
	userMark = "{user}"
	// separators are the bytes of databases' names that no user's part has: one behind that part keeps users' names apart.
	separators = "$()+-/"
	// rightsKept is how long _security and shares of a deleted vault are kept where its documents are not, so that a rebuild finds them.
	rightsKept = 24 * time.Hour
)

// newVaultSettings refuses patterns under which the names of two users could be the same.
func newVaultSettings(snap *config.Snapshot) (v vaultSettings, err error) {
	days := snap.Int(7, "undelete_days", "parlor_vaults")
	v = vaultSettings{
		undelete:  time.Duration(days) * 24 * time.Hour,
		maxVaults: int(snap.Int(0, "max_vaults", "parlor_vaults")),
		maxBytes:  snap.Int(0, "max_bytes", "parlor_vaults"),
	}
	if days < 0 || days > 36500 || v.maxVaults < 0 || v.maxBytes < 0 {
		return v, &config.ValueError{Reason: "[parlor_vaults] undelete_days, max_vaults and max_bytes are numbers from 0; days are 36500 at most"}
	}
	pattern := snap.String("{user}-*", "pattern", "parlor_vaults")
	// In a file an empty value is none at all, so there is a word for it.
	if v.off = pattern == "" || pattern == "none"; v.off {
		return v, nil
	}
	rest := ""
	v.prefix, rest, _ = strings.Cut(pattern, userMark)
	v.infix, v.suffix, v.any = strings.Cut(rest, "*")
	legal := strings.Count(pattern, userMark) == 1 && strings.Count(pattern, "*") == strings.Count(rest, "*") && strings.Count(rest, "*") <= 1 &&
		(rest == "" || strings.IndexByte(separators, rest[0]) >= 0) && databaseName.MatchString(v.prefix+"u"+v.infix+v.suffix)
	if !legal {
		return v, &config.ValueError{Reason: "[parlor_vaults] pattern is a database's name with one {user}, and perhaps one * behind it; what follows {user} begins with one of " + separators}
	}
	return v, nil
}

// of reports whether a database's name is one of those that a user may own.
func (v *vaultSettings) of(user, name string) bool {
	if v.off || user == "" {
		return false
	}
	rest, ok := strings.CutPrefix(name, v.prefix+livesync.VaultPrefix(user)+v.infix)
	if !v.any {
		return ok && rest == ""
	}
	return ok && len(rest) > len(v.suffix) && strings.HasSuffix(rest, v.suffix)
}

// maxShares bounds whom one vault is shared with.
const maxShares = 1000

// parseShares reads the member "shares" of a vault, as it is sent.
func parseShares(sent map[string]access, owner string) (map[string]access, error) {
	if len(sent) > maxShares {
		return nil, badRequest("A vault is shared with " + strconv.Itoa(maxShares) + " users at most.")
	}
	for name, a := range sent {
		switch {
		case name == "" || len(name) > maxUserName || strings.HasPrefix(name, "_") || strings.Contains(name, ":"):
			return nil, badRequest("A vault cannot be shared with the user " + strconv.Quote(name[:min(len(name), maxUserName)]) + ".")
		case name == owner:
			return nil, badRequest("A vault is not shared with its owner.")
		case !slices.Contains([]access{accessRead, accessWrite}, a):
			return nil, badRequest("A share is \"read\" or \"write\".")
		}
	}
	return sent, nil
}

// maxUserName bounds the names that vaults hold.
const maxUserName = 1024
