// Ten thousand documents go up from one side and down to another.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { database, leaves, local, remoteOf } from './lib/parlor.js'

const count = 10_000

test('10,000 documents', async () => {
  await database('many', 'anna')
  const server = await remoteOf('many', 'anna')
  const from = local('from')
  const to = local('to')
  const docs = Array.from({ length: count }, (_, i) => ({
    _id: String(i).padStart(6, '0'), i, text: `document ${i} `.repeat(10),
  }))
  for (const result of await from.bulkDocs(docs)) assert.ok(result.ok)

  const up = await from.replicate.to(server, { batch_size: 1000 })
  assert.equal(up.docs_written, count)
  assert.equal(up.doc_write_failures, 0)
  assert.equal((await server.info()).doc_count, count)

  const down = await to.replicate.from(server, { batch_size: 1000 })
  assert.equal(down.docs_written, count)
  assert.deepEqual(await leaves(to), await leaves(from))
  assert.equal((await to.get('009999')).text, docs[9999].text)

  const again = await from.replicate.to(server, { batch_size: 1000 })
  assert.equal(again.docs_read, 0, 'the checkpoint was kept')
})
