import { Type } from '@sinclair/typebox'
import { defineStore, Live, principalHash } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import type { IndexedKey, Instant, RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import { connectRedis, masters, namesAfter, withoutCommand } from './redis-client.js'
import type { Connection, RedisClient } from './redis-client.js'
import * as scripts from './redis-scripts.js'

export type { RedisClient } from './redis-client.js'

/** A record as it is read, with the hash of its principal. */
interface Found extends StoredRecord { createdAt: Instant, owner: string }

/** Before a value stands what it is. */
const TEXT = 't'.charCodeAt(0)
const BYTES = Buffer.from('b')
/** How many records are asked for at once where there may be many. */
const BATCH = 200
/** Keys of records, and none of the indexes or of other names with the same beginning. */
const recordKey = /^[\w-]{43}$/
/** The last instant that `expiresAt` can be. */
const LAST = 253402300799000

/** Keeps sessions in Redis or Valkey: one server, Sentinel or Cluster. Needs the package ioredis. */
export const redisStore = defineStore({
  type: 'redis',
  options: Type.Object({
    url: Type.Optional(Type.String({
      minLength: 1,
      sensitive: true,
      description: "Where Redis is: 'redis://user:password@host:port/db', rediss: for TLS. Default: localhost, 6379."
    })),
    options: Type.Optional(Live<object>('an object of ioredis options', isObject,
      'In place of url: the options of the ioredis client, also those for Sentinel; beside nodes: of its Cluster.')),
    nodes: Type.Optional(Type.Array(
      Type.Union([Type.String({ minLength: 1 }), Type.Object({ host: Type.String(), port: Type.Integer() })]),
      {
        minItems: 1,
        sensitive: true,
        expects: 'a list of nodes, each a URL or { host, port }',
        description: 'Some nodes of a Redis Cluster, from which the others are found.'
      }
    )),
    client: Type.Optional(Live<RedisClient>('an ioredis client', isClient,
      'A Redis or Cluster of ioredis that the application has already. It is used as it is and never closed.')),
    prefix: Type.String({
      default: 'session:',
      description: 'What all keys begin with.'
    })
  }),

  async open ({ prefix, ...ways }, context) {
    const { namespace, clock } = context
    const connection = await connectRedis(ways, context)
    return { backend: redisBackend(connection, prefix + (namespace && `${namespace}:`), clock) }
  }
})

function redisBackend (connection: Connection, prefix: string, clock: StoreContext['clock']): SessionBackend {
  async function find (key: string): Promise<Found | null> {
    const answer = await use(client => client.hmgetBuffer(prefix + key, 'd', 'v', 'x', 'c', 'p'))
    const record = recordIn(answer)
    return record && { ...record, createdAt: Number(answer[3]), owner: String(answer[4]) }
  }

  function recordIn ([data, version, expiry]: Array<Buffer | null>): StoredRecord | null {
    const expiresAt = Number(expiry)
    if (data == null || version == null || expiresAt <= clock.now()) return null
    const value = data[0] === TEXT ? data.toString('utf8', 1) : data.subarray(1)
    return { value, version: version.toString(), expiresAt }
  }

  async function removeIf (key: string, ...condition: string[]): Promise<WriteResult> {
    const answer = await run(scripts.remove, prefix + key, now(), ...condition)
    const [result, owner] = answer as [WriteResult, string]
    if (owner !== '') await use(client => client.zrem(indexKey(owner), key))
    return result
  }

  /**
   * An entry of the index is a hint: written before the record, checked against it when read. It is kept for
   * twice the record's life, so that touches and updates seldom need to prolong it. Resolves to until when.
   */
  async function addToIndex (owner: string, key: string, expiresAt: Instant): Promise<Instant> {
    const until = Math.min(2 * expiresAt - clock.now(), LAST)
    await run(scripts.index, indexKey(owner), now(), key, String(until))
    return until
  }

  function hints (owner: string) {
    return use(client => client.zrangebyscore(indexKey(owner), '(' + now(), '+inf'))
  }

  /** The arguments that create and update share. */
  function fields ({ value, version, expiresAt }: StoredRecord, { createdAt }: RecordIndex, owner: string) {
    const data = typeof value === 'string' ? 't' + value : Buffer.concat([BYTES, value])
    return [now(), data, version, String(expiresAt), String(createdAt), owner]
  }

  /** One command, and a second one where the server does not know the script yet or has forgotten it. */
  function run ({ sha, lua }: scripts.Script, key: string, ...args: Array<string | Buffer>) {
    return use(client => client.evalsha(sha, 1, key, ...args).catch((error: Error) => {
      if (!error.message.startsWith('NOSCRIPT')) throw error
      return client.eval(lua, 1, key, ...args)
    }))
  }

  async function use<T> (work: (client: RedisClient) => Promise<T>): Promise<T> {
    try {
      return await work(connection.ready() ?? await connection.get())
    } catch (error) {
      throw withoutCommand(error)
    }
  }

  /** By a hash, since a principal may be any string of any length. */
  function indexKey (owner: string) {
    return `${prefix}principal:${owner}`
  }

  function now () {
    return String(clock.now())
  }

  return {
    read: key => use(client => client.hmgetBuffer(prefix + key, 'd', 'v', 'x').then(recordIn)),

    async create (key, record, index) {
      const owner = ownerOf(index.principal)
      const until = owner === '' ? 0 : await addToIndex(owner, key, record.expiresAt)
      return await run(scripts.create, prefix + key, ...fields(record, index, owner), String(until)) === 'ok'
    },

    async update (key, record, index, ifVersion) {
      const owner = ownerOf(index.principal)
      const write = (until: string) =>
        run(scripts.update, prefix + key, ...fields(record, index, owner), until, ifVersion)
      const result = await write(owner === '' ? '0' : '')
      if (result !== 'index') return result as WriteResult
      return await write(String(await addToIndex(owner, key, record.expiresAt))) as WriteResult
    },

    async touch (key, expiresAt) {
      let owner = ''
      let until = 0
      for (;;) {
        const result = await run(scripts.touch, prefix + key,
          now(), String(expiresAt), owner, String(until)) as string
        if (result === 'ok' || result === 'missing') return result === 'ok'
        owner = result
        until = await addToIndex(owner, key, expiresAt)
      }
    },

    remove (key, ifVersion) {
      return ifVersion === undefined ? removeIf(key) : removeIf(key, 'v', ifVersion)
    },

    async * keysOf (principal) {
      const owner = ownerOf(principal)
      for (const keys of batches(await hints(owner))) {
        const found = await Promise.all(keys.map(find))
        for (const [i, record] of found.entries()) {
          if (record?.owner === owner) yield indexed(keys[i], record)
        }
      }
    },

    async removeAllOf (principal, except) {
      const owner = ownerOf(principal)
      let removed = 0
      for (const keys of batches(await hints(owner))) {
        const results = await Promise.all(keys
          .filter(key => key !== except)
          .map(key => removeIf(key, 'p', owner)))
        removed += results.filter(result => result === 'ok').length
      }
      return removed
    },

    async count () {
      const names = await use(client => namesAfter(client, prefix))
      const keys = [...names].filter(name => recordKey.test(name))
      let live = 0
      for (const batch of batches(keys)) {
        const expiries = await use(client => Promise.all(batch.map(key => client.hmget(prefix + key, 'x'))))
        live += expiries.filter(([expiresAt]) => Number(expiresAt) > clock.now()).length
      }
      return live
    },

    async ping () {
      await use(client => Promise.all(masters(client).map(node => node.ping())))
    },

    close: connection.close
  }
}

function ownerOf (principal: string | null): string {
  return principal === null ? '' : principalHash(principal)
}

function indexed (key: string, { createdAt, owner: _, ...record }: Found): IndexedKey {
  return { key, createdAt, expiresAt: record.expiresAt, record }
}

function * batches (keys: string[]): Iterable<string[]> {
  for (let start = 0; start < keys.length; start += BATCH) yield keys.slice(start, start + BATCH)
}

function isObject (value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isClient (value: unknown): boolean {
  return isObject(value) && typeof (value as RedisClient).evalsha === 'function'
}
