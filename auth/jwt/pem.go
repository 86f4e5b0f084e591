package jwt

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
	pemDash  = "-----"
)

// parsePEM reads the public key of a single PEM block as it comes out of an ini file. encoding/pem wants lines, which such a value has lost.
func parsePEM(text string) (any, error) {
	_, rest, found := strings.Cut(text, pemBegin)
	if !found {
		return nil, errors.New("no PEM block (-----BEGIN PUBLIC KEY-----) in the value")
	}
	label, rest, found := strings.Cut(rest, pemDash)
	if !found {
		return nil, errors.New("the PEM block has no whole first line")
	}
	body, rest, found := strings.Cut(rest, pemEnd+label+pemDash)
	if !found {
		return nil, errors.New("the PEM block has no last line that fits its first")
	}
	if strings.Contains(rest, pemBegin) {
		return nil, errors.New("more than one PEM block in the value")
	}
	if strings.Contains(label, "PRIVATE") {
		return nil, errors.New("the value is a private key: keep it secret, and give its public key here")
	}
	der, err := base64.StdEncoding.DecodeString(unbroken(body))
	if err != nil {
		return nil, errors.New("the PEM block's body is not base64")
	}
	switch label {
	case "PUBLIC KEY":
		return parseDER(der)
	case "RSA PUBLIC KEY":
		public, err := x509.ParsePKCS1PublicKey(der)
		if err != nil {
			return nil, errors.New("the PEM block holds no RSA public key")
		}
		return public, nil
	case "CERTIFICATE":
		return parseCertificate(der)
	default:
		return nil, fmt.Errorf("a PEM block of type %.40q is not taken", label)
	}
}

// parseDER reads the body of a PUBLIC KEY block. Issuers are known to put a certificate's body under that label.
func parseDER(der []byte) (any, error) {
	if public, err := x509.ParsePKIXPublicKey(der); err == nil {
		return public, nil
	}
	if public, err := parseCertificate(der); err == nil {
		return public, nil
	}
	return nil, errors.New("the PEM block holds no public key that can be read")
}

func parseCertificate(der []byte) (any, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("the PEM block holds no certificate that can be read")
	}
	return certificate.PublicKey, nil
}

// unbroken removes what a PEM body is broken into lines with: white space and written "\n" and "\r", however often escaped.
func unbroken(body string) string {
	body = strings.NewReplacer(`\n`, "", `\r`, "").Replace(body)
	return strings.Join(strings.Fields(strings.ReplaceAll(body, `\`, "")), "")
}

// parseJWK reads a JSON Web Key and the algorithm that it is for, "" when it does not say.
func parseJWK(text string) (public any, alg string, err error) {
	if _, err := parseObject([]byte(text)); err != nil {
		return nil, "", errors.New("the value begins like a JWK but is no JSON object")
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal([]byte(text), &jwk); err != nil {
		return nil, "", errors.New("the JWK cannot be read") // the library's error may show parts of the key
	}
	if jwk.Use != "" && jwk.Use != "sig" {
		return nil, "", errors.New(`the JWK's use is not "sig"`)
	}
	if _, symmetric := jwk.Key.([]byte); !symmetric && !jwk.IsPublic() {
		return nil, "", errors.New("the JWK is a private key: keep it secret, and give its public key here")
	}
	return jwk.Key, jwk.Algorithm, nil
}
