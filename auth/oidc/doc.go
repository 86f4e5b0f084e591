// Package oidc signs users on who are known to an OpenID provider.
//
// A [KeySet] keeps a provider's keys. An [Issuer] is the Method for its bearer tokens, and says who somebody is: [Mapping]. A [Provider] is the login flow in a browser
// (OpenID Connect Core §3.1, code flow with PKCE), and logout.
//
// # A login
//
//	browser                    this server                                    provider
//	  │ GET login ───────────────▶ Provider.Login
//	  │ ◀── 302, sealed cookie ────┘  state, nonce, PKCE verifier, where to go
//	  │ GET authorization_endpoint ───────────────────────────────────────────▶ signs the user in
//	  │ ◀── 302 callback?code&state&iss ─────────────────────────────────────────┘
//	  │ GET callback ────────────▶ Provider.Callback
//	  │                            cookie has this state? new? iss right?
//	  │                            code, verifier, client's secret or assertion ─▶ token_endpoint
//	  │                            ID token: signature, iss, aud, azp, exp, nonce ◀┘
//	  │                            Issuer.Identify: who is that here?
//	  │ ◀── what the caller makes of the Outcome: a session, a one-time code
//
// What is under way is in the browser's cookie, which only this process can read and which each callback uses up: see [Logins]. So a stranger who begins logins leaves
// nothing here, and what ended logins leave is bounded.
//
// Each check answers an attack: the cookie with the state, login CSRF; iss (RFC 9207), mix-up; the verifier, codes that were stolen or injected; the nonce, ID tokens of other
// logins; states that serve once, replay. Next and ReturnTo are checked before a login begins, and are sealed until it ends, so that nobody is redirected elsewhere.
//
// # Errors
//
// What a client may know is in an *auth.Refusal. Errors that wrap one say more, for the operator's log: what the provider answered, quoted and cut. Neither holds a secret, a code
// or a token.
package oidc
