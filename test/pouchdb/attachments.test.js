// Attachments of 5 MB, both ways, several in one document.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { before, test } from 'node:test'
import { database, local, md5, remoteOf, token, url } from './lib/parlor.js'

const size = 5 * 1024 * 1024
const a = local('a')
const b = local('b')
let server

before(async () => {
  await database('attachments', 'anna')
  server = await remoteOf('attachments', 'anna')
})

test('from one device to the other', async () => {
  const scan = randomBytes(size)
  await a.putAttachment('scan', 'scan.bin', scan, 'application/octet-stream')
  await a.replicate.to(server)
  await b.replicate.from(server)
  const got = await b.getAttachment('scan', 'scan.bin')
  assert.equal(got.length, size)
  assert.equal(md5(got), md5(scan))
  const { _attachments } = await server.get('scan')
  assert.equal(_attachments['scan.bin'].digest, 'md5-' + md5(scan))
  assert.equal(_attachments['scan.bin'].length, size)
})

test('several in one document', async () => {
  const files = { 'big 1.bin': randomBytes(size), 'sub/big2.bin': randomBytes(size), 'text.txt': Buffer.from('grüße\n'.repeat(5000)) }
  await a.put({
    _id: 'several',
    _attachments: Object.fromEntries(Object.entries(files).map(([name, data]) => [
      name, { content_type: name.endsWith('.txt') ? 'text/plain' : 'application/octet-stream', data },
    ])),
  })
  await a.replicate.to(server)
  await b.replicate.from(server)
  for (const [name, data] of Object.entries(files)) {
    assert.equal(md5(await b.getAttachment('several', name)), md5(data), name)
    assert.equal(md5(await server.getAttachment('several', name)), md5(data), name)
  }
  // An edit of the document alone leaves them as they are.
  await b.put({ ...(await b.get('several')), edited: true })
  await b.replicate.to(server)
  await a.replicate.from(server)
  const d = await a.get('several')
  assert.equal(d.edited, true)
  assert.equal(md5(await a.getAttachment('several', 'big 1.bin')), md5(files['big 1.bin']))
})

test('put straight to the server, read in ranges', async () => {
  const film = randomBytes(size)
  await server.putAttachment('film', 'f.mp4', film, 'video/mp4')
  const auth = 'Bearer ' + (await token('anna'))
  const part = await fetch(`${url}/attachments/film/f.mp4`, { headers: { authorization: auth, range: `bytes=${size - 100}-` } })
  assert.equal(part.status, 206)
  assert.equal(part.headers.get('content-range'), `bytes ${size - 100}-${size - 1}/${size}`)
  assert.deepEqual(Buffer.from(await part.arrayBuffer()), film.subarray(size - 100))
  await a.replicate.from(server)
  assert.equal(md5(await a.getAttachment('film', 'f.mp4')), md5(film))
  await server.removeAttachment('film', 'f.mp4', (await server.get('film'))._rev)
  await assert.rejects(server.getAttachment('film', 'f.mp4'), { status: 404 })
})
