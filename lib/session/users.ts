import type { Instant, ListedRecord, SessionIndex, SessionRecord } from '../../types/store.js'
import type { SessionRef, UserSession, UserSessions } from '../../types/users.js'
import type { SessionSettings } from './commit.js'
import { publish } from '../base/diagnostics.js'
import { absoluteEnd } from '../base/lifetime.js'
import { AbilityError, ConflictError } from '../errors.js'

const MAX_ROUNDS = 20

/**
 * The sessions of one store by their users.
 *
 * @param storeType how errors name the store
 */
export function createUserSessions (settings: SessionSettings, storeType: string): UserSessions {
  const { store, name, log } = settings

  function able<K extends keyof SessionIndex> (ability: K, phrase: string): NonNullable<SessionIndex[K]> {
    const found = store.index?.[ability]
    if (found === undefined) throw new AbilityError(storeType, phrase)
    return found
  }

  return {
    async listByUser (user, { current } = {}) {
      assertUser(user)
      const listed = await able('listOf', 'list the sessions of a user')(user)
      const handle = current === undefined ? undefined : handleOf(current)
      return listed
        .map(session => describe(session, settings, handle))
        .sort((a, b) => b.createdAt - a.createdAt || (a.handle < b.handle ? 1 : -1))
    },

    /**
     * A session may get a new id while the engine looks through its index: found under the old id, which is
     * gone when it is to be removed, and missed under the new one. The next round finds it. So it takes
     * two rounds without a find to be done. A rotation that comes to remove what was removed here takes its
     * new record back.
     */
    async destroyByUser (user, { except } = {}) {
      assertUser(user)
      const removeAllOf = able('removeAllOf', 'end the sessions of a user')
      const kept = except === undefined ? undefined : handleOf(except) ?? undefined
      let total = 0
      for (let round = 0, quiet = 0; round < MAX_ROUNDS; round++) {
        const removed = await removeAllOf(user, kept)
        if (removed > 0) publish('destroyed', { session: name, hash: null, reason: 'destroyByUser' }, log)
        total += removed
        quiet = removed > 0 ? 0 : quiet + 1
        if (quiet === 2) return total
      }
      throw new ConflictError('the user kept logging in while all sessions were to end; some may be left')
    },

    async destroy (handle) {
      const removed = await able('remove', 'end a session by its handle')(handle)
      if (removed) publish('destroyed', { session: name, hash: handle, reason: 'destroy' }, log)
      return removed
    },

    isFresh ({ authenticatedAt }, seconds) {
      return authenticatedAt !== null && settings.clock.now() - authenticatedAt < seconds * 1000
    },

    sweep: async () => able('sweep', 'remove expired sessions')(),
    count: async () => able('count', 'count its sessions')()
  }
}

function describe (
  { handle, record }: ListedRecord, settings: SessionSettings, current: string | null | undefined
): UserSession {
  const { createdAt, expiresAt, client } = record
  const lastSeenAt = lastUse(record, settings)
  return {
    handle,
    createdAt,
    ...lastSeenAt !== undefined && { lastSeenAt },
    expiresAt,
    ...client,
    current: handle === current
  }
}

function lastUse (record: SessionRecord, { timeouts }: SessionSettings): Instant | undefined {
  const { idleTimeout } = timeouts
  if (idleTimeout === null || record.expiresAt >= absoluteEnd(record, timeouts)) return undefined
  return Math.max(record.expiresAt - idleTimeout * 1000, record.createdAt)
}

/** Null: a session that is not stored, and so in no list. */
function handleOf (session: SessionRef): string | null {
  return typeof session === 'string' ? session : session.id
}

/** Nobody's sessions are those of all visitors without a login. */
function assertUser (user: unknown): void {
  if (typeof user !== 'string' || user === '') throw new TypeError('a user is named by a non-empty string')
}
