// Tokens that end while a live sync runs. The client's fetch hook makes a new one when the server refuses the old, and the sync goes on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { database, ended, leaves, local, PouchDB, remoteOf, token, until, url } from './lib/parlor.js'

test('a token that expires in mid-sync is renewed', async () => {
  await database('expiry', 'anna')
  let bearer
  let made = 0
  let refused = 0
  const renew = async () => {
    made += 1
    bearer = await token('anna', { expires: Math.floor(Date.now() / 1000) + 2 })
  }
  await renew()
  const server = new PouchDB(`${url}/expiry`, {
    fetch: async (target, opts) => {
      // A new token may end before it arrives, on a slow machine.
      for (;;) {
        opts.headers.set('authorization', 'Bearer ' + bearer)
        const res = await PouchDB.fetch(target, opts)
        if (res.status !== 401) return res
        assert.match((await res.json()).reason, /exp/)
        refused += 1
        await renew()
      }
    },
  })
  const db = local('db')
  const sync = db.sync(server, { live: true })
  const errors = []
  sync.on('error', (e) => errors.push(e))
  const patient = await remoteOf('expiry', 'anna')
  let i = 0
  await until('two tokens have ended', async () => {
    await db.put({ _id: `up-${i}`, i })
    await patient.put({ _id: `down-${i}`, i })
    i += 1
    return refused >= 2
  })
  assert.ok(made >= 3)
  await until('all is on both sides', async () => {
    const [here, there] = await Promise.all([leaves(db), leaves(patient)])
    return here.length === 2 * i && JSON.stringify(here) === JSON.stringify(there)
  })
  assert.deepEqual(errors, [])
  await ended(sync)
})

test('without renewal the sync ends with 401 and loses nothing', async () => {
  await database('expired', 'anna')
  const bearer = 'Bearer ' + (await token('anna', { expires: Math.floor(Date.now() / 1000) - 600 }))
  const server = new PouchDB(`${url}/expired`, {
    fetch: (target, opts) => {
      opts.headers.set('authorization', bearer)
      return PouchDB.fetch(target, opts)
    },
  })
  const db = local('db')
  await db.put({ _id: 'kept' })
  await assert.rejects(db.sync(server), (e) => (e.status ?? e.push?.errors?.[0]?.status ?? e.result?.status) === 401 || /401|unauthorized|exp/i.test(JSON.stringify(e) + e.message))
  assert.equal((await db.get('kept'))._id, 'kept')
})
