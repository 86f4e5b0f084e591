// The server goes away and comes back while a live sync runs.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { control, database, ended, leaves, local, remoteOf, until } from './lib/parlor.js'

const a = local('a')
const b = local('b')
let server, syncs

const live = { live: true, retry: true, heartbeat: 1000, back_off_function: () => 50 }

/**
 * The remote of a live sync. PouchDB 9 asks it for its info after every batch, to show progress, and handles no failure of that: an unhandled rejection,
 * which fails the test, when the server goes just then. So its info waits for the server to come back. Nothing else is helped.
 */
async function patientRemote() {
  const db = await remoteOf('restart', 'anna')
  const info = db.info.bind(db)
  db.info = async () => {
    for (;;) {
      try {
        return await info()
      } catch (e) {
        if (e.name !== 'FetchError') throw e
        await sleep(50)
      }
    }
  }
  return db
}

before(async () => {
  await database('restart', 'anna')
  server = await remoteOf('restart', 'anna')
  syncs = [a.sync(await patientRemote(), live), b.sync(await patientRemote(), live)]
  for (const s of syncs) s.on('error', (e) => assert.fail(JSON.stringify(e)))
})

after(() => Promise.all(syncs.map(ended)))

const has = (db, id) => db.get(id).then(() => true, (e) => (e.status === 404 ? false : Promise.reject(e)))

async function alike(count) {
  await until('both have all', async () => (await leaves(a)).length === count && (await leaves(b)).length === count)
  const want = await leaves(server)
  assert.deepEqual(await leaves(a), want)
  assert.deepEqual(await leaves(b), want)
}

for (const [how, start] of [['stop', 0], ['kill', 4]]) {
  test(`${how} and start`, async () => {
    await a.put({ _id: `${how}-before` })
    await until('it arrives', () => has(b, `${how}-before`))
    await control(how)
    await a.put({ _id: `${how}-while-down-a` })
    await b.put({ _id: `${how}-while-down-b` })
    await assert.rejects(server.info())
    await control('start')
    assert.ok(await has(server, `${how}-before`))
    await until('what was written meanwhile arrives', async () =>
      (await has(b, `${how}-while-down-a`)) && (await has(a, `${how}-while-down-b`)))
    await b.put({ _id: `${how}-after` })
    await until('the feed lives again', () => has(a, `${how}-after`))
    await alike(start + 4)
  })
}
