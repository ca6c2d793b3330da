import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { DummyDriver, Kysely, MssqlAdapter, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely'
import { test } from 'tap'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { migration, sqlStore } from '../../stores/sql.js'
import { connectionOf } from '../helpers/store-kit.js'
import { onEachDialect } from './sql-dialects.js'

type Options = NonNullable<Parameters<typeof sqlStore>[0]>

/** A Kysely instance without a database. */
function instance (Adapter: new () => SqliteAdapter | MssqlAdapter) {
  return new Kysely<unknown>({
    dialect: {
      createAdapter: () => new Adapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: db => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler()
    }
  })
}

test('options that do not fit together', async t => {
  const url = 'postgres://ada:secret@127.0.0.1:1/a'
  const db = instance(SqliteAdapter)
  for (const [options, message] of [
    [{}, "sql store option dialect must be 'sqlite', 'postgres' or 'mysql', received nothing"],
    [{ url }, "sql store option dialect must be 'sqlite', 'postgres' or 'mysql', received nothing"],
    [{ dialect: 'sqlite' }, 'sql store with sqlite takes the option filename, received none'],
    [{ dialect: 'sqlite', url }, 'sql store with sqlite takes the option filename, received url'],
    [{ dialect: 'mysql' }, 'sql store with mysql takes the option url or pool, received none'],
    [{ dialect: 'postgres', filename: 'a' }, 'sql store with postgres takes the option url or pool, received filename'],
    [{ db, filename: 'a' }, 'sql store with sqlite takes the option db, received db and filename'],
    [{ db: instance(MssqlAdapter) },
      "sql store option dialect must be 'sqlite', 'postgres' or 'mysql'; it cannot be told from db"],
    [{ dialect: 'sqlite', filename: 'a', schema: 'b' }, 'sql store option schema must be left out with sqlite']
  ] as const) {
    await t.rejects(openBackend(sqlStore(options)), { code: 'FST_SESSIONS_OPTION', message })
  }
  await t.rejects(migration().up(instance(MssqlAdapter)), { code: 'FST_SESSIONS_OPTION' })
})

test('options of the wrong kind, without showing the url', async t => {
  for (const [options, message] of [
    [{ url: 'ada:secret@@' }, 'url must be a URL such as postgres://user:password@host/database, ' +
      'received a string of 12 characters'],
    [{ pool: new URL('postgres://a') }, 'pool must be an object of options, received an object'],
    [{ pool: 'a' }, 'pool must be an object of options, received a string of 1 characters'],
    [{ db: {} }, 'db must be a Kysely instance, received an object'],
    [{ db: null }, 'db must be a Kysely instance, received null']
  ]) {
    t.throws(() => sqlStore(options as object), { message: `sql store option ${message}` })
  }
})

test('the adapter of an instance, or one that it extends, tells the dialect', async t => {
  class OtherAdapter extends SqliteAdapter {}
  const { close } = await openBackend(sqlStore({ db: instance(OtherAdapter) }))
  await close()
  t.pass()
})

test('equal connection options share a connection', async t => {
  const keyOf = (options: Options) => connectionOf(sqlStore({ checkTable: false, dialect: 'postgres', ...options }))
  const password = () => 'secret'
  const agent = new Proxy(new Map(), {})
  const pool = () => ({ max: 2, password, ssl: { agent, ca: ['a'] } })
  const [url, other] = ['postgres://a/a', 'postgres://a/b']
  t.equal(await keyOf({ url, pool: pool(), table: 'one' }), await keyOf({ url, pool: pool(), table: 'two' }))
  const different: Options[] = [
    { url }, { url: other }, { url, dialect: 'mysql' }, { filename: 'a', dialect: 'sqlite' },
    { url, pool: { max: 2 } }, { url, pool: { max: 3 } }, { url, connectTimeout: 1 },
    { pool: { password: () => 'a' } }, { pool: { password: () => 'a' } },
    { pool: { agent: new Map() } }, { pool: { agent: new Map() } }
  ]
  t.equal(new Set(await Promise.all(different.map(keyOf))).size, different.length)
})

onEachDialect('a database that is down at boot is a warning, and no missing table', async (t, { options, control, connect }) => {
  if (control === undefined) return t.pass('it is not ours to stop')
  const warnings: unknown[] = []
  const log = { debug () {}, info () {}, error () {}, warn: (...args: unknown[]) => { warnings.push(args) } }
  await control.stop()
  const { backend, close } = await openBackend(sqlStore(options), { log })
  t.match(warnings, [[{ err: { code: 'ECONNREFUSED' } }, /^the check of the sql table failed; /]])
  await t.rejects(backend.read('key'), { code: 'ECONNREFUSED' })
  await control.start()
  await t.rejects(backend.read('key'), { code: 'FST_SESSIONS_OPTION' }, 'now it is there, without the table')
  await migration().up(connect())
  t.equal(await backend.read('key'), null)
  await close()
}, ['postgres', 'mysql'])

for (const dialect of ['postgres', 'mysql'] as const) {
  test(`${dialect}: a server that never answers is a warning at boot, in time`, async t => {
    const server = createServer(() => {}).listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    const url = `${dialect}://ada@127.0.0.1:${(server.address() as AddressInfo).port}/a`
    const warnings: unknown[] = []
    const log = { debug () {}, info () {}, error () {}, warn: (fields: object) => { warnings.push(fields) } }
    const start = performance.now()
    const store = sqlStore({ dialect, url, connectTimeout: 0.2 })
    const { backend, close } = await openBackend(store, { log })
    t.equal(warnings.length, 1)
    await t.rejects(backend.read('key'))
    await close()
    t.ok(performance.now() - start < 3000)
  })
}

test('options of the pool reach the driver', async t => {
  for (const dialect of ['postgres', 'mysql'] as const) {
    const warnings: { err: { message: string } }[] = []
    const warn = (fields: object) => { warnings.push(fields as never) }
    const log = { debug () {}, info () {}, error () {}, warn }
    const { close } = await openBackend(sqlStore({ dialect, pool: { host: '127.0.0.1', port: 9 } }), { log })
    t.match(warnings[0].err.message, '127.0.0.1:9')
    await close()
  }
})

test('a SQLite file is shared by processes that open it at the same time', async t => {
  const filename = join(t.testdir(), 'sessions.db')
  const program = `
    import { openBackend } from './lib/testing/open-store.ts'
    import { sqlStore } from './stores/sql.ts'
    const { backend, close } = await openBackend(sqlStore({
      dialect: 'sqlite', filename: process.argv[1], createTable: true
    }))
    const index = { principal: 'ada', createdAt: 0 }
    const record = () => ({ value: '', version: crypto.randomUUID(), expiresAt: Date.now() + 60_000 })
    await backend.create('key', { ...record(), value: '0' }, index)
    for (let done = 0; done < 50;) {
      const read = await backend.read('key')
      const written = { ...record(), value: String(Number(read.value) + 1) }
      if (await backend.update('key', written, index, read.version) === 'ok') done++
    }
    await close()`
  const run = () => promisify(execFile)(process.execPath,
    ['--import=./scripts/typescript.js', '--input-type=module', '--eval', program, filename])
  await Promise.all([run(), run(), run(), run()])
  const { backend, close } = await openBackend(sqlStore({ dialect: 'sqlite', filename }), { clock: new TestClock() })
  t.equal((await backend.read('key'))?.value, '200')
  await close()
})
