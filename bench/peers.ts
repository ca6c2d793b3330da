// The peers augment the same interfaces of Fastify as this package does, so they are imported without types.
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Setup } from './contestant.js'
import type { Visit } from './data.js'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { LIFE, SECRET } from './contestant.js'
import { visit } from './data.js'
import { addRoutes, plain } from './routes.js'

type Plugin = FastifyPluginAsync<Record<string, unknown>>
type Back<T = undefined> = (error: unknown, value?: T | null) => void

/** A session of properties. */
type Properties = Visit
/** A session of `get` and `set`. */
interface Fields {
  get<K extends keyof Visit> (key: K): Visit[K]
  set<K extends keyof Visit> (key: K, value: Visit[K]): void
}

interface ExpressLike extends RequestListener {
  use (handler: unknown): void
  get (path: string, handler: (request: ExpressRequest, response: ExpressResponse) => void): void
  set (setting: string, value: unknown): void
}
interface ExpressRequest extends IncomingMessage { session: Properties }
interface ExpressResponse extends ServerResponse { json (value: unknown): void }

export async function buildFastifySession ({ store, redisUrl }: Setup) {
  const plugin = await defaultOf<Plugin>('@fastify/session')
  const app = Fastify()
  await app.register(cookie)
  await app.register(plugin, {
    secret: SECRET,
    cookie: { secure: false, maxAge: LIFE * 1000, sameSite: 'lax' },
    saveUninitialized: false,
    rolling: false,
    ...store === 'redis' && { store: callbackStore(redisUrl) }
  })
  return addRoutes(app, onProperties(request => held<Properties>(request)))
}

export async function buildMgcrea ({ store, redisUrl }: Setup) {
  const plugin = await defaultOf<Plugin>('@mgcrea/fastify-session')
  const app = Fastify()
  await app.register(cookie)
  await app.register(plugin, {
    secret: SECRET,
    cookie: { maxAge: LIFE, httpOnly: true, sameSite: 'lax' },
    saveUninitialized: false,
    ...store === 'redis' && { store: promiseStore(redisUrl) }
  })
  return addRoutes(app, onFields(request => held<Fields>(request)))
}

export async function buildSecureSession () {
  const plugin = await defaultOf<Plugin>('@fastify/secure-session')
  const app = Fastify()
  await app.register(plugin, {
    key: Buffer.alloc(32, SECRET),
    expiry: LIFE,
    cookie: { path: '/', httpOnly: true, sameSite: 'lax' }
  })
  return addRoutes(app, onFields(request => held<Fields>(request)))
}

export async function buildExpress ({ store, redisUrl }: Setup): Promise<RequestListener> {
  const express = await defaultOf<() => ExpressLike>('express')
  const session = await defaultOf<ExpressSession>('express-session')
  const app = express()
  app.set('etag', false)
  app.use(session({
    secret: SECRET,
    resave: false,
    saveUninitialized: false,
    cookie: { secure: false, maxAge: LIFE * 1000, sameSite: 'lax' },
    ...store === 'redis' && { store: Object.assign(new session.Store(), callbackStore(redisUrl)) }
  }))
  app.get('/plain', (_request, response) => response.json(plain()))
  app.get('/read', (request, response) => response.json({ name: request.session.user.name }))
  app.get('/write', (request, response) => {
    request.session.count++
    response.json({ count: request.session.count })
  })
  app.get('/new', (request, response) => {
    Object.assign(request.session, visit())
    response.json({ ok: true })
  })
  return app
}

interface ExpressSession {
  (options: object): unknown
  Store: new () => object
}

function onProperties (session: (request: FastifyRequest) => Properties) {
  return {
    read: (request: FastifyRequest) => ({ name: session(request).user.name }),
    write: (request: FastifyRequest) => ({ count: ++session(request).count }),
    new (request: FastifyRequest) {
      Object.assign(session(request), visit())
      return { ok: true as const }
    }
  }
}

function onFields (session: (request: FastifyRequest) => Fields) {
  return {
    read: (request: FastifyRequest) => ({ name: session(request).get('user').name }),
    write (request: FastifyRequest) {
      const count = session(request).get('count') + 1
      session(request).set('count', count)
      return { count }
    },
    new (request: FastifyRequest) {
      const fields = session(request)
      for (const [key, value] of Object.entries(visit())) fields.set(key as keyof Visit, value)
      return { ok: true as const }
    }
  }
}

/** As thin as can be, on the driver that the others use: one GET, one SET, one DEL, no search by prefix. */
function promiseStore (url: string) {
  const client = new Redis(url).on('error', () => {})
  return {
    async get (id: string) {
      const text = await client.get(`peer:${id}`)
      return text === null ? null : JSON.parse(text)
    },
    async set (id: string, session: object, expiry: number | null) {
      await client.set(`peer:${id}`, JSON.stringify([session, expiry]), 'PX', LIFE * 1000)
    },
    async destroy (id: string) {
      await client.del(`peer:${id}`)
    },
    async touch (id: string) {
      await client.pexpire(`peer:${id}`, LIFE * 1000)
    }
  }
}

function callbackStore (url: string) {
  const client = new Redis(url).on('error', () => {})
  return {
    get (id: string, done: Back<object>) {
      client.get(`peer:${id}`).then(text => done(null, text === null ? null : JSON.parse(text)), done)
    },
    set (id: string, session: object, done: Back) {
      client.set(`peer:${id}`, JSON.stringify(session), 'PX', LIFE * 1000).then(() => done(null), done)
    },
    destroy (id: string, done: Back) {
      client.del(`peer:${id}`).then(() => done(null), done)
    },
    touch (id: string, _session: object, done: Back) {
      client.pexpire(`peer:${id}`, LIFE * 1000).then(() => done(null), done)
    }
  }
}

function held<T> (request: FastifyRequest): T {
  return (request as unknown as { session: T }).session
}

async function defaultOf<T> (name: string): Promise<T> {
  const module: { default: T } = await import(name)
  return module.default
}
