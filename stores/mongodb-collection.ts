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
  /** Calls when the indexes are there. */
  use<T> (call: (collection: MongoCollection) => Promise<T>): Promise<T>
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

  async function indexedIn (database: MongoDatabase) {
    const opened = database.collection(settings.collection, strict)
    if (settings.createIndexes) {
      indexed ??= ensureSessionIndexes(opened).catch(error => { indexed = undefined; throw error })
      await indexed
    }
    return opened
  }

  return {
    use: call => client.use(async own => call(await indexedIn(own.db(settings.database)))),
    ping: () => client.use(async own => { await own.db(settings.database).command({ ping: 1 }) }),
    close: client.close
  }
}

interface Client {
  use<T> (call: (client: MongoClientLike) => Promise<T>): Promise<T>
  close?: () => Promise<void>
}

async function clientOf ({ url, client }: Settings, context: StoreContext): Promise<Client> {
  if ((url === undefined) === (client === undefined)) {
    throw new OptionError('mongodb store takes one of the options url and client, received ' +
      (url === undefined ? 'none' : 'both'))
  }
  if (url === undefined) return { use: call => call(client!) }

  const { MongoClient } = await importDriver('mongodb', 'mongodb', () => import('mongodb'))
  const connection = context.connect('mongodb', { url }, open, own => own.close())

  async function open () {
    const own = new MongoClient(url!, unlessGiven(url!))
    try {
      return await own.connect()
    } catch (error) {
      await own.close()
      throw error
    }
  }

  /**
   * A client that finds no server may never find one again: where the server does not stream its heartbeats,
   * the monitor waits without limit when it has asked on a connection that the server was just closing (seen
   * with 6.22 and 7.9). So another client takes its place.
   */
  async function use<T> (call: (client: MongoClientLike) => Promise<T>) {
    const opened = connection.get()
    try {
      return await call(await opened)
    } catch (error) {
      if ((error as Error).name === 'MongoServerSelectionError') connection.renew(opened)
      throw error
    }
  }

  return { use, close: () => connection.close() }
}

/** For the driver, options come before what the URL says. */
function unlessGiven (url: string) {
  return Object.fromEntries(Object.entries(impatient).filter(([name]) => {
    return !new RegExp(`[?&]${name}=`, 'i').test(url)
  }))
}
