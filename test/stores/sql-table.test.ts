import { Migrator, sql } from 'kysely'
import { test } from 'tap'
import { openBackend } from '../../lib/testing/open-store.js'
import type { SessionBackend } from '../../types/store.js'
import { ddl, migration, sqlStore } from '../../stores/sql.js'
import { index, newKey, onEachDialect, recordFor } from './sql-dialects.js'

async function works (backend: SessionBackend) {
  const key = newKey()
  return await backend.create(key, recordFor(60), index) && (await backend.read(key))?.value === '{"n":1}'
}

onEachDialect('the migration goes up and down, with a migrator of the application', async (t, { options, connect }) => {
  for (const names of [{}, { table: 'web_sessions', dialect: options.dialect }]) {
    const db = connect()
    const migrator = new Migrator({
      db,
      migrationTableName: `done_${names.table}`,
      provider: { getMigrations: async () => ({ '001_sessions': migration(names) }) }
    })
    const up = await migrator.migrateToLatest()
    t.equal(up.error, undefined)
    const { backend, close } = await openBackend(sqlStore({ ...options, ...names }))
    t.ok(await works(backend))
    await close()

    const down = await migrator.migrateDown()
    t.equal(down.error, undefined)
    await t.rejects(openBackend(sqlStore({ ...options, ...names })), { code: 'FST_SESSIONS_OPTION' })
  }
})

onEachDialect('a missing table is an error at boot that tells the statements, and they work', async (t, { options, connect }) => {
  const statements = ddl(options.dialect)
  t.match(statements.join(), /^create table ["`]sessions["`] \(/)
  for (const attempt of [1, 2]) {
    await t.rejects(openBackend(sqlStore(options)), {
      code: 'FST_SESSIONS_OPTION',
      message: 'sql store: the table sessions is missing or has not the columns of a session; run the migration of ' +
        `fastify-sessions/stores/sql, or:\n${statements.join(';\n')};`
    }, `attempt ${attempt}`)
  }
  const db = connect()
  for (const statement of statements) await sql.raw(statement).execute(db)
  const { backend, close } = await openBackend(sqlStore(options))
  t.ok(await works(backend))
  await close()
})

onEachDialect('a table of that name that is something else is an error too', async (t, { options, connect }) => {
  await sql.raw('create table sessions (namespace integer, value integer)').execute(connect())
  for (const createTable of [false, true]) {
    await t.rejects(openBackend(sqlStore({ ...options, createTable })))
  }
})

onEachDialect('checkTable: false asks for the table at first use', async (t, { options }) => {
  const { backend, close } = await openBackend(sqlStore({ ...options, checkTable: false }))
  await t.rejects(backend.read(newKey()), /sessions/)
  await close()
})

onEachDialect('createTable by ten instances at once, five times', async (t, { options }) => {
  const warnings: unknown[] = []
  const log = { debug () {}, info () {}, error () {}, warn: (fields: object) => { warnings.push(fields) } }
  for (let round = 0; round < 5; round++) {
    const store = () => sqlStore({ ...options, table: `made_${round}`, createTable: true })
    const opened = await Promise.all(Array.from({ length: 10 }, () => openBackend(store(), { log })))
    t.same(warnings, [])
    for (const { backend, close } of opened) {
      t.ok(await works(backend))
      await close()
    }
  }
})

onEachDialect('the table in a schema of its own', async (t, { options, connect }) => {
  const place = { schema: 'apart', table: 'web_sessions' }
  const db = connect()
  await sql.raw('create schema apart').execute(db)
  await t.rejects(openBackend(sqlStore({ ...options, ...place })), /apart["`]\.["`]web_sessions/)
  await migration(place).up(db)
  for (const own of [options, { db }]) {
    const { backend, close } = await openBackend(sqlStore({ ...own, ...place }))
    t.ok(await works(backend))
    t.equal(await backend.sweep?.(Date.now() + 120_000, 10), 1)
    await close()
  }
  await migration(place).down(db)
  await t.rejects(openBackend(sqlStore({ ...options, ...place })), { code: 'FST_SESSIONS_OPTION' })
}, ['postgres', 'mysql'])

test('names that are no identifiers are refused', async t => {
  const wrong = { code: 'FST_SESSIONS_OPTION', message: /must be a name of at most 48 letters, digits and _/ }
  for (const name of ['', '1a', 'a b', 'a"b', 'a`b', "a'b", 'a;drop table b', 'a.b', 'ä', 'a\n', 'a'.repeat(49)]) {
    for (const option of ['table', 'schema']) {
      t.throws(() => sqlStore({ dialect: 'postgres', [option]: name }), wrong)
      t.throws(() => ddl('postgres', { [option]: name }), wrong)
      t.throws(() => migration({ [option]: name }), wrong)
    }
  }
  t.match(ddl('mysql', { table: 'a'.repeat(48) }).join(), `${'a'.repeat(48)}_expires_at`)
})
