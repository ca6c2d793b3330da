import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import MongoStore from 'connect-mongo'
import connectPgSimple from 'connect-pg-simple'
import { RedisStore } from 'connect-redis'
import expressSession from 'express-session'
import memorystore from 'memorystore'
import { MongoClient } from 'mongodb'
import pg from 'pg'
import { createClient } from 'redis'
import t from 'tap'
import type { Test } from 'tap'
import { newKey } from '../../lib/testing/backend-lab.js'
import { openBackend, testBackend, TestClock } from '../../lib/testing/index.js'
import { expressStore } from '../../stores/express.js'
import type { ExpressStore } from '../../stores/express.js'
import { noMongodb, startMongodb } from '../engines/mongodb.js'
import { noPostgres, startPostgres } from '../engines/postgres.js'
import { noRedis, startRedis } from '../engines/redis.js'
import { httpStories } from '../helpers/http-stories.js'

interface Teardown { teardown (end: () => unknown): void }

const abilities = ['ping'] as const
const MemoryStore = memorystore(expressSession)
const PgStore = connectPgSimple(expressSession)
/** It comes without types. */
const FileStore = createRequire(import.meta.url)('session-file-store')(expressSession) as
  new (options: { path: string, retries: number, reapInterval: number, logFn (): void }) => ExpressStore

/** The same store object for the same space: two instances in one process take turns. */
function oneEach (create: (space: string) => ExpressStore) {
  const stores = new Map<string, ExpressStore>()
  return (space: string) => {
    const store = stores.get(space) ?? create(space)
    stores.set(space, store)
    return expressStore({ store })
  }
}

/** As an application would: it fails at once while the server is away, and a silent server is noticed. */
async function openRedis (t: Teardown, url: string) {
  const client = createClient({
    url, disableOfflineQueue: true, commandOptions: { timeout: 2000 }, socket: { reconnectStrategy: 100 }
  })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.destroy())
  return client
}

async function openMongodb (t: Teardown, url: string) {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 1000, socketTimeoutMS: 2000 })
  await client.connect()
  t.teardown(() => client.close())
  return client
}

function openPostgres (t: Teardown, connectionString: string) {
  const pool = new pg.Pool({ connectionString, max: 4, connectionTimeoutMillis: 1000, query_timeout: 2000 })
  pool.on('error', () => {})
  pool.on('connect', client => client.on('error', () => {}))
  t.teardown(() => pool.end())
  return pool
}

/** connect-pg-simple creates one table in a schema, for the names of its indexes are fixed. */
function pgStore (pool: pg.Pool, schemaName: string): ExpressStore {
  let prepared: Promise<unknown> | undefined
  const query = async (text: string, values: unknown[]) => {
    await (prepared ??= pool.query(`create schema if not exists "${schemaName}"`))
    return pool.query(text, values)
  }
  return new PgStore({
    pool: { query } as unknown as pg.Pool, schemaName, createTableIfMissing: true, pruneSessionInterval: false
  })
}

t.test('memorystore', async t => {
  const store = oneEach(() => new MemoryStore({}))
  testBackend({ test: t.test, store, abilities, rounds: 300, numRuns: 20 })
  httpStories({ test: t.test, name: 'memorystore', store })
  httpStories({ test: t.test, name: 'memorystore', store, cookie: 'signed' })
})

t.test("express-session's own MemoryStore", async t => {
  const store = oneEach(() => new expressSession.MemoryStore())
  testBackend({ test: t.test, store, abilities, rounds: 300, numRuns: 20 })
})

t.test('connect-redis', { skip: noRedis }, async t => {
  const { url, control } = await startRedis(t)
  const client = await openRedis(t, url)
  const store = oneEach(prefix => new RedisStore({ client, prefix }))
  testBackend({ test: t.test, store, abilities, rounds: 300, numRuns: 20, engine: control })
  httpStories({ test: t.test, name: 'connect-redis', store })
  secondObject(t, prefix => new RedisStore({ client, prefix }))

  t.test('Redis removes what has expired, whatever our clock says', async t => {
    await lifetimes(t, new RedisStore({ client, prefix: 'ttl:' }), key => client.ttl(`ttl:${key}`))
    t.strictSame(await client.keys('ttl:*'), [])
  })
})

t.test('connect-pg-simple', { skip: noPostgres }, async t => {
  const { url, control } = await startPostgres(t)
  const pool = openPostgres(t, url)
  const store = oneEach(space => pgStore(pool, space))
  testBackend({ test: t.test, store, abilities, rounds: 300, numRuns: 20, engine: control })
  httpStories({ test: t.test, name: 'connect-pg-simple', store })
  secondObject(t, space => pgStore(pool, space))

  t.test('the row says when it has expired, whatever our clock says', async t => {
    await lifetimes(t, pgStore(pool, 'ttl'), async key => {
      const { rows } = await pool.query('select expire from ttl.session where sid = $1', [key])
      return Math.round((Number(rows[0].expire) - Date.now()) / 1000)
    })
    t.strictSame((await pool.query('select sid from ttl.session')).rows, [])
  })
})

t.test('connect-mongo', { skip: noMongodb }, async t => {
  const { url, control } = await startMongodb(t)
  const client = await openMongodb(t, url)
  const create = (collectionName: string) =>
    new MongoStore({ client, dbName: `express-${process.pid}`, collectionName, autoRemove: 'disabled' })
  const store = oneEach(create)
  testBackend({ test: t.test, store, abilities, rounds: 300, numRuns: 20, engine: control })
  httpStories({ test: t.test, name: 'connect-mongo', store })
  secondObject(t, create)
})

t.test('session-file-store', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'session-file-store-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const create = (space: string) => {
    const path = join(directory, encodeURIComponent(space))
    return new FileStore({ path, retries: 0, reapInterval: -1, logFn () {} })
  }
  const store = oneEach(create)
  testBackend({ test: t.test, store, abilities, rounds: 300, numRuns: 20 })
  httpStories({ test: t.test, name: 'session-file-store', store })
  secondObject(t, create)
})

/** As in another process: no turns in common, but the same records. */
function secondObject (t: Test, create: (space: string) => ExpressStore) {
  t.test('a second store object sees every write at once', async t => {
    const clock = new TestClock()
    const [one, two] = await Promise.all([0, 1].map(async () => {
      const { backend, close } = await openBackend(expressStore({ store: create('second') }), { clock })
      t.teardown(close)
      return backend
    }))
    const key = newKey()
    const index = { principal: 'ada', createdAt: clock.now() }
    const record = (value: string) => ({ value, version: newKey(), expiresAt: clock.now() + 60_000 })
    const first = record('first')
    const second = record('second')
    t.equal(await one.create(key, first, index), true)
    t.equal(await two.create(key, second, index), false)
    t.equal(await two.update(key, second, index, first.version), 'ok')
    t.equal(await one.update(key, first, index, first.version), 'conflict')
    t.match(await one.read(key), second)
    t.equal(await one.remove(key), 'ok')
    t.equal(await two.update(key, first, index, second.version), 'missing')
    t.equal(await two.touch(key, clock.now() + 1000), false)
    t.equal(await two.read(key), null)
  })
}

/** @param left how many seconds the engine still keeps a record */
async function lifetimes (t: Test, store: ExpressStore, left: (key: string) => Promise<number>) {
  const clock = new TestClock(Date.now() - 86_400_000)
  const { backend, close } = await openBackend(expressStore({ store }), { clock })
  t.teardown(close)
  const key = newKey()
  const index = { principal: null, createdAt: clock.now() }
  const record = (seconds: number) => ({ value: 'data', version: 'one', expiresAt: clock.now() + seconds * 1000 })
  const keptFor = async (seconds: number) => {
    const found = await left(key)
    t.ok(Math.abs(found - seconds) <= 2, `${found} seconds, not ${seconds}`)
  }

  await backend.create(key, record(600), index)
  await keptFor(600)
  await backend.update(key, record(1200), index, 'one')
  await keptFor(1200)
  await backend.touch(key, record(300).expiresAt)
  await keptFor(300)
  t.ok(await backend.read(key))
  t.equal(await backend.touch(key, clock.now()), true)
  t.equal(await backend.read(key), null)
}
