import { Type } from '@sinclair/typebox'
import { defineStore, Live } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { StoreError } from '../lib/errors.js'
import type { RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import { connectMongodb } from './mongodb-collection.js'
import type { Connection, MongoClientLike } from './mongodb-collection.js'

export { ensureSessionIndexes } from './mongodb-collection.js'
export type { IndexedCollection, MongoClientLike, MongoCollection, MongoDatabase } from './mongodb-collection.js'

/** A session as it is stored. */
interface SessionDocument {
  _id: string
  namespace: string
  value: string | Uint8Array
  version: string
  principal: string | null
  createdAt: Date
  expiresAt: Date
}

/** A document may have 16 MiB; what is beside the value takes less than the difference. */
const MAX_VALUE = 16_700_000

/** Keeps sessions in a collection of MongoDB. Needs the package mongodb. */
export const mongodbStore = defineStore({
  type: 'mongodb',
  options: Type.Object({
    url: Type.Optional(Type.String({
      pattern: '^mongodb(\\+srv)?://.',
      sensitive: true,
      expects: "a URL that begins with 'mongodb://' or 'mongodb+srv://'",
      description: 'Where MongoDB is, with all options of the connection.'
    })),
    client: Type.Optional(Live<MongoClientLike>('a MongoClient', isClient,
      'A MongoClient that the application has already, in place of url. It is never closed.')),
    database: Type.Optional(Type.String({
      pattern: '^[\\w-]{1,63}$',
      expects: 'a name of up to 63 letters, digits, _ and -',
      description: 'The database. Default: the one that the URL names, else test.'
    })),
    collection: Type.String({
      default: 'sessions',
      pattern: '^(?!system\\.)[A-Za-z_][\\w.-]{0,99}$',
      expects: 'a name of up to 100 letters, digits, _, - and dots',
      description: 'The collection.'
    }),
    createIndexes: Type.Boolean({
      default: true,
      description: 'Whether missing indexes are created at first use.'
    })
  }),

  async open (settings, context) {
    return { backend: mongodbBackend(await connectMongodb(settings, context), context) }
  }
})

function mongodbBackend ({ use, ping, close }: Connection, context: StoreContext): SessionBackend {
  const { namespace, clock } = context
  const start = namespace && `${namespace}:`

  async function find (key: string) {
    return await use(sessions => sessions.findOne(live(key))) as SessionDocument | null
  }

  async function whyNot (key: string): Promise<WriteResult> {
    return await find(key) === null ? 'missing' : 'conflict'
  }

  function live (key: string) {
    return { _id: start + key, expiresAt: { $gt: now() } }
  }

  function liveOf (principal: string) {
    return { principal: asText(principal), namespace, expiresAt: { $gt: now() } }
  }

  function now () {
    return new Date(clock.now())
  }

  return {
    async read (key) {
      const found = await find(key)
      return found && recordOf(found)
    },

    async create (key, record, index) {
      const _id = start + key
      const fields = fieldsOf(record, index)
      try {
        await use(sessions => sessions.insertOne({ _id, namespace, ...fields }))
        return true
      } catch (error) {
        if ((error as { code?: unknown }).code !== 11000) throw error
        // The key is taken; an expired session makes room.
        const expired = { _id, expiresAt: { $lte: now() } }
        const { matchedCount } = await use(sessions => sessions.updateOne(expired, { $set: fields }))
        return matchedCount > 0
      }
    },

    async update (key, record, index, ifVersion) {
      const fields = fieldsOf(record, index)
      const current = { ...live(key), version: ifVersion }
      const { matchedCount } = await use(sessions => sessions.updateOne(current, { $set: fields }))
      return matchedCount > 0 ? 'ok' : whyNot(key)
    },

    async touch (key, expiresAt) {
      const change = { $set: { expiresAt: new Date(expiresAt) } }
      const { matchedCount } = await use(sessions => sessions.updateOne(live(key), change))
      return matchedCount > 0
    },

    async remove (key, ifVersion) {
      const condition = ifVersion === undefined ? {} : { version: ifVersion }
      const { deletedCount } = await use(sessions => sessions.deleteOne({ ...live(key), ...condition }))
      if (deletedCount > 0) return 'ok'
      return ifVersion === undefined ? 'missing' : whyNot(key)
    },

    async * keysOf (principal) {
      for await (const found of await use(async sessions => sessions.find(liveOf(principal)))) {
        const { _id, createdAt, ...fields } = found as SessionDocument
        const record = recordOf(fields)
        const { expiresAt } = record
        yield { key: _id.slice(start.length), createdAt: createdAt.getTime(), expiresAt, record }
      }
    },

    async removeAllOf (principal, except = '') {
      const others = { ...liveOf(principal), _id: { $ne: start + except } }
      const { deletedCount } = await use(sessions => sessions.deleteMany(others))
      return deletedCount
    },

    async count () {
      return await use(sessions => sessions.countDocuments({ namespace, expiresAt: { $gt: now() } }))
    },

    ping,
    close
  }
}

function fieldsOf ({ value, version, expiresAt }: StoredRecord, { principal, createdAt }: RecordIndex) {
  const size = Buffer.byteLength(value)
  if (size > MAX_VALUE) {
    throw new StoreError(`a document of MongoDB takes ${MAX_VALUE} bytes, the session has ${size}`)
  }
  return {
    value,
    version,
    principal: principal === null ? null : asText(principal),
    createdAt: new Date(createdAt),
    expiresAt: new Date(expiresAt)
  }
}

function recordOf (
  { value, version, expiresAt }: Pick<SessionDocument, 'value' | 'version' | 'expiresAt'>
): StoredRecord {
  return { value, version, expiresAt: expiresAt.getTime() }
}

/** As in JSON, which keeps apart what UTF-8 does not: lone surrogates. */
function asText (principal: string): string {
  return JSON.stringify(principal).slice(1, -1)
}

function isClient (value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as MongoClientLike).db === 'function'
}
