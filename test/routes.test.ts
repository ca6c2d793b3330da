import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { SessionOptions, SessionRouteConfig } from '../lib/index.js'
import { once } from 'node:events'
import { request } from 'node:http'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { test } from 'tap'
import sessions from '../lib/index.js'
import { createClient } from '../lib/testing/client.js'
import { TestClock } from '../lib/testing/clock.js'
import { memoryStore } from '../stores/memory.js'
import { startApp } from './helpers/app.js'
import { around, counting, gated, memoryBackend } from './helpers/backends.js'
import { httpStories } from './helpers/http-stories.js'

for (const cookie of ['plain', 'signed'] as const) {
  httpStories({ test, name: 'memory', store: () => memoryStore(), cookie })
}

async function countVisit ({ session }: FastifyRequest) {
  await session.load()
  return { visits: session.update('visits', (n = 0) => n + 1) }
}

const readVisits = async ({ session }: FastifyRequest) => ({ visits: (await session.load()).visits ?? 0 })

/** An application whose store counts its calls, with a browser that has a session. */
async function startCounted (
  t: Parameters<typeof startApp>[0], options: SessionOptions, routes: (app: FastifyInstance) => unknown
) {
  const clock = new TestClock()
  const store = counting(await memoryBackend(clock))
  const app = await startApp(t, { clock, store: { type: 'custom', backend: store }, ...options }, async app => {
    app.post('/count', countVisit)
    await routes(app)
  })
  const client = createClient(app)
  await client.inject({ method: 'POST', url: '/count' })
  store.calls.length = 0
  return { app, client, clock, calls: store.calls }
}

test('H6 a hook that runs before ours may use the session, and reply', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie)
  app.addHook('onRequest', async (request, reply) => {
    if (request.url === '/refused') {
      await countVisit(request)
      return reply.code(403).send('refused')
    }
    if (request.url === '/saved') {
      await countVisit(request)
      await request.session.save()
    }
  })
  await app.register(sessions)
  app.get('/', readVisits)
  app.get('/saved', async () => 'ok')
  for (const [url, status] of [['/refused', 403], ['/saved', 200]] as const) {
    const client = createClient(app)
    const response = await client.inject(url)
    t.equal(response.statusCode, status)
    t.ok(response.headers['set-cookie'], url)
    t.strictSame((await client.inject('/')).json(), { visits: 1 }, url)
  }
})

test('H7 a route that opted out has no session, whatever cookie comes', async t => {
  const disabled = {
    code: 'FST_SESSIONS_DISABLED',
    message: 'this route opted out of sessions (config.session is false); remove that to change the session here'
  }
  for (const load of ['lazy', 'eager'] as const) {
    const { client, calls } = await startCounted(t, { load }, app => {
      app.get('/out', { config: { session: false } }, async ({ session }) => {
        t.strictSame(session.data(), {})
        t.equal(session.visits, undefined)
        t.equal((await session.load()).isNew, true)
        t.throws(() => { session.visits = 1 }, disabled)
        await t.rejects(session.login('ada'), disabled)
        await t.rejects(session.destroy(), disabled)
        return 'ok'
      })
    })
    const response = await client.inject('/out')
    t.equal(response.body, 'ok')
    t.equal(response.headers['set-cookie'], undefined)
    t.equal(response.headers.vary, undefined, 'the response does not depend on the cookie')
    t.strictSame(calls, [])
  }
})

test('H7 a handler for what is not found has the session that it asks for, whichever route passes to it', async t => {
  const { client } = await startCounted(t, {}, app => {
    app.setNotFoundHandler(async (request, reply) => {
      return reply.code(404).send(await countVisit(request))
    })
    app.get('/out', { config: { session: false } }, (_request, reply) => { reply.callNotFound() })
    app.get('/read', { config: { session: { readOnly: true } } }, (_request, reply) => { reply.callNotFound() })
  })
  t.strictSame((await client.inject('/out')).json(), { visits: 2 })
  t.strictSame((await client.inject('/read')).json(), { visits: 3 })
})

test('H7 lazy and eager, of the application and of one route', async t => {
  const cases: Array<[load: 'lazy' | 'eager', config: SessionRouteConfig | undefined, eager: boolean]> = [
    ['lazy', undefined, false], ['lazy', 'lazy', false], ['lazy', {}, false], ['lazy', { load: 'lazy' }, false],
    ['lazy', 'eager', true], ['lazy', { load: 'eager' }, true],
    ['eager', undefined, true], ['eager', 'eager', true], ['eager', {}, true], ['eager', { readOnly: true }, true],
    ['eager', 'lazy', false], ['eager', { load: 'lazy' }, false]
  ]
  for (const [load, config, eager] of cases) {
    const { client, calls, app } = await startCounted(t, { load }, app => {
      app.get('/sync', { config: { session: config } }, async ({ session }) => ({ visits: session.visits ?? 'none' }))
      app.get('/unused', { config: { session: config } }, async () => 'ok')
    })
    const title = `${load}, ${JSON.stringify(config)}`
    const response = await client.inject('/sync')
    t.strictSame(calls, eager ? ['read'] : [], title)
    if (eager) t.strictSame(response.json(), { visits: 1 }, title)
    else t.equal(response.json().code, 'FST_SESSIONS_NOT_LOADED', title)

    calls.length = 0
    await client.inject('/unused')
    t.strictSame(calls, eager ? ['read'] : [], `${title}: unused`)

    calls.length = 0
    const anonymous = await app.inject('/sync')
    t.strictSame(calls, [], `${title}: nothing is read without a cookie`)
    t.equal(anonymous.statusCode, eager ? 200 : 500, title)
    t.equal(anonymous.headers['set-cookie'], undefined)
  }
})

test('H7 a route that only reads refuses to write, but notes activity', async t => {
  const readOnly = {
    code: 'FST_SESSIONS_READ_ONLY',
    message: 'this route only reads the session (config.session.readOnly); remove that to change the session here'
  }
  const { client, calls, clock } = await startCounted(t, { touchInterval: 60 }, app => {
    app.get('/read', { config: { session: { readOnly: true } } }, async ({ session }) => {
      await session.load()
      t.throws(() => { session.visits = 9 }, readOnly)
      t.throws(() => session.set('visits', 9), readOnly)
      t.throws(() => session.clear(), readOnly)
      for (const verb of ['regenerate', 'destroy', 'logout'] as const) await t.rejects(session[verb](), readOnly)
      await t.rejects(session.login('ada'), readOnly)
      await t.rejects(session.remember(), readOnly)
      return { visits: session.visits }
    })
  })
  t.strictSame((await client.inject('/read')).json(), { visits: 1 })
  t.strictSame(calls.splice(0), ['read'])
  clock.advance(61)
  await client.inject('/read')
  t.strictSame(calls, ['read', 'touch'])
})

test('H7 nonsense in config.session is an error when the route is added', async t => {
  const label = 'config.session of GET /x'
  for (const [config, message] of [
    ['never', `${label} must be false, 'lazy', 'eager' or an object, received 'never'`],
    [true, `${label} must be false, 'lazy', 'eager' or an object, received true`],
    [null, `${label} must be false, 'lazy', 'eager' or an object, received null`],
    [{ readonly: true }, `${label}: option readonly is unknown; did you mean readOnly?`],
    [{ readOnly: 'yes' }, `${label}: option readOnly must be true or false, received 'yes'`],
    [{ load: 'later' }, `${label}: option load must be 'lazy' or 'eager', received 'later'`],
    [[], `${label}: options must be an object, received an array of 0`]
  ]) {
    await startApp(t, {}, app => {
      t.throws(() => app.get('/x', { config: { session: config as never } }, async () => 'ok'),
        { code: 'FST_SESSIONS_OPTION', message })
    })
  }
  await startApp(t, {}, app => {
    t.throws(() => app.route({ method: ['GET', 'PUT'], url: '/x', config: { session: 1 as never }, handler () {} }),
      { message: /^config\.session of GET,PUT \/x must be/ })
  })
})

test('H7 routes that were declared before the plugin are served as they say', async t => {
  const backend = counting(await memoryBackend())
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie)
  app.get('/out', { config: { session: false } }, async ({ session }) => session.data())
  app.get('/in', async request => countVisit(request))
  await app.register(sessions, { store: { type: 'custom', backend } })
  const client = createClient(app)
  t.strictSame((await client.inject('/in')).json(), { visits: 1 })
  t.strictSame((await client.inject('/in')).json(), { visits: 2 })
  backend.calls.length = 0
  for (let i = 0; i < 2; i++) t.strictSame((await client.inject('/out')).json(), {})
  t.strictSame(backend.calls, [])
})

test('H7 the caller keeps the config as it was', async t => {
  const config = Object.freeze({ session: 'eager' as const, other: 1 })
  const app = await startApp(t, {}, app => {
    app.get('/', { config }, async ({ session, routeOptions }) => {
      const { other } = routeOptions.config as { other?: number }
      return { visits: session.visits ?? 0, other }
    })
  })
  t.strictSame((await app.inject('/')).json(), { visits: 0, other: 1 })
  t.strictSame(Reflect.ownKeys(config), ['session', 'other'])
})

test('H7 two registrations under two prefixes share nothing, and what lies outside has no session', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie)
  for (const prefix of ['/shop', '/admin']) {
    await app.register(async scope => {
      await scope.register(sessions, { name: prefix.slice(1), cookie: { path: prefix } })
      scope.get('/', readVisits)
      scope.post('/', countVisit)
      scope.setNotFoundHandler(async request => ({ missing: prefix, ...await readVisits(request) }))
    }, { prefix })
  }
  app.get('/outside', async request => ({ session: typeof request.session }))
  const client = createClient(app)
  for (const url of ['/shop', '/shop', '/admin']) await client.inject({ method: 'POST', url })
  t.strictSame((await client.inject('/shop')).json(), { visits: 2 })
  t.strictSame((await client.inject('/admin')).json(), { visits: 1 })
  t.strictSame((await client.inject('/shop/missing')).json(), { missing: '/shop', visits: 2 })
  t.strictSame((await client.inject('/admin/missing')).json(), { missing: '/admin', visits: 1 })
  t.strictSame((await client.inject('/outside')).json(), { session: 'undefined' })

  const [, shop] = /=(.*)/.exec(await client.cookies('/shop'))!
  const swapped = await app.inject({ url: '/admin', headers: { cookie: `__Secure-admin=${shop}` } })
  t.strictSame(swapped.json(), { visits: 0 })
})

test('D15 F14 two applications in one process share nothing', async t => {
  const options = Object.freeze({})
  const routes = (app: FastifyInstance) => {
    app.get('/', readVisits)
    app.post('/', countVisit)
  }
  const [one, two] = [await startApp(t, options, routes), await startApp(t, options, routes)]
  const client = createClient(one)
  await client.inject({ method: 'POST', url: '/' })
  const headers = { cookie: await client.cookies() }
  t.strictSame((await one.inject({ url: '/', headers })).json(), { visits: 1 })
  t.strictSame((await two.inject({ url: '/', headers })).json(), { visits: 0 })
  await one.close()
  t.equal((await two.inject({ method: 'POST', url: '/' })).statusCode, 200)
})

test('F14 the plugin says what it needs', async t => {
  const bare = Fastify()
  t.teardown(() => bare.close())
  bare.register(sessions)
  await t.rejects(async () => { await bare.ready() }, {
    message: "The dependency '@fastify/cookie' of plugin 'fastify-sessions' is not registered"
  })

  const twice = Fastify()
  t.teardown(() => twice.close())
  twice.register(cookie).register(sessions).register(sessions)
  await t.rejects(async () => { await twice.ready() }, { code: 'FST_ERR_DEC_ALREADY_PRESENT' })
})

test('H5 P1 request.session is there on every route and costs nothing on a 404', async t => {
  const { client, calls, app } = await startCounted(t, {}, app => {
    app.addHook('onRequest', async request => { t.ok(request.session) })
    app.get('/out', { config: { session: false } }, async () => 'ok')
  })
  for (const url of ['/missing', '/out']) {
    const response = await client.inject(url)
    t.equal(response.headers['set-cookie'], undefined)
    t.equal(response.headers.vary, undefined)
  }
  t.strictSame(calls, [])
  t.equal(app.hasRequestDecorator('session'), true)
})

test('H9 an eager application, while the store is down', async t => {
  const down = { error: null as Error | null }
  const memory = await memoryBackend()
  const backend = around(memory, (_verb, call) => down.error === null ? call() : Promise.reject(down.error))
  const app = await startApp(t, { load: 'eager', store: { type: 'custom', backend } }, app => {
    app.post('/', async ({ session }) => { session.visits = 1 })
    app.get('/', async ({ session }) => ({ visits: session.visits ?? 0 }))
    app.get('/out', { config: { session: false } }, async () => 'ok')
    app.get('/lazy', { config: { session: 'lazy' } }, async () => 'ok')
  })
  const client = createClient(app)
  await client.inject({ method: 'POST', url: '/' })
  down.error = new Error('refused')
  t.equal((await client.inject('/')).statusCode, 503)
  t.equal((await client.inject('/out')).statusCode, 200)
  t.equal((await client.inject('/lazy')).statusCode, 200)
  t.strictSame((await app.inject('/')).json(), { visits: 0 }, 'nothing is read for a visitor without a cookie')
  down.error = null
  t.strictSame((await client.inject('/')).json(), { visits: 1 })
})

test('close() waits for the commits of requests in flight, then closes the store', async t => {
  const log: string[] = []
  const gate = gated(await memoryBackend())
  const backend = { ...gate, close: async () => { log.push('store closed') } }
  const app = await startApp(t, { store: { type: 'custom', backend } }, app => { app.post('/', countVisit) })
  gate.held.add('create')
  const answering = app.inject({ method: 'POST', url: '/' }).then(({ headers }) => {
    log.push('set-cookie' in headers ? 'answered' : 'lost')
  })
  const other = app.inject({ method: 'POST', url: '/' }).then(({ statusCode }) => { log.push(`answered ${statusCode}`) })
  const [first, second] = [await gate.next('create'), await gate.next('create')]
  const closing = app.close()
  for (let i = 0; i < 20; i++) await new Promise(setImmediate)
  t.strictSame(log, [])
  await first.release()
  await answering
  t.strictSame(log, ['answered'])
  second.fail(new Error('down'))
  await Promise.all([closing, other])
  t.strictSame(log.sort(), ['answered', 'answered 503', 'store closed'])
})

test('close() under load over a socket: every request ends with its session, the store closes last', async t => {
  const log: string[] = []
  const gate = gated(await memoryBackend())
  const backend = { ...gate, close: async () => { log.push('store closed') } }
  const working: Array<() => void> = []
  const app = await startApp(t, { store: { type: 'custom', backend } }, app => {
    app.addHook('onResponse', async (_request, reply) => { log.push(`answered ${reply.statusCode}`) })
    app.post('/', countVisit)
    app.post('/slow', async request => {
      await new Promise<void>(resolve => working.push(resolve))
      return countVisit(request)
    })
  })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const post = async (path: string) => {
    const [response] = await once(request(origin + path, { method: 'POST', agent: false }).end(), 'response')
    await once(response.resume(), 'end')
    return response.headers['set-cookie']?.length
  }
  gate.held.add('create')
  const answers = ['/', '/slow', '/', '/slow', '/'].map(post)
  const held = [await gate.next('create'), await gate.next('create'), await gate.next('create')]
  while (working.length < 2) await new Promise(setImmediate)
  const closing = app.close()
  for (let i = 0; i < 20; i++) await new Promise(setImmediate)
  t.strictSame(log, [])
  for (const call of held) await call.release()
  for (const proceed of working) proceed()
  for (let i = 0; i < 2; i++) await (await gate.next('create')).release()
  t.strictSame(await Promise.all(answers), [1, 1, 1, 1, 1])
  await closing
  t.strictSame(log, [...answers.map(() => 'answered 200'), 'store closed'])
})

test('H6 server-sent events over a socket: the cookie is in the head, later changes are refused', async t => {
  const app = await startApp(t, {}, app => {
    app.get('/', readVisits)
    app.get('/events', async (request, reply) => {
      await countVisit(request)
      await request.session.save()
      reply.hijack()
      reply.raw.writeHead(200, { ...reply.getHeaders() as Record<string, string>, 'content-type': 'text/event-stream' })
      reply.raw.flushHeaders()
      t.throws(() => { request.session.visits = 9 }, { code: 'FST_SESSIONS_HEADERS_SENT' })
      reply.raw.end('data: 1\n\n')
    })
  })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const events = await fetch(`${origin}/events`)
  const [line] = events.headers.getSetCookie()
  t.equal(events.headers.get('cache-control'), 'no-store')
  t.equal(await events.text(), 'data: 1\n\n')
  const response = await fetch(origin, { headers: { cookie: line.split(';')[0] } })
  t.strictSame(await response.json(), { visits: 1 })
})
