// Who is not a member gets nothing, and changes nothing.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { asAdmin, database, local, remote, remoteOf, request, token } from './lib/parlor.js'

before(async () => {
  await database('refused', 'anna')
  const db = await remoteOf('refused', 'anna')
  await db.put({ _id: 'secret', text: 'for members' })
})

const asked = [
  ['GET', '/refused'], ['GET', '/refused/secret'], ['GET', '/refused/_all_docs'], ['GET', '/refused/_changes'],
  ['GET', '/refused/_security'], ['GET', '/refused/_local/x'], ['GET', '/refused/none'],
  ['POST', '/refused/_bulk_get', { docs: [{ id: 'secret' }] }], ['POST', '/refused/_revs_diff', { secret: ['1-a'] }],
  ['POST', '/refused/_find', { selector: {} }], ['POST', '/refused/_changes?filter=_selector', { selector: {} }],
  ['POST', '/refused', { text: 'mine' }], ['PUT', '/refused/new', { text: 'mine' }], ['PUT', '/refused/_local/x', {}],
  ['POST', '/refused/_bulk_docs', { docs: [{ _id: 'new' }] }], ['DELETE', '/refused/secret'], ['DELETE', '/refused'],
  ['PUT', '/refused/_security', {}], ['POST', '/refused/_compact'], ['POST', '/refused/_purge', {}],
]

test('a user who is no member gets 403', async () => {
  const auth = 'Bearer ' + (await token('eve'))
  for (const [method, path, body] of asked) {
    const r = await request(method, path, { body, auth })
    // What only an admin may is refused as CouchDB does it: 401 for server admins' requests.
    assert.ok(r.status === 403 || (r.status === 401 && ['DELETE', 'PUT', 'POST'].includes(method)), `${method} ${path}: ${r.status}`)
    assert.ok(r.body.error && r.body.reason, `${method} ${path}`)
    assert.ok(!JSON.stringify(r.body).includes('for members'))
  }
})

test('nobody gets 401', async () => {
  for (const [method, path, body] of asked) {
    const r = await request(method, path, { body })
    assert.equal(r.status, 401, `${method} ${path}`)
    assert.equal(r.body.error, 'unauthorized')
  }
})

test('a sync of one who is no member is refused', async () => {
  const db = local('db')
  await db.put({ _id: 'mine' })
  const eve = await remoteOf('refused', 'eve')
  await assert.rejects(db.replicate.from(eve), { status: 403 })
  await assert.rejects(db.replicate.to(eve), { status: 403 })
  await assert.rejects(db.replicate.from(remote('refused', () => undefined)), { status: 401 })
  assert.deepEqual((await db.allDocs()).rows.map((r) => r.id), ['mine'])
})

test('a member may write documents, not design documents nor security', async () => {
  const anna = await remoteOf('refused', 'anna')
  await anna.put({ _id: 'allowed' })
  await assert.rejects(anna.put({ _id: '_design/mine', language: 'javascript' }), (e) => e.status === 401 || e.status === 403)
  const auth = 'Bearer ' + (await token('anna'))
  const r = await request('PUT', '/refused/_security', { body: {}, auth })
  assert.ok(r.status === 401 || r.status === 403, String(r.status))
})

test('nothing was changed', async () => {
  const { rows } = await asAdmin('GET', '/refused/_all_docs')
  assert.deepEqual(rows.map((r) => r.id), ['allowed', 'secret'])
  assert.deepEqual((await asAdmin('GET', '/refused/_security')).members.names, ['anna'])
})
