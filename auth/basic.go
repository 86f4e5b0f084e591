package auth

import (
	"encoding/base64"
	"net/http"
	"strings"
)

var _ Method = (*Basic)(nil)

// Basic is the Method "default": HTTP Basic authentication (RFC 7617) as CouchDB does it (spec §2).
//
// The scheme must be spelled "Basic " exactly; anything else counts as no credentials, and so do a text without a colon and the pair
// "_:_", with which clients log out. A text that is not padded standard base64 is 400; a wrong name or password is 401.
type Basic struct {
	passwords *Passwords
}

// NewBasic returns a Basic that checks names and passwords with p.
func NewBasic(p *Passwords) *Basic { return &Basic{passwords: p} }

// Name implements Method.
func (b *Basic) Name() string { return "default" }

// Authenticate implements Method.
func (b *Basic) Authenticate(r *http.Request) (Identity, error) {
	text, ok := Credentials(r.Header, "Basic ")
	if !ok {
		return Identity{}, ErrNoCredentials
	}
	name, pass, err := parseBasic(text)
	if err != nil {
		return Identity{}, about(err, b.Name(), "", "")
	}
	client := b.passwords.settings.Load().Client(r)
	u, err := b.passwords.Verify(WithClient(r.Context(), client), name, pass)
	if err != nil {
		return Identity{}, about(err, b.Name(), name, "")
	}
	return u.identity(b.Name()), nil
}

// parseBasic splits the base64 text of a name and a password at the first colon. It fails with ErrNoCredentials or a *Refusal.
func parseBasic(text string) (name, pass string, err error) {
	if strings.ContainsAny(text, " \t") {
		text = strings.NewReplacer(" ", "", "\t", "").Replace(text) // Go's decoder skips only line ends
	}
	var stack [128]byte
	decoded, err := base64.StdEncoding.AppendDecode(stack[:0], []byte(text))
	if err != nil {
		return "", "", badRequest("Authorization header has invalid base64 value")
	}
	pair := string(decoded)
	name, pass, found := strings.Cut(pair, ":")
	if !found || pair == "_:_" {
		return "", "", ErrNoCredentials
	}
	return name, pass, nil
}

// Suffices reports whether the password of u is enough by itself to sign in: it is taken at all, and no second factor is asked for besides.
func (p *Passwords) Suffices(u *User) bool {
	login := p.settings.Load().Login
	return !u.TOTP && (login == PasswordsForAll || login == PasswordsForAdmins && u.Admin)
}
