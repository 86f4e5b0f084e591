package auth

import (
	"errors"
	"net/http"
	"strings"
)

// Bearer is the Method "jwt" for access tokens as bearer tokens; other bearer tokens are not its own.
func (t *Tokens) Bearer() Method { return accessBearer{t} }

// Basic is the Method "default" for access tokens in place of passwords ("app passwords"). The name must be the token's user's. Passwords that do not
// begin with TokenPrefix are not its own; of those that do none is hashed, and none counts for a Lockout.
func (t *Tokens) Basic() Method { return accessBasic{t} }

type accessBearer struct{ tokens *Tokens }

func (b accessBearer) Name() string { return "jwt" }

func (b accessBearer) Authenticate(r *http.Request) (Identity, error) {
	text, ok := Credentials(r.Header, "Bearer ")
	if !ok || !strings.HasPrefix(text, TokenPrefix) {
		return Identity{}, ErrNoCredentials
	}
	id, err := b.tokens.present(r, text, "", b.Name())
	if errors.Is(err, ErrNoRecord) {
		return Identity{}, unknownToken().About(b.Name(), "", "")
	}
	return id, err
}

type accessBasic struct{ tokens *Tokens }

func (b accessBasic) Name() string { return "default" }

func (b accessBasic) Authenticate(r *http.Request) (Identity, error) {
	text, ok := Credentials(r.Header, "Basic ")
	if !ok {
		return Identity{}, ErrNoCredentials
	}
	name, pass, err := parseBasic(text)
	if err != nil || !strings.HasPrefix(pass, TokenPrefix) {
		return Identity{}, ErrNoCredentials // what is wrong with the text is for the Method of passwords to say
	}
	if name == "" {
		return Identity{}, incorrect().About(b.Name(), "", "")
	}
	id, err := b.tokens.present(r, pass, name, b.Name())
	if errors.Is(err, ErrNoRecord) {
		return Identity{}, incorrect().About(b.Name(), name, "")
	}
	return id, err
}

// present uses an access token, which must be name's if that is not "". It fails with ErrNoRecord for one that is not good, with 429 for a client who
// has tried too many of those, and with the directory's and the State's own errors.
func (t *Tokens) present(r *http.Request, secret, name, method string) (Identity, error) {
	k, id, err := t.lookup(r, secret, name, method)
	if err == nil {
		t.Used(r, k.id)
		return id, nil
	}
	if errors.Is(err, ErrNoRecord) {
		// Looking one up costs little, so that it is only paid for when it was wrong: a client whose neighbours guess is not kept out.
		o := t.options.Load()
		if _, err := o.Budget.Take(o.Client(r)); err != nil {
			return Identity{}, about(err, method, name, "")
		}
	}
	return Identity{}, err
}

func (t *Tokens) lookup(r *http.Request, secret, name, method string) (*kept[storedToken], Identity, error) {
	if len(secret) != len(TokenPrefix)+secretLength {
		return nil, Identity{}, ErrNoRecord
	}
	k, err := t.access.get(r.Context(), hashKey(secret))
	if err != nil {
		return nil, Identity{}, err
	}
	token := &k.value.Token
	if t.expired(token) || name != "" && token.User != name {
		return nil, Identity{}, ErrNoRecord
	}
	id, err := t.Identity(r.Context(), token, method)
	if errors.Is(err, ErrUnknownUser) {
		return nil, Identity{}, ErrNoRecord
	}
	return k, id, about(err, method, token.User, k.value.credential)
}
