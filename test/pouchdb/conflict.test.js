// A document is changed on both sides while they are apart. The winner and the loser are the same everywhere.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { database, leaves, local, remoteOf } from './lib/parlor.js'

const a = local('a')
const b = local('b')
let server, everywhere

before(async () => {
  await database('conflict', 'anna')
  server = await remoteOf('conflict', 'anna')
  everywhere = [a, b, server]
})

async function syncAll() {
  for (const db of [a, b, a]) await db.sync(server)
}

async function sameEverywhere() {
  const [first, ...others] = await Promise.all(everywhere.map(leaves))
  for (const other of others) assert.deepEqual(other, first)
}

test('the same winner everywhere', async () => {
  await a.put({ _id: 'patient', weight: 70 })
  await syncAll()
  await a.put({ ...(await a.get('patient')), weight: 71 })
  await b.put({ ...(await b.get('patient')), weight: 72 })
  await syncAll()
  const docs = await Promise.all(everywhere.map((db) => db.get('patient', { conflicts: true })))
  assert.equal(docs[0]._conflicts.length, 1)
  for (const d of docs) assert.deepEqual(d, docs[0])
  const loser = await server.get('patient', { rev: docs[0]._conflicts[0] })
  assert.deepEqual([docs[0].weight, loser.weight].sort(), [71, 72])
  await sameEverywhere()
})

test('the longer branch wins', async () => {
  await a.put({ _id: 'long', by: 'start' })
  await syncAll()
  await a.put({ ...(await a.get('long')), by: 'a' })
  for (const by of ['b1', 'b2']) await b.put({ ...(await b.get('long')), by })
  await syncAll()
  for (const db of everywhere) assert.equal((await db.get('long')).by, 'b2')
})

test('a conflict that one side settles is settled everywhere', async () => {
  const d = await b.get('patient', { conflicts: true })
  await b.remove('patient', d._conflicts[0])
  await syncAll()
  for (const db of everywhere) assert.equal((await db.get('patient', { conflicts: true }))._conflicts, undefined)
  await sameEverywhere()
})

test('an edit against a deletion: the edit wins', async () => {
  await a.put({ _id: 'gone', n: 1 })
  await syncAll()
  await a.remove(await a.get('gone'))
  await b.put({ ...(await b.get('gone')), n: 2 })
  await syncAll()
  for (const db of everywhere) assert.equal((await db.get('gone')).n, 2)
  await sameEverywhere()
})
