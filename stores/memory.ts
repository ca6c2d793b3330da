import { Type } from '@sinclair/typebox'
import { Place, defineStore } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import type { IndexedKey, Instant, Prompt, RecordIndex, SessionBackend, StoredRecord } from '../types/store.js'

/** One flat object per record, since this is what a session costs beside its value. */
class Entry extends Place {
  readonly key: string
  value: string | Uint8Array = ''
  version = ''
  expiresAt: Instant = 0
  principal: string | null = null
  createdAt: Instant = 0

  constructor (key: string) {
    super()
    this.key = key
  }

  fill ({ value, version, expiresAt }: StoredRecord, { principal, createdAt }: RecordIndex): void {
    this.value = copied(value)
    this.version = version
    this.expiresAt = expiresAt
    this.principal = principal
    this.createdAt = createdAt
  }
}

/** No more than one line a minute tells of evictions, however many there are. */
const WARN_EVERY = 60_000
/** When full, expired records are looked for at most this often, since that walks through all of them. */
const CLEAN_EVERY = 1000

/**
 * Keeps sessions in the memory of the process: for development and tests, and for an application of one
 * process that may forget its sessions at a restart.
 */
export const memoryStore = defineStore({
  type: 'memory',
  options: Type.Object({
    maxEntries: Type.Integer({
      minimum: 1,
      default: 100_000,
      description: 'The most sessions kept. When full, the least recently written or touched one is evicted.'
    })
  }),
  open ({ maxEntries }, context) {
    if (process.env.NODE_ENV === 'production') {
      context.log.warn({}, 'the memory store loses all sessions at a restart and shares none with other ' +
        'processes; configure another store for production')
    }
    return { prompt: { backend: memoryBackend(maxEntries, context) } }
  }
})

function memoryBackend (maxEntries: number, { clock, log }: StoreContext): Prompt<SessionBackend> {
  const entries = new Map<string, Entry>()
  /** All of them, in the order of the last write or touch. */
  const end = new Entry('')
  const keysByPrincipal = new Map<string, Set<string>>()
  let evicted = 0
  let warnAgainAt = 0
  let cleanAgainAt = 0

  function isLive ({ expiresAt }: Entry) {
    return expiresAt > clock.now()
  }

  function live (key: string) {
    const entry = entries.get(key)
    return entry !== undefined && isLive(entry) ? entry : undefined
  }

  function used (entry: Entry) {
    entry.leave()
    entry.stand(end)
  }

  function enlist ({ key, principal }: Entry) {
    if (principal === null) return
    const keys = keysByPrincipal.get(principal)
    if (keys === undefined) keysByPrincipal.set(principal, new Set([key]))
    else keys.add(key)
  }

  function strike ({ key, principal }: Entry) {
    if (principal === null) return
    const keys = keysByPrincipal.get(principal)!
    keys.delete(key)
    if (keys.size === 0) keysByPrincipal.delete(principal)
  }

  function drop (entry: Entry) {
    entries.delete(entry.key)
    entry.leave()
    strike(entry)
  }

  function sweep (now: number, limit: number) {
    let removed = 0
    for (const entry of entries.values()) {
      if (removed >= limit) break
      if (entry.expiresAt > now) continue
      drop(entry)
      removed++
    }
    return removed
  }

  function makeRoom () {
    const now = clock.now()
    if (now >= cleanAgainAt) {
      cleanAgainAt = now + CLEAN_EVERY
      sweep(now, Infinity)
    }
    if (entries.size < maxEntries) return
    const oldest = end.after
    if (oldest.expiresAt > now) evicted++
    drop(oldest)
    if (evicted > 0 && now >= warnAgainAt) {
      log.warn({ evicted, maxEntries }, 'the memory store is full and evicted live sessions; ' +
        'raise its option maxEntries or use another store')
      evicted = 0
      warnAgainAt = now + WARN_EVERY
    }
  }

  return {
    read (key) {
      const entry = live(key)
      return entry === undefined ? null : stored(entry)
    },

    create (key, record, index) {
      const present = entries.get(key)
      if (present !== undefined) {
        if (isLive(present)) return false
        drop(present)
      }
      if (entries.size >= maxEntries) makeRoom()
      const entry = new Entry(key)
      entry.fill(record, index)
      entries.set(key, entry)
      entry.stand(end)
      enlist(entry)
      return true
    },

    update (key, record, index, ifVersion) {
      const entry = live(key)
      if (entry === undefined) return 'missing'
      if (entry.version !== ifVersion) return 'conflict'
      const isHandedOver = entry.principal !== index.principal
      if (isHandedOver) strike(entry)
      entry.fill(record, index)
      if (isHandedOver) enlist(entry)
      used(entry)
      return 'ok'
    },

    touch (key, expiresAt) {
      const entry = live(key)
      if (entry === undefined) return false
      entry.expiresAt = expiresAt
      used(entry)
      return true
    },

    remove (key, ifVersion) {
      const entry = live(key)
      if (entry === undefined) return 'missing'
      if (ifVersion !== undefined && entry.version !== ifVersion) return 'conflict'
      drop(entry)
      return 'ok'
    },

    async * keysOf (principal) {
      for (const key of [...keysByPrincipal.get(principal) ?? []]) {
        const entry = live(key)
        if (entry?.principal === principal) yield indexed(entry)
      }
    },

    async removeAllOf (principal, except) {
      let removed = 0
      for (const key of [...keysByPrincipal.get(principal) ?? []]) {
        if (key === except) continue
        const entry = entries.get(key)!
        if (isLive(entry)) removed++
        drop(entry)
      }
      return removed
    },

    async sweep (now, limit) {
      return sweep(now, limit)
    },

    async count () {
      const now = clock.now()
      let count = 0
      for (const entry of entries.values()) if (entry.expiresAt > now) count++
      return count
    }
  }
}

function stored ({ value, version, expiresAt }: Entry): StoredRecord {
  return { value: copied(value), version, expiresAt }
}

function indexed (entry: Entry): IndexedKey {
  const { key, createdAt, expiresAt } = entry
  return { key, createdAt, expiresAt, record: stored(entry) }
}

function copied (value: string | Uint8Array) {
  return typeof value === 'string' ? value : new Uint8Array(value)
}
