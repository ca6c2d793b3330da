import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { test } from 'tap'
import type { Test } from 'tap'
import type { SessionOptions } from '../../lib/index.js'
import type { ClientOptions } from '../../lib/testing/client.js'
import sessions from '../../lib/index.js'
import { createClient } from '../../lib/testing/client.js'
import { TestClock } from '../../lib/testing/clock.js'
import { startApp } from '../helpers/app.js'
import { around, counting, memoryBackend } from '../helpers/backends.js'

const secret = 'a secret of the transactions, thirty-two bytes'

/** A client of an application that shows its session, sees hooks run and counts calls of its store. */
async function start (t: Test, options: SessionOptions = {}, of: ClientOptions = {}) {
  const clock = new TestClock()
  const backend = counting(await memoryBackend(clock))
  const store = { type: 'custom', backend } as const
  const app = await startApp(t, { store, clock, ...options }, app => {
    app.get('/', async request => (await request.session.load()).data())
    app.get('/app/here', async request => (await request.session.load()).data())
  }, { trustProxy: true })
  const client = createClient(app, of)
  const shown = async (url = '/') => (await client.inject(url)).json()
  const calls = () => backend.calls.splice(0)
  return { app, client, clock, shown, calls }
}

test('T2 what a transaction writes, the application reads, and the other way round', async t => {
  const { client, shown, calls } = await start(t)
  t.equal(await client.session(), null)
  t.equal(await client.transaction(() => 'nothing'), 'nothing')
  t.strictSame(calls(), [])
  t.equal(await client.cookies(), '')

  const answer = await client.transaction(async session => {
    await session.login('ada')
    session.set('cart', ['apple'])
    return session.isNew
  })
  t.equal(answer, true)
  t.strictSame(calls(), ['create'])
  t.match(await client.cookies(), /^__Host-session=[\w-]{43}$/)
  t.strictSame(await shown(), { cart: ['apple'] })

  const before = await client.cookies()
  calls()
  await client.transaction(session => { (session.get('cart') as string[]).push('pear') })
  t.strictSame(calls(), ['read', 'update'])
  t.equal(await client.cookies(), before)
  t.strictSame(await shown(), { cart: ['apple', 'pear'] })
})

test('T3 session() tells what is stored, and changes nothing', async t => {
  const { app, client, clock, calls } = await start(t)
  const begun = clock.now()
  await client.transaction(async session => {
    await session.login('ada')
    session.set('n', 1)
  })
  const first = await client.session()
  t.match(first?.id, /^[0-9a-f]{64}$|^[\w-]{43}$/)
  t.notOk((await client.cookies()).includes(first!.id!))
  t.strictSame(first, {
    id: (await app.sessions.listByUser('ada'))[0].handle,
    data: { n: 1 },
    principal: 'ada',
    createdAt: begun,
    expiresAt: begun + 1_800_000,
    authenticatedAt: begun
  })
  first!.data.n = 2
  clock.advance(1000)
  calls()
  t.strictSame(await client.session(), { ...first, data: { n: 1 } })
  t.strictSame(calls(), ['read'])

  await client.transaction(() => {})
  t.strictSame(calls(), ['read', 'touch'], 'a transaction notes activity')
  t.equal((await client.session())?.expiresAt, clock.now() + 1_800_000)
  clock.advance(1800)
  t.equal(await client.session(), null, 'expired')
})

test('T2 a new id, and the end of a session, reach the jar', async t => {
  const { client, shown } = await start(t, { secret })
  await client.transaction(session => { session.set('n', 1) })
  const [old, id] = [await client.cookies(), (await client.session())?.id]
  await client.transaction(session => session.regenerate())
  t.not(await client.cookies(), old)
  t.not((await client.session())?.id, id)
  t.strictSame(await shown(), { n: 1 })

  await client.transaction(session => session.logout())
  t.equal(await client.cookies(), '')
  t.equal(await client.session(), null)
  t.strictSame(await shown(), {})
})

test('T2 a throw commits nothing and changes no cookie', async t => {
  const { client, calls } = await start(t)
  await client.transaction(session => { session.set('n', 1) })
  const [cookies, before] = [await client.cookies(), await client.session()]
  calls()
  const reason = new Error('on purpose')
  for (const act of ['logout', 'regenerate'] as const) {
    await t.rejects(client.transaction(async session => {
      session.set('n', 2)
      await session[act]()
      throw reason
    }), reason)
  }
  await t.rejects(client.transaction(() => { throw reason }), reason)
  t.strictSame(calls(), ['read', 'read', 'read'])
  t.equal(await client.cookies(), cookies)
  t.strictSame(await client.session(), before)
})

test('T2 what save() has committed stays when a throw follows', async t => {
  const { client } = await start(t)
  await client.transaction(session => { session.set('n', 1) })
  const reason = new Error('on purpose')
  await t.rejects(client.transaction(async session => {
    await session.regenerate()
    await session.save()
    session.set('n', 2)
    throw reason
  }), reason)
  t.strictSame((await client.session())?.data, { n: 1 }, 'under the new id')
})

test('T2 after its transaction a session cannot be changed', async t => {
  const { client } = await start(t)
  const session = await client.transaction(session => session.login('ada').then(() => [session]))
  t.throws(() => session[0].set('n', 1), { code: 'FST_SESSIONS_HEADERS_SENT' })
})

test('T2 transactions of one client do not undo each other', async t => {
  const { client } = await start(t)
  await client.transaction(session => { session.set('n', 0) })
  const add = (n = 0) => Number(n) + 1
  await Promise.all(Array.from({ length: 10 }, () => client.transaction(session => session.update('n', add as never))))
  t.strictSame((await client.session())?.data, { n: 10 })
})

test('a store that fails is an error, and the cookie stays', async t => {
  let broken = false
  const backend = around(await memoryBackend(), async (_verb, call) => {
    if (broken) throw new Error('down')
    return call()
  })
  const { client } = await start(t, { store: { type: 'custom', backend }, clock: undefined })
  await client.transaction(session => { session.set('n', 1) })
  const cookies = await client.cookies()
  broken = true
  await t.rejects(client.session(), { code: 'FST_SESSIONS_STORE' })
  await t.rejects(client.transaction(() => {}), { code: 'FST_SESSIONS_STORE' })
  broken = false
  await t.rejects(client.transaction(async session => {
    await session.regenerate()
    broken = true
  }), { code: 'FST_SESSIONS_STORE' })
  broken = false
  t.equal(await client.cookies(), cookies)
  t.strictSame((await client.session())?.data, { n: 1 })
})

test('T5 the cookie is that of a request to its path, and obeys domain and scheme', async t => {
  const { client, shown } = await start(t, { cookie: { path: '/app', secure: 'auto' } })
  await client.transaction(session => { session.set('n', 1) })
  await client.transaction(session => session.update('n', n => Number(n) + 1))
  t.strictSame((await client.session())?.data, { n: 2 })
  t.equal(await client.cookies(), '')
  t.strictSame([await shown(), await shown('/app/here')], [{}, { n: 2 }])

  const https = { origin: 'https://www.shop.test' }
  const shop = await start(t, { cookie: { domain: 'shop.test' } }, https)
  await shop.client.transaction(session => { session.set('n', 1) })
  t.match(await shop.client.cookies(), /^__Secure-session=/)
  t.strictSame(await shop.shown(), { n: 1 })

  const persistent = await start(t, {}, https)
  await persistent.client.transaction(async session => {
    session.set('n', 1)
    await session.remember(60)
  })
  t.strictSame(await persistent.shown(), { n: 1 })
})

test('a cookie that the client would not keep is an error', async t => {
  const { client, calls } = await start(t, {}, { origin: 'http://shop.test' })
  await t.rejects(client.transaction(session => { session.set('n', 1) }), { message: /nothing was saved: .* origin/ })
  t.strictSame(calls(), [])
  await client.transaction(() => {})

  const elsewhere = await start(t, { cookie: { domain: 'other.test' } })
  await t.rejects(elsewhere.client.transaction(session => { session.set('n', 1) }), { message: /domain/ })
  t.equal(await elsewhere.client.session(), null)
})

test('the null store refuses a transaction that writes, as it does a request', async t => {
  const { client } = await start(t, { store: { type: 'null' } })
  t.equal(await client.transaction(session => session.has('n')), false)
  await client.transaction(session => {
    t.throws(() => session.set('n', 1), { code: 'FST_SESSIONS_NO_STORE' })
  })
  t.equal(await client.session(), null)
})

test('hooks do not run, the application need not be ready, metadata are those of inject()', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(cookie)
  app.register(sessions, { metadata: true })
  app.addHook('onRequest', async () => { throw new Error('the hook ran') })
  const client = createClient(app)
  await client.transaction(session => session.login('ada'))
  t.match(await app.sessions.listByUser('ada'), [{ ip: '127.0.0.1', userAgent: 'lightMyRequest' }])
})

test('T5 of several sessions, all as one or one of them', async t => {
  const { client, clock } = await start(t, {
    store: undefined,
    secret,
    sessions: {
      auth: { fields: ['principal', 'user'] },
      draft: { fields: ['text'], store: { type: 'cookie' }, cookie: { path: '/app', name: 'draft' } },
      rest: { fields: 'rest', bindTo: 'auth' }
    }
  })
  const names = async () => (await client.cookies('/app')).replaceAll(/=[^;]*/g, '')
  await client.transaction(session => { session.set('text', 'Dear') }, { part: 'draft' })
  t.equal(await names(), 'draft')
  t.equal(await client.session({ part: 'auth' }), null)
  t.match(await client.session({ part: 'draft' }), { id: null, data: { text: 'Dear' }, createdAt: clock.now() })
  t.match(await client.session(), { data: { text: 'Dear' }, id: null, createdAt: null, expiresAt: null })

  await t.rejects(client.transaction(session => { session.set('other', 1) }, { part: 'draft' }),
    { code: 'FST_SESSIONS_FOREIGN_FIELD' })
  await client.transaction(async session => {
    await session.login('ada')
    session.set('cart', ['apple'])
  })
  t.equal(await names(), 'draft; __Host-auth; __Host-rest')
  t.match(await client.session(), { principal: 'ada', data: { text: 'Dear', cart: ['apple'] } })
  t.strictSame((await client.session({ part: 'rest' }))?.data, { cart: ['apple'] })

  await client.transaction(session => session.regenerate(), { part: 'auth' })
  t.strictSame((await client.session({ part: 'rest' }))?.data, { cart: ['apple'] }, 'what is bound follows')
  await client.transaction(session => session.logout(), { part: 'auth' })
  t.equal(await names(), 'draft')

  const unknown = { name: 'TypeError', message: /there is no session 'other'/ }
  await t.rejects(client.session({ part: 'other' }), unknown)
  await t.rejects(client.transaction(() => {}, { part: 'other' }), unknown)
})

test('of several sessions, one whose store is down is an error to session(), and to who uses its fields', async t => {
  let down = true
  const backend = around(await memoryBackend(), async (_verb, call) => {
    if (down) throw new Error('down')
    return call()
  })
  const broken = { type: 'custom', backend } as const
  const { client } = await start(t, {
    store: undefined,
    clock: undefined,
    sessions: { sound: { fields: ['n'], cookie: { name: 'sound' } }, other: { fields: 'rest', store: broken } }
  })
  await client.transaction(session => { session.set('n', 1) })
  t.match(await client.session(), { data: { n: 1 } })
  await t.rejects(client.transaction(session => {
    session.set('n', 2)
    session.set('item', 'apple')
  }), { code: 'FST_SESSIONS_STORE' })

  down = false
  await client.transaction(session => { session.set('item', 'apple') })
  down = true
  await t.rejects(client.session(), { code: 'FST_SESSIONS_STORE' })
  t.match(await client.session({ part: 'sound' }), { data: { n: 2 } })
  await client.transaction(session => { session.set('n', 3) })
  await t.rejects(client.transaction(session => session.get('item')), { code: 'FST_SESSIONS_STORE' })
  down = false
  t.match(await client.session(), { data: { n: 3, item: 'apple' } })
})

test('each of two registrations has its own sessions; one browser may have both', async t => {
  const scopes: Record<string, FastifyInstance> = {}
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie)
  for (const name of ['shop', 'admin']) {
    app.register(async scope => {
      scopes[name] = scope
      await scope.register(sessions, { name })
      scope.get('/', async request => (await request.session.load()).data())
    }, { prefix: `/${name}` })
  }
  await app.ready()
  const client = createClient(app)
  await client.transaction(session => { session.set('n', 'shop') }, { app: scopes.shop })
  await client.transaction(session => { session.set('n', 'admin') }, { app: scopes.admin })
  t.strictSame((await client.inject('/shop')).json(), { n: 'shop' })
  t.strictSame((await client.inject('/admin')).json(), { n: 'admin' })
  t.strictSame((await client.session({ app: scopes.shop }))?.data, { n: 'shop' })

  const failing = Fastify()
  failing.register(async () => { throw new Error('no start') })
  await t.rejects(createClient(failing).session(), { message: 'no start' })

  const admin = createClient(scopes.admin)
  await admin.transaction(session => { session.set('n', 'only here') })
  t.strictSame((await admin.inject('/admin')).json(), { n: 'only here' })
  await t.rejects(client.session(), { name: 'TypeError', message: /the session plugin is not registered/ })
})
