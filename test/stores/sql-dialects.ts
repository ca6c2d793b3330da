import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Kysely, MysqlDialect, PostgresDialect, SqliteDialect, sql } from 'kysely'
import type { KyselyConfig, KyselyPlugin, SqliteDatabase } from 'kysely'
import { createPool } from 'mysql2'
import pg from 'pg'
import { test } from 'tap'
import type { Test } from 'tap'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { sqlStore } from '../../stores/sql.js'
import type { SqlDialect } from '../../stores/sql.js'
import type { Database, Tables } from '../../stores/sql-database.js'
import type { EngineControl } from '../engines/engine.js'
import { noMariadb, startMariadb } from '../engines/mariadb.js'
import { noPostgres, startPostgres } from '../engines/postgres.js'

/** A database of one dialect, empty at the beginning of a test. */
export interface Place {
  dialect: SqlDialect
  /** The store's options that lead there. */
  options: { dialect: SqlDialect, filename?: string, url?: string }
  control?: EngineControl
  /** A Kysely instance of the test's own, destroyed with it; `log` gets each statement when it is done. */
  connect (settings?: { log?: (statement: string) => unknown, plugins?: KyselyPlugin[] }): Database
}

/** Registers a test for each dialect; those without an engine are skipped. */
export function onEachDialect (
  name: string, run: (t: Test, place: Place) => Promise<unknown>,
  dialects: readonly SqlDialect[] = ['sqlite', 'postgres', 'mysql']
): void {
  const skips = { sqlite: false, postgres: noPostgres, mysql: noMariadb }
  for (const dialect of dialects) {
    test(`${dialect}: ${name}`, { skip: skips[dialect] }, async t => run(t, await places[dialect](t)))
  }
}

const places = {
  async sqlite (t: Test): Promise<Place> {
    const filename = join(t.testdir(), 'sessions.db')
    const Driver = createRequire(import.meta.url)('libsql') as new (name: string) => SqliteDatabase
    const connect = connector(t, () => new SqliteDialect({ database: new Driver(filename) }))
    return { dialect: 'sqlite', options: { dialect: 'sqlite', filename }, connect }
  },
  async postgres (t: Test): Promise<Place> {
    const { url, control } = await startPostgres(t)
    const connect = connector(t, () => {
      const pool = new pg.Pool({ connectionString: url })
      // The engine may be stopped before it has seen that the pool was.
      pool.on('error', () => {})
      pool.on('connect', client => { client.on('error', () => {}) })
      return new PostgresDialect({ pool })
    })
    return { dialect: 'postgres', options: { dialect: 'postgres', url }, control, connect }
  },
  async mysql (t: Test): Promise<Place> {
    const { url, control } = await startMariadb(t)
    const connect = connector(t, () => new MysqlDialect({ pool: createPool(url) }))
    return { dialect: 'mysql', options: { dialect: 'mysql', url }, control, connect }
  }
}

function connector (t: Test, dialect: () => KyselyConfig['dialect']): Place['connect'] {
  return ({ log, plugins } = {}) => {
    const db = new Kysely<Tables>({
      dialect: dialect(),
      plugins,
      log: event => { log?.(event.query.sql) }
    })
    t.teardown(() => db.destroy())
    return db
  }
}

export const newKey = () => randomBytes(32).toString('base64url')
export const index = { principal: 'ada', createdAt: 1_700_000_000_000 }

export function recordFor (seconds: number, clock = new TestClock(), value: string | Uint8Array = '{"n":1}') {
  return { value, version: newKey(), expiresAt: clock.now() + seconds * 1000 }
}

/** The store on an instance of the test's own. */
export async function openOn (t: Test, db: Database, clock = new TestClock()) {
  const { backend, close } = await openBackend(sqlStore({ db, createTable: true }), { clock })
  t.teardown(close)
  return backend
}

/** Resolves when so many statements wait for the locks of others. */
export async function someWait (count: number, db: Database, dialect: SqlDialect) {
  const waiting = dialect === 'mysql'
    ? sql`select 1 from information_schema.innodb_trx where trx_state = 'LOCK WAIT'`
    : sql`select 1 from pg_stat_activity where wait_event_type = 'Lock'`
  // MariaDB renews this table only after it has not been read for a tenth of a second.
  while ((await waiting.execute(db)).rows.length < count) await delay(150)
}

type Varied = Pick<Tables['sessions'], 'principal' | 'expires_at'>

/** Inserts rows in the namespace ''. */
export async function fill (db: Database, rows: number, vary: (i: number) => Varied) {
  const batch = 500
  for (let first = 0; first < rows; first += batch) {
    await db.insertInto('sessions').values(Array.from({ length: Math.min(batch, rows - first) }, (_, i) => ({
      namespace: '',
      key: newKey(),
      value: Buffer.from('{}'),
      encoding: 'utf8',
      version: 'v',
      created_at: 0,
      updated_at: 0,
      ...vary(first + i)
    }))).execute()
  }
}
