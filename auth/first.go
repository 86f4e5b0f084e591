package auth

import (
	"errors"
	"net/http"
)

// First makes one Method of several that share a name: the first that recognises its kind of credential decides, as in an [Authenticator]. So the Method "jwt" is
// made of access tokens, device keys, issuers and configured keys, and "default" of app passwords and passwords.
func First(name string, methods ...Method) Method { return first{name, methods} }

type first struct {
	name    string
	methods []Method
}

func (f first) Name() string { return f.name }

func (f first) Authenticate(r *http.Request) (Identity, error) {
	for _, m := range f.methods {
		id, err := m.Authenticate(r)
		if err == ErrNoCredentials || errors.Is(err, ErrNoCredentials) {
			continue
		}
		return id, err
	}
	return Identity{}, ErrNoCredentials
}
