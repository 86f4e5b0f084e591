package oauth1_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/oauth1"
)

func TestCredentialsThatAnyoneHas(t *testing.T) {
	t.Parallel()
	for name, credential := range map[string]fixed{
		"no consumer secret": {User: "anna"},
		"no user":            {ConsumerSecret: "sekr1t"},
	} {
		v, c, _ := started(t, func(o *oauth1.Options) { o.Credentials = credential })
		c.consumerSecret, c.tokenSecret = credential.ConsumerSecret, ""
		id, err := v.Authenticate(c.request("/", nil))
		refused(t, name, id, err, 400, "invalid_consumer_token_pair")
	}
	multiple := &auth.Refusal{Status: 400, Kind: "oauth_token_consumer_key_pair", Reason: "Found multiple OAuth credentials for the pair"}
	v, c, _ := started(t, func(o *oauth1.Options) { o.Credentials = failing{multiple} })
	id, err := v.Authenticate(c.request("/", nil))
	refused(t, "a refusal of the Credentials", id, err, 400, "oauth_token_consumer_key_pair")

	// Two-legged: the consumer alone signs.
	v, c, _ = started(t, func(o *oauth1.Options) { o.Credentials = fixed{User: "anna", ConsumerSecret: "sekr1t"} })
	c.token, c.tokenSecret = "", ""
	id, err = v.Authenticate(c.request("/", nil))
	if err != nil || id.Name != "anna" || id.Credential != "consumer1" {
		t.Errorf("two-legged: %+v, %v", id, err)
	}
}

func TestRSA(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	block := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	for name, value := range map[string]string{
		"PEM": block, "written line ends": strings.ReplaceAll(block, "\n", `\n`), "blanks": strings.ReplaceAll(block, "\n", " "),
		"PKCS#1": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&private.PublicKey)})),
	} {
		credentials, bad := oauth1.NewStatic(oauth1.Sections{
			ConsumerSecrets: map[string]string{"consumer1": value}, TokenSecrets: sections.TokenSecrets, TokenUsers: sections.TokenUsers,
		})
		if len(bad) != 0 {
			t.Fatalf("%s: %v", name, bad)
		}
		v, c, _ := started(t, func(o *oauth1.Options) {
			o.Credentials = credentials
			o.Origin = func(r *http.Request) (string, string) { return "http", r.Host }
		})
		c.method, c.key = "RSA-SHA1", private
		if id, err := v.Authenticate(c.request("/?a=b", nil)); err != nil || id.Name != "anna" {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		// The public key, which everybody has, is no secret to sign with.
		for _, method := range []string{"HMAC-SHA1", "HMAC-SHA256"} {
			for _, secret := range []string{value, block, "", string(der)} {
				c.method, c.consumerSecret = method, secret
				id, err := v.Authenticate(c.request("/?a=b", nil))
				refused(t, name+", "+method, id, err, 401, "unauthorized")
			}
		}
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	v, c, _ := started(t, func(o *oauth1.Options) { o.Credentials = fixed{User: "anna", RSAKey: &private.PublicKey} })
	c.method, c.key = "RSA-SHA1", other
	id, err := v.Authenticate(c.request("/", nil))
	refused(t, "another's key", id, err, 401, "unauthorized")
}

func TestNewStaticReports(t *testing.T) {
	t.Parallel()
	small, _ := base64.StdEncoding.DecodeString("MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL5Y8mTq7UM1kvv7QyI9Cv8S6ymJAyyL0hSE3dnDrlgtbsmYQ3jQS2K1uq0Mlq6HgRmpVUAURzUdcEIQ1b2TgvMCAwEAAQ==")
	block := func(label string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
	}
	_, bad := oauth1.NewStatic(oauth1.Sections{
		ConsumerSecrets: map[string]string{
			"good": "sekr1t", "empty": "", "cut": "-----BEGIN PUBLIC KEY-----\nAAAA", "small": block("PUBLIC KEY", small),
			"private": block("PRIVATE KEY", []byte("sekr1t")), "noise": block("PUBLIC KEY", []byte("sekr1t")), "twice": block("PUBLIC KEY", small) + block("PUBLIC KEY", small),
		},
		TokenSecrets: map[string]string{"good": "sekr1t", "empty": "", "userless": "sekr1t", "": "sekr1t"},
		TokenUsers:   map[string]string{"good": "anna", "empty": "anna", "secretless": "anna", "": "anna"},
	})
	var got []string
	for name, err := range bad {
		got = append(got, name)
		if strings.Contains(err.Error(), "sekr1t") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
	slices.Sort(got)
	want := []string{"oauth_consumer_secrets/cut", "oauth_consumer_secrets/empty", "oauth_consumer_secrets/noise", "oauth_consumer_secrets/private",
		"oauth_consumer_secrets/small", "oauth_consumer_secrets/twice", "oauth_token_secrets/", "oauth_token_secrets/empty", "oauth_token_secrets/userless", "oauth_token_users/secretless"}
	if !slices.Equal(got, want) {
		t.Errorf("reported %q\nwant %q", got, want)
	}
}
