import type { LoadResult, SessionBackend, SessionStore } from '../types/store.js'
import type { Clock } from './clock.js'
import type { Records } from './records.js'
import type { Signer } from './sign.js'
import { publish } from './diagnostics.js'
import { IdError, StoreError, driverCause, isSessionsError } from './errors.js'
import { isId, sha256 } from './id.js'
import { keyedIndex } from './keyed-index.js'
import { withinTime } from './time-limit.js'

export interface KeyedStoreSettings {
  /** The name of the session, for diagnostics. */
  name: string
  clock: Clock
  records: Records
  generateId: () => string
  /** Null: cookies carry the id alone. */
  signer: Signer | null
  /** Seconds that one call of the backend may take. */
  storeTimeout: number
  /** Called when the backend has answered. */
  onUse: () => void
}

type Rejected = Extract<LoadResult, { rejected: unknown }>
/** A well-formed token, well signed: `token` as it should be from now on. */
interface Presented { key: string, token: string }

const MAX_ROLLS = 5

/**
 * Makes a store of a backend: ids, hashing, signatures and time limits stand here, once for all.
 */
export function keyedStore (backend: SessionBackend, settings: KeyedStoreSettings): SessionStore {
  const { records, generateId, signer } = settings

  return {
    async load (token) {
      const presented = open(token)
      if ('rejected' in presented) return presented
      const { key, token: current } = presented
      const stored = await bounded('read', key, () => backend.read(key))
      if (stored === null) return { rejected: 'unknown', hash: key }
      const record = records.read(stored, key)
      return typeof record === 'string' ? { rejected: record, hash: key } : { record, token: current, handle: key }
    },

    async create (draft) {
      for (let roll = 0; roll < MAX_ROLLS; roll++) {
        const id = generateId()
        const key = sha256(id)
        const record = records.write(draft, key)
        if (await bounded('create', key, () => backend.create(key, record, draft))) {
          return { token: tokenOf(id), handle: key, version: record.version }
        }
      }
      throw new IdError(`returned ${MAX_ROLLS} ids in a row that are taken`)
    },

    async update (token, draft, ifVersion) {
      const key = keyOf(token)
      const record = records.write(draft, key)
      const result = await bounded('update', key, () => backend.update(key, record, draft, ifVersion))
      return result === 'ok' ? { token, handle: key, version: record.version } : result
    },

    async touch (token, _record, expiresAt) {
      const key = keyOf(token)
      return await bounded('touch', key, () => backend.touch(key, expiresAt)) ? { token } : null
    },

    async remove (token, ifVersion) {
      const key = keyOf(token)
      return bounded('remove', key, () => backend.remove(key, ifVersion))
    },

    index: keyedIndex(backend, { clock: settings.clock, call: bounded, records })
  }

  /** Checks what a client presents. No store is asked about what cannot be an id of ours. */
  function open (token: string): Presented | Rejected {
    const { id, signature } = split(token)
    if (!isId(id) || (signature === undefined) !== (signer === null)) {
      return { rejected: 'malformed', hash: sha256(token) }
    }
    const key = sha256(id)
    const position = signer === null ? 0 : signer.verify(id, signature!)
    if (position < 0) return { rejected: 'signature', hash: key }
    return { key, token: position > 0 ? tokenOf(id) : token }
  }

  function tokenOf (id: string): string {
    return signer === null ? id : `${id}.${signer.sign(id)}`
  }

  async function bounded<T> (verb: string, key: string | null, call: () => Promise<T>): Promise<T> {
    try {
      const answer = await withinTime(settings.storeTimeout, call)
      settings.onUse()
      return answer
    } catch (error) {
      if (isSessionsError(error)) throw error
      publish('failure', { session: settings.name, hash: key, reason: verb })
      throw new StoreError(verb, { cause: driverCause(error, key) })
    }
  }
}

function split (token: string): { id: string, signature?: string } {
  const dot = token.indexOf('.')
  return dot < 0 ? { id: token } : { id: token.slice(0, dot), signature: token.slice(dot + 1) }
}

function keyOf (token: string): string {
  return sha256(split(token).id)
}
