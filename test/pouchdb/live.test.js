// Two databases in memory that sync live, both ways, through the server.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { database, ended, leaves, local, remoteOf, until } from './lib/parlor.js'

const phone = local('phone')
const laptop = local('laptop')
let server, syncs

before(async () => {
  await database('live', 'anna')
  server = await remoteOf('live', 'anna')
  syncs = [
    phone.sync(await remoteOf('live', 'anna', { alg: 'ES256' }), { live: true, retry: true }),
    laptop.sync(await remoteOf('live', 'anna', { alg: 'HS256' }), { live: true, retry: true }),
  ]
  for (const s of syncs) s.on('denied', (e) => assert.fail(JSON.stringify(e)))
})

after(() => Promise.all(syncs.map(ended)))

const text = (db, id) => db.get(id).then((d) => d.text, (e) => (e.status === 404 ? e.reason : Promise.reject(e)))

test('a new document arrives on the other side', async () => {
  await phone.put({ _id: 'note', text: 'one' })
  await until('the laptop has it', async () => (await text(laptop, 'note')) === 'one')
  assert.equal(await text(server, 'note'), 'one')
})

test('an edit goes back', async () => {
  await laptop.put({ ...(await laptop.get('note')), text: 'two' })
  await until('the phone has it', async () => (await text(phone, 'note')) === 'two')
})

test('a deletion goes across', async () => {
  await phone.remove(await phone.get('note'))
  await until('the laptop has deleted it', async () => (await text(laptop, 'note')) === 'deleted')
})

test('a hundred edits from both sides at once end alike', async () => {
  for (let i = 0; i < 50; i++) {
    await Promise.all([phone.put({ _id: `p${i}`, i }), laptop.put({ _id: `l${i}`, i })])
  }
  const count = async (db) => (await db.allDocs()).rows.length
  await until('all are everywhere', async () => (await count(phone)) === 100 && (await count(laptop)) === 100)
  const want = await leaves(server)
  assert.equal(want.length, 101)
  assert.deepEqual(await leaves(phone), want)
  assert.deepEqual(await leaves(laptop), want)
})

test('ids with every kind of character', async () => {
  const ids = ['a/b', 'a+b', 'ä ö', '?q=1&x#y', '%2F', '"quoted"', '🎵']
  for (const _id of ids) await phone.put({ _id, text: _id })
  await until('all are on the laptop', async () => (await Promise.all(ids.map((id) => text(laptop, id)))).every((t, i) => t === ids[i]))
})
