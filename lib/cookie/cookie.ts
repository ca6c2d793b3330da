import type { Clock } from '../base/clock.js'
import type { CookieChange } from '../session/commit.js'
import type { CookieOptions } from './cookie-schema.js'
import { CookieTooLargeError, OptionError } from '../errors.js'

/** RFC 6265bis, 5.6: browsers ignore a pair of name and value that is longer. */
export const MAX_PAIR_BYTES = 4096
/** RFC 6265bis, 5.5: the longest Max-Age, 400 days. */
const MAX_AGE = 400 * 86400
/** How many cookies of the session's name are tried: more than one is a misconfiguration or an attack. */
const MAX_CANDIDATES = 4

/** RFC 9110, 5.6.2. */
const tokenShape = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const domainShape = /^\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$/
// eslint-disable-next-line no-control-regex -- RFC 6265bis, 4.1.1: any CHAR except CTLs or ";"
const pathShape = /^\/[^\x00-\x1f\x7f;]*$/

/**
 * Settles the name and refuses combinations that browsers refuse.
 *
 * @param label how errors name the session
 * @throws FST_SESSIONS_OPTION
 */
export function cookieName (options: CookieOptions, sessionName: string, label: string): string {
  const wrong = (field: string, problem: string) => new OptionError(`${label} option cookie.${field} ${problem}`)
  const { secure, sameSite, partitioned, domain, path } = options
  const name = options.name ?? defaultName(options, sessionName)
  if (!tokenShape.test(name)) throw wrong('name', 'must be a cookie name: letters, digits and !#$%&\'*+-.^_`|~')
  if (domain !== undefined && !domainShape.test(domain)) throw wrong('domain', 'must be a host name')
  if (!pathShape.test(path)) throw wrong('path', "must begin with '/' and hold no ';' or control character")
  if (sameSite === 'none' && secure !== true) throw wrong('sameSite', "'none' needs cookie.secure: true")
  if (partitioned && secure !== true) throw wrong('partitioned', 'needs cookie.secure: true')
  // RFC 6265bis, 4.1.3; browsers compare the prefixes case-insensitively.
  const prefix = name.toLowerCase()
  if (prefix.startsWith('__host-') && (secure !== true || path !== '/' || domain !== undefined)) {
    throw wrong('name', "with the prefix __Host- needs cookie.secure: true, cookie.path: '/' and no cookie.domain")
  }
  if (prefix.startsWith('__secure-') && secure !== true) {
    throw wrong('name', 'with the prefix __Secure- needs cookie.secure: true')
  }
  return name
}

function defaultName ({ secure, domain, path }: CookieOptions, sessionName: string): string {
  if (secure !== true) return sessionName
  return domain === undefined && path === '/' ? `__Host-${sessionName}` : `__Secure-${sessionName}`
}

/** The values of all cookies of one name, in the order of the header, at most four. */
export function cookieValues (header: string | undefined, name: string): readonly string[] {
  const values: string[] = []
  if (header === undefined) return values
  let start = 0
  while (start < header.length && values.length < MAX_CANDIDATES) {
    const semicolon = header.indexOf(';', start)
    const end = semicolon < 0 ? header.length : semicolon
    const equals = header.indexOf('=', start)
    if (equals >= 0 && equals < end && header.slice(start, equals).trim() === name) {
      values.push(header.slice(equals + 1, end).trim())
    }
    start = end + 1
  }
  return values
}

/** Whether browsers treat this host as secure even over plain http. */
export function isLoopback (hostname: string): boolean {
  return hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]'
}

/** The attributes of one Set-Cookie, as `@fastify/cookie` takes them. */
export interface CookieAttributes {
  path: string
  domain?: string
  httpOnly: boolean
  secure: boolean
  sameSite: 'strict' | 'lax' | 'none'
  partitioned: boolean
  priority?: 'low' | 'medium' | 'high'
  maxAge?: number
  expires?: Date
}

/** The value and the attributes for a change. Deleting repeats every attribute. */
export function cookieFor (
  change: CookieChange, options: CookieOptions, secure: boolean, clock: Clock
): { value: string, attributes: CookieAttributes } {
  const { path, domain, httpOnly, sameSite, partitioned, priority } = options
  const attributes: CookieAttributes = { path, domain, httpOnly, secure, sameSite, partitioned, priority }
  if (change.kind === 'delete') return { value: '', attributes: { ...attributes, maxAge: 0, expires: new Date(0) } }
  if (change.persistent || options.maxAge !== undefined) {
    const remaining = Math.floor((change.expiresAt - clock.now()) / 1000)
    attributes.maxAge = Math.max(0, Math.min(remaining, options.maxAge ?? MAX_AGE, MAX_AGE))
  }
  return { value: change.token, attributes }
}

/** @throws FST_SESSIONS_COOKIE_TOO_LARGE */
export function assertCookieFits (sessionName: string, name: string, value: string): void {
  const size = Buffer.byteLength(name) + Buffer.byteLength(value)
  if (size > MAX_PAIR_BYTES) throw new CookieTooLargeError(sessionName, size)
}

/** The Set-Cookie lines of a response with ours in the place of an earlier one of ours; others are kept. */
export function replaceSetCookie (
  present: string | string[] | number | undefined, name: string, line: string
): string | string[] {
  if (present === undefined) return line
  const others = [present].flat().map(String).filter(other => !other.startsWith(`${name}=`))
  return others.length === 0 ? line : [...others, line]
}
