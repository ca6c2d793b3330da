import { CamelCasePlugin, sql } from 'kysely'
import { inspect } from 'node:util'
import { collect } from '../../lib/testing/backend-lab.js'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { sqlStore } from '../../stores/sql.js'
import type { Database } from '../../stores/sql-database.js'
import { fill, index, newKey, onEachDialect, openOn, recordFor, someWait } from './sql-dialects.js'

onEachDialect('each verb is one statement', async (t, { connect }) => {
  const log: string[] = []
  const backend = await openOn(t, connect({ log: statement => log.push(statement) }))
  const key = newKey()
  const record = recordFor(60)

  async function count (verb: string, call: () => Promise<unknown>) {
    log.length = 0
    await call()
    return [verb, log.length]
  }

  t.same(await count('create', () => backend.create(key, record, index)), ['create', 1])
  t.same(await count('read', () => backend.read(key)), ['read', 1])
  t.same(await count('touch', () => backend.touch(key, record.expiresAt + 1)), ['touch', 1])
  t.same(await count('update', () => backend.update(key, recordFor(60), index, record.version)), ['update', 1])
  t.same(await count('lost', () => backend.update(key, record, index, record.version)), ['lost', 2])
  t.same(await count('keysOf', () => collect(backend.keysOf!('ada'))), ['keysOf', 1])
  t.same(await count('remove', () => backend.remove(key)), ['remove', 1])
  t.same(await count('removeAllOf', () => backend.removeAllOf!('ada')), ['removeAllOf', 1])
  t.same(await count('count', () => backend.count!()), ['count', 1])
  t.same(await count('sweep', () => backend.sweep!(Date.now(), 10)), ['sweep', 1])
})

onEachDialect('an instance of the application is known by itself, used as it is and never destroyed', async (t, place) => {
  const db = place.connect({ plugins: [new CamelCasePlugin()] })
  const { backend, close } = await openBackend(sqlStore({ db, createTable: true, table: 'web_sessions' }))
  const key = newKey()
  const record = recordFor(60)
  t.equal(await backend.create(key, record, index), true)
  t.same(await backend.read(key), record)
  for await (const found of backend.keysOf!('ada')) t.equal(found.createdAt, index.createdAt)
  await close()
  t.same((await sql`select 1 as one`.execute(db)).rows.length, 1)
})

onEachDialect('an operator reads the rows', async (t, { dialect, connect }) => {
  const db = connect()
  const clock = new TestClock(1_800_000_000_000)
  const backend = await openOn(t, db, clock)
  await backend.create('key', recordFor(60, clock), index)
  clock.advance(1)
  await backend.touch('key', clock.now() + 60_000)
  const text = {
    sqlite: sql<string>`cast(value as text)`,
    postgres: sql<string>`convert_from(value, 'UTF8')`,
    mysql: sql<string>`convert(value using utf8mb4)`
  }[dialect]
  const row = await db.selectFrom('sessions').selectAll().select(text.as('text'))
    .where('principal', '=', 'ada').executeTakeFirstOrThrow()
  t.match(row, { namespace: '', key: 'key', encoding: 'utf8', text: '{"n":1}' })
  t.same([row.created_at, row.updated_at, row.expires_at].map(Number),
    [1_700_000_000_000, 1_800_000_000_000, 1_800_000_061_000])
})

onEachDialect('neither the time zone of the server nor that of a connection matters', async (t, { dialect, options, connect }) => {
  const db = connect()
  await sql.raw(dialect === 'mysql'
    ? "set global time_zone = '-11:00'"
    : "alter database postgres set timezone = 'Pacific/Kiritimati'").execute(db)
  const zone = dialect === 'mysql' ? 'select @@time_zone as zone' : "select current_setting('timezone') as zone"
  const fresh = connect()
  t.not((await sql.raw<{ zone: string }>(zone).execute(fresh)).rows[0].zone, process.env.TZ ?? 'UTC')

  const clock = new TestClock()
  const { backend, close } = await openBackend(sqlStore({ ...options, createTable: true }), { clock })
  const record = recordFor(1, clock)
  await backend.create('key', record, index)
  clock.advance(0.999)
  t.same(await backend.read('key'), record)
  t.equal(await backend.sweep!(clock.now(), 10), 0)
  clock.advance(0.001)
  t.equal(await backend.read('key'), null)
  t.equal(await backend.sweep!(clock.now(), 10), 1)
  await close()
}, ['postgres', 'mysql'])

onEachDialect('the indexes are used', async (t, { dialect, connect }) => {
  const log: string[] = []
  const db = connect({ log: statement => log.push(statement) })
  const clock = new TestClock()
  const backend = await openOn(t, db, clock)
  await fill(db, 3000, i => ({ principal: `user ${i}`, expires_at: i }))
  if (dialect !== 'sqlite') await sql.raw(dialect === 'mysql' ? 'analyze table sessions' : 'analyze sessions').execute(db)

  async function plan (call: () => Promise<unknown>, values: unknown[]) {
    log.length = 0
    await call()
    const parameters = values.map(value => sql.lit(value))
    const [first, ...rest] = log[0].split(/\?|\$\d+/)
    const explain = dialect === 'sqlite' ? 'explain query plan' : 'explain'
    const statement = sql.join([sql.raw(first), ...rest.flatMap((text, i) => [parameters[i], sql.raw(text)])], sql.raw(''))
    return inspect((await sql`${sql.raw(explain)} ${statement}`.execute(db)).rows)
  }

  t.match(await plan(() => backend.sweep!(5, 2), ['', 5, 2]), /sessions_expires_at/)
  t.match(await plan(() => collect(backend.keysOf!('user 7')), ['', 'user 7', 0]), /sessions_principal/)
  await backend.create('key', recordFor(60), index)
  t.match(await plan(() => backend.read('key'), ['', 'key', 0]), /sessions_pkey|sqlite_autoindex_sessions|PRIMARY/)
})

onEachDialect('a statement that lost in a deadlock is run again', async (t, { dialect, connect }) => {
  const log: string[] = []
  const db = connect()
  const backend = await openOn(t, connect({ log: statement => log.push(statement) }))
  for (const key of ['1', '2', '3']) await backend.create(key, recordFor(60), index)
  const touch = (within: Database, key: string) => within.updateTable('sessions')
    .set({ expires_at: Date.now() + 90_000 }).where('namespace', '=', '').where('key', '=', key).execute()

  // The removal has 1 and waits for 2; one transaction has 3 and waits for 1; then 2 becomes free.
  const [removing] = await db.transaction().execute(async one => {
    // PostgreSQL ends the statement that looks first, MySQL the transaction that has changed less.
    if (dialect === 'postgres') await sql`set local deadlock_timeout = '1min'`.execute(one)
    else await fill(one, 50, () => ({ principal: null, expires_at: 1 }))
    await touch(one, '3')
    const [begun, touching] = await db.transaction().execute(async other => {
      await touch(other, '2')
      log.length = 0
      const removal = backend.removeAllOf!('ada')
      await someWait(1, db, dialect)
      const touched = touch(one, '1')
      await someWait(2, db, dialect)
      return [removal, touched] as const
    })
    await touching
    return [begun]
  })
  t.equal(await removing, 3)
  t.ok(log.filter(statement => statement.startsWith('delete')).length > 1)
}, ['postgres', 'mysql'])

onEachDialect('an error carries neither key nor value', async (t, { connect, dialect }) => {
  const db = connect()
  const backend = await openOn(t, db)
  const record = recordFor(60, undefined, 'the-secret-value')
  await sql.raw('alter table sessions add constraint never check (expires_at < 0)').execute(db)
  const failure = await backend.create('the-secret-key', record, index).then(() => undefined, error => error)
  t.match(inspect(failure, { depth: 9 }), /never|constraint/i)
  t.notMatch(inspect(failure, { depth: 9 }), /the-secret|7468652d7365637265742d/, dialect)
}, ['postgres', 'mysql'])
