import type { Session } from '../../types/session.js'
import type { EventLog } from '../base/diagnostics.js'
import type { Answer, Asker } from './exchange.js'
import { HttpExchange } from './exchange.js'

/** Under this name an instance with sessions has an `OpenOutside`, for the clients of tests. */
export const kOutside = Symbol.for('fastify-sessions.outside')

/** Opens the session as it would be in a request of this browser. Reads nothing yet. */
export type OpenOutside = (browser: Browser) => OutsideSession

export interface Browser {
  readonly protocol: 'http' | 'https'
  readonly hostname: string
  /** The Cookie header of a request to this path. */
  cookies (path: string): string
}

export interface OutsideSession {
  readonly session: Session
  /** The session cannot be changed after it. */
  commit (): Promise<void>
  /** The Set-Cookie lines that the response would have by now. */
  setCookies (): string[]
}

/** The request that this browser would send. */
export function requestOf ({ protocol, hostname, cookies }: Browser, path: string, log: EventLog): Asker {
  // Address and user agent are those of app.inject().
  const headers = { cookie: cookies(path), 'user-agent': 'lightMyRequest' }
  return { protocol, hostname, ip: '127.0.0.1', headers, log }
}

/** A response that nobody gets. */
export class OutsideAnswer implements Answer {
  readonly raw = { headersSent: false }
  readonly #headers = new Map<string, string | string[]>()

  getHeader (name: string): string | string[] | undefined {
    return this.#headers.get(name)
  }

  hasHeader (name: string): boolean {
    return this.#headers.has(name)
  }

  header (name: string, value: string | string[]): void {
    this.#headers.set(name, value)
  }

  removeHeader (name: string): void {
    this.#headers.delete(name)
  }
}

/** A session that could not be saved is an error here: a test that went on would look elsewhere for it. */
export class OutsideExchange extends HttpExchange {
  override canSetCookie (): boolean {
    if (super.canSetCookie()) return true
    throw new TypeError('nothing was saved: the session cookie is secure, and the origin of the client is not; ' +
      "give createClient() an origin like 'https://shop.test', or the session cookie.secure: false")
  }
}
