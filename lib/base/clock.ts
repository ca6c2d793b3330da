import type { Instant } from '../../types/store.js'

/** Where the time comes from. Tests hand in one that they move. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now (): Instant
}

export const systemClock: Clock = { now: () => Date.now() }

/**
 * An expiry for what does not expire: the last instant that every engine can keep (9999-12-31T23:59:59Z).
 */
export const NEVER: Instant = 253402300799000
