import type {
  Awaitable, LoadResult, LoadedSession, Prompt, SessionBackend, SessionStore, StoredRecord
} from '../../types/store.js'
import type { Clock } from '../base/clock.js'
import type { EventLog } from '../base/diagnostics.js'
import type { Records } from './records.js'
import type { RenewalSettings } from './renewal.js'
import type { Signer } from './sign.js'
import { publish } from '../base/diagnostics.js'
import { isId, sha256 } from '../base/id.js'
import { createTimeLimit } from '../base/time-limit.js'
import { IdError, StoreError, driverCause, isSessionsError } from '../errors.js'
import { keyedIndex } from './keyed-index.js'
import { isSecret, nextRenewal, standing } from './renewal.js'

export interface KeyedStoreSettings extends RenewalSettings {
  /** The name of the session, for diagnostics. */
  name: string
  clock: Clock
  records: Records
  generateId: () => string
  /** Null: cookies carry the id alone. */
  signer: Signer | null
  /** Seconds that one call of the backend may take. */
  storeTimeout: number
  /** Is told when the backend fails. */
  log: EventLog
  /** Called whenever the backend is. */
  onUse: () => void
}

type Rejected = Extract<LoadResult, { rejected: unknown }>
/** A well-formed token, well signed: `token` as it should be from now on. */
interface Presented { key: string, secret: string, token: string }

const MAX_ROLLS = 5

/**
 * Makes a store of a backend: ids, hashing, signatures and time limits stand here, once for all.
 */
export function keyedStore (
  backend: Prompt<SessionBackend>, settings: KeyedStoreSettings
): Prompt<SessionStore> {
  const { clock, records, generateId, signer } = settings
  const neverRenews = settings.renewInterval === null
  const inTime = createTimeLimit(settings.storeTimeout)

  return {
    load (token, isAdmitted = false) {
      const presented = open(token)
      if ('rejected' in presented) return presented
      const { key } = presented
      return bounded('read', key, () => backend.read(key), stored => found(presented, stored, isAdmitted))
    },

    async create (draft) {
      for (let roll = 0; roll < MAX_ROLLS; roll++) {
        const id = generateId()
        const key = sha256(id)
        const record = records.write(draft, key)
        if (await called('create', key, () => backend.create(key, record, draft))) {
          return { token: tokenOf(id), handle: key, version: record.version }
        }
      }
      throw new IdError(`returned ${MAX_ROLLS} ids in a row that are taken`)
    },

    update ({ token, handle }, draft, ifVersion, mayRenew = false) {
      const key = handle!
      const next = mayRenew ? nextRenewal(draft, split(token).secret, clock.now(), settings) : null
      const { renewal } = next ?? draft
      const record = records.write(next === null ? draft : { ...draft, renewal }, key)
      return bounded('update', key, () => backend.update(key, record, draft, ifVersion), result => {
        if (result !== 'ok') return result
        const isRenewed = next !== null && next.issued !== null
        if (isRenewed) publish('rotated', { session: settings.name, hash: key, reason: 'renewal' }, settings.log)
        const current = isRenewed ? tokenOf(`${split(token).id}.${next.issued}`) : token
        return { token: current, handle: key, version: record.version, renewal }
      })
    },

    async touch ({ token, handle }, _record, expiresAt) {
      return await called('touch', handle, () => backend.touch(handle!, expiresAt)) ? { token } : null
    },

    remove: ({ handle }, ifVersion) => called('remove', handle, () => backend.remove(handle!, ifVersion)),

    index: keyedIndex(backend, { clock, call: called, records })
  }

  /** Checks what a client presents. No store is asked about what cannot be an id of ours. */
  function open (token: string): Presented | Rejected {
    const { id, secret, signature } = split(token)
    if (!isId(id) || (secret !== '' && !isSecret(secret)) || (signature === null) !== (signer === null)) {
      return { rejected: 'malformed', hash: sha256(token) }
    }
    const key = sha256(id)
    if (signer === null) return { key, secret, token }
    const signed = token.slice(0, token.lastIndexOf('.'))
    const position = signer.verify(signed, signature!)
    if (position < 0) return { rejected: 'signature', hash: key }
    return { key, secret, token: position > 0 ? tokenOf(signed) : token }
  }

  function found (
    { key, token, secret }: Presented, stored: StoredRecord | null, isAdmitted: boolean
  ): LoadResult {
    if (stored === null) return { rejected: 'unknown', hash: key }
    const record = records.read(stored, key)
    if (typeof record === 'string') return { rejected: record, hash: key }
    const loaded = { record, token, handle: key }
    return neverRenews && secret === '' && record.renewal === undefined
      ? loaded
      : judged(loaded, secret, isAdmitted)
  }

  function judged (loaded: LoadedSession, secret: string, isAdmitted: boolean): LoadResult {
    const now = clock.now()
    const result = standing(loaded.record, secret, now)
    if (result === 'none' && !isAdmitted) return { rejected: 'renewed', hash: loaded.handle }
    const isRenewalDue = nextRenewal(loaded.record, secret, now, settings) !== null
    return Object.assign(loaded, { isSuperseded: result !== 'current', isRenewalDue })
  }

  /** What may stand before the signature: an id, or an id and a secret. */
  function tokenOf (signed: string): string {
    return signer === null ? signed : `${signed}.${signer.sign(signed)}`
  }

  /** Segments between dots: the id, the secret if it was ever renewed, and the signature if there is one. */
  function split (token: string): { id: string, secret: string, signature: string | null } {
    const first = token.indexOf('.')
    if (first < 0 || (signer === null && first === token.length - 1)) return { id: token, secret: '', signature: null }
    const last = signer === null ? token.length : token.lastIndexOf('.')
    const signature = signer === null ? null : token.slice(last + 1)
    return { id: token.slice(0, first), secret: token.slice(first + 1, last), signature }
  }

  function called<T> (verb: string, key: string | null, call: () => Awaitable<T>): Awaitable<T> {
    return bounded(verb, key, call, answer => answer)
  }

  /** @param next makes the result of the answer */
  function bounded<T, R> (
    verb: string, key: string | null, call: () => Awaitable<T>, next: (answer: T) => R
  ): Awaitable<R> {
    settings.onUse()
    return inTime(call, next, error => failure(verb, key, error))
  }

  function failure (verb: string, key: string | null, error: unknown): unknown {
    if (isSessionsError(error)) return error
    publish('failure', { session: settings.name, hash: key, reason: verb }, settings.log)
    return new StoreError(verb, { cause: driverCause(error, key) })
  }
}
