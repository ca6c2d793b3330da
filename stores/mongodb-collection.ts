import { importDriver } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { OptionError } from '../lib/errors.js'

/** What the store uses of a collection of the driver. */
export interface MongoCollection {
  findOne (filter: object): Promise<object | null>
  find (filter: object): AsyncIterable<object>
  insertOne (document: object): Promise<unknown>
  updateOne (filter: object, update: object): Promise<{ matchedCount: number }>
  deleteOne (filter: object): Promise<{ deletedCount: number }>
  deleteMany (filter: object): Promise<{ deletedCount: number }>
  countDocuments (filter: object): Promise<number>
}

export interface MongoDatabase {
  collection (name: string, options: object): MongoCollection & IndexedCollection
  command (command: object): Promise<unknown>
}

/** What the store uses of a `MongoClient`. */
export interface MongoClientLike {
  db (name?: string): MongoDatabase
}

interface IndexToCreate { key: Record<string, 1>, name: string, expireAfterSeconds?: number }

/** What `ensureSessionIndexes` uses of a collection. */
export interface IndexedCollection {
  createIndexes (indexes: IndexToCreate[]): Promise<unknown>
}

export interface Connection {
  /** Resolves when the indexes are there. */
  collection (): Promise<MongoCollection>
  ping (): Promise<void>
  /** Absent where the client is borrowed. */
  close?: () => Promise<void>
}

interface Settings {
  url?: string
  client?: MongoClientLike
  database?: string
  collection: string
  createIndexes: boolean
}

/**
 * Milliseconds, short enough that an operation and the driver's retry of it end within the five seconds that
 * the session gives a store.
 */
const impatient = {
  serverSelectionTimeoutMS: 2000, connectTimeoutMS: 2000, socketTimeoutMS: 2000, waitQueueTimeoutMS: 2000
}

/** What was written is read by the next request, and outlives a failover. */
const strict = {
  readPreference: 'primary',
  writeConcern: { w: 'majority' },
  promoteBuffers: true,
  promoteValues: true,
  raw: false
}

/** The server's clock may be ahead of ours by so many seconds before it removes what is alive. */
const GRACE = 60

/**
 * Creates the indexes of the store where they are missing: one that removes expired sessions, one by
 * principal. For a deployment that sets `createIndexes: false`.
 */
export async function ensureSessionIndexes (collection: IndexedCollection): Promise<void> {
  await collection.createIndexes([
    { key: { expiresAt: 1 }, name: 'session_expiry', expireAfterSeconds: GRACE },
    { key: { principal: 1, namespace: 1 }, name: 'session_principal' }
  ])
}

export async function connectMongodb (settings: Settings, context: StoreContext): Promise<Connection> {
  const client = await clientOf(settings, context)
  let indexed: Promise<void> | undefined

  async function collection () {
    const database = (await client.get()).db(settings.database)
    const opened = database.collection(settings.collection, strict)
    if (settings.createIndexes) {
      indexed ??= ensureSessionIndexes(opened).catch(error => { indexed = undefined; throw error })
      await indexed
    }
    return opened
  }

  async function ping () {
    await (await client.get()).db(settings.database).command({ ping: 1 })
  }

  return { collection, ping, close: client.close }
}

async function clientOf ({ url, client }: Settings, context: StoreContext) {
  if ((url === undefined) === (client === undefined)) {
    throw new OptionError('mongodb store takes one of the options url and client, received ' +
      (url === undefined ? 'none' : 'both'))
  }
  if (url === undefined) return { get: async () => client! }

  const { MongoClient } = await importDriver('mongodb', 'mongodb', () => import('mongodb'))
  const opened = context.connect('mongodb', { url }, open, own => own.close())

  async function open () {
    const own = new MongoClient(url!, unlessGiven(url!))
    try {
      return await own.connect()
    } catch (error) {
      await own.close()
      throw error
    }
  }

  return { get: (): Promise<MongoClientLike> => opened.get(), close: () => opened.close() }
}

/** For the driver, options come before what the URL says. */
function unlessGiven (url: string) {
  return Object.fromEntries(Object.entries(impatient).filter(([name]) => {
    return !new RegExp(`[?&]${name}=`, 'i').test(url)
  }))
}
