package oidc

import (
	"context"
	"errors"

	"github.com/parlordb/parlor/auth"
)

// UnknownUsers says what becomes of somebody whom the provider knows and the directory does not.
type UnknownUsers string

const (
	Refuse   UnknownUsers = "refuse"
	Register UnknownUsers = "register" // makes a user without a password
	Allow    UnknownUsers = "allow"    // needs no entry in the directory
)

// Mapping says who somebody at a provider is here. The zero Mapping takes linked users alone, by the name NAME.sub.
type Mapping struct {
	UsernameClaim    string              // "": sub. A dotted path is one claim's name, as in CouchDB
	UserPrefix       *string             // before the escaped claim; nil: the provider's name and ".", or nothing when UsernameClaim is set
	RolesPath        string              // roles_claim_path, as in jwt.Options; "": the token gives no roles
	RolesMap         map[string][]string // claim value → roles; when there is one, values that it does not hold give nothing
	RolesPrefix      string              // before each role that is not from RolesMap
	AllowServerAdmin bool                // false: "_admin" and other roles that begin with "_" are dropped
	LinkExisting     bool                // a user who is there already is linked at first sight; by e-mail only if email_verified is true
	Unknown          UnknownUsers        // "": Refuse
}

// ErrUserExists is a Directory's answer to a name that is to be registered and is there already.
var ErrUserExists = errors.New("the user exists already")

// Directory is where Mapping looks users up and writes links. *server.Users is one, Memory another.
type Directory interface {
	auth.Users
	// ServerAdmin reports whether a name is in [admins]: such a name is never given to anyone from outside.
	ServerAdmin(name string) bool
	// Link adds id to the identities of an existing user. auth.ErrUnknownUser when there is none; no error when it is linked already.
	Link(ctx context.Context, name string, id auth.ForeignIdentity) error
	// Register makes a user who has no password and is linked to id. It fails with ErrUserExists, or with an *auth.Refusal for a name that cannot be one.
	Register(ctx context.Context, name string, id auth.ForeignIdentity) error
}
