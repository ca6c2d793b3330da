import { createHash, randomUUID } from 'node:crypto'
import Fastify from 'fastify'

interface Teardown { teardown (fn: () => unknown): void }
type Asked = Record<string, string | undefined>

/**
 * A fake of an OAuth 2.0 provider (RFC 6749, 4.1; RFC 7636 for PKCE): asks nobody, says yes to everybody.
 *
 * @returns where it listens
 */
export async function startFakeProvider (t: Teardown): Promise<{ origin: string }> {
  const challenges = new Map<string, string | undefined>()
  const app = Fastify()
  t.teardown(() => app.close())
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(body as string)))
  })
  app.get<{ Querystring: Asked }>('/authorize', async ({ query }, reply) => {
    const code = randomUUID()
    challenges.set(code, query.code_challenge)
    const back = new URL(query.redirect_uri!)
    back.searchParams.set('code', code)
    if (query.state !== undefined) back.searchParams.set('state', query.state)
    return reply.redirect(back.href)
  })
  app.post<{ Body: Asked }>('/token', async ({ body }, reply) => {
    const { code = '', code_verifier: verifier } = body
    const challenge = challenges.get(code)
    const isKnown = challenges.delete(code)
    const shown = verifier === undefined ? undefined : createHash('sha256').update(verifier).digest('base64url')
    if (!isKnown || shown !== challenge) return reply.code(400).send({ error: 'invalid_grant' })
    return { access_token: 'granted', token_type: 'Bearer', expires_in: 3600 }
  })
  return { origin: await app.listen({ host: '127.0.0.1', port: 0 }) }
}

/** Follows the redirect to the provider. @returns the path and query of the callback it redirects to */
export async function visitProvider (location: unknown): Promise<string> {
  const response = await fetch(String(location), { redirect: 'manual' })
  const { pathname, search } = new URL(response.headers.get('location')!)
  return pathname + search
}
