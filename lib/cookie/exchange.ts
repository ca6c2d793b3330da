import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { ResponseCookieOptions } from '../../types/session.js'
import type { ClientInfo } from '../../types/store.js'
import type { EventLog } from '../base/diagnostics.js'
import type { CheckedOptions } from '../config/session-options.js'
import type { CookieChange } from '../session/commit.js'
import type { Held } from '../session/group.js'
import type { Exchange } from '../session/request-session.js'
import type { CookieOptions } from './cookie-schema.js'
import type { CookieAttributes } from './cookie.js'
import { explainUnset } from '../base/diagnostics.js'
import { DetachedError } from '../errors.js'
import { cookieOverride } from './cookie-override.js'
import {
  assertCookieFits, cookieFor, cookieName, cookieValues, isLoopback, replaceSetCookie
} from './cookie.js'

/** Characters of what is kept of a client. The longest address of IPv6 has 45, and a zone may follow. */
const MAX_IP = 64
const MAX_USER_AGENT = 256

/** What a session asks of a request. */
export interface Asker extends Pick<FastifyRequest, 'headers' | 'hostname' | 'ip' | 'protocol'> {
  readonly log: EventLog
}

/** What it asks of the response. */
export interface Answer {
  readonly raw: { readonly headersSent: boolean }
  getHeader (name: string): number | string | string[] | undefined
  hasHeader (name: string): boolean
  header (name: string, value: string | string[]): unknown
  removeHeader (name: string): unknown
}

type Serialize = (name: string, value: string, attributes: CookieAttributes) => string

/** The cookie of one session: how it is read from requests and written to responses. */
export class SessionCookie {
  readonly name: string
  /** The attributes, unless a response has others. */
  readonly attributes: CookieOptions
  readonly #options: CheckedOptions
  readonly #serialize: Serialize
  readonly #log: FastifyBaseLogger
  #warned = false

  /** @param label how errors name the session */
  constructor (options: CheckedOptions, label: string, serialize: Serialize, log: FastifyBaseLogger) {
    this.name = cookieName(options.cookie, options.name, label)
    this.attributes = options.cookie
    this.#options = options
    this.#serialize = serialize
    this.#log = log
  }

  read (header: string | undefined): readonly string[] {
    return cookieValues(header, this.name)
  }

  /** What is kept of who gets an id. */
  clientOf ({ ip, headers }: Asker): ClientInfo | undefined {
    if (!this.#options.metadata) return undefined
    return { ip: shortened(ip, MAX_IP), userAgent: shortened(headers['user-agent'] ?? '', MAX_USER_AGENT) }
  }

  /** Whether a browser would keep the cookie. When not, the log tells why: at level warn once. */
  canWrite (request: Asker, attributes: CookieOptions): boolean {
    const isPossible = isSecure(attributes, request) !== 'impossible'
    if (!isPossible) this.#explain(request)
    return isPossible
  }

  /** @throws FST_SESSIONS_OPTION when a value is wrong, or a browser would refuse the cookie */
  override (attributes: CookieOptions, received: ResponseCookieOptions): CookieOptions {
    const override = cookieOverride(received, this.#options.clock)
    if (Object.keys(override).length === 0) return attributes
    const merged = { ...attributes, ...override, name: this.name }
    cookieName(merged, this.#options.name, 'session')
    return merged
  }

  write (request: Asker, reply: Answer, change: CookieChange, options: CookieOptions): void {
    const { clock, name: sessionName } = this.#options
    if (reply.raw.headersSent) return explainUnset(sessionName, 'headers sent', request.log)
    if (!this.canWrite(request, options)) return
    const { value, attributes } = cookieFor(change, options, isSecure(options, request) === true, clock)
    assertCookieFits(sessionName, this.name, value)
    const line = this.#serialize(this.name, value, attributes)
    const present = reply.getHeader('set-cookie')
    reply.removeHeader('set-cookie')
    reply.header('set-cookie', replaceSetCookie(present, this.name, line))
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
  }

  #explain (request: Asker): void {
    explainUnset(this.#options.name, 'plain http', request.log)
    if (this.#warned) return
    this.#warned = true
    this.#log.warn({ session: this.#options.name, protocol: request.protocol },
      'the session cookie was not sent: it is secure, and the request came over plain http; ' +
      'behind a proxy that ends TLS set the Fastify option trustProxy, else set cookie.secure')
  }
}

/** Both come from the client: the address, too, where every proxy is trusted. */
function shortened (text: string, length: number): string {
  // eslint-disable-next-line no-control-regex -- they are what is taken out
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, '').slice(0, length)
}

/** Whether the cookie gets the attribute Secure, or cannot be sent at all. */
function isSecure ({ secure }: CookieOptions, request: Asker): boolean | 'impossible' {
  if (secure === false) return false
  if (request.protocol === 'https') return true
  if (secure === 'auto') return false
  return isLoopback(request.hostname) ? true : 'impossible'
}

/** Responses that depend on a session say so. */
export function varyByCookie (reply: Answer): void {
  const present = reply.getHeader('vary')
  if (present === undefined || present === '') reply.header('vary', 'Cookie')
  else if (!/(^|,)\s*(\*|cookie)\s*(,|$)/i.test(String(present))) reply.header('vary', `${present}, Cookie`)
}

/** One request and its response. */
export class HttpExchange implements Exchange, Held {
  readonly #cookie: SessionCookie
  readonly #request: Asker
  #reply: Answer | null
  #attributes: CookieOptions
  isOverridden = false
  /** What the browser is to be told as soon as there is a reply, and nobody holds it back. */
  #waiting: CookieChange | null = null
  #isHeld = false
  readonly refusal: (() => Error) | undefined
  readonly tokens: readonly string[]

  /**
   * @param reply null in hooks that run before those of the session plugin
   * @param ignoresCookie the request has no session, whatever it presents
   */
  constructor (
    cookie: SessionCookie, request: Asker, reply: Answer | null,
    refusal: (() => Error) | undefined, ignoresCookie: boolean
  ) {
    this.#cookie = cookie
    this.#request = request
    this.#reply = reply
    this.#attributes = cookie.attributes
    this.refusal = refusal
    this.tokens = ignoresCookie ? [] : cookie.read(request.headers.cookie)
  }

  get log (): EventLog {
    return this.#request.log
  }

  headersSent (): boolean {
    return this.#reply?.raw.headersSent === true
  }

  canSetCookie (): boolean {
    return this.#cookie.canWrite(this.#request, this.#attributes)
  }

  override (received: ResponseCookieOptions): void {
    const attributes = this.#cookie.override(this.#attributes, received)
    if (attributes === this.#attributes) return
    this.#attributes = attributes
    this.isOverridden = true
  }

  client (): ClientInfo | undefined {
    return this.#cookie.clientOf(this.#request)
  }

  meet (reply: Answer): void {
    this.#reply = reply
    this.#tell()
  }

  hold (): void {
    this.#isHeld = true
  }

  release (): void {
    this.#isHeld = false
    this.#tell()
  }

  respond (change: CookieChange): void {
    this.#waiting = change
    this.#tell()
  }

  #tell (): void {
    if (this.#waiting === null || this.#reply === null || this.#isHeld) return
    varyByCookie(this.#reply)
    this.#cookie.write(this.#request, this.#reply, this.#waiting, this.#attributes)
    this.#waiting = null
    this.isOverridden = false
  }
}

/** No request and no response: what a Cookie header says is all there is. */
export class DetachedExchange implements Exchange, Held {
  readonly isDetached = true
  readonly tokens: readonly string[]
  readonly refusal: (() => Error) | undefined
  readonly log: EventLog
  readonly isOverridden = false

  constructor (tokens: readonly string[], refusal: (() => Error) | undefined, log: EventLog) {
    this.tokens = tokens
    this.refusal = refusal
    this.log = log
  }

  headersSent (): boolean {
    return false
  }

  canSetCookie (): never {
    throw new DetachedError()
  }

  override (): never {
    throw new DetachedError()
  }

  /** A deletion, or a later end of a persistent cookie: the next response to this browser tells it. */
  respond (): void {}

  hold (): void {}

  release (): void {}
}
