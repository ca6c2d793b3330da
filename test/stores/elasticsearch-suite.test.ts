import { Client } from '@elastic/elasticsearch'
import { Client as OpenSearch } from '@opensearch-project/opensearch'
import { Client as Client8 } from 'elasticsearch8'
import { test } from 'tap'
import { testBackend } from '../../lib/testing/index.js'
import { createIndex, elasticsearchStore } from '../../stores/elasticsearch.js'
import type { ElasticsearchClient } from '../../stores/elasticsearch.js'
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

const opened = { requestTimeout: 2000, maxRetries: 1 }
const handedOver: Record<string, (node: string) => ElasticsearchClient & { close (): unknown }> = {
  'client 8': (node: string) => new Client8({ node, ...opened }),
  "OpenSearch's client": (node: string) => new OpenSearch({ node, ...opened })
}

for (const [name, make] of Object.entries(handedOver)) {
  test(`${name}, handed over, on ${kind}`, { timeout: 300_000 }, async t => {
    const { url: node, control } = await startElasticsearch(t)
    const index = `sessions-${name.replace(/\W/g, '').toLowerCase()}-${process.pid}-${Date.now()}`
    const client = make(node)
    await createIndex(client, { index })
    t.teardown(() => client.close())
    t.teardown(() => client.transport.request({ method: 'DELETE', path: `/${index}` }).catch(() => {}))
    const store = (space: string) => elasticsearchStore({ client, index, prefix: space })
    testBackend({ test: t.test, store, abilities, engine: control, rounds: 100, numRuns: 10 })
  })
}
