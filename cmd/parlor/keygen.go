package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/livesync"
)

const keygenHelp = `Makes a key that signs JSON Web Tokens, and prints what each side needs of it: both halves in PEM (for HS256 and HS512 the one secret, in
base64), the lines for a settings file, and the command that installs it on a running server. It talks to no server; the key fits CouchDB as well.

A token of a key in [jwt_keys] has whatever roles it claims, and LiveSync claims _admin in every token. 'parlor livesync add' makes a device a key of
its own that gives its user's rights and nothing more.`

// keyID is what a key may be called, so that it stands in settings files, paths and shells as it is.
var keyID = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

func (p *program) keygen(_ context.Context, args []string) error {
	f := newFlags("keygen", "", keygenHelp)
	algorithm := f.String("alg", "ES512", "the algorithm: "+strings.Join(livesync.Algorithms(), ", "))
	id := f.String("kid", "", "the key's ID, which is in the header of its tokens; without it a random one")
	user := f.String("sub", "", "the user that the tokens are to be of, for the settings of the device")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	switch {
	case *id == "":
		*id = "key_" + strings.ToLower(rand.Text()[:12])
	case !keyID.MatchString(*id):
		return &usageError{"keygen", false, "-kid takes letters, digits, '_', '.' and '-', and begins with none of the last two"}
	case strings.HasPrefix(*id, auth.KeyPrefix):
		return &usageError{"keygen", false, fmt.Sprintf("-kid begins with %s, as the keys do that the server keeps for devices", auth.KeyPrefix)}
	}
	private, public, err := livesync.GenerateKey(*algorithm)
	if err != nil {
		return &usageError{"keygen", false, err.Error()}
	}
	if *user != "" {
		if err := livesync.CheckDevice(*user, *algorithm); err != nil {
			return err
		}
	}
	text, err := describeKey(*algorithm, *id, *user, private, public)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(p.stdout, text)
	return err
}

// describeKey writes what 'parlor keygen' prints.
func describeKey(algorithm, id, user, private, public string) (string, error) {
	name, value := "ec:"+id, strings.ReplaceAll(strings.TrimSpace(public), "\n", `\n`)
	if public == "" {
		name, value = "hmac:"+id, private
	}
	quoted, err := jsontext.AppendQuote(nil, value)
	if err != nil {
		return "", err
	}
	if user == "" {
		user = "(the user's name)"
	}
	var b strings.Builder
	if public == "" {
		fmt.Fprintf(&b, "# The secret, in base64. The device and the server have it, and nobody else.\n%s\n", private)
	} else {
		fmt.Fprintf(&b, "# The private key. The device has it, and nobody else.\n%s\n# The public key, for the server.\n%s", private, public)
	}
	fmt.Fprintf(&b, "\n# For a settings file of the server. CouchDB takes tokens only when {chttpd_auth, jwt_authentication_handler} is in its\n"+
		"# [chttpd] authentication_handlers, before the default one. Parlor does from the start.\n[jwt_keys]\n%s = %s\n", name, value)
	fmt.Fprintf(&b, `
# To install it on a running server instead. Put in its address, and its administrator's name; curl asks for the password.
curl -u admin -X PUT -H 'Content-Type: application/json' --data-binary @- \
  'http://127.0.0.1:5984/_node/_local/_config/jwt_keys/%s' <<'END'
%s
END

# For LiveSync: JWT algorithm %s, key ID %s, subject %s, and the %s as the key.
`, name, quoted, algorithm, id, user, map[bool]string{true: "secret", false: "private key"}[public == ""])
	return b.String(), nil
}
