import { readFile } from 'node:fs/promises'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import type { FastifyError, FastifyInstance, FastifyRequest, FastifyServerOptions } from 'fastify'
import sessions from 'fastify-sessions'
import type { SessionOptions } from 'fastify-sessions'
import { catalogue, errorPage, mainPage } from './page.js'
import type { RecentRequest } from './page.js'

declare module 'fastify-sessions' {
  interface SessionData {
    visits: number
    /** Names of items; one that was added twice is there twice. */
    cart: string[]
    recent: RecentRequest[]
  }
}

export interface DemoOptions {
  store: SessionOptions['store']
  /** What the page calls it. */
  storeName: string
  secret: string
  logger?: FastifyServerOptions['logger']
}

const RECENT = 8
const CART = 99

const loginForm = {
  type: 'object',
  required: ['name'],
  properties: {
    name: { type: 'string', maxLength: 40, pattern: '\\S' },
    remember: { type: 'string' }
  }
}

const cartForm = {
  type: 'object',
  required: ['item'],
  properties: { item: { type: 'string', enum: catalogue } }
}

const deviceForm = {
  type: 'object',
  required: ['device'],
  properties: { device: { type: 'string', maxLength: 43 } }
}

const securityHeaders = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; " +
    "base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff'
}

/** The demo, ready to listen or to be injected into. */
export async function buildDemo (options: DemoOptions): Promise<FastifyInstance> {
  const { store, storeName, secret, logger } = options
  const app = Fastify({ logger })
  const style = await readFile(new URL('style.css', import.meta.url))

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, readForm)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(securityHeaders)
    assertSameOrigin(request)
  })
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) request.log.error(error)
    return reply.code(status).type('text/html; charset=utf-8').send(errorPage(status))
  })
  app.setNotFoundHandler((_request, reply) => reply.code(404).type('text/html; charset=utf-8').send(errorPage(404)))

  await app.register(cookie)
  // What the list of log-ins shows of each.
  await app.register(sessions, { store, secret, metadata: true })
  app.get('/style.css', { config: { session: false } }, async (_request, reply) => {
    return reply.type('text/css; charset=utf-8').send(style)
  })
  await app.register(pages, { storeName })
  return app
}

async function pages (app: FastifyInstance, { storeName }: { storeName: string }) {
  app.addHook('preHandler', noteRequest)

  app.get('/', async (request, reply) => {
    const session = await request.session.load()
    session.update('visits', (count = 0) => count + 1)
    // The commit would come with the response. It comes now because the page shows what is stored.
    await session.save()
    const devices = session.principal === null
      ? []
      : await app.sessions.listByUser(session.principal, { current: session })
    return reply.type('text/html; charset=utf-8').send(mainPage(session, devices, storeName))
  })

  app.post<{ Body: { name: string, remember?: string } }>(
    '/login', { schema: { body: loginForm } },
    async (request, reply) => {
      const { name, remember } = request.body
      const session = await request.session.load()
      await session.login(name.trim())
      if (remember !== undefined) await session.remember()
      return reply.redirect('/', 303)
    }
  )

  app.post('/logout', async (request, reply) => {
    await request.session.logout()
    return reply.redirect('/', 303)
  })

  const endDevice = { schema: { body: deviceForm } }
  app.post<{ Body: { device: string } }>('/devices/end', endDevice, async (request, reply) => {
    const { device } = request.body
    const { principal } = await request.session.load()
    const own = principal === null ? [] : await app.sessions.listByUser(principal)
    // Whoever knows a handle may not end the session of another user.
    if (own.some(({ handle }) => handle === device)) await app.sessions.destroy(device)
    return reply.redirect('/#devices', 303)
  })

  app.post('/devices/end-others', async (request, reply) => {
    const session = await request.session.load()
    if (session.principal !== null) await app.sessions.destroyByUser(session.principal, { except: session })
    return reply.redirect('/#devices', 303)
  })

  // update() and not a plain assignment: two clicks at once are two items.
  app.post<{ Body: { item: string } }>('/cart/add', { schema: { body: cartForm } }, async (request, reply) => {
    const session = await request.session.load()
    session.update('cart', (cart = []) => [...cart, request.body.item].slice(0, CART))
    return reply.redirect('/#cart', 303)
  })

  app.post<{ Body: { item: string } }>('/cart/remove', { schema: { body: cartForm } }, async (request, reply) => {
    const session = await request.session.load()
    session.update('cart', (cart = []) => without(cart, request.body.item))
    return reply.redirect('/#cart', 303)
  })
}

async function noteRequest (request: FastifyRequest) {
  const session = await request.session.load()
  const entry = { method: request.method, path: request.routeOptions.url ?? '', time: Date.now() }
  session.update('recent', (recent = []) => [entry, ...recent].slice(0, RECENT))
}

/**
 * The cookie is SameSite=Lax, so that another site's form comes without it. Lax counts other ports and
 * subdomains as the same site; this check does not. Clients that are no browsers send no Origin.
 */
function assertSameOrigin ({ method, headers, host }: FastifyRequest) {
  const { origin } = headers
  if (method !== 'POST' || origin === undefined) return
  if (URL.canParse(origin) && new URL(origin).host === host) return
  throw Object.assign(new Error('the form was sent from another origin'), { statusCode: 403 })
}

function without (cart: string[], item: string): string[] {
  const last = cart.lastIndexOf(item)
  return last < 0 ? cart : cart.toSpliced(last, 1)
}

async function readForm (_request: FastifyRequest, body: string | Buffer) {
  return Object.fromEntries(new URLSearchParams(String(body)))
}
