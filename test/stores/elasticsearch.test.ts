import { Client, errors } from '@elastic/elasticsearch'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { test } from 'tap'
import { newKey } from '../../lib/testing/backend-lab.js'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { createIndex, elasticsearchStore, indexDefinition } from '../../stores/elasticsearch.js'
import type { ElasticsearchClient } from '../../stores/elasticsearch.js'
import { startFake } from '../engines/elasticsearch-fake.js'
import { isFake, startElasticsearch } from '../engines/elasticsearch.js'
import {
  ada, connectionOf, failsInTime, failure, hashOf,
  isOneWriteWhenSentTwice, nobody, opener, record, refuses, verbs
} from '../helpers/store-kit.js'

type Options = NonNullable<Parameters<typeof elasticsearchStore>[0]>
type Asked = Parameters<ElasticsearchClient['transport']['request']>[0]
type Hits = { hits: { hits: unknown[] } }

const kind = isFake ? 'a FAKE of Elasticsearch' : 'Elasticsearch'
const open = opener(elasticsearchStore)

test('options', async t => {
  await refuses(t, elasticsearchStore, [
    [{ node: '' }, /^elasticsearch store option node must be a URL or a list of URLs/],
    [{ node: [] }, /option node must be a URL or a list of URLs, received an array/],
    [{ apiKey: '' }, /option apiKey must be a non-empty string/],
    [{ auth: 'hunter2' }, /option auth must be an object such as { username, password }, received a string/],
    [{ auth: ['hunter2'] }, /option auth/],
    [{ auth: null }, /option auth/],
    [{ client: {} }, /option client must be a client of Elasticsearch or OpenSearch, received an object/],
    [{ client: null }, /option client .* received null/],
    [{ index: 'Sessions' }, /option index must be a name of lower case letters, digits/],
    [{ index: '_all' }, /option index/],
    [{ index: 'a*' }, /option index/],
    [{ index: 'x'.repeat(256) }, /option index/],
    [{ prefix: 'ż' }, /option prefix must be a text of at most 200 ASCII characters/],
    [{ prefix: 'x'.repeat(201) }, /option prefix/]
  ])
})

test('only one way to connect, and one to prove who it is', async t => {
  const client = new Client({ node: 'http://127.0.0.1:1' })
  await refuses(t, elasticsearchStore, [
    [{ client, node: 'http://:hunter2@127.0.0.1:1' }, 'options client and node exclude each other'],
    [{ client, apiKey: 'hunter2', auth: { bearer: 'hunter2' } }, 'options client and apiKey and auth exclude'],
    [{ apiKey: 'hunter2', auth: { bearer: 'hunter2' } }, 'options apiKey and auth exclude each other']
  ])
})

test('a connection is shared by what has the same nodes and account', async t => {
  const keyOf = (options: Options) => connectionOf(elasticsearchStore(options))
  const node = 'http://127.0.0.1:1'
  t.equal(await keyOf({ node, apiKey: 'a', index: 'one' }), await keyOf({ node, auth: { apiKey: 'a' }, index: 'two' }))
  t.equal(await keyOf({}), await keyOf({ node: 'http://localhost:9200' }))
  const different = [{}, { node }, { node: [node, node] }, { apiKey: 'a' }, { apiKey: 'b' }, { auth: { bearer: 'a' } }]
  t.equal(new Set(await Promise.all(different.map(keyOf))).size, different.length)
  t.equal(await keyOf({ client: new Client({ node }) }), '')
})

test('an account proves itself to any of the nodes', async t => {
  const asked: unknown[] = []
  const server = createServer((request, response) => {
    asked.push(request.headers.authorization)
    const error = { type: 'security_exception', reason: `missing credentials for ${request.url}` }
    response.writeHead(401, { 'x-elastic-product': 'Elasticsearch', 'content-type': 'application/json' })
    response.end(JSON.stringify({ error, status: 401 }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const node = [`http://127.0.0.1:${(server.address() as AddressInfo).port}`]
  const basic = `Basic ${Buffer.from('ada:hunter2').toString('base64')}`
  for (const [given, header] of [
    [{ apiKey: 'hunter2' }, 'ApiKey hunter2'],
    [{ auth: { username: 'ada', password: 'hunter2' } }, basic]
  ] as const) {
    const backend = await open(t, { node, ...given })
    const error = await failure(() => backend.read(newKey()))
    t.equal(error.message, 'status 401: security_exception')
    t.notMatch(inspect(error, { showHidden: true, depth: 10 }), 'hunter2')
    t.equal(asked.splice(0).at(-1), header)
  }
})

test('an answer without a reason', async t => {
  const server = createServer((_request, response) => {
    response.writeHead(500, { 'x-elastic-product': 'Elasticsearch' }).end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const node = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const backend = await open(t, { node })
  await t.rejects(backend.read(newKey()), { message: 'status 500: no reason given' })
})

test(`on ${kind}`, { timeout: 120_000 }, async t => {
  const { url: node } = await startElasticsearch(t)
  const index = `sessions-${process.pid}-${Date.now()}`
  const admin = new Client({ node })
  const request = <T = Record<string, unknown>> (method: string, path: string) =>
    admin.transport.request<T>({ method, path: `/${index}${path}` })
  t.teardown(() => request('DELETE', '').catch(() => {}))

  await t.test('without the index every verb says what to do, and makes none', async t => {
    const backend = await open(t, { node, index })
    for (const call of verbs(backend, newKey())) {
      t.match((await failure(call)).message, `there is no index ${index} with the mapping of sessions; make it with createIndex`)
    }
    await t.rejects(request('GET', '/_mapping'), /index_not_found/)
  })

  await t.test('nor does an index do that a write has made', async t => {
    await admin.index({ index, id: 'x', document: { space: 'a', key: 'a', principal: 'a', expiresAt: 1 } })
    const backend = await open(t, { node, index })
    for (const call of verbs(backend, newKey())) {
      t.match((await failure(call)).message, /there is no index .* with the mapping of sessions/)
    }
    await request('DELETE', '')
  })

  await t.test('the index is made once, however many make it, and found by a store that has failed', async t => {
    const backend = await open(t, { node, index })
    await failure(() => backend.read(newKey()))
    const settings = { number_of_replicas: 0 }
    await Promise.all(Array.from({ length: 10 }, () => createIndex(admin, { index, settings })))
    t.equal(await backend.read(newKey()), null)
    const { properties } = JSON.parse(indexDefinition()).mappings
    t.strictSame(await request('GET', '/_mapping'), { [index]: { mappings: { dynamic: 'false', properties } } })
    t.match(JSON.parse(indexDefinition({ settings })), {
      settings,
      mappings: { dynamic: false, properties: { space: { type: 'keyword' } } }
    })
    await t.rejects(createIndex(admin, { index: 'UPPER' }), { message: 'status 400: invalid_index_name_exception' })
  })

  await t.test('what is stored under what', async t => {
    const backend = await open(t, { node, index, prefix: 'keys/:' }, undefined, 'auth')
    const [text, bytes] = [newKey(), newKey()]
    await backend.create(text, { value: 'ż', version: 'one', expiresAt: 4e12 }, { ...ada, createdAt: 2 })
    await backend.create(bytes, { value: Uint8Array.of(255, 0), version: 'two', expiresAt: 4e12 }, nobody)
    t.strictSame(await document(`keys/:auth:${text}`), {
      space: 'keys/:auth:',
      key: text,
      text: 'ż',
      version: 'one',
      createdAt: 2,
      expiresAt: 4e12,
      principal: hashOf('ada')
    })
    t.strictSame(await document(`keys/:auth:${bytes}`), {
      space: 'keys/:auth:', key: bytes, bytes: '/wA=', version: 'two', createdAt: 1, expiresAt: 4e12
    })
    await backend.touch(text, 4e12 + 1)
    t.match(await document(`keys/:auth:${text}`), { text: 'ż', version: 'one', expiresAt: 4e12 + 1 })
  })

  await t.test('each verb is one request or two', async t => {
    const { client, sent } = recorder()
    const backend = await open(t, { client, index, prefix: 'cost:' })
    const cost = async (call: () => Promise<unknown>) => {
      sent.length = 0
      await call()
      return sent.map(({ method, path }) => `${method} ${path.split('/')[2]}`).join(', ')
    }
    const key = newKey()
    await backend.read(key)
    t.equal(await cost(() => backend.create(key, record('1'), ada)), 'PUT _create')
    t.equal(await cost(() => backend.read(key)), 'GET _doc')
    t.equal(await cost(() => backend.update(key, record('2'), ada, '1')), 'GET _doc, PUT _doc')
    t.equal(await cost(() => backend.update(key, record('3'), ada, 'another')), 'GET _doc')
    t.equal(await cost(() => backend.touch(key, Date.now() + 90_000)), 'GET _doc, POST _update')
    t.equal(await cost(() => backend.removeAllOf!('ada')), 'POST _refresh, POST _search, GET _doc, DELETE _doc')
    t.equal(await cost(() => backend.remove(key)), 'GET _doc')
    t.equal(await cost(() => backend.count!()), 'POST _refresh, POST _search')
    t.equal(await cost(() => backend.ping!()), 'GET _mapping')
    t.equal(await cost(() => backend.sweep!(Date.now(), 10)), 'POST _refresh, POST _delete_by_query')
  })

  await t.test('a decision that is out of date is taken again', async t => {
    const other = await open(t, { node, index, prefix: 'race:' })
    const key = newKey()
    let between: (() => Promise<unknown>) | undefined
    const { client } = recorder(async ({ method, path }) => {
      if (method === 'GET' || path.endsWith('_refresh') || path.includes('_search')) return
      const act = between
      between = undefined
      await act?.()
    })
    const backend = await open(t, { client, index, prefix: 'race:' })
    const soon = () => Date.now() + 60_000
    await other.create(key, record('1'), ada)

    between = () => other.touch(key, soon())
    t.equal(await backend.update(key, record('2'), ada, '1'), 'ok')
    between = () => other.update(key, record('3'), ada, '2')
    t.equal(await backend.update(key, record('4'), ada, '2'), 'conflict')
    between = () => other.update(key, record('5'), ada, '3')
    t.equal(await backend.touch(key, soon()), true)
    t.equal((await other.read(key))?.value, 'v5')
    between = () => other.update(key, record('6'), ada, '5')
    t.equal(await backend.remove(key, '5'), 'conflict')
    between = () => other.update(key, record('7'), { ...ada, principal: 'bob' }, '6')
    t.equal(await backend.removeAllOf!('ada'), 0)
    between = () => other.touch(key, soon())
    t.equal(await backend.removeAllOf!('bob'), 1)

    for (const call of [
      () => backend.update(key, record('9'), ada, '8'), () => backend.touch(key, soon()), () => backend.remove(key)
    ]) {
      await other.create(key, record('8'), ada)
      between = () => other.remove(key)
      t.match(await call(), /missing|false/)
      t.equal(await other.read(key), null)
    }

    between = () => other.create(key, record('10'), ada)
    t.equal(await backend.create(key, record('11'), ada), false)
    await other.touch(key, Date.now() - 1)
    between = () => other.create(key, record('12'), ada)
    t.equal(await backend.create(key, record('13'), ada), false)
    t.equal((await other.read(key))?.value, 'v12')
  })

  await t.test('a write sent twice, as the client does when the answer was lost, is one write', async t => {
    await isOneWriteWhenSentTwice(t, await open(t, { node, index, prefix: 'twice:' }))
  })

  await t.test('a search alone would miss what was written a moment ago', async t => {
    const backend = await open(t, { node, index, prefix: 'fresh:' })
    const key = newKey()
    await backend.create(key, record('1'), ada)
    const query = { bool: { filter: [{ term: { key } }] } }
    const before = await admin.search({ index, query }) as unknown as Hits
    if (isFake) t.strictSame(before.hits.hits, [], 'this is why there is a refresh')
    t.equal(await backend.count!(), 1)
    const after = await admin.search({ index, query }) as unknown as Hits
    t.equal(after.hits.hits.length, 1)
  })

  await t.test('more sessions of a principal than fit into one answer', async t => {
    const backend = await open(t, { node, index, prefix: 'pages:' })
    const keys = Array.from({ length: 250 }, newKey)
    for (const key of keys) await backend.create(key, record('1'), ada)
    const found = []
    for await (const { key } of backend.keysOf!('ada')) found.push(key)
    t.strictSame(found, keys.sort())
    t.equal(await backend.removeAllOf!('ada', keys[0]), 249)
  })

  await t.test('sweep leaves what was touched while it was at work', async t => {
    const clock = new TestClock()
    const backend = await open(t, { node, index, prefix: 'sweep:' }, clock)
    const [gone, touched] = [newKey(), newKey()]
    for (const key of [gone, touched]) await backend.create(key, record('1', clock.now() + 1000), ada)
    const soon = clock.now() + 1000
    const { client } = recorder(async ({ path }) => {
      if (path.includes('_delete_by_query')) await backend.touch(touched, soon + 60_000)
    })
    const sweeper = await open(t, { client, index, prefix: 'sweep:' }, clock)
    t.equal(await sweeper.sweep!(soon, 10), 1)
    t.equal((await backend.read(touched))?.value, 'v1')
    clock.advance(2)
    t.equal(await backend.create(gone, record('2', clock.now() + 1000), ada), true)
  })

  await t.test('a client of the application is used and stays open', async t => {
    const client = new Client({ node })
    t.teardown(() => client.close())
    const { backend, close } = await openBackend(elasticsearchStore({ client, index }))
    await backend.ping!()
    t.equal('close' in backend, false)
    await close()
    t.equal((await client.transport.request<object>({ method: 'GET', path: `/${index}/_mapping` })) instanceof Object, true)
  })

  await t.test('an index that is removed while the store is at work is an error, not an empty store', async t => {
    const backend = await open(t, { node, index })
    const key = newKey()
    await backend.create(key, record('1'), ada)
    await request('DELETE', '')
    await t.rejects(backend.read(key), { message: `there is no index ${index}` })
    await t.rejects(backend.update(key, record('2'), ada, '1'), { message: `there is no index ${index}` })
    await t.rejects(backend.remove(key), { message: `there is no index ${index}` })
    await t.rejects(backend.count!(), { message: 'status 404: index_not_found_exception' })
    await t.rejects(backend.ping!(), /make it with createIndex/)
  })

  async function document (id: string) {
    const { _source } = await request<{ _source: object }>('GET', `/_doc/${encodeURIComponent(id)}`)
    return _source
  }

  /** A client of the application that notes, or delays, what it is asked. */
  function recorder (before: (asked: Asked) => Promise<void> = async () => {}) {
    const sent: Asked[] = []
    const client: ElasticsearchClient = {
      transport: {
        async request (asked, options) {
          sent.push(asked)
          await before(asked)
          return admin.transport.request(asked, options)
        }
      }
    }
    return { client, sent }
  }
})

test('stopped or silent, every verb rejects within the time of the session (a FAKE of Elasticsearch)', async t => {
  const { url: node, control } = await startFake(t)
  await createIndex(new Client({ node }))
  const backend = await open(t, { node })
  await failsInTime(t, backend, control, /ECONN|other side closed|socket hang up|timed out/, 5000)
  await backend.ping!()
})

test('the FAKE refuses what it does not know, as Elasticsearch does', async t => {
  const { url: node } = await startFake(t)
  const client = new Client({ node })
  await client.indices.create({ index: 'strict' })
  const refused = (method: string, path: string, body = {}) =>
    t.rejects(client.transport.request({ method, path, body }), errors.ResponseError)
  await refused('POST', '/strict/_forcemerge')
  await refused('GET', '/strict/_doc/1/more')
  await refused('PUT', '/strict/_doc/1?if_seqno=1')
  await refused('PUT', '/strict/_doc/1?if_seq_no=1')
  await refused('POST', '/strict/_search', { query: { bool: { filter: [] } }, from: 1 })
  await refused('POST', '/strict/_search', { query: { term: { a: 'a' } } })
  await refused('POST', '/strict/_search', { query: { bool: { filter: [{ prefix: { a: 'a' } }] } }, size: 10_001 })
  await refused('POST', '/missing/_search', { query: { bool: { filter: [] } } })
})
