import type { Awaitable, IndexedKey, ListedRecord, Prompt, SessionBackend, SessionIndex } from '../../types/store.js'
import type { Clock } from '../base/clock.js'
import type { Records } from './records.js'

/** Expired records that are removed in one call. */
const BATCH = 500
/** What the core makes a key of. Nothing else is handed to an engine, which may make a file name of it. */
const keyShape = /^[A-Za-z0-9_-]{43}$/

export interface KeyedIndexSettings {
  clock: Clock
  /** Calls the backend within the time limit; what it rejects with is an error of ours. */
  call<T> (verb: string, key: string | null, work: () => Awaitable<T>): Awaitable<T>
  records: Records
}

/** What a backend can do beside serving requests. */
export function keyedIndex (backend: Prompt<SessionBackend>, settings: KeyedIndexSettings): SessionIndex {
  const { clock, call, records } = settings
  const keysOf = async (principal: string) => call('keysOf', null, () => collect(backend.keysOf!(principal)))

  async function listed (principal: string, { key, record }: IndexedKey): Promise<ListedRecord | null> {
    const stored = record ?? await call('read', key, () => backend.read(key))
    if (stored === null) return null
    const result = records.read(stored, key)
    if (typeof result === 'string' || result.principal !== principal) return null
    return { handle: key, record: result }
  }

  return {
    ...backend.keysOf && {
      keysOf,
      async listOf (principal) {
        const found = await keysOf(principal)
        const records = await Promise.all(found.map(entry => listed(principal, entry)))
        return records.filter(record => record !== null)
      }
    },

    ...backend.removeAllOf && {
      removeAllOf: async (principal, except) => call('removeAllOf', null, () => backend.removeAllOf!(principal, except))
    },

    async remove (handle) {
      if (!keyShape.test(handle)) return false
      return await call('remove', handle, () => backend.remove(handle)) === 'ok'
    },

    async sweep () {
      if (backend.sweep === undefined) return 0
      let total = 0
      let removed = BATCH
      while (removed >= BATCH) {
        removed = await call('sweep', null, () => backend.sweep!(clock.now(), BATCH))
        total += removed
      }
      return total
    },

    ...backend.count && { count: async () => call('count', null, () => backend.count!()) }
  }
}

async function collect<T> (items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
