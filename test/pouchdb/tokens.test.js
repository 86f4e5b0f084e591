// Tokens that the client mints itself, with both kinds of keys that the server was given.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { before, test } from 'node:test'
import { database, remoteOf, request, token } from './lib/parlor.js'

before(() => database('tokens', 'anna'))

for (const alg of ['ES256', 'HS256']) {
  test(`${alg}: the session names the user`, async () => {
    const { status, body } = await request('GET', '/_session', {
      auth: 'Bearer ' + (await token('anna', { alg, roles: ['editor'] })),
    })
    assert.equal(status, 200)
    assert.equal(body.userCtx.name, 'anna')
    assert.deepEqual(body.userCtx.roles, ['editor'])
    assert.equal(body.info.authenticated, 'jwt')
  })

  test(`${alg}: a document goes in and comes out`, async () => {
    const db = await remoteOf('tokens', 'anna', { alg })
    const { rev } = await db.put({ _id: `by-${alg}`, text: 'grüße', big: 9007199254740991 })
    assert.deepEqual(await db.get(`by-${alg}`), { _id: `by-${alg}`, _rev: rev, text: 'grüße', big: 9007199254740991 })
    await assert.rejects(db.put({ _id: `by-${alg}`, text: 'again' }), { status: 409, name: 'conflict' })
  })

  test(`${alg}: an expired token is refused`, async () => {
    const auth = 'Bearer ' + (await token('anna', { alg, expires: Math.floor(Date.now() / 1000) - 600 }))
    const { status, body } = await request('GET', '/tokens', { auth })
    assert.equal(status, 401)
    assert.match(body.reason, /exp/)
  })
}

test('a signature by another key is refused', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  for (const options of [
    { alg: 'ES256', key: privateKey },
    { alg: 'HS256', key: Buffer.from('some other secret of enough bytes') },
    { alg: 'ES256', kid: 'unknown' },
    { alg: 'HS256', kid: 'es' }, // an HMAC made with the name of a public key
  ]) {
    const { status, body } = await request('GET', '/tokens', { auth: 'Bearer ' + (await token('anna', options)) })
    assert.ok(status === 400 || status === 401, `${JSON.stringify(options)}: ${status}`)
    assert.ok(body.error && body.reason)
  }
})

test('a token without a signature is refused', async () => {
  const part = (v) => Buffer.from(JSON.stringify(v)).toString('base64url')
  const auth = `Bearer ${part({ alg: 'none', kid: 'es' })}.${part({ sub: 'anna' })}.`
  const { status } = await request('GET', '/tokens', { auth })
  assert.ok(status === 400 || status === 401, String(status))
})

test('an unknown or malformed scheme counts as no credentials', async () => {
  for (const auth of ['Basic: YW5uYTp4', 'Negotiate abc', 'Basic']) {
    const { status, body } = await request('GET', '/_session', { auth })
    assert.equal(status, 200, auth)
    assert.equal(body.userCtx.name, null)
  }
})
