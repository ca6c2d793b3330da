import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { CookieJar } from 'tough-cookie'

export interface ClientOptions {
  /**
   * Scheme and host that the requests seem to go to. Default `http://localhost`, which browsers treat as
   * secure.
   */
  origin?: string
}

/** A browser for `app.inject()`: keeps cookies between requests by the rules of RFC 6265. */
export interface Client {
  /** Sends a request with the cookies that belong to it, and keeps those that the response sets. */
  inject (request: InjectOptions | string): Promise<LightMyRequestResponse>
  /** The Cookie header that a request to this path would carry, or '' without one. */
  cookies (path?: string): Promise<string>
  /** Forgets all cookies. */
  clear (): Promise<void>
}

/**
 * An inject client with a cookie jar that obeys path, domain, secure and expiry. Needs the package
 * `tough-cookie`.
 *
 * @example
 * const client = createClient(app)
 * await client.inject({ method: 'POST', url: '/login' })
 * const response = await client.inject('/cart')
 */
export function createClient (app: FastifyInstance, { origin = 'http://localhost' }: ClientOptions = {}): Client {
  const { protocol, host } = new URL(origin)
  let opening: Promise<CookieJar> | undefined
  const jar = () => (opening ??= openJar())

  return {
    async inject (request) {
      const { headers, ...options } = typeof request === 'string' ? { url: request } : request
      const path = new URL(String(options.url ?? options.path), origin)
      const cookie = await (await jar()).getCookieString(path.href)
      const response = await app.inject({
        ...options,
        headers: {
          host, 'x-forwarded-proto': protocol.slice(0, -1), ...headers, ...cookie === '' ? {} : { cookie }
        }
      })
      for (const line of [response.headers['set-cookie'] ?? []].flat()) {
        await (await jar()).setCookie(line, path.href, { ignoreError: true })
      }
      return response
    },
    async cookies (path = '/') {
      return (await jar()).getCookieString(new URL(path, origin).href)
    },
    async clear () {
      await (await jar()).removeAllCookies()
    }
  }
}

async function openJar (): Promise<CookieJar> {
  const { CookieJar } = await import('tough-cookie')
  return new CookieJar(undefined, { allowSpecialUseDomain: true, prefixSecurity: 'strict' })
}
