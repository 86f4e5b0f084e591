// A certified OpenID provider with one client for each way of signing, run by oidc_test.go:
//
//	node provider.js http://127.0.0.1:PORT
//
// The argument is where the server under test is. It prints one line of JSON: its issuer, and the private key of the client that proves itself with one. It ends with its
// standard input.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const parlor = process.argv[2]

const pairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
}
const keys = Object.entries(pairs).map(([alg, pair]) => ({ ...pair.privateKey.export({ format: 'jwk' }), alg, kid: `key of ${alg}`, use: 'sig' }))

const proof = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const clients = Object.keys(pairs).map((alg) => {
  const name = alg.toLowerCase()
  const client = {
    client_id: name,
    client_secret: `secret of ${name}`,
    redirect_uris: [`${parlor}/_oidc/${name}/callback`],
    post_logout_redirect_uris: [`${parlor}/_up`],
    backchannel_logout_uri: `${parlor}/_oidc/${name}/backchannel_logout`,
    backchannel_logout_session_required: true,
    grant_types: ['authorization_code', 'refresh_token'],
    id_token_signed_response_alg: alg,
  }
  if (alg === 'ES256') {
    delete client.client_secret
    client.token_endpoint_auth_method = 'private_key_jwt'
    client.jwks = { keys: [{ ...proof.publicKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] }
  }
  return client
})

const server = createServer()
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(pairs) },
    scopes: ['openid', 'email', 'offline_access'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    cookies: { keys: ['for tests'] },
    features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
    // Without its guard against requests to the loopback, where the server under test is.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, email: `${sub}@example.com`, email_verified: true }) }),
  })
  provider.on('server_error', (_, err) => console.error(err))
  provider.on('backchannel.error', (_, err) => console.error(err))
  server.on('request', provider.callback())
  console.log(JSON.stringify({ issuer, key: proof.privateKey.export({ type: 'pkcs8', format: 'pem' }) }))
})

process.stdin.on('end', () => process.exit()).resume()
