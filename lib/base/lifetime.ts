import type { Instant } from '../../types/store.js'
import { NEVER } from './clock.js'

export interface Timeouts {
  /** Seconds without use after which a session ends; null: never. */
  idleTimeout: number | null
  /** Seconds after creation or login after which a session ends; null: never. */
  absoluteTimeout: number | null
  /** Seconds between two moves of the expiry that only note activity. */
  touchInterval: number
}

interface Aged {
  createdAt: Instant
  rememberedUntil: Instant | null
}

/** When a session ends that is not used any more, absolute end only. */
export function absoluteEnd ({ createdAt, rememberedUntil }: Aged, { absoluteTimeout }: Timeouts): Instant {
  if (rememberedUntil !== null) return rememberedUntil
  return absoluteTimeout === null ? NEVER : wholeInstant(createdAt + absoluteTimeout * 1000)
}

/** When a session ends that is used at `now`: the earlier of idle and absolute end. */
export function expiryAt (now: Instant, session: Aged, timeouts: Timeouts): Instant {
  const end = absoluteEnd(session, timeouts)
  if (session.rememberedUntil !== null || timeouts.idleTimeout === null) return end
  return Math.min(wholeInstant(now + timeouts.idleTimeout * 1000), end)
}

/**
 * Whether activity at `now` is worth a write: it moves the expiry, and the last move is long enough ago. An
 * interval near the idle timeout would let an active session expire, so half of that is the most.
 */
export function touchIsDue (
  now: Instant, session: Aged & { expiresAt: Instant }, timeouts: Timeouts
): boolean {
  const { touchInterval, idleTimeout } = timeouts
  const interval = idleTimeout === null ? touchInterval : Math.min(touchInterval, idleTimeout / 2)
  return expiryAt(now, session, timeouts) - session.expiresAt >= Math.max(interval * 1000, 1)
}

/** As engines keep it: whole milliseconds, at most NEVER. */
export function wholeInstant (time: number): Instant {
  return Math.min(Math.floor(time), NEVER)
}
