import { importDriver } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { OptionError } from '../lib/errors.js'

type Done<T> = (error: unknown, result: T) => void
type Found = Record<string, string> & { cas: string }

/**
 * What the store uses of a client of the package `memcached`. Another client serves as well when it is
 * dressed as this; it must be able to compare and set.
 */
export interface MemcachedClient {
  /** Nothing when there is no item, else its text under its key, and its token. */
  gets (key: string, done: Done<Found | undefined>): void
  /** True when stored. When there is an item already, the error's `notStored` is true. */
  add (key: string, text: string, lifetime: number, done: Done<boolean>): void
  /** False: the item has changed or is gone. */
  cas (key: string, text: string, cas: string, lifetime: number, done: Done<boolean>): void
  /** Asks every server; for `ping()` only. */
  stats (done: Done<unknown>): void
  readonly remove?: boolean
  readonly redundancy?: boolean | number
  readonly failOverServers?: unknown
}

export interface Item { text: string, cas: string }

/** The commands, as promises that settle in time. */
export interface Commands {
  gets (key: string): Promise<Item | null>
  /** False: there is an item already. */
  add (key: string, text: string, lifetime: number): Promise<boolean>
  /** False: the item has changed or is gone. */
  cas (key: string, text: string, cas: string, lifetime: number): Promise<boolean>
  ping (): Promise<void>
  /** Absent where the client is borrowed. */
  close?: () => Promise<void>
}

interface Settings {
  servers?: readonly string[]
  client?: MemcachedClient
  timeout: number
}

interface Connection {
  get (): Promise<MemcachedClient>
  close?: () => Promise<void>
  onSilence?: (client: MemcachedClient) => void
}

interface Query { start: number, callback: Done<unknown> }
interface Socket { metaData: Query[] }
interface Pool { pool: Socket[], release (socket: Socket, hard: boolean): void }

/** What the package does not tell of its clients: the queries on each connection, the oldest first. */
interface Inside extends MemcachedClient {
  connections: Record<string, Pool>
  end (): void
}

/** A server that is down is an error within half a second; a burst of commands may wait that long for it. */
const patience = { retries: 5, factor: 2, minTimeout: 20, maxTimeout: 200, idle: 60_000 }

export async function connectMemcached (settings: Settings, context: StoreContext): Promise<Commands> {
  const limit = settings.timeout * 1000
  const { get, close, onSilence } = await clientOf(settings, context)

  /** The package never calls back for what was sent on a connection that was lost. */
  async function call<T> (send: (client: MemcachedClient, done: Done<T>) => void): Promise<T> {
    const client = await get()
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`memcached did not answer in ${settings.timeout} s`))
        onSilence?.(client)
      }, limit)
      send(client, (error, result) => {
        clearTimeout(timer)
        if (error) reject(asError(error))
        else resolve(result)
      })
    })
  }

  async function gets (key: string): Promise<Item | null> {
    const found = await call<Found | undefined>((client, done) => client.gets(key, done))
    if (found === undefined) return null
    // The package tells answers apart by their order only.
    const name = Object.keys(found).find(name => name.endsWith(key))
    if (name === undefined) throw refusal()
    return { text: String(found[name]), cas: found.cas }
  }

  async function add (key: string, text: string, lifetime: number): Promise<boolean> {
    const stored = await call<boolean | 'taken'>((client, done) => {
      client.add(key, text, lifetime, (error, stored) => {
        if ((error as { notStored?: boolean } | undefined)?.notStored) done(undefined, 'taken')
        else done(error, stored)
      })
    })
    if (stored === false) throw refusal()
    return stored === true
  }

  async function cas (key: string, text: string, cas: string, lifetime: number): Promise<boolean> {
    if (await call<boolean>((client, done) => client.cas(key, text, cas, lifetime, done))) return true
    // The package says false for a refusal (SERVER_ERROR) too.
    if ((await gets(key))?.cas === cas) throw refusal()
    return false
  }

  async function ping () {
    await call((client, done) => client.stats(done))
  }

  return { gets, add, cas, ping, close }
}

async function clientOf ({ servers, client, timeout }: Settings, context: StoreContext): Promise<Connection> {
  if (client !== undefined) {
    checkClient(client, servers)
    return { get: async () => client }
  }
  const { default: Memcached } = await importDriver('memcached', 'memcached', () => import('memcached'))
  const addresses = [...servers ?? ['127.0.0.1:11211']]
  const limit = timeout * 1000
  const opened = context.connect('memcached', { addresses, timeout }, open, async own => own.end())

  async function open () {
    const options = { ...patience, timeout: limit, maxValue: Infinity }
    return Object.assign(new Memcached(addresses, options), { connectionIssue }) as unknown as Inside
  }

  /** A connection without an answer may be dead without a word: the next command opens another. */
  function onSilence (own: MemcachedClient) {
    const since = Date.now() - limit / 2
    for (const pool of Object.values((own as Inside).connections)) {
      const silent = pool.pool.filter(({ metaData: [oldest] }) => oldest?.start < since)
      for (const socket of silent) pool.release(socket, true)
    }
  }

  return { get: () => opened.get(), close: () => opened.close(), onSilence }
}

/**
 * In place of what the package does about an error of a server: it reports a refused write as `false`, takes
 * the server for dead for half a minute, and asks the program `ping` hours later, on a timer that keeps the
 * process alive. Here the command that is answered fails, and that is all.
 */
function connectionIssue (reason: string, { metaData = [] }: Partial<Socket>): void {
  metaData[0]?.callback(new Error(reason), false)
}

/** With these a server that is down looks like one without the session, and an old copy may come back. */
function checkClient (client: MemcachedClient, servers: unknown): void {
  if (servers !== undefined) {
    throw new OptionError('memcached store options servers and client exclude each other')
  }
  for (const name of ['remove', 'redundancy', 'failOverServers'] as const) {
    if (client[name]) throw new OptionError(`memcached store option client must be one without the option ${name}`)
  }
}

/** The package hands over an error, several of them, or a text. */
function asError (error: unknown): Error {
  const [first] = [error].flat()
  return first instanceof Error ? first : new Error(String(first))
}

function refusal (): Error {
  return new Error('memcached refused the command')
}
