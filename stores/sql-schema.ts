import type { QueryExecutorProvider } from 'kysely'
import { OptionError } from '../lib/errors.js'
import { importDriver } from '../lib/define-store.js'

export type SqlDialect = 'sqlite' | 'postgres' | 'mysql'

/** Where the sessions are. */
export interface SqlTable {
  /** The name of the table: letters, digits and `_`, at most 48. Default: `sessions`. */
  table?: string
  /** The PostgreSQL schema or MySQL database that holds it. Default: the connection's own. */
  schema?: string
}

/** What we ask of a Kysely instance to know it for one. */
export interface KyselyInstance {
  getExecutor (): { readonly adapter: object }
  withoutPlugins (): object
}

/** Fits the interface `Migration` of Kysely. */
export interface SqlMigration {
  up (db: KyselyInstance): Promise<void>
  down (db: KyselyInstance): Promise<void>
}

/** A name that needs no escaping; short enough for the names of the indexes made from it. */
export const identifier = '^[A-Za-z_][A-Za-z0-9_]{0,47}$'
export const identifierRule = 'a name of at most 48 letters, digits and _, not beginning with a digit'

/**
 * A migration for your own Kysely `Migrator`: `up` creates the table and its indexes, `down` drops them.
 *
 * @throws FST_SESSIONS_OPTION when a name is not an identifier, or the dialect cannot be told from the
 * instance and is not given
 */
export function migration (options: SqlTable & { dialect?: SqlDialect } = {}): SqlMigration {
  const place = { table: options.table, schema: options.schema }
  checkNames(place)
  return {
    async up (db) {
      await execute(db, ddl(knownDialect(options.dialect, db), place))
    },
    async down (db) {
      await execute(db, [`drop table ${tableName(knownDialect(options.dialect, db), place)}`])
    }
  }
}

/**
 * The statements that create the table and its indexes, for any other tool.
 *
 * @throws FST_SESSIONS_OPTION when a name is not an identifier
 */
export function ddl (dialect: SqlDialect, place: SqlTable = {}): string[] {
  return creation(dialect, place, '')
}

/** The same, for a table that may be there. */
export function ddlIfMissing (dialect: SqlDialect, place: SqlTable): string[] {
  return creation(dialect, place, ' if not exists')
}

/** Collation C: its order does not change with the operating system, which would break the index. */
const types = {
  sqlite: { name: 'text', value: 'blob', principal: 'text', instant: 'integer' },
  postgres: { name: 'text collate "C"', value: 'bytea', principal: 'text', instant: 'bigint' },
  mysql: { name: 'varchar(191)', value: 'longblob', principal: 'blob', instant: 'bigint' }
}

function creation (dialect: SqlDialect, place: SqlTable, unless: string): string[] {
  checkNames(place)
  const { name, value, principal, instant } = types[dialect]
  const quote = quoter(dialect)
  const table = tableName(dialect, place)
  const columns = [
    `${quote('namespace')} ${name} not null`,
    `${quote('key')} ${name} not null`,
    `${quote('value')} ${value} not null`,
    `${quote('encoding')} ${name} not null`,
    `${quote('version')} ${name} not null`,
    `${quote('principal')} ${principal}`,
    `${quote('created_at')} ${instant} not null`,
    `${quote('updated_at')} ${instant} not null`,
    `${quote('expires_at')} ${instant} not null`,
    // The namespace is never first in an index: SQLite takes it for selective, which it is not.
    `primary key (${quote('key')}, ${quote('namespace')})`
  ]
  const byExpiry = quote(`${place.table ?? 'sessions'}_expires_at`)
  const byPrincipal = quote(`${place.table ?? 'sessions'}_principal`)
  const expiry = `(${quote('expires_at')}, ${quote('namespace')})`

  if (dialect === 'mysql') {
    // The index is of a prefix, because an index entry is limited to 3072 bytes. InnoDB for row locks.
    columns.push(`index ${byExpiry} ${expiry}`, `index ${byPrincipal} (${quote('principal')}(255))`)
    return [`create table${unless} ${table} (\n  ${columns.join(',\n  ')}\n) ` +
      'engine = InnoDB row_format = dynamic character set utf8mb4 collate utf8mb4_bin']
  }
  // A hash index takes principals of any length.
  const method = dialect === 'postgres' ? 'using hash ' : ''
  return [
    `create table${unless} ${table} (\n  ${columns.join(',\n  ')}\n)`,
    `create index${unless} ${byExpiry} on ${table} ${expiry}`,
    `create index${unless} ${byPrincipal} on ${table} ${method}(${quote('principal')})`
  ]
}

function quoter (dialect: SqlDialect) {
  const mark = dialect === 'mysql' ? '`' : '"'
  return (name: string) => mark + name + mark
}

function tableName (dialect: SqlDialect, { table = 'sessions', schema }: SqlTable): string {
  const quote = quoter(dialect)
  return schema === undefined ? quote(table) : `${quote(schema)}.${quote(table)}`
}

function checkNames (place: SqlTable) {
  for (const option of ['table', 'schema'] as const) {
    const name = place[option]
    if (name !== undefined && !new RegExp(identifier).test(name)) {
      throw new OptionError(`sql store option ${option} must be ${identifierRule}`)
    }
  }
}

/** The dialect given, or that of a Kysely instance: the class of its adapter, or a parent, tells. */
export function knownDialect (given: SqlDialect | undefined, db?: KyselyInstance): SqlDialect {
  if (given !== undefined) return given
  for (let type = db?.getExecutor().adapter; type; type = Object.getPrototypeOf(type)) {
    const name = /^(Sqlite|Postgres|Mysql)/.exec(type.constructor.name)
    if (name !== null) return name[0].toLowerCase() as SqlDialect
  }
  throw new OptionError("sql store option dialect must be 'sqlite', 'postgres' or 'mysql'" +
    (db === undefined ? ', received nothing' : '; it cannot be told from db'))
}

/** Runs statements one after the other. */
export async function execute (db: KyselyInstance, statements: string[]): Promise<void> {
  const { sql } = await importDriver('sql', 'kysely', () => import('kysely'))
  for (const statement of statements) await sql.raw(statement).execute(db as object as QueryExecutorProvider)
}
