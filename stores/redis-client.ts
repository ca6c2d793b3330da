import { once } from 'node:events'
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { importDriver, withinTime } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { OptionError } from '../lib/errors.js'

type Argument = string | Buffer

/** What the store uses of a client of ioredis, be it a `Redis` or a `Cluster`. */
export interface RedisClient {
  readonly options: { readonly keyPrefix?: string }
  hmgetBuffer (key: string, ...fields: string[]): Promise<Array<Buffer | null>>
  hmget (key: string, ...fields: string[]): Promise<Array<string | null>>
  eval (lua: string, keys: number, ...args: Argument[]): Promise<unknown>
  evalsha (sha: string, keys: number, ...args: Argument[]): Promise<unknown>
  zrangebyscore (key: string, min: string, max: string): Promise<string[]>
  zrem (key: string, ...members: string[]): Promise<number>
  scan (
    cursor: string, match: 'MATCH', pattern: string, count: 'COUNT', size: number
  ): Promise<[next: string, names: string[]]>
  ping (): Promise<unknown>
  /** Present on a Cluster. */
  nodes? (role: 'master'): RedisClient[]
}

/** The ways to connect, of which one is used. */
export interface Ways {
  url?: string
  options?: object
  nodes?: ReadonlyArray<string | { host: string, port: number }>
  client?: RedisClient
}

export interface Connection {
  /** The client when it is connected: what most calls meet, without waiting. */
  ready (): RedisClient | undefined
  /** The client as soon as it is connected. */
  get (): Promise<RedisClient>
  /** Absent where the client is borrowed. */
  close? (): Promise<void>
}

/** Milliseconds without an answer after which a connection counts as broken. */
const SILENCE = 5000
const backOff = (times: number) => Math.min(times * 50, 500)

/** What differs from the defaults of ioredis: a server that is down is told soon, and found again soon. */
const impatient: RedisOptions = {
  connectTimeout: SILENCE,
  socketTimeout: SILENCE,
  maxRetriesPerRequest: 1,
  // After a failover a managed Redis may keep the connections to what is a replica now.
  reconnectOnError: error => error.message.startsWith('READONLY')
}

export async function connectRedis (ways: Ways, context: StoreContext): Promise<Connection> {
  checkWays(ways)
  const { client } = ways
  if (client === undefined) return await ownConnection(ways, context)
  return { ready: () => client, get: async () => client }
}

async function ownConnection (ways: Ways, context: StoreContext): Promise<Connection> {
  const ioredis = await importDriver('redis', 'ioredis', () => import('ioredis'))
  const opened = context.connect('redis', ways, open, async client => client.disconnect())

  async function open () {
    const client = create()
    // The verbs reject, and that is told; without a listener ioredis would print every attempt.
    client.setMaxListeners(0).on('error', () => {})
    try {
      await becomesReady(client)
      return client
    } catch (error) {
      client.disconnect()
      throw error
    }
  }

  function create () {
    const options = { ...ways.options }
    if (ways.nodes !== undefined) {
      const { redisOptions, ...rest }: ClusterOptions = options
      return new ioredis.Cluster(ways.nodes as ClusterNode[], {
        clusterRetryStrategy: backOff,
        ...rest,
        redisOptions: { ...impatient, ...redisOptions },
        lazyConnect: true
      })
    }
    const all = { ...impatient, retryStrategy: backOff, ...options, lazyConnect: true }
    return ways.url === undefined ? new ioredis.Redis(all) : new ioredis.Redis(ways.url, all)
  }

  let current: Connecting | undefined

  async function get () {
    current = await opened.get()
    if (current.status !== 'ready') await becomesReady(current)
    return current
  }

  return { ready: () => current?.status === 'ready' ? current : undefined, get, close: () => opened.close() }
}

type Connecting = Cluster | Redis
const waiting = new WeakMap<Connecting, Promise<unknown>>()

/**
 * While it is connecting, the outcome of the attempt decides, rather than a queue without an end. All who
 * wait do so together. One that its `retryStrategy` has given up starts anew.
 */
async function becomesReady (client: Connecting): Promise<void> {
  const outcome = waiting.get(client) ?? connected(client).finally(() => waiting.delete(client))
  waiting.set(client, outcome)
  await outcome
}

/**
 * A Cluster that finds its servers in disorder tries again, but neither emits an error nor settles its
 * `connect()`: therefore the limit, and whichever tells first.
 */
function connected (client: Connecting): Promise<unknown> {
  const signs: Array<Promise<unknown>> = [once(client, 'ready')]
  if (client.status === 'wait' || client.status === 'end') signs.push(client.connect())
  return withinTime(SILENCE / 1000, () => Promise.race(signs))
}

/** ioredis keeps commands in its errors, with keys, data and at the login the password. */
export function withoutCommand (error: unknown): Error {
  const { message, lastNodeError } = error as Error & { lastNodeError?: Error }
  const reason = lastNodeError === undefined ? message : `${message} ${lastNodeError.message}`
  return new Error(reason.split(', with args')[0])
}

/** All nodes that hold keys. */
export function masters (client: RedisClient): RedisClient[] {
  return client.nodes?.('master') ?? [client]
}

/** What follows `start` in the names of all keys that begin with it. */
export async function namesAfter (client: RedisClient, start: string): Promise<Set<string>> {
  const names = new Set<string>()
  // ioredis puts its keyPrefix before keys, but neither before patterns nor off what SCAN returns.
  const whole = (client.options.keyPrefix ?? '') + start
  const pattern = whole.replace(/[*?[\]\\]/g, '\\$&') + '*'
  await Promise.all(masters(client).map(async node => {
    let cursor = '0'
    do {
      const [next, page] = await node.scan(cursor, 'MATCH', pattern, 'COUNT', 1000)
      for (const name of page) names.add(name.slice(whole.length))
      cursor = next
    } while (cursor !== '0')
  }))
  return names
}

function checkWays ({ url, options, nodes, client }: Ways) {
  const given = Object.entries({ url, options: nodes === undefined ? options : undefined, nodes, client })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name)
  if (nodes !== undefined && options !== undefined && given.length > 1) given.push('options')
  if (given.length < 2) return
  throw new OptionError(`redis store options ${given.join(' and ')} exclude each other; ` +
    'give url, or options, or nodes with or without options, or client')
}
