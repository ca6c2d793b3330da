import { Type } from '@sinclair/typebox'
import { defineStore, Live } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { StoreError } from '../lib/errors.js'
import type { Instant, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import { connectMemcached } from './memcached-client.js'
import type { Commands, MemcachedClient } from './memcached-client.js'

export type { MemcachedClient } from './memcached-client.js'

/** From so many seconds on, memcached takes a time to live for an instant. */
const MONTH = 30 * 86_400
/** The last instant that memcached knows, in seconds. */
const LAST = 2 ** 31 - 1
/** Bytes of an item that are not value: memcached's own, the key, version and expiry. */
const OVERHEAD = 1024

/** Keeps sessions in one or several memcached servers. Needs the package memcached. */
export const memcachedStore = defineStore({
  type: 'memcached',
  options: Type.Object({
    servers: Type.Optional(Type.Array(Type.String({ pattern: '^[A-Za-z0-9._:-]+$', expects: "'host:port'" }), {
      minItems: 1,
      expects: "a list of servers, each 'host' or 'host:port'",
      description: "Where memcached is. Sessions are spread over several servers. Default: ['127.0.0.1:11211']."
    })),
    client: Type.Optional(Live<MemcachedClient>('a client of the package memcached', isClient,
      'A client that the application has already, in place of servers. It is never closed.')),
    prefix: Type.String({
      default: 'session:',
      pattern: '^[A-Za-z0-9_:.-]{0,100}$',
      expects: 'up to 100 letters, digits, _, -, : and dots',
      description: 'What all keys begin with.'
    }),
    timeout: Type.Number({
      default: 2,
      exclusiveMinimum: 0,
      description: 'Seconds without an answer after which a command fails.'
    }),
    maxItemSize: Type.Integer({
      default: 1_048_576,
      minimum: 2 * OVERHEAD,
      description: "Bytes that an item may have: memcached's option -I."
    })
  }),

  async open ({ prefix, maxItemSize, ...settings }, context) {
    const { namespace, clock } = context
    const commands = await connectMemcached(settings, context)
    return { backend: memcachedBackend(commands, prefix + (namespace && `${namespace}:`), maxItemSize, clock) }
  }
})

interface Found extends StoredRecord { cas: string }

function memcachedBackend (
  { gets, add, cas, ping, close }: Commands, prefix: string, maxItemSize: number, clock: StoreContext['clock']
): SessionBackend {
  const maxValue = Math.floor((maxItemSize - OVERHEAD) / 4) * 3

  async function find (key: string): Promise<Found | null> {
    const item = await gets(prefix + key)
    return item && { ...recordOf(item.text), cas: item.cas }
  }

  /** Replaces a live record by what `next` makes of it. After a write that came between, it looks again. */
  async function replace (
    key: string, ifVersion: string | undefined, next: (found: StoredRecord) => StoredRecord
  ): Promise<WriteResult> {
    for (;;) {
      const found = await find(key)
      if (found === null || !isLive(found)) return 'missing'
      if (ifVersion !== undefined && found.version !== ifVersion) return 'conflict'
      const record = next(found)
      if (await cas(prefix + key, textOf(record), found.cas, lifetime(record.expiresAt))) return 'ok'
    }
  }

  /** False as well for what is no record of ours. */
  function isLive ({ expiresAt }: StoredRecord) {
    return expiresAt > clock.now()
  }

  /** memcached counts in ticks of a second, so that an item may end up to a second early. */
  function lifetime (expiresAt: Instant) {
    const left = expiresAt - clock.now()
    if (left <= 0) return -1
    const seconds = Math.ceil(left / 1000) + 1
    if (seconds <= MONTH) return seconds
    const end = Math.ceil(expiresAt / 1000) + 1
    return end <= LAST ? end : 0
  }

  function checkSize ({ value }: StoredRecord) {
    const size = Buffer.byteLength(value)
    if (size <= maxValue) return
    throw new StoreError(`memcached takes ${maxValue} bytes with maxItemSize ${maxItemSize}, the session has ${size}`)
  }

  return {
    async read (key) {
      const found = await find(key)
      if (found === null || !isLive(found)) return null
      return { value: found.value, version: found.version, expiresAt: found.expiresAt }
    },

    async create (key, record) {
      checkSize(record)
      const [text, left] = [textOf(record), lifetime(record.expiresAt)]
      while (!await add(prefix + key, text, left)) {
        const found = await find(key)
        if (found === null) continue
        if (isLive(found)) return false
        if (await cas(prefix + key, text, found.cas, left)) break
      }
      return true
    },

    async update (key, record, _index, ifVersion) {
      checkSize(record)
      return await replace(key, ifVersion, () => record)
    },

    async touch (key, expiresAt) {
      return await replace(key, undefined, found => ({ ...found, expiresAt })) === 'ok'
    },

    /** An item that is set to end in the past is gone at once. */
    async remove (key, ifVersion) {
      return await replace(key, ifVersion, ({ version }) => ({ value: '', version, expiresAt: 0 }))
    },

    ping,
    close
  }
}

/** In base64, since the package takes answers apart at line breaks and reads them as UTF-8. */
function textOf ({ value, version, expiresAt }: StoredRecord): string {
  const kind = typeof value === 'string' ? 't' : 'b'
  return `${kind} ${expiresAt} ${version} ${Buffer.from(value).toString('base64')}`
}

function recordOf (text: string): StoredRecord {
  const [kind, expiresAt, version, base64 = ''] = text.split(' ')
  const bytes = Buffer.from(base64, 'base64')
  return { value: kind === 't' ? bytes.toString() : bytes, version, expiresAt: Number(expiresAt) }
}

function isClient (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const client = value as Partial<MemcachedClient>
  return [client.gets, client.add, client.cas, client.stats].every(command => typeof command === 'function')
}
