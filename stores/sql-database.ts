import type * as KyselyModule from 'kysely'
import type { Dialect, Kysely, SqliteDatabase } from 'kysely'
import { importDriver } from '../lib/define-store.js'
import { OptionError } from '../lib/errors.js'
import { ddl, ddlIfMissing, execute } from './sql-schema.js'
import type { SqlDialect, SqlTable } from './sql-schema.js'

/** The table as Kysely is told of it, whatever its real name. */
export interface Tables {
  sessions: {
    namespace: string
    key: string
    value: Uint8Array
    /** How `value` is to be read: `utf8` is text, `binary` bytes. */
    encoding: string
    version: string
    principal: string | Uint8Array | null
    created_at: number
    updated_at: number
    expires_at: number
  }
}

export type Database = Kysely<Tables>

/** What a connection of our own is made of. */
export interface Connection {
  filename?: string
  url?: string
  pool?: Record<string, unknown>
  /** Seconds. */
  connectTimeout: number
}

type Module = typeof KyselyModule

/** Imports Kysely and the driver; what it resolves to makes an instance, connected at its first query. */
export async function databaseOpener (
  dialect: SqlDialect, connection: Connection
): Promise<() => Promise<Database>> {
  const kysely = await importDriver('sql', 'kysely', () => import('kysely'))
  const openDialect = await openers[dialect](kysely, connection)
  return async () => new kysely.Kysely<Tables>({ dialect: openDialect() })
}

const openers = { sqlite, postgres, mysql }

async function sqlite ({ SqliteDialect }: Module, { filename }: Connection): Promise<() => Dialect> {
  const { default: Driver } = await importDriver('sql', 'better-sqlite3', importSqlite)
  return () => new SqliteDialect({
    async database () {
      const file = new Driver(filename)
      file.pragma('busy_timeout = 5000')
      file.pragma('journal_mode = wal')
      return file
    }
  })
}

interface SqliteDriver {
  default: new (filename?: string) => SqliteDatabase & { pragma (text: string): unknown }
}

async function importSqlite (): Promise<SqliteDriver> {
  try {
    // @ts-ignore Its types are a package of their own, which may or may not be there.
    return await import('better-sqlite3')
  } catch {
    return await import('libsql') as unknown as SqliteDriver
  }
}

async function postgres ({ PostgresDialect }: Module, connection: Connection): Promise<() => Dialect> {
  const { default: pg } = await importDriver('sql', 'pg', () => import('pg'))
  return () => {
    const pool = new pg.Pool({
      connectionString: connection.url,
      connectionTimeoutMillis: connection.connectTimeout * 1000,
      keepAlive: true,
      ...connection.pool
    })
    // A connection that is lost would end the process; the query that needs it reports it.
    pool.on('error', () => {})
    pool.on('connect', client => { client.on('error', () => {}) })
    return new PostgresDialect({ pool })
  }
}

async function mysql ({ MysqlDialect }: Module, connection: Connection): Promise<() => Dialect> {
  const { default: mysql2 } = await importDriver('sql', 'mysql2', () => import('mysql2'))
  return () => {
    const pool = mysql2.createPool({
      uri: connection.url,
      connectTimeout: connection.connectTimeout * 1000,
      ...connection.pool
    })
    pool.on('connection', client => { client.on('error', () => {}) })
    return new MysqlDialect({ pool })
  }
}

export interface Preparation extends SqlTable {
  table: string
  checkTable: boolean
  createTable: boolean
}

/**
 * Sees to it that the table is there.
 *
 * @throws FST_SESSIONS_OPTION with the statements to run, when it is not
 */
export async function prepareTable (db: Database, dialect: SqlDialect, options: Preparation): Promise<void> {
  if (!options.checkTable && !options.createTable) return
  if (await isThere(db, options)) return
  if (options.createTable) {
    await createTable(db, dialect, options)
    if (await isThere(db, options)) return
  }
  throw new OptionError(`sql store: the table ${options.table} is missing or has not the columns of a session; ` +
    `run the migration of fastify-sessions/stores/sql, or:\n${ddl(dialect, options).join(';\n')};`)
}

async function isThere (db: Database, options: Preparation): Promise<boolean> {
  const table = options.table as 'sessions'
  const columns = [
    'namespace', 'key', 'value', 'encoding', 'version', 'principal', 'created_at', 'updated_at', 'expires_at'
  ] as const
  // With the name of the table: SQLite takes the quoted name of a missing column for a text.
  const probe = db.selectFrom(table).select(columns.map(column => `${table}.${column}` as const)).limit(0)
  return probe.execute().then(() => true, missing)
}

async function createTable (db: Database, dialect: SqlDialect, options: Preparation) {
  const statements = ddlIfMissing(dialect, options)
  if (dialect !== 'postgres') return execute(db, statements).catch(missing)
  // `if not exists` is no protection from others who create the same table at this moment.
  await db.transaction().execute(async transaction => {
    await execute(transaction, ['select pg_advisory_xact_lock(7361737369)', ...statements])
  }).catch(missing)
}

/** False for the error that a table or column is not there; throws every other. */
function missing (error: { code?: string, message: string }): boolean {
  const known = ['42P01', '42703', 'ER_NO_SUCH_TABLE', 'ER_BAD_FIELD_ERROR'].includes(String(error.code))
  if (known || /no such (table|column)/.test(error.message)) return false
  throw error
}
