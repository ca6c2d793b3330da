import type { Instant, Renewal } from '../../types/store.js'
import { randomIds, sha256 } from '../base/id.js'

export interface RenewalSettings {
  /** Seconds that a secret is used before another takes its place; null: for ever. */
  renewInterval: number | null
  /** Seconds that the secret of before is good for, once the browser has the new one. */
  renewGrace: number
}

/** What a token is to a session: what it should be, what it was, or nothing. */
export type Standing = 'current' | 'previous' | 'none'

interface Aged { createdAt: Instant, renewal?: Renewal }

const generateSecret = randomIds(16)
const shape = /^[A-Za-z0-9_-]{22}$/

export function isSecret (value: string): boolean {
  return shape.test(value)
}

/** @param secret '' for a token that carries none, as those of sessions that were never renewed */
export function standing ({ renewal }: Aged, secret: string, now: Instant): Standing {
  if (renewal === undefined) return secret === '' ? 'current' : 'none'
  const hash = sha256(secret)
  if (hash === renewal.current) return 'current'
  const isGood = hash === renewal.previous && (renewal.until === null || now < renewal.until)
  return isGood ? 'previous' : 'none'
}

/**
 * What is to become of the renewal of a session with its next write: null, nothing.
 *
 * A new secret does not end the old one before the browser has shown that it has the new one: a response
 * may get lost. From then on the old one is good for the grace, for requests that were sent before. A
 * browser that never shows the new one gets another.
 */
export function nextRenewal (
  session: Aged, secret: string, now: Instant, { renewInterval, renewGrace }: RenewalSettings
): { renewal: Renewal, issued: string | null } | null {
  if (renewInterval === null) return null
  const { createdAt, renewal } = session
  const grace = renewGrace * 1000
  const isAged = now - (renewal?.at ?? createdAt) >= renewInterval * 1000
  if (renewal === undefined) return isAged ? renewed(secret, now) : null
  if (standing(session, secret, now) === 'current') {
    if (isAged) return renewed(secret, now)
    return renewal.until === null ? { renewal: { ...renewal, until: now + grace }, issued: null } : null
  }
  const isLost = renewal.until === null && now - renewal.at >= grace
  return isLost ? renewed(secret, now) : null
}

function renewed (secret: string, now: Instant): { renewal: Renewal, issued: string } {
  const issued = generateSecret()
  return { renewal: { at: now, current: sha256(issued), previous: sha256(secret), until: null }, issued }
}
