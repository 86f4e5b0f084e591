// Requests signed by a client library that others wrote (oauth-1.0a), sent with Node's own http: as CouchDB 1.x's users did.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import http from 'node:http'
import { before, test } from 'node:test'
import OAuth from 'oauth-1.0a'
import { asAdmin, database, url } from './lib/parlor.js'

const token = { key: 'token1', secret: 'tokensekr1t' }

const clients = Object.fromEntries(['sha1', 'sha256'].map((digest) => {
  const client = new OAuth({
    consumer: { key: 'consumer1', secret: 'sekr1t' },
    signature_method: 'HMAC-' + digest.toUpperCase(),
    hash_function: (base, key) => createHmac(digest, key).update(base).digest('base64'),
    realm: 'notes',
  })
  // What is as old as the server is refused, and this server has just been started.
  client.getTimeStamp = () => Math.floor(Date.now() / 1000) + 5
  return [digest, client]
}))

/** Signs a request; of a form, the parameters in data are signed with it. */
function sign(client, method, path, data) {
  return client.toHeader(client.authorize({ url: url + path, method, data }, token))
}

/** Sends a request and returns {status, headers, body}. */
function send(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const req = http.request(url + path, { method, headers }, (res) => {
      let text = ''
      res.setEncoding('utf8')
      res.on('data', (part) => { text += part })
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: JSON.parse(text) }))
    })
    req.on('error', reject)
    req.end(body)
  })
}

before(async () => {
  const set = (section, key, value) => asAdmin('PUT', `/_node/_local/_config/${section}/${key}`, value)
  await set('oauth_consumer_secrets', 'consumer1', 'sekr1t')
  await set('oauth_token_secrets', 'token1', 'tokensekr1t')
  await set('oauth_token_users', 'token1', 'anna')
  await set('chttpd', 'authentication_handlers',
    '{couch_httpd_oauth, oauth_authentication_handler}, {chttpd_auth, jwt_authentication_handler}, ' +
    '{chttpd_auth, cookie_authentication_handler}, {chttpd_auth, default_authentication_handler}')
  await asAdmin('PUT', '/_users/org.couchdb.user:anna', { name: 'anna', password: 'apple', roles: ['nurse'], type: 'user' })
  await database('signed', 'anna')
})

for (const [digest, client] of Object.entries(clients)) {
  test(`a GET with a query, ${digest}`, async () => {
    const path = '/_session?z=1&a=%C3%BC%20b&a=2'
    const got = await send('GET', path, sign(client, 'GET', path))
    assert.equal(got.status, 200)
    assert.deepEqual(got.body.userCtx, { name: 'anna', roles: ['nurse'] })
    assert.equal(got.body.info.authenticated, 'oauth')
  })

  test(`a document, ${digest}`, async () => {
    const path = `/signed/r%C3%A9sum%C3%A9-${digest}`
    const put = await send('PUT', path, { ...sign(client, 'PUT', path), 'Content-Type': 'application/json' }, '{"text":"hello"}')
    assert.equal(put.status, 201)
    const got = await send('GET', path, sign(client, 'GET', path))
    assert.equal(got.body.text, 'hello')
  })

  test(`a form, ${digest}`, async () => {
    const form = { name: 'anna', password: 'apple', note: 'a b&c=ü' }
    const headers = { ...sign(client, 'POST', '/_session', form), 'Content-Type': 'application/x-www-form-urlencoded' }
    const got = await send('POST', '/_session', headers, new URLSearchParams(form).toString())
    assert.equal(got.status, 200)
    assert.match(got.headers['set-cookie'][0], /^AuthSession=/)
    const changed = { ...sign(client, 'POST', '/_session', form), 'Content-Type': 'application/x-www-form-urlencoded' }
    const refused = await send('POST', '/_session', changed, new URLSearchParams({ ...form, note: 'other' }).toString())
    assert.equal(refused.status, 401)
  })
}

test('a request is good once', async () => {
  const headers = sign(clients.sha1, 'GET', '/signed')
  assert.equal((await send('GET', '/signed', headers)).status, 200)
  const again = await send('GET', '/signed', headers)
  assert.equal(again.status, 401)
  assert.match(again.headers['www-authenticate'], /^OAuth realm=/)
})

test('a bad signature is refused', async () => {
  const other = new OAuth({ ...clients.sha1, consumer: { key: 'consumer1', secret: 'guess' } })
  other.getTimeStamp = clients.sha1.getTimeStamp
  assert.equal((await send('GET', '/signed', sign(other, 'GET', '/signed'))).status, 401)
  // One that was made for another path, method or query is none for this.
  for (const [method, path] of [['GET', '/_session'], ['HEAD', '/signed'], ['GET', '/signed?a=1']]) {
    assert.equal((await send('GET', '/signed', sign(clients.sha1, method, path))).status, 401, `${method} ${path}`)
  }
})
