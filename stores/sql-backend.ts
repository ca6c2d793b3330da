import type { ExpressionBuilder } from 'kysely'
import type { StoreContext } from '../lib/define-store.js'
import type { IndexedKey, RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import type { Database, Tables } from './sql-database.js'
import type { SqlDialect } from './sql-schema.js'

type Where = ExpressionBuilder<Tables, 'sessions'>

/**
 * The verbs of the contract, each one statement.
 *
 * @param database resolves when the table is there
 */
export function createSqlBackend (
  database: () => Promise<Database>, dialect: SqlDialect, name: string, { clock, namespace }: StoreContext
): SessionBackend {
  const table = name as 'sessions'

  async function read (key: string): Promise<StoredRecord | null> {
    const row = await run(db => db.selectFrom(table).select(['value', 'encoding', 'version', 'expires_at'])
      .where(live(key)).executeTakeFirst())
    return row === undefined ? null : recordOf(row)
  }

  async function create (key: string, record: StoredRecord, index: RecordIndex): Promise<boolean> {
    const row = rowOf(record, index)
    if (await insert({ namespace, key, ...row })) return true
    // The key is taken; an expired record makes room.
    const { numUpdatedRows } = await run(db => db.updateTable(table).set(row)
      .where('namespace', '=', namespace).where('key', '=', key).where('expires_at', '<=', clock.now())
      .executeTakeFirstOrThrow())
    return numUpdatedRows > 0n
  }

  async function update (
    key: string, record: StoredRecord, index: RecordIndex, ifVersion: string
  ): Promise<WriteResult> {
    const { numUpdatedRows } = await run(db => db.updateTable(table).set(rowOf(record, index))
      .where(live(key)).where('version', '=', ifVersion).executeTakeFirstOrThrow())
    return numUpdatedRows > 0n ? 'ok' : whyNot(key)
  }

  async function touch (key: string, expiresAt: number): Promise<boolean> {
    const { numUpdatedRows } = await run(db => db.updateTable(table).set({ expires_at: expiresAt })
      .where(live(key)).executeTakeFirstOrThrow())
    return numUpdatedRows > 0n
  }

  async function remove (key: string, ifVersion?: string): Promise<WriteResult> {
    const { numDeletedRows } = await run(db => db.deleteFrom(table).where(live(key))
      .$if(ifVersion !== undefined, query => query.where('version', '=', ifVersion!)).executeTakeFirstOrThrow())
    if (numDeletedRows > 0n) return 'ok'
    return ifVersion === undefined ? 'missing' : whyNot(key)
  }

  async function * keysOf (principal: string): AsyncGenerator<IndexedKey> {
    const rows = await run(db => db.selectFrom(table)
      .select(['key', 'created_at', 'value', 'encoding', 'version', 'expires_at'])
      .where(liveOf(principal)).execute())
    for (const row of rows) {
      const record = recordOf(row)
      yield { key: row.key, createdAt: Number(row.created_at), expiresAt: record.expiresAt, record }
    }
  }

  async function removeAllOf (principal: string, except = ''): Promise<number> {
    const { numDeletedRows } = await run(db => db.deleteFrom(table)
      .where(liveOf(principal)).where('key', '!=', except).executeTakeFirstOrThrow())
    return Number(numDeletedRows)
  }

  async function sweep (now: number, limit: number): Promise<number> {
    const expired = (eb: Where) => eb.and([eb('namespace', '=', namespace), eb('expires_at', '<=', now)])
    let removed = 0
    while (removed < limit) {
      const rows = await run(db => db.selectFrom(table).select('key').where(expired)
        .orderBy('expires_at').limit(Math.min(limit - removed, 1000)).execute())
      if (rows.length === 0) break
      // Each is looked at again: it may have been touched in the meantime.
      const { numDeletedRows } = await run(db => db.deleteFrom(table).where(expired)
        .where('key', 'in', rows.map(row => row.key)).executeTakeFirstOrThrow())
      removed += Number(numDeletedRows)
    }
    return removed
  }

  async function count (): Promise<number> {
    const row = await run(db => db.selectFrom(table).select(eb => eb.fn.countAll().as('count'))
      .where('namespace', '=', namespace).where('expires_at', '>', clock.now()).executeTakeFirstOrThrow())
    return Number(row.count)
  }

  async function ping (): Promise<void> {
    await run(db => db.selectNoFrom(eb => eb.lit(1).as('one')).execute())
  }

  async function insert (row: Tables['sessions']): Promise<boolean> {
    if (dialect === 'mysql') {
      // `insert ignore` would ignore more than a taken key.
      return run(db => db.insertInto(table).values(row).execute()).then(() => true, error => {
        if (error.code === 'ER_DUP_ENTRY') return false
        throw error
      })
    }
    const { numInsertedOrUpdatedRows } = await run(db => db.insertInto(table).values(row)
      .onConflict(conflict => conflict.doNothing()).executeTakeFirstOrThrow())
    return numInsertedOrUpdatedRows! > 0n
  }

  async function whyNot (key: string): Promise<WriteResult> {
    const row = await run(db => db.selectFrom(table).select('version').where(live(key)).executeTakeFirst())
    return row === undefined ? 'missing' : 'conflict'
  }

  function live (key: string) {
    return (eb: Where) => eb.and([
      eb('namespace', '=', namespace), eb('key', '=', key), eb('expires_at', '>', clock.now())
    ])
  }

  function liveOf (principal: string) {
    return (eb: Where) => eb.and([
      eb('namespace', '=', namespace), eb('principal', '=', column(principal)), eb('expires_at', '>', clock.now())
    ])
  }

  function rowOf ({ value, version, expiresAt }: StoredRecord, { principal, createdAt }: RecordIndex) {
    return {
      value: bytesOf(value),
      encoding: typeof value === 'string' ? 'utf8' : 'binary',
      version,
      principal: principal === null ? null : column(principal),
      created_at: createdAt,
      updated_at: clock.now(),
      expires_at: expiresAt
    }
  }

  /** What a text column cannot hold is escaped as in JSON. MySQL gets bytes: it compares text loosely. */
  function column (principal: string) {
    const text = JSON.stringify(principal).slice(1, -1)
    return dialect === 'mysql' ? Buffer.from(text) : text
  }

  /** A deadlock undoes one of the statements that caused it, to be run again. */
  async function run<T> (statement: (db: Database) => Promise<T>, retries = 5): Promise<T> {
    const db = await database()
    return Promise.resolve(db).then(statement).catch(error => {
      if (retries === 0 || !isDeadlock(error)) throw discreet(error)
      return run(statement, retries - 1)
    })
  }

  return { read, create, update, touch, remove, keysOf, removeAllOf, sweep, count, ping }
}

function recordOf (row: Pick<Tables['sessions'], 'value' | 'encoding' | 'version' | 'expires_at'>): StoredRecord {
  const bytes = Buffer.from(row.value)
  return {
    value: row.encoding === 'utf8' ? bytes.toString() : bytes,
    version: row.version,
    expiresAt: Number(row.expires_at)
  }
}

function bytesOf (value: string | Uint8Array): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.length)
}

function isDeadlock (error: unknown): boolean {
  return ['40001', '40P01', 'ER_LOCK_DEADLOCK'].includes((error as { code: string }).code)
}

/** Takes from a driver's error what shows values: the statement, the row. */
export function discreet (error: unknown): unknown {
  for (const name of ['sql', 'detail']) Reflect.deleteProperty(error as object, name)
  return error
}
