package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

const (
	issuerURL      = "https://login.example.com/realms/clinic"
	issuerAudience = "parlor-bench"
)

// issuer signs ID tokens as an OpenID provider does. Its keys stand in the program's settings, so that nothing is fetched.
type issuer struct {
	signers map[string]crypto.Signer // by alg
	kids    map[string]string
}

func newIssuer() (*issuer, error) {
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &issuer{
		signers: map[string]crypto.Signer{"ES256": es, "RS256": rs},
		kids:    map[string]string{"ES256": "4pUO2lnWbnZTgKQ7ZkD0MNIAv1gQyEdrJVY6c8mHbVE", "RS256": "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"},
	}, nil
}

// settings is the section of the program's ini file.
func (i *issuer) settings() (string, error) {
	var set jose.JSONWebKeySet
	for alg, signer := range i.signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: signer.Public(), KeyID: i.kids[alg], Algorithm: alg, Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("[jwt_issuer:clinic]\nissuer = %s\naudience = %s\nunknown_users = allow\njwks = %s\n", issuerURL, issuerAudience, text), nil
}

// mint makes an ID token of a user, with the claims that Keycloak puts into one.
func (i *issuer) mint(alg, user, id string) (bearer string, err error) {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": issuerURL, "aud": issuerAudience, "azp": issuerAudience, "sub": user, "typ": "ID", "jti": id,
		"exp": now + 3600, "iat": now, "auth_time": now - 60, "acr": "1",
		"sid": "0b9c1a7e-5d0c-4f3c-9a55-6a4b7ce0f4b1", "at_hash": "LDktKdoQak3Pk0cnXxCltA", "nonce": "n-0S6_WzA2MjR7Vw9cKq3A",
		"email": "anna.schmidt@example.com", "email_verified": true, "name": "Anna Schmidt", "given_name": "Anna", "family_name": "Schmidt",
		"preferred_username": "anna.schmidt", "groups": []string{"nurses", "ward-3", "reports"},
	})
	if err != nil {
		return "", err
	}
	return sign(i.signers[alg], fmt.Sprintf(`{"alg":%q,"typ":"JWT","kid":%q}`, alg, i.kids[alg]), string(claims)), nil
}
