// A device as 'parlor livesync add' sets it up: the settings out of its Setup URI, and PouchDB as LiveSync configures it with them.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { importPKCS8, SignJWT } from 'jose'
import { asAdmin, ended, leaves, local, PouchDB, request, until, url } from './lib/parlor.js'

const run = promisify(execFile)

/** Runs a command of the program against the server's data directory. */
const parlor = (...args) =>
  run(process.env.PARLOR_BINARY, [...args, '-data', process.env.PARLOR_DATA], {
    env: { ...process.env, PARLOR_URL: '', PARLOR_VAULT_PASSPHRASE: 'vault passphrase' },
  })

/** Opens a Setup URI as LiveSync does, and returns the settings in it. */
async function opened(uri, passphrase) {
  const text = decodeURIComponent(uri.slice('obsidian://setuplivesync?settings='.length))
  assert.equal(text.slice(0, 2), '%$')
  const sealed = Buffer.from(text.slice(2), 'base64')
  const [salt, iv, hkdfSalt] = [sealed.subarray(0, 32), sealed.subarray(32, 44), sealed.subarray(44, 76)]
  const { subtle } = crypto
  const typed = await subtle.importKey('raw', new TextEncoder().encode(passphrase), 'PBKDF2', false, ['deriveBits'])
  const master = await subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt, iterations: 310000 }, typed, 256)
  const key = await subtle.deriveKey(
    { name: 'HKDF', hash: 'SHA-256', salt: hkdfSalt, info: new Uint8Array() },
    await subtle.importKey('raw', master, 'HKDF', false, ['deriveKey']),
    { name: 'AES-GCM', length: 256 },
    false,
    ['decrypt'],
  )
  return JSON.parse(new TextDecoder().decode(await subtle.decrypt({ name: 'AES-GCM', iv }, key, sealed.subarray(76))))
}

/** The settings of a new device. */
async function added(device, auth) {
  const { stdout } = await parlor('livesync', 'add', '-user', 'alice', '-vault', 'notes', '-device', device, '-auth', auth, '-public-url', url)
  const [, uri] = stdout.match(/^Setup URI: (.*)$/m)
  const [, passphrase] = stdout.match(/^Passphrase of the URI: (.*)$/m)
  return opened(uri, passphrase)
}

/** The Authorization header that a device with these settings sends. LiveSync puts the role _admin into every token. */
async function authorization(s) {
  if (!s.useJWT) return 'Basic ' + Buffer.from(`${s.couchDB_USER}:${s.couchDB_PASSWORD}`).toString('base64')
  const key = s.jwtAlgorithm.startsWith('HS') ? Buffer.from(s.jwtKey, 'base64') : await importPKCS8(s.jwtKey, s.jwtAlgorithm)
  const token = await new SignJWT({ '_couchdb.roles': ['_admin'] })
    .setProtectedHeader({ alg: s.jwtAlgorithm, typ: 'JWT', kid: s.jwtKid })
    .setSubject(s.jwtSub)
    .setIssuedAt()
    .setExpirationTime(`${s.jwtExpDuration}m`)
    .sign(key)
  return `Bearer ${token}`
}

/** The vault of a device, as LiveSync opens it. */
const vault = (s) =>
  new PouchDB(`${s.couchDB_URI}/${s.couchDB_DBNAME}`, {
    adapter: 'http',
    skip_setup: true,
    fetch: async (target, opts) => {
      opts.headers.set('authorization', await authorization(s))
      opts.headers.set('content-type', 'application/json')
      return PouchDB.fetch(target, opts)
    },
  })

/** What LiveSync pulls and pushes with: notes alone come, their chunks are fetched by id. */
const options = { batch_size: 25, batches_limit: 25, style: 'all_docs' }
const pull = { ...options, selector: { type: { $ne: 'leaf' } } }

/** Writes a note and its chunk, as an editor's save does. */
async function save(db, name) {
  await db.bulkDocs([{ _id: `h:${name}`, type: 'leaf', data: 'x'.repeat(1000) }])
  await db.put({ _id: name, type: 'plain', children: [`h:${name}`] })
}

for (const auth of ['password', 'ES256', 'ES512', 'HS256', 'HS512']) {
  test(`${auth}: a device syncs its vault, may do nothing else, and is revoked`, async () => {
    const s = await added(`device with ${auth}`, auth)
    assert.equal(s.couchDB_DBNAME, 'alice-notes')
    assert.equal(s.useJWT ?? false, auth !== 'password')
    const [mine, remote] = [local('vault'), vault(s)]
    await save(mine, `note-${auth}`)
    await mine.replicate.to(remote, options)
    assert.deepEqual(await leaves(mine), await leaves(remote).then((all) => all.filter(([id]) => id.endsWith(`note-${auth}`))))

    // Another device begins with a pull, fetches chunks when it needs them, and stays on: LiveSync mode.
    const other = local('other')
    await other.replicate.from(remote, pull)
    assert.deepEqual((await other.get(`note-${auth}`)).children, [`h:note-${auth}`])
    await assert.rejects(other.get(`h:note-${auth}`), { status: 404 })
    const { rows } = await remote.allDocs({ keys: [`h:note-${auth}`, 'h:none'], include_docs: true })
    assert.equal(rows[0].doc.data.length, 1000)
    assert.equal(rows[1].error, 'not_found')
    const live = other.sync(remote, { ...options, live: true, retry: true, heartbeat: 30000, pull, push: options })
    live.on('denied', (e) => assert.fail(JSON.stringify(e)))
    await save(mine, `later-${auth}`)
    await mine.replicate.to(remote, options)
    await until('the other device has the note', () => other.get(`later-${auth}`).then(() => true, () => false))
    await save(other, `back-${auth}`)
    await until('the vault has its answer', () => remote.get(`h:back-${auth}`).then(() => true, () => false))
    await ended(live)

    await asAdmin('PUT', `/bob-${auth.toLowerCase()}`)
    const header = await authorization(s)
    for (const path of [`/bob-${auth.toLowerCase()}`, '/_all_dbs', '/_users/_all_docs', '/_node/_local/_config/admins', '/_tokens']) {
      const { status } = await request('GET', path, { auth: header })
      assert.equal(status, 403, path)
    }

    const { tokens } = await asAdmin('GET', '/_tokens?user=alice')
    const { id } = tokens.find((t) => t.label === `device with ${auth}`)
    await parlor('token', 'rm', id)
    await assert.rejects(remote.allDocs(), { status: 401 })
  })
}
