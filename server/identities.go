package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oidc"
	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// Whom the providers speak of stands in the user's document, in a member that only server admins and the server itself write:
//
//	"identities": [{"issuer": "https://login.example.org", "subject": "248289761001"}, …]
//
// A member of any other form links nobody.

var _ oidc.Directory = (*Users)(nil)

const (
	// maxIdentities bounds what is linked to one user.
	maxIdentities = 100
	// maxIdentity bounds an issuer and a subject, in bytes each. OpenID Connect allows a subject 255.
	maxIdentity = 1024
	// linkTries bounds how often a link is tried on a document that others change at the same time.
	linkTries = 20
)

// parseIdentities reads the member identities. ok is false when anything about it is wrong: then nobody is linked.
func parseIdentities(value jsontext.Value) (list []auth.ForeignIdentity, ok bool) {
	if len(value) == 0 || value[0] != '[' {
		return nil, false
	}
	err := elements(value, func(item jsontext.Value) error {
		if item[0] != '{' {
			return errNotObject
		}
		issuer, ok1 := text(objectMember(item, "issuer"))
		subject, ok2 := text(objectMember(item, "subject"))
		if !ok1 || !ok2 || issuer == "" || subject == "" {
			return errNotObject
		}
		list = append(list, auth.ForeignIdentity{Issuer: issuer, Subject: subject})
		return nil
	})
	if err != nil {
		return nil, false
	}
	return list, true
}

func appendIdentities(dst []byte, list []auth.ForeignIdentity) []byte {
	dst = append(dst, '[')
	for _, id := range list {
		dst = appendString(append(appendComma(dst), `{"issuer":`...), id.Issuer)
		dst = append(appendString(append(dst, `,"subject":`...), id.Subject), '}')
	}
	return append(dst, ']')
}

// ServerAdmin implements oidc.Directory. A name in [admins] counts although its value may be no hash.
func (u *Users) ServerAdmin(name string) bool {
	_, ok := u.rules.Load().names[name]
	return ok
}

// Link implements oidc.Directory. It is refused for server admins, for a second subject of an issuer, and where the document's identities cannot be read.
func (u *Users) Link(ctx context.Context, name string, id auth.ForeignIdentity) error {
	if err := u.linkable(name, id); err != nil {
		return err
	}
	db, err := u.store.DB(usersDatabase)
	if errors.Is(err, store.ErrNoDatabase) {
		return auth.ErrUnknownUser
	}
	if err != nil {
		return err
	}
	for range linkTries {
		w, err := u.link(db, name, id)
		if w == nil || err != nil {
			return err
		}
		switch _, err = db.Put(ctx, *w, nil); {
		case err == nil:
			return u.wrote(ctx, "identity linked", name, id)
		case !errors.Is(err, store.ErrConflict):
			return err
		}
	}
	return &auth.Refusal{Status: http.StatusServiceUnavailable, Kind: "service_unavailable", Reason: "This account is being changed; try again."}
}

// link makes the write that adds an identity to a document; nil when it is there already.
func (u *Users) link(db *store.DB, name string, id auth.ForeignIdentity) (*store.Write, error) {
	known, err := readUser(db, name, u.rules.Load().conflicted)
	if err != nil {
		return nil, err
	}
	if known == nil {
		return nil, auth.ErrUnknownUser
	}
	doc, err := db.Doc(userPrefix + name)
	if errors.Is(err, store.ErrDeleted) || errors.Is(err, store.ErrNotFound) {
		return nil, auth.ErrUnknownUser
	}
	if err != nil {
		return nil, err
	}
	var list []auth.ForeignIdentity
	if value := objectMember(doc.Body, "identities"); value != nil {
		var ok bool
		if list, ok = parseIdentities(value); !ok {
			return nil, refusedIdentity("The identities of this account cannot be read; an administrator has to correct them.")
		}
	}
	if slices.Contains(list, id) {
		return nil, nil
	}
	if slices.ContainsFunc(list, func(other auth.ForeignIdentity) bool { return other.Issuer == id.Issuer }) {
		return nil, refusedIdentity("This account is linked to somebody else of the provider.")
	}
	if len(list) >= maxIdentities {
		return nil, refusedIdentity("This account has too many identities.")
	}
	body, err := withMember(doc.Body, "identities", appendIdentities(nil, append(list, id)))
	if err != nil {
		return nil, err
	}
	return &store.Write{Doc: store.Doc{ID: doc.ID, Body: body, Attachments: keepAttachments(doc.Attachments)}, Base: doc.Rev}, nil
}

// Register implements oidc.Directory. A name that was deleted can be registered again.
func (u *Users) Register(ctx context.Context, name string, id auth.ForeignIdentity) error {
	if err := u.linkable(name, id); err != nil {
		return err
	}
	db, err := u.store.DB(usersDatabase)
	if err != nil {
		return err
	}
	body := appendString([]byte(`{"type":"user","name":`), name)
	body = append(appendIdentities(append(body, `,"roles":[],"identities":`...), []auth.ForeignIdentity{id}), '}')
	_, err = db.Put(ctx, store.Write{Doc: store.Doc{ID: userPrefix + name, Body: body}, Base: rev.ID{}}, nil)
	if errors.Is(err, store.ErrConflict) {
		return oidc.ErrUserExists
	}
	if err != nil {
		return err
	}
	return u.wrote(ctx, "user added", name, id)
}

// linkable refuses names and identities that no document may hold.
func (u *Users) linkable(name string, id auth.ForeignIdentity) error {
	fields := userFields{name: name}
	switch {
	case u.ServerAdmin(name):
		return refusedIdentity("This name is reserved.")
	case name == "" || !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), unicode.IsControl):
		return refusedIdentity("This cannot be the name of a user.")
	case fields.reserved() != "":
		return refusedIdentity(fields.reserved())
	case len(name) > maxForeignName:
		return refusedIdentity("This name is too long.")
	case id.Issuer == "" || id.Subject == "" || len(id.Issuer) > maxIdentity || len(id.Subject) > maxIdentity:
		return refusedIdentity("The provider's name for this user is empty or too long.")
	}
	return nil
}

// maxForeignName bounds the names that providers give, in bytes.
const maxForeignName = 512

func refusedIdentity(reason string) error {
	return &auth.Refusal{Status: http.StatusForbidden, Kind: "forbidden", Reason: reason}
}

// wrote does after a write of the directory's own what Server.write does after a client's: the audit trail, and the user's own database.
func (u *Users) wrote(ctx context.Context, event, name string, id auth.ForeignIdentity) error {
	address := ""
	if client := auth.Client(ctx); client.IsValid() {
		address = client.String()
	}
	u.log.Info("audit", "event", event, "address", address, "by", name, "user", name, "issuer", id.Issuer, "subject", id.Subject)
	if u.settle == nil {
		return nil
	}
	// What has been written is written: a caller who gives up leaves no user without his database.
	return u.settle(context.WithoutCancel(ctx), name)
}

// withMember returns a JSON object in which a member has another value, at its place or at the end.
func withMember(object jsontext.Value, member string, value []byte) ([]byte, error) {
	out, found := []byte{'{'}, false
	err := members(object, func(name string, old jsontext.Value) error {
		switch {
		case name != member:
			out = append(append(appendString(appendComma(out), name), ':'), old...)
		case !found:
			found = true
			out = append(append(appendString(appendComma(out), name), ':'), value...)
		}
		return nil
	})
	if !found {
		out = append(append(appendString(appendComma(out), member), ':'), value...)
	}
	return append(out, '}'), err
}
