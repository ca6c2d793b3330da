import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { CookieJar } from 'tough-cookie'
import type { Session, SessionData } from '../../types/session.js'
import type { Instant } from '../../types/store.js'
import type { OpenOutside, OutsideSession } from '../cookie/outside.js'
import { kOutside } from '../cookie/outside.js'

export interface ClientOptions {
  /**
   * Scheme and host that the requests seem to go to. Default `http://localhost`, which browsers treat as
   * secure. With https the application must set Fastify's `trustProxy`, as behind a proxy that ends TLS.
   */
  origin?: string
}

/** Which session is meant. */
export interface SessionChoice {
  /** One of several sessions. Default: all of them as one, as `request.session` is. */
  part?: string
  /** Where the session plugin was registered. Default: the instance that the client was made for. */
  app?: FastifyInstance
}

/** What is stored of a client's session. Times are milliseconds since the epoch. */
export interface StoredSession {
  /** As `session.id`: null of a session that lives in its cookie. */
  id: string | null
  /** A copy. */
  data: Partial<SessionData> & Record<string, unknown>
  /** Whom `login()` named, or null. */
  principal: string | null
  /** Null, as `expiresAt`, where of several sessions the one that keeps the login is not stored. */
  createdAt: Instant | null
  expiresAt: Instant | null
  authenticatedAt: Instant | null
}

/** A browser for `app.inject()`: keeps cookies between requests by the rules of RFC 6265. */
export interface Client {
  /** Sends a request with the cookies that belong to it, and keeps those that the response sets. */
  inject (request: InjectOptions | string): Promise<LightMyRequestResponse>
  /**
   * Opens this browser's session without a request, as a handler would have it, loaded: through the store,
   * the signature and the seal of the application. When `work` is done, what it changed is committed, and the
   * cookies that the response would have set are kept. When it throws, nothing is committed and no cookie is
   * changed, but for what `work` has saved with `session.save()`.
   *
   * The session is that of a request to the path of the cookie, by the scheme of the client's origin.
   * Hooks of the application do not run. A commit notes activity, as a request does.
   *
   * @param work gets the session; may be async
   * @returns what `work` returned
   * @throws what `work` threw; what a commit throws, as FST_SESSIONS_STORE; an error when the client would
   * not keep the cookie; TypeError when there is no such part, or no session plugin
   */
  transaction<T> (work: (session: Session) => T | Promise<T>, choice?: SessionChoice): Promise<T>
  /**
   * What the store has under this browser's cookie. Null when there is none: nothing was written, or it has
   * expired or was destroyed. Changes nothing, and notes no activity.
   *
   * @throws FST_SESSIONS_STORE when the store fails; TypeError when there is no such part, or no session
   * plugin
   */
  session (choice?: SessionChoice): Promise<StoredSession | null>
  /** The Cookie header that a request to this path would carry, or '' without one. */
  cookies (path?: string): Promise<string>
  /** Forgets all cookies. */
  clear (): Promise<void>
}

/**
 * An inject client with a cookie jar that obeys path, domain, secure and expiry. Needs the package
 * `tough-cookie`.
 *
 * @param app an instance within a prefix, too: paths are those of the whole application all the same
 * @example
 * const client = createClient(app)
 * await client.transaction(session => session.login('ada'))
 * const response = await client.inject('/account')
 * assert.equal((await client.session())?.principal, 'ada')
 */
export function createClient (app: FastifyInstance, { origin = 'http://localhost' }: ClientOptions = {}): Client {
  const { protocol, host, hostname } = new URL(origin)
  const scheme = protocol === 'https:' ? 'https' : 'http'
  let opening: Promise<CookieJar> | undefined
  const jar = () => (opening ??= openJar())

  async function open ({ app: instance = app, part }: SessionChoice): Promise<OutsideSession> {
    await ready(instance)
    const kept = await jar()
    const cookies = (path: string) => kept.getCookieStringSync(new URL(path, origin).href)
    const outside = openerOf(instance)({ protocol: scheme, hostname, cookies })
    const session = part === undefined ? outside.session : outside.session.part(part)
    await session.load()
    return { ...outside, session }
  }

  async function keep (lines: readonly string[], url: string, ignoreError = true): Promise<void> {
    for (const line of lines) await (await jar()).setCookie(line, url, { ignoreError })
  }

  return {
    async inject (request) {
      const { headers, ...options } = typeof request === 'string' ? { url: request } : request
      const path = new URL(String(options.url ?? options.path), origin)
      const cookie = await (await jar()).getCookieString(path.href)
      const response = await app.inject({
        ...options,
        headers: { host, 'x-forwarded-proto': scheme, ...headers, ...cookie === '' ? {} : { cookie } }
      })
      await keep([response.headers['set-cookie'] ?? []].flat(), path.href)
      return response
    },
    async transaction (work, choice = {}) {
      const { session, commit, setCookies } = await open(choice)
      let isCommitted = false
      try {
        const result = await work(session)
        await commit()
        isCommitted = true
        return result
      } finally {
        await keep(setCookies(), origin, !isCommitted)
      }
    },
    async session (choice = {}) {
      const { session } = await open(choice)
      const { id, principal, createdAt, expiresAt, authenticatedAt } = session
      const data = session.data()
      return session.isSaved() ? { id, data, principal, createdAt, expiresAt, authenticatedAt } : null
    },
    async cookies (path = '/') {
      return (await jar()).getCookieString(new URL(path, origin).href)
    },
    async clear () {
      await (await jar()).removeAllCookies()
    }
  }
}

/** Not by the promise of `app.ready()`, which an instance within a prefix rejects once it is ready. */
function ready (app: FastifyInstance): Promise<void> {
  return new Promise((resolve, reject) => {
    app.ready(error => error ? reject(error) : resolve())
  })
}

function openerOf (app: FastifyInstance & { [kOutside]?: OpenOutside }): OpenOutside {
  const open = app[kOutside]
  if (open !== undefined) return open
  throw new TypeError('the session plugin is not registered on this instance; where it is registered within a ' +
    'prefix, give that instance as the option app')
}

async function openJar (): Promise<CookieJar> {
  const { CookieJar } = await import('tough-cookie')
  return new CookieJar(undefined, { allowSpecialUseDomain: true, prefixSecurity: 'strict' })
}
