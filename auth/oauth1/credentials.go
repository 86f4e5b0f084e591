package oauth1

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// ErrUnknownPair, wrapped or bare, is the answer of Credentials to a consumer key and token that do not go together.
var ErrUnknownPair = errors.New("unknown consumer and token pair")

// Credentials is where consumers and tokens are looked up. Implementations are safe for concurrent use, and quick: they are asked at each
// signed request, with whatever a stranger sends.
type Credentials interface {
	// Lookup returns what requests with this consumer key and token are signed with, and whose they are; ErrUnknownPair; or an
	// *auth.Refusal. token is "" for a request without one.
	Lookup(ctx context.Context, consumerKey, token string) (Credential, error)
}

// Credential is a consumer and a token that go together. One without a User, and one with neither secret nor key of the consumer, is taken as
// unknown: anybody could sign with it.
type Credential struct {
	User           string
	ConsumerSecret string
	TokenSecret    string
	RSAKey         *rsa.PublicKey // when set, the consumer signs with RSA-SHA1 alone, and the secrets do not count
}

func (c *Credential) usable() bool {
	return c.User != "" && (c.ConsumerSecret != "" || c.RSAKey != nil)
}

// Bounds on RSA keys, in bits: a smaller one is broken, a larger one costs too much to use for strangers' requests.
const (
	minRSA = 1024
	maxRSA = 8192
)

// Sections are the three sections of CouchDB 1.x's configuration that hold credentials. Every consumer goes with every token.
type Sections struct {
	ConsumerSecrets map[string]string // [oauth_consumer_secrets]: a shared secret, or a public RSA key in PEM, whose lines may be broken by a written "\n"
	TokenSecrets    map[string]string // [oauth_token_secrets]
	TokenUsers      map[string]string // [oauth_token_users]
}

var _ Credentials = (*Static)(nil)

// Static is the Credentials of a configuration. It is immutable and safe for concurrent use.
type Static struct {
	consumers map[string]Credential // without user and token secret
	tokens    map[string]Credential // without consumer
}

// NewStatic reads sections. Entries that cannot be used are reported under "section/key", in words that show nothing of the value, and are
// unknown to the Static: an empty secret, a key that cannot be read, a token without a user, a user without a token.
func NewStatic(s Sections) (*Static, map[string]error) {
	static := &Static{consumers: make(map[string]Credential), tokens: make(map[string]Credential)}
	bad := make(map[string]error)
	for name, secret := range s.ConsumerSecrets {
		c := Credential{ConsumerSecret: secret}
		if strings.Contains(secret, "-----BEGIN") {
			key, err := parseRSA(secret)
			if err != nil {
				bad["oauth_consumer_secrets/"+name] = err
				continue
			}
			c = Credential{RSAKey: key}
		}
		if secret == "" || name == "" {
			bad["oauth_consumer_secrets/"+name] = errors.New("the consumer has no secret or no name")
			continue
		}
		static.consumers[name] = c
	}
	for token, secret := range s.TokenSecrets {
		switch user := s.TokenUsers[token]; {
		case secret == "" || token == "":
			bad["oauth_token_secrets/"+token] = errors.New("the token has no secret or no name")
		case user == "":
			bad["oauth_token_secrets/"+token] = errors.New("the token has no user in oauth_token_users")
		default:
			static.tokens[token] = Credential{TokenSecret: secret, User: user}
		}
	}
	for token := range s.TokenUsers {
		if _, ok := s.TokenSecrets[token]; !ok {
			bad["oauth_token_users/"+token] = errors.New("the token has no secret in oauth_token_secrets")
		}
	}
	return static, bad
}

// Lookup implements Credentials. A request without a token is nobody's.
func (s *Static) Lookup(_ context.Context, consumerKey, token string) (Credential, error) {
	c, consumerOK := s.consumers[consumerKey]
	t, tokenOK := s.tokens[token]
	if !consumerOK || !tokenOK {
		return Credential{}, ErrUnknownPair
	}
	c.User, c.TokenSecret = t.User, t.TokenSecret
	return c, nil
}

// parseRSA reads one PEM block as it comes out of an ini file. encoding/pem wants lines, which such a value has lost.
func parseRSA(text string) (*rsa.PublicKey, error) {
	_, rest, _ := strings.Cut(text, "-----BEGIN ")
	label, rest, _ := strings.Cut(rest, "-----")
	body, rest, ok := strings.Cut(rest, "-----END "+label+"-----")
	if !ok || strings.Contains(rest, "-----BEGIN") {
		return nil, errors.New("the value is not one whole PEM block")
	}
	body = strings.NewReplacer(`\n`, "", `\r`, "").Replace(body)
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(strings.ReplaceAll(body, `\`, "")), ""))
	if err != nil {
		return nil, errors.New("the PEM block's body is not base64")
	}
	var public any
	switch label {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(der)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(der)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(der); err == nil {
			public = certificate.PublicKey
		}
	default:
		return nil, fmt.Errorf("a PEM block of type %.40q is no public key", label)
	}
	if err != nil {
		return nil, errors.New("the PEM block cannot be read")
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the key is no RSA key")
	}
	if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
		return nil, fmt.Errorf("the RSA key has %d bits, not %d to %d", bits, minRSA, maxRSA)
	}
	return key, nil
}
