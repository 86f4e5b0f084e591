// What the scripts need of the server under test: its address and keys, tokens, databases, and the control of its process.
import { createHash } from 'node:crypto'
import { importPKCS8, SignJWT } from 'jose'
import PouchDB from 'pouchdb'
import memory from 'pouchdb-adapter-memory'

PouchDB.plugin(memory)

export { PouchDB }
export const url = process.env.PARLOR_URL

const admin = 'Basic ' + Buffer.from(`${process.env.PARLOR_ADMIN}:${process.env.PARLOR_PASSWORD}`).toString('base64')
const es256 = await importPKCS8(process.env.PARLOR_ES256, 'ES256')
const hs256 = Buffer.from(process.env.PARLOR_HS256, 'base64')

/** Mints a token as a client does that holds the key. */
export async function token(sub, { alg = 'ES256', roles = [], expires = '10m', key, kid } = {}) {
  return new SignJWT({ '_couchdb.roles': roles })
    .setProtectedHeader({ alg, typ: 'JWT', kid: kid ?? (alg === 'ES256' ? 'es' : 'hs') })
    .setSubject(sub)
    .setIssuedAt()
    .setExpirationTime(expires)
    .sign(key ?? (alg === 'ES256' ? es256 : hs256))
}

/** Sends a request; the body is JSON, the answer {status, headers, body}. auth is an Authorization header. */
export async function request(method, path, { body, auth, headers = {} } = {}) {
  if (auth) headers = { ...headers, authorization: auth }
  if (body !== undefined) headers = { 'content-type': 'application/json', ...headers }
  const res = await fetch(url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) })
  const text = await res.text()
  return { status: res.status, headers: res.headers, body: text ? JSON.parse(text) : undefined }
}

/** Sends a request as the admin, and throws when it is refused. */
export async function asAdmin(method, path, body) {
  const r = await request(method, path, { body, auth: admin })
  if (r.status >= 400) throw new Error(`${method} ${path}: ${r.status} ${JSON.stringify(r.body)}`)
  return r.body
}

/** Makes a database whose members are these users. */
export async function database(name, ...members) {
  await asAdmin('PUT', `/${name}`)
  await asAdmin('PUT', `/${name}/_security`, { admins: { names: [], roles: ['_admin'] }, members: { names: members, roles: [] } })
}

/** A remote database; authorization gives the header of each request. */
export function remote(name, authorization, options = {}) {
  return new PouchDB(`${url}/${name}`, {
    ...options,
    fetch: async (target, opts) => {
      const auth = await authorization()
      if (auth) opts.headers.set('authorization', auth)
      return PouchDB.fetch(target, opts)
    },
  })
}

/** A remote database of a user who signs in with a token. */
export async function remoteOf(name, user, options) {
  const bearer = 'Bearer ' + (await token(user, options))
  return remote(name, () => bearer)
}

let locals = 0

/** A new local database in memory. */
export function local(name) {
  locals += 1
  return new PouchDB(`${name}-${process.pid}-${locals}`, { adapter: 'memory' })
}

/** Resolves when the condition holds. It is asked again after every change of the databases, and now and then. */
export async function until(what, condition, { within = 60_000 } = {}) {
  const end = Date.now() + within
  for (;;) {
    if (await condition()) return
    if (Date.now() > end) throw new Error(`not within ${within} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** The id and all leaf revisions of every document, deleted ones too: what must be the same everywhere after a sync. */
export async function leaves(db) {
  const { results } = await db.changes({ since: 0, style: 'all_docs' })
  return results
    .map((r) => [r.id, r.changes.map((c) => c.rev).sort()])
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Ends a live sync and resolves when it has ended. */
export async function ended(sync) {
  const done = new Promise((resolve) => sync.on('complete', resolve).on('error', resolve))
  sync.cancel()
  await done
}

export const md5 = (bytes) => createHash('md5').update(bytes).digest('base64')

/** Tells the test to stop, kill or start the server. */
export async function control(action) {
  const res = await fetch(`${process.env.PARLOR_CONTROL}/${action}`, { method: 'POST' })
  if (!res.ok) throw new Error(`${action}: ${res.status} ${await res.text()}`)
}
