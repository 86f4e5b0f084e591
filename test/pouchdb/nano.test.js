// nano, CouchDB's own client, as the admin with Basic and with a cookie.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { before, test } from 'node:test'
import Nano from 'nano'
import { url } from './lib/parlor.js'

const { PARLOR_ADMIN: user, PARLOR_PASSWORD: password } = process.env
const nano = Nano(url.replace('://', `://${encodeURIComponent(user)}:${encodeURIComponent(password)}@`))
const db = nano.use('nano')

before(() => nano.db.create('nano'))

test('databases', async () => {
  assert.ok((await nano.db.list()).includes('nano'))
  assert.equal((await nano.db.get('nano')).db_name, 'nano')
  await assert.rejects(nano.db.create('nano'), { statusCode: 412 })
  await nano.db.create('short-lived')
  assert.deepEqual(await nano.db.destroy('short-lived'), { ok: true })
  await assert.rejects(nano.db.get('short-lived'), { statusCode: 404 })
  assert.equal((await nano.uuids(3)).uuids.length, 3)
})

test('documents', async () => {
  const first = await db.insert({ text: 'one' }, 'doc')
  assert.match(first.rev, /^1-[0-9a-f]{32}$/)
  await assert.rejects(db.insert({ text: 'two' }, 'doc'), { statusCode: 409, error: 'conflict' })
  const second = await db.insert({ text: 'two', _rev: first.rev }, 'doc')
  assert.equal((await db.get('doc')).text, 'two')
  assert.equal((await db.get('doc', { rev: first.rev })).text, 'one')
  assert.equal((await db.head('doc')).etag, `"${second.rev}"`)
  await db.destroy('doc', second.rev)
  await assert.rejects(db.get('doc'), { statusCode: 404, reason: 'deleted' })
})

test('in bulk, listed, fetched and found', async () => {
  const made = await db.bulk({ docs: Array.from({ length: 20 }, (_, i) => ({ _id: `b${String(i).padStart(2, '0')}`, i })) })
  assert.ok(made.every((r) => r.ok && r.rev))
  const again = await db.bulk({ docs: [{ _id: 'b00', i: 0 }] })
  assert.equal(again[0].error, 'conflict')
  const page = await db.list({ start_key: 'b05', end_key: 'b07', include_docs: true })
  assert.deepEqual(page.rows.map((r) => r.doc.i), [5, 6, 7])
  const fetched = await db.fetch({ keys: ['b01', 'none'] })
  assert.equal(fetched.rows[0].doc.i, 1)
  assert.equal(fetched.rows[1].error, 'not_found')
  const found = await db.find({ selector: { i: { $gte: 18 } }, fields: ['_id'] })
  assert.deepEqual(found.docs.map((d) => d._id).sort(), ['b18', 'b19'])
})

test('an attachment', async () => {
  const data = randomBytes(100_000)
  const { rev } = await db.attachment.insert('with', 'a.bin', data, 'application/octet-stream')
  assert.deepEqual(await db.attachment.get('with', 'a.bin'), data)
  await db.multipart.insert({ text: 'x', _rev: rev }, [{ name: 'b.txt', data: Buffer.from('b'), content_type: 'text/plain' }], 'with')
  assert.equal((await db.attachment.get('with', 'b.txt')).toString(), 'b')
})

test('the reader of changes', async () => {
  const { update_seq: since } = await nano.db.get('nano')
  const live = nano.use('nano').changesReader
  const seen = new Promise((resolve, reject) => {
    const ids = []
    live.start({ since }).on('error', reject).on('change', (c) => {
      ids.push(c.id)
      if (ids.length === 3) resolve(ids)
    })
  })
  for (const id of ['seen-1', 'seen-2', 'seen-3']) await db.insert({}, id)
  assert.deepEqual(await seen, ['seen-1', 'seen-2', 'seen-3'])
  live.stop()

  const all = []
  const catchUp = nano.use('nano').changesReader.get({ since: 0, batchSize: 7, timeout: 100 })
  catchUp.on('change', (c) => all.push(c.id))
  await once(catchUp, 'end')
  assert.equal(new Set(all).size, all.length)
  assert.ok(all.length > 20, `${all.length} changes`)

  const spooled = []
  const spool = nano.use('nano').changesReader.spool({ since: 0 })
  spool.on('batch', (b) => spooled.push(...b.map((c) => c.id)))
  await once(spool, 'end')
  assert.deepEqual(spooled, all)
})

test('signed in by cookie', async () => {
  const plain = Nano(url)
  await plain.auth(user, password)
  const session = await plain.session()
  assert.equal(session.userCtx.name, user)
  assert.equal(session.info.authenticated, 'cookie')
})

test('a wrong password', async () => {
  const wrong = Nano(url.replace('://', `://${user}:wrong@`))
  await assert.rejects(wrong.db.list(), { statusCode: 401, reason: 'Name or password is incorrect.' })
})
