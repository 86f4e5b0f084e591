// Package oidc signs users on who are known to an OpenID provider, or to any other issuer of signed tokens.
//
//	client := oidc.NewClient(oidc.ClientOptions{})                  // https alone, and no private addresses
//	keys, err := oidc.NewKeySet(oidc.KeySetOptions{Issuer: "https://login.example.com/", Client: client})
//	defer keys.Close()
//	corp, err := oidc.NewIssuer(oidc.IssuerOptions{
//		Name: "corp", Issuer: "https://login.example.com/", Audience: []string{"parlor"}, Keys: keys, Directory: new(oidc.Memory),
//		Mapping: oidc.Mapping{RolesPath: "realm_access.roles", Unknown: oidc.Register},
//	})
//	tokens, err := oidc.NewIssuers([]*oidc.Issuer{corp})            // the Method "jwt", for auth.First
//
// # Keys
//
// A [KeySet] keeps an issuer's keys: it fetches them when they are first needed, keeps them as long as HTTP says, fetches them again before that ends, and never
// lets strangers decide how often. A provider that is down when the program starts is found when it is back; one that goes down later is missed by nobody until its keys change. A
// key that the provider has taken away is trusted until the next fetch: its max-age is how long a stolen one can be used.
//
// # Bearer tokens
//
// An [Issuer] takes the tokens of one issuer for one audience, and [Issuers] those of several. What a token must be is said at [jwt.Verifier]. It is
// never a server admin's, unless [Mapping] says so.
//
// # Who somebody is
//
// [Mapping] gives somebody a name here, and lets nobody be someone else. Who is in the [Directory] must be linked there to the issuer and sub of the token. Claims that users
// can change at their provider (preferred_username, an e-mail address that nobody verified) are no names to tell people apart by where unknown users are let in
// without an entry: sub is.
//
// # A login
//
// A [Provider] is the login flow in a browser (OpenID Connect Core §3.1, code flow with PKCE), and logout at the provider and from it.
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
