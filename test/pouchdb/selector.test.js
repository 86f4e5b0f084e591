// Pulls that take only a part: by selector and by ids, once and live.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { database, ended, local, remoteOf, until } from './lib/parlor.js'

let server

before(async () => {
  await database('selector', 'anna')
  server = await remoteOf('selector', 'anna')
  await server.bulkDocs([
    { _id: 'n1', type: 'note', at: 1 }, { _id: 'n2', type: 'note', at: 5, tags: ['x', 'y'] },
    { _id: 'p1', type: 'photo', at: 2 }, { _id: 'none' },
  ])
})

const ids = async (db) => (await db.allDocs()).rows.map((r) => r.id)

for (const [selector, want] of [
  [{ type: 'note' }, ['n1', 'n2']],
  [{ type: { $ne: 'note' } }, ['p1']], // a document without the member has none that differs
  [{ type: 'note', at: { $gt: 1 } }, ['n2']],
  [{ $or: [{ tags: { $elemMatch: { $eq: 'y' } } }, { at: 2 }] }, ['n2', 'p1']],
  [{ type: { $exists: false } }, ['none']],
  [{ type: 'nothing' }, []],
]) {
  test(JSON.stringify(selector), async () => {
    const db = local('db')
    await db.replicate.from(server, { selector })
    assert.deepEqual(await ids(db), want)
  })
}

test('by ids', async () => {
  const db = local('db')
  await db.replicate.from(server, { doc_ids: ['p1', 'n1', 'missing'] })
  assert.deepEqual(await ids(db), ['n1', 'p1'])
})

test('a bad selector is told', async () => {
  await assert.rejects(local('db').replicate.from(server, { selector: { type: { $nothing: 1 } } }), { status: 400 })
})

test('live', async () => {
  const db = local('db')
  const pull = db.replicate.from(server, { live: true, selector: { type: 'note' } })
  await until('the first notes are there', async () => (await ids(db)).length === 2)
  await server.bulkDocs([{ _id: 'p2', type: 'photo' }, { _id: 'n3', type: 'note' }])
  await until('the new note is there', async () => (await ids(db)).includes('n3'))
  assert.deepEqual(await ids(db), ['n1', 'n2', 'n3'])
  await ended(pull)
})
