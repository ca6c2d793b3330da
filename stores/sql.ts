import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { defineStore, Live, withinTime } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { OptionError } from '../lib/errors.js'
import { createSqlBackend, discreet } from './sql-backend.js'
import { databaseOpener, prepareTable } from './sql-database.js'
import type { Database } from './sql-database.js'
import { identifier, identifierRule, knownDialect } from './sql-schema.js'
import type { KyselyInstance, SqlDialect } from './sql-schema.js'

export { ddl, migration } from './sql-schema.js'
export type { KyselyInstance, SqlDialect, SqlMigration, SqlTable } from './sql-schema.js'

const SqlOptions = Type.Object({
  dialect: Type.Optional(Type.Union([Type.Literal('sqlite'), Type.Literal('postgres'), Type.Literal('mysql')], {
    description: 'The SQL that the database speaks; mysql is MariaDB as well. Told from db when that is given.'
  })),
  filename: Type.Optional(Type.String({
    minLength: 1, description: 'The SQLite file. It is made when it is missing; its directory is not.'
  })),
  url: Type.Optional(Live<string>('a URL such as postgres://user:password@host/database',
    isUrl, 'The PostgreSQL or MySQL server. Never shown.')),
  pool: Type.Optional(Live<Record<string, unknown>>('an object of options', isPlain,
    'Options of the driver\'s pool (pg.Pool, mysql2.createPool), beside the url or in place of it.')),
  db: Type.Optional(Live<KyselyInstance>('a Kysely instance', isKysely,
    'A Kysely instance of your own, in place of the options above. It is never destroyed.')),
  table: Type.String({
    default: 'sessions', pattern: identifier, expects: identifierRule, description: 'The table.'
  }),
  schema: Type.Optional(Type.String({
    pattern: identifier,
    expects: identifierRule,
    description: 'The PostgreSQL schema or MySQL database of the table. Default: the connection\'s own.'
  })),
  checkTable: Type.Boolean({
    default: true, description: 'Whether a missing table is an error at boot. This opens a connection at boot.'
  }),
  createTable: Type.Boolean({
    default: false, description: 'Whether a missing table is created. For development.'
  }),
  connectTimeout: Type.Number({
    default: 5, exclusiveMinimum: 0, description: 'Seconds to wait for a connection.'
  })
})

type Options = Readonly<Static<typeof SqlOptions>>

export const sqlStore = defineStore({
  type: 'sql',
  options: SqlOptions,
  async open (options, context) {
    const dialect = checkedDialect(options)
    const connection = await connect(dialect, options, context)
    let prepared: Promise<void> | undefined

    async function database () {
      const db = await connection.get()
      prepared ??= prepareTable(db, dialect, options).catch(error => { prepared = undefined; throw error })
      await prepared
      return db
    }

    if (options.checkTable || options.createTable) await checkAtBoot(database(), options, context)
    const backend = createSqlBackend(database, dialect, options.table, context)
    return { backend: { ...backend, close: () => connection.close() } }
  }
})

function checkedDialect (options: Options): SqlDialect {
  const dialect = knownDialect(options.dialect, options.db)
  const allowed = options.db !== undefined ? ['db'] : dialect === 'sqlite' ? ['filename'] : ['url', 'pool']
  const given = ['db', 'filename', 'url', 'pool'].filter(name => name in options)
  if (given.length === 0 || given.some(name => !allowed.includes(name))) {
    throw new OptionError(`sql store with ${dialect} takes the option ${allowed.join(' or ')}, ` +
      `received ${given.join(' and ') || 'none'}`)
  }
  if (dialect === 'sqlite' && options.schema !== undefined) {
    throw new OptionError('sql store option schema must be left out with sqlite')
  }
  return dialect
}

async function connect (dialect: SqlDialect, options: Options, context: StoreContext) {
  const inSchema = (db: Database) => options.schema === undefined ? db : db.withSchema(options.schema)
  if (options.db !== undefined) {
    const db = inSchema(options.db.withoutPlugins() as Database)
    return { get: async () => db, close: async () => {} }
  }
  const open = await databaseOpener(dialect, options)
  const { filename, url, pool, connectTimeout } = options
  const own = { dialect, filename, url, pool, connectTimeout }
  const connection = context.connect('sql', own, open, db => db.destroy())
  return { get: async () => inSchema(await connection.get()), close: () => connection.close() }
}

/** A database that is down is no reason not to start: the next caller tries again. */
async function checkAtBoot (ready: Promise<unknown>, options: Options, context: StoreContext) {
  try {
    await withinTime(options.connectTimeout, () => ready)
  } catch (error) {
    if (error instanceof OptionError) throw error
    context.log.warn({ err: discreet(error) }, 'the check of the sql table failed; sessions fail until the cause is gone')
  }
}

function isUrl (value: unknown): boolean {
  return typeof value === 'string' && value.includes('://') && URL.canParse(value)
}

function isPlain (value: unknown): boolean {
  return isObject(value) && Object.getPrototypeOf(value) === Object.prototype
}

function isObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isKysely (value: unknown): boolean {
  return isObject(value) && 'getExecutor' in value && 'withoutPlugins' in value
}
