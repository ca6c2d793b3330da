import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest, LightMyRequestResponse } from 'fastify'
import type { StorePlugin, StoreRegistration } from '../../lib/define-store.js'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import sessions from '../../lib/index.js'
import { createClient } from '../../lib/testing/client.js'
import { around } from './backends.js'

export interface HttpStories {
  /** Registers one story: `test` of tap or node:test. */
  test: (name: string, run: () => Promise<void>) => unknown
  /** Put before each story's name. */
  name: string
  /**
   * The store on a running engine.
   *
   * @param space at most 20 of `[a-z0-9_]`, for the prefix, table or directory
   */
  store (space: string): StorePlugin
  /** Default 'plain'. */
  cookie?: 'plain' | 'signed' | 'sealed'
  /** Whether what is stored is sealed. Not with plain cookies. */
  encryption?: boolean
}

/** What passes between the core and the store. */
interface Tap {
  /** The verbs called, in order. Null: the store has no backend to count on. */
  calls: string[] | null
  /** When set, each call of the backend rejects with it. */
  failure: Error | null
}

const secret = 'a secret of the http stories, thirty-two bytes'
const storeType = Symbol.for('fastify-sessions.store')
let spaces = 0

/** H1 to H6, H8 and H9, over inject(), with the calls of the store counted. */
export function httpStories (
  { test, name, store, cookie: kind = 'plain', encryption = false }: HttpStories
): void {
  // A sealed cookie is the record: it changes with each write, and cannot be revoked.
  const isSealed = kind === 'sealed'
  const story = (title: string, run: (visit: Visit) => Promise<void>) => {
    test(`${name}${encryption ? ' encrypted' : ''}, ${kind} cookie: ${title}`, async () => {
      const wire: Tap = { calls: null, failure: null }
      const app = Fastify()
      await app.register(cookie)
      await app.register(sessions, {
        store: tapped(store(`http${process.pid}_${++spaces}`), wire),
        ...kind !== 'plain' && { secret },
        encryption
      })
      addRoutes(app)
      try {
        await run(visitor(app, wire))
      } finally {
        await app.close()
      }
    })
  }

  story('H1 a route that does not use the session costs nothing', async ({ get, post, calls }) => {
    await get('/unused', { calls: [], status: 200, cookie: false, vary: false })
    await post('/set', { status: 200 })
    await get('/unused', { calls: [], status: 200, cookie: false, vary: false })
    await get('/looked-at', { calls: [], status: 200, cookie: false, vary: false })
    calls([])
  })

  story('H2 reading costs one read, and nothing without a cookie', async ({ get, post }) => {
    await get('/', { calls: [], cookie: false, vary: true, body: {} })
    await post('/set')
    await get('/', { calls: ['read'], cookie: false, vary: true, body: { n: 1 } })
    await get('/twice', { calls: ['read'], cookie: false, body: { n: 1 } })
  })

  story('H3 writing costs one read and one write, and no new cookie but a sealed one', async ({ get, post }) => {
    await post('/set')
    await post('/set', { calls: ['read', 'update'], cookie: isSealed })
    await get('/', { body: { n: 2 } })
  })

  story('H4 the first write costs one write and sets the cookie', async ({ get, post }) => {
    const response = await post('/set', { calls: ['create'], cookie: true, vary: true })
    assert.equal(response.headers['cache-control'], 'no-store')
    await get('/', { body: { n: 1 } })
  })

  story('H5 what is answered without the session asks the store for nothing', async ({ send, post }) => {
    await post('/set')
    await send({ url: '/missing' }, { calls: [], status: 404, cookie: false, vary: false })
    await send({ url: '/unused', method: 'HEAD' }, { calls: [], status: 200, cookie: false, vary: false })
    await send({ url: '/unused', method: 'OPTIONS' }, { calls: [], status: 204, cookie: false, vary: false })
    await send({ url: '/static.txt' }, { calls: [], status: 200, cookie: false, vary: false })
  })

  for (const [title, path, status] of [
    ['a redirect', '/redirect', 303],
    ['204', '/empty', 204],
    ['304', '/not-modified', 304],
    ['a stream', '/stream', 200],
    ['a hijacked reply', '/hijack', 200],
    ['server-sent events', '/events', 200],
    ['an error handler', '/refused', 409],
    ['a notFound handler', '/nowhere?write', 404],
    ['a reply in an onRequest hook', '/?intercept', 202]
  ] as const) {
    story(`H6 ${title} carries the session`, async ({ get, post, clear }) => {
      await get(path, { calls: ['create'], status, cookie: true })
      await get('/', { body: { n: 1 } })
      await get(path, { calls: ['read', 'update'], status, cookie: isSealed })
      await get('/', { body: { n: 2 } })
      await clear()
      await post('/set')
      await get('/', { body: { n: 1 } })
    })
  }

  story('H6 what was logged out stays so whatever the response is', async ({ get, post, send, cookies }) => {
    for (const path of ['/logout-redirect', '/logout-empty']) {
      await post('/set')
      const replayed = await cookies()
      await post(path, { calls: ['read', 'remove'], cookie: true })
      assert.equal(await cookies(), '')
      const body = isSealed ? { n: 1 } : {}
      await send({ url: '/', headers: { cookie: replayed } }, { calls: ['read'], cookie: false, body })
      await get('/', { calls: [], body: {} })
    }
  })

  story('H8 keys may have any name', async ({ send, get, post }) => {
    await post('/names', { status: 200, cookie: true })
    await get('/', { calls: ['read'], body: odd })
    await get('/names', { body: Object.values(odd) })
    await send({ url: '/names', method: 'DELETE' }, { calls: ['read', 'remove'], cookie: true })
    await get('/', { calls: [], body: {} })
  })

  story('H9 while the store is down, what needs no session is served', async ({ get, post, wire, cookies }) => {
    await post('/set')
    if (wire.calls === null) return
    const before = await cookies()
    wire.failure = new Error('connection refused')
    await get('/unused', { calls: [], status: 200, cookie: false })
    await get('/public', { calls: [], status: 200, cookie: false, body: {} })
    await get('/missing', { calls: [], status: 404, cookie: false })
    await get('/', { calls: ['read'], status: 503, cookie: false })
    await post('/set', { calls: ['read'], status: 503, cookie: false })
    assert.equal(await cookies(), before)
    wire.failure = null
    await get('/', { status: 200, cookie: false, body: { n: 1 } })
  })
}

/** As JSON text, for `__proto__` has to be a key of its own. */
const odd: Record<string, unknown> = JSON.parse(`{ "save": 1, "get": "x", "id": [1], "cookie": { "a": 1 },
  "then": null, "constructor": { "prototype": 1 }, "__proto__": { "polluted": true }, "toJSON": false, "": 0 }`)

function addRoutes (app: FastifyInstance): void {
  app.setErrorHandler(async (error: Error & { statusCode?: number }, request, reply) => {
    if (error.message !== 'refused') throw error
    await count(request)
    return reply.code(409).send({ error: 'refused' })
  })
  app.setNotFoundHandler(async (request, reply) => {
    if (request.url.endsWith('?write')) await count(request)
    return reply.code(404).send({ error: 'nowhere' })
  })
  app.addHook('onRequest', async (request, reply) => {
    if (!request.url.endsWith('?intercept')) return
    await count(request)
    await reply.code(202).send('intercepted')
  })

  app.get('/unused', async () => 'ok')
  app.options('/unused', async (_request, reply) => reply.code(204).send())
  app.get('/static.txt', async (_request, reply) => reply.type('text/plain').send(Readable.from(['static'])))
  app.get('/looked-at', async (request) => typeof request.session)
  app.get('/public', { config: { session: false } }, async (request) => request.session.data())

  app.get('/', async (request) => (await request.session.load()).data())
  app.get('/twice', async (request) => {
    await Promise.all([request.session.load(), request.session.load()])
    return (await request.session.load()).data()
  })
  app.post('/set', async (request) => {
    await count(request)
    return 'ok'
  })

  app.get('/redirect', async (request, reply) => {
    await count(request)
    return reply.redirect('/', 303)
  })
  app.get('/empty', async (request, reply) => {
    await count(request)
    return reply.code(204).send()
  })
  app.get('/not-modified', async (request, reply) => {
    await count(request)
    return reply.code(304).send()
  })
  app.get('/stream', async (request, reply) => {
    await count(request)
    return reply.send(Readable.from(['a', 'b']))
  })
  app.get('/hijack', async (request, reply) => {
    await count(request)
    await request.session.save()
    hijack(reply, 'text/plain').end('hijacked')
  })
  app.get('/events', async (request, reply) => {
    await count(request)
    await request.session.save()
    const raw = hijack(reply, 'text/event-stream')
    const ticks = new EventEmitter()
    setImmediate(() => ticks.emit('tick'))
    await once(ticks, 'tick')
    raw.write('data: 1\n\n')
    raw.end('data: 2\n\n')
  })
  app.get('/refused', async () => { throw new Error('refused') })

  app.post('/logout-redirect', async (request, reply) => {
    await request.session.logout()
    return reply.redirect('/', 303)
  })
  app.post('/logout-empty', async (request, reply) => {
    await request.session.logout()
    return reply.code(204).send()
  })

  app.post('/names', async (request) => {
    const session = await request.session.load()
    for (const [key, value] of Object.entries(odd)) session.set(key, value)
    return 'ok'
  })
  app.get('/names', async (request) => {
    const session = await request.session.load()
    return Object.keys(odd).map(key => session.get(key))
  })
  app.delete('/names', async (request) => {
    const session = await request.session.load()
    for (const key of Object.keys(odd)) assert.equal(session.delete(key), true)
    return 'ok'
  })
}

async function count ({ session }: FastifyRequest): Promise<void> {
  await session.load()
  session.update('n', n => (n as number ?? 0) + 1)
}

/** Writes the head as Fastify would have: with the headers that are on the reply. */
function hijack (reply: FastifyReply, type: string) {
  reply.hijack()
  return reply.raw.writeHead(200, { ...reply.getHeaders() as Record<string, string>, 'content-type': type })
}

interface Expected {
  calls?: string[]
  status?: number
  /** Whether the response sets or deletes the session cookie. */
  cookie?: boolean
  vary?: boolean
  body?: unknown
}

type Visit = ReturnType<typeof visitor>

/** A browser that checks each response. */
function visitor (app: FastifyInstance, wire: Tap) {
  const client = createClient(app)
  type Request = Extract<Parameters<typeof client.inject>[0], object>

  async function send (request: Request, expected: Expected = {}): Promise<LightMyRequestResponse> {
    wire.calls?.splice(0)
    const response = await client.inject(request)
    const { headers } = response
    const where = `${request.method ?? 'GET'} ${String(request.url)}`
    if (expected.calls !== undefined) calls(expected.calls, where)
    if (expected.status !== undefined) assert.equal(response.statusCode, expected.status, where)
    if (expected.cookie !== undefined) assert.equal('set-cookie' in headers, expected.cookie, `${where}: Set-Cookie`)
    if (expected.vary !== undefined) assert.equal(headers.vary, expected.vary ? 'Cookie' : undefined, where)
    if (expected.body !== undefined) assert.deepEqual(response.json(), expected.body, where)
    return response
  }

  function calls (expected: string[], where?: string) {
    if (wire.calls !== null) assert.deepEqual(wire.calls, expected, where)
  }

  return {
    wire,
    send,
    calls,
    get: (url: string, expected?: Expected) => send({ url }, expected),
    post: (url: string, expected?: Expected) => send({ url, method: 'POST' }, expected),
    cookies: () => client.cookies(),
    clear: () => client.clear()
  }
}

/** The store, with its calls noted and made to fail on demand. */
function tapped (store: StorePlugin, wire: Tap): StorePlugin {
  const plugin: StorePlugin = Object.assign(
    async (fastify: FastifyInstance, registration: StoreRegistration) => store(fastify, {
      ...registration,
      opened (type, opened) {
        if ('store' in opened) return registration.opened(type, opened)
        wire.calls = []
        const backend = around(opened.backend, (verb, call) => {
          wire.calls!.push(verb)
          return wire.failure === null ? call() : Promise.reject(wire.failure)
        })
        registration.opened(type, { backend })
      }
    }),
    { [storeType]: 'tapped' }
  ) as unknown as StorePlugin
  return plugin
}
