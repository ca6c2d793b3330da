import type { IndexedKey, Instant, SessionIndex } from '../../types/store.js'
import type { EventLog } from '../base/diagnostics.js'
import { publish } from '../base/diagnostics.js'
import { GoneError, TooManyError } from '../errors.js'

/** How many sessions a user may have. */
export interface UserLimit {
  /**
   * @param own the session of this login, which is stored
   * @param replaced the handle of the session that it takes the place of and that is about to be removed
   * @param log is told of the sessions that end
   * @throws FST_SESSIONS_TOO_MANY when there is no place for it
   * @throws FST_SESSIONS_GONE when it is itself the oldest; in both cases the caller removes it
   */
  admit (principal: string, own: Place, replaced: string | null, log: EventLog): Promise<void>
}

export interface UserLimitSettings {
  /** The name of the session, for diagnostics. */
  readonly name: string
  /** The most sessions of one user. */
  readonly max: number
  /** What happens to one too many: the oldest ends, or the new one is refused. */
  readonly whenFull: 'evict' | 'refuse'
}

/**
 * So many sessions end at once. A user has far more of them than he may where the limit is new, and a driver
 * has a few connections for all.
 */
const AT_ONCE = 20

type Place = Pick<IndexedKey, 'key' | 'createdAt'>

/**
 * Store first, then count. Each login lists the sessions of its user after its own record is there. Of all
 * logins that have been answered, take the one that listed last: all their records were there by then, so it
 * saw every one of them, and either removed those beyond `max` or was refused itself. So there are never
 * more than `max` when the responses have left, whatever the order. To count first and store then would let
 * two logins into the last place.
 *
 * All processes order the sessions alike, those of one millisecond by their handles, so that logins at the
 * same time remove the same ones. Two refusals at the last place are possible, two admissions are not. While
 * the id of a session is exchanged its user has one more for a moment; a login just then may end one too
 * many, never one too few.
 */
export function createUserLimit (index: SessionIndex, settings: UserLimitSettings): UserLimit {
  const { name, max, whenFull } = settings

  async function end (key: string, log: EventLog): Promise<void> {
    if (await index.remove(key)) publish('destroyed', { session: name, hash: key, reason: 'maxPerUser' }, log)
  }

  return {
    async admit (principal, own, replaced, log) {
      const listed = await index.keysOf!(principal)
      const others = listed.filter(({ key }) => key !== own.key && key !== replaced)
      if (others.length < max) return
      if (whenFull === 'refuse') throw new TooManyError()
      const surplus = [...others, own].sort(byAge).slice(0, -max)
      const ended = surplus.filter(place => place !== own)
      for (let first = 0; first < ended.length; first += AT_ONCE) {
        await Promise.all(ended.slice(first, first + AT_ONCE).map(({ key }) => end(key, log)))
      }
      if (surplus.includes(own)) throw new GoneError()
    }
  }
}

function byAge (a: Place, b: Place): Instant {
  return a.createdAt - b.createdAt || (a.key < b.key ? -1 : 1)
}
