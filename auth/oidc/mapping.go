package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
)

const (
	// maxName bounds a user's name, in bytes: with its prefix it is a document's id, and a database's name may be made of it.
	maxName = 239
	// maxRoles bounds how many roles a token may name. Providers that have more leave them out (Microsoft's from 200 on).
	maxRoles = 500
)

// UnknownUsers says what becomes of somebody whom the provider knows and the directory does not.
type UnknownUsers string

const (
	Refuse   UnknownUsers = "refuse"
	Register UnknownUsers = "register" // makes a user without a password
	Allow    UnknownUsers = "allow"    // needs no entry in the directory
)

// Mapping says who somebody at a provider is here. The zero Mapping takes linked users alone, by the name NAME.sub.
//
// A name is a prefix and the value of a claim, in which all but letters, digits and "-_.~@+" is percent-encoded (RFC 3986 §2.1), so that different values never make one
// name. In the prefix "NAME." the dots of NAME are encoded too: its first dot ends it, and different issuers' names differ.
//
// Whoever is in the directory signs in if the entry's Identities hold their issuer and sub: nobody becomes somebody else by choosing their name at the
// provider.
type Mapping struct {
	UsernameClaim    string              // "": sub. A dotted path is one claim's name, as in CouchDB; its value is a string or an integer
	UserPrefix       *string             // before the escaped claim; nil: the provider's name and ".", or nothing when UsernameClaim is set
	RolesPath        string              // roles_claim_path, as in jwt.Options; "": the token gives no roles
	RolesMap         map[string][]string // claim value → roles; when there is one, values that it does not hold give nothing
	RolesPrefix      string              // before each role that is not from RolesMap
	AllowServerAdmin bool                // false: "_admin" and other roles that begins with "_" are dropped
	LinkExisting     bool                // a user who is there already, and is linked to nobody else of this issuer, is linked at first sight
	Unknown          UnknownUsers        // "": Refuse
}

// ErrUserExists is a Directory's answer to a name that is to be registered and is there already.
var ErrUserExists = errors.New("the user exists already")

// Directory is where Mapping looks users up and writes links. *server.Users is one, Memory another.
type Directory interface {
	auth.Users
	// ServerAdmin reports whether a name is in [admins]: such a name is never given to anyone from outside.
	ServerAdmin(name string) bool
	// Link adds id to the identities of an existing user. auth.ErrUnknownUser when there is none; no error when it is linked already; an *auth.Refusal when
	// the user is linked to another subject of that issuer: of two people who come at once, one is linked.
	Link(ctx context.Context, name string, id auth.ForeignIdentity) error
	// Register makes a user who has no password and is linked to id. It fails with ErrUserExists, or with an *auth.Refusal for a name that cannot be one.
	Register(ctx context.Context, name string, id auth.ForeignIdentity) error
}

// prefix is what the names of provider's users begin with. It fails where a Mapping cannot be meant.
func (m *Mapping) prefix(provider string) (string, error) {
	switch m.Unknown {
	case "", Refuse, Register, Allow:
	default:
		return "", fmt.Errorf("unknown_users is %q; it is refuse, register or allow", string(m.Unknown))
	}
	if provider == "" {
		return "", errors.New("an issuer needs a name")
	}
	prefix := ""
	switch {
	case m.UserPrefix != nil:
		prefix = *m.UserPrefix
	case m.UsernameClaim == "":
		prefix = strings.ReplaceAll(escapeName(provider), ".", "%2E") + "."
	}
	if prefix != "" && !legalName(prefix) {
		return "", fmt.Errorf("no user's name may begin with %q", prefix)
	}
	return prefix, nil
}

// escapeName percent-encodes what might be misread in a name. Different values have different escaped names.
func escapeName(value string) string {
	// Letters, digits and the marks that letters of many scripts are made with.
	plain := func(r rune) bool {
		return unicode.In(r, unicode.L, unicode.Nd, unicode.M) || strings.ContainsRune("-_.~@+", r)
	}
	if !strings.ContainsFunc(value, func(r rune) bool { return !plain(r) }) {
		return value
	}
	var b strings.Builder
	for value != "" {
		r, size := utf8.DecodeRuneInString(value)
		if plain(r) {
			b.WriteString(value[:size])
		} else {
			for _, c := range []byte(value[:size]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		value = value[size:]
	}
	return b.String()
}

// legalName reports whether a name may be that of a user from outside.
func legalName(name string) bool {
	return name != "" && len(name) <= maxName && name[0] != '_' && !strings.Contains(name, ":") && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// nameOf is the name that a token's user has here.
func (i *Issuer) nameOf(token *jwt.Verified) (string, error) {
	claim, value := i.o.Mapping.UsernameClaim, token.Subject
	if claim != "" {
		var ok bool
		if value, ok = nameValue(token.Claim(jwt.Path{claim})); !ok {
			return "", forbidden("The token's claim " + claim + ", which users are named by, is missing or is neither a string nor an integer")
		}
	}
	// Escaped, a control character would do no harm. But nobody's name has one, and somebody tries something.
	if value == "" || strings.ContainsFunc(value, unicode.IsControl) {
		return "", forbidden("The provider's name for this user cannot be one here")
	}
	name := i.prefix + escapeName(value)
	if !legalName(name) {
		return "", forbidden("The provider's name for this user cannot be one here")
	}
	return name, nil
}

// nameValue reads a claim that is a string, or a number written as an integer, whose digits are kept as they are.
func nameValue(v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '"':
		text, err := jsontext.AppendUnquote(nil, v)
		return string(text), err == nil
	case '0':
		return string(v), !strings.ContainsAny(string(v), ".eE")
	}
	return "", false
}

// account returns the directory's entry of a token's user; nil where none is needed.
func (i *Issuer) account(ctx context.Context, name string, token *jwt.Verified) (*auth.User, error) {
	directory, who := i.o.Directory, auth.ForeignIdentity{Issuer: i.o.Issuer, Subject: token.Subject}
	if directory.ServerAdmin(name) {
		return nil, forbidden("This name is reserved")
	}
	user, err := directory.User(ctx, name)
	if err == nil {
		return i.linked(ctx, user, who, token)
	}
	if !errors.Is(err, auth.ErrUnknownUser) {
		return nil, err
	}
	if i.o.Mapping.Unknown != Register && i.o.Mapping.Unknown != Allow {
		return nil, forbidden("There is no account here for this user of the provider")
	}
	if err := i.vouched(token); err != nil {
		return nil, err
	}
	if i.o.Mapping.Unknown == Allow {
		return nil, nil
	}
	// Two requests may register at the same time: who comes second finds whom the first has made, and is linked to him or is not.
	if err := directory.Register(ctx, name, who); err != nil && !errors.Is(err, ErrUserExists) {
		return nil, err
	}
	if user, err = directory.User(ctx, name); err != nil {
		return nil, err
	}
	return i.linked(ctx, user, who, token)
}

// linked returns a user if the token's subject is linked to him, or may be now.
func (i *Issuer) linked(ctx context.Context, user *auth.User, who auth.ForeignIdentity, token *jwt.Verified) (*auth.User, error) {
	sameIssuer := func(id auth.ForeignIdentity) bool { return id.Issuer == who.Issuer }
	switch {
	case user.Admin:
		return nil, forbidden("This name is reserved")
	case slices.Contains(user.Identities, who):
		return user, nil
	case !i.o.Mapping.LinkExisting || slices.ContainsFunc(user.Identities, sameIssuer):
		// A name that one person gave up at the provider may be another's now; a subject never is (OpenID Connect Core §5.7).
		return nil, forbidden("An account of this name is here, and is not linked to this user of the provider")
	case user.Disabled:
		return nil, forbidden("This account is disabled.")
	}
	if err := i.vouched(token); err != nil {
		return nil, err
	}
	if err := i.o.Directory.Link(ctx, user.Name, who); err != nil {
		return nil, err
	}
	return user, nil
}

// vouched refuses names that the provider repeats without having verified them: anyone can type in an address.
func (i *Issuer) vouched(token *jwt.Verified) error {
	if i.o.Mapping.UsernameClaim == "email" && string(token.Claim(jwt.Path{"email_verified"})) != "true" {
		return forbidden("The provider has not verified this user's e-mail address")
	}
	return nil
}

// rolesOf are the roles that a token gives.
func (i *Issuer) rolesOf(token *jwt.Verified) ([]string, error) {
	m := &i.o.Mapping
	roles := []string{}
	v := token.Claim(i.roles)
	if v == nil || v.Kind() == 'n' {
		return roles, nil
	}
	values, ok := jwt.ParseRoles(v)
	if !ok {
		return nil, forbidden("The token's roles are neither strings nor one string")
	}
	if len(values) > maxRoles {
		return nil, forbidden("The token names too many roles")
	}
	for _, value := range values {
		if value == "" {
			continue
		}
		given := []string{m.RolesPrefix + value}
		if m.RolesMap != nil {
			given = m.RolesMap[value]
		}
		for _, role := range given {
			if i.allows(role) && !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	return roles, nil
}

// allows reports whether somebody from outside may have a role. Those that begin with "_" are the server's own.
func (i *Issuer) allows(role string) bool {
	return role != "" && (role[0] != '_' || i.o.Mapping.AllowServerAdmin)
}

// grant adds the directory's roles to those of a token.
func (i *Issuer) grant(id *auth.Identity, roles []string) {
	for _, role := range roles {
		if i.allows(role) && !slices.Contains(id.Roles, role) {
			id.Roles = append(id.Roles, role)
			id.Granted = append(id.Granted, role)
		}
	}
}

// forbidden refuses somebody who has proved who they are at the provider, and is nobody here.
func forbidden(reason string) *auth.Refusal {
	return &auth.Refusal{Status: http.StatusForbidden, Kind: "forbidden", Reason: reason}
}
