import { Client } from '@elastic/elasticsearch'
import { Client as Client8 } from 'elasticsearch8'
import { test } from 'tap'
import { testBackend } from '../../lib/testing/index.js'
import { createIndex, elasticsearchStore } from '../../stores/elasticsearch.js'
import { isFake, startElasticsearch } from '../engines/elasticsearch.js'
import { httpStories } from '../helpers/http-stories.js'
import { fourProcesses } from '../helpers/processes.js'

const kind = isFake ? 'a FAKE of Elasticsearch' : 'Elasticsearch'
const abilities = ['keysOf', 'removeAllOf', 'sweep', 'count', 'ping'] as const

test(`client 9 on ${kind}`, { timeout: 300_000 }, async t => {
  const { url: node, control } = await startElasticsearch(t)
  const index = `sessions-${process.pid}-${Date.now()}`
  const admin = new Client({ node })
  await createIndex(admin, { index })
  t.teardown(() => admin.transport.request({ method: 'DELETE', path: `/${index}` }).catch(() => {}))
  const store = (space: string) => elasticsearchStore({ node, index, prefix: space })
  testBackend({ test: t.test, store, abilities, engine: control })
  for (const cookie of ['plain', 'signed'] as const) httpStories({ test: t.test, name: 'elasticsearch', store, cookie })
  fourProcesses({
    test: t.test, name: 'elasticsearch', store: () => ({ type: 'elasticsearch', node, index, prefix: 'four:' })
  })
})

test(`client 8, handed over, on ${kind}`, { timeout: 300_000 }, async t => {
  const { url: node, control } = await startElasticsearch(t)
  const index = `sessions8-${process.pid}-${Date.now()}`
  const client = new Client8({ node, requestTimeout: 2000, maxRetries: 1 })
  await createIndex(client, { index })
  t.teardown(() => client.transport.request({ method: 'DELETE', path: `/${index}` }).catch(() => {}))
  t.teardown(() => client.close())
  const store = (space: string) => elasticsearchStore({ client, index, prefix: space })
  testBackend({ test: t.test, store, abilities, engine: control, rounds: 100, numRuns: 10 })
})
