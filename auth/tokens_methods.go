package auth

import (
	"errors"
	"net/http"
	"strings"
)

// Bearer is the Method "jwt" for access tokens as bearer tokens; other bearer tokens are not its own.
func (t *Tokens) Bearer() Method { return accessBearer{t} }

// Basic is the Method "default" for access tokens in place of passwords ("app passwords"). The name must be the token's user's. Passwords that do not begin with TokenPrefix are
// not its own; of those that do none is hashed, and none counts for a Lockout.
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

// present uses an access token, which must be name's if that is not "". It fails with ErrNoRecord for one that is not good, with 429 for a client who has tried too many,
// and with the directory's and the State's own errors.
func (t *Tokens) present(r *http.Request, secret, name, method string) (Identity, error) {
	o := t.options.Load()
	key := hashKey(secret)
	k, ok := t.access.remembered(key)
	giveBack := func() {}
	if !ok || name != "" && k.value.User != name {
		var err error
		if giveBack, err = o.Budget.Take(o.Client(r)); err != nil {
			return Identity{}, about(err, method, name, "")
		}
		if len(secret) != len(TokenPrefix)+secretLength {
			return Identity{}, ErrNoRecord
		}
		if k, err = t.access.get(r.Context(), key); err != nil {
			if !errors.Is(err, ErrNoRecord) {
				giveBack()
			}
			return Identity{}, err
		}
	}
	if t.expired(&k.value.Token) || name != "" && k.value.User != name {
		return Identity{}, ErrNoRecord
	}
	id, err := t.Identity(r.Context(), &k.value.Token, method)
	if errors.Is(err, ErrUnknownUser) {
		return Identity{}, ErrNoRecord
	}
	giveBack()
	if err != nil {
		return Identity{}, about(err, method, k.value.User, k.value.credential)
	}
	t.Used(r, k.id)
	return id, nil
}
