import { Type } from '@sinclair/typebox'
import type { ResponseCookieOptions } from '../../types/session.js'
import type { Clock } from '../base/clock.js'
import type { CookieOptions } from './cookie-schema.js'
import { checkOptions, show } from '../base/options.js'
import { OptionError } from '../errors.js'
import { cookieSchema } from './cookie-schema.js'

const { domain, path, httpOnly, secure, sameSite, partitioned, priority } = cookieSchema.properties
const maxAge = Type.Integer({ minimum: 0 })
const known = { domain, path, httpOnly, secure, sameSite, partitioned, priority, maxAge }

/**
 * What `session.options()` was given, as options of ours. Names that are not known are left out: plugins hand
 * on what they were given themselves.
 *
 * @throws FST_SESSIONS_OPTION
 */
export function cookieOverride (received: ResponseCookieOptions, clock: Clock): Partial<CookieOptions> {
  const given = Object.entries(inOurTerms(received, clock))
    .filter(([name, value]) => Object.hasOwn(known, name) && value !== undefined && value !== null)
  const schema = Object.fromEntries(given.map(([name]) => [name, known[name as keyof typeof known]]))
  return checkOptions(Type.Object(schema), Object.fromEntries(given), 'session.options()')
}

function inOurTerms ({ expires, maxAge, sameSite, ...others }: ResponseCookieOptions, clock: Clock) {
  return {
    ...others,
    maxAge: typeof maxAge === 'number' ? Math.floor(maxAge) : maxAge ?? secondsUntil(expires, clock),
    sameSite: typeof sameSite === 'boolean' ? (sameSite ? 'strict' : 'lax') : sameSite
  }
}

function secondsUntil (expires: Date | null | undefined, clock: Clock): number | undefined {
  if (expires === undefined || expires === null) return undefined
  if (!(expires instanceof Date) || Number.isNaN(expires.getTime())) {
    throw new OptionError(`session.options() option expires must be a valid Date, received ${show(expires)}`)
  }
  return Math.max(0, Math.floor((expires.getTime() - clock.now()) / 1000))
}
