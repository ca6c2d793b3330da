import { setTimeout as sleep } from 'node:timers/promises'
import type { Datastore, Key, Query, Transaction } from '@google-cloud/datastore'
import { principalHash } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { StoreError, TooLargeError } from '../lib/errors.js'
import type { RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import type { Connection } from './datastore-client.js'

/** Where the entities are. */
export interface Place { namespace: string, kind: string }

/** The properties of an entity, and its key under a symbol of the driver. */
interface Entity {
  value: string | Buffer
  version: string
  principal: string | null
  createdAt: Date
  expiresAt: Date
  [key: symbol]: Key
}

/** What is to be written about entities as they were found; null: nothing. */
type Write = ((transaction: Transaction) => void) | null

/** Bytes of a value. An entity may have 1 048 572, with its key and the other properties. */
const LARGEST = 1_047_000
/** How often a transaction begins anew because somebody else was faster. */
const ATTEMPTS = 20
/** How many sessions are removed at once. */
const WIDTH = 25

/** gRPC's ALREADY_EXISTS and ABORTED. */
const [EXISTS, ABORTED] = [6, 10]

/** The verbs, on the entities of one kind. */
export function datastoreBackend (
  { get, close }: Connection, { namespace, kind }: Place, clock: StoreContext['clock']
): SessionBackend {
  const keyOf = (db: Datastore, key: string) => db.key({ namespace, path: [kind, key] })

  /** What is decided holds: if somebody else writes before the commit does, it is decided anew. */
  async function transact<T> (keys: Key[], decide: (found: Entity[]) => [T, Write]): Promise<T> {
    const db = await get()
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const transaction = db.transaction()
      try {
        await transaction.run()
        const [found] = await transaction.get(keys)
        const [result, write] = decide(found)
        write?.(transaction)
        await (write === null ? transaction.rollback() : transaction.commit())
        return result
      } catch (error) {
        await transaction.rollback().catch(() => {})
        if ((error as { code: number }).code !== ABORTED) throw error
      }
      await sleep(Math.random() * Math.min(100, 10 * 2 ** attempt))
    }
    throw new StoreError(`a transaction met others ${ATTEMPTS} times`)
  }

  /** @param decide how it ends with what was found, if it was, and what to write for that */
  async function change (
    key: string, decide: (found: Entity | undefined, key: Key) => WriteResult | Exclude<Write, null>
  ): Promise<WriteResult> {
    const name = keyOf(await get(), key)
    return transact<WriteResult>([name], ([found]) => {
      const decision = decide(found, name)
      return typeof decision === 'string' ? [decision, null] : ['ok', decision]
    })
  }

  function removeIf (key: string, isMeant: (found: Entity) => boolean): Promise<WriteResult> {
    return change(key, (found, name) => {
      if (!isLive(found)) return 'missing'
      return isMeant(found) ? transaction => transaction.delete(name) : 'conflict'
    })
  }

  function select (db: Datastore, name: string, op: Query['filters'][0]['op'], val: unknown): Query {
    const query = db.createQuery(namespace, kind)
    // filter() warns of three arguments, and silently drops the filter of another copy of the driver.
    query.filters.push({ name, op, val })
    return query
  }

  async function keysWhere (query: Query): Promise<Key[]> {
    const db = await get()
    const [found] = await db.runQuery(query.select('__key__'))
    return found.map((entity: Entity) => entity[db.KEY])
  }

  function isLive (found: Entity | undefined): found is Entity {
    return found !== undefined && found.expiresAt.getTime() > clock.now()
  }

  return {
    async read (key) {
      const db = await get()
      const [found] = await db.get(keyOf(db, key))
      return isLive(found) ? recordOf(found) : null
    },

    async create (key, record, index) {
      const fields = fieldsOf(record, index)
      const db = await get()
      try {
        await db.insert({ key: keyOf(db, key), ...fields })
        return true
      } catch (error) {
        if (![EXISTS, ABORTED].includes((error as { code: number }).code)) throw error
      }
      return await change(key, (found, name) => {
        return isLive(found) ? 'conflict' : transaction => transaction.save({ key: name, ...fields })
      }) === 'ok'
    },

    async update (key, record, index, ifVersion) {
      const fields = fieldsOf(record, index)
      return change(key, (found, name) => {
        if (!isLive(found)) return 'missing'
        if (found.version !== ifVersion) return 'conflict'
        return transaction => transaction.save({ key: name, ...fields })
      })
    },

    async touch (key, expiresAt) {
      return await change(key, (found, name) => {
        if (!isLive(found)) return 'missing'
        const moved = entityOf({ ...recordOf(found), expiresAt }, found.principal, found.createdAt)
        return transaction => transaction.save({ key: name, ...moved })
      }) === 'ok'
    },

    remove (key, ifVersion) {
      return removeIf(key, found => ifVersion === undefined || found.version === ifVersion)
    },

    async * keysOf (principal) {
      const db = await get()
      for await (const found of db.runQueryStream(select(db, 'principal', '=', principalHash(principal)))) {
        if (!isLive(found)) continue
        const record = recordOf(found)
        const { createdAt, [db.KEY]: { name } } = found
        yield { key: name!, createdAt: createdAt.getTime(), expiresAt: record.expiresAt, record }
      }
    },

    async removeAllOf (principal, except) {
      const owner = principalHash(principal)
      const isTheirs = (found: Entity) => found.principal === owner
      const keys = await keysWhere(select(await get(), 'principal', '=', owner))
      let removed = 0
      for (const part of inParts(keys.filter(({ name }) => name !== except))) {
        const results = await Promise.all(part.map(({ name }) => removeIf(name!, isTheirs)))
        removed += results.filter(result => result === 'ok').length
      }
      return removed
    },

    async sweep (now, limit) {
      const { KEY } = await get()
      const keys = await keysWhere(select(await get(), 'expiresAt', '<=', new Date(now)).limit(limit))
      let removed = 0
      for (const part of inParts(keys)) {
        removed += await transact(part, found => {
          const expired = found.filter(({ expiresAt }) => expiresAt.getTime() <= now)
          return [expired.length, transaction => transaction.delete(expired.map(entity => entity[KEY]))]
        })
      }
      return removed
    },

    async count () {
      return (await keysWhere(select(await get(), 'expiresAt', '>', new Date(clock.now())))).length
    },

    async ping () {
      const db = await get()
      await db.get(keyOf(db, 'ping'))
    },

    close
  }
}

function inParts<T> (items: T[]): T[][] {
  const starts = Array.from({ length: Math.ceil(items.length / WIDTH) }, (_, i) => i * WIDTH)
  return starts.map(start => items.slice(start, start + WIDTH))
}

function fieldsOf (record: StoredRecord, { principal, createdAt }: RecordIndex) {
  const size = Buffer.byteLength(record.value)
  if (size > LARGEST) throw new TooLargeError(size, LARGEST)
  return entityOf(record, principal === null ? null : principalHash(principal), new Date(createdAt))
}

function entityOf ({ value, version, expiresAt }: StoredRecord, principal: string | null, createdAt: Date) {
  const data = {
    value: typeof value === 'string' ? value : Buffer.from(value),
    version,
    principal,
    createdAt,
    expiresAt: new Date(expiresAt)
  }
  return { data, excludeFromIndexes: ['value', 'version', 'createdAt'] }
}

function recordOf ({ value, version, expiresAt }: Entity): StoredRecord {
  return { value, version, expiresAt: expiresAt.getTime() }
}
