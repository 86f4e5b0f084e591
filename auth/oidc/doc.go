// Package oidc signs users on who are known to an OpenID provider.
//
// A [KeySet] keeps a provider's keys. An [Issuer] is the Method for its bearer tokens, and says who somebody is: [Mapping]. A [Provider] is the login flow in a browser
// (OpenID Connect Core §3.1, code flow with PKCE), and logout.
package oidc
